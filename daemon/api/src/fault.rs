//! Why something was refused or failed, and whose fault it is, which decides what to do.
//!
//! Invariant: every refusal of a call about models has this form, with a status beside it.

use serde::{Deserialize, Serialize};

/// Why something was refused or failed.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Fault {
    /// Whose fault: `usage`, `storage`, `peer`, `busy`.
    pub culprit: String,
    /// What happened and what to do.
    pub error: String,
}

impl Fault {
    /// A fault of this culprit.
    #[must_use]
    pub fn new(culprit: &str, error: impl Into<String>) -> Self {
        Self {
            culprit: culprit.to_owned(),
            error: error.into(),
        }
    }
}
