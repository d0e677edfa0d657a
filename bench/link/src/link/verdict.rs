//! What limited a link test: sender, receiver, path, processor or card, with the evidence.
//!
//! The kernel of the sender knows: it counts the time with unacknowledged data, and how much of it
//! the receive window or the send buffer held up (`TCP_INFO`, linux/tcp.h); what is left was the
//! congestion window's, which is the path. Round trips under load tell a full queue from an empty
//! one, processors of both sides and counters of the card say the rest.
//!
//! Loss is what was sent again less what the receiver tells it had twice (DSACK, RFC 2883). A
//! receiver that waits for its core acknowledges late, and probes and timers of its sender send
//! again what was never lost: of five tests against a receiver that shared its core with a spinning
//! program, 10 to 257 segments (up to 0.11 % of the bytes) were sent again, and at least 90 % of
//! them were told as duplicates in four tests, 43 % in one. Invariant: a pure function of what was
//! measured; every number that it used is in its evidence.

mod facts;

use facts::Facts;

use super::run::LinkRun;
use super::surroundings::COUNTERS;
use crate::iperf3::{Direction, Transport};
use crate::result::figure::seconds;
use crate::result::{Evidence, Limit, Unit, Verdict};

/// Share of a card's payload goal from which the card is the limit.
const NIC_SHARE: f64 = 0.97;
/// Share of the asked rate from which the rate is what was asked for.
const ASKED_SHARE: f64 = 0.97;
/// Share of the time that a thread ran or waited for a core, from which the core is its limit.
const CORE_FULL: f64 = 0.85;
/// Share of the busy time from which a window counts as the limit.
const HELD_UP: f64 = 0.3;
/// The same for a window that is small and full: the sender's own count begins only when it waits.
const HELD_UP_SMALL: f64 = 0.1;
/// Share of lost bytes from which loss is the limit of the path...
const LOSS: f64 = 0.0005;
/// ...and from which it is so even where a core is full: what a full core itself drops is less once
/// late segments are taken off, and a sender without the receiver's duplicates (older than Linux
/// 5.5) errs by what the first paragraph tells.
const LOSS_HEAVY: f64 = 0.003;
/// A queue is standing when round trips under load exceed idle ones by so many seconds...
const QUEUE_S: f64 = 0.003;
/// ...and are so many times longer.
const QUEUE_TIMES: f64 = 3.0;
/// Receive window in bytes below which its size is the cause: a system that tunes it goes beyond.
const SMALL_WINDOW: f64 = 512.0 * 1024.0;
/// Percent of lost datagrams from which loss is worth a word.
const DATAGRAM_LOSS_PERCENT: f64 = 0.1;

/// The verdict on the main direction: that in which data went, or client to server where both.
#[must_use]
pub fn of(run: &LinkRun) -> Option<Verdict> {
    let outward = run.parameters.direction != Direction::Reverse;
    let facts = Facts::of(run, outward)?;
    let mut evidence = facts.evidence();
    evidence.extend(troubles(run));
    let (limit, cause, advice) = match run.parameters.transport {
        Transport::Tcp => judge_tcp(&facts),
        Transport::Udp => judge_udp(&facts),
    };
    Some(Verdict {
        limit,
        cause,
        advice: advice.to_owned(),
        evidence,
    })
}

