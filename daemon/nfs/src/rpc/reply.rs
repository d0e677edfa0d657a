//! The head of an RPC reply with its record mark (RFC 5531 sections 9 and 11).
//!
//! Every reply of ours is one fragment: none is longer than the 1 MiB of a READ and its head.
//! Invariant: [`begin`] and [`finish`] are the only places that write a record mark.

use super::auth::AuthFault;
use super::call::RPC_VERSION;
use super::record::LAST_FRAGMENT_BIT;
use crate::xdr::Writer;

/// Bytes of the record mark.
pub const MARK_BYTES: usize = 4;

/// Bytes of an accepted reply's head, the record mark included.
pub const HEAD_BYTES: usize = MARK_BYTES + 24;

/// Marks a reply among messages (RFC 5531 section 9, `msg_type`).
pub const REPLY: u32 = 1;

/// The call was not accepted (RFC 5531 section 9, `reply_stat`).
const MSG_DENIED: u32 = 1;

/// What became of an accepted call: `accept_stat` (RFC 5531 section 9).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Accept {
    /// Carried out; results follow.
    Success,
    /// No such program here.
    ProgramUnavailable,
    /// The program has other versions.
    ProgramMismatch {
        /// Lowest version.
        low: u32,
        /// Highest version.
        high: u32,
    },
    /// No such procedure.
    ProcedureUnavailable,
    /// The arguments are malformed.
    GarbageArguments,
}

/// Why a call was not even accepted: `reject_stat` (RFC 5531 section 9).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reject {
    /// RPC_MISMATCH: we speak version 2.
    RpcVersion,
    /// AUTH_ERROR.
    Auth(AuthFault),
}

/// Begins a reply: returns where it starts, for [`finish`]. The verifier is AUTH_NONE.
pub fn begin(out: &mut Writer<'_>, xid: u32, accept: Accept) -> usize {
    let start = out.len();
    let status = match accept {
        Accept::Success => 0,
        Accept::ProgramUnavailable => 1,
        Accept::ProgramMismatch { .. } => 2,
        Accept::ProcedureUnavailable => 3,
        Accept::GarbageArguments => 4,
    };
    out.words([0, xid, REPLY, 0, 0, 0, status]);
    if let Accept::ProgramMismatch { low, high } = accept {
        out.words([low, high]);
    }
    start
}

/// Ends the reply that starts at `start`; `bytes_following` bytes of it are not in the buffer.
///
/// # Panics
/// If the reply has 2^31 bytes or more; the longest of ours has about 1 MiB.
pub fn finish(out: &mut Writer<'_>, start: usize, bytes_following: usize) {
    let length = out.len() - start - MARK_BYTES + bytes_following;
    let mark = u32::try_from(length).unwrap_or(u32::MAX);
    assert!(mark < LAST_FRAGMENT_BIT, "every reply fits in one fragment");
    out.patch(start, LAST_FRAGMENT_BIT | mark);
}

/// A whole reply without results.
pub fn plain(out: &mut Writer<'_>, xid: u32, accept: Accept) {
    let start = begin(out, xid, accept);
    finish(out, start, 0);
}

/// A whole reply that rejects a call.
pub fn reject(out: &mut Writer<'_>, xid: u32, reject: Reject) {
    let start = out.len();
    out.words([0, xid, REPLY, MSG_DENIED]);
    match reject {
        Reject::RpcVersion => out.words([0, RPC_VERSION, RPC_VERSION]),
        Reject::Auth(fault) => out.words([1, fault as u32]),
    }
    finish(out, start, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(make: impl FnOnce(&mut Writer<'_>)) -> Vec<u32> {
        let mut buffer = Vec::new();
        make(&mut Writer::new(&mut buffer));
        buffer
            .chunks(4)
            .map(|word| u32::from_be_bytes(word.try_into().unwrap()))
            .collect()
    }

    #[test]
    fn a_mismatch_names_the_versions_that_there_are() {
        let reply = words(|out| plain(out, 9, Accept::ProgramMismatch { low: 3, high: 3 }));
        assert_eq!(reply, [0x8000_0020, 9, 1, 0, 0, 0, 2, 3, 3]);
    }

    #[test]
    fn rejections_carry_their_reason() {
        let reply = words(|out| reject(out, 9, Reject::RpcVersion));
        assert_eq!(reply, [0x8000_0018, 9, 1, 1, 0, 2, 2]);
        let reply = words(|out| reject(out, 9, Reject::Auth(AuthFault::BadCredential)));
        assert_eq!(reply, [0x8000_0014, 9, 1, 1, 1, 1]);
    }

    #[test]
    fn bytes_that_follow_count_in_the_record_mark() {
        let reply = words(|out| {
            let start = begin(out, 9, Accept::Success);
            finish(out, start, 100);
        });
        assert_eq!(reply.first(), Some(&(0x8000_0000 | 124)));
        assert_eq!(reply.len() * 4, HEAD_BYTES);
    }
}
