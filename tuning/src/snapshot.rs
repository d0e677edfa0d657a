//! The record of every change: what was, what was written, and how it ended.
//!
//! A snapshot is one file that is written once, flushed to the disk before the first change, and
//! never altered. What happened to it is told by empty marker files beside it, which are only
//! added. Invariant: from the files alone one can tell whether a change was made completely
//! (`applied`), may stay (`confirmed`), or was taken back (`reverted`), and whether its values were
//! written down (`kept`) or cleared (`released`); one with no marker was interrupted. Not promised:
//! anything about changes made by others.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use towline_base::clock;

use crate::change::Setting;
use crate::error::TuneError;
use crate::root::Root;

/// Where snapshots lie, below the root.
pub const FOLDER: &str = "var/lib/towline/tune";

/// The form of a snapshot; raised when a field changes its meaning.
const FORMAT: u32 = 1;

/// Snapshots that are looked at: a thousand applies on one host.
const SNAPSHOTS_MAX: usize = 1000;

/// Time to wait for another run of the tool that changes something.
const LOCK_TIME_MAX: Duration = Duration::from_secs(5);

/// One value before and after.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Item {
    /// The check that asked for it.
    pub id: String,
    /// What was changed.
    pub setting: Setting,
    /// The value before.
    pub before: String,
    /// The value that was written.
    pub after: String,
}

/// All values of one `apply`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Snapshot {
    /// See [`FORMAT`].
    pub format: u32,
    /// The name: rising numbers.
    pub name: String,
    /// When it was taken: seconds since 1970-01-01 UTC.
    pub taken_at_s: u64,
    /// The kernel's boot id: values that are not kept are gone after a reboot.
    pub boot: String,
    /// The network namespace: a snapshot of another one is not ours to take back.
    pub namespace: String,
    /// Whether the values are written where they outlive a reboot.
    pub persist: bool,
    /// Until when it must be confirmed, in seconds since 1970; none where no link can drop.
    pub confirm_until_s: Option<u64>,
    /// The values.
    pub items: Vec<Item>,
}

/// How a snapshot ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// The run died in the middle.
    Interrupted,
    /// Made completely, and waiting for a confirmation.
    Waiting,
    /// May stay.
    Confirmed,
    /// Taken back.
    Reverted,
}

/// The folder of snapshots.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
    root: Root,
}

/// Held while something is changed; another run waits or gives up.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held for its lock")] File);

