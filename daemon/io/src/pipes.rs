//! Pipes that carry file data past user space, pooled because making one costs three calls.
//!
//! Invariant: a pipe in the pool is empty. One that may still hold bytes is dropped instead of
//! given back. Not promised: a capacity; the kernel may give less than [`PIPE_BYTES`] to a user
//! that has many (pipe(7), pipe-user-pages-soft).

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

/// Capacity that is asked for, in bytes: one NFS READ, and the largest that an ordinary user may
/// have (pipe-max-size).
pub(crate) const PIPE_BYTES: usize = 1 << 20;

/// Most pipes of one worker: 32 cold reads under way. An ordinary user may have 64 MiB of pipes.
pub(crate) const PIPES_MAX: usize = 32;

/// A pipe, both ends.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) reader: OwnedFd,
    /// Shared with the engine while it fills the pipe.
    pub(crate) writer: Arc<OwnedFd>,
}

/// One worker's pipes.
#[derive(Default)]
pub(crate) struct Pipes {
    free: Vec<Pipe>,
    out: usize,
}

impl Pipes {
    /// A pipe, unless [`PIPES_MAX`] are in use.
    pub(crate) fn take(&mut self) -> Result<Option<Pipe>, Errno> {
        if self.out >= PIPES_MAX {
            return Ok(None);
        }
        let pipe = match self.free.pop() {
            Some(pipe) => pipe,
            None => make()?,
        };
        self.out += 1;
        Ok(Some(pipe))
    }

    /// Whether [`Pipes::take`] would give one.
    pub(crate) fn has_room(&self) -> bool {
        self.out < PIPES_MAX
    }

    /// Gives an empty pipe back.
    pub(crate) fn give_back(&mut self, pipe: Pipe) {
        self.out -= 1;
        self.free.push(pipe);
    }

    /// Drops a pipe that may hold bytes.
    pub(crate) fn discard(&mut self, pipe: Pipe) {
        self.out -= 1;
        drop(pipe);
    }
}

/// A new pipe of [`PIPE_BYTES`] if the kernel allows, else of what it gives.
pub(crate) fn make() -> Result<Pipe, Errno> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    if let Err(error) = fcntl_setpipe_size(&writer, PIPE_BYTES) {
        tracing::debug!(%error, "a pipe keeps its default size");
    }
    Ok(Pipe {
        reader,
        writer: Arc::new(writer),
    })
}
