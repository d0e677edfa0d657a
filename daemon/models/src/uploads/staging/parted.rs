//! A file that comes in parts, side by side and in any order, each of them a file of its own.
//!
//! They lie in the folder `OID.BYTES.parts` of their holder, each under its number and its SHA-256,
//! which is the ETag its sender was told. Invariant: a part has its name only after it came whole
//! and was synced, so parts outlive a killed node; the file is there (the folder is renamed to
//! `OID.whole`) only after the parts that its sender named were hashed in order and gave the OID.
//! Room for every missing part is promised with the first one. The hash follows the parts from the
//! first on as they come, so that little is left to read at the end. Not promised: that a part
//! which is sent again is not written again.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ring::digest;
use towline_base::clock;
use towline_store::Sha256;

use super::Sink;
use super::plan::Plan;
use super::room::{Promise, Room};

/// How long room is kept for the parts that are missing while none comes: clients try again for
/// half a minute.
pub(super) const RESERVED: Duration = Duration::from_secs(600);

/// Bytes that are read at once when parts are hashed.
const BUFFER_BYTES: usize = 1 << 20;

/// Bytes that are hashed in one call: some 50 ms.
pub(crate) const TURN_BYTES: u64 = 64 << 20;

/// A file that comes in parts.
#[derive(Debug)]
pub(crate) struct Parted {
    directory: PathBuf,
    oid: Sha256,
    plan: Plan,
    room: Arc<Room>,
    reserve: Mutex<Reserve>,
    follow: Mutex<Follow>,
}

/// Room for what is missing.
#[derive(Debug)]
struct Reserve {
    promise: Option<Promise>,
    touched: Instant,
    /// For names of parts under way.
    number: u64,
}

/// The parts that are hashed: the first ones, in order, and some of the next.
struct Follow {
    hash: digest::Context,
    etags: Vec<String>,
    /// The part that is being hashed, and how many of its bytes are.
    current: Option<(String, u64)>,
}

/// What became of a turn of hashing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Turn {
    /// Some bytes were hashed.
    More,
    /// All that is to be hashed is.
    Done,
    /// Somebody else hashes this file.
    Busy,
}

impl std::fmt::Debug for Follow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Follow({} parts)", self.etags.len())
    }
}

impl Follow {
    fn new() -> Self {
        Self {
            hash: digest::Context::new(&digest::SHA256),
            etags: Vec::new(),
            current: None,
        }
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Parted {
    pub(super) fn new(directory: PathBuf, oid: Sha256, plan: Plan, room: Arc<Room>) -> Self {
        let reserve = Reserve {
            promise: None,
            touched: clock::now(),
            number: 0,
        };
        Self {
            directory,
            oid,
            plan,
            room,
            reserve: Mutex::new(reserve),
            follow: Mutex::new(Follow::new()),
        }
    }

    /// Whether no part came for so long.
    pub(super) fn is_idle(&self, long: Duration) -> bool {
        lock(&self.reserve).touched.elapsed() >= long
    }

    /// Bytes that are promised and have not come.
    pub(super) fn promised(&self) -> u64 {
        let reserve = lock(&self.reserve);
        reserve.promise.as_ref().map_or(0, Promise::bytes)
    }

    fn path(&self, number: u32, etag: &str) -> PathBuf {
        self.directory.join(format!("{number:05}.{etag}"))
    }

    /// Whether a part with this ETag is here, whole.
    pub(crate) fn has(&self, number: u32, etag: &str) -> bool {
        let is_hash = etag.parse::<Sha256>().is_ok();
        let found = is_hash.then(|| fs::metadata(self.path(number, etag)).ok());
        let length = found.flatten().map(|data| data.len());
        length.is_some() && length == self.plan.length(number)
    }

    /// Room for a part: of what was promised, or else anew. The first one promises all of them.
    fn reserve(&self, number: u32, length: u64) -> io::Result<(Promise, u64)> {
        let mut reserve = lock(&self.reserve);
        reserve.touched = clock::now();
        reserve.number += 1;
        let own = reserve.number;
        let here = parts(&self.directory);
        let promise = match &mut reserve.promise {
            Some(promise) => promise,
            none => {
                let bytes: u64 = here.iter().map(|part| part.bytes).sum();
                let missing = self.plan.size().saturating_sub(bytes);
                none.insert(self.room.promise(missing)?)
            }
        };
        // What was promised is for those that are missing, not for one that is sent again.
        let lack = match here.iter().any(|part| part.number == number) {
            true => length,
            false => length.saturating_sub(promise.bytes()),
        };
        if lack > 0 {
            promise.join(self.room.promise(lack)?);
        }
        Ok((promise.split(length), own))
    }

    /// Begins a part.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] before anything is written, those of the file system, or that
    /// there is no such part.
    pub(crate) fn begin(self: &Arc<Self>, number: u32) -> io::Result<ArrivingPart> {
        let length = self.plan.length(number);
        let length = length.ok_or_else(|| io::Error::other("the file has no such part"))?;
        let (promise, own) = self.reserve(number, length)?;
        let path = self.directory.join(format!("{own}.new"));
        let open = || {
            fs::create_dir_all(&self.directory)?;
            OpenOptions::new().write(true).create_new(true).open(&path)
        };
        // A sweep may have taken the empty folder away.
        let file = open().or_else(|_| open())?;
        Ok(ArrivingPart {
            parted: self.clone(),
            file,
            path,
            number,
            hash: digest::Context::new(&digest::SHA256),
            left: length,
            written: 0,
            promise: Some(promise),
            is_kept: false,
        })
    }

    /// Hashes some of the next part in order, if it is here.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn hash_next(&self) -> io::Result<Turn> {
        let Ok(mut follow) = self.follow.try_lock() else {
            return Ok(Turn::Busy);
        };
        let number = follow.etags.len() + 1;
        let parts = parts(&self.directory);
        let mut next = parts.iter().filter(|part| part.number as usize == number);
        match (next.next(), next.next()) {
            (Some(part), None) if Some(part.bytes) == self.plan.length(part.number) => {
                self.hash(&mut follow, part.number, &part.etag)?;
                Ok(Turn::More)
            }
            _ => Ok(Turn::Done),
        }
    }

    /// Hashes some of the next of the parts that make the file.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn hash_named(&self, etags: &[String]) -> io::Result<Turn> {
        let Ok(mut follow) = self.follow.try_lock() else {
            return Ok(Turn::Busy);
        };
        if !etags.starts_with(&follow.etags) {
            // A part was sent again with other bytes.
            *follow = Follow::new();
        }
        let number = follow.etags.len() + 1;
        match (etags.get(number - 1), u32::try_from(number)) {
            (Some(etag), Ok(number)) => self.hash(&mut follow, number, etag).map(|()| Turn::More),
            _ => Ok(Turn::Done),
        }
    }

