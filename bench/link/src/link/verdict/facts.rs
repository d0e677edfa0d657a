//! The numbers that a verdict is made from, of the direction that counts.
//!
//! Invariant: what a side did not tell is `None`, never zero; shares are of 1, times are seconds,
//! rates payload bits per second.

use towline_tuning::formula::{Headers, efficiency};

use crate::iperf3::Transport;
use crate::link::run::{LinkRun, Side, SideView, StreamView};
use crate::link::text;
use crate::result::Evidence;
use crate::result::figure::{Unit, seconds};

use super::{QUEUE_S, QUEUE_TIMES, SMALL_WINDOW};

/// The numbers.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) rate: f64,
    pub(super) asked: f64,
    pub(super) nic_goal: Option<f64>,
    pub(super) busy_share: Option<f64>,
    pub(super) receive_window_share: Option<f64>,
    pub(super) send_buffer_share: Option<f64>,
    pub(super) send_window: Option<f64>,
    pub(super) congestion_window: Option<f64>,
    pub(super) retransmits: Option<f64>,
    /// Of them, those that the receiver had twice.
    pub(super) needless: Option<f64>,
    /// Share of the bytes that were lost: sent again, and not had twice.
    pub(super) loss_share: Option<f64>,
    pub(super) rtt_idle: Option<f64>,
    pub(super) rtt_loaded: Option<f64>,
    pub(super) sender_wanted: Option<f64>,
    pub(super) receiver_wanted: Option<f64>,
    pub(super) sender_core: Option<(u32, f64)>,
    pub(super) receiver_core: Option<(u32, f64)>,
    pub(super) lost_percent: Option<f64>,
    pub(super) receiver_drops: f64,
}

impl Facts {
    /// Of the direction in which this end sends, or the other; `None` if nothing moved.
    pub(super) fn of(run: &LinkRun, outward: bool) -> Option<Self> {
        let outward = outward == (run.side == Side::Client);
        let rate = run.bits_per_second(outward);
        if rate <= 0.0 {
            return None;
        }
        let peer = run.peer_view.as_ref();
        let (sender, receiver) = match outward {
            true => (Some(&run.own), peer),
            false => (peer, Some(&run.own)),
        };
        let count = run.streams_that(outward).count() as f64;
        let mut facts = Self {
            rate,
            asked: run.parameters.bandwidth as f64 * count,
            nic_goal: nic_goal(run),
            rtt_idle: run.rtt_idle.as_ref().map(|latency| latency.p50_s),
            rtt_loaded: run.rtt_loaded.as_ref().map(|latency| latency.p50_s),
            sender_wanted: wanted(sender, true),
            receiver_wanted: wanted(receiver, false),
            sender_core: busiest(sender),
            receiver_core: busiest(receiver),
            ..Self::default()
        };
        let process = run.peer.as_ref().map(|peer| peer.cpu_total / 100.0);
        match outward {
            true => facts.receiver_wanted = facts.receiver_wanted.or(process),
            false => facts.sender_wanted = facts.sender_wanted.or(process),
        }
        if let Some(sender) = sender {
            facts.take_streams(&sender.streams, run.seconds);
        }
        if run.parameters.transport == Transport::Udp {
            let (lost, packets, _) = text::loss(run, outward);
            facts.lost_percent = Some(100.0 * lost as f64 / packets.max(1) as f64);
            facts.receiver_drops = receiver
                .and_then(|view| view.counters.get("Udp.RcvbufErrors"))
                .map_or(0.0, |count| *count as f64);
        }
        Some(facts)
    }

    fn take_streams(&mut self, streams: &[StreamView], length_s: f64) {
        if streams.is_empty() {
            return;
        }
        let sum = |part: fn(&StreamView) -> Option<u64>| -> Option<f64> {
            let sum: Option<u64> = streams.iter().map(part).sum();
            sum.map(|sum| sum as f64)
        };
        let wall = length_s * 1e6 * streams.len() as f64;
        let busy = sum(|stream| stream.busy_us);
        self.busy_share = busy.map(|busy| busy / wall.max(1.0));
        let share = |part: Option<f64>| Some(part? / busy?.max(1.0));
        self.receive_window_share = share(sum(|stream| stream.receive_window_limited_us));
        self.send_buffer_share = share(sum(|stream| stream.send_buffer_limited_us));
        self.retransmits = sum(|stream| Some(stream.retransmits));
        let again = sum(|stream| stream.bytes_retransmitted);
        let sent = sum(|stream| stream.bytes_sent);
        // What the receiver had twice was late, not lost.
        self.needless = sum(|stream| stream.duplicates);
        let segments = self.retransmits.unwrap_or(0.0).max(1.0);
        let late = (self.needless.unwrap_or(0.0) / segments).min(1.0);
        let lost = again.map(|again| again * (1.0 - late));
        self.loss_share = lost.zip(sent).map(|(lost, sent)| lost / sent.max(1.0));
        let windows = streams.iter().filter_map(|stream| stream.send_window_max);
        self.send_window = windows.max().map(f64::from);
        let windows = streams
            .iter()
            .map(|stream| stream.congestion_window_max as f64);
        self.congestion_window = windows.reduce(f64::max);
        let rtts = streams.iter().map(|stream| f64::from(stream.mean_rtt_us));
        let mean = rtts.sum::<f64>() / streams.len() as f64 / 1e6;
        let floor = streams.iter().filter_map(|stream| stream.min_rtt_us).min();
        // Without echoes the kernel's own view of the connections stands in.
        self.rtt_loaded = self.rtt_loaded.or((mean > 0.0).then_some(mean));
        self.rtt_idle = self.rtt_idle.or(floor.map(|floor| f64::from(floor) / 1e6));
    }

