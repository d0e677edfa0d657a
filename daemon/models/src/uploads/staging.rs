//! Files that were uploaded, or are being, and are not part of a revision yet.
//!
//! They lie below `.towline/uploads` of the data directory, in a folder for each holder of a
//! token, each under its SHA-256; `.part` behind it says that its end is missing, and one that came
//! in parts is a folder of them ([`parted`]). Invariant: a file has its name only after its bytes
//! were hashed and synced; where a PUT may go is signed ([`place`]); nobody finds what another has
//! uploaded; no byte is written that there is no room for ([`room`]). Not promised: that a file is
//! kept longer than a day, or than somebody else needs its room after an hour.

mod arriving;
mod parted;
mod place;
mod plan;
mod room;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use towline_base::MacKey;
use towline_store::Sha256;

pub(crate) use arriving::Arriving;
pub(crate) use parted::{ArrivingPart, Parted, TURN_BYTES, Turn};
use place::Places;
pub(crate) use place::{Expected, Place};
pub(crate) use plan::{PARTS_MAX, Plan};
use room::Room;
pub use room::Staged;

/// How long a file that nobody commits is kept: a commit follows its uploads at once, and an upload
/// that broke off goes on within a day or not at all.
pub(crate) const KEPT: Duration = Duration::from_secs(86_400);

/// How long it is kept where somebody else needs its room.
const KEPT_IN_NEED: Duration = Duration::from_secs(3_600);

/// Most files that come in parts at once: four for each upload that is taken at a time. Each takes
/// some hundred bytes of memory while it waits for its next part.
const PARTED_MAX: usize = 1_024;

/// The uploaded files.
#[derive(Debug)]
pub(crate) struct Staging {
    directory: PathBuf,
    places: Places,
    number: AtomicU64,
    /// Unfinished files that somebody writes to.
    busy: Busy,
    /// Files that come in parts, by their folders.
    parted: Mutex<HashMap<PathBuf, Arc<Parted>>>,
    room: Arc<Room>,
}

/// What takes the bytes of a body.
pub(crate) trait Sink: Send + 'static {
    /// Takes some bytes. Blocks for a moment.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] if others have filled the disk meanwhile, that there are too
    /// many, or those of the file system.
    fn write(&mut self, pieces: &[Bytes]) -> io::Result<()>;
}

type Busy = Arc<Mutex<HashSet<PathBuf>>>;

impl Staging {
    /// Below the data directory; made when it is first needed. What an earlier process has left
    /// and cannot be gone on with is removed.
    pub(crate) fn new(data: &Path, key: MacKey) -> Self {
        let staging = Self {
            directory: data.join(".towline/uploads"),
            places: Places::new(key),
            number: AtomicU64::new(0),
            busy: Arc::default(),
            parted: Mutex::default(),
            room: Arc::new(Room::new(data)),
        };
        staging.each(|path, data| {
            // Beside the one that is gone on with: `HASH.NUMBER.part`.
            let name = path.file_name().and_then(|name| name.to_str());
            if data.is_file() && name.is_some_and(|name| name.matches('.').count() > 1) {
                let _gone = fs::remove_file(path);
            }
            for entry in fs::read_dir(path).into_iter().flatten().flatten() {
                // A part that was under way.
                if entry.path().extension().is_some_and(|end| end == "new") {
                    let _gone = fs::remove_file(entry.path());
                }
            }
        });
        staging.sweep(KEPT);
        staging
    }

    /// The path of a place behind the hub's prefix.
    pub(crate) fn place(&self, place: &Place) -> String {
        self.places.path(place)
    }

    /// What a signed place is for, if it is one of ours and still good.
    pub(crate) fn judge(&self, place: &str) -> Option<Place> {
        self.places.judge(place)
    }

    fn whole(&self, holder: &str, oid: &Sha256) -> PathBuf {
        self.directory.join(holder).join(oid.to_string())
    }

    fn part(&self, holder: &str, oid: &Sha256) -> PathBuf {
        self.directory.join(holder).join(format!("{oid}.part"))
    }

