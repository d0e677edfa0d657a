//! The manifest of a revision: its files with their identities, in one deterministic encoding.
//!
//! CBOR with the rules of RFC 8949 section 4.2 (shortest integers, definite lengths, keys sorted
//! by their encoded bytes); the manifest's BLAKE3 is the identity of the revision's content.
//! Invariant: bytes that decode encode to the same bytes again, paths are sorted, none is a
//! directory of another, and every limit holds. Not promised: that the files are here.

use std::convert::Infallible;

use minicbor::data::Type;
use minicbor::{Decoder, Encoder};

use crate::git;
use crate::name::{FileId, GitId, ManifestId, RepoKind, RepoName, RepoPath, RevisionId, Sha256};
use crate::table::Format;

/// Most files of one revision.
pub const FILES_MAX: usize = 1_000_000;

/// Longest message, in bytes: a commit message, not a document.
pub const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// Longest manifest that is read, in bytes: the most files with the longest paths that are usual.
pub const MANIFEST_BYTES_MAX: usize = 1 << 30;

/// The version that is written.
const VERSION: u64 = 1;

/// One file of a revision.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ManifestFile {
    /// Where it lies.
    pub path: RepoPath,
    /// Length in bytes.
    pub size: u64,
    /// Its git blob id; for an LFS file that of the pointer.
    pub git_oid: GitId,
    /// SHA-256 of its bytes, where it is known.
    pub sha256: Option<Sha256>,
    /// How it was cut.
    pub format: Format,
    /// BLAKE3 of its chunk table.
    pub table: FileId,
}

impl ManifestFile {
    /// Whether git would hold a pointer in its place.
    #[must_use]
    pub fn is_lfs(&self) -> bool {
        self.sha256
            .is_some_and(|sha256| git::pointer_id(&sha256, self.size) == self.git_oid)
    }
}

/// A revision: which files it has, and what it is called.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Manifest {
    /// The repository it belongs to.
    pub repo: RepoName,
    /// What it was called when it was made: of its name's kind, or a model, which all were once.
    pub kind: RepoKind,
    /// Its git commit id; that of the origin for a mirrored revision.
    pub rev: RevisionId,
    /// The revision before it.
    pub parent: Option<RevisionId>,
    /// When it was made, in seconds since 1970-01-01 UTC.
    pub created: u64,
    /// What was said about it.
    pub message: String,
    /// Its files, sorted by path bytes.
    pub files: Vec<ManifestFile>,
}

