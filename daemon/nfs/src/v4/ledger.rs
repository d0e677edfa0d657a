//! What must be known after a restart, on the disk before anybody is answered.
//!
//! One file, appended to: the node's number of starts, which clients have completed their
//! reclaims, that grace has ended, and whose state was revoked (RFC 8881 section 8.4.3). Each
//! record carries a checksum; the file is read once, and rewritten at every start and when it has
//! grown by [`APPENDED_BYTES_MAX`]. Invariant: a
//! record is durable when [`Ledger::note`] returns; after one that could not be made durable every
//! later one fails too, because nobody knows what the disk has. A torn record at the end was never
//! answered for. Not promised: anything about clients whose record was lost with a damaged file;
//! they may not reclaim, and open anew.

use std::collections::HashSet;
use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::state::clients::OWNER_BYTES_MAX;

/// First bytes of the file: a name and a version.
const MAGIC: &[u8; 8] = b"TWLNFS41";

/// Bytes of the checksum behind a record.
const SUM_BYTES: usize = 8;

/// Largest file that is read, in bytes: every id that there may be, four times over.
const FILE_BYTES_MAX: u64 = 128 << 20;

/// Bytes of records after which the file is rewritten with those that still count.
pub const APPENDED_BYTES_MAX: usize = 4 << 20;

