//! What limited the reading of a share: server, path, card, disk, or a core of this host.
//!
//! Round trips of the network itself (ICMP echoes, idle and under load) tell a full queue on the
//! way; a call that touches no data, against a read of 4 KiB, tells a disk; a first or cold read
//! against a later one tells a disk too; the share of a core that this process used tells the rest.
//! Invariant: a pure function of what was measured; each number that it used is in its evidence.

use towline_link::link::run::Card;
use towline_link::result::figure::seconds;
use towline_link::result::{Evidence, Latency, Limit, Unit, Verdict};

/// Percent of a core from which this host's reading thread is the limit.
const CORE_FULL: f64 = 85.0;
/// Share of a card's speed that is all of it: headers take 3 to 6 % at an MTU of 1500.
const NIC_SHARE: f64 = 0.92;
/// A queue is standing when round trips under load exceed idle ones by so many seconds...
const QUEUE_S: f64 = 0.003;
/// ...and are so many times longer.
const QUEUE_TIMES: f64 = 3.0;
/// A read of 4 KiB that takes so many times a call without data waits for a disk...
const DISK_TIMES: f64 = 5.0;
/// ...when it takes at least so many seconds: less is the work of the server's processor.
const DISK_S: f64 = 0.001;
/// A cold or first read below this share of a warm one waits for a disk.
const COLD_SHARE: f64 = 0.7;
/// Share of a request's time that is the network's from which round trips are the limit.
const ROUND_TRIP_SHARE: f64 = 0.5;

/// What was measured.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Bits per second of the sequential read that is judged.
    pub rate: f64,
    /// Its requests in flight.
    pub depth: u32,
    /// Median seconds of one of its requests.
    pub block_s: Option<f64>,
    /// Percent of a core that this process used then.
    pub process_percent: f64,
    /// Cold, in bits per second, where that could be had.
    pub cold_rate: Option<f64>,
    /// The first read of all, in bits per second.
    pub first_rate: Option<f64>,
    /// Median seconds of a cold read of 4 KiB.
    pub cold_4k_s: Option<f64>,
    /// Median seconds of a warm read of 4 KiB.
    pub read_4k_s: Option<f64>,
    /// Its requests in flight.
    pub read_4k_depth: u32,
    /// Median seconds of a call that touches no data.
    pub stat_s: Option<f64>,
    /// Round trips of the idle network.
    pub idle: Option<Latency>,
    /// Round trips during the judged read.
    pub loaded: Option<Latency>,
    /// The card towards the server.
    pub card: Option<Card>,
    /// No network that this host sees: a path.
    pub is_local: bool,
}

