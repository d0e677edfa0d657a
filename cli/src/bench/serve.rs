//! `towline bench serve`: the other end of `towline bench link`, and of any `iperf3 -c`.
//!
//! Answers loopback and the named networks only, one test at a time.

use std::net::{IpAddr, Ipv6Addr};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Args;
use ipnet::IpNet;
use towline_link::iperf3::server::Allowance;
use towline_link::link::server::{Config, Counters, Event, Server};
use towline_link::link::session::Receive;
use towline_link::link::{document, report, text};

use super::amount;
use super::link::ReceiveName;
use super::stopping;
use crate::failure::Failure;
use crate::output;

pub(crate) const EXAMPLES: &str = "\
Examples:
  towline bench serve --allow 10.0.0.0/24           on one host
  towline bench link 10.0.0.2                       on the other, or: iperf3 -c 10.0.0.2
  towline bench serve --rate-max 5G --time-max 60   with limits
  towline bench serve --one-off                     one test, then the end

One test at a time: whoever comes meanwhile is told that the server is busy, as iperf3 does.
Open port 5201 (TCP, and UDP for -u) in the firewall.

Exit codes: 0 stopped, 2 the port cannot be had.";

/// Options of `serve`.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Network or address that is answered beside this host; may be given several times.
    #[arg(long, value_name = "CIDR")]
    allow: Vec<String>,
    /// Address to listen on; all of them if left out.
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V6(Ipv6Addr::UNSPECIFIED))]
    listen: IpAddr,
    /// Port, TCP and UDP; 0 takes any free one.
    #[arg(long, short, value_name = "N", default_value_t = towline_link::iperf3::PORT)]
    port: u16,
    /// Longest test in seconds; a client that asks for more is refused.
    #[arg(long, value_name = "S", default_value_t = 3600)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=86_400))]
    time_max: u32,
    /// Highest rate of a test in bits per second; TCP is slowed down to it. No limit if left out.
    #[arg(long, value_name = "RATE", value_parser = amount::rate)]
    rate_max: Option<u64>,
    /// What to do with what is received: `copy` it into memory as iperf3 does, or `discard` it.
    #[arg(long, value_enum, default_value_t)]
    receive: ReceiveName,
    /// End after one test.
    #[arg(long, short = '1')]
    one_off: bool,
    /// Print one line of JSON per test instead of tables.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let config = Config {
        listen: options.listen,
        port: options.port,
        allow: nets(&options.allow)?,
        allowance: Allowance {
            time_s_max: options.time_max,
            rate_max: options.rate_max.unwrap_or(0),
            ..Config::default().allowance
        },
        receive: Receive::from(options.receive),
        one_off: options.one_off,
        interval: Duration::from_secs(1),
    };
    let stop = stopping::flag()?;
    let server = Server::open(config)?;
    let address = server
        .address()
        .map_err(|error| Failure::Internal(error.to_string()))?;
    if !options.json {
        let who = match options.allow.is_empty() {
            true => "this host only; name others with --allow CIDR".to_owned(),
            false => format!("this host and {}", options.allow.join(", ")),
        };
        let port = address.port();
        output::print(&format!("answering on port {port}: {who}; Ctrl-C stops\n"))?;
    }
    let counters = Counters::default();
    let mut failed = None;
    let json = options.json;
    server.run(&stop, &counters, |event| {
        if let Some(text) = describe(&event, json)
            && let Err(failure) = output::print(&text)
        {
            failed = Some(failure);
            stop.store(true, Ordering::Relaxed);
        }
    })?;
    match failed {
        Some(failure) => Err(failure),
        None => Ok(ExitCode::SUCCESS),
    }
}

fn describe(event: &Event<'_>, json: bool) -> Option<String> {
    match (event, json) {
        (Event::Finished(run), true) => {
            let report = report::of(run);
            Some(format!("{}\n", document::whole(run, &report)))
        }
        (_, true) => None,
        (Event::Started { peer, parameters }, false) => Some(format!(
            "\n{peer} asks: {}\n{}",
            text::asked(parameters),
            text::HEAD
        )),
        (Event::Echoing { peer }, false) => Some(format!("\n{peer} asks for round trips\n")),
        (Event::Interval(interval), false) => Some(text::interval(interval)),
        (Event::Finished(run), false) => Some(text::summary(run)),
        (Event::Refused { peer, fault }, false) => Some(format!("{peer} got no test: {fault}\n")),
        (Event::TurnedAway { peer, not_allowed }, false) => Some(match not_allowed {
            true => {
                let address = peer.ip();
                format!("{address} was turned away: let it in with --allow {address}\n")
            }
            false => format!("{peer} was turned away: a test is running\n"),
        }),
    }
}

/// Ranges of addresses.
pub(super) fn nets(texts: &[String]) -> Result<Vec<IpNet>, Failure> {
    let net = |text: &String| {
        let bare = text.parse::<IpAddr>().map(IpNet::from);
        bare.or_else(|_| text.parse())
            .map_err(|_| Failure::usage(format!("--allow {text}: write 10.0.0.0/24 or 10.0.0.2")))
    };
    texts.iter().map(net).collect()
}
