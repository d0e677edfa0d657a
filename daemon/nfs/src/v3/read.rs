//! READ (RFC 1813 section 3.3.6): a head, and the file's own bytes behind it.
//!
//! The bytes are named and not held: the driver sends them from the file. A file that shrinks
//! before they are sent closes the connection, because a count that was promised cannot be kept;
//! one that fails to read becomes an error reply. Invariant: a reply never promises bytes behind
//! the end that the attributes in the same reply show. Not promised: that all bytes of one
//! reply are of one instant, if somebody writes meanwhile.

use std::sync::Arc;

use towline_io::{FileSpan, Framed, OpenFile, Output, SpanFault};
use towline_volume::view::{Located, Right};
use towline_volume::{Attributes, FileHandle, FileKind};

use super::TRANSFER_BYTES_MAX;
use super::attributes::{Seen, write_post};
use super::{reach, settle};
use crate::ground::{Blocking, Cold, Ground, Hot, Target};
use crate::rpc::reply::{Accept, MARK_BYTES, begin, finish};
use crate::v3::Status;
use crate::xdr::{Reader, Writer, padding};

/// The arguments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) file: FileHandle,
    pub(crate) offset: u64,
    pub(crate) count: u32,
}

/// An open file with what the kernel showed of it.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) target: Target,
    pub(crate) file: Arc<OpenFile>,
    pub(crate) seen: Attributes,
}

/// A refusal, with attributes if there are any.
pub(crate) type Refusal = (Status, Seen);

/// The file from a worker's memory.
pub(crate) fn hot(ground: &mut Hot<'_>, wanted: &Wanted) -> Result<Result<Source, Refusal>, Cold> {
    let target = match settle(ground.open(&wanted.file))? {
        Ok(target) => target,
        Err(status) => return Ok(Err((status, None))),
    };
    let seen = match ground.attributes(&target) {
        Ok(seen) => seen,
        Err(error) => return Ok(Err((error.into(), None))),
    };
    if let Err(status) = readable(&target) {
        return Ok(Err((status, Some((target.door, seen)))));
    }
    let node = &target.located.node;
    match ground.view.file(node, &seen, &target.who, Right::Read) {
        Some(file) => Ok(Ok(Source { target, file, seen })),
        None => Err(Cold),
    }
}

/// The file, opened on a pool thread.
#[expect(
    clippy::result_large_err,
    reason = "made once for a file that is opened, and moved straight into the job's result"
)]
pub(crate) fn open(ground: &mut Blocking<'_>, wanted: &Wanted) -> Result<Source, Refusal> {
    let target = reach(ground, &wanted.file).map_err(|status| (status, None))?;
    // Read before the right is asked for: the grant holds as long as these do.
    let seen = ground
        .attributes(&target)
        .map_err(|error| (error.into(), None))?;
    let refuse = |status| (status, Some((target.door, seen)));
    readable(&target).map_err(refuse)?;
    let Located { node, export } = &target.located;
    let opened = export.volume.open_read(node, &target.who);
    let file = opened.map_err(|error| refuse(error.into()))?;
    Ok(Source { target, file, seen })
}

fn readable(target: &Target) -> Result<(), Status> {
    match target.located.node.kind {
        FileKind::Regular => Ok(()),
        FileKind::Directory => Err(Status::IsDir),
        FileKind::Symlink
        | FileKind::Block
        | FileKind::Character
        | FileKind::Fifo
        | FileKind::Socket => Err(Status::Inval),
    }
}

/// Puts out the reply; returns how many bytes of the file it carries.
pub(crate) fn put<D>(output: &mut Output<D>, xid: u32, wanted: &Wanted, source: Source) -> u32 {
    let Source { target, file, seen } = source;
    let rest = seen.size.saturating_sub(wanted.offset);
    let most = wanted.count.min(TRANSFER_BYTES_MAX);
    let length = u32::try_from(rest).map_or(most, |rest| rest.min(most));
    let is_end = u64::from(length) == rest;
    let zeros = padding(length as usize);
    let mut out = Writer::new(output.buffer());
    let head_start = begin(&mut out, xid, Accept::Success);
    out.u32(Status::Ok.number());
    write_post(&mut out, &Some((target.door, seen)));
    out.words([length, u32::from(is_end), length]);
    finish(&mut out, head_start, length as usize + zeros);
    if length > 0 {
        output.framed(Framed {
            head_start,
            span: FileSpan {
                file,
                offset: wanted.offset,
                length: u64::from(length),
            },
            padding: zeros as u8,
            recover,
        });
    }
    length
}

/// Puts out a refusal.
pub(crate) fn refuse(out: &mut Writer<'_>, xid: u32, (status, seen): &Refusal) {
    let start = begin(out, xid, Accept::Success);
    out.u32(status.number());
    write_post(out, seen);
    finish(out, start, 0);
}

/// The reply that goes out instead when the file could not be read.
fn recover(head: &[u8], fault: SpanFault) -> Option<Vec<u8>> {
    match fault {
        SpanFault::Short { .. } => None,
        SpanFault::Read(_) | SpanFault::Lost => refusal(head, Status::Io),
        // The client asks again in a while; RFC 1813 section 2.6.
        SpanFault::Late => refusal(head, Status::Jukebox),
    }
}

fn refusal(head: &[u8], status: Status) -> Option<Vec<u8>> {
    let xid = Reader::new(head.get(MARK_BYTES..)?).u32().ok()?;
    let mut reply = Vec::new();
    refuse(&mut Writer::new(&mut reply), xid, &(status, None));
    Some(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_read_becomes_an_error_and_a_short_file_closes() {
        let head = [0x80, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1];
        assert_eq!(recover(&head, SpanFault::Short { bytes: 1 }), None);
        let reply = recover(&head, SpanFault::Read(rustix::io::Errno::IO)).unwrap();
        let words: Vec<u32> = reply
            .chunks(4)
            .map(|word| u32::from_be_bytes(word.try_into().unwrap()))
            .collect();
        assert_eq!(words, [0x8000_0020, 9, 1, 0, 0, 0, 0, 5, 0]);
    }
}
