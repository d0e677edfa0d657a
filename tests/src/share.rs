//! A share at the end of a row of namespaces: a node with one large file, behind a shaped way.
//!
//! Invariant: the node is killed by its own pid when dropped. Not promised: figures other than
//! those of the shaper.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Result, bail};

use crate::bench::{LIMIT, towline};
use crate::netns::Row;
use crate::process::{Running, run};

/// A node at the server's place of `row`; `models` holds `large` with so many bytes.
///
/// # Errors
/// When it does not answer within 15 seconds.
pub fn serve(row: &Row, data: &Path, bytes: usize) -> Result<Running> {
    std::fs::create_dir_all(data.join("models"))?;
    std::fs::write(data.join("models/large"), vec![0x5a; bytes])?;
    let (towline, data) = (towline()?, data.to_string_lossy().into_owned());
    let words = [
        &towline,
        "up",
        "--data",
        &data,
        "--listen",
        "0.0.0.0",
        "--allow",
        "10.77.0.0/16",
    ];
    let mut command = row.at_server(&words);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::null());
    let server = Running::start(command)?;
    for _ in 0..300 {
        let health = "http://127.0.0.1:8420/healthz";
        let asked = row.at_server(&["curl", "-sf", "-o", "/dev/null", health]);
        if run(asked, LIMIT)?.status.success() {
            return Ok(server);
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    bail!("the node does not answer")
}
