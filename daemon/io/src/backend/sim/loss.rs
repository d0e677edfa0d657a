//! What is left of a log after power was lost: the disks that a crash may leave.
//!
//! Invariant: a change is on the disk for certain only if a sync that covers it was answered
//! before the crash; of the rest each [`Loss`] keeps another part, chosen by a seed. Not promised:
//! every possible disk; the seeds walk through them.

use std::collections::BTreeSet;

use super::disk::{Disk, Node};
use super::{Change, Inode, Names, Sim};

/// Smallest piece of a write that a disk writes whole, in bytes.
const SECTOR_BYTES: usize = 512;

/// What happens to changes that were not synced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Loss {
    /// All of them are kept: the process was killed, and the machine went on.
    Nothing,
    /// None of them is kept.
    AllUnsynced,
    /// Each is kept or lost by itself; those kept are in order.
    Lost,
    /// All up to some point are kept; the write at that point is kept in part.
    Torn,
    /// Some are kept, in any order.
    Reordered,
}

impl Loss {
    /// Every model.
    pub const ALL: [Self; 5] = [
        Self::Nothing,
        Self::AllUnsynced,
        Self::Lost,
        Self::Torn,
        Self::Reordered,
    ];
}

/// Walks through a log and builds disks on the way.
#[derive(Clone, Debug)]
pub struct Crashes {
    log: Vec<Change>,
    at: usize,
    durable: Disk,
    pending: Vec<Change>,
}

impl Crashes {
    pub(super) fn new(base: Disk, log: Vec<Change>) -> Self {
        Self {
            log,
            at: 0,
            durable: base,
            pending: Vec::new(),
        }
    }

    /// How many changes were made, and so the last boundary.
    #[must_use]
    pub fn boundaries(&self) -> usize {
        self.log.len()
    }

    /// Goes on to the point just before the change with this number; never back.
    pub fn advance(&mut self, boundary: usize) {
        while self.at < boundary
            && let Some(change) = self.log.get(self.at).cloned()
        {
            self.at += 1;
            match change {
                Change::SyncFile(inode) => self.sync_file(inode),
                Change::SyncDirectory(inode) => self.sync_directory(inode),
                Change::SyncEverything => {
                    let all = std::mem::take(&mut self.pending);
                    all.iter()
                        .for_each(|change| keep(&mut self.durable, change));
                }
                Change::Refused => {}
                other => self.pending.push(other),
            }
        }
    }

    /// A machine with a disk as a crash here may have left it.
    #[must_use]
    pub fn machine(&self, loss: Loss, seed: u64) -> Sim {
        let mut disk = self.durable.clone();
        let mut dice = Dice(seed ^ 0x9e37_79b9_7f4a_7c15);
        for change in self.kept(loss, &mut dice) {
            keep(&mut disk, &change);
        }
        Sim::on(disk)
    }

    fn kept(&self, loss: Loss, dice: &mut Dice) -> Vec<Change> {
        let all = self.pending.iter();
        match loss {
            Loss::Nothing => all.cloned().collect(),
            Loss::AllUnsynced => Vec::new(),
            Loss::Lost => all.filter(|_| dice.below(2) == 0).cloned().collect(),
            Loss::Torn => {
                let whole = dice.below(self.pending.len() + 1);
                let mut kept: Vec<Change> = all.clone().take(whole).cloned().collect();
                kept.extend(all.skip(whole).take(1).filter_map(|next| tear(next, dice)));
                kept
            }
            Loss::Reordered => {
                let mut kept: Vec<Change> = all.filter(|_| dice.below(4) != 0).cloned().collect();
                for last in (1..kept.len()).rev() {
                    kept.swap(last, dice.below(last + 1));
                }
                kept
            }
        }
    }

    fn sync_file(&mut self, synced: Inode) {
        let (done, left) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|change| match change {
                Change::Write { inode, .. } | Change::SetLength { inode, .. } => *inode == synced,
                Change::Names(_)
                | Change::SyncFile(_)
                | Change::SyncDirectory(_)
                | Change::SyncEverything
                | Change::Refused => false,
            });
        self.pending = left;
        let done: Vec<Change> = done;
        // An empty file has contents too.
        self.durable.insert(synced, Node::File(Vec::new()));
        for change in &done {
            keep(&mut self.durable, change);
        }
    }

    fn sync_directory(&mut self, synced: Inode) {
        let mut needed: BTreeSet<(Inode, String)> = BTreeSet::new();
        let mut is_done = vec![false; self.pending.len()];
        for (change, done) in self.pending.iter().zip(&mut is_done).rev() {
            let Change::Names(names) = change else {
                continue;
            };
            let entries = entries(names);
            *done = entries
                .iter()
                .any(|entry| entry.0 == synced || needed.contains(entry));
            if *done {
                needed.extend(entries);
            }
        }
        let mut left = Vec::new();
        for (change, done) in std::mem::take(&mut self.pending).into_iter().zip(is_done) {
            if done {
                keep(&mut self.durable, &change);
            } else {
                left.push(change);
            }
        }
        self.pending = left;
    }
}

/// The names that a change is about, with their directories.
fn entries(names: &Names) -> Vec<(Inode, String)> {
    match names {
        Names::Add {
            directory, name, ..
        }
        | Names::Remove { directory, name } => vec![(*directory, name.clone())],
        Names::Move { from, to } => vec![from.clone(), to.clone()],
        Names::Exchange { one, other } => vec![one.clone(), other.clone()],
    }
}

/// Makes one change on a disk on which others before it may be missing.
fn keep(disk: &mut Disk, change: &Change) {
    match change {
        Change::Write {
            inode,
            offset,
            bytes,
        } => {
            disk.insert(*inode, Node::File(Vec::new()));
            disk.write(*inode, *offset, bytes);
        }
        Change::SetLength { inode, length } => {
            disk.insert(*inode, Node::File(Vec::new()));
            disk.set_length(*inode, *length);
        }
        Change::Names(names) => {
            // A directory has contents before it has a name itself.
            for (directory, _) in entries(names) {
                disk.insert(directory, Node::Directory(Default::default()));
            }
            // A change whose ground is missing did not reach the disk either.
            let _ = disk.apply(names);
        }
        Change::SyncFile(_)
        | Change::SyncDirectory(_)
        | Change::SyncEverything
        | Change::Refused => {}
    }
}

/// The part of a write that a disk may have finished; changes of names are whole or not at all.
fn tear(change: &Change, dice: &mut Dice) -> Option<Change> {
    let Change::Write {
        inode,
        offset,
        bytes,
    } = change
    else {
        return None;
    };
    let sector = [SECTOR_BYTES, 8 * SECTOR_BYTES][dice.below(2)];
    let cut = (dice.below(bytes.len() / sector + 1) * sector).min(bytes.len());
    let (head, tail) = bytes.split_at(cut);
    let (offset, bytes) = match dice.below(2) {
        0 => (*offset, head),
        _ => (*offset + cut as u64, tail),
    };
    Some(Change::Write {
        inode: *inode,
        offset,
        bytes: bytes.into(),
    })
}

/// A small generator (splitmix64): the same seed gives the same disk on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed % bound.max(1) as u64) as usize
    }
}
