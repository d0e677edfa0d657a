//! Files that could not be made durable once, and so never count as durable again.
//!
//! After a failed fsync(2) the kernel takes the pages for clean: the next fsync succeeds and the
//! bytes are gone all the same (threat S4). Every sync of a volume goes through here. Invariant: a
//! file whose sync failed fails every later one while the node runs, whatever descriptor it is
//! asked through. Not promised: that the set survives a restart of the node; an upload that failed
//! is removed at once, and a client of NFS sends again what was not committed.

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use crate::error::VolumeError;
use crate::handle::VolumeId;
use crate::node::FileIdentity;
use crate::volume::Result;

/// Most files whose fsync has failed that are remembered one by one; past it every sync of the
/// volume fails, because a disk that loses so many is not to be trusted.
const CONDEMNED_MAX: usize = 10_000;

/// The files of one volume that could not be made durable.
#[derive(Debug, Default)]
pub(super) struct Condemned(Mutex<HashSet<FileIdentity>>);

impl Condemned {
    /// Refuses a file that was condemned.
    pub(super) fn check(&self, file: &FileIdentity) -> Result<()> {
        let files = self.files();
        if files.contains(file) || files.len() >= CONDEMNED_MAX {
            return Err(VolumeError::Io(Errno::IO));
        }
        Ok(())
    }

    /// Makes a file or directory durable. The first failure tells what the disk said (a full disk
    /// may tell only now); every later one is an I/O error.
    pub(super) fn sync(
        &self,
        volume: VolumeId,
        file: FileIdentity,
        descriptor: impl AsFd,
    ) -> Result<()> {
        self.judge(volume, file, || rustix::fs::fsync(descriptor))
    }

    fn judge(
        &self,
        volume: VolumeId,
        file: FileIdentity,
        sync: impl FnOnce() -> std::result::Result<(), Errno>,
    ) -> Result<()> {
        self.check(&file)?;
        match sync() {
            Ok(()) => Ok(()),
            // This kind of file has nothing to sync, or nothing could be written to it.
            Err(Errno::INVAL | Errno::ROFS) => Ok(()),
            Err(error) => {
                let (volume, node) = (volume.0, file.file_id);
                tracing::error!(
                    volume,
                    node,
                    %error,
                    "fsync failed: the file is condemned; check the disk, then restart the node"
                );
                self.files().insert(file);
                Err(match VolumeError::from(error) {
                    full @ (VolumeError::NoSpace | VolumeError::Quota) => full,
                    _ => VolumeError::Io(error),
                })
            }
        }
    }

    fn files(&self) -> MutexGuard<'_, HashSet<FileIdentity>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes::Timestamp;

    fn file(number: u64) -> FileIdentity {
        FileIdentity {
            file_system: 1,
            file_id: number,
            born: Timestamp::default(),
        }
    }

    #[test]
    fn the_second_sync_of_a_file_that_failed_is_no_success() {
        let (condemned, volume) = (Condemned::default(), VolumeId(1));
        let full = condemned.judge(volume, file(1), || Err(Errno::NOSPC));
        assert_eq!(full, Err(VolumeError::NoSpace));
        let again = condemned.judge(volume, file(1), || Ok(()));
        assert_eq!(again, Err(VolumeError::Io(Errno::IO)));
        assert_eq!(condemned.judge(volume, file(2), || Ok(())), Ok(()));
        // A pipe has nothing to sync: that condemns nobody.
        let nothing = condemned.judge(volume, file(3), || Err(Errno::INVAL));
        assert_eq!((nothing, condemned.check(&file(3))), (Ok(()), Ok(())));
    }

    #[test]
    fn past_the_limit_nothing_is_trusted_any_more() {
        let condemned = Condemned::default();
        for number in 0..CONDEMNED_MAX as u64 {
            assert_eq!(condemned.check(&file(u64::MAX)), Ok(()));
            let _ = condemned.judge(VolumeId(1), file(number), || Err(Errno::IO));
        }
        assert!(condemned.check(&file(u64::MAX)).is_err());
    }
}
