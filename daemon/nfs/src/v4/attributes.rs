//! Attributes on the wire: `fattr4` (RFC 8881 section 5), from what a volume shows of a node.
//!
//! Invariant: values stand in the order of their numbers, and only supported ones; what is not
//! supported is left out without an error (section 5.2). ACLs are not shown; the kernel's own
//! decide all the same. Not promised: attributes that a file system does not keep, such as the
//! time of creation.

use towline_volume::{Attributes, FileHandle, FileKind, Space, Timestamp};

use super::TRANSFER_BYTES_MAX;
use super::bits::Bits;
use crate::xdr::Writer;

/// `FATTR4_SUPPORTED_ATTRS` (RFC 8881 section 5.8.1.1), and so on below.
pub const SUPPORTED_ATTRS: u32 = 0;
/// `FATTR4_TYPE`.
pub const TYPE: u32 = 1;
/// `FATTR4_CHANGE`.
pub const CHANGE: u32 = 3;
/// `FATTR4_SIZE`.
pub const SIZE: u32 = 4;
/// `FATTR4_FSID`.
pub const FSID: u32 = 8;
/// `FATTR4_LEASE_TIME`.
pub const LEASE_TIME: u32 = 10;
/// `FATTR4_RDATTR_ERROR`.
pub const RDATTR_ERROR: u32 = 11;
/// `FATTR4_FILEHANDLE`.
pub const FILEHANDLE: u32 = 19;
/// `FATTR4_FILEID`.
pub const FILEID: u32 = 20;
/// `FATTR4_MODE` (RFC 8881 section 6.2.4).
pub const MODE: u32 = 33;
/// `FATTR4_OWNER`.
pub const OWNER: u32 = 36;
/// `FATTR4_OWNER_GROUP`.
pub const OWNER_GROUP: u32 = 37;
/// `FATTR4_TIME_ACCESS`.
pub const TIME_ACCESS: u32 = 47;
/// `FATTR4_TIME_ACCESS_SET`.
pub const TIME_ACCESS_SET: u32 = 48;
/// `FATTR4_TIME_CREATE`.
pub const TIME_CREATE: u32 = 50;
/// `FATTR4_TIME_MODIFY`.
pub const TIME_MODIFY: u32 = 53;
/// `FATTR4_TIME_MODIFY_SET`.
pub const TIME_MODIFY_SET: u32 = 54;
/// `FATTR4_MOUNTED_ON_FILEID`.
pub const MOUNTED_ON_FILEID: u32 = 55;

/// `FATTR4_CLONE_BLKSIZE` (RFC 7862 section 12.2.1).
const CLONE_BLKSIZE: u32 = 77;
/// `FATTR4_XATTR_SUPPORT` (RFC 8276 section 8.2).
const XATTR_SUPPORT: u32 = 82;

/// Bytes that a clone begins and ends at: the block of the file systems that can clone.
const CLONE_BYTES: u32 = 4096;

/// What can be set.
pub const SETTABLE: Bits = Bits::of(&[
    SIZE,
    MODE,
    OWNER,
    OWNER_GROUP,
    TIME_ACCESS_SET,
    TIME_MODIFY_SET,
]);

/// What can only be set.
pub const WRITE_ONLY: Bits = Bits::of(&[TIME_ACCESS_SET, TIME_MODIFY_SET]);

/// What an exclusive create may set: not the times, which hold its verifier.
const EXCLUSIVE: Bits = Bits::of(&[SIZE, MODE, OWNER, OWNER_GROUP]);

/// What is supported in minor version 1 (RFC 8881 section 5.8).
pub const SUPPORTED: Bits = Bits::of(&[
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 16, 17, 18, 19, 20, 21, 22, 23, 26, 27, 28, 29,
    30, 31, 33, 34, 35, 36, 37, 41, 42, 43, 44, 45, 47, 48, 50, 51, 52, 53, 54, 55, 75,
]);

/// What minor version 2 adds.
const OF_MINOR_2: Bits = Bits::of(&[CLONE_BLKSIZE, XATTR_SUPPORT]);

/// What must be asked of the file system as a whole, which may wait.
const SPACE: Bits = Bits::of(&[21, 22, 23, 29, 42, 43, 44]);

/// Most links: what ext4 allows, the lowest of the file systems that we serve.
const LINKS_MAX: u32 = 65_000;

