//! Portmap and MOUNT over UDP, for clients that still ask there.
//!
//! A datagram's source can be forged, so nothing is answered to addresses that may reach no
//! export (threat N15), there is no indirect call, and no answer is longer than
//! [`REPLY_BYTES_MAX`]. Invariant: at most one datagram goes out for one that came in. Not
//! promised: an answer; UDP clients ask again, or over TCP.

use std::sync::Arc;

use towline_io::Peer;

use crate::blocking::MountCall;
use crate::caller::Caller;
use crate::metrics::Event;
use crate::portmap;
use crate::route::{Programs, Route, route};
use crate::rpc::reply::{self, Accept, MARK_BYTES, Reject};
use crate::rpc::{Call, CallFault};
use crate::server::Server;
use crate::xdr::Writer;

/// Longest answer, in bytes: one Ethernet frame without fragments (1,500 less 28 of IP and UDP).
/// A longer one is not sent; the client asks over TCP.
pub const REPLY_BYTES_MAX: usize = 1472;

/// Answers one datagram of portmap or MOUNT, or stays silent. May block (MNT walks a path).
/// `peer.local` is the address that it was sent to; rpcbind tells it to the client.
#[must_use]
pub fn datagram(server: &Arc<Server>, peer: &Peer, message: &[u8]) -> Option<Vec<u8>> {
    if !server.is_listed(peer.address.ip()) {
        return None;
    }
    let (mut reply, event) = answer(server, peer, message)?;
    server.counters.count(event);
    let bytes = reply.len().checked_sub(MARK_BYTES)?;
    if bytes == 0 || bytes > REPLY_BYTES_MAX {
        return None;
    }
    reply.drain(..MARK_BYTES);
    Some(reply)
}

/// The reply with a record mark, which datagrams do without.
fn answer(server: &Arc<Server>, peer: &Peer, message: &[u8]) -> Option<(Vec<u8>, Event)> {
    let mut reply = Vec::new();
    let mut out = Writer::new(&mut reply);
    let call = match Call::parse(message) {
        Ok(call) => call,
        Err(fault) => {
            refuse(&mut out, fault)?;
            return Some((reply, Event::Refused));
        }
    };
    let xid = call.xid;
    let credential = match call.credential() {
        Ok(credential) => credential,
        Err(fault) => {
            reply::reject(&mut out, xid, Reject::Auth(fault));
            return Some((reply, Event::Refused));
        }
    };
    match route((Programs::Datagram, false), &call) {
        Ok(Route::Mount(procedure, version)) => {
            if !server.admits(peer) {
                return None;
            }
            let caller = Caller {
                address: peer.address.ip(),
                credential,
            };
            let finished = MountCall {
                server: server.clone(),
                caller,
                message: message.to_vec(),
                procedure,
                version,
            }
            .run();
            Some((finished.reply, finished.event))
        }
        Ok(Route::Portmap(procedure, version)) => {
            let event = answer_portmap(server, peer, (procedure, version), &call, &mut out);
            Some((reply, event))
        }
        // NFS itself is not served over UDP.
        Ok(Route::V3(_) | Route::V4(_)) => None,
        Err(accept) => {
            reply::plain(&mut out, xid, accept);
            Some((reply, Event::Refused))
        }
    }
}

/// Answers a portmap call, over UDP or TCP.
pub(crate) fn answer_portmap(
    server: &Server,
    peer: &Peer,
    procedure: (portmap::Procedure, u32),
    call: &Call<'_>,
    out: &mut Writer<'_>,
) -> Event {
    let start = reply::begin(out, call.xid, Accept::Success);
    let mut arguments = call.arguments;
    match portmap::answer(server, peer, procedure, &mut arguments, out) {
        Ok(()) => {
            reply::finish(out, start, 0);
            Event::Portmap
        }
        Err(_) => {
            out.truncate(start);
            reply::plain(out, call.xid, Accept::GarbageArguments);
            Event::Refused
        }
    }
}

/// Writes what answers a message that is no call we can carry out; `None` if nothing does.
pub(crate) fn refuse(out: &mut Writer<'_>, fault: CallFault) -> Option<()> {
    match fault {
        CallFault::NotCall => return None,
        CallFault::Version { xid } => reply::reject(out, xid, Reject::RpcVersion),
        CallFault::Auth { xid, fault } => reply::reject(out, xid, Reject::Auth(fault)),
        CallFault::Garbage { xid } => reply::plain(out, xid, Accept::GarbageArguments),
    }
    Some(())
}
