//! The keys under which this node signs file handles and the places of uploads, kept so that mounts
//! and uploads survive a restart.
//!
//! They lie in the data directory as `.towline/handle.key` and `upload.key`, 32 random bytes each,
//! mode 0600. Invariant: a key that was used once is on stable storage before the first thing that
//! it signs leaves. Not promised: that handles or places survive the loss of their file; clients
//! then get BADHANDLE and mount again, or begin an upload again.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use towline_base::MacKey;
use towline_base::mac::MAC_KEY_BYTES;

use crate::error::NodeError;

const HINT: &str = "Give the user that runs the node write access, or choose another directory \
                    with --data";

/// What a key signs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signs {
    /// File handles of NFS.
    Handles,
    /// Places that uploads go to.
    Uploads,
}

/// Reads a key, or makes one.
pub(crate) fn load_or_make(data: &Path, signs: Signs) -> Result<MacKey, NodeError> {
    let dir = data.join(".towline");
    let (name, damaged, hint) = match signs {
        Signs::Handles => (
            "handle.key",
            "the handle key is damaged:",
            "Restore it from a backup, or delete it and let the clients mount again",
        ),
        Signs::Uploads => (
            "upload.key",
            "the key of uploads is damaged:",
            "Delete it; uploads that are under way begin again then",
        ),
    };
    let path = dir.join(name);
    let failed = |what: &'static str, error: &std::io::Error| NodeError::File {
        what,
        path: path.clone(),
        error: error.to_string(),
        hint: HINT,
    };
    match read(&path) {
        Ok(Some(key)) => return Ok(key),
        Ok(None) => {
            return Err(NodeError::File {
                what: damaged,
                path,
                error: format!("it does not have {MAC_KEY_BYTES} bytes"),
                hint,
            });
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("cannot read", &error)),
    }
    let key = MacKey::random().map_err(|error| failed("no randomness for", &error))?;
    make(&dir, &path, &key).map_err(|error| failed("cannot write", &error))?;
    Ok(key)
}

fn read(path: &Path) -> std::io::Result<Option<MacKey>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAC_KEY_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(<[u8; MAC_KEY_BYTES]>::try_from(bytes).ok().map(MacKey::new))
}

/// Temporary file, sync, rename, sync the directory: a crash leaves no half key.
fn make(dir: &Path, path: &Path, key: &MacKey) -> std::io::Result<()> {
    if let Some(data) = dir.parent() {
        // Others may pass through the data directory: jobs on this host read volumes as files.
        DirBuilder::new().recursive(true).mode(0o755).create(data)?;
    }
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let temporary = path.with_extension("new");
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(key.expose())?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    File::open(dir)?.sync_all()?;
    if let Some(above) = dir.parent() {
        File::open(above)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_found_again() {
        let data = std::env::temp_dir().join(format!("towline-key-{}", std::process::id()));
        let load = |signs| load_or_make(&data, signs);
        let first = load(Signs::Handles).unwrap();
        assert_eq!(first.expose(), load(Signs::Handles).unwrap().expose());
        assert_ne!(first.expose(), load(Signs::Uploads).unwrap().expose());
        std::fs::write(data.join(".towline/handle.key"), b"short").unwrap();
        assert!(load(Signs::Handles).is_err());
        assert!(load(Signs::Uploads).is_ok());
        std::fs::remove_dir_all(&data).unwrap();
    }
}