/// A `nfstime4` of one nanosecond: `FATTR4_TIME_DELTA`, as the kernel keeps times.
const TIME_DELTA: Timestamp = Timestamp {
    seconds: 0,
    nanoseconds: 1,
};

/// Most bytes that the values of one node take, all of them: 47 attributes, of which two owners
/// have 16 bytes at most, the handle 68, and no other more than 16.
pub const BYTES_MAX: usize = 640;

/// What there is to tell of a node.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Its handle.
    pub handle: FileHandle,
    /// What the volume shows.
    pub seen: Attributes,
    /// Major number of its `fsid`; the minor is 0.
    pub file_system: u64,
    /// The file id of the directory that it is mounted on; its own unless it is a volume's root.
    pub mounted_on: u64,
    /// Room of the file system; asked only where it is wanted.
    pub space: Option<Space>,
    /// The minor version that asks.
    pub minor: u32,
    /// The lease, in seconds.
    pub lease_seconds: u32,
}

/// What is supported in this minor version.
#[must_use]
pub fn supported(minor: u32) -> Bits {
    match minor {
        0 | 1 => SUPPORTED,
        _ => SUPPORTED.or(&OF_MINOR_2),
    }
}

/// Whether [`Facts::space`] is needed.
#[must_use]
pub fn needs_space(asked: &Bits) -> bool {
    !asked.and(&SPACE).is_empty()
}

/// Writes a `fattr4` with those of `asked` that there are.
pub fn write(out: &mut Writer<'_>, asked: &Bits, facts: &Facts) {
    let mut shown = asked.and(&supported(facts.minor)).without(&WRITE_ONLY);
    if facts.seen.born == Timestamp::default() {
        shown = shown.without(&Bits::of(&[TIME_CREATE]));
    }
    if facts.space.is_none() {
        shown = shown.without(&SPACE);
    }
    shown.write(out);
    let length_at = out.len();
    out.u32(0);
    for number in shown.numbers() {
        write_one(out, number, facts);
    }
    let length = out.len() - length_at - 4;
    out.patch(length_at, length as u32);
}

/// Writes a `fattr4` that says only why there is none (READDIR, section 18.23.3).
pub fn write_error(out: &mut Writer<'_>, status: super::Status) {
    Bits::of(&[RDATTR_ERROR]).write(out);
    out.words([4, status.number()]);
}

fn write_one(out: &mut Writer<'_>, number: u32, facts: &Facts) {
    let seen = &facts.seen;
    match number {
        SUPPORTED_ATTRS => supported(facts.minor).write(out),
        TYPE => out.u32(node_type(seen.kind)),
        CHANGE => out.u64(seen.change),
        LEASE_TIME => out.u32(facts.lease_seconds),
        SIZE => out.u64(seen.size),
        FSID => {
            out.u64(facts.file_system);
            out.u64(0);
        }
        FILEHANDLE => out.opaque(facts.handle.as_bytes()),
        FILEID => out.u64(seen.file_id),
        MODE => out.u32(seen.mode),
        35 => out.u32(seen.links),
        OWNER => owner(out, seen.uid),
        OWNER_GROUP => owner(out, seen.gid),
        41 => out.words([seen.device.0, seen.device.1]),
        45 => out.u64(seen.used),
        TIME_ACCESS => time(out, &seen.accessed),
        TIME_CREATE => time(out, &seen.born),
        52 => time(out, &seen.changed),
        TIME_MODIFY => time(out, &seen.modified),
        MOUNTED_ON_FILEID => out.u64(facts.mounted_on),
        21..=23 | 29 | 42..=44 => write_space(out, number, facts.space.as_ref()),
        _ => write_constant(out, number),
    }
}

/// Room and limits of the file system.
fn write_space(out: &mut Writer<'_>, number: u32, space: Option<&Space>) {
    let Some(space) = space else {
        return;
    };
    match number {
        21 | 22 => out.u64(space.files_free),
        23 => out.u64(space.files_total),
        29 => out.u32(space.name_bytes_max),
        42 => out.u64(space.bytes_available),
        43 => out.u64(space.bytes_free),
        _ => out.u64(space.bytes_total),
    }
}

