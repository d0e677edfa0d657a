//! The small tables of the store, held in memory whole: which revisions exist, where tags point,
//! what is pinned, leased and marked for removal.
//!
//! Each row is kept twice: in the index, and in the *ledger*, one file to which every change is
//! added and that carries its own BLAKE3. So either can be lost and rebuilt from the other.
//! Invariant: a row read back is the row that was written, under its own key: every row
//! carries a check and its key. Not promised: rows for a million revisions; all are in memory.

use std::collections::BTreeMap;

use minicbor::Decoder;

use crate::name::{FileId, ManifestId, RepoName, RevisionId, TagName};

mod ledger;
mod row;

pub(crate) use ledger::Ledger;
pub(crate) use row::{ReferenceRow, RevisionRow, Row, TEXT_BYTES_MAX};

/// What a ledger began with before it was written by difference.
const MAGIC: &[u8; 8] = b"TOWLEDGR";
const VERSION: u64 = 1;

/// Every row, by its key.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Books {
    /// Grows by one with every durable change.
    pub(crate) generation: u64,
    pub(crate) rows: BTreeMap<Vec<u8>, Row>,
}

/// A change of rows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Edit {
    /// Writes a row over the one with the same key.
    Put(Row),
    /// Removes the row with the same key.
    Remove(Row),
}

impl Books {
    /// Makes a change.
    pub(crate) fn apply(&mut self, edit: &Edit) {
        match edit {
            Edit::Put(row) => self.rows.insert(row.key(), row.clone()),
            Edit::Remove(row) => self.rows.remove(&row.key()),
        };
    }

