//! Large files that were uploaded and are not part of a revision yet.
//!
//! They lie below `.towline/uploads` of the data directory, each under its SHA-256. Invariant: a
//! file has its name only after its bytes were hashed and synced; where a PUT may go is signed with
//! a key of this process, bound to hash, size and an hour. Not promised: that a file is kept longer
//! than a day, or over a restart in the middle of its upload.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ring::digest;
use towline_base::{MacKey, clock};
use towline_store::Sha256;

/// How long a signed place is good for, in seconds: a slow upload of a large file.
const SIGNED_SECONDS: u64 = 3_600;

/// How long a file that nobody commits is kept: a commit follows its uploads at once.
const KEPT: Duration = Duration::from_secs(86_400);

/// The uploaded files.
#[derive(Debug)]
pub(crate) struct Staging {
    directory: PathBuf,
    key: MacKey,
    number: AtomicU64,
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
        })
    }

    /// Where the bytes of a file go, behind the hub's prefix.
    pub(super) fn place(&self, oid: &Sha256, size: u64) -> String {
        let until = clock::since_epoch().as_secs() + SIGNED_SECONDS;
        let text = format!("{oid}/{size}/{until}");
        let mac: String = self.sign(&text);
        format!("/lfs/{text}/{mac}")
    }

    fn sign(&self, text: &str) -> String {
        let mac = self.key.sign(text.as_bytes());
        mac.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Hash and size that a signed place is for, if it is one of ours and still good.
    pub(super) fn judge(&self, place: &str) -> Option<(Sha256, u64)> {
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
        let (oid, size, until) = (parts.next()?, parts.next()?, parts.next()?);
        let until: u64 = until.parse().ok()?;
        let good = clock::since_epoch().as_secs() <= until;
        good.then_some((oid.parse().ok()?, size.parse().ok()?))
    }

    /// Where an uploaded file lies, if it is here.
    pub(super) fn find(&self, oid: &Sha256) -> Option<PathBuf> {
        let path = self.directory.join(oid.to_string());
        path.is_file().then_some(path)
    }

    /// Forgets files that a commit has taken over.
    pub(super) fn forget(&self, oids: impl Iterator<Item = Sha256>) {
        for oid in oids {
            let _gone = fs::remove_file(self.directory.join(oid.to_string()));
        }
    }

    /// Begins an upload. Blocks.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn begin(&self, oid: Sha256, size: u64) -> io::Result<Arriving> {
        fs::create_dir_all(&self.directory)?;
        self.sweep();
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let temporary = self.directory.join(format!("{oid}.{number}.part"));
        Ok(Arriving {
            file: File::create(&temporary)?,
            temporary,
            directory: self.directory.clone(),
            hash: digest::Context::new(&digest::SHA256),
            left: size,
            oid,
        })
    }

    /// Removes what nobody has committed.
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return;
        };
        for entry in entries.flatten() {
            let age = entry.metadata().and_then(|data| data.modified());
            if age.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > KEPT)) {
                let _gone = fs::remove_file(entry.path());
            }
        }
    }
}

/// A file on its way in; removed when it is dropped before its end.
pub(super) struct Arriving {
    file: File,
    temporary: PathBuf,
    directory: PathBuf,
    hash: digest::Context,
    left: u64,
    oid: Sha256,
}

impl Arriving {
    /// Writes some bytes. Blocks.
    pub(super) fn write(&mut self, bytes: &Bytes) -> io::Result<()> {
        self.left = self
            .left
            .checked_sub(bytes.len() as u64)
            .ok_or_else(|| io::Error::other("more bytes came than were announced"))?;
        self.hash.update(bytes);
        self.file.write_all(bytes)
    }

    /// Gives the file its name if it is what was announced. Blocks.
    pub(super) fn finish(self) -> io::Result<()> {
        let hash = self.hash.clone().finish();
        if self.left > 0 || hash.as_ref() != self.oid.as_bytes() {
            return Err(io::Error::other(
                "the bytes do not hash to what was announced",
            ));
        }
        self.file.sync_all()?;
        fs::rename(&self.temporary, self.directory.join(self.oid.to_string()))?;
        File::open(&self.directory)?.sync_all()
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        let _renamed = fs::remove_file(&self.temporary);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OID: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    fn staged(bytes: &'static [u8], size: u64) -> (io::Result<()>, bool) {
        let folder = tempfile::tempdir().unwrap();
        let staging = Staging::new(folder.path()).unwrap();
        let oid: Sha256 = OID.parse().unwrap();
        let mut arriving = staging.begin(oid, size).unwrap();
        let outcome = arriving.write(&Bytes::from_static(bytes));
        let outcome = outcome.and_then(|()| arriving.finish());
        let names = fs::read_dir(folder.path().join(".towline/uploads")).unwrap();
        let is_there = staging.find(&oid).is_some();
        assert_eq!(names.count(), usize::from(is_there), "nothing else is left");
        (outcome, is_there)
    }

    #[test]
    fn only_the_very_bytes_get_the_name() {
        assert!(matches!(staged(b"hello", 5), (Ok(()), true)));
        for (bytes, size) in [
            (&b"hellO"[..], 5),
            (b"hell", 5),
            (b"hello!", 5),
            (b"hello", 6),
        ] {
            assert!(matches!(staged(bytes, size), (Err(_), false)), "{size}");
        }
    }

    #[test]
    fn a_place_is_good_as_it_was_signed_and_not_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let staging = Staging::new(folder.path()).unwrap();
        let oid: Sha256 = OID.parse().unwrap();
        let place = staging.place(&oid, 77);
        let place = place.strip_prefix("/lfs/").unwrap();
        assert_eq!(staging.judge(place), Some((oid, 77)));
        assert_eq!(staging.judge(&place.replace("/77/", "/78/")), None);
        assert_eq!(staging.judge(place.split_at(place.len() - 1).0), None);
        let other = Staging::new(folder.path()).unwrap();
        assert_eq!(other.judge(place), None);
        for broken in ["", "/", "a/b/c/d", "é/é"] {
            assert_eq!(staging.judge(broken), None, "{broken}");
        }
    }
}
