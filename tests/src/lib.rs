//! Harness of the whole-system tests: a node under test, and a guest with the kernel's NFS client.
//!
//! Promised: whatever a test starts is stopped by its own pid when the test ends, every wait has
//! a limit, and every node lives in its own temporary directory on ports nobody else uses. Not
//! promised: any knowledge of towline's inside; the tests see what a client sees.
#![forbid(unsafe_code)]

pub mod bench;
pub mod case;
pub mod certificate;
pub mod cli;
pub mod content;
pub mod guest;
pub mod iperf3;
pub mod kernel;
pub mod loopback;
pub mod model;
pub mod netns;
pub mod nfs;
pub mod node;
pub mod ollama;
pub mod paths;
pub mod process;
pub mod python;
pub mod share;
pub mod skip;
pub mod slow;
pub mod small_disk;
pub mod throttle;
pub mod tidy;
pub mod two_hosts;
pub mod wire;