/// Why bytes, or a list of files, are not a manifest.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ManifestFault {
    /// Not the CBOR of a manifest.
    #[error("not a manifest: {0}")]
    Encoding(&'static str),
    /// Another version.
    #[error("manifest of version {0}; this node reads version {VERSION}")]
    Version(u64),
    /// More than a manifest may hold.
    #[error("manifest with more than {what} allows")]
    TooMuch {
        /// The limit.
        what: &'static str,
    },
    /// A name in it that is none.
    #[error("manifest with a bad name: {0}")]
    Name(#[from] crate::name::NameFault),
    /// A path twice, or a file that is also a directory.
    #[error("manifest with '{0}' twice, or as file and directory")]
    Twice(String),
}

impl From<minicbor::decode::Error> for ManifestFault {
    fn from(_: minicbor::decode::Error) -> Self {
        Self::Encoding("broken CBOR")
    }
}

type Decoded<T> = Result<T, ManifestFault>;
type Encoded = Result<(), minicbor::encode::Error<Infallible>>;

impl Manifest {
    /// Sorts the files and checks what every manifest keeps.
    ///
    /// # Errors
    /// [`ManifestFault::Twice`] or [`ManifestFault::TooMuch`].
    pub fn arrange(&mut self) -> Decoded<()> {
        self.files.sort_by(|one, other| one.path.cmp(&other.path));
        self.check()
    }

    fn check(&self) -> Decoded<()> {
        if self.files.len() > FILES_MAX {
            return Err(ManifestFault::TooMuch { what: "FILES_MAX" });
        }
        if self.message.len() > MESSAGE_BYTES_MAX {
            return Err(ManifestFault::TooMuch {
                what: "MESSAGE_BYTES_MAX",
            });
        }
        check_paths(self.files.iter().map(|file| &file.path))
    }

    /// The bytes of the manifest.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Writing to a vector cannot fail: the error type has no value.
        match self.write(&mut Encoder::new(&mut bytes)) {
            Ok(()) | Err(_) => bytes,
        }
    }

    fn write(&self, to: &mut Encoder<&mut Vec<u8>>) -> Encoded {
        to.map(7 + u64::from(self.parent.is_some()))?;
        to.str("v")?.u64(VERSION)?;
        to.str("rev")?.bytes(&self.rev.0)?;
        to.str("repo")?.str(self.repo.as_str())?;
        to.str("type")?.str(self.kind.word())?;
        to.str("files")?.array(self.files.len() as u64)?;
        for file in &self.files {
            to.map(5 + u64::from(file.sha256.is_some()))?;
            to.str("fmt")?.u8(file.format.number())?;
            to.str("path")?.str(file.path.as_str())?;
            to.str("size")?.u64(file.size)?;
            to.str("table")?.bytes(&file.table.0)?;
            if let Some(sha256) = &file.sha256 {
                to.str("sha256")?.bytes(&sha256.0)?;
            }
            to.str("git_oid")?.bytes(&file.git_oid.0)?;
        }
        if let Some(parent) = &self.parent {
            to.str("parent")?.bytes(&parent.0)?;
        }
        to.str("created")?.u64(self.created)?;
        to.str("message")?.str(&self.message)?;
        Ok(())
    }

    /// Reads a manifest. What is allocated is bounded by the bytes that are there.
    ///
    /// # Errors
    /// [`ManifestFault`] says what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Decoded<Self> {
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(ManifestFault::TooMuch {
                what: "MANIFEST_BYTES_MAX",
            });
        }
        let mut from = Decoder::new(bytes);
        let fields = definite(from.map()?)?;
        key(&mut from, "v")?;
        let version = from.u64()?;
        if version != VERSION {
            return Err(ManifestFault::Version(version));
        }
        key(&mut from, "rev")?;
        let rev = RevisionId(array(&mut from)?);
        key(&mut from, "repo")?;
        let repo: RepoName = from.str()?.parse()?;
        key(&mut from, "type")?;
        let kind = match from.str()? {
            "model" => RepoKind::Model,
            word if word == repo.kind().word() => repo.kind(),
            _ => return Err(ManifestFault::Encoding("type")),
        };
        key(&mut from, "files")?;
        let files = read_files(&mut from)?;
        let parent = match fields {
            8 => {
                key(&mut from, "parent")?;
                Some(RevisionId(array(&mut from)?))
            }
            7 => None,
            _ => return Err(ManifestFault::Encoding("number of fields")),
        };
        key(&mut from, "created")?;
        let created = from.u64()?;
        key(&mut from, "message")?;
        let message = from.str()?.to_owned();
        let manifest = Self {
            repo,
            kind,
            rev,
            parent,
            created,
            message,
            files,
        };
        manifest.check()?;
        // Longer forms of numbers, trailing bytes and the like are other bytes for the same
        // manifest; only one of them is the manifest.
        if manifest.encode() != bytes {
            return Err(ManifestFault::Encoding("not deterministic"));
        }
        Ok(manifest)
    }

    /// The identity that encoded bytes have.
    #[must_use]
    pub fn id_of(encoded: &[u8]) -> ManifestId {
        ManifestId(*blake3::hash(encoded).as_bytes())
    }

    /// Length of all files together, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// The git trees of its files.
    #[must_use]
    pub fn trees(&self) -> git::Trees {
        git::trees(self.files.iter().map(|file| (&file.path, file.git_oid)))
    }
}

/// Checks that sorted paths are distinct and that no file stands where a directory must be.
///
/// # Errors
/// [`ManifestFault::Twice`] names the path; [`ManifestFault::Encoding`] if they are not sorted.
pub fn check_paths<'a>(paths: impl Iterator<Item = &'a RepoPath>) -> Decoded<()> {
    let mut seen = std::collections::HashSet::new();
    let mut before: Option<&RepoPath> = None;
    for path in paths {
        match before.map(|before| before.cmp(path)) {
            Some(std::cmp::Ordering::Equal) => {
                return Err(ManifestFault::Twice(path.to_string()));
            }
            Some(std::cmp::Ordering::Greater) => {
                return Err(ManifestFault::Encoding("files not sorted"));
            }
            Some(std::cmp::Ordering::Less) | None => {}
        }
        // A directory sorts before what is in it, so a file in its place was seen already.
        if path.directories().any(|directory| seen.contains(directory)) {
            return Err(ManifestFault::Twice(path.to_string()));
        }
        seen.insert(path.as_str());
        before = Some(path);
    }
    Ok(())
}

fn read_files(from: &mut Decoder<'_>) -> Decoded<Vec<ManifestFile>> {
    let count = definite(from.array()?)?;
    if count > FILES_MAX as u64 {
        return Err(ManifestFault::TooMuch { what: "FILES_MAX" });
    }
    let mut files = Vec::new();
    for _ in 0..count {
        let fields = definite(from.map()?)?;
        key(from, "fmt")?;
        let format = Format::from_number(from.u8()?).ok_or(ManifestFault::Encoding("fmt"))?;
        key(from, "path")?;
        let path = from.str()?.parse()?;
        key(from, "size")?;
        let size = from.u64()?;
        key(from, "table")?;
        let table = FileId(array(from)?);
        let sha256 = match fields {
            6 => {
                key(from, "sha256")?;
                Some(Sha256(array(from)?))
            }
            5 => None,
            _ => return Err(ManifestFault::Encoding("number of fields")),
        };
        key(from, "git_oid")?;
        let git_oid = GitId(array(from)?);
        files.push(ManifestFile {
            path,
            size,
            git_oid,
            sha256,
            format,
            table,
        });
    }
    let sum = files
        .iter()
        .try_fold(0u64, |sum, file| sum.checked_add(file.size));
    sum.map(|_| files).ok_or(ManifestFault::Encoding("sizes"))
}

