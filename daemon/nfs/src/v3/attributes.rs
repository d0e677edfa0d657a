//! Attributes on the wire: `fattr3`, `post_op_attr`, `wcc_data` (RFC 1813 section 2.6).
//!
//! Invariant: each is written in one piece. Not promised: times before 1970 or after 2106, which
//! 32 bits without a sign cannot hold; they are shown as the nearest time that can.

use towline_volume::{Attributes, FileHandle, FileKind, Timestamp, Wcc};

use crate::server::Door;
use crate::xdr::Writer;
use crate::xdr::writer::halves;

/// Bytes of a `post_op_attr` with attributes.
pub(crate) const POST_ATTRIBUTES_BYTES: usize = 4 * 22;

/// The attributes of a node, with the door through which it was reached.
pub(crate) type Seen = Option<(Door, Attributes)>;

/// `fattr3`.
pub(crate) fn write(out: &mut Writer<'_>, door: &Door, seen: &Attributes) {
    let [_, words @ ..] = words(door, seen);
    out.words::<21>(words);
}

/// `post_op_attr`.
pub(crate) fn write_post(out: &mut Writer<'_>, seen: &Seen) {
    match seen {
        Some((door, seen)) => out.words(words(door, seen)),
        None => out.u32(0),
    }
}

/// `wcc_data`.
pub(crate) fn write_wcc(out: &mut Writer<'_>, door: &Door, wcc: &Wcc) {
    match &wcc.before {
        Some(before) => {
            let [size_high, size_low] = halves(before.size);
            let [modified, modified_ns] = time(&before.modified);
            let [changed, changed_ns] = time(&before.changed);
            out.words([
                1,
                size_high,
                size_low,
                modified,
                modified_ns,
                changed,
                changed_ns,
            ]);
        }
        None => out.u32(0),
    }
    write_post(out, &wcc.after.map(|after| (*door, after)));
}

/// `wcc_data` that says nothing, for what failed before there was a node.
pub(crate) fn write_no_wcc(out: &mut Writer<'_>) {
    out.words([0, 0]);
}

/// `post_op_fh3`.
pub(crate) fn write_post_handle(out: &mut Writer<'_>, handle: &FileHandle) {
    out.u32(1);
    out.opaque(handle.as_bytes());
}

/// `true` and a `fattr3`.
fn words(door: &Door, seen: &Attributes) -> [u32; 22] {
    let kind = match seen.kind {
        FileKind::Regular => 1,
        FileKind::Directory => 2,
        FileKind::Block => 3,
        FileKind::Character => 4,
        FileKind::Symlink => 5,
        FileKind::Socket => 6,
        FileKind::Fifo => 7,
    };
    let [size_high, size_low] = halves(seen.size);
    let [used_high, used_low] = halves(seen.used);
    let (major, minor) = seen.device;
    let [system_high, system_low] = halves(door.file_system_id(seen.file_system));
    let [id_high, id_low] = halves(seen.file_id);
    let [accessed, accessed_ns] = time(&seen.accessed);
    let [modified, modified_ns] = time(&seen.modified);
    let [changed, changed_ns] = time(&seen.changed);
    [
        1,
        kind,
        seen.mode,
        seen.links,
        seen.uid,
        seen.gid,
        size_high,
        size_low,
        used_high,
        used_low,
        major,
        minor,
        system_high,
        system_low,
        id_high,
        id_low,
        accessed,
        accessed_ns,
        modified,
        modified_ns,
        changed,
        changed_ns,
    ]
}

fn time(time: &Timestamp) -> [u32; 2] {
    match u32::try_from(time.seconds) {
        Ok(seconds) => [seconds, time.nanoseconds],
        Err(_) if time.seconds < 0 => [0, 0],
        Err(_) => [u32::MAX, 0],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_outside_32_bits_become_the_nearest() {
        let at = |seconds| {
            time(&Timestamp {
                seconds,
                nanoseconds: 5,
            })
        };
        assert_eq!(at(-1), [0, 0]);
        assert_eq!(at(7), [7, 5]);
        assert_eq!(at(1 << 33), [u32::MAX, 0]);
    }
}