    /// Hashes some bytes of a part, which follows those that are hashed.
    fn hash(&self, follow: &mut Follow, number: u32, etag: &str) -> io::Result<()> {
        let mut from = match &follow.current {
            Some((current, from)) if current == etag => *from,
            None => 0,
            Some(_) => {
                // Its first bytes were those of another part of this number.
                *follow = Follow::new();
                return Ok(());
            }
        };
        let file = File::open(self.path(number, etag))?;
        let mut buffer = vec![0; BUFFER_BYTES];
        let end = from.saturating_add(TURN_BYTES);
        while from < end {
            let count = file.read_at(&mut buffer, from)?;
            if count == 0 {
                follow.etags.push(etag.to_owned());
                follow.current = None;
                return Ok(());
            }
            follow.hash.update(buffer.get(..count).unwrap_or_default());
            from += count as u64;
            follow.current = Some((etag.to_owned(), from));
        }
        Ok(())
    }

    /// Gives the file its place if the parts that were hashed are these and give its hash.
    ///
    /// # Errors
    /// That they do not, which throws all of them away; those of the file system.
    pub(super) fn settle(&self, etags: &[String], whole: &Path) -> io::Result<()> {
        let follow = lock(&self.follow);
        if follow.etags != etags {
            return Err(io::Error::other("parts changed meanwhile: complete again"));
        }
        let hash = follow.hash.clone().finish();
        if hash.as_ref() != self.oid.as_bytes() {
            self.room.remove_staged(forget(&self.directory));
            return Err(io::Error::other(
                "the parts do not hash to what was announced: send all of them again",
            ));
        }
        for part in parts(&self.directory) {
            if etags.get(part.number as usize - 1) != Some(&part.etag) {
                fs::remove_file(self.directory.join(part.name()))?;
                self.room.remove_staged(part.bytes);
            }
        }
        File::open(&self.directory)?.sync_all()?;
        fs::rename(&self.directory, whole)?;
        match whole.parent() {
            Some(above) => File::open(above)?.sync_all(),
            None => Ok(()),
        }
    }
}

/// One part on its way in. One that breaks off is thrown away: clients send a part from its start.
pub(crate) struct ArrivingPart {
    parted: Arc<Parted>,
    file: File,
    path: PathBuf,
    number: u32,
    hash: digest::Context,
    left: u64,
    written: u64,
    promise: Option<Promise>,
    is_kept: bool,
}

