//! `towline-loads`: loads for a server that runs already, and comparisons with other servers.
//!
//! Exit codes: 0 when every "at least" mark is met (or nothing was compared), 1 when one is
//! missed, 2 when something could not be run. The table goes to standard output, progress to
//! standard error. Not promised: that a figure means anything on a busy machine.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use towline_loads::ingest::changes;
use towline_loads::peers::{self, Settings, Subject};
use towline_loads::servers::TowlineChoice;
use towline_loads::{namespace, table};

mod load;

/// Fewest rounds of a comparison that counts: a median of fewer is no median.
const ROUNDS_MIN: usize = 5;

#[derive(Parser)]
#[command(about = "Loads for file servers, and towline compared with its peers")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compare towline with another server, interleaved in one run
    Peers(PeersArguments),
    /// Cut, name and index models, compared with Xet's way; what a changed model costs
    Ingest(IngestArguments),
    /// Put a load on a server that runs already
    #[command(subcommand)]
    Load(load::Load),
}

#[derive(Clone, Copy, ValueEnum)]
enum Peer {
    /// nginx
    Http,
    /// nfs-ganesha
    Nfs,
    /// The kernel's own NFS server, which must run already
    Knfsd,
    /// The C program iperf3, client and server
    Iperf3,
}

#[derive(Clone, Copy, ValueEnum)]
enum SubjectName {
    Towline,
    SamePeer,
    Nothing,
}

#[derive(Args)]
struct PeersArguments {
    peer: Peer,
    /// What is measured against the peer
    #[arg(long, value_enum, default_value = "towline")]
    subject: SubjectName,
    /// The towline program [default: release/towline in Cargo's target directory]
    #[arg(long)]
    towline: Option<PathBuf>,
    /// towline's I/O engine: auto, uring or portable
    #[arg(long, default_value = "auto")]
    engine: String,
    /// Directory for the served files, 5 GiB for http and 1 GiB for the others [default: bench-data
    /// in Cargo's target directory]
    #[arg(long)]
    data: Option<PathBuf>,
    /// Length of the hot file in MiB
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u64).range(8..=65536))]
    hot_mib: u64,
    /// Interleaved rounds per load; fewer than five are for trying out and always exit with 2
    #[arg(long, default_value_t = ROUNDS_MIN)]
    rounds: usize,
    /// Counted seconds per round
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Only loads whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// Print JSON instead of the table
    #[arg(long)]
    json: bool,
    /// The rows over HTTPS (http only)
    #[arg(long)]
    tls: bool,
    /// MOUNT port of the kernel's server
    #[arg(long, default_value_t = 20048)]
    mount_port: u16,
    /// Set by the program itself
    #[arg(long, hide = true)]
    inside_namespace: bool,
}

#[derive(Args)]
struct IngestArguments {
    /// Length of the model whose ingest is timed, in MiB
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(64..=65536))]
    mib: u64,
    /// Length of the model whose changes are compared, in MiB; it is held in memory several times
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u64).range(64..=8192))]
    changes_mib: u64,
    /// Length of the model that is pushed and copied, in MiB
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(16..=65536))]
    push_mib: u64,
    /// Only this part
    #[arg(long)]
    only: Option<IngestPart>,
    /// Interleaved rounds; fewer than five are for trying out and always exit with 2
    #[arg(long, default_value_t = ROUNDS_MIN)]
    rounds: usize,
    /// Directory for files and stores [default: bench-data in Cargo's target directory]
    #[arg(long)]
    data: Option<PathBuf>,
    /// Print JSON instead of the tables
    #[arg(long)]
    json: bool,
}

/// What `ingest` measures.
#[derive(Clone, Copy, Eq, PartialEq, ValueEnum)]
enum IngestPart {
    /// Cutting, naming and indexing against Xet's
    Speed,
    /// What a changed model costs
    Changes,
    /// Publishing against copying
    Push,
}

#[expect(clippy::print_stderr, reason = "the one place where failures are told")]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Command::Peers(arguments) => compare(&arguments),
        Command::Ingest(arguments) => ingest(&arguments),
        Command::Load(load) => load::run(&load).map(|()| true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("towline-loads: {error:#}");
            ExitCode::from(2)
        }
    }
}

