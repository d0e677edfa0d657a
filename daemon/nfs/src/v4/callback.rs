//! Callbacks on the wire: CB_NULL and CB_COMPOUND out, their replies in (RFC 8881 section 20).
//!
//! Invariant: every callback but CB_NULL begins with CB_SEQUENCE, and none is longer than
//! [`CALLBACK_BYTES_MAX`]; clients that take less get no back channel. Not promised: GSS
//! credentials, referring calls, more than one operation behind CB_SEQUENCE.

use towline_volume::FileHandle;

use super::args::session::Security;
use super::session::SESSION_BYTES;
use super::state::stateid::StateId;
use crate::rpc::auth::{AUTH_BYTES_MAX, AUTH_NONE, AUTH_SYS};
use crate::rpc::call::{CALL, RPC_VERSION};
use crate::rpc::record::LAST_FRAGMENT_BIT;
use crate::rpc::reply::REPLY;
use crate::xdr::{Malformed, Reader, Writer};

/// The version of the callback program (RFC 8881 section 20.1, `NFS_CB`).
const CALLBACK_VERSION: u32 = 1;

/// `CB_NULL` and `CB_COMPOUND` (RFC 8881 sections 20.1 and 20.2).
const PROCEDURES: (u32, u32) = (0, 1);

/// `OP_CB_RECALL` (RFC 8881 section 20.2.1).
const OP_RECALL: u32 = 4;
/// `OP_CB_SEQUENCE` (RFC 8881 section 20.2.1).
const OP_SEQUENCE: u32 = 11;
/// `OP_CB_NOTIFY_LOCK` (RFC 8881 section 20.2.1).
const OP_NOTIFY_LOCK: u32 = 13;

/// Longest callback, in bytes: RPC head and credential (24 + 408 + 8), COMPOUND and CB_SEQUENCE
/// (16 + 44), and CB_NOTIFY_LOCK with the longest handle and lock owner (4 + 68 + 8 + 1028).
pub const CALLBACK_BYTES_MAX: u32 = 1608;

/// Longest reply to a callback, in bytes: head and verifier, tag, and two results.
pub const ANSWER_BYTES_MAX: u32 = 512;

/// Longest tag of a reply that is read, in bytes: ours is empty, and clients repeat it.
const TAG_BYTES_MAX: usize = 1024;

/// What a client is told unasked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Callback {
    /// CB_NULL: whether anybody is there.
    Check,
    /// CB_RECALL: give this delegation back.
    Recall(StateId, FileHandle),
    /// CB_NOTIFY_LOCK: ask again for the lock that this owner has waited for.
    NotifyLock(FileHandle, Box<[u8]>),
}

impl Callback {
    /// Short names in lower case, for metrics and logs.
    pub const LABELS: [&'static str; 3] = ["cb_null", "cb_recall", "cb_notify_lock"];

    /// Its place among the names.
    #[must_use]
    pub fn place(&self) -> usize {
        match self {
            Self::Check => 0,
            Self::Recall(..) => 1,
            Self::NotifyLock(..) => 2,
        }
    }

    /// Its name.
    #[must_use]
    pub fn label(&self) -> &'static str {
        Self::LABELS.get(self.place()).copied().unwrap_or("unknown")
    }
}

/// How one callback travels.
#[derive(Clone, Debug)]
pub struct Envelope<'a> {
    /// The call's number.
    pub xid: u32,
    /// The client's callback program.
    pub program: u32,
    /// The credential that it wants to see.
    pub security: &'a Security,
    /// The session.
    pub session: [u8; SESSION_BYTES],
    /// The number in the session's only slot.
    pub sequence: u32,
    /// The client's minor version.
    pub minor: u32,
    /// The client's id, which owners of locks are told with.
    pub client: u64,
}

/// What a client has said to a callback.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    /// It was carried out, with this status.
    Done(u32),
    /// CB_SEQUENCE failed, with this status: nothing was carried out, the slot is as it was.
    Slot(u32),
    /// The client's RPC layer refused it.
    Refused,
}

