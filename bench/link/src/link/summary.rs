//! From a finished session to results for the peer and a run for the user, alike for both ends.
//!
//! Invariant: streams are matched by id; a stream that the peer does not tell has no account of it.

use std::time::Duration;

use serde_json::Value;

use super::run::{LinkRun, Side, SideView, StreamEnd};
use super::session::{Ended, Receive, Session};
use super::surroundings::Surroundings;
use crate::iperf3::{Parameters, Results, StreamResult};

/// What is known apart from the data.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) side: Side,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) parameters: Parameters,
    pub(super) cookie: String,
    pub(super) started: Duration,
    pub(super) buffers: (usize, usize),
    pub(super) zerocopy: &'static str,
}

/// This host as it was during the test.
pub(super) fn view(ended: &Ended, receive: Receive, surroundings: &mut Surroundings) -> SideView {
    let (card, counters) = surroundings.end();
    SideView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        receive: receive.name().to_owned(),
        cores: ended.cores.clone(),
        streams: ended.views.clone(),
        threads: ended.threads.clone(),
        card,
        counters,
    }
}

/// This end's account for the peer.
pub(super) fn results(ended: &Ended, view: &SideView) -> Results {
    let sends = ended.streams.iter().any(|stream| stream.sends);
    let counts = ended
        .streams
        .iter()
        .any(|stream| stream.own.retransmits.is_some());
    Results {
        cpu_total: ended.process.total,
        cpu_user: ended.process.user,
        cpu_system: ended.process.system,
        has_retransmits: sends.then_some(counts),
        congestion: ended.congestion.clone(),
        streams: ended
            .streams
            .iter()
            .map(|stream| stream.own.clone())
            .collect(),
        server_output: None,
        towline: serde_json::to_value(view).ok(),
    }
}

/// What is known when the streams stand and nothing has moved.
pub(super) fn beginning(frame: Frame, session: &Session) -> LinkRun {
    let streams = session.flows().iter().map(|flow| StreamEnd {
        sends: flow.sends,
        local: flow.local,
        remote: flow.remote,
        own: StreamResult {
            id: flow.id,
            ..StreamResult::default()
        },
        peer: None,
        out_of_order: 0,
        tcp: flow.tcp_info(),
    });
    let ended = Ended {
        streams: streams.collect(),
        ..Ended::default()
    };
    run(frame, ended, SideView::default(), None, None)
}

/// Everything together.
pub(super) fn run(
    frame: Frame,
    mut ended: Ended,
    own: SideView,
    peer: Option<Results>,
    fault: Option<String>,
) -> LinkRun {
    if let Some(peer) = &peer {
        for stream in &mut ended.streams {
            stream.peer = peer.stream(stream.own.id).cloned();
        }
    }
    let peer_view = peer
        .as_ref()
        .and_then(|peer| peer.towline.clone())
        .and_then(|view: Value| serde_json::from_value(view).ok());
    let failure = ended
        .failure
        .map(|error| format!("a stream ended: {error}"));
    let first = ended.streams.first().and_then(|stream| stream.tcp);
    LinkRun {
        side: frame.side,
        host: frame.host,
        port: frame.port,
        parameters: frame.parameters,
        cookie: frame.cookie,
        started: frame.started,
        congestion: ended.congestion,
        buffers: frame.buffers,
        segment_bytes: first.map_or(0, |info| info.segment_bytes),
        intervals: ended.intervals,
        streams: ended.streams,
        seconds: ended.seconds,
        process: ended.process,
        own,
        peer,
        peer_view,
        rtt_idle: None,
        rtt_loaded: None,
        zerocopy: frame.zerocopy,
        fault: fault.or(failure),
    }
}
