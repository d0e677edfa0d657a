//! HTTP/1.1 for files: range streaming, listings and uploads as a protocol core without I/O.
//!
//! Everything below `/files/`, what clients of a hub read below `/hf/` and ollama below `/v2/` is
//! answered here, as
//! bytes and file spans that the driver of `towline-io` moves; any other path goes to the control
//! plane with its bytes unread. A port of its own reads the same models as S3. Hot files
//! are answered without a pool thread and without an allocation.
//!
//! Promised: no request head or range set costs more than its named bound; what two HTTP parsers
//! could understand differently is refused; no path leaves its volume and no link is followed;
//! a volume that an address may not reach looks like one that does not exist; a reply promises
//! the size of the very file that is sent. Not promised: that a file edited in place is seen in
//! one state by a reader (replace files by rename), or HTTP/2 (RFC 9113), which is refused.
//! Governed by RFC 9110 and RFC 9112.

#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

mod access;
pub mod chunked;
pub mod connection;
pub mod date;
pub mod done;
pub mod doors;
mod exchange;
pub mod faces;
mod factory;
pub mod head;
mod incoming;
pub mod keyring;
pub mod media;
pub mod metrics;
pub mod models;
pub mod path;
pub mod piece;
mod query;
pub mod range;
mod reply;
mod route;
pub mod server;
pub mod status;
mod target;
pub mod validator;
pub mod worker;

pub use connection::Connection;
pub use done::Done;
pub use doors::Doors;
pub use faces::files::listing;
pub use faces::{hub, registry, s3};
pub use factory::Factory;
pub use keyring::{Keyring, ModelToken, Seen, Sight};
pub use models::Models;
pub use server::{Limits, Port, Server};

#[cfg(test)]
mod tests;
