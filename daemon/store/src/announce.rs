//! A word to whoever must know before something that is visible goes or is replaced.
//!
//! Invariant: it is said before the step and never behind it, so that whoever promised readers that
//! a file stays as it is can ask that back first. Not promised: that the step follows; it may fail.

use std::sync::{Arc, OnceLock};

/// Takes the path, below the store's root, that is about to change. It may block.
pub type Listener = dyn Fn(&str) + Send + Sync;

/// Who is told; nobody, until somebody has asked.
#[derive(Clone, Default)]
pub(crate) struct Announce(Arc<OnceLock<Arc<Listener>>>);

impl Announce {
    /// Tells `listener` from now on. The first one stays.
    pub(crate) fn to(&self, listener: Arc<Listener>) {
        let _ = self.0.set(listener);
    }

    /// What lies at and below `path` is about to go or to be replaced.
    pub(crate) fn change(&self, path: &str) {
        if let Some(listener) = self.0.get() {
            listener(path);
        }
    }
}

impl std::fmt::Debug for Announce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Announce")
    }
}