    /// All rows.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values()
    }

    /// Whether both name the same revisions, tags, pins and leases. When something was used last,
    /// and whether it is shown, may differ after a crash.
    #[must_use]
    pub(crate) fn names_the_same(&self, other: &Self) -> bool {
        let named = |row: &&Row| !matches!(row, Row::Unused { .. });
        let ours = self.rows().filter(named).map(Row::key);
        ours.eq(other.rows().filter(named).map(Row::key))
    }

    /// All revisions, by repository.
    pub(crate) fn revisions(&self) -> impl Iterator<Item = &RevisionRow> {
        self.rows().filter_map(|row| match row {
            Row::Revision(row) => Some(row),
            _ => None,
        })
    }

    /// All tags, by repository.
    pub(crate) fn references(&self) -> impl Iterator<Item = &ReferenceRow> {
        self.rows().filter_map(|row| match row {
            Row::Reference(row) => Some(row),
            _ => None,
        })
    }

    /// One revision.
    #[must_use]
    pub(crate) fn revision(&self, repo: &RepoName, rev: &RevisionId) -> Option<&RevisionRow> {
        let mut key = vec![1];
        key.extend_from_slice(repo.as_str().as_bytes());
        key.push(0);
        key.extend_from_slice(&rev.0);
        key.push(0);
        match self.rows.get(&key)? {
            Row::Revision(row) => Some(row),
            _ => None,
        }
    }

    fn tag_row(&self, repo: &RepoName, tag: &TagName) -> Option<&Row> {
        let (repo, tag) = (repo.clone(), tag.clone());
        self.rows.get(&Row::Untagged { repo, tag, seq: 0 }.key())
    }

    /// One tag.
    #[must_use]
    pub(crate) fn reference(&self, repo: &RepoName, tag: &TagName) -> Option<&ReferenceRow> {
        match self.tag_row(repo, tag)? {
            Row::Reference(row) => Some(row),
            _ => None,
        }
    }

    /// The number that the next move of a tag must have.
    #[must_use]
    pub(crate) fn next_seq(&self, repo: &RepoName, tag: &TagName) -> u64 {
        match self.tag_row(repo, tag) {
            Some(Row::Reference(row)) => row.reference.seq + 1,
            Some(Row::Untagged { seq, .. }) => seq + 1,
            _ => 1,
        }
    }

    /// Since when a revision is pinned.
    #[must_use]
    pub(crate) fn pinned(&self, repo: &RepoName, rev: &RevisionId) -> Option<u64> {
        let key = Row::Pin {
            repo: repo.clone(),
            rev: *rev,
            time: 0,
        }
        .key();
        match self.rows.get(&key)? {
            Row::Pin { time, .. } => Some(*time),
            _ => None,
        }
    }

    /// Who leases a revision after `now`, and until when.
    pub(crate) fn leases<'a>(
        &'a self,
        repo: &'a RepoName,
        rev: &'a RevisionId,
        now: u64,
    ) -> impl Iterator<Item = (&'a str, u64)> {
        self.rows
            .range(vec![4]..vec![5])
            .filter_map(move |(_, row)| match row {
                Row::Lease {
                    holder,
                    repo: of,
                    rev: at,
                    expiry,
                } if of == repo && at == rev && *expiry > now => Some((holder.as_str(), *expiry)),
                _ => None,
            })
    }

    /// Files marked as unused, and since when.
    pub(crate) fn unused(&self) -> impl Iterator<Item = (FileId, u64)> {
        self.rows
            .range(vec![5]..vec![6])
            .filter_map(|(_, row)| match row {
                Row::Unused { file, time } => Some((*file, *time)),
                _ => None,
            })
    }

    /// Manifests of removed revisions that may still be on the disk.
    pub(crate) fn dropped(&self) -> impl Iterator<Item = ManifestId> + '_ {
        self.rows().filter_map(|row| match row {
            Row::Dropped { manifest } => Some(*manifest),
            _ => None,
        })
    }

    /// The bytes of a ledger of these books alone.
    #[must_use]
    pub(crate) fn to_ledger(&self) -> Vec<u8> {
        ledger::encode(self).0
    }

    /// Reads a ledger as far as it is whole, and says whether that is all of it: a crash may leave
    /// a part of the last change. `None` if not even its first rows are.
    #[must_use]
    pub(crate) fn from_ledger(bytes: &[u8]) -> Option<(Self, bool)> {
        match bytes.strip_prefix(MAGIC) {
            Some(_) => Some((Self::from_first_ledger(bytes)?, true)),
            None => ledger::decode(bytes),
        }
    }

    /// Reads a ledger as it was before it was written by difference: all rows, and one check.
    fn from_first_ledger(bytes: &[u8]) -> Option<Self> {
        let (body, check) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
        if blake3::hash(body).as_bytes() != check {
            return None;
        }
        let mut from = Decoder::new(body.strip_prefix(MAGIC)?);
        from.array().ok()??;
        if from.u64().ok()? != VERSION {
            return None;
        }
        let mut books = Self {
            generation: from.u64().ok()?,
            ..Self::default()
        };
        for _ in 0..from.array().ok()?? {
            let row = Row::decode(from.bytes().ok()?)?;
            books.apply(&Edit::Put(row));
        }
        Some(books)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::sign::Reference;

    fn rows() -> Vec<Row> {
        let repo: RepoName = "org/model".parse().unwrap();
        let rev = RevisionId([1; 20]);
        let reference = Reference {
            repo: repo.clone(),
            tag: TagName::main(),
            rev,
            manifest: ManifestId([2; 32]),
            seq: 3,
            time: 4,
        };
        let signer = crate::sign::Signer::from_seed(&[5; 32]).unwrap();
        let signature = Some(signer.sign_reference(&reference));
        vec![
            Row::Revision(RevisionRow {
                repo: repo.clone(),
                rev,
                manifest: ManifestId([2; 32]),
                origin: Some("hf://org/model".into()),
                origin_seen: 1,
                published: 2,
                last_use: 3,
                visible: true,
                unused_since: 0,
            }),
            Row::Reference(ReferenceRow {
                reference,
                signature,
                visible: false,
                is_branch: true,
            }),
            Row::Untagged {
                repo: repo.clone(),
                tag: "old".parse().unwrap(),
                seq: 9,
            },
            Row::Pin {
                repo: repo.clone(),
                rev,
                time: 5,
            },
            Row::Lease {
                holder: "job-1".into(),
                repo,
                rev,
                expiry: 60,
            },
            Row::Unused {
                file: FileId([7; 32]),
                time: 8,
            },
            Row::Dropped {
                manifest: ManifestId([9; 32]),
            },
        ]
    }

    #[test]
    fn rows_and_the_ledger_come_back_as_they_were() {
        let mut books = Books {
            generation: 12,
            ..Books::default()
        };
        for row in rows() {
            assert_eq!(Row::decode(&row.encode()), Some(row.clone()));
            books.apply(&Edit::Put(row));
        }
        let read = Books::from_ledger(&books.to_ledger());
        assert_eq!(read, Some((books.clone(), true)));
        let repo = "org/model".parse().unwrap();
        let rev = RevisionId([1; 20]);
        assert_eq!(books.pinned(&repo, &rev), Some(5));
        assert_eq!(
            books.leases(&repo, &rev, 59).collect::<Vec<_>>(),
            [("job-1", 60)]
        );
        assert_eq!(books.leases(&repo, &rev, 60).count(), 0);
        assert_eq!(books.next_seq(&repo, &TagName::main()), 4);
        assert_eq!(books.next_seq(&repo, &"old".parse().unwrap()), 10);
        assert!(books.revision(&repo, &rev).is_some());
    }

    /// A store that knows no branches reads the rows of tags, and those that it wrote are read.
    #[test]
    fn the_row_of_a_tag_is_as_it_was_before_there_were_branches() {
        let mut rows = rows();
        let Some(Row::Reference(row)) = rows.get_mut(1) else {
            panic!("the second row is a reference");
        };
        row.is_branch = false;
        let tag = Row::Reference(row.clone());
        row.is_branch = true;
        let branch = Row::Reference(row.clone());
        assert_eq!(tag.encode().first(), Some(&0x89), "an array of nine");
        assert_eq!(branch.encode().first(), Some(&0x8a), "an array of ten");
        assert_eq!(Row::decode(&tag.encode()), Some(tag));
    }

    #[test]
    fn no_byte_of_a_row_or_ledger_can_be_changed_unnoticed() {
        let mut books = Books::default();
        for row in rows() {
            let bytes = row.encode();
            for at in 0..bytes.len() {
                let mut bad = bytes.clone();
                bad[at] ^= 0x10;
                assert_eq!(Row::decode(&bad), None, "{row:?} {at}");
            }
            books.apply(&Edit::Put(row));
        }
        let bytes = books.to_ledger();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            assert_eq!(Books::from_ledger(&bad), None, "{at}");
            assert_eq!(Books::from_ledger(&bytes[..at]), None);
        }
    }

    /// A ledger of two rows as the store wrote it before it wrote differences.
    #[test]
    fn a_ledger_of_before_is_read() {
        let mut books = Books {
            generation: 7,
            ..Books::default()
        };
        let mut bytes = MAGIC.to_vec();
        let mut to = minicbor::Encoder::new(&mut bytes);
        to.array(3).unwrap().u64(VERSION).unwrap().u64(7).unwrap();
        to.array(2).unwrap();
        for row in rows().into_iter().take(2) {
            to.bytes(&row.encode()).unwrap();
            books.apply(&Edit::Put(row));
        }
        bytes.extend_from_slice(blake3::hash(&bytes.clone()).as_bytes());
        assert_eq!(Books::from_ledger(&bytes), Some((books, true)));
        bytes[20] ^= 1;
        assert_eq!(Books::from_ledger(&bytes), None);
    }
}
