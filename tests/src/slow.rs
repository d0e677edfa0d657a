//! A slow way to a server, which counts what passes.
//!
//! Invariant: all connections together get so many bytes per second from the server, and each
//! byte that the server sent is counted once it has been read from it. Not promised: that a byte
//! that was counted has arrived; the way and its sockets hold some 100 KiB of each connection.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use rustix::net::sockopt;

/// Bytes that are passed on at a time.
const PIECE_BYTES: usize = 32 << 10;

/// The way. Its threads end with their connections, and with the test's process.
#[derive(Clone, Debug)]
pub struct SlowWay {
    address: SocketAddr,
    passed: Arc<AtomicU64>,
}

impl SlowWay {
    /// A way to `to`, with so many bytes per second for all connections together.
    ///
    /// # Errors
    /// Fails when no port can be had.
    pub fn to(to: SocketAddr, bytes_per_s: u64) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let way = Self {
            address: listener.local_addr()?,
            passed: Arc::default(),
        };
        let (turn, passed) = (Arc::new(Mutex::new(())), way.passed.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(to) else {
                    return;
                };
                // Nothing may hide in the way's own sockets: what they hold counts as sent.
                let _ = sockopt::set_socket_recv_buffer_size(&server, PIECE_BYTES);
                let _ = sockopt::set_socket_send_buffer_size(&client, PIECE_BYTES);
                let (Ok(up), Ok(from)) = (client.try_clone(), server.try_clone()) else {
                    return;
                };
                std::thread::spawn(move || std::io::copy(&mut &up, &mut &server));
                let (turn, passed) = (turn.clone(), passed.clone());
                std::thread::spawn(move || {
                    let mut buffer = vec![0; PIECE_BYTES];
                    while let Ok(count @ 1..) = (&from).read(&mut buffer) {
                        passed.fetch_add(count as u64, Ordering::Relaxed);
                        let line = turn.lock().unwrap_or_else(PoisonError::into_inner);
                        let seconds = count as f64 / bytes_per_s as f64;
                        std::thread::sleep(Duration::from_secs_f64(seconds));
                        drop(line);
                        if (&client).write_all(&buffer[..count]).is_err() {
                            break;
                        }
                    }
                    // Both ends learn of it: a client that is gone must not be sent more.
                    let _ = client.shutdown(Shutdown::Both);
                    let _ = from.shutdown(Shutdown::Both);
                });
            }
        });
        Ok(way)
    }

    /// Where it begins.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes that the server has sent through it.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }
}
