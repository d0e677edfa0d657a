//! The words that every towline crate shares: names, volume ids, keyed hashes, byte counts,
//! time and randomness.
//!
//! Promised: nothing here performs file or network I/O, and every type that is made from a
//! peer's bytes has been checked when it exists ([`Name`] cannot escape a directory). Not
//! promised: ordering between threads, or wall-clock time that never steps back.

#![forbid(unsafe_code)]

pub mod bytes;
pub mod clock;
pub mod escape;
pub mod mac;
pub mod name;
pub mod rand;
pub mod recent;

pub use bytes::ByteCount;
pub use mac::{Mac, MacKey};
pub use name::{Name, NameError};
pub use recent::Recent;
