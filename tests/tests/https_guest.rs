//! HTTPS where the kernel encrypts: a whole node and curl in a guest with Debian's kernel.
//!
//! Invariant: nothing on this machine is changed. Not promised: speed, which an emulated processor
//! cannot show.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use towline_tests::guest::{Job, run};
use towline_tests::skip::unless_installed;
use towline_tests::{certificate, paths};

/// Longest time for the job, boot included, on an emulated processor that others use too.
const JOB_LIMIT: Duration = Duration::from_secs(300);

const CONFIGURATION: &str = "[node]\ndata = \"/tmp/data\"\n[listen]\naddresses = [\"127.0.0.1\"]\n\
    portmap = \"off\"\n[volumes.projects]\nkind = \"project\"\nsquash = \"none\"\n\
    anonymous_uid = 0\nanonymous_gid = 0\n[tls]\n\
    certificate = \"node.pem\"\nkey = \"node.key\"\nport = 8443\n";

/// A counter among what the guest told.
fn counted(told: &str, name: &str) -> Result<u64> {
    let mut lines = told.lines().map(str::trim);
    let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let number = line.with_context(|| format!("no {name} in {told}"))?;
    Ok(number.trim().parse()?)
}

#[test]
fn the_kernel_encrypts_and_curl_sees_no_difference() -> Result<()> {
    if !unless_installed("qemu-system-x86_64", "qemu-system-x86 seabios")?
        || !unless_installed("openssl", "openssl")?
    {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let own = certificate::make(folder.path(), "node", "DNS:localhost")?;
    let settings = folder.path().join("node.toml");
    fs::write(&settings, CONFIGURATION)?;
    let jobs = Path::new(env!("CARGO_MANIFEST_DIR")).join("guest/jobs");
    let script = fs::read_to_string(jobs.join("https.sh"))?;
    let mut job = Job::new(&format!("set -eu\n{script}"), JOB_LIMIT);
    job.files = vec![
        (paths::program("towline")?, "towline".to_owned()),
        (own.certificate, "node.pem".to_owned()),
        (own.key, "node.key".to_owned()),
        (settings, "node.toml".to_owned()),
    ];
    job.programs = vec![PathBuf::from("/usr/bin/curl"), paths::program("towline")?];
    let result = run(&job)?;
    ensure!(result.exit_code == 0, "the job failed: {}", result.output);
    let accepted = counted(&result.output, "towline_tls_accepted_total")?;
    let in_kernel = counted(&result.output, "towline_tls_kernel_total")?;
    ensure!(accepted >= 10 && in_kernel == accepted, "{}", result.output);
    Ok(())
}
