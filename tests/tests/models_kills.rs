//! Nodes that are killed fifty times while a model is pushed or pulled.
//!
//! Invariant: what was acknowledged is there after every kill, whole, and a pull goes on where it
//! stood. Random moments come from a seed that is printed.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use towline_tests::cli::{json, run_well, towline};
use towline_tests::content;
use towline_tests::model::{same, small as model};
use towline_tests::node::Node;
use towline_tests::slow::SlowWay;

/// How long a restarted node may take until it serves.
const RESTART_MAX: Duration = Duration::from_secs(2);

/// Kills of a push.
const KILLS: u64 = 50;

/// Length of the file that is pushed under fire.
const FILE_BYTES: u64 = 256 << 20;

/// Length of the file that is pulled under fire, and how often the node is killed meanwhile.
const PULLED_BYTES: u64 = 1 << 30;
const PULL_KILLS: u64 = 50;

/// What one kill of a pull may cost, as a share of the file: half a percent.
const LOST_SHARE_MAX: f64 = 0.005;

/// Kills the node at a random moment of `work` and starts it again; the seconds that took.
fn kill_during(node: &mut Node, mut work: Command, after: Duration) -> Result<()> {
    let child = work.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    kill_after(node, child, after)
}

fn kill_after(node: &mut Node, mut child: Child, after: Duration) -> Result<()> {
    std::thread::sleep(after);
    node.kill();
    child.wait()?;
    let start = Instant::now();
    node.restart()?;
    let took = start.elapsed();
    ensure!(took < RESTART_MAX, "the restart took {took:?}");
    Ok(())
}

fn moments(seed: u64) -> impl Iterator<Item = Duration> {
    (0..KILLS).map(move |round| {
        let bytes = content::bytes(seed, round * 8, 8);
        let number = bytes
            .iter()
            .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        Duration::from_micros(5_000 + number % 495_000)
    })
}

#[test]
fn fifty_kills_of_a_push_damage_nothing_that_was_published() -> Result<()> {
    let seed = 20_261_122;
    eprintln!("seed {seed}");
    let mut node = Node::start()?;
    let kept = node.scratch().join("kept");
    model(&kept, 1)?;
    run_well(&node, &["push", &kept.display().to_string(), "acme/kept"])?;
    let big = node.scratch().join("big");
    fs::create_dir_all(&big)?;
    content::write(&big.join("model.bin"), 2, FILE_BYTES)?;
    let path = big.display().to_string();
    for after in moments(seed) {
        let push = towline(&node, &["push", &path, "acme/big"])?;
        kill_during(&mut node, push, after)?;
        same(&kept, &node.volume("models").join("acme/kept/main"))?;
    }
    let done = json(&node, &["push", &path, "acme/big"])?;
    ensure!(done["bytes"] == FILE_BYTES, "{done}");
    same(&big, &node.volume("models").join("acme/big/main"))?;
    let report = json(&node, &["verify"])?;
    ensure!(report["damages"] == serde_json::json!([]), "{report}");
    run_well(&node, &["gc", "--grace", "0"])?;
    run_well(&node, &["gc", "--grace", "0"])?;
    let usage = json(&node, &["models", "du"])?;
    ensure!(
        usage["stored"] == FILE_BYTES + 9_000_012,
        "left-overs: {usage}"
    );
    Ok(())
}

/// Counted are the bytes that the source has put on the wire: what the way has read of them, less
/// what its own sockets hold.
#[test]
fn fifty_kills_of_a_pull_fetch_little_twice() -> Result<()> {
    let seed = 20_261_123;
    eprintln!("seed {seed}");
    let origin = Node::start()?;
    let big = origin.scratch().join("big");
    fs::create_dir_all(&big)?;
    content::write(&big.join("model.bin"), 3, PULLED_BYTES)?;
    run_well(&origin, &["push", &big.display().to_string(), "acme/big"])?;
    // A line of 4 Gb/s: the kills hit a pull that has something to lose, not one that is over.
    let way = SlowWay::to(origin.http(), 500_000_000)?;
    let endpoint = format!("http://{}/hf", way.address());
    let pull = ["pull", "hf://acme/big", "--endpoint", &endpoint];
    let mut node = Node::start()?;
    let (mut kills, mut came) = (0, 0);
    for after in moments(seed).take(PULL_KILLS as usize) {
        let mut work = towline(&node, &pull)?;
        let child = work.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        // From the first byte on, so that each kill costs something.
        let start = Instant::now();
        while way.passed() < came + (2 << 20) {
            ensure!(start.elapsed() < Duration::from_secs(60), "nothing comes");
            std::thread::sleep(Duration::from_millis(1));
        }
        kill_after(&mut node, child, after / 20)?;
        came = way.passed();
        kills += 1;
        if came > PULLED_BYTES * 4 / 5 {
            break;
        }
    }
    ensure!(kills == PULL_KILLS, "only {kills} kills in {came} bytes");
    run_well(&node, &pull)?;
    same(&big, &node.volume("models").join("acme/big/main"))?;
    let twice = way.passed().saturating_sub(PULLED_BYTES);
    let share = twice as f64 / kills as f64 / PULLED_BYTES as f64;
    eprintln!(
        "{kills} kills: {} KiB per kill were sent twice, {:.3} % of the file",
        twice / kills / 1024,
        share * 100.0
    );
    ensure!(share <= LOST_SHARE_MAX, "{twice} bytes were sent twice");
    let report = json(&node, &["verify"])?;
    ensure!(report["damages"] == serde_json::json!([]), "{report}");
    Ok(())
}
