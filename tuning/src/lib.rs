//! What the network card and the host should be, are, and how to fix and unfix them.
//!
//! One way through: [`read::host`] reads a host into [`HostFacts`], the rules turn facts into
//! verdicts, a [`Report`] shows them, and a plan made of their fixes can be applied and taken back.
//! Promised: reading changes nothing; a rule is a pure function of the facts; what could not be
//! read never counts as passed. Not promised: that a value is best for a workload that was not
//! measured.
#![forbid(unsafe_code)]

pub mod apply;
pub mod bundle;
pub mod case;
pub mod catalogue;
pub mod change;
pub mod choose;
pub mod diff;
pub mod driver_counters;
pub mod error;
mod ethtool;
pub mod facts;
pub mod formula;
pub mod import;
pub mod machine;
mod netlink;
pub mod pair;
pub mod peer;
pub mod persist;
pub mod plan;
pub mod read;
pub mod reading;
pub mod report;
pub mod root;
mod rtnl;
pub mod rules;
pub mod script;
pub mod snapshot;
mod sock_diag;
pub mod values;
pub mod verdict;
pub mod watch;

pub use case::{Case, Profile};
pub use catalogue::Catalogue;
pub use error::TuneError;
pub use facts::HostFacts;
pub use report::Report;
pub use root::Root;
pub use values::Values;
