//! Where bytes of models come from: hubs, web servers, object stores, folders.
//!
//! An [`Origin`] says where, as a user writes it or as a revision has it recorded; it is read once,
//! and what is there is asked through a [`Source`]. [`Wanted`] pulls a model into the store's
//! arrival, [`Arriving`] lets clients read what has not come yet, [`Origins`] brings good bytes for
//! damaged ones.
//!
//! Kept true: what comes is checked by the store against every promise of its source; a source that
//! changes under a pull ends it; a token goes to its own origin only; what has arrived is kept when
//! a pull ends early. Not promised: hashes where a source has none. It must not know: tasks,
//! uploads, how answers are written, or that there is a node; who waits for a pull is a [`Watch`].

#![forbid(unsafe_code)]

mod arriving;
mod error;
mod fetch;
mod heal;
mod origin;
mod pull;
mod source;
mod sources;
mod tally;
mod watch;

pub use arriving::Arriving;
pub use error::TransferError;
pub use heal::Origins;
pub use origin::{Kind, Origin};
pub use pull::{Place, Wanted};
pub use source::{Listing, Source};
pub use tally::Tally;
pub use watch::{Look, Watch};
