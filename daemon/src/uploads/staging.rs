//! Files that were uploaded, or are being, and are not part of a revision yet.
//!
//! They lie below `.towline/uploads` of the data directory, in a folder for each holder of a
//! token, each under its SHA-256; `.part` behind it says that its end is missing. Invariant: a file
//! has its name only after its bytes were hashed and synced; where a PUT may go is signed with a
//! key of this process, bound to holder, hash, size and an hour; nobody finds what another has
//! uploaded. Not promised: that a file is kept longer than a day.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ring::digest;
use towline_base::{MacKey, clock};
use towline_store::Sha256;

/// How long a signed place is good for, in seconds: a slow upload of a large file.
const SIGNED_SECONDS: u64 = 3_600;

/// How long a file that nobody commits is kept: a commit follows its uploads at once, and an upload
/// that broke off goes on within a day or not at all.
const KEPT: Duration = Duration::from_secs(86_400);

/// Bytes that are read at once when an upload goes on.
const BUFFER_BYTES: usize = 1 << 20;

/// The uploaded files.
#[derive(Debug)]
pub(crate) struct Staging {
    directory: PathBuf,
    key: MacKey,
    number: AtomicU64,
    /// Unfinished files that somebody writes to.
    busy: Arc<Mutex<HashSet<PathBuf>>>,
}

/// What a signed place is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Expected {
    /// Who was sent there.
    pub(crate) holder: String,
    /// What the bytes must hash to.
    pub(crate) oid: Sha256,
    /// How many there are.
    pub(crate) size: u64,
}

impl Staging {
    /// Below the data directory; made when it is first needed.
    ///
    /// # Errors
    /// Where there is no randomness.
    pub(crate) fn new(data: &Path) -> io::Result<Self> {
        Ok(Self {
            directory: data.join(".towline/uploads"),
            key: MacKey::random()?,
            number: AtomicU64::new(0),
            busy: Arc::default(),
        })
    }

    /// Where the bytes of a file go, behind the hub's prefix.
    pub(crate) fn place(&self, expected: &Expected) -> String {
        let until = clock::since_epoch().as_secs() + SIGNED_SECONDS;
        let Expected { holder, oid, size } = expected;
        let text = format!("{holder}/{oid}/{size}/{until}");
        let mac: String = self.sign(&text);
        format!("/lfs/{text}/{mac}")
    }

    fn sign(&self, text: &str) -> String {
        let mac = self.key.sign(text.as_bytes());
        mac.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What a signed place is for, if it is one of ours and still good.
    pub(crate) fn judge(&self, place: &str) -> Option<Expected> {
        let (text, mac) = place.rsplit_once('/')?;
        let mut digits = [0; 16];
        let pairs = mac.as_bytes().chunks_exact(2);
        if mac.len() != 32 {
            return None;
        }
        for (to, pair) in digits.iter_mut().zip(pairs) {
            *to = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        if !self.key.sign(text.as_bytes()).matches(&digits) {
            return None;
        }
        let mut parts = text.split('/');
        let (holder, oid) = (parts.next()?.to_owned(), parts.next()?.parse().ok()?);
        let (size, until) = (parts.next()?.parse().ok()?, parts.next()?);
        let until: u64 = until.parse().ok()?;
        let good = clock::since_epoch().as_secs() <= until;
        good.then_some(Expected { holder, oid, size })
    }

    fn whole(&self, holder: &str, oid: &Sha256) -> PathBuf {
        self.directory.join(holder).join(oid.to_string())
    }

    fn part(&self, holder: &str, oid: &Sha256) -> PathBuf {
        self.directory.join(holder).join(format!("{oid}.part"))
    }

    /// Where a file that this holder has uploaded lies, if it is here.
    pub(crate) fn find(&self, holder: &str, oid: &Sha256) -> Option<PathBuf> {
        let path = self.whole(holder, oid);
        path.is_file().then_some(path)
    }

    /// How many bytes of a file are here that broke off on its way.
    pub(crate) fn held(&self, holder: &str, oid: &Sha256) -> u64 {
        fs::metadata(self.part(holder, oid)).map_or(0, |data| data.len())
    }

    /// Forgets files that a commit has taken over.
    pub(crate) fn forget(&self, holder: &str, oids: impl Iterator<Item = Sha256>) {
        for oid in oids {
            let _gone = fs::remove_file(self.whole(holder, &oid));
        }
    }

    /// Begins an upload, or goes on with one behind its first `from` bytes. Blocks.
    ///
    /// # Errors
    /// Those of the file system, or that there are fewer bytes here.
    pub(crate) fn begin(&self, expected: Expected, from: u64) -> io::Result<Arriving> {
        let Expected { holder, oid, size } = expected;
        fs::create_dir_all(self.directory.join(&holder))?;
        self.sweep();
        let part = self.part(&holder, &oid);
        let mut arriving = Arriving {
            whole: self.whole(&holder, &oid),
            hash: digest::Context::new(&digest::SHA256),
            left: size.checked_sub(from).ok_or_else(too_many)?,
            oid,
            file: None,
            is_kept: false,
            busy: None,
            part,
        };
        let own = lock(&self.busy).insert(arriving.part.clone());
        if own {
            arriving.busy = Some(self.busy.clone());
        } else if from > 0 {
            return Err(io::Error::other("somebody else sends this file: try later"));
        } else {
            // Somebody else sends the same: this one is not gone on with.
            let number = self.number.fetch_add(1, Ordering::Relaxed);
            arriving.part.set_extension(format!("{number}.part"));
        }
        arriving.open(from)?;
        arriving.is_kept = own;
        Ok(arriving)
    }

    /// Removes what nobody has committed.
    fn sweep(&self) {
        let Ok(holders) = fs::read_dir(&self.directory) else {
            return;
        };
        let folders = holders
            .flatten()
            .filter_map(|at| fs::read_dir(at.path()).ok());
        for entry in folders.flatten().flatten() {
            let age = entry.metadata().and_then(|data| data.modified());
            if age.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > KEPT)) {
                let _gone = fs::remove_file(entry.path());
            }
        }
    }
}

