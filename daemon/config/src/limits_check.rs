//! The table `[limits]` of a file, judged: sizes and counts, and periods.
//!
//! Invariant: what comes out lies between the bounds that [`crate::limits`] names. Not promised:
//! that the host can give as much; the node shares out what there is.

use std::time::Duration;

use crate::checker::Checker;
use crate::file;
use crate::limits::{self, Limits};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// The limits in force.
pub(crate) fn limits(check: &mut Checker<'_>, file: &file::Limits) -> Limits {
    Limits {
        connections: check.number(
            &file.connections,
            "limits.connections",
            limits::CONNECTIONS_DEFAULT,
            16..=1 << 20,
        ),
        connections_per_address: check.number(
            &file.connections_per_address,
            "limits.connections_per_address",
            limits::CONNECTIONS_PER_ADDRESS_DEFAULT,
            1..=1 << 20,
        ),
        receive_budget: check.bytes(
            &file.receive_budget,
            "limits.receive_budget",
            limits::RECEIVE_BUDGET_BYTES_DEFAULT,
            4 << 20..=1 << 40,
        ),
        pool_threads: check.number(
            &file.pool_threads,
            "limits.pool_threads",
            limits::POOL_THREADS_DEFAULT,
            1..=1_024,
        ),
        progress_per_s: check.bytes(
            &file.progress_per_s,
            "limits.progress_per_s",
            limits::PROGRESS_BYTES_PER_S_DEFAULT,
            1..=1 << 30,
        ),
        upload_size: check.bytes(
            &file.upload_size,
            "limits.upload_size",
            limits::UPLOAD_BYTES_DEFAULT,
            1..=i64::MAX as u64,
        ),
        upload_part: check.bytes(
            &file.upload_part,
            "limits.upload_part",
            limits::UPLOAD_PART_BYTES_DEFAULT,
            1 << 20..=1 << 40,
        ),
        ..limits_of_time(check, file)
    }
}

/// Those that are periods.
fn limits_of_time(check: &mut Checker<'_>, file: &file::Limits) -> Limits {
    Limits {
        head_timeout: check.period(
            &file.head_timeout,
            "limits.head_timeout",
            limits::HEAD_TIMEOUT_DEFAULT,
            SECOND..=HOUR,
        ),
        idle_timeout: check.period(
            &file.idle_timeout,
            "limits.idle_timeout",
            limits::IDLE_TIMEOUT_DEFAULT,
            SECOND..=DAY,
        ),
        nfs_idle_timeout: check.period(
            &file.nfs_idle_timeout,
            "limits.nfs_idle_timeout",
            limits::NFS_IDLE_TIMEOUT_DEFAULT,
            60 * SECOND..=30 * DAY,
        ),
        stall_timeout: check.period(
            &file.stall_timeout,
            "limits.stall_timeout",
            limits::STALL_TIMEOUT_DEFAULT,
            SECOND..=DAY,
        ),
        upload_age: check.period(
            &file.upload_age,
            "limits.upload_age",
            limits::UPLOAD_AGE_DEFAULT,
            60 * SECOND..=365 * DAY,
        ),
        drain_timeout: check.period(
            &file.drain_timeout,
            "limits.drain_timeout",
            limits::DRAIN_TIMEOUT_DEFAULT,
            Duration::ZERO..=HOUR,
        ),
        ..Limits::default()
    }
}