    /// The folder of a file that came in parts and is whole.
    fn whole_parts(&self, holder: &str, oid: &Sha256) -> PathBuf {
        self.directory.join(holder).join(format!("{oid}.whole"))
    }

    /// The folder of a file whose parts still come.
    fn parts(&self, expected: &Expected, plan: &Plan) -> PathBuf {
        let name = format!("{}.{}.parts", expected.oid, plan.part_bytes());
        self.directory.join(&expected.holder).join(name)
    }

    /// Where a file that this holder has uploaded lies, if it is here: the files that make it, in
    /// order, all but the last of one size.
    pub(crate) fn find(&self, holder: &str, oid: &Sha256) -> Option<Vec<PathBuf>> {
        let path = self.whole(holder, oid);
        if path.is_file() {
            return Some(vec![path]);
        }
        let folder = self.whole_parts(holder, oid);
        let parts = parted::parts(&folder);
        let paths = parts.iter().map(|part| folder.join(part.name()));
        (!parts.is_empty()).then(|| paths.collect())
    }

    /// How many bytes of a file are here that broke off on its way.
    pub(crate) fn held(&self, holder: &str, oid: &Sha256) -> u64 {
        fs::metadata(self.part(holder, oid)).map_or(0, |data| data.len())
    }

    /// How many bytes of a file are here in parts, or are promised to them.
    pub(crate) fn held_in_parts(&self, expected: &Expected, plan: &Plan) -> u64 {
        let folder = self.parts(expected, plan);
        let promised = lock(&self.parted).get(&folder).map(|file| file.promised());
        parted::bytes(&folder).saturating_add(promised.unwrap_or(0))
    }

