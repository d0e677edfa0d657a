//! Paths inside a revision.
//!
//! Invariant: a path that exists leads to a place below the revision's directory, under a name that
//! Linux, macOS and Windows all take for one. Not promised: that there is a file.

use std::str::FromStr;

use super::{NameFault, shown};

/// Device names that Windows takes for a device in every directory, with any suffix.
const RESERVED_STEMS: [&str; 4] = ["con", "prn", "aux", "nul"];

/// Longest single name in a path, in bytes: the limit of ext4 and XFS.
pub const PATH_SEGMENT_BYTES_MAX: usize = 255;

/// Longest path of a file in a revision, in bytes.
pub const PATH_BYTES_MAX: usize = 1_024;

/// Whether Windows would take a name for a device.
pub(super) fn is_reserved(name: &str) -> bool {
    let stem = name
        .split('.')
        .next()
        .unwrap_or_default()
        .trim_end_matches(' ');
    let lower = stem.to_ascii_lowercase();
    let numbered = ["com", "lpt"].iter().any(|device| {
        lower.strip_prefix(device).is_some_and(|digit| {
            digit.len() == 1 && digit.bytes().all(|byte| matches!(byte, b'1'..=b'9'))
        })
    });
    numbered || RESERVED_STEMS.contains(&lower.as_str())
}

/// A path inside a revision: UTF-8, relative, `/` between names.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RepoPath(Box<str>);

impl RepoPath {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names in it, from the top.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Every directory above the file, from the top: `a`, `a/b` for `a/b/c`.
    pub fn directories(&self) -> impl Iterator<Item = &str> {
        let ends = self.0.match_indices('/');
        ends.filter_map(|(end, _)| self.0.get(..end))
    }
}

impl FromStr for RepoPath {
    type Err = NameFault;

    fn from_str(text: &str) -> Result<Self, NameFault> {
        let fault = |reason| NameFault::Path {
            path: shown(text),
            reason,
        };
        if text.len() > PATH_BYTES_MAX {
            return Err(fault("longer than 1024 bytes"));
        }
        for segment in text.split('/') {
            check_segment(segment).map_err(fault)?;
        }
        Ok(Self(text.into()))
    }
}

fn check_segment(segment: &str) -> Result<(), &'static str> {
    if segment.is_empty() {
        return Err("empty, absolute, or with an empty name in it");
    }
    if matches!(segment, "." | "..") {
        return Err("'.' and '..' lead elsewhere");
    }
    if segment.len() > PATH_SEGMENT_BYTES_MAX {
        return Err("a name in it is longer than 255 bytes");
    }
    if segment.contains('\\') {
        return Err("'\\' separates names on Windows");
    }
    if segment.chars().any(char::is_control) {
        return Err("control characters are not allowed");
    }
    let mut letters = segment.bytes();
    if letters
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic())
        && letters.next() == Some(b':')
    {
        return Err("names a drive on Windows");
    }
    if is_reserved(segment) {
        return Err("names a device on Windows");
    }
    Ok(())
}
