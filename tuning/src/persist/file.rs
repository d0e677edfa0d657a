//! Files of our own among the configuration of others.
//!
//! Invariant: a file of ours starts with [`HEADER`]; one without it is never written over and
//! never removed. A write is all there or not at all, also after a power cut.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::HEADER;
use crate::error::TuneError;
use crate::root::Root;

pub(super) fn failed(path: &str, error: io::Error) -> TuneError {
    TuneError::system(format!("/{path}"), error)
}

pub(super) fn is_ours(root: &Root, path: &str) -> bool {
    root.text(path).is_ok_and(|text| text.starts_with(HEADER))
}

/// Writes a file of ours; gives whether that changed anything.
pub(super) fn put(root: &Root, path: &str, text: &str, mode: u32) -> Result<bool, TuneError> {
    let place = root.path(path);
    if place.exists() && !is_ours(root, path) {
        let error = io::Error::other("is somebody else's file: move it away first");
        return Err(failed(path, error));
    }
    if root.text(path).is_ok_and(|now| now == text) {
        return Ok(false);
    }
    durably(&place, text.as_bytes(), mode).map_err(|error| failed(path, error))?;
    Ok(true)
}

/// Temporary file, flush, rename, flush of the folder.
pub(super) fn durably(place: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = place.parent().unwrap_or(place);
    let temporary = place.with_extension("towline-new");
    fs::create_dir_all(folder)?;
    let mut file = File::create(&temporary)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, place)?;
    File::open(folder)?.sync_all()
}

/// Removes a file of ours; gives whether there was one.
pub(super) fn remove(root: &Root, path: &str) -> Result<bool, TuneError> {
    if !is_ours(root, path) {
        return Ok(false);
    }
    let place = root.path(path);
    let folder = place.parent().unwrap_or(&place);
    fs::remove_file(&place)
        .and_then(|()| File::open(folder)?.sync_all())
        .map_err(|error| failed(path, error))?;
    Ok(true)
}
