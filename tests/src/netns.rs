//! Three network namespaces in a row, client, router, server, for tests that plant a cause.
//!
//! Invariant: names carry the test's pid, and namespaces go when dropped, with everything in them
//! that runs. Governed by ip-netns(8) and tc-tbf(8). Not promised: another speed than veth's.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Result;

use crate::process::{command, must_run};

/// Address of the server's end.
pub const SERVER: &str = "10.77.2.2";
/// Address of the router towards the client.
pub const ROUTER: &str = "10.77.1.1";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The namespaces.
#[derive(Debug)]
pub struct Row {
    client: String,
    router: String,
    server: String,
}

impl Row {
    /// Makes them and connects them.
    ///
    /// # Errors
    /// Fails without root or without the program `ip` (Debian package iproute2).
    pub fn new() -> Result<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = |role: &str| format!("tl{}-{number}-{role}", std::process::id());
        let row = Self {
            client: name("c"),
            router: name("r"),
            server: name("s"),
        };
        for name in [&row.client, &row.router, &row.server] {
            ip(&["netns", "add", name])?;
            ip(&["-n", name, "link", "set", "lo", "up"])?;
        }
        row.connect(&row.client, "10.77.1.2", "left", ROUTER)?;
        row.connect(&row.server, SERVER, "right", "10.77.2.1")?;
        let forward = "net.ipv4.ip_forward=1";
        row.run_in_router(&["sysctl", "-qw", forward])?;
        Ok(row)
    }

    fn connect(&self, end: &str, own: &str, port: &str, gateway: &str) -> Result<()> {
        let pair = ["type", "veth", "peer", "name", port, "netns", &self.router];
        ip(&[&["-n", end, "link", "add", "up0"], &pair[..]].concat())?;
        ip(&["-n", end, "addr", "add", &format!("{own}/24"), "dev", "up0"])?;
        ip(&["-n", end, "link", "set", "up0", "up"])?;
        let router = &self.router;
        ip(&[
            "-n",
            router,
            "addr",
            "add",
            &format!("{gateway}/24"),
            "dev",
            port,
        ])?;
        ip(&["-n", router, "link", "set", port, "up"])?;
        ip(&["-n", end, "route", "add", "default", "via", gateway])
    }

    /// Shapes what the router sends to the server: arguments of `tc qdisc add ... tbf`.
    ///
    /// # Errors
    /// Fails where the kernel has no token bucket filter.
    pub fn shape(&self, tbf: &[&str]) -> Result<()> {
        let add = ["tc", "qdisc", "add", "dev", "right", "root", "tbf"];
        self.run_in_router(&[&add[..], tbf].concat())
    }

    /// Shapes what the router sends to the client, in the same words.
    ///
    /// # Errors
    /// Fails where the kernel has no token bucket filter.
    pub fn shape_back(&self, tbf: &[&str]) -> Result<()> {
        let add = ["tc", "qdisc", "add", "dev", "left", "root", "tbf"];
        self.run_in_router(&[&add[..], tbf].concat())
    }

    fn run_in_router(&self, words: &[&str]) -> Result<()> {
        let mut all = vec!["netns", "exec", self.router.as_str()];
        all.extend_from_slice(words);
        ip(&all)
    }

    /// A command that runs at the client's place.
    #[must_use]
    pub fn at_client(&self, words: &[&str]) -> Command {
        inside(&self.client, words)
    }

    /// A command that runs at the router's place.
    #[must_use]
    pub fn at_router(&self, words: &[&str]) -> Command {
        inside(&self.router, words)
    }

    /// Names of the namespaces: client, router, server.
    #[must_use]
    pub fn names(&self) -> [&str; 3] {
        [&self.client, &self.router, &self.server]
    }

    /// A command that runs at the server's place.
    #[must_use]
    pub fn at_server(&self, words: &[&str]) -> Command {
        inside(&self.server, words)
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        for name in [&self.client, &self.router, &self.server] {
            let _gone_already = ip(&["netns", "delete", name]);
        }
    }
}

fn inside(name: &str, words: &[&str]) -> Command {
    let mut command = command("ip", &["netns", "exec", name]);
    command.args(words);
    command
}

fn ip(arguments: &[&str]) -> Result<()> {
    must_run(command("ip", arguments), Duration::from_secs(10)).map(drop)
}