impl Store {
    /// The store below that root, or in another folder.
    #[must_use]
    pub fn at(root: &Root, folder: Option<&Path>) -> Self {
        Self {
            folder: folder.map_or_else(|| root.path(FOLDER), Path::to_path_buf),
            root: root.clone(),
        }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn failed(&self, error: io::Error) -> TuneError {
        TuneError::system(format!("{}", self.folder.display()), error)
    }

    /// Keeps other runs out until the lock is dropped.
    ///
    /// # Errors
    /// When the folder cannot be written, or another run holds it for too long.
    pub fn lock(&self) -> Result<Lock, TuneError> {
        let failed = |error| self.failed(error);
        fs::create_dir_all(&self.folder).map_err(failed)?;
        let file = File::create(self.folder.join("lock")).map_err(failed)?;
        let until = clock::now() + LOCK_TIME_MAX;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Lock(file)),
                Err(error) if error == rustix::io::Errno::WOULDBLOCK && clock::now() < until => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(error) if error == rustix::io::Errno::WOULDBLOCK => {
                    return Err(TuneError::usage(
                        "another towline tune is changing this host",
                    ));
                }
                Err(error) => return Err(failed(error.into())),
            }
        }
    }

    /// The network namespace of this process.
    fn namespace(&self) -> String {
        let link = fs::read_link(self.root.path("proc/self/ns/net"));
        link.map_or_else(|_| String::new(), |path| path.display().to_string())
    }

    fn boot(&self) -> String {
        let file = "proc/sys/kernel/random/boot_id";
        self.root.line(file).unwrap_or_default()
    }

    /// Writes a new snapshot to the disk.
    ///
    /// # Errors
    /// When it cannot be made durable; then nothing may be changed.
    pub fn take(
        &self,
        items: Vec<Item>,
        persist: bool,
        confirm_within: Option<Duration>,
    ) -> Result<Snapshot, TuneError> {
        let now = clock::since_epoch();
        let last = self.all()?.last().map_or(0, |last| number(&last.name));
        let next = (now.as_secs() * 1000).max(last + 1);
        let snapshot = Snapshot {
            format: FORMAT,
            name: next.to_string(),
            taken_at_s: now.as_secs(),
            boot: self.boot(),
            namespace: self.namespace(),
            persist,
            confirm_until_s: confirm_within.map(|within| (now + within).as_secs()),
            items,
        };
        let text = serde_json::to_vec_pretty(&snapshot)
            .map_err(|error| self.failed(io::Error::other(error)))?;
        self.write(&format!("{next}.json"), &text)
            .map_err(|error| self.failed(error))?;
        Ok(snapshot)
    }

    /// Temporary file, flush, rename, flush of the folder: either all of it is there or nothing.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.folder.join(format!(".{name}.new"));
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, self.folder.join(name))?;
        File::open(&self.folder)?.sync_all()
    }

    /// Adds a marker: `applied`, `confirmed` and then `kept`, or `reverted` and then `released`.
    ///
    /// # Errors
    /// When it cannot be made durable.
    pub fn mark(&self, snapshot: &Snapshot, word: &str) -> Result<(), TuneError> {
        self.write(&format!("{}.{word}", snapshot.name), b"")
            .map_err(|error| self.failed(error))
    }

    /// Whether a marker was added.
    #[must_use]
    pub fn has(&self, snapshot: &Snapshot, word: &str) -> bool {
        let marker = format!("{}.{word}", snapshot.name);
        self.folder.join(marker).exists()
    }

    /// How a snapshot ended.
    #[must_use]
    pub fn fate(&self, snapshot: &Snapshot) -> Fate {
        let has = |word: &str| self.has(snapshot, word);
        if has("reverted") {
            Fate::Reverted
        } else if has("confirmed") {
            Fate::Confirmed
        } else if has("applied") {
            Fate::Waiting
        } else {
            Fate::Interrupted
        }
    }

    /// Whether a snapshot was neither kept nor taken back and its time is over.
    #[must_use]
    pub fn is_left_over(&self, snapshot: &Snapshot) -> bool {
        match self.fate(snapshot) {
            Fate::Interrupted => true,
            Fate::Waiting => {
                let now = clock::since_epoch().as_secs();
                snapshot.confirm_until_s.is_none_or(|until| until < now)
            }
            Fate::Confirmed | Fate::Reverted => false,
        }
    }

    /// Whether the live values of a snapshot are those of this boot and namespace.
    #[must_use]
    pub fn is_ours(&self, snapshot: &Snapshot) -> bool {
        snapshot.boot == self.boot() && snapshot.namespace == self.namespace()
    }

    /// Whether a snapshot belongs to another network namespace of this boot: not ours to touch.
    #[must_use]
    pub fn is_foreign(&self, snapshot: &Snapshot) -> bool {
        snapshot.boot == self.boot() && snapshot.namespace != self.namespace()
    }

    /// All snapshots, oldest first. An unreadable one is an error, not left out.
    ///
    /// # Errors
    /// When a snapshot cannot be read.
    pub fn all(&self) -> Result<Vec<Snapshot>, TuneError> {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for entry in entries.flatten().take(SNAPSHOTS_MAX * 4) {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') || !name.ends_with(".json") {
                continue;
            }
            let text = fs::read(entry.path()).map_err(|error| self.failed(error))?;
            let snapshot: Snapshot = serde_json::from_slice(&text).map_err(|error| {
                self.failed(io::Error::other(format!("{name} is no snapshot: {error}")))
            })?;
            found.push(snapshot);
        }
        found.sort_by_key(|snapshot: &Snapshot| number(&snapshot.name));
        Ok(found)
    }
}

fn number(name: &str) -> u64 {
    name.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fate_of_a_snapshot_is_told_by_its_markers() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(&Root::default(), Some(folder.path()));
        let _lock = store.lock().unwrap();
        let first = store.take(Vec::new(), true, None).unwrap();
        let second = store.take(Vec::new(), true, None).unwrap();
        assert!(number(&first.name) < number(&second.name));
        assert_eq!(store.fate(&first), Fate::Interrupted);
        for (word, fate) in [
            ("applied", Fate::Waiting),
            ("confirmed", Fate::Confirmed),
            ("reverted", Fate::Reverted),
        ] {
            store.mark(&first, word).unwrap();
            assert_eq!(store.fate(&first), fate);
        }
        assert_eq!(store.all().unwrap(), [first, second]);
    }

    #[test]
    fn only_one_run_at_a_time_holds_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(&Root::default(), Some(folder.path()));
        let lock = store.lock().unwrap();
        assert!(store.lock().is_err());
        drop(lock);
        store.lock().unwrap();
    }
}
