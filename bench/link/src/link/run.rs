//! Everything that one end knows after a test: what tables, JSON and the verdict are made from.
//!
//! Invariant: `own` numbers are this end's, `peer` numbers came over the control connection. A peer
//! that is towline adds a [`SideView`]; of any other its cores and counters stay unknown.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use towline_sys::tcp_info::TcpInfo;

use crate::iperf3::{Parameters, Results, StreamResult};
use crate::result::{CoreUse, Latency};

use super::host::ProcessUse;

/// Which end of the test this is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// The one that asked for it.
    Client,
    /// The one that answered.
    Server,
}

/// One stream within one interval.
#[derive(Clone, Debug, Default)]
pub struct StreamInterval {
    /// Its id.
    pub id: i64,
    /// Whether this end sends.
    pub sends: bool,
    /// Payload bytes.
    pub bytes: u64,
    /// Datagrams sent, or the growth of the highest number received.
    pub packets: u64,
    /// Datagrams lost.
    pub lost: u64,
    /// Jitter at its end, in seconds.
    pub jitter_s: f64,
    /// Segments sent again.
    pub retransmits: Option<u64>,
    /// The kernel's view at its end.
    pub tcp: Option<TcpInfo>,
}

/// One interval.
#[derive(Clone, Debug, Default)]
pub struct Interval {
    /// Begin, in seconds from the start of what counts or of what is omitted.
    pub start_s: f64,
    /// End.
    pub end_s: f64,
    /// Belongs to the start that does not count.
    pub omitted: bool,
    /// Each stream.
    pub streams: Vec<StreamInterval>,
    /// Percent of the busiest core of this host, and its number.
    pub busiest_core: Option<(u32, f64)>,
}

/// One stream over the whole test.
#[derive(Clone, Debug)]
pub struct StreamEnd {
    /// Whether this end sends.
    pub sends: bool,
    /// This end's address.
    pub local: SocketAddr,
    /// The other's.
    pub remote: SocketAddr,
    /// This end's account.
    pub own: StreamResult,
    /// The other end's, if it came.
    pub peer: Option<StreamResult>,
    /// Datagrams out of order, where this end receives.
    pub out_of_order: u64,
    /// The kernel's view at the end.
    pub tcp: Option<TcpInfo>,
}

/// What the kernel of a sending end counted on one stream while the test counted.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct StreamView {
    /// Its id.
    pub id: i64,
    /// Time with unacknowledged data, in microseconds.
    pub busy_us: Option<u64>,
    /// Of it, held up by the receive window.
    pub receive_window_limited_us: Option<u64>,
    /// Of it, held up by the send buffer.
    pub send_buffer_limited_us: Option<u64>,
    /// Segments sent again.
    pub retransmits: u64,
    /// Bytes sent, those sent again included.
    pub bytes_sent: Option<u64>,
    /// Bytes sent again.
    pub bytes_retransmitted: Option<u64>,
    /// Of the segments sent again, those that the receiver told it had twice.
    pub duplicates: Option<u64>,
    /// Shortest round trip in microseconds.
    pub min_rtt_us: Option<u32>,
    /// Mean of the smoothed round trips at the intervals' ends, in microseconds.
    pub mean_rtt_us: u32,
    /// Largest receive window seen, in bytes.
    pub send_window_max: Option<u32>,
    /// Largest congestion window seen, in bytes.
    pub congestion_window_max: u64,
}

/// How one stream's thread fared with the processors, in percent of the time.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct ThreadView {
    /// Id of its stream.
    pub id: i64,
    /// Whether it sends.
    pub sends: bool,
    /// On a core.
    pub ran: f64,
    /// Ready, but without a core.
    pub waited: f64,
}

/// The card that carries the test.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Card {
    /// The interface.
    pub name: String,
    /// Its speed, where it has one.
    pub speed_mbit: Option<u32>,
    /// Its MTU in bytes.
    pub mtu: Option<u32>,
}

/// What a towline end saw of its own host; travels in the results.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct SideView {
    /// Version of towline.
    pub version: String,
    /// How it receives: `discard` or `copy`.
    pub receive: String,
    /// Every core, in percent.
    pub cores: Vec<CoreUse>,
    /// Streams that it sends on.
    pub streams: Vec<StreamView>,
    /// The threads of all streams, where the system tells (`schedstat`).
    pub threads: Vec<ThreadView>,
    /// The card.
    pub card: Option<Card>,
    /// Growth of drops, pause frames and the stack's complaints; zeros left out.
    pub counters: BTreeMap<String, u64>,
}

/// One test as one end knows it.
#[derive(Clone, Debug)]
pub struct LinkRun {
    /// Which end.
    pub side: Side,
    /// The other end as the user named it, or its address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What was asked for.
    pub parameters: Parameters,
    /// The cookie's letters.
    pub cookie: String,
    /// Wall clock at the start.
    pub started: Duration,
    /// Congestion control of this end.
    pub congestion: Option<String>,
    /// Send and receive buffers of the first stream at its start, in bytes.
    pub buffers: (usize, usize),
    /// Segment size of the first stream.
    pub segment_bytes: u32,
    /// The intervals.
    pub intervals: Vec<Interval>,
    /// The streams.
    pub streams: Vec<StreamEnd>,
    /// Seconds that counted.
    pub seconds: f64,
    /// This process.
    pub process: ProcessUse,
    /// This host.
    pub own: SideView,
    /// The other end's account, if it came.
    pub peer: Option<Results>,
    /// The other end's host, if it is towline.
    pub peer_view: Option<SideView>,
    /// Round trips before the test.
    pub rtt_idle: Option<Latency>,
    /// Round trips during the test.
    pub rtt_loaded: Option<Latency>,
    /// How payload was sent: `copy`, `sendfile` or `send-zc`.
    pub zerocopy: &'static str,
    /// Why the test ended early, if it did.
    pub fault: Option<String>,
}

impl LinkRun {
    /// Streams on which this end sends, or receives.
    pub fn streams_that(&self, send: bool) -> impl Iterator<Item = &StreamEnd> {
        self.streams
            .iter()
            .filter(move |stream| stream.sends == send)
    }

    /// Bytes that were sent and received in the direction in which this end sends, or receives.
    #[must_use]
    pub fn moved(&self, outward: bool) -> (u64, u64) {
        let own = |stream: &StreamEnd| stream.own.bytes;
        let peer = |stream: &StreamEnd| stream.peer.as_ref().map_or(0, |peer| peer.bytes);
        let streams = || self.streams_that(outward);
        let (owns, peers) = (streams().map(own).sum(), streams().map(peer).sum());
        if outward {
            (owns, peers)
        } else {
            (peers, owns)
        }
    }

    /// Payload bits per second that arrived in a direction; what was sent, if the receiver's
    /// account is missing.
    #[must_use]
    pub fn bits_per_second(&self, outward: bool) -> f64 {
        let (sent, received) = self.moved(outward);
        let known = self.peer.is_some() || !outward;
        let bytes = if known { received } else { sent };
        bytes as f64 * 8.0 / self.seconds.max(1e-9)
    }
}
