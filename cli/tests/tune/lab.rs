//! Hosts for the tests of `towline tune`: network namespaces joined by veth pairs.
//!
//! Invariant: nothing outside the namespaces made here is changed, and they are gone when the lab
//! is dropped. Without root or `ip` there is no lab, and the tests say so and pass.

use std::io::Write;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Some hosts and a folder for snapshots.
pub(crate) struct Lab {
    pub(crate) hosts: Vec<String>,
    pub(crate) state: tempfile::TempDir,
    running: Vec<Child>,
}

impl Lab {
    /// That many hosts without links; none where this machine cannot.
    pub(crate) fn of(count: usize) -> Option<Self> {
        let lab = Self {
            hosts: Vec::new(),
            state: tempfile::tempdir().unwrap(),
            running: Vec::new(),
        };
        (0..count).try_fold(lab, |mut lab, _| {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("tune{}-{number}", std::process::id());
            let made = Command::new("ip").args(["netns", "add", &name]).output();
            if !made.is_ok_and(|output| output.status.success()) {
                left_out("network namespaces: needs root and iproute2");
                return None;
            }
            lab.hosts.push(name);
            let host = lab.hosts.len() - 1;
            lab.ip(host, "link set lo up");
            Some(lab)
        })
    }

    /// Two hosts, `va` with 10.77.0.1 and `vb` with 10.77.0.2.
    pub(crate) fn pair() -> Option<Self> {
        let lab = Self::of(2)?;
        lab.join((0, "va", "10.77.0.1/24"), (1, "vb", "10.77.0.2/24"));
        Some(lab)
    }

    /// A cable between two hosts.
    pub(crate) fn join(&self, left: (usize, &str, &str), right: (usize, &str, &str)) {
        let other = self.hosts[right.0].clone();
        self.ip(
            left.0,
            &format!(
                "link add {} type veth peer name {} netns {other}",
                left.1, right.1
            ),
        );
        for (host, link, address) in [left, right] {
            if !address.is_empty() {
                self.ip(host, &format!("addr add {address} dev {link}"));
            }
            self.ip(host, &format!("link set {link} up"));
        }
    }

    fn inside(&self, host: usize, program: &str) -> Command {
        let mut command = Command::new("ip");
        // A veth has no speed of its own: these pretend to be cables of 10 Gbit/s.
        command.env("TOWLINE_LINK_SPEED", "10G");
        command.args(["netns", "exec", &self.hosts[host], program]);
        command
    }

    /// `ip` on a host; must succeed.
    pub(crate) fn ip(&self, host: usize, arguments: &str) -> String {
        let mut command = Command::new("ip");
        command.args(["-n", &self.hosts[host]]);
        text(command.args(arguments.split(' ')))
    }

    /// Any program on a host; must succeed.
    pub(crate) fn exec(&self, host: usize, line: &str) -> String {
        let mut words = line.split(' ');
        let mut command = self.inside(host, words.next().unwrap());
        text(command.args(words))
    }

    /// Sets a sysctl of a host.
    pub(crate) fn sysctl(&self, host: usize, setting: &str) {
        self.exec(host, &format!("sysctl -qw {setting}"));
    }

    /// `towline tune` on a host, as a command to start.
    pub(crate) fn command(&self, host: usize, line: &str) -> Command {
        let mut command = self.inside(host, env!("CARGO_BIN_EXE_towline"));
        command.arg("tune").args(line.split(' '));
        let verb = line.split(' ').next().unwrap();
        if matches!(verb, "apply" | "confirm" | "revert" | "history") {
            command.arg("--state").arg(self.state.path());
        }
        command.stdin(Stdio::null());
        command
    }

    /// `towline tune` on a host.
    pub(crate) fn tune(&self, host: usize, line: &str) -> Output {
        self.command(host, line).output().unwrap()
    }

    /// `towline tune`, which must end with that code.
    pub(crate) fn expect(&self, host: usize, line: &str, code: i32) -> String {
        let output = self.tune(host, line);
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let why = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{line}: {told}{why}");
        told + &why
    }

    /// As [`Self::expect`], in one line, where words of a sentence are looked for.
    pub(crate) fn sentence(&self, host: usize, line: &str, code: i32) -> String {
        let told = self.expect(host, line, code);
        told.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The checks of a host that ended in that state: `fail`, `ok`, `skip`, `unknown`.
    pub(crate) fn ids(&self, host: usize, options: &str, state: &str) -> Vec<String> {
        let output = self.tune(host, format!("check --json {options}").trim_end());
        let report: serde_json::Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        let checks = report["checks"].as_array().unwrap();
        let wanted = checks.iter().filter(|check| check["state"] == state);
        wanted
            .map(|check| check["id"].as_str().unwrap().to_owned())
            .collect()
    }

    /// A python program that runs on a host until the lab is dropped; it prints a line when it is
    /// ready.
    pub(crate) fn python(&mut self, host: usize, program: &str) {
        let mut command = self.inside(host, "python3");
        command.args(["-c", program]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut ready = [0];
        let told = child.stdout.as_mut().unwrap();
        std::io::Read::read_exact(told, &mut ready).unwrap();
        self.running.push(child);
    }

    /// Starts the answering side on a host.
    pub(crate) fn answer(&mut self, host: usize) {
        let child = self
            .command(host, "answer --allow 10.0.0.0/8")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        self.running.push(child);
        let until = Instant::now() + Duration::from_secs(5);
        while !self.exec(host, "ss -ltnH").contains(":8421") {
            assert!(Instant::now() < until, "nobody answers");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Everything that `apply` may change on a host, as other programs see it.
    pub(crate) fn whole(&self, host: usize) -> String {
        let links = self.ip(host, "-o -d link");
        let sysctls = self.exec(host, "sysctl -a -r ^net\\.ipv4");
        // These count what has happened, not how the host is set.
        let settled = sysctls.lines().filter(|line| {
            ![
                "route.gc",
                "nf_conntrack",
                "inet_peer",
                "fib_sync_mem",
                "tcp_fastopen_key",
            ]
            .iter()
            .any(|word| line.contains(word))
        });
        let mut all: Vec<&str> = links.lines().chain(settled).collect();
        let offloads: Vec<String> = links
            .lines()
            .filter_map(|line| line.split(": ").nth(1))
            .map(|name| name.split('@').next().unwrap())
            .filter(|name| *name != "lo" && has("ethtool"))
            .map(|name| self.exec(host, &format!("ethtool -k {name}")))
            .collect();
        all.extend(offloads.iter().map(String::as_str));
        all.join("\n")
    }

    /// The number of snapshots.
    pub(crate) fn snapshots(&self) -> usize {
        let entries = std::fs::read_dir(self.state.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".json")).count()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for child in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
        for host in &self.hosts {
            let _ = Command::new("ip").args(["netns", "del", host]).output();
        }
    }
}

/// Tells that a test ends here for want of something, also to `tests/run`, which counts it.
pub(crate) fn left_out(what: &str) {
    eprintln!("left out: {what}");
    if let Some(path) = std::env::var_os("TOWLINE_SKIPS") {
        let mut file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(path)
            .unwrap();
        writeln!(file, "{what}").unwrap();
    }
}

/// Whether a program is installed.
pub(crate) fn has(program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .output();
    found.is_ok_and(|output| output.status.success())
}

fn text(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {why}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