/// A whole callback with its record mark.
#[must_use]
pub fn write(envelope: &Envelope<'_>, callback: &Callback) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut out = Writer::new(&mut bytes);
    let procedure = match callback {
        Callback::Check => PROCEDURES.0,
        Callback::Recall(..) | Callback::NotifyLock(..) => PROCEDURES.1,
    };
    out.words([0, envelope.xid, CALL, RPC_VERSION]);
    out.words([envelope.program, CALLBACK_VERSION, procedure]);
    match envelope.security {
        Security::None => out.words([AUTH_NONE, 0]),
        Security::Unix(body) => {
            out.u32(AUTH_SYS);
            out.opaque(body);
        }
    }
    out.words([AUTH_NONE, 0]);
    if procedure == PROCEDURES.1 {
        // An empty tag, the minor version, `callback_ident` (of 4.0), two operations.
        out.words([0, envelope.minor, 0, 2]);
        out.u32(OP_SEQUENCE);
        out.fixed(&envelope.session);
        // Number, slot, highest slot, whether it is to be kept, referring calls.
        out.words([envelope.sequence, 0, 0, 0, 0]);
    }
    match callback {
        Callback::Check => {}
        Callback::Recall(stateid, handle) => {
            out.u32(OP_RECALL);
            stateid.write(&mut out);
            out.u32(0);
            out.opaque(handle.as_bytes());
        }
        Callback::NotifyLock(handle, owner) => {
            out.u32(OP_NOTIFY_LOCK);
            out.opaque(handle.as_bytes());
            out.u64(envelope.client);
            out.opaque(owner);
        }
    }
    let length = out.len() as u32 - 4;
    out.patch(0, LAST_FRAGMENT_BIT | length);
    bytes
}

/// Reads a reply: the number of the call, and what it says. `None`: it is no reply at all.
#[must_use]
pub fn read(message: &[u8]) -> Option<(u32, Answer)> {
    let mut reader = Reader::new(message);
    let (Ok(xid), Ok(REPLY)) = (reader.u32(), reader.u32()) else {
        return None;
    };
    Some((xid, answer(&mut reader).unwrap_or(Answer::Refused)))
}

fn answer(from: &mut Reader<'_>) -> Result<Answer, Malformed> {
    if from.u32()? != 0 {
        return Ok(Answer::Refused);
    }
    let _verifier_flavor = from.u32()?;
    from.opaque(AUTH_BYTES_MAX)?;
    if from.u32()? != 0 {
        return Ok(Answer::Refused);
    }
    if from.rest().is_empty() {
        // CB_NULL.
        return Ok(Answer::Done(0));
    }
    let whole = from.u32()?;
    from.opaque(TAG_BYTES_MAX)?;
    let count = from.u32()?;
    if count == 0 || from.u32()? != OP_SEQUENCE {
        return Ok(Answer::Slot(whole));
    }
    let sequence = from.u32()?;
    if sequence != 0 {
        return Ok(Answer::Slot(sequence));
    }
    // What follows CB_SEQUENCE has the status of the whole.
    Ok(Answer::Done(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle(bytes: usize) -> FileHandle {
        FileHandle::from_bytes(&vec![7; bytes]).unwrap()
    }

    #[test]
    fn the_longest_callback_fits_in_what_clients_are_asked_for() {
        let security = Security::Unix(vec![1; AUTH_BYTES_MAX]);
        let envelope = Envelope {
            xid: 1,
            program: 0x4000_0000,
            security: &security,
            session: [3; 16],
            sequence: 1,
            minor: 1,
            client: 5,
        };
        let longest = Callback::NotifyLock(handle(64), vec![1; 1024].into());
        let bytes = write(&envelope, &longest);
        assert!(
            bytes.len() - 4 <= CALLBACK_BYTES_MAX as usize,
            "{}",
            bytes.len()
        );
        let mark = u32::from_be_bytes(*bytes.first_chunk::<4>().unwrap());
        assert_eq!(mark, 0x8000_0000 | (bytes.len() as u32 - 4));
    }

    #[test]
    fn replies_are_told_apart() {
        let of = |words: &[u32]| {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            read(&bytes)
        };
        assert_eq!(of(&[9, 0, 2, 3]), None, "a call");
        assert_eq!(of(&[9]), None);
        assert_eq!(of(&[9, 1, 0, 0, 0, 0]), Some((9, Answer::Done(0))));
        assert_eq!(of(&[9, 1, 1, 1, 5]), Some((9, Answer::Refused)));
        assert_eq!(of(&[9, 1, 0, 0, 0, 3]), Some((9, Answer::Refused)));
        let slot = [9, 1, 0, 0, 0, 0, 10_008, 0, 1, 11, 10_008];
        assert_eq!(of(&slot), Some((9, Answer::Slot(10_008))));
        let done = [
            9, 1, 0, 0, 0, 0, 10_001, 0, 2, 11, 0, 1, 1, 1, 1, 1, 0, 0, 0, 4, 10_001,
        ];
        assert_eq!(of(&done), Some((9, Answer::Done(10_001))));
        for cut in 2..done.len().min(10) {
            assert!(of(&done[..cut]).is_some(), "a cut reply is one");
        }
    }
}
