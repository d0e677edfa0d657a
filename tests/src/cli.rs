//! The command line of towline and curl, pointed at a node under test.
//!
//! Invariant: nothing in the environment of whoever runs the tests (another node, a hub, a token)
//! reaches them. Not promised: that a command ends; tests that expect trouble use
//! [`crate::process`] with a limit.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::node::Node;
use crate::{paths, skip};

/// The user that is nobody's: not the node's owner.
const STRANGER: &str = "65534";

fn without_surroundings(command: &mut Command, node: &Node) {
    command
        .env("TOWLINE_URL", format!("http://{}", node.http()))
        .env_remove("TOWLINE_TOKEN")
        .env_remove("HF_ENDPOINT")
        .env_remove("HF_TOKEN")
        .stdin(Stdio::null());
}

/// `towline` with these words.
///
/// # Errors
/// Fails when the program is not built.
pub fn towline(node: &Node, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(paths::program("towline")?);
    command.args(arguments);
    without_surroundings(&mut command, node);
    Ok(command)
}

/// The same as somebody who is not the node's owner, with a token or without; `None` where these
/// tests do not run as root, and so cannot become somebody else.
///
/// # Errors
/// Fails when the program is not built.
pub fn stranger(node: &Node, token: Option<&str>, arguments: &[&str]) -> Result<Option<Command>> {
    if !rustix::process::geteuid().is_root() {
        skip::impossible("only root can run a program as somebody else")?;
        return Ok(None);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", STRANGER, "--regid", STRANGER, "--clear-groups"]);
    command.arg(paths::program("towline")?).args(arguments);
    without_surroundings(&mut command, node);
    if let Some(token) = token {
        command.env("TOWLINE_TOKEN", token);
    }
    Ok(Some(command))
}

/// Runs a command; its exit code, and what it said on both ways.
///
/// # Errors
/// Fails when it cannot be started or was killed.
pub fn outcome(mut command: Command) -> Result<(i32, String)> {
    let output = command.output()?;
    let text = [output.stdout, output.stderr].concat();
    let code = output.status.code().context("killed")?;
    Ok((code, String::from_utf8_lossy(&text).into_owned()))
}

/// Runs `towline`; its exit code, and what it said on both ways.
///
/// # Errors
/// Fails when it cannot be started or was killed.
pub fn run(node: &Node, arguments: &[&str]) -> Result<(i32, String)> {
    outcome(towline(node, arguments)?)
}

/// Runs `towline`, which must end well; what it said.
///
/// # Errors
/// Fails when it does not.
pub fn run_well(node: &Node, arguments: &[&str]) -> Result<String> {
    let (code, text) = run(node, arguments)?;
    ensure!(code == 0, "{arguments:?} ended with {code}: {text}");
    Ok(text)
}

/// Runs `towline`, which must refuse with this exit code and these words.
///
/// # Errors
/// Fails when it does something else.
pub fn run_refused(node: &Node, arguments: &[&str], wanted: (i32, &str)) -> Result<()> {
    let (code, text) = run(node, arguments)?;
    ensure!(
        code == wanted.0 && text.contains(wanted.1),
        "{arguments:?} ended with {code}, not {wanted:?}: {text}"
    );
    Ok(())
}

/// What `towline --json` says.
///
/// # Errors
/// Fails when it does not end well, or says no JSON.
pub fn json(node: &Node, arguments: &[&str]) -> Result<Value> {
    let text = run_well(node, &[arguments, &["--json"]].concat())?;
    serde_json::from_str(&text).with_context(|| text.clone())
}

/// What is at a URL.
///
/// # Errors
/// Fails when it cannot be had.
pub fn curl(url: &str) -> Result<Vec<u8>> {
    let output = Command::new("curl")
        .args(["-sS", "--fail", "--noproxy", "*", url])
        .output()?;
    ensure!(
        output.status.success(),
        "{url}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output.stdout)
}

/// Asks with curl and these further arguments: the status, and head and body as they came.
///
/// # Errors
/// Fails when there is no answer.
pub fn answer(url: &str, arguments: &[&str]) -> Result<(u16, String)> {
    let output = Command::new("curl")
        .args(["-sS", "-i", "--noproxy", "*", "-w", "\n%{http_code}", url])
        .args(arguments)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let (text, code) = text.rsplit_once('\n').context(errors)?;
    Ok((code.parse()?, text.to_owned()))
}

/// The sum of the node's metrics whose names begin like this.
///
/// # Errors
/// Fails when the node does not tell.
pub fn metric(node: &Node, name: &str) -> Result<u64> {
    let page = curl(&format!("http://{}/metrics", node.http()))?;
    let page = String::from_utf8(page)?;
    let lines = page.lines().filter(|line| line.starts_with(name));
    let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    Ok(values.sum::<f64>() as u64)
}
