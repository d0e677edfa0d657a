//! One node for one data directory: a lock on `.towline/lock` for as long as the node runs.
//!
//! Two nodes on the same data would each believe to be the only writer of models, keys and uploads.
//! Invariant: the lock goes with the process, however it ends (flock(2)). Not promised: anything on
//! network file systems that do not carry locks.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use towline_base::clock;

use crate::error::NodeError;

/// How long the last owner may take to go: the kernel takes a killed process apart in the
/// background.
const RELEASE_MAX: Duration = Duration::from_secs(1);

/// Time between two tries within [`RELEASE_MAX`].
const RELEASE_STEP: Duration = Duration::from_millis(20);

/// Takes the lock; whoever drops the file gives it back.
///
/// # Errors
/// [`NodeError::File`]: another node has it, or the directory cannot be written.
pub(crate) fn take(data: &Path) -> Result<File, NodeError> {
    let folder = data.join(".towline");
    let path = folder.join("lock");
    let failed = |error: String, hint| NodeError::File {
        what: "cannot lock",
        path: path.clone(),
        error,
        hint,
    };
    let unwritable = "Give the user that runs the node write access, or choose another directory \
                      with --data";
    let file = open(data, &folder, &path).map_err(|error| failed(error.to_string(), unwritable))?;
    let started = clock::now();
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(Errno::AGAIN | Errno::INTR) if clock::now() - started < RELEASE_MAX => {
                std::thread::sleep(RELEASE_STEP);
            }
            Err(Errno::AGAIN) => {
                return Err(failed(
                    "another node runs on this data".to_owned(),
                    "Stop it first, or give this one a directory of its own with --data",
                ));
            }
            Err(error) => return Err(failed(error.to_string(), unwritable)),
        }
    }
}

fn open(data: &Path, folder: &Path, path: &Path) -> io::Result<File> {
    // Others may pass through the data directory: jobs on this host read volumes as files.
    DirBuilder::new().recursive(true).mode(0o755).create(data)?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_node_on_the_same_data_does_not_start() {
        let data = tempfile::tempdir().unwrap();
        let first = take(data.path()).unwrap();
        let told = take(data.path()).unwrap_err();
        assert!(told.to_string().contains("another node runs"), "{told}");
        assert_eq!(told.exit_code(), 74);
        drop(first);
        assert!(take(data.path()).is_ok());
    }
}
