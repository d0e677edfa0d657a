//! How a thread shares its processor with others.
//!
//! Invariant: only the calling thread changes, and what it starts afterwards. Source:
//! sched_setattr(2), sched(7). Not promised: that a kernel knows slices (before Linux 6.12 none).

use std::time::Duration;

use rustix::io::Errno;

use crate::last_errno;

/// Lets the calling thread, and those that it starts afterwards, stand back: it gets less of a
/// busy processor by `nice`, and takes it from nobody by waking up (`SCHED_BATCH`). `slice`, 100 us
/// to 100 ms, is how long it may run before others of its kind; the rest of it goes when it yields.
///
/// # Errors
/// What sched_setattr(2) reports.
pub fn stand_back(nice: i32, slice: Duration) -> Result<(), Errno> {
    set(libc::SCHED_BATCH, nice, slice)
}

/// Lets the calling thread, and those that it starts afterwards, have their turn early, for a
/// `slice` (100 us to 100 ms) that is shorter than that of others (some 3 ms): over time it gets
/// no more of the processor than they do.
///
/// # Errors
/// What sched_setattr(2) reports.
pub fn take_short_turns(slice: Duration) -> Result<(), Errno> {
    let nice = rustix::process::getpriority_process(None)?;
    set(libc::SCHED_OTHER, nice, slice)
}

fn set(policy: i32, nice: i32, slice: Duration) -> Result<(), Errno> {
    let attributes = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: policy as u32,
        sched_flags: 0,
        sched_nice: nice,
        sched_priority: 0,
        sched_runtime: u64::try_from(slice.as_nanos()).unwrap_or(u64::MAX),
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the kernel reads `attributes`, whose first field says how long it is, and nothing
    // else; thread 0 is the calling one.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if result == 0 {
        Ok(())
    } else {
        Err(last_errno())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stands_back_and_what_it_starts_do_so_and_nobody_else() {
        let policy = || {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
            // Fields 19 and 41 of proc_pid_stat(5), counted from 1; the first two are cut off.
            (fields[16].to_owned(), fields[38].to_owned())
        };
        let before = policy();
        let work = move || {
            stand_back(10, Duration::from_millis(20)).unwrap();
            (policy(), std::thread::spawn(policy).join().unwrap())
        };
        let (own, child) = std::thread::spawn(work).join().unwrap();
        let batch = ("10".to_owned(), libc::SCHED_BATCH.to_string());
        assert_eq!((own, child), (batch.clone(), batch));
        assert_eq!(policy(), before);
    }

    #[test]
    fn short_turns_change_neither_policy_nor_nice() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = nice();
        let after = std::thread::spawn(move || {
            take_short_turns(Duration::from_micros(200)).unwrap();
            nice()
        });
        assert_eq!(after.join().unwrap(), before);
    }
}
