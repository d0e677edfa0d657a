//! Replies of MOUNT, the port mapper and NFSv3: octets in, values or a status out.
//!
//! Governed by RFC 1813 (sections 3.3 and 5.2), RFC 1833 and RFC 5531 section 11. Sans-I/O.
//! Invariant: nothing is allocated from a length that a server claimed before that many octets are
//! there; handles are as short as the protocol says. Not promised: fields that nothing here needs.

use std::ops::Range;

use anyhow::{Context, Result, ensure};

use crate::rpc::Reader;
use crate::source::Entry;

/// Longest file handle in octets (RFC 1813 section 2.4, `NFS3_FHSIZE`).
pub const HANDLE_BYTES_MAX: usize = 64;
/// Type of a plain file (RFC 1813 section 2.5, `NF3REG`).
const PLAIN_FILE: u32 = 1;
/// Octets of attributes (RFC 1813 section 2.6, `fattr3`).
const ATTRIBUTES_BYTES: usize = 84;

/// What a reply yields, or the status that the server gave instead. The outer error is a reply that
/// breaks the protocol.
pub type Answer<T> = Result<Result<T, u32>>;

/// Attributes that matter here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Attributes {
    /// Whether it is a plain file.
    pub is_file: bool,
    /// Its length.
    pub bytes: u64,
}

/// One page of a folder's names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Page {
    /// The names, `.` and `..` left out.
    pub entries: Vec<Entry>,
    /// Where the next page begins; that of the question where this one has no names.
    pub cookie: u64,
    /// What the server wants to see with that.
    pub verifier: u64,
    /// Whether the folder ends here.
    pub is_end: bool,
}

/// Where the first record (RFC 5531 section 11) lies in these octets, without its mark; `None` when
/// more must come.
///
/// # Errors
/// A record of more than `most` octets, or in several fragments, which servers in use do not send.
pub fn record(bytes: &[u8], most: usize) -> Result<Option<Range<usize>>> {
    let Some((mark, _)) = bytes.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let mark = u32::from_be_bytes(*mark);
    let length = (mark & 0x7fff_ffff) as usize;
    let fits = mark >> 31 == 1 && length <= most;
    ensure!(fits, "a reply of {length} octets or in pieces");
    let range = 4..4 + length;
    Ok((range.end <= bytes.len()).then_some(range))
}

/// What follows a status of zero; any other status instead of it.
fn past_status<'a, T>(
    reader: &mut Reader<'a>,
    then: impl FnOnce(&mut Reader<'a>) -> Result<T>,
) -> Answer<T> {
    match reader.number()? {
        0 => then(reader).map(Ok),
        status => Ok(Err(status)),
    }
}

fn long(reader: &mut Reader<'_>) -> Result<u64> {
    Ok(u64::from(reader.number()?) << 32 | u64::from(reader.number()?))
}

fn handle(reader: &mut Reader<'_>) -> Result<Vec<u8>> {
    let bytes = reader.opaque()?;
    ensure!(
        bytes.len() <= HANDLE_BYTES_MAX,
        "a handle of {} octets",
        bytes.len()
    );
    Ok(bytes.to_vec())
}

fn present(reader: &mut Reader<'_>) -> Result<Attributes> {
    let (whole, rest) = reader
        .0
        .split_at_checked(ATTRIBUTES_BYTES)
        .context("attributes cut short")?;
    reader.0 = rest;
    let mut inner = Reader(whole);
    let is_file = inner.number()? == PLAIN_FILE;
    // Mode, links, uid and gid come before the size.
    for _ in 0..4 {
        inner.number()?;
    }
    let bytes = long(&mut inner)?;
    Ok(Attributes { is_file, bytes })
}

fn maybe_present(reader: &mut Reader<'_>) -> Result<Option<Attributes>> {
    match reader.number()? {
        0 => Ok(None),
        _ => present(reader).map(Some),
    }
}

/// The port of PMAPPROC_GETPORT; `None` where the program is not there.
///
/// # Errors
/// Too few octets.
pub fn port(reader: &mut Reader<'_>) -> Result<Option<u16>> {
    let port = u16::try_from(reader.number()?).ok();
    Ok(port.filter(|port| *port != 0))
}

