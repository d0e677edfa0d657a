//! READDIR and READDIRPLUS (RFC 1813 sections 3.3.16 and 3.3.17).
//!
//! Cookies are the volume's own, so that both procedures continue each other and a listing
//! survives changes of the directory; the cookie verifier is always 0. Invariant: a reply is no
//! longer than the client allows nor than [`REPLY_BYTES_MAX`]. Not promised: attributes for
//! every entry; one that vanished meanwhile has none.

use std::ops::ControlFlow;

use towline_volume::{Detail, DirEntry};

use super::args::Resume;
use super::attributes::{POST_ATTRIBUTES_BYTES, write_post, write_post_handle};
use super::reach;
use crate::ground::{Blocking, Ground, Target};
use crate::server::Door;
use crate::v3::Status;
use crate::xdr::{Writer, padded};

/// Longest list put into one reply, in bytes: the `dtpref` of FSINFO, about 500 entries with
/// attributes. It bounds the memory that a call of 100 bytes can ask for.
const REPLY_BYTES_MAX: u32 = 64 * 1024;

/// The only cookie verifier that we give out.
const VERIFIER: [u8; 8] = [0; 8];

/// Bytes around the entries: attributes of the directory, verifier, end of list, `eof`.
const FRAME_BYTES: usize = POST_ATTRIBUTES_BYTES + 8 + 4 + 4;

/// How much a reply may hold.
#[derive(Clone, Copy, Debug)]
struct Budget {
    /// Bytes of the whole result.
    bytes_left: usize,
    /// Bytes of names, file ids and cookies (`dircount`).
    name_bytes_left: usize,
    detail: Detail,
}

/// READDIR.
pub(crate) fn readdir(
    ground: &mut Blocking<'_>,
    resume: &Resume,
    count: u32,
    out: &mut Writer<'_>,
) -> Status {
    let budget = Budget {
        bytes_left: count.min(REPLY_BYTES_MAX) as usize,
        name_bytes_left: usize::MAX,
        detail: Detail::Names,
    };
    list(ground, resume, budget, out)
}

/// READDIRPLUS.
pub(crate) fn readdirplus(
    ground: &mut Blocking<'_>,
    resume: &Resume,
    (dir_count, max_count): (u32, u32),
    out: &mut Writer<'_>,
) -> Status {
    let budget = Budget {
        bytes_left: max_count.min(REPLY_BYTES_MAX) as usize,
        name_bytes_left: dir_count as usize,
        detail: Detail::Attributes,
    };
    list(ground, resume, budget, out)
}

fn list(
    ground: &mut Blocking<'_>,
    resume: &Resume,
    budget: Budget,
    out: &mut Writer<'_>,
) -> Status {
    let dir = match reach(ground, &resume.dir) {
        Ok(dir) => dir,
        Err(status) => {
            out.words([status.number(), 0]);
            return status;
        }
    };
    let start = out.len();
    let seen = ground.attributes(&dir).ok().map(|seen| (dir.door, seen));
    out.u32(Status::Ok.number());
    write_post(out, &seen);
    match entries(&dir, resume, budget, out) {
        Ok(()) => Status::Ok,
        Err(status) => {
            out.truncate(start);
            out.u32(status.number());
            write_post(out, &seen);
            status
        }
    }
}

/// Everything behind the directory's attributes.
fn entries(
    dir: &Target,
    resume: &Resume,
    mut budget: Budget,
    out: &mut Writer<'_>,
) -> Result<(), Status> {
    if resume.cookie != 0 && resume.verifier != VERIFIER {
        return Err(Status::BadCookie);
    }
    budget.bytes_left = budget
        .bytes_left
        .checked_sub(FRAME_BYTES)
        .ok_or(Status::TooSmall)?;
    out.fixed(&VERIFIER);
    let (mut is_empty, detail) = (true, budget.detail);
    let mut visit = |entry: &DirEntry<'_>| match budget.charge(entry, is_empty) {
        true => {
            is_empty = false;
            write_entry(out, &dir.door, entry, detail);
            ControlFlow::Continue(())
        }
        false => ControlFlow::Break(()),
    };
    let volume = &dir.located.export.volume;
    let node = &dir.located.node;
    let is_end = volume.read_dir(node, &dir.who, resume.cookie, detail, &mut visit)?;
    if is_empty && !is_end {
        return Err(Status::TooSmall);
    }
    out.words([0, u32::from(is_end)]);
    Ok(())
}

impl Budget {
    /// Takes what `entry` needs, or returns false. The first entry passes whatever `dircount`
    /// says, because that is a hint and an empty reply would be no progress.
    fn charge(&mut self, entry: &DirEntry<'_>, is_first: bool) -> bool {
        let names = 8 + 4 + padded(entry.name.len()) + 8;
        let node = match (self.detail, &entry.node) {
            (Detail::Names, _) => 0,
            (Detail::Attributes, None) => 8,
            (Detail::Attributes, Some((handle, _))) => {
                POST_ATTRIBUTES_BYTES + 8 + padded(handle.as_bytes().len())
            }
        };
        let bytes = 4 + names + node;
        if bytes > self.bytes_left || (names > self.name_bytes_left && !is_first) {
            return false;
        }
        self.bytes_left -= bytes;
        self.name_bytes_left = self.name_bytes_left.saturating_sub(names);
        true
    }
}

fn write_entry(out: &mut Writer<'_>, door: &Door, entry: &DirEntry<'_>, detail: Detail) {
    out.u32(1);
    out.u64(entry.file_id);
    out.opaque(entry.name);
    out.u64(entry.cookie);
    match (detail, &entry.node) {
        (Detail::Names, _) => {}
        (Detail::Attributes, None) => out.words([0, 0]),
        (Detail::Attributes, Some((handle, seen))) => {
            write_post(out, &Some((*door, *seen)));
            write_post_handle(out, handle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &[u8]) -> DirEntry<'_> {
        DirEntry {
            name,
            file_id: 1,
            cookie: 2,
            node: None,
        }
    }

    #[test]
    fn an_entry_is_charged_exactly_what_it_takes() {
        for (detail, bytes) in [(Detail::Names, 28), (Detail::Attributes, 36)] {
            let mut budget = Budget {
                bytes_left: bytes,
                name_bytes_left: 0,
                detail,
            };
            assert!(budget.charge(&entry(b"abcd"), true));
            assert_eq!(budget.bytes_left, 0);
            budget.bytes_left = bytes - 1;
            assert!(!budget.charge(&entry(b"abcd"), true));
        }
    }

    #[test]
    fn dircount_ends_a_reply_but_not_before_the_first_entry() {
        let mut budget = Budget {
            bytes_left: 4096,
            name_bytes_left: 10,
            detail: Detail::Attributes,
        };
        assert!(budget.charge(&entry(b"first"), true));
        assert!(!budget.charge(&entry(b"second"), false));
    }
}