/// Attributes that are the same for every node.
fn write_constant(out: &mut Writer<'_>, number: u32) {
    match number {
        // `fh_expire_type`: handles last. `named_attr`, `aclsupport`, `case_insensitive`: no.
        2 | 7 | 13 | 16 => out.u32(0),
        // `link_support`, `symlink_support`, `unique_handles`, `cansettime`, `case_preserving`,
        // `chown_restricted`, `homogeneous`, `no_trunc`: yes.
        5 | 6 | 9 | 15 | 17 | 18 | 26 | 34 => out.u32(1),
        RDATTR_ERROR => out.u32(0),
        27 => out.u64(i64::MAX.unsigned_abs()),
        28 => out.u32(LINKS_MAX),
        30 | 31 => out.u64(u64::from(TRANSFER_BYTES_MAX)),
        51 => time(out, &TIME_DELTA),
        XATTR_SUPPORT => out.u32(1),
        CLONE_BLKSIZE => out.u32(CLONE_BYTES),
        75 => EXCLUSIVE.write(out),
        _ => {}
    }
}

fn node_type(kind: FileKind) -> u32 {
    match kind {
        FileKind::Regular => 1,
        FileKind::Directory => 2,
        FileKind::Block => 3,
        FileKind::Character => 4,
        FileKind::Symlink => 5,
        FileKind::Socket => 6,
        FileKind::Fifo => 7,
    }
}

fn time(out: &mut Writer<'_>, time: &Timestamp) {
    out.u64(time.seconds.cast_unsigned());
    out.u32(time.nanoseconds);
}

/// An id as decimal text, without an allocation.
fn owner(out: &mut Writer<'_>, id: u32) {
    /// Most digits, in bytes: of 2^32-1.
    const DIGITS_MAX: usize = 10;
    let mut digits = [0; DIGITS_MAX];
    let (mut rest, mut count) = (id, 0);
    for place in digits.iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
        count += 1;
        if rest == 0 {
            break;
        }
    }
    out.opaque(digits.get(DIGITS_MAX - count..).unwrap_or(&digits));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xdr::Reader;

    fn facts() -> Facts {
        let stamp = Timestamp {
            seconds: 5,
            nanoseconds: 6,
        };
        Facts {
            handle: FileHandle::from_bytes(&[7; 64]).unwrap(),
            seen: Attributes {
                kind: FileKind::Regular,
                mode: 0o644,
                links: 1,
                uid: u32::MAX,
                gid: 0,
                size: 9,
                used: 512,
                device: (1, 2),
                file_system: 3,
                file_id: 4,
                accessed: stamp,
                modified: stamp,
                changed: stamp,
                born: stamp,
                change: 77,
            },
            file_system: 8,
            mounted_on: 4,
            space: Some(Space {
                bytes_total: 3,
                bytes_free: 2,
                bytes_available: 1,
                files_total: 9,
                files_free: 8,
                name_bytes_max: 255,
            }),
            minor: 2,
            lease_seconds: 60,
        }
    }

    #[test]
    fn every_supported_attribute_has_a_value_and_all_keep_their_bound() {
        let mut all = Vec::new();
        write(&mut Writer::new(&mut all), &supported(2), &facts());
        assert!(all.len() <= BYTES_MAX, "{} bytes", all.len());
        for number in supported(2).without(&WRITE_ONLY).numbers() {
            let mut wire = Vec::new();
            write(&mut Writer::new(&mut wire), &Bits::of(&[number]), &facts());
            let mut reader = Reader::new(&wire);
            Bits::parse(&mut reader).unwrap();
            let value = reader.opaque(BYTES_MAX).unwrap();
            assert!(!value.is_empty() && reader.rest().is_empty(), "{number}");
        }
    }

    #[test]
    fn owners_are_decimal() {
        for (id, text) in [(0, "0"), (1000, "1000"), (u32::MAX, "4294967295")] {
            let mut wire = Vec::new();
            owner(&mut Writer::new(&mut wire), id);
            assert_eq!(Reader::new(&wire).opaque(10), Ok(text.as_bytes()));
        }
    }

    #[test]
    fn what_is_not_there_is_left_out() {
        let mut facts = facts();
        facts.space = None;
        facts.seen.born = Timestamp::default();
        let mut wire = Vec::new();
        let asked = Bits::of(&[SIZE, 42, TIME_CREATE, 90]);
        write(&mut Writer::new(&mut wire), &asked, &facts);
        let shown = Bits::parse(&mut Reader::new(&wire)).unwrap();
        assert_eq!(shown, Bits::of(&[SIZE]));
    }
}