type Judgement = (Limit, String, &'static str);

/// The verdict.
#[must_use]
pub fn of(facts: &Facts) -> Verdict {
    let (limit, cause, advice) = judge(facts);
    Verdict {
        limit,
        cause,
        advice: advice.to_owned(),
        evidence: facts.evidence(),
    }
}

fn judge(facts: &Facts) -> Judgement {
    if let Some(judgement) = nic(facts).or_else(|| queue(facts)).or_else(|| disk(facts)) {
        return judgement;
    }
    let rate = Unit::BitsPerSecond.show(facts.rate);
    if facts.process_percent >= CORE_FULL {
        let cause = format!(
            "the reading thread of this host used {:.0} % of a core for {rate}",
            facts.process_percent
        );
        let advice = "more than one client reads faster than this; the share is not the limit";
        return (Limit::Cpu, cause, advice);
    }
    if let Some(judgement) = cooler(facts) {
        return judgement;
    }
    if let (Some(idle), Some(block)) = (&facts.idle, facts.block_s)
        && idle.p50_s >= ROUND_TRIP_SHARE * block
    {
        let cause = format!(
            "each request waits for the network: {} of {}",
            seconds(idle.p50_s),
            seconds(block)
        );
        return (
            Limit::Path,
            cause,
            "more requests in flight: --depths 32, nconnect, readahead",
        );
    }
    if facts.is_local {
        let cause = format!(
            "{rate} with {:.0} % of a core here: what is behind the path does not answer faster",
            facts.process_percent
        );
        return (
            Limit::Server,
            cause,
            "measure the server by its URL, and its disk with 'disk'",
        );
    }
    let cause = format!(
        "{rate} while neither this host ({:.0} % of a core) nor the network (no queue) was full",
        facts.process_percent
    );
    (
        Limit::Server,
        cause,
        "look at the server's cores, and run 'towline bench disk' on it",
    )
}

fn nic(facts: &Facts) -> Option<Judgement> {
    let speed = f64::from(facts.card.as_ref()?.speed_mbit?) * 1e6;
    (facts.rate >= NIC_SHARE * speed).then(|| {
        let rate = Unit::BitsPerSecond.show(facts.rate);
        let of = Unit::BitsPerSecond.show(speed);
        let cause = format!("{rate} is the line rate of the card ({of})");
        (
            Limit::Nic,
            cause,
            "nothing to gain here but a faster link or a larger MTU",
        )
    })
}

fn queue(facts: &Facts) -> Option<Judgement> {
    let (idle, loaded) = (facts.idle.as_ref()?.p50_s, facts.loaded.as_ref()?.p50_s);
    (loaded >= idle + QUEUE_S && loaded >= QUEUE_TIMES * idle).then(|| {
        let cause = format!(
            "a queue fills on the way: round trips grow from {} to {} under load",
            seconds(idle),
            seconds(loaded)
        );
        let advice = "find the slow hop with 'towline bench link' between the same two hosts";
        (Limit::Path, cause, advice)
    })
}

/// A disk that even warm reads wait for.
fn disk(facts: &Facts) -> Option<Judgement> {
    let read = facts.read_4k_s.filter(|_| facts.read_4k_depth == 1)?;
    let idle = facts.idle.as_ref().map(|idle| idle.p50_s);
    let base = facts.stat_s.or(idle)?;
    (read >= DISK_S && read >= DISK_TIMES * base).then(|| {
        let cause = format!(
            "a read of 4 KiB takes {}, a call that touches no data {}: the server waits for a disk",
            seconds(read),
            seconds(base)
        );
        (
            Limit::Disk,
            cause,
            "run 'towline bench disk' on the server; more memory there helps too",
        )
    })
}

/// Warm reads are fast, cold ones are not.
fn cooler(facts: &Facts) -> Option<Judgement> {
    let (cold, word) = match (facts.cold_rate, facts.first_rate) {
        (Some(cold), _) => (cold, "cold"),
        (None, Some(first)) => (first, "the first time"),
        (None, None) => return None,
    };
    (cold < COLD_SHARE * facts.rate).then(|| {
        let cause = format!(
            "{} {word}, {} from memory: what is not in memory waits for a disk",
            Unit::BitsPerSecond.show(cold),
            Unit::BitsPerSecond.show(facts.rate)
        );
        (
            Limit::Disk,
            cause,
            "'towline bench disk' tells what the disk could give",
        )
    })
}

impl Facts {
    fn evidence(&self) -> Vec<Evidence> {
        let mut found = Vec::new();
        let mut put = |name: &str, value: Option<f64>, says: fn(f64) -> String| {
            if let Some(value) = value {
                let says = says(value);
                let name = name.to_owned();
                found.push(Evidence { name, says, value });
            }
        };
        put("rate", Some(self.rate), |v| {
            format!("sequential, warm: {}", Unit::BitsPerSecond.show(v))
        });
        put("client_cpu", Some(self.process_percent), |v| {
            format!("this process: {v:.0} % of a core")
        });
        let round_trip = |latency: &Option<Latency>| latency.as_ref().map(|found| found.p50_s);
        put("rtt_idle", round_trip(&self.idle), |v| {
            format!("round trip, idle: {}", seconds(v))
        });
        put("rtt_loaded", round_trip(&self.loaded), |v| {
            format!("round trip, loaded: {}", seconds(v))
        });
        put("block", self.block_s, |v| {
            format!("a request of the sequential read: {}", seconds(v))
        });
        put("read_4k", self.read_4k_s, |v| {
            format!("a read of 4 KiB: {}", seconds(v))
        });
        put("read_4k_cold", self.cold_4k_s, |v| {
            format!("a read of 4 KiB, cold: {}", seconds(v))
        });
        put("stat", self.stat_s, |v| {
            format!("a call without data: {}", seconds(v))
        });
        put("cold_rate", self.cold_rate, |v| {
            format!("sequential, cold: {}", Unit::BitsPerSecond.show(v))
        });
        put("first_rate", self.first_rate, |v| {
            format!(
                "sequential, the first time: {}",
                Unit::BitsPerSecond.show(v)
            )
        });
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use towline_link::result::latency::Recorder;

    fn round_trip(micros: u64) -> Option<Latency> {
        let mut recorder = Recorder::default();
        recorder.record(Duration::from_micros(micros));
        recorder.finish("rtt", "test")
    }

    fn facts() -> Facts {
        Facts {
            rate: 5e9,
            depth: 8,
            process_percent: 40.0,
            idle: round_trip(100),
            loaded: round_trip(150),
            read_4k_s: Some(0.0002),
            read_4k_depth: 1,
            stat_s: Some(0.0002),
            block_s: Some(0.01),
            ..Facts::default()
        }
    }

    #[test]
    fn each_cause_has_its_verdict() {
        assert_eq!(of(&facts()).limit, Limit::Server);
        let mut shaped = facts();
        shaped.loaded = round_trip(9000);
        assert_eq!(of(&shaped).limit, Limit::Path);
        let mut slow = facts();
        slow.read_4k_s = Some(0.02);
        assert_eq!(of(&slow).limit, Limit::Disk);
        let mut cold = facts();
        cold.cold_rate = Some(1e9);
        assert_eq!(of(&cold).limit, Limit::Disk);
        let mut busy = facts();
        busy.process_percent = 97.0;
        assert_eq!(of(&busy).limit, Limit::Cpu);
        let mut waiting = facts();
        waiting.block_s = Some(0.00015);
        assert_eq!(of(&waiting).limit, Limit::Path);
        let mut line = facts();
        line.card = Some(Card {
            name: "eth0".to_owned(),
            speed_mbit: Some(5000),
            mtu: None,
        });
        assert_eq!(of(&line).limit, Limit::Nic);
    }
}
