//! READ (RFC 8881 section 18.22): a head, and the file's own bytes behind it.
//!
//! As the last operation of a COMPOUND it leaves as head and span, as in version 3: the bytes are
//! named and not held. Elsewhere, or where the reply is to be kept, they are copied on a pool
//! thread. What a stateid allows was judged at its OPEN; the file is opened again by its handle.
//! Invariant: a reply never promises bytes behind the end that the file had when it was made.

use std::os::unix::fs::FileExt;

use towline_io::span::Passage;
use towline_io::{OpenFile, SpanFault};
use towline_volume::view::Right;
use towline_volume::{Attributes, FileKind};

use super::compound::{Halt, Outcome, ReadSpan, Run};
use super::state::opens;
use super::state::stateid::{Meaning, StateId};
use super::{Status, TRANSFER_BYTES_MAX};
use crate::ground::{Grant, Target};
use crate::rpc::reply::HEAD_BYTES;
use crate::xdr::{Writer, padded};

/// Bytes of a READ's results in front of the data: `eof` and length.
const RESULTS_BYTES: usize = 8;

/// READ.
pub(super) fn read(run: &mut Run<'_>, stateid: StateId, offset: u64, count: u32) -> Outcome {
    let target = run.node()?.clone();
    check_regular(&target)?;
    let grant = granted(run, &target, stateid, opens::READ)?;
    let seen = run.ground.attributes(&target)?;
    let file = run.ground.file(&target, &seen, Right::Read, grant)?;
    let room = run.room().saturating_sub(RESULTS_BYTES) & !3;
    let most = count.min(TRANSFER_BYTES_MAX).min(room as u32);
    let length = length_of(&seen, offset, most);
    let is_end = offset.saturating_add(u64::from(length)) >= seen.size;
    if length == 0 || (run.compound.is_last() && !run.compound.is_kept()) {
        run.writer().words([u32::from(is_end), length]);
        return match length {
            0 => Ok(()),
            _ => Err(Halt::Span(ReadSpan {
                file,
                offset,
                length,
            })),
        };
    }
    run.must_wait()?;
    copy(run, &file, (offset, length), is_end)
}

/// Copies the bytes into the reply.
fn copy(run: &mut Run<'_>, file: &OpenFile, (offset, length): (u64, u32), is_end: bool) -> Outcome {
    match file.passage(offset, u64::from(length)) {
        Passage::Open(open) if open >= u64::from(length) => {}
        // They are on their way; the client asks again.
        Passage::Open(_) | Passage::Closed => return Err(Status::Delay.into()),
        Passage::Lost => return Err(Status::Io.into()),
    }
    run.writer().words([u32::from(is_end), length]);
    let start = run.out.len();
    run.out.resize(start + padded(length as usize), 0);
    let data = run.out.get_mut(start..start + length as usize);
    match file.read_exact_at(data.unwrap_or(&mut []), offset) {
        Ok(()) => Ok(()),
        Err(_) => Err(Status::Io.into()),
    }
}

fn length_of(seen: &Attributes, offset: u64, most: u32) -> u32 {
    let rest = seen.size.saturating_sub(offset);
    u32::try_from(rest).map_or(most, |rest| rest.min(most))
}

/// Refuses what has no bytes (section 18.22.3).
pub(super) fn check_regular(target: &Target) -> Result<(), Status> {
    match target.located.node.kind {
        FileKind::Regular => Ok(()),
        FileKind::Directory => Err(Status::IsDir),
        FileKind::Symlink => Err(Status::SymLink),
        FileKind::Block | FileKind::Character | FileKind::Fifo | FileKind::Socket => {
            Err(Status::WrongType)
        }
    }
}

/// What a stateid allows with a file: `access` is read or write.
pub(super) fn granted(
    run: &Run<'_>,
    target: &Target,
    stateid: StateId,
    access: u32,
) -> Result<Grant, Status> {
    let handle = &target.located.node.handle;
    let given = run.resolve(stateid);
    match given.meaning() {
        Meaning::Anonymous | Meaning::Bypass => {
            let passes = given.meaning() == Meaning::Bypass && access == opens::READ;
            if !passes && run.books.denies(handle, access) {
                return Err(Status::Locked);
            }
            Ok(Grant::Ask)
        }
        Meaning::Given(given) => {
            let client = run.client()?;
            let holding = run.books.holding(given, &client)?;
            if holding.handle != *handle {
                return Err(Status::BadStateId);
            }
            let has = holding.access();
            if has & access != 0 {
                return Ok(Grant::Given(holding.who));
            }
            // Programs that write parts of pages read with an open for writing (section 9.1.2):
            // let pass, if the kernel lets the caller read.
            match access == opens::READ && has & opens::WRITE != 0 {
                true => Ok(Grant::Ask),
                false => Err(Status::OpenMode),
            }
        }
        Meaning::Current | Meaning::Invalid => Err(Status::BadStateId),
    }
}

/// The reply that goes out instead when the file could not be read: the head ends with status,
/// `eof` and length, and only the statuses before them change.
pub(super) fn recover(head: &[u8], fault: SpanFault) -> Option<Vec<u8>> {
    let status = match fault {
        SpanFault::Short { .. } => return None,
        SpanFault::Read(_) | SpanFault::Lost => Status::Io,
        // The client asks again in a while.
        SpanFault::Late => Status::Delay,
    };
    let kept = head.len().checked_sub(RESULTS_BYTES)?;
    let mut reply = head.get(..kept)?.to_vec();
    let mut out = Writer::new(&mut reply);
    out.patch(kept.checked_sub(4)?, status.number());
    out.patch(HEAD_BYTES, status.number());
    crate::rpc::reply::finish(&mut out, 0, 0);
    Some(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_read_becomes_an_error_and_a_short_file_closes() {
        let mut head = Vec::new();
        // Mark, xid, REPLY, accepted, verifier, success; status, tag, count; READ.
        Writer::new(&mut head).words([0, 9, 1, 0, 0, 0, 0, 0, 0, 1, 25, 0, 1, 100]);
        assert_eq!(recover(&head, SpanFault::Short { bytes: 1 }), None);
        let reply = recover(&head, SpanFault::Read(rustix::io::Errno::IO)).unwrap();
        let words: Vec<u32> = reply
            .chunks(4)
            .map(|word| u32::from_be_bytes(word.try_into().unwrap()))
            .collect();
        assert_eq!(words, [0x8000_002c, 9, 1, 0, 0, 0, 0, 5, 0, 1, 25, 5]);
        let later = recover(&head, SpanFault::Late).unwrap();
        assert_eq!(later.last(), Some(&24), "10008 is DELAY");
    }
}
