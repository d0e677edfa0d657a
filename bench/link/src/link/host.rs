//! How busy this host and this process were between two looks (proc(5), clock_gettime(2)).
//!
//! Invariant: percent of one core over the time between the looks; a core that came or went is
//! left out. Not promised: finer than a clock tick for cores and for user and system time apart.

use std::fs;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use towline_base::clock;

use crate::result::CoreUse;

/// Ticks of one core.
#[derive(Clone, Copy, Debug, Default)]
struct Core {
    number: u32,
    total: u64,
    idle: u64,
    softirq: u64,
    stolen: u64,
}

/// One look.
#[derive(Clone, Debug)]
pub struct Look {
    at: Instant,
    process: Duration,
    user_ticks: u64,
    system_ticks: u64,
    cores: Vec<Core>,
}

/// Percent of one core that this process used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessUse {
    /// In all.
    pub total: f64,
    /// In user mode.
    pub user: f64,
    /// In the system.
    pub system: f64,
    /// Seconds in all.
    pub seconds: f64,
}

impl Look {
    /// Looks now. Where /proc cannot be read there are no cores.
    #[must_use]
    pub fn now() -> Self {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
        let (user_ticks, system_ticks) = fs::read_to_string("/proc/self/stat")
            .ok()
            .and_then(|line| own_ticks(&line))
            .unwrap_or((0, 0));
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        Self {
            at: clock::now(),
            process: Duration::new(seconds, nanos),
            user_ticks,
            system_ticks,
            cores: cores(&stat),
        }
    }

    /// What this process used since an earlier look.
    #[must_use]
    pub fn process_since(&self, earlier: &Self) -> ProcessUse {
        let wall = self.at.saturating_duration_since(earlier.at).as_secs_f64();
        let wall = wall.max(1e-9);
        let seconds = self.process.saturating_sub(earlier.process).as_secs_f64();
        let user = self.user_ticks.saturating_sub(earlier.user_ticks) as f64;
        let system = self.system_ticks.saturating_sub(earlier.system_ticks) as f64;
        let total = 100.0 * seconds / wall;
        // Ticks only split what the finer clock measured.
        let share = if user + system > 0.0 {
            user / (user + system)
        } else {
            0.0
        };
        ProcessUse {
            total,
            user: total * share,
            system: total * (1.0 - share),
            seconds,
        }
    }

    /// How busy each core was since an earlier look.
    #[must_use]
    pub fn cores_since(&self, earlier: &Self) -> Vec<CoreUse> {
        let pairs = self.cores.iter().filter_map(|now| {
            let before = earlier
                .cores
                .iter()
                .find(|core| core.number == now.number)?;
            Some((before, now))
        });
        pairs
            .filter_map(|(before, now)| {
                let total = now.total.saturating_sub(before.total) as f64;
                let part = |now: u64, before: u64| {
                    100.0 * now.saturating_sub(before) as f64 / total.max(1.0)
                };
                (total > 0.0).then(|| CoreUse {
                    core: now.number,
                    busy: (100.0 - part(now.idle, before.idle)).max(0.0),
                    softirq: part(now.softirq, before.softirq),
                    stolen: part(now.stolen, before.stolen),
                })
            })
            .collect()
    }
}

/// Time that the calling thread has been on a core and time that it waited for one, where the
/// system tells (proc(5), `schedstat`, in nanoseconds).
#[must_use]
pub fn thread_times() -> Option<(Duration, Duration)> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let mut words = text.split_ascii_whitespace().map(str::parse);
    let (ran, waited) = (words.next()?.ok()?, words.next()?.ok()?);
    Some((Duration::from_nanos(ran), Duration::from_nanos(waited)))
}

/// Fields 14 and 15 of `/proc/self/stat`; the name may hold spaces and brackets.
fn own_ticks(line: &str) -> Option<(u64, u64)> {
    let (_, tail) = line.rsplit_once(')')?;
    let mut fields = tail.split_ascii_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// The `cpuN` lines of `/proc/stat`: user nice system idle iowait irq softirq steal.
fn cores(stat: &str) -> Vec<Core> {
    let lines = stat.lines().filter_map(|line| line.strip_prefix("cpu"));
    lines
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let number = words.next().filter(|_| !line.starts_with(' '))?;
            let ticks: Vec<u64> = words.take(8).filter_map(|word| word.parse().ok()).collect();
            let [_, _, _, idle, waiting, _, softirq, stolen] = *ticks.as_slice() else {
                return None;
            };
            Some(Core {
                number: number.parse().ok()?,
                total: ticks.iter().sum(),
                idle: idle + waiting,
                softirq,
                stolen,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_read_and_the_sum_line_is_not_a_core() {
        let cores = cores("cpu  9 9 9 9 9 9 9 9 0 0\ncpu1 1 2 3 4 5 6 7 8 0 0\nintr 5\n");
        assert_eq!(cores.len(), 1);
        let core = cores[0];
        assert_eq!((core.number, core.total, core.idle), (1, 36, 9));
        assert_eq!((core.softirq, core.stolen), (7, 8));
    }

    #[test]
    fn a_busy_thread_shows_in_the_process_and_its_core() {
        let before = Look::now();
        let mut sum = 0_u64;
        while before.at.elapsed() < Duration::from_millis(200) {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(7));
        }
        let now = Look::now();
        let used = now.process_since(&before);
        assert!(used.total > 20.0 && used.total < 800.0, "{used:?}");
        assert!((used.user + used.system - used.total).abs() < 1e-6);
        let busiest = now.cores_since(&before).into_iter().map(|core| core.busy);
        assert!(busiest.fold(0.0, f64::max) > 20.0);
    }
}
