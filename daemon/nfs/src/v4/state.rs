//! What version 4 keeps of its clients, as rules without I/O, locks or clocks.
//!
//! Each part is a pure structure that is told what happens, and when; [`super::books`] puts them
//! behind locks and shares them between workers. Invariant: nothing in here waits.

pub mod back;
pub mod clients;
pub mod delegations;
pub mod grace;
pub mod opens;
pub mod ranges;
pub mod slots;
pub mod stateid;
