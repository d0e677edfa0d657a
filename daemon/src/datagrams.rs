//! Portmap over UDP: one task per socket, each datagram answered or dropped.
//!
//! Invariant: at most one answer per datagram, made by [`towline_nfs::datagram()`], which is silent
//! towards addresses that may reach nothing (threat N15).

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::UdpSocket;
use towline_io::Peer;
use towline_nfs::Server;

/// Largest datagram that is looked at, in bytes; longer ones are cut by the kernel and then fail
/// to parse. A GETADDR call has 100.
const DATAGRAM_BYTES_MAX: usize = 4096;

/// Answers until the runtime ends.
pub(crate) async fn serve(socket: std::net::UdpSocket, server: Arc<Server>) {
    let socket = match UdpSocket::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => return tracing::warn!(%error, "portmap over UDP is not served"),
    };
    let Ok(local) = socket.local_addr() else {
        return;
    };
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let Ok((length, address)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let message = buffer.get(..length).unwrap_or(&[]).to_vec();
        if let Some(reply) = answer(&server, address, local, message).await
            && let Err(error) = socket.send_to(&reply, address).await
        {
            tracing::debug!(%error, peer = %address, "a datagram was not answered");
        }
    }
}

async fn answer(
    server: &Arc<Server>,
    address: SocketAddr,
    local: SocketAddr,
    message: Vec<u8>,
) -> Option<Vec<u8>> {
    let server = server.clone();
    let work = move || towline_nfs::datagram(&server, &Peer { address, local }, &message);
    tokio::task::spawn_blocking(work).await.ok().flatten()
}