    /// A file that comes in parts.
    ///
    /// # Errors
    /// [`io::ErrorKind::ResourceBusy`] where there are too many.
    pub(crate) fn parted(&self, expected: &Expected, plan: &Plan) -> io::Result<Arc<Parted>> {
        let folder = self.parts(expected, plan);
        let mut files = lock(&self.parted);
        if let Some(file) = files.get(&folder) {
            return Ok(file.clone());
        }
        files.retain(|_, file| !is_over(file, parted::RESERVED));
        if files.len() >= PARTED_MAX {
            let what = "too many files come in parts at once: try again later";
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, what));
        }
        let file = Parted::new(folder.clone(), expected.oid, *plan, self.room.clone());
        let file = Arc::new(file);
        files.insert(folder, file.clone());
        Ok(file)
    }

    /// Makes the file of the parts that were hashed, if they are these.
    ///
    /// # Errors
    /// See [`Parted`]; parts that give another hash are thrown away.
    pub(crate) fn settle(
        &self,
        (expected, plan): (&Expected, &Plan),
        file: &Parted,
        etags: &[String],
    ) -> io::Result<()> {
        if self.find(&expected.holder, &expected.oid).is_some() {
            // Somebody else has completed the same, or it came whole.
            let left = parted::forget(&self.parts(expected, plan));
            self.room.remove_staged(left);
            return Ok(());
        }
        let whole = self.whole_parts(&expected.holder, &expected.oid);
        let settled = file.settle(etags, &whole);
        lock(&self.parted).remove(&self.parts(expected, plan));
        settled
    }

    /// Forgets files that a commit has taken over.
    pub(crate) fn forget(&self, holder: &str, oids: impl Iterator<Item = Sha256>) {
        for oid in oids {
            let path = self.whole(holder, &oid);
            let bytes = fs::metadata(&path).map_or(0, |data| data.len());
            if fs::remove_file(path).is_ok() {
                self.room.remove_staged(bytes);
            }
            let parts = self.whole_parts(holder, &oid);
            self.room.remove_staged(parted::forget(&parts));
        }
    }

    /// How much lies here, and how much may.
    pub(crate) fn staged(&self) -> Staged {
        self.room.staged()
    }

    /// Whether a file of this size could come in now, of which `held` bytes are here.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`], in words.
    pub(crate) fn judge_room(&self, size: u64, held: u64) -> io::Result<()> {
        self.promise(size.saturating_sub(held)).map(drop)
    }

    /// Takes room for bytes that are to come; sweeps for it where it lacks.
    fn promise(&self, bytes: u64) -> io::Result<room::Promise> {
        self.room.promise(bytes).or_else(|_| {
            self.sweep(KEPT_IN_NEED);
            self.room.promise(bytes)
        })
    }

    /// Begins an upload, or goes on with one behind its first `from` bytes. Blocks for a moment;
    /// what is here already is hashed by [`Arriving::hash_again`].
    ///
    /// # Errors
    /// Those of the file system, that there are fewer bytes here, or
    /// [`io::ErrorKind::StorageFull`] before anything is written.
    pub(crate) fn begin(&self, expected: Expected, from: u64) -> io::Result<Arriving> {
        let Expected { holder, oid, size } = expected;
        let left = size
            .checked_sub(from)
            .ok_or_else(|| io::Error::other("more bytes are here than were announced"))?;
        fs::create_dir_all(self.directory.join(&holder))?;
        let mut part = self.part(&holder, &oid);
        let own = lock(&self.busy).insert(part.clone());
        if !own && from > 0 {
            return Err(io::Error::other("somebody else sends this file: try later"));
        }
        let busy = own.then(|| (self.busy.clone(), part.clone()));
        if !own {
            // Somebody else sends the same: this one is not gone on with.
            let number = self.number.fetch_add(1, Ordering::Relaxed);
            part.set_extension(format!("{number}.part"));
        }
        let whole = self.whole(&holder, &oid);
        let mut arriving = Arriving::new(part, whole, (oid, left), busy);
        if from == 0 {
            // Its room counts for what comes now.
            self.room.remove_staged(arriving.forget_old());
        }
        let promise = self.promise(left)?;
        arriving.open(from, promise)?;
        Ok(arriving)
    }

    /// Removes what nobody has committed or gone on with for so long; bytes that came free.
    pub(crate) fn sweep(&self, kept: Duration) -> u64 {
        let (mut staged, mut freed) = (0, 0);
        let idle = kept.min(parted::RESERVED);
        lock(&self.parted).retain(|_, file| !is_over(file, idle));
        self.each(|path, data| {
            let age = data.modified().ok().and_then(|at| at.elapsed().ok());
            let is_old = age.is_some_and(|age| age >= kept);
            let is_gone = match data.is_dir() {
                true => is_old && !lock(&self.parted).contains_key(path),
                false => is_old && !lock(&self.busy).contains(path),
            };
            if data.is_dir() {
                freed += if is_gone { parted::forget(path) } else { 0 };
                staged += parted::bytes(path);
            } else if is_gone && fs::remove_file(path).is_ok() {
                freed += data.len();
            } else {
                staged += data.len();
            }
        });
        self.room.set_staged(staged);
        if freed > 0 {
            tracing::info!(bytes = freed, "uploads that nobody published were removed");
        }
        freed
    }

    /// Does something with every file, and every folder of parts.
    fn each(&self, mut act: impl FnMut(&Path, &fs::Metadata)) {
        let Ok(holders) = fs::read_dir(&self.directory) else {
            return;
        };
        let folders = holders
            .flatten()
            .filter_map(|at| fs::read_dir(at.path()).ok());
        for entry in folders.flatten().flatten() {
            if let Ok(data) = entry.metadata() {
                act(&entry.path(), &data);
            }
        }
    }
}

/// Whether nobody sends parts of a file, and has not for so long.
fn is_over(file: &Arc<Parted>, long: Duration) -> bool {
    Arc::strong_count(file) == 1 && file.is_idle(long)
}

