//! The commands of README, as they stand there, on two hosts with README's addresses.
//!
//! Invariant: every line of its shell blocks is run in the test below and ends with the code and
//! the words that a reader should see, or is one of [`NOT_RUN`] with the reason; whoever adds a
//! line to README is told here. What is replaced is in [`REPLACED`], nothing else. Each claim of
//! README names a test in tests/README.md. Not promised: rates; programs may be debug builds.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use towline_tests::process::{Running, run};
use towline_tests::skip::unless_installed;
use towline_tests::two_hosts::{Host, TwoHosts};
use towline_tests::{content, paths};

use Host::{Here, There};

/// Longest command: five tests of ten seconds, and what a busy machine adds.
const LIMIT: Duration = Duration::from_secs(200);

const TOKEN: &str = "hf_0123456789abcdef0123456789abcdef01";

/// A file that is measured: as large as measurements of shares want one.
const SHARED_BYTES: u64 = 256 << 20;

/// What is written for a reader to fill in, and what is filled in here.
const REPLACED: [(&str, &str); 5] = [
    // The program is built.
    ("cargo run --release -- ", "towline "),
    ("TOKEN=...", "TOKEN=hf_0123456789abcdef0123456789abcdef01"),
    ("make one with: echo hf_$(openssl rand -hex 17)", TOKEN),
    ("models/FILE", "models/config.json"),
    ("projects/FILE", "projects/config.json"),
];

/// Lines that are not run, and why.
const NOT_RUN: [(&str, &str); 9] = [
    ("tests/run", "it runs this test"),
    (
        "sudo mount -t nfs",
        "needs a kernel's client: kernel_nfs.rs, in the guest",
    ),
    ("sudo mount_nfs", "macOS"),
    ("mount -o anon", "Windows"),
    (
        "towline bench mesh",
        "needs ssh servers on three hosts: bench_mesh.rs, with another program for ssh",
    ),
    (
        "bench/peers/",
        "installs a peer and measures it for minutes",
    ),
    ("bench/ingest", "measures for minutes"),
    ("bench/models", "measures for minutes"),
    ("iperf3 -c", "bench_iperf3.rs"),
];

/// Blocks of README between marks of this kind.
fn blocks(readme: &str, kind: &str) -> Vec<String> {
    let (mut found, mut inside) = (Vec::new(), None);
    for line in readme.lines() {
        match (line.trim(), &mut inside) {
            ("```", Some(_)) => found.extend(inside.take()),
            (mark, None) if mark.strip_prefix("```") == Some(kind) => inside = Some(String::new()),
            (_, Some(block)) => {
                block.push_str(line);
                block.push('\n');
            }
            _ => {}
        }
    }
    found
}

/// The lines of all shell blocks, without remarks; and the commands of the table of mounts.
fn commands(readme: &str) -> Vec<String> {
    let bare = |line: &str| line.split(" #").next().unwrap_or("").trim().to_owned();
    let shell = blocks(readme, "sh");
    let mut found: Vec<String> = shell.iter().flat_map(|one| one.lines().map(bare)).collect();
    let table = readme.split("| client | command |").nth(1).unwrap_or("");
    let rows = table
        .lines()
        .skip(1)
        .take_while(|line| line.starts_with('|'));
    let cells = rows.filter_map(|row| row.split('`').nth(1));
    found.extend(cells.map(str::to_owned));
    found.retain(|line| !line.is_empty());
    found
}

/// Goes through README.
struct Reader {
    lines: Vec<String>,
    done: BTreeSet<String>,
    hosts: TwoHosts,
    readme: String,
}

impl Reader {
    /// What is typed for a line of README.
    fn typed(&mut self, line: &str) -> Result<String> {
        let is_there = self.lines.iter().any(|one| one == line);
        ensure!(is_there, "README does not have '{line}' any more");
        self.done.insert(line.to_owned());
        Ok(filled(line))
    }

    fn command(&self, host: Host, line: &str) -> Command {
        self.hosts.shell(host, line, &hub_programs())
    }

    /// Runs a line of README, which ends with one of these codes and says this.
    fn run(&mut self, host: Host, line: &str, codes: &[i32], says: &str) -> Result<String> {
        let typed = self.typed(line)?;
        self.run_as_typed(host, &typed, codes, says)
    }

    fn run_as_typed(&self, host: Host, line: &str, codes: &[i32], says: &str) -> Result<String> {
        let finished = run(self.command(host, line), LIMIT)?;
        let told = String::from_utf8_lossy(&finished.output).into_owned() + &finished.errors;
        let code = finished.status.code();
        ensure!(
            code.is_some_and(|code| codes.contains(&code)) && told.contains(says),
            "'{line}' on {host:?} ended with {code:?}, not {codes:?} and '{says}':\n{told}"
        );
        Ok(told)
    }

