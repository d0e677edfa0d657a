//! `towline tune answer`: the other end of `towline tune check --peer`.
//!
//! Answers loopback and the named networks only, and changes nothing.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;
use ipnet::IpNet;
use towline_tuning::TuneError;
use towline_tuning::peer::PORT;
use towline_tuning::peer::answer::Answerer;

use crate::failure::Failure;
use crate::output;

pub(crate) const EXAMPLES: &str = "\
Examples:
  towline tune answer --allow 10.0.0.0/24     on one host
  towline tune check --peer 10.0.0.2          on the other

Exit codes: 2 the port cannot be had.";

/// Options of `answer`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Network or address that is answered; may be given several times.
    #[arg(long, value_name = "CIDR")]
    allow: Vec<String>,
    /// Address to listen on.
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    listen: IpAddr,
    /// Port, TCP and UDP; 0 takes any free one.
    #[arg(long, value_name = "N", default_value_t = PORT)]
    port: u16,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let allow: Vec<IpNet> = options
        .allow
        .iter()
        .map(|text| net_of(text))
        .collect::<Result<_, _>>()?;
    let answerer = Answerer::open(
        SocketAddr::new(options.listen, options.port),
        allow,
        Arc::default(),
    )?;
    let address = answerer
        .address()
        .map_err(|error| TuneError::system("the address", error))?;
    output::print(&format!("answering on {address}; Ctrl-C stops\n"))?;
    // Ctrl-C ends the process: there is nothing to drain.
    answerer.run(&Arc::new(AtomicBool::new(false)));
    Ok(ExitCode::SUCCESS)
}

fn net_of(text: &str) -> Result<IpNet, Failure> {
    let bare = text.parse::<IpAddr>().map(IpNet::from);
    bare.or_else(|_| text.parse())
        .map_err(|_| Failure::usage(format!("--allow {text}: write 10.0.0.0/24 or 10.0.0.2")))
}
