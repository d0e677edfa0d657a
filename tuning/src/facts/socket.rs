//! TCP sockets, as sock_diag(7) tells them.
//!
//! Not promised: who opened a socket, or whom it talks to; a sheet may be handed to others.

use serde::{Deserialize, Serialize};

/// One listener or connection.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SocketFacts {
    /// Port on this host.
    pub port: u16,
    /// Port of the other end; none for a listener.
    pub peer_port: Option<u16>,
    /// Whether it waits for connections.
    pub listening: bool,
    /// Receive buffer, in bytes of memory.
    pub receive_bytes: u64,
    /// Send buffer, in bytes of memory.
    pub send_bytes: u64,
    /// Congestion control.
    pub congestion_control: String,
}
