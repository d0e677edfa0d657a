//! Names that came from outside: repositories, tags, revisions, paths, identities of content.
//!
//! Every path and name from a manifest, a hub's answer or a client's key becomes one of these
//! types before anything is done with it. Invariant: a value that exists cannot lead out of the
//! directory that it is joined to, on Linux, macOS or Windows alike (threats F1 and F2), and holds
//! no more than its limit. Not promised: that what is named exists.

use std::fmt;
use std::str::FromStr;

/// Longest organisation or model name, in bytes (the Hub's own limit).
pub const SEGMENT_BYTES_MAX: usize = 96;

/// Longest path of a file in a revision, in bytes.
pub const PATH_BYTES_MAX: usize = 1_024;

/// Longest single name in a path, in bytes: the limit of ext4 and XFS.
pub const PATH_SEGMENT_BYTES_MAX: usize = 255;

/// Longest tag, in bytes; it becomes one directory name.
pub const TAG_BYTES_MAX: usize = 128;

/// Device names that Windows takes for a device in every directory, with any suffix.
const RESERVED_STEMS: [&str; 4] = ["con", "prn", "aux", "nul"];

/// Why text is not a name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NameFault {
    /// Not `organisation/model`.
    #[error(
        "'{0}' is not a model name: write organisation/model, letters, digits, '-', '_' and '.', \
         at most {SEGMENT_BYTES_MAX} bytes each, no '--' or '..'"
    )]
    Repo(String),
    /// Not a tag.
    #[error(
        "'{0}' is not a tag: use 1 to {TAG_BYTES_MAX} letters, digits, '-', '_' and '.', starting \
         with a letter or digit, and not 40 hex digits, which name a revision"
    )]
    Tag(String),
    /// Not forty hex digits.
    #[error("'{0}' is not a revision: 40 lower-case hex digits are")]
    Revision(String),
    /// Not sixty-four hex digits.
    #[error("'{0}' is not an identity of content: 64 lower-case hex digits are")]
    Identity(String),
    /// A path that is too long, or would mean another place somewhere.
    #[error("path '{path}': {reason}")]
    Path {
        /// The path, cut to a readable length.
        path: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
}

fn shown(text: &str) -> String {
    text.chars()
        .take(120)
        .flat_map(char::escape_debug)
        .collect()
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// The name of a repository: `organisation/model`.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RepoName(Box<str>);

impl RepoName {
    /// The part before the slash.
    #[must_use]
    pub fn organisation(&self) -> &str {
        self.0.split_once('/').map_or("", |(one, _)| one)
    }

    /// The part behind the slash.
    #[must_use]
    pub fn model(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, other)| other)
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_repo_segment(segment: &str) -> bool {
    (1..=SEGMENT_BYTES_MAX).contains(&segment.len())
        && segment.bytes().all(is_plain)
        && !segment.starts_with(['.', '-'])
        && !segment.ends_with(['.', '-'])
        && !segment.contains("--")
        && !segment.contains("..")
        && !is_reserved(segment)
}

impl FromStr for RepoName {
    type Err = NameFault;

    fn from_str(text: &str) -> Result<Self, NameFault> {
        match text.split_once('/') {
            Some((one, other)) if is_repo_segment(one) && is_repo_segment(other) => {
                Ok(Self(text.into()))
            }
            _ => Err(NameFault::Repo(shown(text))),
        }
    }
}

/// A tag or branch of a repository; one path segment.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TagName(Box<str>);

impl TagName {
    /// The tag that a name without one means.
    #[must_use]
    pub fn main() -> Self {
        Self("main".into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TagName {
    type Err = NameFault;

    fn from_str(text: &str) -> Result<Self, NameFault> {
        let starts = text
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric());
        let good = starts
            && text.len() <= TAG_BYTES_MAX
            && text.bytes().all(is_plain)
            && !text.ends_with('.')
            && !is_reserved(text)
            && text.parse::<RevisionId>().is_err();
        if good {
            Ok(Self(text.into()))
        } else {
            Err(NameFault::Tag(shown(text)))
        }
    }
}

/// Whether Windows would take a name for a device.
fn is_reserved(name: &str) -> bool {
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

macro_rules! text_type {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.as_str())
            }
        }
    };
}

