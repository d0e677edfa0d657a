//! What a link test is made of, as `towline bench link` takes it: the options of `iperf3`, with
//! its names, its meanings of 0 and its limits (iperf3(1)).
//!
//! Invariant: what cannot be asked for together or is out of range is told before anything is sent.

use std::time::Duration;

use clap::{Args, ValueEnum};
use towline_link::iperf3::parameters::{
    BLOCK_BYTES_DEFAULT, DATAGRAM_BYTES_DEFAULT, UDP_RATE_DEFAULT,
};
use towline_link::iperf3::{Direction, Parameters, Transport};
use towline_link::link::client::{self, Zerocopy};
use towline_link::link::session::Receive;

use super::dscp;
use super::way::WayOptions;
use crate::bench::amount;
use crate::failure::Failure;

/// Seconds of a test when nobody says otherwise, as for the C program.
const SECONDS: u32 = 10;

/// What a test is made of.
#[derive(Args, Clone, Debug)]
pub(crate) struct TestOptions {
    /// The other end: a name or an address.
    #[arg(value_name = "HOST")]
    pub(in crate::bench) host: Option<String>,
    /// Its port.
    #[arg(long, short, value_name = "N", default_value_t = towline_link::iperf3::PORT)]
    pub(in crate::bench) port: u16,
    /// Seconds that count; 0: until Ctrl-C [default: 10]
    #[arg(long, short = 't', value_name = "S")]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=86_400))]
    time: Option<u32>,
    /// Bytes to move instead of a time: 5M, 1G; 0: no limit, the time decides.
    #[arg(long = "bytes", short = 'n', value_name = "SIZE", value_parser = amount::size)]
    bytes: Option<u64>,
    /// Blocks to move instead of a time; 0: no limit, the time decides.
    #[arg(long = "blockcount", short = 'k', value_name = "N", value_parser = amount::size)]
    blocks: Option<u64>,
    /// Seconds at the start that do not count.
    #[arg(long, short = 'O', value_name = "S", default_value_t = 0)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=600))]
    omit: u32,
    /// Streams at the same time.
    #[arg(long, short = 'P', value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=128))]
    parallel: u32,
    /// The other end sends.
    #[arg(long, short = 'R', conflicts_with = "bidir")]
    reverse: bool,
    /// Both ends send.
    #[arg(long)]
    bidir: bool,
    /// Datagrams instead of TCP.
    #[arg(long, short)]
    udp: bool,
    /// Bits per second of each stream, with a burst if wanted: 20M, 1G/10; 0 is no limit [default:
    /// no limit for TCP, 1M for UDP]
    #[arg(long, short, value_name = "RATE", value_parser = amount::rate_and_burst)]
    #[arg(alias = "bandwidth")]
    bitrate: Option<(u64, u32)>,
    /// Bytes per block or datagram [default: 128K for TCP, 1460 for UDP]
    #[arg(long = "length", visible_alias = "len", short)]
    #[arg(value_name = "SIZE", value_parser = amount::size)]
    len: Option<u64>,
    /// How the sender here avoids copies.
    #[arg(long, short = 'Z', value_enum, default_value_t)]
    #[arg(num_args = 0..=1, default_missing_value = "sendfile")]
    zerocopy: ZerocopyName,
    /// What to do with what is received: 'copy' it into memory as iperf3 does, or 'discard' it.
    #[arg(long, value_enum, default_value_t)]
    receive: ReceiveName,
    /// Socket buffers in bytes; ends the system's own tuning of them.
    #[arg(long, short, value_name = "SIZE", value_parser = amount::size)]
    window: Option<u64>,
    /// Largest segment in bytes.
    #[arg(long = "set-mss", short = 'M', value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(88..=32_767))]
    segment: Option<u32>,
    /// Congestion control of both ends.
    #[arg(long, short = 'C', value_name = "NAME")]
    congestion: Option<String>,
    /// Send at once what is small (TCP_NODELAY).
    #[arg(long, short = 'N')]
    no_delay: bool,
    /// Type of service octet: 52, 064 or 0x34.
    #[arg(long, short = 'S', value_name = "N", default_value = "0", value_parser = dscp::tos)]
    tos: u8,
    /// The same by its code point: ef, af41, cs5, or 0 to 63.
    #[arg(long, value_name = "NAME", value_parser = dscp::dscp, conflicts_with = "tos")]
    dscp: Option<u8>,
    /// 64-bit sequence numbers in datagrams.
    #[arg(long)]
    udp_counters_64bit: bool,
    /// Never cut datagrams on the way.
    #[arg(long)]
    dont_fragment: bool,
    /// A pattern instead of random bytes.
    #[arg(long)]
    repeating_payload: bool,
    /// Show the server's own report too.
    #[arg(long)]
    get_server_output: bool,
    /// A title for reports.
    #[arg(long, short = 'T', value_name = "TEXT")]
    title: Option<String>,
    /// A text that the reports of both ends carry.
    #[arg(long, value_name = "TEXT")]
    extra_data: Option<String>,
    /// Measure no round trips beside the test (ICMP echoes).
    #[arg(long)]
    no_probe: bool,
    /// Seconds between samples, 0.1 to 60; 0: one sample, of the whole test.
    #[arg(long, short, value_name = "S", default_value = "1", value_parser = amount::interval)]
    interval: Duration,
    #[command(flatten)]
    way: WayOptions,
}