impl ArrivingPart {
    /// Gives the part its name; its ETag.
    ///
    /// # Errors
    /// That bytes are missing, or those of the file system. A part whose sync failed is thrown
    /// away.
    pub(crate) fn finish(mut self) -> io::Result<String> {
        let number = self.number;
        if self.left > 0 {
            return Err(io::Error::other(format!(
                "{} bytes of part {number} are missing: send it again",
                self.left
            )));
        }
        self.file.sync_all()?;
        let hash = self.hash.clone().finish();
        let etag: String = hash
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let parted = self.parted.clone();
        let before = parts(&parted.directory);
        fs::rename(&self.path, parted.path(number, &etag))?;
        self.is_kept = true;
        for old in before.iter().filter(|old| old.number == number) {
            if old.etag != etag {
                fs::remove_file(parted.directory.join(old.name()))?;
            }
            parted.room.remove_staged(old.bytes);
        }
        File::open(&parted.directory)?.sync_all()?;
        Ok(etag)
    }
}

impl Sink for ArrivingPart {
    fn write(&mut self, pieces: &[Bytes]) -> io::Result<()> {
        let bytes: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        let left = self.left.checked_sub(bytes);
        self.left = left.ok_or_else(|| {
            let number = self.number;
            io::Error::other(format!("more bytes came than part {number} has"))
        })?;
        let Some(promise) = &mut self.promise else {
            return Ok(());
        };
        promise.check()?;
        for piece in pieces {
            self.hash.update(piece);
            io::Write::write_all(&mut self.file, piece)?;
        }
        promise.took(bytes);
        self.written += bytes;
        Ok(())
    }
}

impl Drop for ArrivingPart {
    fn drop(&mut self) {
        let Some(mut promise) = self.promise.take() else {
            return;
        };
        if !self.is_kept && fs::remove_file(&self.path).is_ok() {
            promise.untake(self.written);
        }
        let mut reserve = lock(&self.parted.reserve);
        reserve.touched = clock::now();
        if let Some(rest) = &mut reserve.promise {
            rest.join(promise);
        }
    }
}

/// A part that is here.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) number: u32,
    pub(super) etag: String,
    pub(super) bytes: u64,
}

impl Part {
    pub(super) fn name(&self) -> String {
        format!("{:05}.{}", self.number, self.etag)
    }
}

/// The parts in a folder, by number.
pub(super) fn parts(directory: &Path) -> Vec<Part> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut parts: Vec<Part> = entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let (number, etag) = name.to_str()?.split_once('.')?;
            etag.parse::<Sha256>().ok()?;
            Some(Part {
                number: number.parse().ok().filter(|number| *number > 0)?,
                etag: etag.to_owned(),
                bytes: entry.metadata().ok()?.len(),
            })
        })
        .collect();
    parts.sort_unstable_by_key(|part| part.number);
    parts
}

/// Bytes in a folder of parts, whole or not.
pub(super) fn bytes(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let sizes = entries.filter_map(|entry| entry.metadata().ok());
    sizes.map(|data| data.len()).sum()
}

/// Removes a folder of parts; bytes that came free.
pub(super) fn forget(directory: &Path) -> u64 {
    let before = bytes(directory);
    match fs::remove_dir_all(directory) {
        Ok(()) => before,
        Err(_) => before.saturating_sub(bytes(directory)),
    }
}

#[cfg(test)]
mod tests {
    use towline_base::MacKey;

    use super::super::{Expected, KEPT, Staging};
    use super::*;

    const PART: u64 = 4;
    const CONTENT: &[u8] = b"hello, world";

    fn hash(bytes: &[u8]) -> String {
        let hash = digest::digest(&digest::SHA256, bytes);
        hash.as_ref().iter().map(|b| format!("{b:02x}")).collect()
    }

    struct Bench {
        folder: tempfile::TempDir,
        staging: Staging,
        expected: Expected,
        plan: Plan,
    }

    impl Bench {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let staging = Staging::new(folder.path(), MacKey::random().unwrap());
            let expected = Expected {
                holder: "h".to_owned(),
                oid: hash(CONTENT).parse().unwrap(),
                size: CONTENT.len() as u64,
            };
            let plan = Plan::of(expected.size, PART).unwrap();
            Self {
                folder,
                staging,
                expected,
                plan,
            }
        }

        fn file(&self) -> Arc<Parted> {
            self.staging.parted(&self.expected, &self.plan).unwrap()
        }

        fn send(&self, number: u32, bytes: &'static [u8]) -> io::Result<String> {
            let mut part = self.file().begin(number)?;
            part.write(&[Bytes::from_static(bytes)])?;
            part.finish()
        }

        fn complete(&self, etags: &[String]) -> io::Result<()> {
            if self.found().is_some() {
                return Ok(());
            }
            let file = self.file();
            while file.hash_named(etags)? == Turn::More {}
            let what = (&self.expected, &self.plan);
            self.staging.settle(what, &file, etags)
        }

