//! One row of the books, and its bytes: a CBOR array with its kind in front and a check behind.
//!
//! Invariant: a row read back is the row that was written, whole, under its own key; whatever is
//! anything else is no row. Not promised: reading rows of later versions.

use minicbor::{Decoder, Encoder};

use crate::name::{FileId, ManifestId, RepoName, RevisionId, TagName};
use crate::sign::{PublicKey, Reference, Signature};

/// Longest text in a row (an origin, a holder), in bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 2_048;

/// Bytes of a row's BLAKE3 that stand behind it.
const CHECK_BYTES: usize = 8;

/// What the store knows of a revision besides its manifest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct RevisionRow {
    /// The repository.
    pub(crate) repo: RepoName,
    /// The revision.
    pub(crate) rev: RevisionId,
    /// Its content.
    pub(crate) manifest: ManifestId,
    /// Where it can be fetched again; `None`: published here, so this is the only copy.
    pub(crate) origin: Option<String>,
    /// When the origin last answered, in seconds since 1970-01-01 UTC.
    pub(crate) origin_seen: u64,
    /// When it came here.
    pub(crate) published: u64,
    /// When it was last used, to within [`crate::space::USE_GRAIN_SECONDS`].
    pub(crate) last_use: u64,
    /// Whether its directories are known to show it.
    pub(crate) visible: bool,
    /// Since when garbage collection has found nothing that refers to it; 0: something does.
    pub(crate) unused_since: u64,
}

/// Where a tag points.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ReferenceRow {
    /// The word itself.
    pub(crate) reference: Reference,
    /// Who gave it.
    pub(crate) signature: Option<Signature>,
    /// Whether the tag's directory is known to show that revision.
    pub(crate) visible: bool,
    /// It is a branch, which commits of hub clients move; `main` always is.
    pub(crate) is_branch: bool,
}

/// One row.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Row {
    /// A revision.
    Revision(RevisionRow),
    /// A tag.
    Reference(ReferenceRow),
    /// A tag that was removed: its number must not be given again.
    Untagged {
        /// The repository.
        repo: RepoName,
        /// The tag.
        tag: TagName,
        /// The last number.
        seq: u64,
    },
    /// A pinned revision.
    Pin {
        /// The repository.
        repo: RepoName,
        /// The revision.
        rev: RevisionId,
        /// Since when.
        time: u64,
    },
    /// A revision that somebody needs until a time.
    Lease {
        /// Who.
        holder: String,
        /// The repository.
        repo: RepoName,
        /// The revision.
        rev: RevisionId,
        /// Until when.
        expiry: u64,
    },
    /// A file that nothing refers to.
    Unused {
        /// The file.
        file: FileId,
        /// Since when.
        time: u64,
    },
    /// A manifest whose revision was removed, until it is gone from the disk too: without this row
    /// it would be taken for one whose row was lost.
    Dropped {
        /// The manifest.
        manifest: ManifestId,
    },
}

impl Row {
    /// What the row is about: a later row with the same key replaces it.
    #[must_use]
    pub(crate) fn key(&self) -> Vec<u8> {
        let (kind, parts): (u8, Vec<&[u8]>) = match self {
            Self::Revision(row) => (1, vec![row.repo.as_str().as_bytes(), &row.rev.0]),
            Self::Reference(row) => {
                let at = &row.reference;
                (
                    2,
                    vec![at.repo.as_str().as_bytes(), at.tag.as_str().as_bytes()],
                )
            }
            Self::Untagged { repo, tag, .. } => {
                (2, vec![repo.as_str().as_bytes(), tag.as_str().as_bytes()])
            }
            Self::Pin { repo, rev, .. } => (3, vec![repo.as_str().as_bytes(), &rev.0]),
            Self::Lease {
                holder, repo, rev, ..
            } => (4, vec![holder.as_bytes(), repo.as_str().as_bytes(), &rev.0]),
            Self::Unused { file, .. } => (5, vec![&file.0]),
            Self::Dropped { manifest } => (7, vec![&manifest.0]),
        };
        let mut key = vec![kind];
        for part in parts {
            key.extend_from_slice(part);
            key.push(0);
        }
        key
    }