/// How senders avoid copies.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum ZerocopyName {
    /// Copy from memory.
    #[default]
    Off,
    /// From the page cache, without a copy.
    Sendfile,
    /// From memory through io_uring; without a copy where card and driver can.
    SendZc,
}

/// What receivers do.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum ReceiveName {
    /// The kernel throws it away.
    #[default]
    Discard,
    /// Into memory.
    Copy,
}

impl From<ReceiveName> for Receive {
    fn from(name: ReceiveName) -> Self {
        match name {
            ReceiveName::Discard => Self::Discard,
            ReceiveName::Copy => Self::Copy,
        }
    }
}

impl TestOptions {
    fn check_zerocopy(&self) -> Result<(), Failure> {
        match self.udp && !matches!(self.zerocopy, ZerocopyName::Off) {
            true => Err(Failure::usage(
                "--zerocopy is for TCP: leave it out, or leave out -u",
            )),
            false => Ok(()),
        }
    }

    /// Seconds, bytes and blocks, of which one at most is a limit; all 0: until it is interrupted.
    fn end(&self) -> Result<(u32, u64, u64), Failure> {
        let (bytes, blocks) = (self.bytes.unwrap_or(0), self.blocks.unwrap_or(0));
        let time = match (self.time, bytes, blocks) {
            (Some(time), ..) => time,
            (None, 0, 0) => SECONDS,
            (None, ..) => 0,
        };
        let limits = [time > 0, bytes > 0, blocks > 0];
        match limits.into_iter().filter(|limit| *limit).count() {
            0 | 1 => Ok((time, bytes, blocks)),
            _ => Err(Failure::usage(
                "-t, -n and -k: give one of them, or 0 to the others",
            )),
        }
    }

    fn window(&self) -> Result<u32, Failure> {
        let bytes = u32::try_from(self.window.unwrap_or(0)).ok();
        let bytes = bytes.filter(|bytes| *bytes <= 512 << 20);
        bytes.ok_or_else(|| Failure::usage("--window: write at most 512M"))
    }

    fn direction(&self) -> Direction {
        match (self.reverse, self.bidir) {
            (true, _) => Direction::Reverse,
            (false, true) => Direction::Both,
            (false, false) => Direction::Forward,
        }
    }

    /// The test in the words of the library.
    pub(in crate::bench) fn build(&self) -> Result<client::Options, Failure> {
        let transport = match self.udp {
            true => Transport::Udp,
            false => Transport::Tcp,
        };
        let (len, range) = match transport {
            Transport::Tcp => (BLOCK_BYTES_DEFAULT, 1..=1 << 20),
            Transport::Udp => (DATAGRAM_BYTES_DEFAULT, 16..=65_507),
        };
        let len = self.len.unwrap_or(len.into());
        let fits = u32::try_from(len).ok().filter(|len| range.contains(len));
        let len = fits.ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            Failure::usage(format!("--len {len}: write {least} to {most} bytes"))
        })?;
        self.check_zerocopy()?;
        let default_rate = match transport {
            Transport::Tcp => 0,
            Transport::Udp => UDP_RATE_DEFAULT,
        };
        let (bandwidth, burst) = self.bitrate.unwrap_or((default_rate, 0));
        let (time_s, bytes, blocks) = self.end()?;
        let host = self
            .host
            .as_ref()
            .ok_or_else(|| Failure::usage("name the HOST to measure to, such as 10.0.0.2"))?;
        let (way, host) = self.way.build(host)?;
        let parameters = Parameters {
            transport,
            direction: self.direction(),
            omit_s: self.omit,
            time_s,
            bytes,
            blocks,
            parallel: self.parallel,
            len,
            bandwidth,
            burst,
            segment_bytes: self.segment.unwrap_or(0),
            nodelay: self.no_delay,
            window: self.window()?,
            tos: self.dscp.unwrap_or(self.tos).into(),
            congestion: self.congestion.clone(),
            counters_64bit: self.udp_counters_64bit,
            repeating_payload: self.repeating_payload,
            zerocopy: !matches!(self.zerocopy, ZerocopyName::Off),
            dont_fragment: self.dont_fragment,
            get_server_output: self.get_server_output,
            title: self.title.clone(),
            extra_data: self.extra_data.clone(),
            client_version: Some(concat!("towline ", env!("CARGO_PKG_VERSION")).to_owned()),
        };
        Ok(client::Options {
            host,
            port: self.port,
            parameters,
            zerocopy: match self.zerocopy {
                ZerocopyName::Off => Zerocopy::Off,
                ZerocopyName::Sendfile => Zerocopy::Sendfile,
                ZerocopyName::SendZc => Zerocopy::SendZc,
            },
            receive: self.receive.into(),
            interval: self.interval,
            probe: !self.no_probe,
            way,
        })
    }
}
