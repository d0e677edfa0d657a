//! Pinning to a core, and the processor time a server has used (proc(5)).
//!
//! Invariant: a meter counts a process, its threads living and dead, and every descendant alive
//! at the moment of reading, so worker processes and io_uring workers are not forgotten. Not
//! promised: time of children that came and went between two readings.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};

/// Where the server runs when there are at least two cores.
pub const SERVER_CORE: usize = 0;
/// Where the client runs when there are at least two cores.
pub const CLIENT_CORE: usize = 1;

/// Binds the calling thread, and whatever it starts from now on, to one core.
///
/// # Errors
/// Fails where the core does not exist or is not allowed to this process.
pub fn pin(core: usize) -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).with_context(|| format!("cannot run on core {core}"))
}

/// Binds the thread `pid` of somebody else to one core.
///
/// # Errors
/// Fails where the thread is gone or belongs to another user.
pub fn pin_other(pid: u32, core: usize) -> Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    let pid = Pid::from_raw(i32::try_from(pid)?).context("pid 0")?;
    sched_setaffinity(Some(pid), &cores).with_context(|| format!("cannot bind thread {pid:?}"))
}

/// Binds the calling thread to the client's core, or to the only one there is.
///
/// # Errors
/// Fails where affinity may not be set.
pub fn pin_to_client_core() -> Result<()> {
    pin(CLIENT_CORE).or_else(|_one_core| pin(SERVER_CORE))
}

/// Reads the processor time of a set of processes.
#[derive(Clone, Debug)]
pub struct CpuMeter {
    roots: Vec<u32>,
    ticks_per_second: f64,
}

impl CpuMeter {
    /// A meter for `roots` and whatever descends from them. No roots: always zero.
    #[must_use]
    pub fn new(roots: Vec<u32>) -> Self {
        Self {
            roots,
            ticks_per_second: rustix::param::clock_ticks_per_second() as f64,
        }
    }

    /// User plus system seconds used so far by the processes that are alive now.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        if self.roots.is_empty() {
            return 0.0;
        }
        let processes = read_processes();
        let mut ticks = 0;
        for (pid, process) in &processes {
            if self.covers(*pid, &processes) {
                ticks += process.ticks;
            }
        }
        ticks as f64 / self.ticks_per_second
    }

    fn covers(&self, pid: u32, processes: &BTreeMap<u32, Process>) -> bool {
        let mut current = pid;
        // Bounded: /proc is read while it changes, and a reused pid could close a loop.
        for _generation in 0..64 {
            if self.roots.contains(&current) {
                return true;
            }
            match processes.get(&current) {
                Some(process) if process.parent != 0 => current = process.parent,
                Some(_) | None => return false,
            }
        }
        false
    }
}

/// Pids of the kernel threads called `name`, such as `nfsd`.
#[must_use]
pub fn kernel_threads(name: &str) -> Vec<u32> {
    let found = read_processes();
    found
        .iter()
        .filter(|(_, process)| process.name == name)
        .map(|(pid, _)| *pid)
        .collect()
}

struct Process {
    name: String,
    parent: u32,
    ticks: u64,
}

fn read_processes() -> BTreeMap<u32, Process> {
    let mut found = BTreeMap::new();
    let Ok(entries) = fs::read_dir("/proc") else {
        return found;
    };
    for entry in entries.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let Ok(line) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        if let Some(process) = parse_stat(&line) {
            found.insert(pid, process);
        }
    }
    found
}

/// Fields 2, 4, 14 and 15 of proc(5) `stat`. The name may hold spaces and brackets, so the
/// fields are counted from the last closing bracket.
fn parse_stat(line: &str) -> Option<Process> {
    let (head, tail) = line.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
    let parent = fields.get(1)?.parse().ok()?;
    let user: u64 = fields.get(11)?.parse().ok()?;
    let system: u64 = fields.get(12)?.parse().ok()?;
    Some(Process {
        name: name.to_owned(),
        parent,
        ticks: user + system,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let line = "7 (a) b) S 3 1 1 0 -1 4 0 0 0 0 11 31 0 0 20 0 1 0 5 0 0";
        let process = parse_stat(line).unwrap();
        assert_eq!(
            (process.name.as_str(), process.parent, process.ticks),
            ("a) b", 3, 42)
        );
    }

    #[test]
    fn the_meter_sees_this_process_work() {
        let meter = CpuMeter::new(vec![std::process::id()]);
        let before = meter.seconds();
        let mut sum = 0_u64;
        while meter.seconds() - before < 0.02 {
            for value in 0..1_000_000_u64 {
                sum = sum.wrapping_mul(31).wrapping_add(value);
            }
            std::hint::black_box(sum);
        }
    }
}
