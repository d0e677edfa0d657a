//! The file of a key that signs models: one line of text that only its owner may read.
//!
//! ```text
//! # signs models of towline; keep it secret. Public key: ed25519:64 hex digits
//! ed25519-secret:64 hex digits
//! ```
//! Invariant: a file that anybody else may read is not used, one that exists is not written over,
//! and neither a message nor `Debug` shows the secret. Not promised: that memory is wiped.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::{PublicKey, Sha256, Signer};

/// How the line of the secret begins.
const SECRET_START: &str = "ed25519-secret:";

/// Longest file that is read, in bytes: a secret and some remarks.
const FILE_BYTES_MAX: u64 = 16 << 10;

/// Permissions of everybody but the owner.
const OTHERS: u32 = 0o077;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFault {
    /// The file cannot be read or written.
    #[error("{path}: {error}")]
    Io {
        /// Which file.
        path: String,
        /// What the system said.
        error: io::Error,
    },
    /// The file is not a key.
    #[error("{0} holds no key: 'towline models keygen FILE' makes one")]
    NoKey(String),
    /// Others may read it.
    #[error(
        "others may read {path} (mode {mode:o}): chmod 600 {path}, and make a new key if they did"
    )]
    Open {
        /// Which file.
        path: String,
        /// Its permissions.
        mode: u32,
    },
    /// There is a file already.
    #[error("{0} is there already, and a key that is lost cannot be made again: name another file")]
    Exists(String),
    /// The system has no randomness.
    #[error("the system gives no randomness")]
    Randomness,
}

/// Reads a key.
///
/// # Errors
/// [`KeyFault`].
pub fn read(path: &Path) -> Result<Signer, KeyFault> {
    let shown = path.display().to_string();
    let failed = |error| KeyFault::Io {
        path: shown.clone(),
        error,
    };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(KeyFault::Open { path: shown, mode });
    }
    let mut text = String::new();
    let read = file.take(FILE_BYTES_MAX).read_to_string(&mut text);
    read.map_err(failed)?;
    let mut lines = text.lines().map(str::trim);
    let secret = lines.find_map(|line| line.strip_prefix(SECRET_START));
    let seed: Option<Sha256> = secret.and_then(|digits| digits.parse().ok());
    let signer = seed.and_then(|seed| Signer::from_seed(&seed.0).ok());
    signer.ok_or(KeyFault::NoKey(shown))
}

/// Makes a new key in a file that is not there yet; its public half.
///
/// # Errors
/// [`KeyFault`].
pub fn make(path: &Path) -> Result<PublicKey, KeyFault> {
    let shown = path.display().to_string();
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => KeyFault::Exists(shown.clone()),
        _ => KeyFault::Io {
            path: shown.clone(),
            error,
        },
    };
    let seed = Signer::new_seed().map_err(|_| KeyFault::Randomness)?;
    let signer = Signer::from_seed(&seed).map_err(|_| KeyFault::Randomness)?;
    let (key, secret) = (signer.public_key(), Sha256(seed));
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        Some(_) | None => Path::new("."),
    };
    // The usual place is a folder that nobody has made yet.
    let mut making = DirBuilder::new();
    making.recursive(true).mode(0o700);
    making.create(folder).map_err(failed)?;
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(path).map_err(failed)?;
    let text = format!(
        "# signs models of towline; keep it secret. Public key: {key}\n{SECRET_START}{secret}\n"
    );
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_read_by_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("not/there/key");
        let key = make(&path).unwrap();
        assert_eq!(read(&path).unwrap().public_key(), key);
        assert!(matches!(make(&path), Err(KeyFault::Exists(_))));
        let mode = std::fs::metadata(&path).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o600);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        assert!(matches!(
            read(&path),
            Err(KeyFault::Open { mode: 0o640, .. })
        ));
        let other = folder.path().join("other");
        std::fs::write(&other, "nothing").unwrap();
        std::fs::set_permissions(&other, PermissionsExt::from_mode(0o600)).unwrap();
        assert!(matches!(read(&other), Err(KeyFault::NoKey(_))));
    }
}
