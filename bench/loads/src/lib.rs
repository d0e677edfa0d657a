//! For developers: load generators, and towline compared with other servers.
//!
//! Promised of comparisons ([`peers`]): one server is measured against another in interleaved
//! rounds of one run, both on one core, the client on another, with the same congestion control; a
//! load that gets an error or a wrong reply stops the run instead of counting it. Not promised:
//! absolute figures. They are those of this machine's loopback; only ratios carry over, and only
//! roughly.
#![forbid(unsafe_code)]

pub mod cpu;
pub mod data;
pub mod figures;
pub mod http_load;
pub mod https_load;
pub mod ingest;
pub mod namespace;
pub mod nfs_load;
pub mod nfs_session;
pub mod peers;
pub mod servers;
pub mod table;
