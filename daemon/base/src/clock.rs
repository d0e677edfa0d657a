//! Time: one monotonic clock for waits and one wall clock for stamps.
//!
//! Code that measures or waits takes time from here, so that a simulation can stand in for it.
//! Not promised: that the wall clock never steps.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The monotonic time.
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// The wall-clock time since 1970-01-01 UTC; zero if the host's clock is set before that.
#[must_use]
pub fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
