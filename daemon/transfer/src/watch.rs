//! Whoever waits for a pull: it is shown how far that is, and may stop it.
//!
//! Invariant: nothing of a transfer asks for more of the one who waits than this. Not promised: how
//! often one looks.

use towline_store::{Progress, ProgressView};

/// Makes how far something is, as often as it is asked.
pub type Look = Box<dyn Fn() -> ProgressView + Send>;

/// Who waits for a pull.
pub trait Watch: Sync {
    /// Whether somebody wants it to stop. Asked between any two reads, on many threads.
    fn is_stopped(&self) -> bool;

    /// For work of the store that counts here itself.
    fn progress(&self) -> &Progress;

    /// From now on, how far it is comes from here.
    fn show(&self, look: Look);

    /// Keeps the last view and lets go of where it came from.
    fn freeze(&self);
}