#[expect(clippy::print_stdout, reason = "the table is this program's output")]
fn compare(arguments: &PeersArguments) -> Result<bool> {
    ensure!(
        arguments.seconds > 0.0 && arguments.seconds <= 600.0,
        "--seconds out of range"
    );
    ensure!(
        (1..=1000).contains(&arguments.rounds),
        "--rounds out of range"
    );
    if !matches!(arguments.peer, Peer::Knfsd) {
        if !arguments.inside_namespace {
            namespace::enter()?;
        }
        namespace::furnish()?;
    }
    let data = arguments
        .data
        .clone()
        .unwrap_or_else(|| target_directory().join("bench-data"));
    std::fs::create_dir_all(&data).with_context(|| data.display().to_string())?;
    let settings = Settings {
        data: data.canonicalize().context("data directory")?,
        hot_bytes: arguments.hot_mib << 20,
        subject: subject(arguments),
        rounds: arguments.rounds,
        measured: Duration::from_secs_f64(arguments.seconds),
        only: arguments.only.clone(),
    };
    let directory = tempfile::tempdir()?;
    let rows = match arguments.peer {
        Peer::Http if arguments.tls => peers::https::compare(&settings, directory.path())?,
        Peer::Http => peers::http::compare(&settings, directory.path())?,
        Peer::Nfs => peers::nfs::compare(&settings, directory.path())?,
        Peer::Iperf3 => peers::iperf3::compare(&settings, directory.path())?,
        Peer::Knfsd => peers::knfsd::compare(&settings, arguments.mount_port, directory.path())?,
    };
    ensure!(
        !rows.is_empty(),
        "no load has {:?} in its name; leave --only out to see them all",
        arguments.only.as_deref().unwrap_or_default()
    );
    if arguments.json {
        println!("{:#}", table::to_json(&rows));
    } else {
        print!("{}", table::to_text(&rows, settings.subject.name()));
    }
    ensure!(
        arguments.rounds >= ROUNDS_MIN,
        "fewer than {ROUNDS_MIN} rounds: no verdict"
    );
    Ok(table::all_pass(&rows))
}

#[expect(clippy::print_stdout, reason = "the tables are this program's output")]
fn ingest(arguments: &IngestArguments) -> Result<bool> {
    ensure!(
        (1..=1000).contains(&arguments.rounds),
        "--rounds out of range"
    );
    let data = arguments
        .data
        .clone()
        .unwrap_or_else(|| target_directory().join("bench-data"));
    std::fs::create_dir_all(&data).with_context(|| data.display().to_string())?;
    let wants = |part| arguments.only.is_none_or(|only| only == part);
    let (mut all, mut passes) = (serde_json::Map::new(), true);
    let mut text = String::new();
    if wants(IngestPart::Speed) {
        let speed = towline_loads::ingest::speed(&data, arguments.mib, arguments.rounds)?;
        passes &= speed.passes();
        text += &format!("{}\n", speed.to_text());
        all.insert("speed".to_owned(), speed.to_json());
    }
    if wants(IngestPart::Push) {
        let (mib, rounds) = (arguments.push_mib, arguments.rounds);
        let push = towline_loads::ingest::push::measure(&data, mib, rounds)?;
        text += &format!("{}\n", push.to_text());
        all.insert("push".to_owned(), push.to_json());
    }
    if wants(IngestPart::Changes) {
        let rows = changes::measure(&data, arguments.changes_mib)?;
        passes &= rows.iter().all(changes::Row::passes);
        text += &changes::to_text(&rows);
        let rows = rows.iter().map(changes::Row::to_json).collect();
        all.insert("changes".to_owned(), rows);
    }
    if arguments.json {
        println!("{:#}", serde_json::Value::Object(all));
    } else {
        print!("{text}");
    }
    let is_timed = arguments.only != Some(IngestPart::Changes);
    ensure!(
        !is_timed || arguments.rounds >= ROUNDS_MIN,
        "fewer than {ROUNDS_MIN} rounds: no verdict"
    );
    Ok(passes)
}

fn subject(arguments: &PeersArguments) -> Subject {
    match arguments.subject {
        SubjectName::SamePeer => Subject::SamePeer,
        SubjectName::Nothing => Subject::Nothing,
        SubjectName::Towline => Subject::Towline(TowlineChoice {
            program: arguments
                .towline
                .clone()
                .unwrap_or_else(|| target_directory().join("release/towline")),
            engine: arguments.engine.clone(),
        }),
    }
}

fn target_directory() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from)
}
