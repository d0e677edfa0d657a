//! What an operator writes and what comes of it, by what it is about.
//!
//! Invariant: every message of the checks is compared whole somewhere here, because messages are
//! the product. Not promised: what a node does with its settings; the node's own tests show that.

#![forbid(unsafe_code)]

mod doors;
mod given;
mod mistakes;
