//! NFS version 4, minor versions 1 and 2 (RFC 8881, RFC 7862, RFC 8276).
//!
//! A call is a COMPOUND of operations ([`operation`]), read by [`args`] and carried out in order
//! by [`compound`], over the same ground as version 3: from a worker's memory as far as that goes,
//! then on a pool thread from the operation on that memory could not answer. What clients hold is
//! kept in [`books`], by the rules of [`state`]; what they are told unasked goes out by
//! [`callback`] over a connection of their own. Minor version 0 is another protocol in practice
//! and is refused. Not promised: delegations other than for reading published files, pNFS, named
//! attributes, SSV, ACLs, labels, persistent sessions, and that deny modes and locks hold against
//! version 3, HTTP or programs of the host.

use std::path::PathBuf;

pub mod args;
pub mod attributes;
mod backing;
pub mod bits;
pub mod books;
pub mod callback;
mod change;
pub(crate) mod compound;
mod copy;
mod directory;
pub mod holding;
mod inspect;
mod intake;
pub mod ledger;
mod lock;
pub(crate) mod metrics;
mod open;
pub mod operation;
mod place;
mod pseudo;
mod read;
mod serve;
pub mod session;
mod sessions;
mod sparse;
pub mod state;
mod stateids;
pub mod status;
mod write;
mod xattr;

pub use books::{Books, Census};
pub(crate) use intake::{Intake, Scan, scan};
pub use metrics::Counts;
pub use operation::Operation;
pub(crate) use serve::Step;
pub(crate) use session::Session;
pub use status::Status;

/// The version (RFC 8881 section 16).
pub const VERSION: u32 = 4;

/// A procedure (RFC 8881 section 16).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Procedure {
    /// Does nothing.
    Null,
    /// Carries out operations.
    Compound,
}

impl Procedure {
    /// The procedure with this number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Null),
            1 => Some(Self::Compound),
            _ => None,
        }
    }
}

/// Lowest minor version (RFC 8881).
pub const MINOR_MIN: u32 = 1;

/// Highest minor version (RFC 7862).
pub const MINOR_MAX: u32 = 2;

/// How long a client keeps what it holds without a sign of life, in seconds (RFC 8881 section
/// 8.3), unless the configuration says otherwise. Linux renews after two thirds of it.
pub const LEASE_SECONDS_DEFAULT: u32 = 60;

/// How long a silent client keeps what nobody else wants, in seconds: as knfsd since Linux 5.19.
pub const COURTESY_SECONDS_MAX: u32 = 24 * 3600;

/// Longest READ and WRITE, in bytes: as in version 3, what one pooled pipe holds.
pub const TRANSFER_BYTES_MAX: u32 = crate::v3::TRANSFER_BYTES_MAX;

/// How version 4 is served.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// The lease, in seconds.
    pub lease_seconds: u32,
    /// Where it is written down who may reclaim after a restart; `None`: nowhere, and nobody may.
    pub ledger: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease_seconds: LEASE_SECONDS_DEFAULT,
            ledger: None,
        }
    }
}

/// The books of a node that starts now. Blocks.
///
/// # Errors
/// The operating system's: no randomness, or a ledger that cannot be read or written.
pub(crate) fn books(settings: &Settings) -> std::io::Result<Books> {
    let opened = match &settings.ledger {
        Some(path) => ledger::Ledger::open(path)?,
        None => (ledger::Ledger::nowhere(), ledger::first_start()?),
    };
    Ok(Books::new(opened, settings.lease_seconds))
}
