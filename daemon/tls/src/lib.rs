//! HTTPS in front of the workers: certificates, handshakes, and what encrypts afterwards.
//!
//! A node reads its [`Terms`] once and starts [`Threads`] that accept on their own sockets. Whoever
//! takes a connection in is an [`Adopt`], which is given a socket that speaks plain HTTP and the
//! address of the real peer.
//!
//! Kept true: however many handshakes are begun and not finished, the next one is taken; HTTP/1.1
//! alone is spoken; a certificate that was replaced by a bad one stays in use. Not promised: what
//! is under way when a node stops, beyond its drain time. It must not know: what connections say,
//! workers, or that there is a node.

#![forbid(unsafe_code)]

mod certificates;
mod handshake;
mod relay;
mod serve;
mod terms;

pub use certificates::LOOK_EVERY;
pub use serve::{Adopt, Threads};
pub use terms::{Tally, Terms, TlsError};
