//! One file on its way: which of its blocks are here, and where its bytes lie.
//!
//! Invariant: bytes that are present are never written again, and a block is present only once
//! all its bytes are in the file and its hash is in the log. Not promised: that a block that was
//! half written when the process died is of any use.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use towline_io::backend::{File, Open};

use super::ranges::RangeSet;
use super::record::{self, Done, Record};
use super::{ArrivalPlan, ArrivalProgress, BLOCK_BYTES};
use crate::cutting::front;
use crate::disk::DiskAccess;
use crate::error::{ClientFault, PeerFault, Result, io};
use crate::git;
use crate::hold::Hold;
use crate::layout;
use crate::name::{FileId, RepoPath};
use crate::store::Inner;

/// A file that is in the store, and what keeps it there.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) done: Done,
    pub(super) hold: Hold,
    /// Whether this arrival has brought it.
    pub(super) arrived: bool,
}

#[derive(Debug)]
pub(super) struct ArrivingFile {
    pub(super) number: usize,
    pub(super) size: u64,
    directory: String,
    state: Mutex<FileState>,
}

#[derive(Debug, Default)]
struct FileState {
    /// Written in this session, and blocks of earlier ones.
    written: RangeSet,
    /// One bit per block.
    present: Vec<u64>,
    present_bytes: u64,
    resumed_bytes: u64,
    dirty: bool,
    data: Option<Arc<dyn File>>,
    known: Option<Known>,
}

impl ArrivingFile {
    /// Files of a plan that need not be fetched.
    pub(super) fn known_files(
        inner: &Arc<Inner>,
        plan: &ArrivalPlan,
        directory: &str,
    ) -> Result<Vec<Option<Known>>> {
        let mut files = Vec::new();
        for (number, file) in plan.files.iter().enumerate() {
            if let Some(done) = record::done(&inner.disk, directory, number) {
                if let Some(hold) = inner.hold_known(&done.id)? {
                    let arrived = true;
                    files.push(Some(Known {
                        done,
                        hold,
                        arrived,
                    }));
                    continue;
                }
                take_back(inner, &done.id, &own_path(directory, number))?;
            }
            files.push(match file.sha256 {
                Some(sha256) => known_by(inner, file, sha256)?,
                None => None,
            });
        }
        Ok(files)
    }

