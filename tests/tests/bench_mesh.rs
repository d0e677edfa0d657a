//! `towline bench mesh`: all pairs of three hosts, each asked through a remote shell.
//!
//! The hosts are network namespaces, the shell is `ip netns exec`; ssh takes the same words. Needs
//! root. Rates are those of veth on this machine and not looked at.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::geteuid;
use serde_json::Value;
use towline_tests::bench::{parsed, towline};
use towline_tests::netns::{ROUTER, Row, SERVER};
use towline_tests::process::{Finished, Running, run};
use towline_tests::skip::{impossible, unless_installed};

/// Longest wait for a server.
const LIMIT: Duration = Duration::from_secs(20);

/// An address of the test's network where nobody is.
const NOBODY: &str = "10.77.2.99";

/// Whether namespaces can be made here; else the test says that it was skipped.
fn can_run() -> Result<bool> {
    if !geteuid().is_root() {
        impossible("a mesh of namespaces needs root")?;
        return Ok(false);
    }
    unless_installed("ip", "iproute2")
}

/// A shell to the namespaces by their addresses, and `towline` on the PATH there.
fn shell(row: &Row, directory: &std::path::Path) -> Result<String> {
    let path = directory.join("shell");
    let [_, router, server] = row.names();
    let bin = directory.join("bin");
    fs::create_dir(&bin)?;
    std::os::unix::fs::symlink(towline()?, bin.join("towline"))?;
    let text = format!(
        "#!/bin/sh\ncase $1 in\n{SERVER}) space={server} ;;\n{ROUTER}) space={router} ;;\n\
         *) echo \"no route to $1\" >&2; exit 255 ;;\nesac\nshift\n\
         exec ip netns exec \"$space\" env \"PATH={}:$PATH\" \"$@\"\n",
        bin.display()
    );
    fs::write(&path, text)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path.display().to_string())
}

/// Starts `towline bench serve` in two of the namespaces.
fn serve(row: &Row) -> Result<[Running; 2]> {
    let towline = towline()?;
    let words = [&towline, "bench", "serve", "--allow", "10.77.0.0/16"];
    let start = |mut command: std::process::Command| {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::null());
        Running::start(command)
    };
    let servers = [start(row.at_server(&words))?, start(row.at_router(&words))?];
    for _ in 0..200 {
        let mut ready = true;
        for at in [Row::at_server, Row::at_router] {
            let table = at(row, &["cat", "/proc/net/tcp6", "/proc/net/tcp"]);
            let text = run(table, LIMIT)?.output;
            ready &= String::from_utf8_lossy(&text).contains(":1451 ");
        }
        if ready {
            return Ok(servers);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    anyhow::bail!("the servers do not listen")
}

/// Three hosts, two of which answer, and a shell to them.
struct Lab {
    row: Row,
    shell: String,
    _servers: [Running; 2],
    _directory: tempfile::TempDir,
}

impl Lab {
    fn new() -> Result<Self> {
        let row = Row::new()?;
        let directory = tempfile::tempdir()?;
        let shell = shell(&row, directory.path())?;
        Ok(Self {
            _servers: serve(&row)?,
            _directory: directory,
            row,
            shell,
        })
    }

    /// The mesh of the client with the server and another host.
    fn mesh(&self, other: &str) -> Result<Finished> {
        let towline = towline()?;
        let words = [
            towline.as_str(),
            "bench",
            "mesh",
            SERVER,
            other,
            "--via",
            &self.shell,
            "-t",
            "1",
            "--json",
        ];
        run(self.row.at_client(&words), Duration::from_secs(120))
    }
}

fn rows(value: &Value) -> Result<&Vec<Value>> {
    value
        .as_array()
        .with_context(|| format!("no rows: {value:#}"))
}

#[test]
fn every_host_measures_every_other_through_a_remote_shell() -> Result<()> {
    if !can_run()? {
        return Ok(());
    }
    let value = parsed(&Lab::new()?.mesh(ROUTER)?)?;
    let all = rows(&value)?;
    ensure!(all.len() == 3, "{value:#}");
    for (row, links) in all.iter().zip([2, 1, 1]) {
        let found = rows(&row["links"])?;
        ensure!(found.len() == links, "{value:#}");
        for link in found {
            for way in ["there_bits_per_second", "back_bits_per_second"] {
                ensure!(
                    link[way].as_f64().is_some_and(|rate| rate > 0.0),
                    "{value:#}"
                );
            }
        }
    }
    ensure!(
        all[1]["from"] == SERVER && all[2]["from"] == ROUTER,
        "{value:#}"
    );
    Ok(())
}

#[test]
fn a_host_that_cannot_be_asked_is_named_and_the_others_go_on() -> Result<()> {
    if !can_run()? {
        return Ok(());
    }
    let finished = Lab::new()?.mesh(NOBODY)?;
    ensure!(finished.status.code() == Some(2), "{}", finished.errors);
    let value = parsed(&finished)?;
    let error = value.pointer("/2/links/0/error").and_then(Value::as_str);
    let error = error.with_context(|| format!("no error: {value:#}"))?;
    ensure!(error.contains(&format!("no route to {NOBODY}")), "{error}");
    Ok(())
}
