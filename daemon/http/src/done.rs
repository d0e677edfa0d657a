//! What jobs on pool threads bring back to their connection.
//!
//! Invariant: nothing here refers to the request's bytes; the head is read again when the job
//! is done. Every variant answers exactly one kind of job.

use std::sync::Arc;

use towline_io::OpenFile;
use towline_volume::view::Located;
use towline_volume::{Attributes, Name, Upload, VolumeError};

use crate::faces::files::entries::Page;
use crate::faces::registry::gguf::Heads;
use crate::status::{Refusal, Status};

/// The result of a job.
#[derive(Debug)]
pub enum Done {
    /// A path was looked up and opened.
    Opened(Result<Found, VolumeError>),
    /// A directory was read.
    Listed(Result<Page, VolumeError>),
    /// A directory entry was removed or a directory made.
    Changed(Result<Status, Refusal>),
    /// An upload may begin, or was complete already.
    Begun(Result<Begun, Refusal>),
    /// An upload has ended.
    Stored(Result<Stored, Refusal>),
    /// The heads of GGUF files were read.
    Heads(Heads),
    /// What files say of their revisions was read, and is kept where it is looked up.
    Cards,
}

/// What stands at a path.
#[derive(Debug)]
pub enum Found {
    /// A regular file, open for reading.
    File(Opened),
    /// A directory.
    Directory,
}

/// A file that the kernel let the caller open.
#[derive(Debug)]
pub struct Opened {
    /// The names that led to it.
    pub names: Vec<Name>,
    /// The node, with its export.
    pub located: Located,
    /// Read before the file was opened.
    pub seen: Attributes,
    /// Open for reading.
    pub file: Arc<OpenFile>,
}

/// How an upload begins.
#[derive(Debug)]
pub enum Begun {
    /// Its bytes may come.
    Receive(Upload),
    /// They were all here, and now it is published.
    Stored(Stored),
}

/// A published file.
#[derive(Clone, Copy, Debug)]
pub struct Stored {
    /// Its attributes.
    pub attributes: Attributes,
    /// It replaced another file.
    pub has_replaced: bool,
}
