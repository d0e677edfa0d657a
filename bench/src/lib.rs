//! Measurements of links that speak iperf3, load generators, and comparisons with other servers.
//!
//! [`iperf3`] is the protocol without I/O, [`link`] the sockets around it, [`rr`] round trips,
//! [`result`] what any measurement yields, [`history`] saved runs. Promised of comparisons: one
//! server is measured against another in interleaved rounds of one run, both on one core, the
//! client on another, with the same congestion control; a load that gets an error or a wrong reply
//! stops the run instead of counting it. Not promised: absolute figures. They are those of this
//! machine's loopback; only ratios carry over, and only roughly.
#![forbid(unsafe_code)]

pub mod cpu;
pub mod csv;
pub mod data;
pub mod figures;
pub mod history;
pub mod http_load;
pub mod ingest;
pub mod iperf3;
pub mod link;
pub mod namespace;
pub mod nfs_load;
pub mod nfs_session;
pub mod peers;
pub mod poll;
pub mod result;
pub mod rpc;
pub mod rr;
pub mod servers;
pub mod table;
