//! Telling an rpcbind that already runs on this host where NFS and MOUNT are.
//!
//! PMAPPROC_SET and PMAPPROC_UNSET of RFC 1833 section 3.1 over UDP to 127.0.0.1:111; rpcbind
//! takes them only from this host. Invariant: what was registered is taken back when the node
//! stops. Not promised: that rpcbind agrees; the node then says that clients must name ports.

use std::io::{Error, ErrorKind};
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use crate::sockets::PORTMAP_PORT;

/// How long an answer may take: rpcbind is on this host.
const ANSWER_MAX: Duration = Duration::from_millis(500);

const PMAPPROC_SET: u32 = 1;
const PMAPPROC_UNSET: u32 = 2;
/// Program and version of what is served: NFS 3, MOUNT 3 and 1 (RFC 1813 sections 3 and 5).
const SERVED: [(u32, u32); 3] = [(100_003, 3), (100_005, 3), (100_005, 1)];

/// A registration, taken back on drop.
#[derive(Debug)]
pub(crate) struct Registration {
    port: u16,
}

impl Registration {
    /// Registers NFS and MOUNT under `port`.
    pub(crate) fn new(port: u16) -> std::io::Result<Self> {
        for (program, version) in SERVED {
            // An entry that a killed node left behind would make SET fail.
            let _ = call(PMAPPROC_UNSET, program, version, port);
            if !call(PMAPPROC_SET, program, version, port)? {
                let why = format!("it refused program {program}");
                return Err(Error::new(ErrorKind::PermissionDenied, why));
            }
        }
        Ok(Self { port })
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        for (program, version) in SERVED {
            if let Err(error) = call(PMAPPROC_UNSET, program, version, self.port) {
                tracing::warn!(%error, "rpcbind still names this node");
            }
        }
    }
}

/// One call of portmap version 2; whether it answered true.
fn call(procedure: u32, program: u32, version: u32, port: u16) -> std::io::Result<bool> {
    const CALL: u32 = 0;
    const RPC_VERSION: u32 = 2;
    const PORTMAP: (u32, u32) = (100_000, 2);
    const TCP: u32 = 6;
    let xid = std::process::id() ^ procedure << 24 ^ program;
    let no_credential = [0, 0, 0, 0];
    let head = [xid, CALL, RPC_VERSION, PORTMAP.0, PORTMAP.1, procedure];
    let arguments = [program, version, TCP, u32::from(port)];
    let words = head.iter().chain(&no_credential).chain(&arguments);
    let message: Vec<u8> = words.flat_map(|word| word.to_be_bytes()).collect();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(ANSWER_MAX))?;
    socket.connect((Ipv4Addr::LOCALHOST, PORTMAP_PORT))?;
    socket.send(&message)?;
    let mut reply = [0; 64];
    let length = socket.recv(&mut reply)?;
    let word = |index: usize| {
        let bytes = reply.get(..length)?.get(index * 4..index * 4 + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().ok()?))
    };
    // xid, REPLY, MSG_ACCEPTED, verifier (flavor and length 0), SUCCESS, the answer.
    let is_answer = word(0) == Some(xid) && word(2) == Some(0) && word(5) == Some(0);
    if !is_answer {
        return Err(Error::new(ErrorKind::InvalidData, "it is not a portmapper"));
    }
    Ok(word(6) == Some(1))
}