    pub(super) fn new(directory: &str, number: usize, size: u64, known: Option<Known>) -> Self {
        let blocks = size.div_ceil(BLOCK_BYTES);
        let state = FileState {
            present: vec![0; blocks.div_ceil(64) as usize],
            known,
            ..FileState::default()
        };
        Self {
            number,
            size,
            directory: directory.to_owned(),
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, FileState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn own_path(&self) -> String {
        own_path(&self.directory, self.number)
    }

    /// Whether it is worth a map of its own. A file of one block is hashed again after a crash, or
    /// fetched again if it is lost: thousands of them need no thousands of syncs.
    pub(super) fn has_map(&self) -> bool {
        self.size > BLOCK_BYTES
    }

    pub(super) fn block(&self, index: u64) -> Range<u64> {
        let start = index * BLOCK_BYTES;
        start..(start + BLOCK_BYTES).min(self.size)
    }

    pub(super) fn count(&self, progress: &mut ArrivalProgress) {
        let state = self.state();
        progress.bytes_total += self.size;
        progress.files_total += 1;
        progress.bytes_resumed += state.resumed_bytes;
        let present = match &state.known {
            Some(known) => {
                if !known.arrived {
                    progress.bytes_known += self.size;
                }
                self.size
            }
            None => state.present_bytes,
        };
        progress.bytes_present += present;
        progress.files_present += u64::from(present == self.size);
    }

    pub(super) fn missing(&self) -> Vec<Range<u64>> {
        let state = self.state();
        match &state.known {
            Some(_) => Vec::new(),
            None => state.written.missing(self.size),
        }
    }

    pub(super) fn is_present(&self, range: &Range<u64>) -> bool {
        if range.start >= range.end {
            return true;
        }
        let state = self.state();
        let last = (range.end - 1) / BLOCK_BYTES;
        range.end <= self.size
            && (state.known.is_some()
                || (range.start / BLOCK_BYTES..=last).all(|index| state.has(index)))
    }

    pub(super) fn data_path(&self) -> Option<String> {
        let state = self.state();
        match &state.known {
            Some(known) => Some(layout::data(&known.done.id)),
            None => state.data.as_ref().map(|_| self.own_path()),
        }
    }

    /// The file's bytes, made when the first of them comes.
    pub(super) fn data(&self, disk: &DiskAccess) -> Result<Arc<dyn File>> {
        let mut state = self.state();
        if let Some(data) = &state.data {
            return Ok(Arc::clone(data));
        }
        let path = self.own_path();
        let file = match disk.backend.open(&path, Open::Write) {
            Ok(file) => file,
            Err(Errno::NOENT) => {
                let file = disk
                    .backend
                    .open(&path, Open::Create)
                    .map_err(io("create", &path))?;
                file.reserve(self.size)
                    .map_err(io("reserve room for", &path))?;
                if self.has_map() {
                    disk.sync_parent(&path)?;
                }
                file
            }
            Err(errno) => return Err(io("open", &path)(errno)),
        };
        state.data = Some(Arc::clone(&file));
        Ok(file)
    }

    /// Writes bytes; `true` if a block became present.
    pub(super) fn write(
        &self,
        disk: &DiskAccess,
        record: &Record,
        (offset, bytes): (u64, &[u8]),
        path: &RepoPath,
    ) -> Result<bool> {
        let end = offset
            .checked_add(bytes.len() as u64)
            .filter(|end| *end <= self.size);
        let Some(end) = end else {
            return Err(PeerFault::Range { path: path.clone() }.into());
        };
        let fresh = {
            let state = self.state();
            if state.known.is_some() {
                return Ok(false);
            }
            state.written.missing(end)
        };
        let data = self.data(disk)?;
        let inside = |range: &Range<u64>| {
            let from = range.start.checked_sub(offset)?;
            bytes.get(from as usize..range.end.checked_sub(offset)? as usize)
        };
        for range in &fresh {
            let start = range.start.max(offset);
            if let Some(part) = inside(&(start..range.end)) {
                data.write_at(part, start)
                    .map_err(io("write", &self.own_path()))?;
            }
        }
        let mut buffer = Vec::new();
        let whole = self.whole_blocks(offset..end)?;
        for index in &whole {
            let block = self.block(*index);
            let all_fresh =
                |range: &Range<u64>| range.start <= block.start && block.end <= range.end;
            let written = inside(&block).filter(|_| fresh.iter().any(all_fresh));
            let hash = match written {
                Some(written) => *blake3::hash(written).as_bytes(),
                None => self.hash_block(&data, *index, &mut buffer)?,
            };
            record.append(self.number, *index, &hash)?;
            self.set(*index, false);
        }
        Ok(!whole.is_empty())
    }

    /// Notes bytes that were written; blocks that are whole by them.
    fn whole_blocks(&self, range: Range<u64>) -> Result<Vec<u64>> {
        if range.start >= range.end {
            return Ok(Vec::new());
        }
        let blocks = range.start / BLOCK_BYTES..=(range.end - 1) / BLOCK_BYTES;
        let mut state = self.state();
        if !state.written.add(range) {
            return Err(ClientFault::Argument("too many separate pieces of one file").into());
        }
        let is_whole =
            |index: &u64| !state.has(*index) && state.written.covers(&self.block(*index));
        Ok(blocks.filter(is_whole).collect())
    }

    /// The BLAKE3 of a block as it lies in the file. The buffer is made as long as it takes.
    pub(super) fn hash_block(
        &self,
        data: &Arc<dyn File>,
        index: u64,
        buffer: &mut Vec<u8>,
    ) -> Result<[u8; 32]> {
        let block = self.block(index);
        buffer.resize(BLOCK_BYTES as usize, 0);
        let length = (block.end - block.start) as usize;
        let bytes = front(buffer, length);
        let count = data
            .read_at(bytes, block.start)
            .map_err(io("read", &self.own_path()))?;
        let (bytes, _) = bytes.split_at(count);
        Ok(*blake3::hash(bytes).as_bytes())
    }

    /// A block is here; `resumed`: since an earlier attempt.
    pub(super) fn set(&self, index: u64, resumed: bool) {
        let block = self.block(index);
        let mut state = self.state();
        if state.has(index) || block.start >= block.end {
            return;
        }
        if let Some(word) = state.present.get_mut((index / 64) as usize) {
            *word |= 1 << (index % 64);
        }
        let length = block.end - block.start;
        state.present_bytes += length;
        if resumed {
            state.resumed_bytes += length;
        }
        state.dirty = true;
        // Ranges of whole blocks in order never make too many pieces for long; if they do, the
        // block is simply fetched again.
        let _ = state.written.add(block);
    }

    /// The bits and the data, if something is not durable yet.
    pub(super) fn take_dirty(&self) -> Option<(Vec<u64>, Arc<dyn File>)> {
        let mut state = self.state();
        if !state.dirty || state.known.is_some() {
            return None;
        }
        state.dirty = false;
        Some((state.present.clone(), Arc::clone(state.data.as_ref()?)))
    }

    /// Forgets everything that has come: it is not what was promised, or cannot be trusted.
    pub(super) fn reset(&self, disk: &DiskAccess) {
        let mut state = self.state();
        let blocks = state.present.len();
        *state = FileState {
            present: vec![0; blocks],
            ..FileState::default()
        };
        let _ = disk
            .backend
            .remove_file(&record::map_path(&self.directory, self.number));
        let _ = disk.backend.remove_file(&self.own_path());
    }

    pub(super) fn become_known(&self, known: Known) {
        let mut state = self.state();
        state.known = Some(known);
        state.dirty = false;
    }

    /// What it is in the store, with a hold of its own.
    pub(super) fn known(&self) -> Option<(Done, Hold, bool)> {
        let state = self.state();
        let known = state.known.as_ref()?;
        Some((known.done, known.hold.clone(), known.arrived))
    }

    fn id(&self) -> Option<FileId> {
        self.state().known.as_ref().map(|known| known.done.id)
    }

    pub(super) fn read_present(
        &self,
        inner: &Inner,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<usize> {
        let mut end = offset;
        let wanted = offset.saturating_add(buffer.len() as u64).min(self.size);
        while end < wanted {
            let next = ((end / BLOCK_BYTES + 1) * BLOCK_BYTES).min(wanted);
            if !self.is_present(&(end..next)) {
                break;
            }
            end = next;
        }
        let (part, _) = buffer.split_at_mut(end.saturating_sub(offset) as usize);
        if part.is_empty() {
            return Ok(0);
        }
        // The descriptor stays good when the file gets its place.
        let data = self.state().data.clone();
        let data = match (data, self.id()) {
            (Some(data), _) => data,
            (None, Some(id)) => {
                let path = layout::data(&id);
                inner
                    .disk
                    .backend
                    .open(&path, Open::Read)
                    .map_err(io("open", &path))?
            }
            (None, None) => return Ok(0),
        };
        data.read_at(part, offset)
            .map_err(io("read", &self.own_path()))
    }
}

impl FileState {
    fn has(&self, block: u64) -> bool {
        let word = self
            .present
            .get((block / 64) as usize)
            .copied()
            .unwrap_or(0);
        word >> (block % 64) & 1 == 1
    }
}

fn own_path(directory: &str, number: usize) -> String {
    format!("{directory}/{number}.data")
}

/// A file that had its place, though the index never learnt of it, becomes the arrival's again.
fn take_back(inner: &Inner, id: &FileId, own: &str) -> Result<()> {
    let (disk, data) = (&inner.disk, layout::data(id));
    if disk.exists(own) || inner.holds.has(id) || !disk.exists(&data) {
        return Ok(());
    }
    disk.backend.rename(&data, own).map_err(io("rename", own))?;
    // It is read-only by now. Who is not root cannot write it again: it is fetched again then.
    if disk.backend.open(own, Open::Write).is_err() {
        disk.remove_all(own)?;
    }
    Ok(())
}

fn known_by(
    inner: &Arc<Inner>,
    file: &super::ArrivalFile,
    sha256: crate::Sha256,
) -> Result<Option<Known>> {
    let pointer = git::pointer_id(&sha256, file.size);
    let git_oid = match file.git_oid {
        Some(id) => id,
        None if git::is_lfs(&file.path, file.size) => pointer,
        None => return Ok(None),
    };
    let Some(id) = inner.index.by_sha256(&sha256)? else {
        return Ok(None);
    };
    let Some(hold) = inner.hold_known(&id)? else {
        return Ok(None);
    };
    let Ok(table) = inner.table(&id) else {
        return Ok(None);
    };
    let is_whole = inner
        .disk
        .backend
        .metadata(&layout::data(&id))
        .is_ok_and(|found| found.length == file.size);
    let done = Done {
        id,
        sha256,
        git_oid,
        format: table.format,
    };
    let known = Known {
        done,
        hold,
        arrived: false,
    };
    Ok((is_whole && table.size == file.size).then_some(known))
}
