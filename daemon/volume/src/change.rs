//! The number that tells whether a node has changed: NFSv4's `change` (RFC 8881 section 5.8.1.4).
//!
//! The time of change alone misses changes before Linux 6.13, whose clock for files stands still
//! for milliseconds. So every change through this node counts too, in a table of counters chosen
//! by the file's identity: two files that share a counter cost a client its cache, never the
//! truth. Of a published model contents and length decide, because a new revision gives the same
//! file one more name, which is no change to who reads it. Invariant: a change that went through
//! this node gives another number. Not promised: that numbers grow over a restart, when counting
//! begins anew.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::attributes::{Attributes, FileKind, Timestamp};
use crate::node::FileIdentity;

/// Counters of a volume: 32 KiB. At 64 files being written at once one in 64 shares its counter.
const COUNTERS: usize = 4096;

/// The counters of a volume.
#[derive(Debug)]
pub(crate) struct ChangeTable {
    counters: Box<[AtomicU64]>,
    /// Whether files are told by contents alone.
    by_contents: bool,
}

impl ChangeTable {
    /// `by_contents`: nobody writes into files here, they are only published and removed.
    pub(crate) fn new(by_contents: bool) -> Self {
        Self {
            counters: (0..COUNTERS).map(|_| AtomicU64::new(0)).collect(),
            by_contents,
        }
    }

    /// A node has changed. Call behind the change, before anybody is told of it.
    pub(crate) fn count(&self, file: &FileIdentity) {
        if let Some(counter) = self.counter(file) {
            counter.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The attributes with their number.
    pub(crate) fn numbered(&self, seen: Attributes) -> Attributes {
        if self.by_contents && seen.kind == FileKind::Regular {
            let change = nanoseconds(&seen.modified).wrapping_add(seen.size);
            return Attributes { change, ..seen };
        }
        let file = FileIdentity::of(&seen);
        let counter = self.counter(&file);
        let count = counter.map_or(0, |counter| counter.load(Ordering::Acquire));
        let change = nanoseconds(&seen.changed).wrapping_add(count);
        Attributes { change, ..seen }
    }

    fn counter(&self, file: &FileIdentity) -> Option<&AtomicU64> {
        // Fibonacci hashing spreads consecutive inode numbers over the table.
        let mixed = (file.file_id ^ file.file_system).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.counters.get((mixed >> 32) as usize % COUNTERS)
    }
}

fn nanoseconds(time: &Timestamp) -> u64 {
    let seconds = time.seconds.cast_unsigned();
    seconds
        .wrapping_mul(1_000_000_000)
        .wrapping_add(u64::from(time.nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(kind: FileKind, changed: i64, modified: i64) -> Attributes {
        let at = |seconds| Timestamp {
            seconds,
            nanoseconds: 0,
        };
        Attributes {
            kind,
            mode: 0o644,
            links: 1,
            uid: 0,
            gid: 0,
            size: 5,
            used: 0,
            device: (0, 0),
            file_system: 1,
            file_id: 2,
            accessed: at(0),
            modified: at(modified),
            changed: at(changed),
            born: at(0),
            change: 0,
        }
    }

    /// On Linux 6.12 a file that is written twice within four milliseconds keeps its ctime.
    #[test]
    fn a_change_shows_even_where_the_clock_stood_still() {
        let table = ChangeTable::new(false);
        let before = table.numbered(seen(FileKind::Regular, 7, 7));
        table.count(&FileIdentity::of(&before));
        let after = table.numbered(seen(FileKind::Regular, 7, 7));
        assert_ne!(before.change, after.change);
    }

    #[test]
    fn one_more_name_of_a_model_is_no_change() {
        let table = ChangeTable::new(true);
        let before = table.numbered(seen(FileKind::Regular, 7, 7));
        let linked = table.numbered(seen(FileKind::Regular, 8, 7));
        assert_eq!(before.change, linked.change);
        let other = table.numbered(seen(FileKind::Regular, 8, 8));
        assert_ne!(before.change, other.change);
        let dir = |changed| table.numbered(seen(FileKind::Directory, changed, 7)).change;
        assert_ne!(dir(7), dir(8));
    }
}
