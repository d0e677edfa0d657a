//! The kinds of sources that there are: one file each, found by its origin.
//!
//! A new kind is one file below `sources/` that implements [`Source`], an [`Origin`] that names it,
//! and its arm in [`open`]. Invariant: nothing is asked of a source before somebody wants it. Not
//! promised: that it can be reached; the first question tells.

mod folder;
mod hub;
mod objects;
mod web;
mod window;

use crate::error::TransferError;
use crate::origin::Origin;
use crate::source::Source;

/// The source that an origin names; `token` is for it alone.
///
/// # Errors
/// [`TransferError::Usage`] where the origin cannot be asked as it is written.
pub(crate) fn open(origin: &Origin, token: Option<&str>) -> Result<Box<dyn Source>, TransferError> {
    Ok(match origin {
        Origin::Hub {
            endpoint,
            repo,
            rev,
        } => Box::new(hub::Hub::new(endpoint, repo, rev.as_deref(), token)),
        Origin::Web(url) => Box::new(web::Web::new(url, token)?),
        Origin::Objects(url) => Box::new(objects::Objects::new(url)?),
        Origin::Folder(path) => Box::new(folder::Folder::new(path)),
    })
}