/// The root's handle of MOUNTPROC3_MNT.
///
/// # Errors
/// A reply that breaks the protocol, here and below.
pub fn mount(reader: &mut Reader<'_>) -> Answer<Vec<u8>> {
    past_status(reader, handle)
}

/// The handle of LOOKUP, and its attributes where the server tells.
///
/// # Errors
/// As [`mount`].
pub fn lookup(reader: &mut Reader<'_>) -> Answer<(Vec<u8>, Option<Attributes>)> {
    past_status(reader, |reader| {
        Ok((handle(reader)?, maybe_present(reader)?))
    })
}

/// The attributes of GETATTR.
///
/// # Errors
/// As [`mount`].
pub fn attributes(reader: &mut Reader<'_>) -> Answer<Attributes> {
    past_status(reader, present)
}

/// Most bytes of a READ, of FSINFO.
///
/// # Errors
/// As [`mount`].
pub fn read_bytes_max(reader: &mut Reader<'_>) -> Answer<u32> {
    past_status(reader, |reader| {
        maybe_present(reader)?;
        reader.number()
    })
}

/// The data of READ and whether the file ends there.
///
/// # Errors
/// As [`mount`].
pub fn read<'a>(reader: &mut Reader<'a>) -> Answer<(&'a [u8], bool)> {
    past_status(reader, |reader| {
        maybe_present(reader)?;
        let count = reader.number()? as usize;
        let is_end = reader.number()? == 1;
        let bytes = reader.opaque()?;
        ensure!(bytes.len() == count, "the count is not that of the data");
        Ok((bytes, is_end))
    })
}

/// The names of READDIRPLUS, asked for from `cookie`.
///
/// # Errors
/// As [`mount`].
pub fn names(reader: &mut Reader<'_>, cookie: u64) -> Answer<Page> {
    past_status(reader, |reader| page(reader, cookie))
}

fn page(reader: &mut Reader<'_>, cookie: u64) -> Result<Page> {
    maybe_present(reader)?;
    let mut page = Page {
        entries: Vec::new(),
        cookie,
        verifier: long(reader)?,
        is_end: false,
    };
    while reader.number()? == 1 {
        let _file_id = long(reader)?;
        let name = String::from_utf8_lossy(reader.opaque()?).into_owned();
        page.cookie = long(reader)?;
        let attributes = maybe_present(reader)?;
        if reader.number()? == 1 {
            handle(reader)?;
        }
        if name != "." && name != ".." {
            let bytes = attributes.filter(|attributes| attributes.is_file);
            let bytes = bytes.map(|attributes| attributes.bytes);
            page.entries.push(Entry { name, bytes });
        }
    }
    page.is_end = reader.number()? == 1;
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn a_record_is_told_when_it_is_whole_and_not_too_long() {
        let mut bytes = octets(&[1 << 31 | 8, 7, 9]);
        for cut in 0..bytes.len() {
            assert_eq!(record(&bytes[..cut], 8).unwrap(), None, "{cut}");
        }
        assert_eq!(record(&bytes, 8).unwrap(), Some(4..12));
        assert!(record(&bytes, 7).is_err(), "longer than allowed");
        bytes[0] = 0;
        assert!(record(&bytes, 8).is_err(), "in pieces");
    }

    #[test]
    fn a_page_of_names_is_read_and_a_handle_has_its_bound() {
        // No attributes, verifier, one entry: id, name "ab", cookie, no attributes, a handle.
        let start = [
            0,
            0,
            0,
            5,
            1,
            0,
            9,
            2,
            u32::from_be_bytes(*b"ab\0\0"),
            0,
            3,
            0,
            1,
        ];
        let whole = |length: u32| {
            let mut bytes = octets(&start);
            bytes.extend(length.to_be_bytes());
            bytes.resize(bytes.len() + length as usize, 0);
            bytes.extend(octets(&[0, 1]));
            bytes
        };
        let page = names(&mut Reader(&whole(64)), 0).unwrap().unwrap();
        assert_eq!((page.cookie, page.verifier, page.is_end), (3, 5, true));
        assert_eq!(page.entries[0].name, "ab");
        assert!(names(&mut Reader(&whole(68)), 0).is_err());
        assert_eq!(names(&mut Reader(&octets(&[13])), 0).unwrap(), Err(13));
    }
}
