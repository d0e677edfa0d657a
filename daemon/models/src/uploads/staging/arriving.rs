//! One file on its way in: its bytes are hashed and written as they come.
//!
//! Every call blocks for a moment and none for long, so a sender holds a thread only while bytes of
//! its own are written. Invariant: the file gets its name only if it is what was announced, after a
//! sync that did not fail. Not promised: that what came last is kept when the node is killed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::PathBuf;

use bytes::Bytes;
use ring::digest;
use towline_store::Sha256;

use super::room::Promise;
use super::{Busy, Sink, lock};

/// Bytes that are read at once when an upload goes on.
const BUFFER_BYTES: usize = 1 << 20;

/// Bytes that are hashed in one call when an upload goes on: some 50 ms.
const HASHED_BYTES: u64 = 64 << 20;

/// A file on its way in. One that breaks off is kept, to be gone on with.
pub(crate) struct Arriving {
    file: Option<File>,
    part: PathBuf,
    whole: PathBuf,
    hash: digest::Context,
    /// Bytes that were here and are not hashed yet.
    unhashed: u64,
    left: u64,
    oid: Sha256,
    /// Whether the unfinished file stays when this is dropped.
    is_kept: bool,
    busy: Option<(Busy, PathBuf)>,
    promise: Option<Promise>,
}

impl Arriving {
    pub(super) fn new(
        part: PathBuf,
        whole: PathBuf,
        (oid, left): (Sha256, u64),
        busy: Option<(Busy, PathBuf)>,
    ) -> Self {
        Self {
            file: None,
            part,
            whole,
            hash: digest::Context::new(&digest::SHA256),
            unhashed: 0,
            left,
            oid,
            is_kept: busy.is_some(),
            busy,
            promise: None,
        }
    }

    /// Removes what an earlier attempt has left, so many bytes: this one begins at the first byte.
    pub(super) fn forget_old(&self) -> u64 {
        let bytes = fs::metadata(&self.part).map_or(0, |data| data.len());
        fs::remove_file(&self.part).map_or(0, |()| bytes)
    }

    /// Opens the unfinished file.
    pub(super) fn open(&mut self, from: u64, promise: Promise) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(&self.part)?;
        if file.metadata()?.len() < from {
            return Err(io::Error::other(
                "fewer bytes are here: ask again from where on",
            ));
        }
        file.set_len(from)?;
        self.unhashed = from;
        self.file = Some(file);
        self.promise = Some(promise);
        Ok(())
    }

    /// Hashes some of the bytes that were here already; `false`: all of them are.
    pub(crate) fn hash_again(&mut self) -> io::Result<bool> {
        let Some(file) = &mut self.file else {
            return Ok(false);
        };
        let mut left = self.unhashed.min(HASHED_BYTES);
        self.unhashed -= left;
        let mut buffer = vec![0; BUFFER_BYTES];
        while left > 0 {
            let room = usize::try_from(left).unwrap_or(BUFFER_BYTES);
            let bytes = buffer.get_mut(..room.min(BUFFER_BYTES));
            let bytes = bytes.unwrap_or_default();
            file.read_exact(bytes)?;
            self.hash.update(bytes);
            left -= bytes.len() as u64;
        }
        Ok(self.unhashed > 0)
    }

    fn write_pieces(&mut self, pieces: &[Bytes]) -> io::Result<()> {
        let bytes: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        let Some(left) = self.left.checked_sub(bytes) else {
            self.is_kept = false;
            return Err(io::Error::other("more bytes came than were announced"));
        };
        self.left = left;
        let (Some(file), Some(promise)) = (&mut self.file, &mut self.promise) else {
            return Ok(());
        };
        promise.check()?;
        for piece in pieces {
            self.hash.update(piece);
            file.write_all(piece)?;
        }
        promise.took(bytes);
        Ok(())
    }

    /// Gives the file its name if it is what was announced.
    ///
    /// # Errors
    /// That bytes are missing, which may follow, or that they are other ones, which are thrown
    /// away; those of the file system. A file whose sync failed is thrown away too: what the kernel
    /// has lost of it would not be found by a second sync.
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
        if let Some(file) = &self.file
            && let Err(error) = file.sync_all()
        {
            self.is_kept = false;
            return Err(error);
        }
        fs::rename(&self.part, &self.whole)?;
        match self.whole.parent() {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    }
}

impl Sink for Arriving {
    /// Writes some bytes. Where the disk is full, what has come is thrown away, so that its room is
    /// free again.
    fn write(&mut self, pieces: &[Bytes]) -> io::Result<()> {
        let written = self.write_pieces(pieces);
        let is_full = |error: &io::Error| {
            let kind = error.kind();
            matches!(
                kind,
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            )
        };
        if written.as_ref().is_err_and(is_full) {
            self.is_kept = false;
        }
        written
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if !self.is_kept
            && let Some(file) = self.file.take()
        {
            let bytes = file.metadata().map_or(0, |data| data.len());
            if fs::remove_file(&self.part).is_ok()
                && let Some(promise) = &self.promise
            {
                promise.gave_back(bytes);
            }
        }
        if let Some((busy, path)) = self.busy.take() {
            lock(&busy).remove(&path);
        }
    }
}
