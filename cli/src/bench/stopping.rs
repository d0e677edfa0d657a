//! Ctrl-C as a flag: the test is ended in order, results of what ran are shown.
//!
//! Invariant: the second signal ends the process at once, as if this module were not there.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::failure::Failure;

/// A flag that the first SIGINT or SIGTERM raises.
pub(crate) fn flag() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        let registered = flag::register_conditional_default(signal, stop.clone())
            .and_then(|_| flag::register(signal, stop.clone()));
        registered.map_err(|error| Failure::Internal(format!("signals: {error}")))?;
    }
    Ok(stop)
}