/// What is written down.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Entry<'a> {
    /// A client has completed its reclaims: what it holds from now on it may reclaim.
    Complete(&'a [u8]),
    /// A client is gone, or its state was revoked: it may reclaim nothing.
    Gone(&'a [u8]),
    /// Who has not reclaimed by now has lost what it had.
    GraceEnded,
    /// Who was waiting to reclaim when this start began.
    Waiting(&'a [u8]),
}

/// What an earlier start has left.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Before {
    /// The number of this start; no two share it.
    pub epoch: u32,
    /// Random and kept: tells this node from others.
    pub identity: [u8; 16],
    /// Who may reclaim.
    pub reclaimers: HashSet<Box<[u8]>>,
}

/// The file of this start.
#[derive(Debug)]
pub struct Ledger {
    /// `None`: there is none, or it is not to be trusted any more.
    kept: Mutex<Option<Kept>>,
    is_kept: bool,
}

#[derive(Debug)]
struct Kept {
    path: PathBuf,
    file: File,
    epoch: u32,
    identity: [u8; 16],
    standing: Standing,
    appended_bytes: usize,
}

/// Who may reclaim after the next restart, and why.
#[derive(Clone, Debug, Default)]
struct Standing {
    waiting: HashSet<Box<[u8]>>,
    complete: HashSet<Box<[u8]>>,
}

impl Standing {
    fn take(&mut self, entry: Entry<'_>) {
        match entry {
            Entry::Complete(owner) => {
                self.waiting.remove(owner);
                self.complete.insert(owner.into());
            }
            Entry::Gone(owner) => {
                self.waiting.remove(owner);
                self.complete.remove(owner);
            }
            Entry::GraceEnded => self.waiting.clear(),
            Entry::Waiting(owner) => {
                self.waiting.insert(owner.into());
            }
        }
    }
}

impl Kept {
    fn note(&mut self, entry: Entry<'_>) -> io::Result<()> {
        let bytes = record(entry);
        self.file.write_all(&bytes)?;
        self.file.sync_data()?;
        self.standing.take(entry);
        self.appended_bytes += bytes.len();
        if self.appended_bytes > APPENDED_BYTES_MAX {
            self.file = rewrite(&self.path, (self.epoch, &self.identity), &self.standing)?;
            self.appended_bytes = 0;
        }
        Ok(())
    }
}

impl Ledger {
    /// A ledger that forgets: for nodes without a place for it, and tests.
    #[must_use]
    pub fn nowhere() -> Self {
        Self {
            kept: Mutex::default(),
            is_kept: false,
        }
    }

    /// Reads what there is at `path` and begins the next start. Blocks.
    ///
    /// # Errors
    /// The operating system's: the folder cannot be written, or there is no randomness.
    pub fn open(path: &Path) -> io::Result<(Self, Before)> {
        let mut bytes = Vec::new();
        match File::open(path) {
            Ok(file) => {
                file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let before = match read(&bytes) {
            Some(before) => before,
            None => {
                if !bytes.is_empty() {
                    tracing::warn!(
                        error = %path.display(),
                        "not a ledger of NFSv4 clients: begun anew, nobody can reclaim"
                    );
                }
                first_start()?
            }
        };
        let standing = Standing {
            waiting: before.reclaimers.clone(),
            complete: HashSet::new(),
        };
        let file = rewrite(path, (before.epoch, &before.identity), &standing)?;
        let kept = Kept {
            path: path.to_owned(),
            file,
            epoch: before.epoch,
            identity: before.identity,
            standing,
            appended_bytes: 0,
        };
        let ledger = Self {
            kept: Mutex::new(Some(kept)),
            is_kept: true,
        };
        Ok((ledger, before))
    }

    /// Writes a record down, and waits until the disk has it.
    ///
    /// # Errors
    /// The operating system's, for this and every later record.
    pub fn note(&self, entry: Entry<'_>) -> io::Result<()> {
        if !self.is_kept {
            return Ok(());
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = kept.as_mut() else {
            return Err(io::Error::other("an earlier record was lost"));
        };
        let written = open.note(entry);
        if let Err(error) = &written {
            tracing::error!(
                %error,
                "the ledger of NFSv4 clients cannot be written: check the disk, restart the node"
            );
            *kept = None;
        }
        written
    }
}

/// What a node without a ledger begins with.
///
/// # Errors
/// No randomness.
pub fn first_start() -> io::Result<Before> {
    let mut identity = [0; 16];
    towline_base::rand::fill(&mut identity)?;
    // A random first number: a lost ledger does not give the ids of long ago again.
    let epoch = (towline_base::rand::bits()? as u32) >> 1;
    Ok(Before {
        epoch,
        identity,
        reclaimers: HashSet::new(),
    })
}

/// Puts a new file in place in one step.
fn rewrite(
    path: &Path,
    (epoch, identity): (u32, &[u8; 16]),
    standing: &Standing,
) -> io::Result<File> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&epoch.to_be_bytes());
    bytes.extend_from_slice(identity);
    bytes.extend_from_slice(&sum(&bytes));
    for owner in &standing.waiting {
        bytes.extend_from_slice(&record(Entry::Waiting(owner)));
    }
    for owner in &standing.complete {
        bytes.extend_from_slice(&record(Entry::Complete(owner)));
    }
    let beside: PathBuf = path.with_extension("new");
    let mut file = File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .open(&beside)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(file)
}

/// Kind (1), length of the owner (2), owner, checksum (8).
fn record(entry: Entry<'_>) -> Vec<u8> {
    let (kind, owner): (u8, &[u8]) = match entry {
        Entry::Complete(owner) => (1, owner),
        Entry::Gone(owner) => (2, owner),
        Entry::GraceEnded => (3, &[]),
        Entry::Waiting(owner) => (4, owner),
    };
    let owner = owner.get(..owner.len().min(OWNER_BYTES_MAX)).unwrap_or(&[]);
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&(owner.len() as u16).to_be_bytes());
    bytes.extend_from_slice(owner);
    bytes.extend_from_slice(&sum(&bytes));
    bytes
}

fn sum(bytes: &[u8]) -> [u8; SUM_BYTES] {
    let mut sum = [0; SUM_BYTES];
    for (to, from) in sum.iter_mut().zip(blake3::hash(bytes).as_bytes()) {
        *to = *from;
    }
    sum
}

/// What a file says; `None`: it is none of ours.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<Before> {
    let (magic, rest) = bytes.split_first_chunk::<8>()?;
    let (epoch, rest) = rest.split_first_chunk::<4>()?;
    let (identity, rest) = rest.split_first_chunk::<16>()?;
    let (head_sum, mut rest) = rest.split_first_chunk::<SUM_BYTES>()?;
    let head = bytes.get(..8 + 4 + 16)?;
    if magic != MAGIC || *head_sum != sum(head) {
        return None;
    }
    let mut standing = Standing::default();
    while let Some((kind, owner, behind)) = next(rest) {
        rest = behind;
        match kind {
            1 => standing.take(Entry::Complete(owner)),
            2 => standing.take(Entry::Gone(owner)),
            3 => standing.take(Entry::GraceEnded),
            4 => standing.take(Entry::Waiting(owner)),
            // A later version's: what it means cannot be guessed, and what follows still counts.
            _ => {}
        }
    }
    let Standing {
        waiting,
        mut complete,
    } = standing;
    complete.extend(waiting);
    Some(Before {
        epoch: u32::from_be_bytes(*epoch).wrapping_add(1),
        identity: *identity,
        reclaimers: complete,
    })
}

