//! The protocol of `iperf3`, client and server, as cores without I/O: bytes in, actions out.
//!
//! There is no standard; the C program is one (esnet/iperf, 3.12 to 3.21). Promised: nothing is
//! reserved from a length that a peer claims; every size has a named limit; a broken peer ends in
//! a [`Fault`], never in a panic or an endless wait of this code. The caller owns sockets, clocks
//! and threads. Not promised: authentication (a client's token is
//! ignored, as by a C server without users, and none is sent) and SCTP.

pub mod client;
pub mod code;
pub mod cookie;
pub mod datagram;
pub mod fault;
pub mod frame;
mod number;
pub mod parameters;
pub mod results;
pub mod server;
pub mod state;

pub use client::Client;
pub use code::Code;
pub use cookie::Cookie;
pub use fault::{Fault, Role};
pub use parameters::{Direction, Parameters, Transport};
pub use results::{Results, StreamResult};
pub use server::Server;
pub use state::State;

/// The port of control and data connections unless somebody says otherwise.
pub const PORT: u16 = 5201;

/// The id of stream number `index` (from 0) in the order of creation: 1, 3, 4, 5 and so on. The
/// missing 2 is an old slip of the C program that every version keeps.
#[must_use]
pub fn stream_id(index: usize) -> i64 {
    let index = i64::try_from(index).unwrap_or(i64::MAX - 2);
    if index == 0 { 1 } else { index + 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_stream_is_number_three() {
        let ids: Vec<i64> = (0..5).map(stream_id).collect();
        assert_eq!(ids, [1, 3, 4, 5, 6]);
    }
}
