//! Rows of a mesh that other hosts measure, asked for through a remote shell.
//!
//! The shell is the user's own (`ssh`, `ip netns exec`), so nobody else can make a host load the
//! network. Invariant: what is run there is `towline bench mesh` with words that no shell reads as
//! anything else; a host that cannot be asked becomes a row of errors, and the others go on. Not
//! promised: that the other host has this version of towline.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use towline_bench::mesh::{Link, Row};

use super::{FILE_BYTES_MAX, Options};
use crate::failure::Failure;

/// Longest text of an error that is kept, in bytes.
const ERROR_BYTES_MAX: u64 = 4 << 10;

/// What a host gets beside the time of its tests: logging in, and a link that does not answer.
const SPARE: Duration = Duration::from_secs(60);

/// Refuses hosts that a shell could take for something else.
pub(super) fn check(options: &Options) -> Result<(), Failure> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".:_%[]-".contains(&byte);
    let is_odd = |host: &&String| host.starts_with('-') || !host.bytes().all(is_plain);
    match options.hosts.iter().find(is_odd) {
        Some(host) => Err(Failure::usage(format!(
            "HOST {host:?}: with --via, name it by letters, digits and . : _ - only"
        ))),
        None => Ok(()),
    }
}

/// The row of a host, measured there.
pub(super) fn row(options: &Options, via: &str, host: &str, stop: &AtomicBool) -> Row {
    let others: Vec<&str> = options
        .hosts
        .iter()
        .map(String::as_str)
        .filter(|other| *other != host)
        .collect();
    match ask(options, via, host, &others, stop) {
        Ok(row) => row,
        Err(why) => Row {
            from: host.to_owned(),
            links: others
                .iter()
                .map(|other| Link {
                    to: (*other).to_owned(),
                    error: Some(format!("{via} {host}: {why}")),
                    ..Link::default()
                })
                .collect(),
        },
    }
}

fn ask(
    options: &Options,
    via: &str,
    host: &str,
    others: &[&str],
    stop: &AtomicBool,
) -> Result<Row, String> {
    let mut words = via.split_whitespace();
    let program = words.next().ok_or("--via names no command")?;
    let mut command = Command::new(program);
    command
        .args(words)
        .args([host, "towline", "bench", "mesh"])
        .args(others)
        .args(["--json", "--name", host])
        .args(["--port", &options.port.to_string()])
        .args(["--time", &options.time.to_string()])
        .args(["--parallel", &options.parallel.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let output = reader(child.stdout.take(), FILE_BYTES_MAX);
    let errors = reader(child.stderr.take(), ERROR_BYTES_MAX);
    let tests = Duration::from_secs(u64::from(options.time) * 2 + 10) * others.len() as u32;
    let ended = wait(&mut child, tests + SPARE, stop);
    if ended.is_err() {
        let _gone_already = child.kill();
        let _reaped = child.wait();
    }
    ended?;
    let text = output.join().map_err(|_| "its output was not read")?;
    let errors = errors.join().map_err(|_| "its errors were not read")?;
    serde_json::from_slice(&text).map_err(|_| {
        let errors = String::from_utf8_lossy(&errors);
        let last = errors.lines().rev().find(|line| !line.trim().is_empty());
        last.unwrap_or("no answer of 'towline bench mesh --json'")
            .to_owned()
    })
}

fn reader<R: Read + Send + 'static>(from: Option<R>, bytes_max: u64) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut from) = from {
            let _what_came = from.by_ref().take(bytes_max).read_to_end(&mut bytes);
            // Whoever writes more must not wait for ever.
            let _rest = std::io::copy(&mut from, &mut std::io::sink());
        }
        bytes
    })
}

fn wait(child: &mut Child, limit: Duration, stop: &AtomicBool) -> Result<(), String> {
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(_)) => return Ok(()),
            Ok(None) => {}
            Err(error) => return Err(error.to_string()),
        }
        if stop.load(Ordering::Relaxed) {
            return Err("stopped".to_owned());
        }
        if start.elapsed() > limit {
            return Err(format!("no answer within {} s", limit.as_secs()));
        }
        thread::sleep(Duration::from_millis(20));
    }
}
