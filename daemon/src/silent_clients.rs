//! The clock behind clients of NFSv4 that fell silent: those of a day ago are forgotten.
//!
//! Nobody waits for it, because whoever wants what such a client holds gets it at once. Invariant:
//! it runs on a thread that may wait, since forgetting is written to the ledger. Not promised: the
//! minute.

use std::sync::Arc;
use std::time::Duration;

/// Time between two looks: courtesy lasts a day.
const INTERVAL: Duration = Duration::from_secs(600);

/// Looks now and then, until the runtime ends.
pub(crate) async fn serve(nfs: Arc<towline_nfs::Server>) {
    let mut timer = tokio::time::interval(INTERVAL);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        let nfs = nfs.clone();
        let swept = tokio::task::spawn_blocking(move || nfs.forget_silent_clients()).await;
        if swept.is_err() {
            return;
        }
    }
}