        /// Hashes what can be; how many parts are hashed.
        fn follow(&self) -> usize {
            let file = self.file();
            while file.hash_next().unwrap() == Turn::More {}
            lock(&file.follow).etags.len()
        }

        fn found(&self) -> Option<Vec<u8>> {
            let places = self.staging.find("h", &self.expected.oid)?;
            Some(places.iter().flat_map(|at| fs::read(at).unwrap()).collect())
        }
    }

    #[test]
    fn parts_come_in_any_order_and_twice_and_over_a_restart() {
        let mut bench = Bench::new();
        let third = bench.send(3, b"orld").unwrap();
        assert_eq!(bench.send(1, b"hell").unwrap(), hash(b"hell"));
        let first = bench.send(1, b"hell").unwrap();
        assert!(bench.file().has(1, &first) && !bench.file().has(2, &first));
        assert_eq!(bench.follow(), 1, "the second is missing");
        assert_eq!(bench.staging.staged().bytes, 8);
        assert_eq!(bench.staging.staged().promised, 4, "for what is missing");
        let cut = bench.file().begin(2).unwrap();
        let key = MacKey::random().unwrap();
        // The node is killed: nothing is dropped in an orderly way.
        std::mem::forget(cut);
        bench.staging = Staging::new(bench.folder.path(), key);
        assert_eq!(bench.staging.staged().bytes, 8, "what was whole is here");
        let second = bench.send(2, b"o, w").unwrap();
        assert_eq!(bench.found(), None, "not before it is complete");
        let etags = [first, second, third];
        bench.complete(&etags).unwrap();
        assert_eq!(bench.found().unwrap(), CONTENT);
        bench.complete(&etags).unwrap();
        assert_eq!(bench.staging.staged().promised, 0);
        assert_eq!(bench.staging.staged().bytes, 12);
        bench
            .staging
            .forget("h", std::iter::once(bench.expected.oid));
        assert_eq!(bench.found(), None);
        assert_eq!(bench.staging.staged().bytes, 0);
    }

    #[test]
    fn a_part_that_is_not_one_has_no_name_and_other_bytes_are_no_file() {
        let bench = Bench::new();
        for (number, bytes) in [
            (0, &b"hell"[..]),
            (4, b"hell"),
            (1, b"hel"),
            (1, b"hello"),
            (3, b""),
        ] {
            assert!(bench.send(number, bytes).is_err(), "{number}");
        }
        assert_eq!(bench.staging.staged().bytes, 0);
        let first = bench.send(1, b"HELL").unwrap();
        assert_eq!(bench.follow(), 1);
        for name in ["", "..", "../../x", &"a".repeat(63), &first.to_uppercase()] {
            assert!(!bench.file().has(1, name), "{name}");
        }
        let etags = [
            first,
            bench.send(2, b"o, w").unwrap(),
            bench.send(3, b"orld").unwrap(),
        ];
        let refused = bench.complete(&etags).unwrap_err().to_string();
        assert!(refused.contains("do not hash"), "{refused}");
        assert_eq!((bench.found(), bench.staging.staged().bytes), (None, 0));
        // The same again, with the first one mended after it was hashed.
        let mut etags = etags;
        bench.send(1, b"HELL").unwrap();
        assert_eq!(bench.follow(), 1);
        etags[0] = bench.send(1, b"hell").unwrap();
        assert!(!bench.file().has(1, &hash(b"HELL")), "it was replaced");
        bench.send(2, b"o, w").unwrap();
        bench.send(3, b"orld").unwrap();
        bench.complete(&etags).unwrap();
        assert_eq!(bench.found().unwrap(), CONTENT);
    }

    #[test]
    fn what_nobody_goes_on_with_goes_and_what_somebody_sends_stays() {
        let bench = Bench::new();
        bench.send(1, b"hell").unwrap();
        let under_way = bench.file().begin(2).unwrap();
        assert_eq!(bench.staging.sweep(Duration::ZERO), 0, "one is under way");
        assert_eq!(bench.staging.staged().promised, 8);
        drop(under_way);
        assert_eq!(bench.staging.sweep(KEPT), 0);
        assert_eq!(bench.staging.sweep(Duration::ZERO), 4);
        let staged = bench.staging.staged();
        assert_eq!((staged.bytes, staged.promised), (0, 0));
        let files = fs::read_dir(bench.folder.path().join(".towline/uploads/h")).unwrap();
        assert_eq!(files.count(), 0);
    }

    #[test]
    fn room_for_all_parts_is_promised_with_the_first() {
        let mut bench = Bench::new();
        let all = bench.staging.staged().bytes_max;
        bench.plan = Plan::of(all * 2, PART).unwrap();
        let refused = bench.file().begin(1).err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
        assert_eq!(bench.staging.staged().promised, 0);
    }
}
