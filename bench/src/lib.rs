//! Measurements of links (as iperf3), shares, disks and model loads; comparisons with others.
//!
//! [`iperf3`] is the protocol without I/O, [`link`] the sockets around it, [`rr`] round trips.
//! [`share`], [`disk`] and [`model`] read through [`source`]; [`result`] is what any measurement
//! yields, [`html`] a page of it, [`history`] saved runs. Promised of comparisons: one
//! server is measured against another in interleaved rounds of one run, both on one core, the
//! client on another, with the same congestion control; a load that gets an error or a wrong reply
//! stops the run instead of counting it. Not promised: absolute figures. They are those of this
//! machine's loopback; only ratios carry over, and only roughly.
#![forbid(unsafe_code)]

pub mod content;
pub mod cpu;
pub mod csv;
pub mod data;
pub mod disk;
pub mod figures;
pub mod goals;
pub mod history;
pub mod html;
pub mod http_load;
pub mod https_load;
pub mod ingest;
pub mod iperf3;
pub mod link;
pub mod mesh;
pub mod model;
pub mod namespace;
pub mod nfs_load;
pub mod nfs_session;
pub mod peers;
pub mod poll;
pub mod result;
pub mod rpc;
pub mod rr;
pub mod servers;
pub mod share;
pub mod source;
pub mod table;
pub mod workload;