    /// Runs a line of README on a terminal where somebody types yes.
    fn agree(&mut self, host: Host, line: &str, says: &str) -> Result<String> {
        let typed = self.typed(line)?;
        let typed = format!("(sleep 4; echo yes) | script -qec '{typed}' /dev/null");
        self.run_as_typed(host, &typed, &[0], says)
    }

    /// Starts a line of README that goes on until it is interrupted, and waits for its words.
    fn serve(&mut self, host: Host, line: &str, says: &str) -> Result<Running> {
        let typed = self.typed(line)?;
        self.serve_as_typed(host, &typed, says)
    }

    fn serve_as_typed(&self, host: Host, line: &str, says: &str) -> Result<Running> {
        let log = self.hosts.home(host).join("log");
        // Whoever was started before goes on writing to a file without a name.
        let _absent = fs::remove_file(&log);
        let mut command = self.command(host, &format!("exec {line}"));
        command
            .stdout(fs::File::create(&log)?)
            .stderr(Stdio::null());
        let mut running = Running::start(command)?;
        let begun = Instant::now();
        while !fs::read_to_string(&log)?.contains(says) {
            let told = fs::read_to_string(&log)?;
            ensure!(running.ended()?.is_none(), "'{line}' ended: {told}");
            ensure!(
                begun.elapsed() < LIMIT,
                "'{line}' does not say '{says}': {told}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(running)
    }

    /// The blocks of configuration, as one file, with a key that is trusted.
    fn configuration(&self, trusted: &str) -> String {
        let all = filled(&blocks(&self.readme, "toml").join("\n"));
        all.replace("ed25519:64-HEX-DIGITS alice", trusted)
    }
}

fn filled(line: &str) -> String {
    let fill = |line: String, (from, to): &(&str, &str)| line.replace(from, to);
    REPLACED.iter().fold(line.to_owned(), fill)
}

/// Where `hf` is, if it is installed.
fn hub_programs() -> PathBuf {
    paths::target().join("python/hub/bin")
}

/// What README takes for granted: folders to push, a model on the other host, a host named `node`.
fn furnish(hosts: &TwoHosts) -> Result<()> {
    for host in [Here, There] {
        let home = hosts.home(host);
        towline_tests::model::write(&home.join("tiny-llama"))?;
        fs::create_dir_all(home.join("rows"))?;
        fs::write(home.join("rows/train.jsonl"), "{\"a\":1}\n")?;
        fs::write(home.join("config.json"), "{}")?;
        let etc = hosts.root(host).join("etc");
        fs::create_dir_all(etc.join("towline"))?;
        let models = hosts.root(host).join("mnt/models");
        fs::create_dir_all(&models)?;
        content::write(&models.join("model.bin"), 1, SHARED_BYTES)?;
    }
    Ok(())
}

#[test]
fn every_command_of_the_readme_does_what_its_reader_expects() -> Result<()> {
    if !unless_installed("script", "bsdutils")? || !hub_programs().join("hf").is_file() {
        return Ok(());
    }
    let Some(hosts) = TwoHosts::new()? else {
        return Ok(());
    };
    furnish(&hosts)?;
    let readme = fs::read_to_string(paths::workspace().join("README.md"))?;
    let mut reader = Reader {
        lines: commands(&readme),
        done: BTreeSet::new(),
        hosts,
        readme,
    };
    let reader = &mut reader;
    ensure!(reader.lines.len() > 45, "only {} lines", reader.lines.len());
    models_of_one_host(reader)?;
    models_from_another_machine(reader)?;
    tuning(reader)?;
    measurements(reader)?;
    let is_named = |line: &str| NOT_RUN.iter().any(|(start, _)| line.starts_with(start));
    let left = reader.lines.iter();
    let left = left.filter(|line| !reader.done.contains(*line) && !is_named(line));
    let left: Vec<&String> = left.collect();
    ensure!(
        left.is_empty(),
        "nobody runs these lines of README: {left:#?}"
    );
    Ok(())
}

const UP: &str = "cargo run --release -- up";
const UP_FOR_ALL: &str =
    "cargo run --release -- up --data /srv/towline --listen 0.0.0.0 --allow 10.0.0.0/24";

fn models_of_one_host(reader: &mut Reader) -> Result<()> {
    let other = reader.serve(There, UP_FOR_ALL, "Ready.")?;
    let push = "towline push ./tiny-llama Qwen/Qwen3-8B";
    reader.run_as_typed(There, push, &[0], "Qwen/Qwen3-8B")?;
    let node = reader.serve(Here, UP, "Ready.")?;
    reader.run(Here, "towline status", &[0], "127.0.0.1:8420")?;
    reader.run(
        Here,
        "towline push ./tiny-llama acme/tiny-llama:v1",
        &[0],
        "acme/tiny-llama:v1",
    )?;
    reader.run(
        Here,
        "towline push --type dataset ./rows acme/rows",
        &[0],
        "datasets/acme/rows",
    )?;
    // The hub is the other host: there is no internet.
    let pull = reader.typed("towline pull hf://Qwen/Qwen3-8B")?;
    let pull = format!("HF_ENDPOINT=http://10.0.0.2:8420/hf {pull}");
    reader.run_as_typed(Here, &pull, &[0], "Qwen/Qwen3-8B")?;
    reader.run(Here, "towline models", &[0], "acme/tiny-llama")?;
    reader.run(Here, "towline verify", &[0], "")?;
    reader.run(Here, "towline gc", &[0], "")?;
    let keygen = "towline models keygen ~/.config/towline/key --name alice";
    reader.run(Here, keygen, &[0], "ed25519:")?;
    let sign = "towline push ./tiny-llama acme/tiny-llama --sign-key ~/.config/towline/key";
    reader.run(Here, sign, &[0], "acme/tiny-llama")?;
    reader.run(
        Here,
        "towline models show acme/tiny-llama",
        &[0],
        "ed25519:",
    )?;
    reader.run(Here, "towline config show", &[0], "limits.upload_part")?;
    drop((node, other));
    // Whoever runs it, it is served; then every client acts as its user.
    let free = reader.hosts.root(Here).join("mnt/free");
    fs::create_dir(&free)?;
    std::os::unix::fs::chown(&free, Some(65534), Some(65534))?;
    let up = "setpriv --reuid 65534 --regid 65534 --clear-groups towline up --data /mnt/free/data";
    let node = reader.serve_as_typed(Here, up, "Ready.")?;
    let put = "curl -fsS -T config.json http://127.0.0.1:8420/files/projects/config.json";
    reader.run_as_typed(Here, put, &[0], "")?;
    ensure!(fs::metadata(free.join("data/projects/config.json"))?.uid() == 65534);
    drop(node);
    Ok(())
}

fn models_from_another_machine(reader: &mut Reader) -> Result<()> {
    let keygen = "towline models keygen /etc/towline/key --name alice";
    let told = reader.run_as_typed(Here, keygen, &[0], "ed25519:")?;
    let key = told.split('"').find(|text| text.starts_with("ed25519:"));
    let configuration = reader.configuration(key.context("no key was printed")?);
    fs::write(reader.hosts.home(Here).join("node.toml"), &configuration)?;
    reader.run(Here, "towline config check node.toml", &[0], "")?;
    reader.run_as_typed(Here, "echo '[nonsense]' > wrong.toml", &[0], "")?;
    reader.run_as_typed(Here, "towline config check wrong.toml", &[64], "nonsense")?;
    let up = filled(UP_FOR_ALL) + " --config node.toml";
    let node = reader.serve_as_typed(Here, &up, "Ready.")?;
    let status = "towline status --node http://10.0.0.1:8420";
    reader.run(There, status, &[0], "/srv/towline/models")?;
    let export = reader.typed("export TOWLINE_TOKEN=...")?;
    for (line, says) in [
        (
            "towline push ./tiny-llama acme/tiny-llama --node http://10.0.0.1:8420",
            "acme/tiny-llama",
        ),
        (
            "towline models --node http://10.0.0.1:8420",
            "acme/tiny-llama",
        ),
    ] {
        let typed = reader.typed(line)?;
        reader.run_as_typed(There, &format!("{export}; {typed}"), &[0], says)?;
        let none = format!("{typed} --token no-token-of-this-node");
        reader.run_as_typed(There, &none, &[65], "token")?;
    }
    let upload = "HF_TOKEN=... HF_HUB_DISABLE_XET=1 HF_ENDPOINT=http://10.0.0.1:8420/hf hf upload \
                  acme/tiny-llama ./tiny-llama";
    reader.run(There, upload, &[0], "acme/tiny-llama")?;
    // The rows of the table of mounts that need no kernel.
    let get = "curl -C - -O http://10.0.0.1:8420/files/models/FILE";
    let path = "acme/tiny-llama/main/config.json";
    let typed = reader.typed(get)?.replace("config.json", path);
    reader.run_as_typed(There, &format!("rm -f config.json; {typed}"), &[0], "")?;
    let fetched = fs::read(reader.hosts.home(There).join("config.json"))?;
    let pushed = fs::read(reader.hosts.home(There).join("tiny-llama/config.json"))?;
    ensure!(fetched == pushed, "curl fetched something else");
    let put = "curl -T FILE http://10.0.0.1:8420/files/projects/FILE";
    let typed = reader.typed(put)?.replace("-T FILE", "-T config.json");
    reader.run_as_typed(There, &format!("{typed} -f"), &[0], "")?;
    let arrived = reader
        .hosts
        .root(Here)
        .join("srv/towline/projects/config.json");
    ensure!(fs::read(arrived)? == pushed, "curl uploaded something else");
    drop(node);
    Ok(())
}

fn tuning(reader: &mut Reader) -> Result<()> {
    let answer = "towline tune answer --allow 10.0.0.0/24";
    let answering = reader.serve(There, answer, "answering on")?;
    reader.run(Here, "towline tune check", &[0, 1], "cable")?;
    reader.run(Here, "towline tune apply --dry-run", &[0, 1], "")?;
    let check = "towline tune check --peer 10.0.0.2 --preset dual-10g";
    reader.run(Here, check, &[0, 1], "10.0.0.2")?;
    let mtu = |reader: &Reader, wanted: &str| {
        let show = "cat /sys/class/net/cable/mtu";
        reader.run_as_typed(Here, show, &[0], wanted).map(drop)
    };
    mtu(reader, "1500")?;
    reader.agree(
        Here,
        "towline tune apply link.mtu --peer 10.0.0.2",
        "confirm",
    )?;
    mtu(reader, "9000")?;
    reader.run(Here, "towline tune confirm", &[0], "")?;
    reader.run(Here, "towline tune history", &[0], "link.mtu")?;
    reader.run(Here, "towline tune revert", &[0], "")?;
    mtu(reader, "1500")?;
    drop(answering);
    Ok(())
}

fn measurements(reader: &mut Reader) -> Result<()> {
    // The other host serves, and answers tests of the link.
    let qwen = reader.hosts.root(There).join("srv/towline/models/qwen");
    fs::create_dir_all(&qwen)?;
    let weights = reader
        .hosts
        .home(There)
        .join("tiny-llama/model.safetensors");
    fs::copy(weights, qwen.join("model.safetensors"))?;
    let node = reader.serve_as_typed(There, &filled(UP_FOR_ALL), "Ready.")?;
    let push = "towline push ./tiny-llama acme/tiny-llama";
    reader.run_as_typed(There, push, &[0], "acme/tiny-llama")?;
    let serve = "towline bench serve --allow 10.0.0.0/24";
    let serving = reader.serve(There, serve, "answering on port")?;
    // Goals may be missed: nothing here is a cable, and the program may be a debug build.
    for line in [
        "towline bench link 10.0.0.2",
        "towline bench link 10.0.0.2 -P 4 --bidir -t 30",
        "towline bench link 10.0.0.2 --preset dual-10g",
        "towline bench rr 10.0.0.2",
        "towline bench save before link 10.0.0.2",
        "towline bench compare before --threshold 5%",
        "towline bench share nfs://10.0.0.2/models/acme/tiny-llama/main",
        "towline bench share /mnt/models --html share.html",
        "towline bench model http://10.0.0.2:8420/files/models/qwen/model.safetensors --readers 8",
    ] {
        let codes: &[i32] = if line.contains("compare") {
            &[0, 3]
        } else {
            &[0, 1]
        };
        reader.run(Here, line, codes, "")?;
    }
    let page = fs::read_to_string(reader.hosts.home(Here).join("share.html"))?;
    ensure!(
        page.contains("<html") && page.contains("<svg"),
        "no page with plots"
    );
    fs::create_dir_all(reader.hosts.root(Here).join("var/lib/towline"))?;
    let disk = "towline bench disk /var/lib/towline --depths 1,2,4,8,16,32";
    reader.run(Here, disk, &[0, 1], "")?;
    drop((serving, node));
    Ok(())
}

/// The table of claims names tests that exist.
#[test]
fn every_claim_of_the_readme_names_a_test_that_exists() -> Result<()> {
    let root = paths::workspace();
    let table = fs::read_to_string(root.join("tests/README.md"))?;
    let rows = table
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains(".rs`"));
    let (mut claims, mut wrong) = (0, Vec::new());
    for row in rows {
        claims += 1;
        let names = row.split('`').skip(1).step_by(2);
        for name in names.filter(|name| name.ends_with(".rs")) {
            let path = match name.contains('/') {
                true => root.join(name),
                false => root.join("tests/tests").join(name),
            };
            if !path.is_file() {
                wrong.push(format!("{name}: {row}"));
            }
        }
    }
    ensure!(claims > 40, "only {claims} claims");
    ensure!(wrong.is_empty(), "no such test: {wrong:#?}");
    Ok(())
}
