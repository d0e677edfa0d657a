//! READDIR (RFC 8881 section 18.23).
//!
//! Cookies are the volume's own, so that a listing survives changes of the directory; the cookie
//! verifier is always 0. `.` and `..` are not listed. Invariant: a reply is no longer than the
//! client, the session and [`REPLY_BYTES_MAX`] allow. Not promised: attributes for every entry;
//! one that vanished meanwhile says so.

use std::ops::ControlFlow;

use towline_volume::{Detail, DirEntry};

use super::Status;
use super::attributes::{self, Facts, RDATTR_ERROR};
use super::bits::Bits;
use super::compound::{Halt, Outcome, Place, Run};
use super::inspect;
use super::place::check_directory;
use super::pseudo::{self, Level};
use crate::ground::Target;
use crate::xdr::Writer;

/// Longest list put into one reply, in bytes: what Linux asks for, about 300 entries with
/// attributes. It bounds the memory that a call of 100 bytes can ask for.
const REPLY_BYTES_MAX: usize = 64 * 1024;

/// The only cookie verifier that we give out.
const VERIFIER: [u8; 8] = [0; 8];

/// Bytes around the entries: verifier, end of list, `eof`.
const FRAME_BYTES: usize = 8 + 4 + 4;

/// Cookies of the made-up root begin here: 0 is the start, and 1 and 2 are not used (section
/// 18.23.3).
const ROOT_COOKIE_FIRST: u64 = 3;

/// READDIR.
pub(super) fn readdir(
    run: &mut Run<'_>,
    (cookie, verifier): (u64, [u8; 8]),
    (_, max_count): (u32, u32),
    asked: &Bits,
) -> Outcome {
    if !asked.and(&attributes::WRITE_ONLY).is_empty() {
        return Err(Status::Inval.into());
    }
    if cookie != 0 && verifier != VERIFIER {
        return Err(Status::NotSame.into());
    }
    if cookie == 1 || cookie == 2 {
        return Err(Status::BadCookie.into());
    }
    let most = (max_count as usize).min(REPLY_BYTES_MAX).min(run.room());
    let left = most.checked_sub(FRAME_BYTES).ok_or(Status::TooSmall)?;
    let (is_empty, is_end) = match &run.compound.current {
        Place::None => return Err(Status::NoFileHandle.into()),
        Place::Root(level) => {
            let level = *level;
            run.must_wait()?;
            list_root(run, level, (cookie, left), asked)
        }
        Place::Node(target) => {
            let target = target.clone();
            check_directory(&target)?;
            run.must_wait()?;
            list_node(run, &target, (cookie, left), asked)?
        }
    };
    if is_empty && !is_end {
        return Err(Status::TooSmall.into());
    }
    run.writer().words([0, u32::from(is_end)]);
    Ok(())
}

/// One list on its way out.
struct List {
    wire: Vec<u8>,
    left: usize,
    is_empty: bool,
}

impl List {
    fn new(left: usize) -> Self {
        Self {
            wire: Vec::new(),
            left,
            is_empty: true,
        }
    }

    /// Puts an entry in, if it fits.
    fn put(
        &mut self,
        (cookie, name): (u64, &[u8]),
        attributes: impl FnOnce(&mut Writer<'_>),
    ) -> ControlFlow<()> {
        let before = self.wire.len();
        let mut out = Writer::new(&mut self.wire);
        out.u32(1);
        out.u64(cookie);
        out.opaque(name);
        attributes(&mut out);
        if self.wire.len() > self.left {
            self.wire.truncate(before);
            return ControlFlow::Break(());
        }
        self.is_empty = false;
        ControlFlow::Continue(())
    }
}

fn list_node(
    run: &mut Run<'_>,
    dir: &Target,
    (cookie, left): (u64, usize),
    asked: &Bits,
) -> Result<(bool, bool), Halt> {
    let mut list = List::new(left);
    let volume = &dir.located.export.volume;
    let space = match attributes::needs_space(asked) {
        true => volume.space().ok(),
        false => None,
    };
    let mut visit = |entry: &DirEntry<'_>| {
        if matches!(entry.name, b"." | b"..") {
            return ControlFlow::Continue(());
        }
        list.put((entry.cookie, entry.name), |out| match &entry.node {
            Some((handle, seen)) => {
                let facts = inspect::of_node(run, dir, seen, *handle);
                attributes::write(out, asked, &Facts { space, ..facts });
            }
            None => write_lost(out, asked),
        })
    };
    let node = &dir.located.node;
    let is_end = volume.read_dir(node, &dir.who, cookie, Detail::Attributes, &mut visit)?;
    let is_empty = list.is_empty;
    run.writer().fixed(&VERIFIER);
    run.out.extend_from_slice(&list.wire);
    Ok((is_empty, is_end))
}

/// An entry that is not there any more, or that is not to be entered: without the attribute for
/// it, it is shown without any.
fn write_lost(out: &mut Writer<'_>, asked: &Bits) {
    match asked.has(RDATTR_ERROR) {
        true => attributes::write_error(out, Status::Access),
        false => {
            Bits::default().write(out);
            out.u32(0);
        }
    }
}

fn list_root(
    run: &mut Run<'_>,
    level: Level,
    (cookie, left): (u64, usize),
    asked: &Bits,
) -> (bool, bool) {
    let _same_list_on_both = level;
    let mut list = List::new(left);
    let address = run.compound.caller.address;
    let mut is_end = true;
    for (place, export) in (ROOT_COOKIE_FIRST..).zip(pseudo::reachable(run.server, address)) {
        if place <= cookie {
            continue;
        }
        let root = export.volume.root();
        let seen = root.and_then(|root| Ok((export.volume.attributes(&root)?, root)));
        let put = list.put((place, export.name.as_bytes()), |out| match &seen {
            Ok((seen, root)) => {
                let door = run.server.door(export, address);
                let facts = Facts {
                    handle: root.handle,
                    seen: *seen,
                    file_system: door.file_system_id(seen.file_system),
                    mounted_on: pseudo::mounted_on(export.id),
                    space: None,
                    minor: run.compound.minor,
                    lease_seconds: run.books.lease_seconds,
                };
                attributes::write(out, asked, &facts);
            }
            // A bad volume is an error of that volume alone (threat N14).
            Err(_) => write_lost(out, asked),
        });
        if put.is_break() {
            is_end = false;
            break;
        }
    }
    let is_empty = list.is_empty;
    run.writer().fixed(&VERIFIER);
    run.out.extend_from_slice(&list.wire);
    (is_empty, is_end)
}