fn lock(busy: &Mutex<HashSet<PathBuf>>) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
    busy.lock().unwrap_or_else(PoisonError::into_inner)
}

fn too_many() -> io::Error {
    io::Error::other("more bytes came than were announced")
}

/// A file on its way in. One that breaks off is kept, to be gone on with.
pub(crate) struct Arriving {
    file: Option<File>,
    part: PathBuf,
    whole: PathBuf,
    hash: digest::Context,
    left: u64,
    oid: Sha256,
    /// Whether the unfinished file stays when this is dropped.
    is_kept: bool,
    busy: Option<Arc<Mutex<HashSet<PathBuf>>>>,
}

impl Arriving {
    /// Opens the unfinished file; what is kept of it is hashed again.
    fn open(&mut self, from: u64) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(from == 0);
        let mut file = options.open(&self.part)?;
        if file.metadata()?.len() < from {
            return Err(io::Error::other(
                "fewer bytes are here: ask again from where on",
            ));
        }
        file.set_len(from)?;
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut left = from;
        while left > 0 {
            let room = usize::try_from(left)
                .unwrap_or(BUFFER_BYTES)
                .min(BUFFER_BYTES);
            let bytes = buffer.get_mut(..room).unwrap_or_default();
            file.read_exact(bytes)?;
            self.hash.update(bytes);
            left -= room as u64;
        }
        self.file = Some(file);
        Ok(())
    }

    /// Writes some bytes. Blocks.
    pub(crate) fn write(&mut self, bytes: &Bytes) -> io::Result<()> {
        let left = self.left.checked_sub(bytes.len() as u64);
        self.left = left.ok_or_else(|| {
            self.is_kept = false;
            too_many()
        })?;
        self.hash.update(bytes);
        match &mut self.file {
            Some(file) => file.write_all(bytes),
            None => Ok(()),
        }
    }

    /// Gives the file its name if it is what was announced. Blocks.
    ///
    /// # Errors
    /// That bytes are missing, which may follow, or that they are other ones, which are thrown
    /// away; those of the file system.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        if self.left > 0 {
            let what = format!(
                "{} bytes are missing: go on from where it broke off",
                self.left
            );
            return Err(io::Error::other(what));
        }
        let hash = self.hash.clone().finish();
        if hash.as_ref() != self.oid.as_bytes() {
            self.is_kept = false;
            return Err(io::Error::other(
                "the bytes do not hash to what was announced",
            ));
        }
        if let Some(file) = &self.file {
            file.sync_all()?;
        }
        fs::rename(&self.part, &self.whole)?;
        match self.whole.parent() {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if !self.is_kept && self.file.is_some() {
            let _renamed = fs::remove_file(&self.part);
        }
        if let Some(busy) = &self.busy {
            lock(busy).remove(&self.part);
        }
    }
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
        arriving.write(&Bytes::from_static(bytes))?;
        arriving.finish()
    }

    fn staging() -> (tempfile::TempDir, Staging) {
        let folder = tempfile::tempdir().unwrap();
        let staging = Staging::new(folder.path()).unwrap();
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
        first.write(&Bytes::from_static(b"he")).unwrap();
        send(&staging, 5, 0, b"hello").unwrap();
        first.write(&Bytes::from_static(b"llo")).unwrap();
        first.finish().unwrap();
    }

    #[test]
    fn a_place_is_good_as_it_was_signed_and_not_otherwise() {
        let (folder, staging) = staging();
        let wanted = expected("h", 77);
        let place = staging.place(&wanted);
        let place = place.strip_prefix("/lfs/").unwrap();
        assert_eq!(staging.judge(place), Some(wanted));
        assert_eq!(staging.judge(&place.replace("/77/", "/78/")), None);
        assert_eq!(staging.judge(&place.replace("h/", "i/")), None);
        assert_eq!(staging.judge(place.split_at(place.len() - 1).0), None);
        let other = Staging::new(folder.path()).unwrap();
        assert_eq!(other.judge(place), None);
        for broken in ["", "/", "a/b/c/d", "é/é"] {
            assert_eq!(staging.judge(broken), None, "{broken}");
        }
    }
}
