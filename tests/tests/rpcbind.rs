//! A node beside the host's own rpcbind: it registers there, clients that know no port find it, and
//! it takes itself out again when it stops.
//!
//! In a network and mount namespace of its own, so that port 111 and /run are the test's. Governed
//! by RFC 1833 section 3.1 and rpcbind(8). Not promised: Windows, which asks the same questions.

use std::time::Duration;

use anyhow::{Result, ensure};
use towline_tests::paths::program;
use towline_tests::process::{command, must_run};
use towline_tests::skip;

/// Prints the registrations while the node runs, what a client without ports sees, and the
/// registrations after it; lines of `---` between.
const SCRIPT: &str = r#"
set -eu
rpcbind= node=
trap 'kill $rpcbind $node 2> /dev/null || true' EXIT
ip link set lo up
mount -t tmpfs tmpfs /run
mkdir -p /run/rpcbind /run/data
rpcbind -f & rpcbind=$!
for try in $(seq 100); do rpcinfo -p 127.0.0.1 > /dev/null 2>&1 && break; sleep 0.1; done
"$1" up --data /run/data > /run/node.log 2>&1 & node=$!
for try in $(seq 200); do grep -q '^Ready' /run/node.log && break; sleep 0.1; done
rpcinfo -p 127.0.0.1
echo ---
echo hello > /run/data/projects/found
nfs-ls nfs://127.0.0.1/projects
echo ---
kill -TERM $node
wait $node
rpcinfo -p 127.0.0.1
"#;

#[test]
fn a_node_registers_with_a_running_rpcbind() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return skip::impossible("a namespace with an rpcbind of its own needs root");
    }
    for (name, package) in [("rpcbind", "rpcbind"), ("nfs-ls", "libnfs-utils")] {
        if !skip::unless_installed(name, package)? {
            return Ok(());
        }
    }
    let towline = program("towline")?;
    let mut unshare = command("unshare", &["--net", "--mount", "sh", "-c", SCRIPT, "sh"]);
    unshare.arg(towline);
    let output = String::from_utf8(must_run(unshare, Duration::from_secs(60))?)?;
    let parts: Vec<&str> = output.split("---\n").collect();
    let [during, listing, after] = parts.as_slice() else {
        anyhow::bail!("expected three parts: {output}");
    };
    for service in ["100003", "100005"] {
        let is_named = |list: &str| list.split_whitespace().any(|word| word == service);
        ensure!(is_named(during), "{service} is not registered: {during}");
        ensure!(!is_named(after), "{service} stays registered: {after}");
    }
    ensure!(
        listing.contains("found"),
        "the share was not found: {listing}"
    );
    Ok(())
}
