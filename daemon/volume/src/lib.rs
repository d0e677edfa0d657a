//! What a share is: nodes with handles and attributes, a tree to find them in, and the rules
//! of who may reach it.
//!
//! The NFS and HTTP faces see only this crate. A face holds an [`View`] per worker for what is
//! hot and answers inline; everything that may block goes through the [`Volume`] and
//! [`WritableVolume`] traits on a pool thread.
//!
//! Promised: no node outside a volume's tree is reachable through it; every permission is decided
//! by the kernel for the caller's identity; a read-only volume has no write methods to call; a
//! handle survives restarts and renames and cannot be forged. Not promised: that a file that the
//! host's administrator moved out of the tree is cut off from a client that holds its handle.

#![forbid(unsafe_code)]

pub mod attributes;
mod change;
pub mod error;
pub mod evict;
pub mod export;
pub mod handle;
pub mod node;
pub mod private;
pub mod tree;
pub mod view;
pub mod volume;

pub use attributes::{Attributes, FileKind, Guard, SetAttributes, SetTime, Space, Timestamp, Wcc};
pub use error::VolumeError;
pub use export::{Export, Exports, Reach, Squash, VolumeKind};
pub use handle::{FileHandle, VolumeId};
pub use node::Node;
pub use private::{Hidden, Private, Spelling, Subject};
pub use towline_base::Name;
pub use towline_sys::identity::Identity;
pub use tree::{Gates, Tree};
pub use view::View;
pub use volume::{
    Access, Created, Detail, DirEntry, Exclusive, How, Pace, Special, Upload, Volume,
    WritableVolume, XattrHow, XattrSet,
};