    /// Whether the receive window stayed small and the congestion window would have let more go.
    pub(super) fn window_is_small(&self) -> bool {
        let windows = self.send_window.zip(self.congestion_window);
        windows.is_some_and(|(window, other)| window < SMALL_WINDOW && window <= other)
    }

    /// Whether data waits in a queue on the way.
    pub(super) fn queue_is_standing(&self) -> bool {
        let Some((idle, loaded)) = self.rtt_idle.zip(self.rtt_loaded) else {
            return false;
        };
        loaded - idle >= QUEUE_S && loaded >= QUEUE_TIMES * idle
    }

    /// What the verdict rests on, in words.
    pub(super) fn evidence(&self) -> Vec<Evidence> {
        let percent = |share: f64| format!("{:.0} %", 100.0 * share);
        let of_busy = |what: &'static str| {
            move |share: f64| format!("{} of that held up by the {what}", percent(share))
        };
        let core = |side: &'static str, core: Option<(u32, f64)>| {
            let (number, busy) = core?;
            let says = |busy: f64| {
                format!("core {number} of the {side} host, its busiest, was {busy:.0} % busy")
            };
            row(&format!("{side}_core"), Some(busy), says)
        };
        let wanted = |side: &'static str| {
            move |share: f64| {
                let share = percent(share);
                format!("the busiest {side} thread wanted {share} of a core")
            }
        };
        let rows = [
            row("busy", self.busy_share, |share| {
                format!("data was under way {} of the time", percent(share))
            }),
            row(
                "rwnd_limited",
                self.receive_window_share,
                of_busy("receive window"),
            ),
            row(
                "sndbuf_limited",
                self.send_buffer_share,
                of_busy("send buffer"),
            ),
            row("send_window", self.send_window, |bytes| {
                format!("the receive window grew to {}", text::size(bytes as u64))
            }),
            self.loss_row(),
            row("rtt_idle", self.rtt_idle, |time| {
                format!("a round trip takes {} when idle", seconds(time))
            }),
            row("rtt_loaded", self.rtt_loaded, |time| {
                format!("and {} under load", seconds(time))
            }),
            row("sender_wanted", self.sender_wanted, wanted("sending")),
            row("receiver_wanted", self.receiver_wanted, wanted("receiving")),
            core("sending", self.sender_core),
            core("receiving", self.receiver_core),
            row("nic_goal", self.nic_goal, |rate| {
                format!(
                    "the card carries {} of payload",
                    Unit::BitsPerSecond.show(rate)
                )
            }),
            row("lost", self.lost_percent, |lost| {
                format!("{lost:.2} % of the datagrams were lost")
            }),
        ];
        rows.into_iter().flatten().collect()
    }

    fn loss_row(&self) -> Option<Evidence> {
        let segments = self.retransmits.unwrap_or(0.0);
        let needless = match self.needless {
            Some(count) if count > 0.0 => format!(", of which {count:.0} had arrived, late"),
            Some(_) | None => String::new(),
        };
        row("lost_bytes", self.loss_share, |share| {
            let share = 100.0 * share;
            format!(
                "{share:.3} % of the bytes were lost ({segments:.0} segments sent again{needless})"
            )
        })
    }
}

fn row(name: &str, value: Option<f64>, says: impl Fn(f64) -> String) -> Option<Evidence> {
    let value = value?;
    Some(Evidence {
        name: name.to_owned(),
        says: says(value),
        value,
    })
}

/// Payload bits per second of the slower card: its speed less headers, preamble and gap.
fn nic_goal(run: &LinkRun) -> Option<f64> {
    let headers = Headers {
        six: run.streams.first().is_some_and(|one| one.remote.is_ipv6()),
        timestamps: true,
        vlan: false,
    };
    let views = [Some(&run.own), run.peer_view.as_ref()];
    let cards = views
        .into_iter()
        .flatten()
        .filter_map(|view| view.card.as_ref());
    let goals = cards.filter_map(|card| {
        let speed = f64::from(card.speed_mbit?) * 1e6;
        Some(speed * efficiency(card.mtu?, headers))
    });
    goals.reduce(f64::min)
}

fn busiest(view: Option<&SideView>) -> Option<(u32, f64)> {
    let cores = view?.cores.iter();
    let core = cores.max_by(|a, b| a.busy.total_cmp(&b.busy))?;
    Some((core.core, core.busy))
}

/// Share of the time in which the busiest stream thread ran or waited for a core.
fn wanted(view: Option<&SideView>, sends: bool) -> Option<f64> {
    let threads = view?.threads.iter().filter(|thread| thread.sends == sends);
    let shares = threads.map(|thread| (thread.ran + thread.waited) / 100.0);
    shares.reduce(f64::max)
}
