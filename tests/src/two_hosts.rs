//! Two machines as README has them, 10.0.0.1 and 10.0.0.2, with a cable between them.
//!
//! Each is a network namespace in which a command also has folders of its own in the places that
//! towline and its users write to. Invariant: README's own addresses, ports and paths are used as
//! they stand, and nothing of this machine is changed; the namespaces go when this is dropped. Not
//! promised: a second kernel; what needs one runs in the guest.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};
use tempfile::TempDir;

use crate::paths;
use crate::process::{command, must_run};
use crate::skip::impossible;

/// Places that each host has for itself.
const OWN: [&str; 4] = ["etc", "var/lib", "srv", "mnt"];

/// Longest command of ip(8).
const LIMIT: Duration = Duration::from_secs(20);

/// One of the two.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Host {
    /// 10.0.0.1.
    Here,
    /// 10.0.0.2.
    There,
}

/// Both.
#[derive(Debug)]
pub struct TwoHosts {
    names: [String; 2],
    scratch: TempDir,
}

impl TwoHosts {
    /// Both hosts, joined; `None` where this machine cannot have them.
    ///
    /// # Errors
    /// Fails where `ip` refuses what it should do.
    pub fn new() -> Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            impossible("two hosts need root, for network namespaces")?;
            return Ok(None);
        }
        let own = std::process::id();
        let hosts = Self {
            names: [format!("readme-here-{own}"), format!("readme-there-{own}")],
            scratch: tempfile::tempdir()?,
        };
        // An ordinary user of a host must reach its programs.
        fs::set_permissions(hosts.scratch.path(), Permissions::from_mode(0o755))?;
        for host in [Host::Here, Host::There] {
            hosts.furnish(host)?;
            hosts.ip(&["netns", "add", hosts.name(host)])?;
            hosts.ip(&["-n", hosts.name(host), "link", "set", "lo", "up"])?;
        }
        let [here, there] = [hosts.name(Host::Here), hosts.name(Host::There)];
        hosts.ip(&[
            "-n", here, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns",
            there,
        ])?;
        for (name, address) in [(here, "10.0.0.1/24"), (there, "10.0.0.2/24")] {
            hosts.ip(&["-n", name, "addr", "add", address, "dev", "cable"])?;
            hosts.ip(&["-n", name, "link", "set", "cable", "up"])?;
        }
        Ok(Some(hosts))
    }

    fn ip(&self, words: &[&str]) -> Result<()> {
        must_run(command("ip", words), LIMIT).map(drop)
    }

    fn name(&self, host: Host) -> &str {
        match host {
            Host::Here => &self.names[0],
            Host::There => &self.names[1],
        }
    }

    /// The folders of a host, and its programs.
    fn furnish(&self, host: Host) -> Result<()> {
        let root = self.root(host);
        for place in OWN {
            fs::create_dir_all(root.join(place))?;
        }
        let mut copy = command("cp", &["-a", "/etc/."]);
        copy.arg(root.join("etc")).stderr(Stdio::null());
        // What cannot be copied is none of what is needed here.
        ensure!(copy.status()?.code().is_some(), "cp was killed");
        fs::create_dir_all(root.join("bin"))?;
        fs::create_dir_all(root.join("home"))?;
        symlink(paths::program("towline")?, root.join("bin/towline"))?;
        Ok(())
    }

    /// Below which a host's own folders lie.
    #[must_use]
    pub fn root(&self, host: Host) -> PathBuf {
        self.scratch.path().join(match host {
            Host::Here => "here",
            Host::There => "there",
        })
    }

    /// The folder in which commands of a host run; it is its user's home too.
    #[must_use]
    pub fn home(&self, host: Host) -> PathBuf {
        self.root(host).join("home")
    }

    /// A line of a shell on a host, with more programs from this folder.
    #[must_use]
    pub fn shell(&self, host: Host, line: &str, programs: &Path) -> Command {
        let root = self.root(host);
        let mut script = String::from("set -e\n");
        for place in OWN {
            script += &format!("mount --bind '{}' /{place}\n", root.join(place).display());
        }
        // No daemon of this machine is asked for anything.
        script += "mount -t tmpfs none /run\nexec sh -c \"$LINE\"\n";
        let mut command = command("ip", &["netns", "exec", self.name(host), "sh", "-c"]);
        command.arg(script).env_clear().env("LINE", line);
        let path = format!(
            "{}:{}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            root.join("bin").display(),
            programs.display()
        );
        command.env("PATH", path).env("HOME", self.home(host));
        command.env("COLUMNS", "100").env("TERM", "dumb");
        // Whatever stands for the cable, it is one of 10 Gbit/s.
        command.env("TOWLINE_LINK_SPEED", "10G");
        command.current_dir(self.home(host)).stdin(Stdio::null());
        command
    }
}

impl Drop for TwoHosts {
    fn drop(&mut self) {
        for name in &self.names {
            let gone = Command::new("ip").args(["netns", "del", name]).output();
            drop(gone);
        }
    }
}