fn definite(length: Option<u64>) -> Decoded<u64> {
    length.ok_or(ManifestFault::Encoding("indefinite length"))
}

fn key(from: &mut Decoder<'_>, expected: &'static str) -> Decoded<()> {
    if from.datatype()? == Type::String && from.str()? == expected {
        Ok(())
    } else {
        Err(ManifestFault::Encoding(expected))
    }
}

fn array<const N: usize>(from: &mut Decoder<'_>) -> Decoded<[u8; N]> {
    from.bytes()?
        .try_into()
        .map_err(|_| ManifestFault::Encoding("length of a hash"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> ManifestFile {
        ManifestFile {
            path: path.parse().unwrap(),
            size: 7,
            git_oid: GitId([1; 20]),
            sha256: path.starts_with('a').then_some(Sha256([2; 32])),
            format: Format::Content,
            table: FileId([3; 32]),
        }
    }

    fn sample() -> Manifest {
        Manifest {
            repo: "org/model".parse().unwrap(),
            kind: RepoKind::Model,
            rev: RevisionId([9; 20]),
            parent: Some(RevisionId([8; 20])),
            created: 1_767_225_600,
            message: "publish".into(),
            files: ["a", "b/c", "b/d"].map(file).into(),
        }
    }

    /// Before there were datasets, a model's organisation could be called so: what was written then
    /// is still the same bytes, so its signatures hold.
    #[test]
    fn a_dataset_says_so_and_an_old_model_of_such_a_name_stays_readable() {
        let mut manifest = sample();
        manifest.repo = "datasets/org/ds".parse().unwrap();
        manifest.kind = manifest.repo.kind();
        let encoded = manifest.encode();
        assert!(encoded.windows(8).any(|part| part == b"\x67dataset"));
        assert_eq!(Manifest::decode(&encoded), Ok(manifest.clone()));
        manifest.repo = "datasets/old".parse().unwrap();
        manifest.kind = RepoKind::Model;
        assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest.clone()));
        manifest.kind = RepoKind::Space;
        assert!(Manifest::decode(&manifest.encode()).is_err());
    }

    #[test]
    fn a_manifest_comes_back_as_it_was() {
        let mut manifest = sample();
        assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest.clone()));
        manifest.parent = None;
        manifest.files.clear();
        assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
    }

    /// The identity must not move between versions, or every signature would be void.
    #[test]
    fn the_encoding_is_pinned() {
        let id = Manifest::id_of(&sample().encode());
        assert_eq!(
            id.to_string(),
            "50d1f4cc97ab355546de73d8f8e4f40e8a5c3f9ef0e10380d1e5f219ce4a1fa4"
        );
    }

    #[test]
    fn only_one_encoding_is_a_manifest() {
        let bytes = sample().encode();
        // `v` as a number of two bytes: the same meaning, other bytes.
        let at = bytes
            .windows(3)
            .position(|part| part == [0x61, b'v', 1])
            .unwrap()
            + 2;
        let mut longer = bytes.clone();
        longer.splice(at..=at, [0x18, 1]);
        assert_eq!(
            Manifest::decode(&longer),
            Err(ManifestFault::Encoding("not deterministic"))
        );
        let mut trailing = bytes.clone();
        trailing.push(0);
        assert!(Manifest::decode(&trailing).is_err());
        for length in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..length]).is_err());
        }
    }

    #[test]
    fn files_must_be_sorted_distinct_and_no_directories() {
        for paths in [
            &["b", "a"][..],
            &["a", "a"],
            &["a", "a/b"],
            &["a", "a-b", "a/b/c"],
        ] {
            let mut manifest = sample();
            manifest.files = paths.iter().copied().map(file).collect();
            assert!(Manifest::decode(&manifest.encode()).is_err(), "{paths:?}");
        }
        let mut manifest = sample();
        manifest.files = ["a/b", "a-b"].map(file).into();
        assert_eq!(manifest.arrange(), Ok(()));
    }

    #[test]
    fn the_longest_message_passes_and_one_more_byte_does_not() {
        let mut manifest = sample();
        manifest.message = "m".repeat(MESSAGE_BYTES_MAX);
        assert!(Manifest::decode(&manifest.encode()).is_ok());
        manifest.message.push('m');
        assert!(Manifest::decode(&manifest.encode()).is_err());
    }
}