type Judgement = (Limit, String, &'static str);

fn judge_tcp(facts: &Facts) -> Judgement {
    let rate = Unit::BitsPerSecond.show(facts.rate);
    if let Some(goal) = facts.nic_goal
        && facts.rate >= NIC_SHARE * goal
    {
        let cause = format!("{rate} is the line rate of the card");
        return (
            Limit::Nic,
            cause,
            "nothing to gain here but a faster link or a larger MTU",
        );
    }
    if facts.asked > 0.0 && facts.rate >= ASKED_SHARE * facts.asked {
        let cause = format!("{rate} is the rate that was asked for");
        return (Limit::Asked, cause, "leave out -b to find the limit");
    }
    let queue_is_standing = facts.queue_is_standing();
    let held = facts.receive_window_share.unwrap_or(0.0);
    if held >= HELD_UP_SMALL && facts.window_is_small() {
        return small_window(facts, held);
    }
    if held >= HELD_UP && !queue_is_standing {
        return receiver(facts, held);
    }
    if facts.loss_share.unwrap_or(0.0) >= LOSS_HEAVY {
        return loss(facts);
    }
    if queue_is_standing {
        let cause = format!(
            "a queue fills on the way: round trips grow from {} to {} under load",
            seconds(facts.rtt_idle.unwrap_or(0.0)),
            seconds(facts.rtt_loaded.unwrap_or(0.0))
        );
        let advice = "look for the slowest link, a shaper, or a switch port at a lower speed";
        return (Limit::Path, cause, advice);
    }
    if let Some(judgement) = full_core(facts) {
        return judgement;
    }
    if facts.send_buffer_share.unwrap_or(0.0) >= HELD_UP {
        let cause = format!(
            "the send buffer held the connection up {:.0} % of the time",
            100.0 * facts.send_buffer_share.unwrap_or(0.0)
        );
        return (
            Limit::Sender,
            cause,
            "raise net.ipv4.tcp_wmem on the sending host, or use -P",
        );
    }
    rest(facts, &rate)
}

/// The receive window was the limit: because the program has no core to read with, or because it
/// does something else.
fn receiver(facts: &Facts, held: f64) -> Judgement {
    let percent = 100.0 * held;
    if facts
        .receiver_wanted
        .is_some_and(|share| share >= CORE_FULL)
    {
        let cause = format!(
            "the receiving thread has too little of a core to read faster; its window held the \
             connection up {percent:.0} % of the time"
        );
        let advice = "free a core on the receiving host, or use -P so that more cores read";
        return (Limit::Cpu, cause, advice);
    }
    let cause = format!("its receive window was full {percent:.0} % of the time");
    let advice = "look at what else the receiving host does, and at net.ipv4.tcp_rmem";
    (Limit::Receiver, cause, advice)
}

fn small_window(facts: &Facts, held: f64) -> Judgement {
    let cause = format!(
        "its receive window of at most {:.0} KiB held the connection up {:.0} % of the time",
        facts.send_window.unwrap_or(0.0) / 1024.0,
        100.0 * held
    );
    let advice = "raise net.ipv4.tcp_rmem (the third number) on the receiving host";
    (Limit::Receiver, cause, advice)
}

/// A stream thread that always ran or waited for a core; the busier side is the cause.
fn full_core(facts: &Facts) -> Option<Judgement> {
    let sender = facts.sender_wanted.unwrap_or(0.0);
    let receiver = facts.receiver_wanted.unwrap_or(0.0);
    if sender.max(receiver) < CORE_FULL {
        return None;
    }
    let (side, share, advice) = match sender >= receiver {
        true => (
            "sending",
            sender,
            "use -P so that more cores send, or --zerocopy sendfile",
        ),
        false => (
            "receiving",
            receiver,
            "free a core there, or use -P so that more cores read",
        ),
    };
    let percent = 100.0 * share;
    let cause = format!("the {side} thread wanted {percent:.0} % of a core and got no more");
    Some((Limit::Cpu, cause, advice))
}

fn loss(facts: &Facts) -> Judgement {
    let share = facts.loss_share.unwrap_or(0.0);
    let cause = format!(
        "{:.2} % of the bytes were lost on the way ({:.0} segments sent again)",
        100.0 * share,
        facts.retransmits.unwrap_or(0.0)
    );
    let advice = "look for a policer, a full queue, a bad cable: 'towline tune check --peer' there";
    (Limit::Path, cause, advice)
}

fn rest(facts: &Facts, rate: &str) -> Judgement {
    if facts.busy_share.is_some_and(|busy| busy < 0.7) {
        let cause = "the sending program left the connection idle much of the time".to_owned();
        return (
            Limit::Sender,
            cause,
            "look at the sending host's load; try --len 1M or -P",
        );
    }
    if facts.loss_share.unwrap_or(0.0) >= LOSS {
        return loss(facts);
    }
    if facts.busy_share.is_none() {
        let cause = format!("{rate}; the sending end is no towline and tells no more");
        return (
            Limit::Unknown,
            cause,
            "run the test the other way round, without -R",
        );
    }
    let cause = format!("{rate}: the congestion window was the limit, without a queue or loss");
    (
        Limit::Path,
        cause,
        "try -P 4, and another congestion control with -C",
    )
}

fn judge_udp(facts: &Facts) -> Judgement {
    let rate = Unit::BitsPerSecond.show(facts.rate);
    let lost = facts.lost_percent.unwrap_or(0.0);
    if lost >= DATAGRAM_LOSS_PERCENT {
        if facts.receiver_drops > 0.0 {
            let cause = format!("{lost:.2} % lost: the receiver's socket buffer overflowed");
            let advice = "raise net.core.rmem_max there, or free its cores";
            return (Limit::Receiver, cause, advice);
        }
        let cause = format!("{lost:.2} % of the datagrams were lost on the way");
        return (
            Limit::Path,
            cause,
            "lower -b until nothing is lost: that is what the path takes",
        );
    }
    if facts.asked > 0.0 && facts.rate >= ASKED_SHARE * facts.asked {
        let cause = format!("{rate} is the rate that was asked for, and nothing was lost");
        return (Limit::Asked, cause, "raise -b to find the limit");
    }
    if let Some(judgement) = full_core(facts) {
        return judgement;
    }
    let cause = format!("{rate}: the sender could not send faster");
    (
        Limit::Sender,
        cause,
        "use -P, or larger datagrams with --len",
    )
}

/// Counters of both hosts that grew and should not.
fn troubles(run: &LinkRun) -> Vec<Evidence> {
    let sides = [("here", Some(&run.own)), ("there", run.peer_view.as_ref())];
    let mut found = Vec::new();
    for (side, view) in sides {
        let Some(view) = view else { continue };
        for (name, count) in &view.counters {
            let known = COUNTERS.iter().find(|(counter, _)| counter == name);
            if let Some((_, meaning)) = known {
                found.push(Evidence {
                    name: format!("{side}.{name}"),
                    says: format!("{side}: {count} {meaning}"),
                    value: *count as f64,
                });
            }
        }
    }
    found
}