/// The record at the front, if it is whole.
fn next(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<3>()?;
    let [kind, high, low] = *head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let (owner, rest) = rest.split_at_checked(length)?;
    let (found, behind) = rest.split_first_chunk::<SUM_BYTES>()?;
    let whole = bytes.get(..3 + length)?;
    (*found == sum(whole)).then_some((kind, owner, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(before: &Before) -> Vec<&[u8]> {
        let mut names: Vec<&[u8]> = before.reclaimers.iter().map(|owner| &**owner).collect();
        names.sort_unstable();
        names
    }

    fn open(dir: &Path) -> (Ledger, Before) {
        Ledger::open(&dir.join("nfs4.ledger")).unwrap()
    }

    #[test]
    fn each_start_has_a_number_and_the_node_keeps_its_identity() {
        let dir = tempfile::tempdir().unwrap();
        let (_, first) = open(dir.path());
        let (_, second) = open(dir.path());
        assert_eq!(second.epoch, first.epoch + 1);
        assert_eq!(second.identity, first.identity);
        assert!(second.reclaimers.is_empty());
    }

    #[test]
    fn who_was_complete_may_reclaim_and_who_lost_it_may_not() {
        let dir = tempfile::tempdir().unwrap();
        let (ledger, _) = open(dir.path());
        for owner in [&b"a"[..], b"b", b"c"] {
            ledger.note(Entry::Complete(owner)).unwrap();
        }
        ledger.note(Entry::Gone(b"b")).unwrap();
        let (ledger, before) = open(dir.path());
        assert_eq!(names(&before), [b"a", b"c"]);
        // The first edge: a restart within grace keeps those who still wait.
        ledger.note(Entry::Complete(b"a")).unwrap();
        let (ledger, before) = open(dir.path());
        assert_eq!(names(&before), [b"a", b"c"]);
        // The second: once grace has ended, who did not reclaim has lost it.
        ledger.note(Entry::Complete(b"a")).unwrap();
        ledger.note(Entry::GraceEnded).unwrap();
        let (_, before) = open(dir.path());
        assert_eq!(names(&before), [b"a"]);
    }

    /// The file cut at every place: what was answered for before the cut is there.
    #[test]
    fn every_cut_leaves_what_was_written_before() {
        let dir = tempfile::tempdir().unwrap();
        let (ledger, _) = open(dir.path());
        let path = dir.path().join("nfs4.ledger");
        let mut ends = vec![std::fs::read(&path).unwrap().len()];
        for number in 0..4_u8 {
            ledger.note(Entry::Complete(&[number])).unwrap();
            ends.push(std::fs::read(&path).unwrap().len());
        }
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            let there = ends.iter().filter(|end| **end <= cut).count();
            match read(&whole[..cut]) {
                None => assert_eq!(there, 0),
                Some(before) => assert_eq!(before.reclaimers.len() + 1, there),
            }
        }
    }

    /// A client that mounts and unmounts for years must not fill the disk.
    #[test]
    fn the_file_is_rewritten_when_it_has_grown() {
        let dir = tempfile::tempdir().unwrap();
        let (ledger, _) = open(dir.path());
        let owner = [7; OWNER_BYTES_MAX];
        if let Some(kept) = ledger.kept.lock().unwrap().as_mut() {
            kept.appended_bytes = APPENDED_BYTES_MAX - 10;
        }
        ledger.note(Entry::Complete(b"b")).unwrap();
        ledger.note(Entry::Complete(&owner)).unwrap();
        ledger.note(Entry::Gone(&owner)).unwrap();
        let path = dir.path().join("nfs4.ledger");
        let there = std::fs::read(&path).unwrap();
        assert_eq!(names(&read(&there).unwrap()), [b"b"]);
        assert_eq!(open(dir.path()).1.reclaimers.len(), 1);
    }

    #[test]
    fn a_flipped_bit_ends_the_record_it_is_in() {
        let mut bytes = record(Entry::Complete(b"owner"));
        assert!(next(&bytes).is_some());
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(next(&bytes).is_none(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
