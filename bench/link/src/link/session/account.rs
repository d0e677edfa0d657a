//! From counters at two moments to accounts: of an interval, of a stream, of a whole test.
//!
//! Invariant: an account is the growth between two marks; what began before the first is not in it.

use std::sync::atomic::Ordering;

use towline_sys::tcp_info::TcpInfo;

use super::Session;
use crate::iperf3::datagram::Reception;
use crate::iperf3::{StreamResult, Transport};
use crate::link::flow::{Flow, Socket};
use crate::link::host::ProcessUse;
use crate::link::run::{Interval, StreamEnd, StreamInterval, StreamView, ThreadView};
use crate::result::CoreUse;

/// Counters of one stream at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    pub(super) bytes: u64,
    pub(super) blocks: u64,
    pub(super) reception: Reception,
    pub(super) tcp: Option<TcpInfo>,
}

/// What is left of a test when its threads have ended.
#[derive(Debug, Default)]
pub struct Ended {
    /// Seconds that counted.
    pub seconds: f64,
    /// This process.
    pub process: ProcessUse,
    /// This host's cores.
    pub cores: Vec<CoreUse>,
    /// The intervals.
    pub intervals: Vec<Interval>,
    /// The streams, without the peer's account.
    pub streams: Vec<StreamEnd>,
    /// The kernel's view of streams that this end sends on.
    pub views: Vec<StreamView>,
    /// The threads of all streams, where the system tells.
    pub threads: Vec<ThreadView>,
    /// Congestion control of the first stream.
    pub congestion: Option<String>,
    /// Why a stream ended early, if one did.
    pub failure: Option<std::io::Error>,
}

impl Session {
    pub(super) fn stream_end(
        &self,
        flow: &Flow,
        base: &Mark,
        last: &Mark,
        seconds: f64,
    ) -> StreamEnd {
        let is_udp = self.parameters.transport == Transport::Udp;
        let bytes = flow.bytes.load(Ordering::Relaxed);
        let reception = flow.reception();
        let retransmits = match (base.tcp, last.tcp) {
            (Some(base), Some(last)) if flow.sends => {
                Some(u64::from(last.retransmits.saturating_sub(base.retransmits)))
            }
            _ => None,
        };
        let blocks = flow.blocks.load(Ordering::Relaxed);
        let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let (lost, packets, omitted) = match (is_udp, flow.sends) {
            (false, _) => (0, 0, (0, 0)),
            (true, true) => (0, whole(blocks), (0, whole(base.blocks))),
            (true, false) => (
                whole(reception.lost),
                whole(reception.highest),
                (whole(base.reception.lost), whole(base.reception.highest)),
            ),
        };
        StreamEnd {
            sends: flow.sends,
            local: flow.local,
            remote: flow.remote,
            own: StreamResult {
                id: flow.id,
                bytes: bytes.saturating_sub(base.bytes),
                retransmits,
                jitter_s: reception.jitter_s,
                lost,
                packets,
                omitted: Some(omitted),
                end_s: seconds,
            },
            peer: None,
            out_of_order: reception.out_of_order - base.reception.out_of_order,
            tcp: last.tcp,
        }
    }

    pub(super) fn view(&self, flow: &Flow, base: TcpInfo, last: TcpInfo) -> Option<StreamView> {
        let grown = |now: Option<u64>, before: Option<u64>| Some(now?.saturating_sub(before?));
        let seen = || {
            let counted = self.intervals.iter().filter(|interval| !interval.omitted);
            let streams = counted.flat_map(|interval| &interval.streams);
            streams
                .filter(|stream| stream.id == flow.id)
                .filter_map(|stream| stream.tcp)
                .chain([last])
        };
        let rtts: u64 = seen().map(|info| u64::from(info.rtt_us)).sum();
        let count = seen().count() as u64;
        let window =
            |info: &TcpInfo| u64::from(info.congestion_window) * u64::from(info.segment_bytes);
        Some(StreamView {
            id: flow.id,
            busy_us: grown(last.busy_us, base.busy_us),
            receive_window_limited_us: grown(
                last.receive_window_limited_us,
                base.receive_window_limited_us,
            ),
            send_buffer_limited_us: grown(last.send_buffer_limited_us, base.send_buffer_limited_us),
            retransmits: u64::from(last.retransmits.saturating_sub(base.retransmits)),
            bytes_sent: grown(last.bytes_sent, base.bytes_sent),
            bytes_retransmitted: grown(last.bytes_retransmitted, base.bytes_retransmitted),
            duplicates: grown(
                last.duplicates.map(u64::from),
                base.duplicates.map(u64::from),
            ),
            min_rtt_us: last.min_rtt_us,
            mean_rtt_us: u32::try_from(rtts / count.max(1)).unwrap_or(u32::MAX),
            send_window_max: seen().filter_map(|info| info.send_window).max(),
            congestion_window_max: seen().map(|info| window(&info)).max().unwrap_or(0),
        })
    }
}
pub(super) fn growth(flow: &Flow, before: &Mark, now: &Mark) -> StreamInterval {
    let retransmits = match (before.tcp, now.tcp) {
        (Some(before), Some(now)) if flow.sends => Some(u64::from(
            now.retransmits.saturating_sub(before.retransmits),
        )),
        _ => None,
    };
    let packets = match (&flow.socket, flow.sends) {
        (Socket::Tcp(_), _) => 0,
        (Socket::Udp(_), true) => now.blocks - before.blocks,
        (Socket::Udp(_), false) => now.reception.highest - before.reception.highest,
    };
    StreamInterval {
        id: flow.id,
        sends: flow.sends,
        bytes: now.bytes - before.bytes,
        packets,
        lost: now.reception.lost.saturating_sub(before.reception.lost),
        jitter_s: now.reception.jitter_s,
        retransmits,
        tcp: now.tcp,
    }
}

pub(super) fn thread_view(flow: &Flow, wall_s: f64) -> ThreadView {
    let percent =
        |nanos: &std::sync::atomic::AtomicU64| nanos.load(Ordering::Relaxed) as f64 / 1e7 / wall_s;
    ThreadView {
        id: flow.id,
        sends: flow.sends,
        ran: percent(&flow.scheduled.0),
        waited: percent(&flow.scheduled.1),
    }
}