    /// The bytes of the row, with its check.
    #[must_use]
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Writing to a vector cannot fail: the error type has no value.
        let _ = self.write(&mut Encoder::new(&mut bytes));
        let check = blake3::hash(&bytes);
        bytes.extend(check.as_bytes().iter().take(CHECK_BYTES));
        bytes
    }

    fn write(&self, to: &mut Encoder<&mut Vec<u8>>) -> Written {
        match self {
            Self::Revision(row) => {
                to.array(10)?
                    .u8(1)?
                    .str(row.repo.as_str())?
                    .bytes(&row.rev.0)?;
                to.bytes(&row.manifest.0)?;
                match &row.origin {
                    Some(origin) => to.str(origin)?,
                    None => to.null()?,
                };
                to.u64(row.origin_seen)?
                    .u64(row.published)?
                    .u64(row.last_use)?;
                to.bool(row.visible)?.u64(row.unused_since)?;
            }
            Self::Reference(row) => {
                let at = &row.reference;
                // Rows of tags are as they were before there were branches.
                to.array(9 + u64::from(row.is_branch))?
                    .u8(2)?
                    .str(at.repo.as_str())?
                    .str(at.tag.as_str())?;
                to.bytes(&at.rev.0)?
                    .bytes(&at.manifest.0)?
                    .u64(at.seq)?
                    .u64(at.time)?;
                match &row.signature {
                    Some(signature) => to.bytes(&crate::sign::encode(&[*signature]))?,
                    None => to.null()?,
                };
                to.bool(row.visible)?;
                if row.is_branch {
                    to.bool(true)?;
                }
            }
            Self::Untagged { repo, tag, seq } => {
                to.array(4)?
                    .u8(6)?
                    .str(repo.as_str())?
                    .str(tag.as_str())?
                    .u64(*seq)?;
            }
            Self::Pin { repo, rev, time } => {
                to.array(4)?
                    .u8(3)?
                    .str(repo.as_str())?
                    .bytes(&rev.0)?
                    .u64(*time)?;
            }
            Self::Lease {
                holder,
                repo,
                rev,
                expiry,
            } => {
                to.array(5)?.u8(4)?.str(holder)?.str(repo.as_str())?;
                to.bytes(&rev.0)?.u64(*expiry)?;
            }
            Self::Unused { file, time } => {
                to.array(3)?.u8(5)?.bytes(&file.0)?.u64(*time)?;
            }
            Self::Dropped { manifest } => {
                to.array(2)?.u8(7)?.bytes(&manifest.0)?;
            }
        }
        Ok(())
    }

    /// Reads a row back; `None` if it is not what was written.
    #[must_use]
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, check) = bytes.split_at_checked(bytes.len().checked_sub(CHECK_BYTES)?)?;
        if blake3::hash(body).as_bytes().get(..CHECK_BYTES)? != check {
            return None;
        }
        let mut from = Decoder::new(body);
        let fields = from.array().ok()??;
        let row = Self::read(&mut from, fields)?;
        (from.position() == body.len()).then_some(row)
    }

    fn read(from: &mut Decoder<'_>, fields: u64) -> Option<Self> {
        Some(match from.u8().ok()? {
            1 => Self::Revision(RevisionRow {
                repo: name(from)?,
                rev: RevisionId(array(from)?),
                manifest: ManifestId(array(from)?),
                origin: optional(from, |from| text(from))?,
                origin_seen: from.u64().ok()?,
                published: from.u64().ok()?,
                last_use: from.u64().ok()?,
                visible: from.bool().ok()?,
                unused_since: from.u64().ok()?,
            }),
            2 => Self::Reference(ReferenceRow {
                reference: Reference {
                    repo: name(from)?,
                    tag: name(from)?,
                    rev: RevisionId(array(from)?),
                    manifest: ManifestId(array(from)?),
                    seq: from.u64().ok()?,
                    time: from.u64().ok()?,
                },
                signature: optional(from, signature)?,
                visible: from.bool().ok()?,
                is_branch: fields == 10 && from.bool().ok()?,
            }),
            3 => Self::Pin {
                repo: name(from)?,
                rev: RevisionId(array(from)?),
                time: from.u64().ok()?,
            },
            4 => Self::Lease {
                holder: text(from)?,
                repo: name(from)?,
                rev: RevisionId(array(from)?),
                expiry: from.u64().ok()?,
            },
            5 => Self::Unused {
                file: FileId(array(from)?),
                time: from.u64().ok()?,
            },
            6 => Self::Untagged {
                repo: name(from)?,
                tag: name(from)?,
                seq: from.u64().ok()?,
            },
            7 => Self::Dropped {
                manifest: ManifestId(array(from)?),
            },
            _ => return None,
        })
    }
}

/// The outcome of writing to a vector, which cannot fail.
pub(super) type Written = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

fn name<T: std::str::FromStr>(from: &mut Decoder<'_>) -> Option<T> {
    from.str().ok()?.parse().ok()
}

fn text(from: &mut Decoder<'_>) -> Option<String> {
    let text = from.str().ok()?;
    (text.len() <= TEXT_BYTES_MAX).then(|| text.to_owned())
}

fn array<const N: usize>(from: &mut Decoder<'_>) -> Option<[u8; N]> {
    from.bytes().ok()?.try_into().ok()
}

fn signature(from: &mut Decoder<'_>) -> Option<Signature> {
    let bytes: [u8; 96] = array(from)?;
    let (key, rest) = bytes.split_first_chunk::<32>()?;
    Some(Signature {
        key: PublicKey(*key),
        bytes: *rest.first_chunk()?,
    })
}

fn optional<'b, T>(
    from: &mut Decoder<'b>,
    read: impl FnOnce(&mut Decoder<'b>) -> Option<T>,
) -> Option<Option<T>> {
    if from.datatype().ok()? == minicbor::data::Type::Null {
        from.null().ok()?;
        return Some(None);
    }
    read(from).map(Some)
}
