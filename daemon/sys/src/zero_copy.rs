//! Sending the same memory again and again without copying it: io_uring's SEND_ZC (Linux 6.0).
//!
//! Each sender has a small ring of its own. A send is answered twice: when its bytes are with the
//! socket, and later when the kernel no longer reads the memory; the second answer is only taken
//! in, because the memory never changes. Invariant: the memory outlives the ring. Not promised:
//! that no copy is made; loopback copies anyway, and so do cards without scatter and gather.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use io_uring::{IoUring, Probe, cqueue, opcode, types};
use rustix::io::Errno;

/// Entries of the ring, as a count: one send at a time, with room for late second answers.
const ENTRIES: u32 = 8;

/// Marks the answer of a send; second answers carry the flag `NOTIF`.
const SEND: u64 = 1;

/// A sender of one piece of memory.
pub struct ZeroCopySender {
    // Dropped first: the kernel is done with the memory when its ring is gone.
    ring: IoUring,
    memory: Arc<[u8]>,
}

impl std::fmt::Debug for ZeroCopySender {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("ZeroCopySender");
        shown
            .field("bytes", &self.memory.len())
            .finish_non_exhaustive()
    }
}

impl ZeroCopySender {
    /// A sender of `memory`.
    ///
    /// # Errors
    /// What io_uring_setup(2) reports where rings are forbidden, `OPNOTSUPP` where the kernel does
    /// not know SEND_ZC.
    pub fn new(memory: Arc<[u8]>) -> Result<Self, Errno> {
        let errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        let ring = IoUring::new(ENTRIES).map_err(errno)?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe).map_err(errno)?;
        if !probe.is_supported(opcode::SendZc::CODE) {
            return Err(Errno::OPNOTSUPP);
        }
        Ok(Self { ring, memory })
    }

    /// Sends the memory from `offset` to its end, or what of it the socket takes. Waits as a
    /// blocking send does; shutting the socket down ends the waiting.
    ///
    /// # Errors
    /// What send(2) reports; `INVAL` for an offset at or beyond the end.
    pub fn send(&mut self, socket: impl AsFd, offset: usize) -> Result<usize, Errno> {
        let rest = self.memory.get(offset..).filter(|rest| !rest.is_empty());
        let rest = rest.ok_or(Errno::INVAL)?;
        let length = u32::try_from(rest.len()).unwrap_or(u32::MAX);
        let target = types::Fd(socket.as_fd().as_raw_fd());
        let entry = opcode::SendZc::new(target, rest.as_ptr(), length)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build()
            .user_data(SEND);
        // SAFETY: the entry reads `rest`, which is memory that `self` keeps alive and never changes
        // until after its ring is dropped; the socket is open until the send is answered below.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.map_err(|_full| Errno::AGAIN)?;
        loop {
            match self.ring.submit_and_wait(1) {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
            }
            let mut answer = None;
            for done in self.ring.completion() {
                if !cqueue::notif(done.flags()) && done.user_data() == SEND {
                    answer = Some(done.result());
                }
            }
            if let Some(result) = answer {
                let count = usize::try_from(result);
                return count.map_err(|_| Errno::from_raw_os_error(-result));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn the_same_memory_arrives_as_often_as_it_is_sent() {
        let memory: Arc<[u8]> = (0..=255).cycle().take(100_000).collect();
        let Ok(mut sender) = ZeroCopySender::new(memory.clone()) else {
            return;
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            server.read_to_end(&mut all).unwrap();
            all
        });
        for _ in 0..20 {
            let mut sent = 0;
            while sent < memory.len() {
                sent += sender.send(&client, sent).unwrap();
            }
        }
        assert_eq!(sender.send(&client, memory.len()), Err(Errno::INVAL));
        client.shutdown(std::net::Shutdown::Both).unwrap();
        assert!(sender.send(&client, 0).is_err());
        assert_eq!(reader.join().unwrap(), memory.repeat(20));
    }
}
