//! Measurements of a link, as iperf3 makes them, and round trips: both ends.
//!
//! [`iperf3`] is the protocol without I/O, [`link`] the sockets around it, [`rr`] round trips;
//! [`result`] is what any measurement yields, [`goals`] what it is held against. A node links this
//! to answer benches, so it knows nothing of shares, models or other servers.
#![forbid(unsafe_code)]

pub mod goals;
pub mod iperf3;
pub mod link;
pub mod result;
pub mod rr;
