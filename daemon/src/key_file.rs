//! The key under which this node signs file handles, kept so that mounts survive a restart.
//!
//! It lies in the data directory as `.towline/handle.key`, 32 random bytes, mode 0600. Invariant:
//! a key that was used once is on stable storage before the first handle leaves. Not promised:
//! that handles survive the loss of that file; clients then get BADHANDLE and mount again.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use towline_base::MacKey;
use towline_base::mac::MAC_KEY_BYTES;

use crate::error::NodeError;

const HINT: &str = "Give the user that runs the node write access, or choose another directory \
                    with --data";

/// Reads the key, or makes one.
pub(crate) fn load_or_make(data: &Path) -> Result<MacKey, NodeError> {
    let dir = data.join(".towline");
    let path = dir.join("handle.key");
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
                what: "the handle key is damaged:",
                path,
                error: format!("it does not have {MAC_KEY_BYTES} bytes"),
                hint: "Restore it from a backup, or delete it and let the clients mount again",
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
        let first = load_or_make(&data).unwrap();
        assert_eq!(first.expose(), load_or_make(&data).unwrap().expose());
        std::fs::write(data.join(".towline/handle.key"), b"short").unwrap();
        assert!(load_or_make(&data).is_err());
        std::fs::remove_dir_all(&data).unwrap();
    }
}