text_type!(RepoName);
text_type!(TagName);
text_type!(RepoPath);

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $fault:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// The bytes.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl FromStr for $name {
            type Err = NameFault;

            fn from_str(text: &str) -> Result<Self, NameFault> {
                from_hex(text).map(Self).ok_or_else(|| NameFault::$fault(shown(text)))
            }
        }
    };
}

id_type!(
    /// A revision: a git commit id.
    RevisionId, 20, Revision
);
id_type!(
    /// A git id of a blob or tree (SHA-1).
    GitId, 20, Revision
);
id_type!(
    /// What a file is: BLAKE3 of its chunk table.
    FileId, 32, Identity
);
id_type!(
    /// What a revision is: BLAKE3 of its manifest.
    ManifestId, 32, Identity
);
id_type!(
    /// A chunk: BLAKE3 of its bytes.
    ChunkId, 32, Identity
);
id_type!(
    /// SHA-256 of a whole file.
    Sha256, 32, Identity
);

/// Exactly `N` bytes from lower-case hex digits.
pub(crate) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (to, [high, low]) in bytes.iter_mut().zip(pairs) {
        *to = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_elsewhere_somewhere_are_refused() {
        for text in [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "../a",
            "a/../b",
            "a/..",
            "a\\b",
            "..\\a",
            "C:",
            "c:/a",
            "C:a",
            "a/C:b",
            "nul",
            "a/CON.txt",
            "com1",
            "LPT9.x",
            "a\0b",
            "a\nb",
            "\u{7f}",
            "\\\\host\\share",
            "//host/share",
            "aux .txt",
        ] {
            assert!(text.parse::<RepoPath>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn paths_that_people_use_are_taken_as_they_are() {
        for text in [
            "a",
            "sub dir/a+b.txt",
            ".gitattributes",
            "ü/模型.gguf",
            "a..b",
            "computer",
            "con-fig.json",
            "...",
            "auxiliary/nul1",
        ] {
            assert_eq!(text.parse::<RepoPath>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn the_longest_path_passes_and_one_more_byte_does_not() {
        let segment = "a".repeat(PATH_SEGMENT_BYTES_MAX);
        assert!(segment.parse::<RepoPath>().is_ok());
        assert!(format!("{segment}a").parse::<RepoPath>().is_err());
        let longest = [segment.as_str(); 4].join("/");
        assert_eq!(longest.len(), PATH_BYTES_MAX - 1);
        assert!(longest.parse::<RepoPath>().is_ok());
        assert!(format!("b/{longest}").parse::<RepoPath>().is_err());
    }

    #[test]
    fn model_names_are_two_plain_segments() {
        for text in ["a/b", "Qwen/Qwen3-8B", "meta-llama/Llama-3.1_x"] {
            let name: RepoName = text.parse().unwrap();
            assert_eq!(format!("{}/{}", name.organisation(), name.model()), text);
        }
        let long = "a".repeat(SEGMENT_BYTES_MAX);
        assert!(format!("{long}/{long}").parse::<RepoName>().is_ok());
        assert!(format!("{long}a/{long}").parse::<RepoName>().is_err());
        for text in [
            "gpt2",
            "a/b/c",
            "/b",
            "a/",
            ".towline/x",
            "a/..",
            "a--b/c",
            "a/b c",
            "a/con",
            "-a/b",
            "ä/b",
        ] {
            assert!(text.parse::<RepoName>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_tag_is_not_a_revision() {
        assert!("main".parse::<TagName>().is_ok());
        assert!("v1.0-rc_2".parse::<TagName>().is_ok());
        let revision = "a06c5e52021e6efa8445fd69202014b34c6b94bc";
        assert!(revision.parse::<TagName>().is_err());
        assert_eq!(
            revision.parse::<RevisionId>().unwrap().to_string(),
            revision
        );
        for text in ["", ".", "..", "a/b", ".hidden", "-x", "a.", "nul", "a b"] {
            assert!(text.parse::<TagName>().is_err(), "{text}");
        }
        assert!("a".repeat(TAG_BYTES_MAX).parse::<TagName>().is_ok());
        assert!("a".repeat(TAG_BYTES_MAX + 1).parse::<TagName>().is_err());
    }

    #[test]
    fn directories_of_a_path_come_from_the_top() {
        let path: RepoPath = "a/b/c".parse().unwrap();
        assert_eq!(path.directories().collect::<Vec<_>>(), ["a", "a/b"]);
    }
}
