//! `towline tune` on whole hosts: network namespaces that the tests make, with planted faults.
//!
//! Invariant: nothing outside those namespaces and temporary folders is changed. Without root or
//! iproute2 the tests say what they leave out, and pass.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests: a failure here is a failed test, and what is left out is said aloud"
)]

mod faults;
mod lab;
mod owners;
mod verbs;