fn lock<T>(what: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OID: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    fn expected(holder: &str, size: u64) -> Expected {
        Expected {
            holder: holder.to_owned(),
            oid: OID.parse().unwrap(),
            size,
        }
    }

    fn send(staging: &Staging, size: u64, from: u64, bytes: &'static [u8]) -> io::Result<()> {
        let mut arriving = staging.begin(expected("h", size), from)?;
        while arriving.hash_again()? {}
        arriving.write(&[Bytes::from_static(bytes)])?;
        arriving.finish()
    }

    fn staging() -> (tempfile::TempDir, Staging) {
        let folder = tempfile::tempdir().unwrap();
        let staging = Staging::new(folder.path(), MacKey::random().unwrap());
        (folder, staging)
    }

    #[test]
    fn only_the_very_bytes_get_the_name() {
        let oid: Sha256 = OID.parse().unwrap();
        let (_folder, staging) = staging();
        for (bytes, size) in [
            (&b"hellO"[..], 5),
            (b"hell", 5),
            (b"hello!", 5),
            (b"hello", 6),
        ] {
            assert!(send(&staging, size, 0, bytes).is_err(), "{size}");
            assert_eq!(staging.find("h", &oid), None);
        }
        send(&staging, 5, 0, b"hello").unwrap();
        assert!(staging.find("h", &oid).is_some());
        assert_eq!(staging.find("other", &oid), None, "it is not for others");
    }

    #[test]
    fn what_broke_off_is_gone_on_with_and_what_is_wrong_is_not() {
        let oid: Sha256 = OID.parse().unwrap();
        let (_folder, staging) = staging();
        assert!(send(&staging, 5, 0, b"hel").is_err());
        assert_eq!(staging.held("h", &oid), 3);
        assert!(send(&staging, 5, 4, b"o").is_err(), "a gap");
        send(&staging, 5, 3, b"lo").unwrap();
        assert!(staging.find("h", &oid).is_some());
        assert_eq!(staging.held("h", &oid), 0);
        staging.forget("h", std::iter::once(oid));
        assert!(send(&staging, 5, 0, b"hel").is_err());
        assert!(send(&staging, 5, 3, b"LO").is_err());
        assert_eq!(staging.held("h", &oid), 0, "wrong bytes are not kept");
    }

    #[test]
    fn two_who_send_the_same_do_not_disturb_each_other() {
        let (_folder, staging) = staging();
        let mut first = staging.begin(expected("h", 5), 0).unwrap();
        first.write(&[Bytes::from_static(b"he")]).unwrap();
        send(&staging, 5, 0, b"hello").unwrap();
        first.write(&[Bytes::from_static(b"llo")]).unwrap();
        first.finish().unwrap();
    }

    /// The first upload of more than there is room for is refused before a byte is written.
    #[test]
    fn what_does_not_fit_is_refused_before_its_first_byte_and_room_comes_back() {
        let (folder, staging) = staging();
        let disk = rustix::fs::statvfs(folder.path()).unwrap();
        // What others have on this disk is none of the test's business.
        let all = staging
            .staged()
            .bytes_max
            .min(disk.f_bavail * disk.f_frsize);
        let refused = staging.begin(expected("h", all * 2), 0).err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
        assert!(refused.to_string().contains("bytes"), "{refused}");
        assert!(staging.judge_room(all * 2, 0).is_err());
        assert!(staging.judge_room(all * 2, all * 2).is_ok(), "it is here");
        let files = fs::read_dir(folder.path().join(".towline/uploads/h")).unwrap();
        assert_eq!(files.count(), 0, "nothing was written");
        // What is promised to one is not promised to another.
        let first = staging.begin(expected("h", all / 4), 0).unwrap();
        assert!(staging.judge_room(all - all / 8, 0).is_err());
        drop(first);
        assert_eq!(staging.staged().bytes, 0);
        send(&staging, 5, 0, b"hello").unwrap();
        assert_eq!(staging.staged().bytes, 5);
        assert_eq!(staging.sweep(KEPT), 0);
        assert_eq!(staging.sweep(Duration::ZERO), 5);
        assert_eq!(staging.staged().bytes, 0);
    }
}
