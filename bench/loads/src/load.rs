//! `towline-loads load`: one load on a server that runs already, and its figures.
//!
//! Not promised: a fair comparison; nothing is pinned and nobody else is measured. Use it to look
//! at one server, `peers` to compare.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand, ValueEnum};
use towline_bench::rpc::Caller;
use towline_loads::cpu::CpuMeter;
use towline_loads::figures::Outcome;
use towline_loads::nfs_session::{Endpoint, lookup, mount};
use towline_loads::{http_load, nfs_load};

/// What is loaded.
#[derive(Subcommand)]
pub(crate) enum Load {
    /// GETs of one file
    Http(Http),
    /// NFSv3 calls on one file
    Nfs(Nfs),
}

#[derive(Args)]
pub(crate) struct Common {
    /// Counted seconds
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Process whose time is reported
    #[arg(long)]
    pid: Vec<u32>,
    /// Connections
    #[arg(long, default_value_t = 1)]
    connections: usize,
}

#[derive(Args)]
pub(crate) struct Http {
    /// Address and port of the server
    server: SocketAddr,
    /// Absolute URL path
    path: String,
    /// Ask for random aligned ranges of this many bytes
    #[arg(long, requires = "file_bytes")]
    range: Option<u64>,
    /// Length of the file
    #[arg(long)]
    file_bytes: Option<u64>,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Copy, ValueEnum)]
enum Call {
    Read,
    ReadRandom,
    Write,
    Getattr,
    Lookup,
}

#[derive(Args)]
pub(crate) struct Nfs {
    /// Address and port of NFS
    server: SocketAddr,
    /// Export, such as /models
    export: String,
    /// Name of the file in the export's root
    file: String,
    /// What to call
    #[arg(long, value_enum, default_value = "read")]
    call: Call,
    /// Port of MOUNT, when it differs
    #[arg(long)]
    mount_port: Option<u16>,
    /// Bytes per READ or WRITE
    #[arg(long, default_value_t = 1 << 20)]
    bytes: u32,
    /// Length of the file
    #[arg(long, default_value_t = 512 << 20)]
    file_bytes: u64,
    /// Calls in flight per connection
    #[arg(long, default_value_t = 8)]
    window: u32,
    /// User and group id of the caller
    #[arg(long, default_value_t = 1000)]
    uid: u32,
    #[command(flatten)]
    common: Common,
}

/// Runs the load and prints its figures as JSON.
#[expect(clippy::print_stdout, reason = "the figures are this program's output")]
pub(crate) fn run(load: &Load) -> Result<()> {
    let outcome = match load {
        Load::Http(http) => run_http(http)?,
        Load::Nfs(nfs) => run_nfs(nfs)?,
    };
    println!("{:#}", outcome.to_json());
    Ok(())
}

fn times(common: &Common) -> Result<(Duration, Duration)> {
    ensure!(
        common.seconds > 0.0 && common.seconds <= 3600.0,
        "--seconds out of range"
    );
    ensure!(
        (1..=1024).contains(&common.connections),
        "--connections out of range"
    );
    Ok((
        Duration::from_millis(200),
        Duration::from_secs_f64(common.seconds),
    ))
}

fn run_http(http: &Http) -> Result<Outcome> {
    let (warm_up, measured) = times(&http.common)?;
    let path = http.path.clone();
    let stream = match (http.range, http.file_bytes) {
        (Some(range_bytes), Some(file_bytes)) if range_bytes > 0 => http_load::Stream::Ranges {
            path,
            file_bytes,
            range_bytes,
        },
        (Some(_), Some(_) | None) | (None, Some(_) | None) => http_load::Stream::Whole { path },
    };
    let streams = vec![("all", stream); http.common.connections];
    let plan = http_load::Plan {
        server: http.server,
        streams,
        warm_up,
        measured,
    };
    let mut outcomes = http_load::run(&plan, &CpuMeter::new(http.common.pid.clone()))?;
    outcomes.remove("all").context("nothing arrived")
}

fn run_nfs(nfs: &Nfs) -> Result<Outcome> {
    let (warm_up, measured) = times(&nfs.common)?;
    let caller = Caller {
        uid: nfs.uid,
        gid: nfs.uid,
    };
    let mount_port = nfs.mount_port.unwrap_or(nfs.server.port());
    let endpoint = Endpoint {
        nfs: nfs.server,
        mount: SocketAddr::new(nfs.server.ip(), mount_port),
    };
    let root = mount(endpoint, &nfs.export, caller)?;
    let file = lookup(endpoint, &root, &nfs.file, caller)?;
    let (operation, handle) = match nfs.call {
        Call::Read => (
            nfs_load::Operation::Read {
                bytes: nfs.bytes,
                random: false,
            },
            file,
        ),
        Call::ReadRandom => (
            nfs_load::Operation::Read {
                bytes: nfs.bytes,
                random: true,
            },
            file,
        ),
        Call::Write => (nfs_load::Operation::Write { bytes: nfs.bytes }, file),
        Call::Getattr => (nfs_load::Operation::Getattr, file),
        Call::Lookup => (
            nfs_load::Operation::Lookup {
                names: vec![nfs.file.clone()],
            },
            root,
        ),
    };
    let plan = nfs_load::Plan {
        endpoint,
        caller,
        connections: nfs.common.connections,
        window: nfs.window,
        operation,
        handle,
        file_bytes: nfs.file_bytes,
        warm_up,
        measured,
    };
    nfs_load::run(&plan, &CpuMeter::new(nfs.common.pid.clone()))
}
