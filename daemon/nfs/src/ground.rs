//! The ground that a procedure stands on: a worker's memory, or a thread that may wait.
//!
//! GETATTR, LOOKUP and their like are written once over [`Ground`]. On a worker ([`Hot`]) a
//! question that memory cannot answer is [`Miss::Cold`]; the call then runs again on a pool
//! thread ([`Blocking`]), where nothing is cold. Failures are the volume's; each version of NFS
//! has its own words for them. Invariant: [`Ground::open`] is the only way to a [`Target`], and
//! it lets nobody through whose address may not reach the export.

mod blocking;
mod hot;

use std::sync::Arc;

use towline_io::OpenFile;
use towline_volume::view::{Located, Right};
use towline_volume::{
    Attributes, FileHandle, Identity, Name, Node, Reach, VolumeError, WritableVolume,
};

use crate::caller::Caller;
use crate::server::Door;

pub(crate) use blocking::{Blocking, Find};
pub(crate) use hot::Hot;

/// A node that the caller may reach, and as whom it does so.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) located: Located,
    pub(crate) door: Door,
    pub(crate) who: Identity,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Miss {
    /// It would have to wait: ask again on a pool thread.
    Cold,
    /// This is the answer.
    Failed(VolumeError),
}

/// The call must run on a pool thread.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Cold;

pub(crate) trait Ground {
    /// The node behind a handle, if the caller's address may reach its export.
    fn open(&mut self, handle: &FileHandle) -> Result<Target, Miss>;

    /// The attributes of a node now.
    fn attributes(&mut self, target: &Target) -> Result<Attributes, VolumeError>;

    /// The node called `name` in `dir`.
    fn lookup(&mut self, dir: &Target, name: &Name) -> Result<(FileHandle, Attributes), Miss>;

    /// The directory above.
    fn parent(&mut self, dir: &Target) -> Result<(FileHandle, Attributes), Miss>;

    /// The file, open for reading or writing; `seen` are its attributes of this moment.
    fn file(
        &mut self,
        target: &Target,
        seen: &Attributes,
        right: Right,
        grant: Grant,
    ) -> Result<Arc<OpenFile>, Miss>;

    /// Where to note what a worker may keep; `None` where nothing may wait for storage.
    fn notes(&mut self) -> Option<&mut Vec<Find>>;
}

/// Why a file may be opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Grant {
    /// The kernel has to be asked for the caller.
    Ask,
    /// It was asked for this identity when the file was opened.
    Given(Identity),
}

/// Notes that `name` in `dir` is `node`.
pub(crate) fn learn(notes: &mut Vec<Find>, dir: &Target, name: &Name, node: &Arc<Node>) {
    let export = dir.located.export.clone();
    let node = node.clone();
    notes.push(Find::Node(Located {
        node: node.clone(),
        export,
    }));
    notes.push(Find::Name {
        dir: dir.located.node.clone(),
        name: name.clone(),
        node,
    });
}

impl Target {
    pub(crate) fn new(located: Located, door: Door, caller: &Caller) -> Result<Self, VolumeError> {
        if door.reach == Reach::None {
            return Err(VolumeError::Denied);
        }
        let who = crate::rpc::auth::identify(&located.export, &caller.credential);
        Ok(Self { located, door, who })
    }

    /// The writing half of its volume, if the caller's address may write (threat N12).
    pub(crate) fn writable(&self) -> Result<&dyn WritableVolume, VolumeError> {
        let volume = &self.located.export.volume;
        match self.door.reach {
            Reach::Write => volume.writable().ok_or(VolumeError::ReadOnly),
            Reach::Read | Reach::None => Err(VolumeError::ReadOnly),
        }
    }
}

impl From<VolumeError> for Miss {
    fn from(error: VolumeError) -> Self {
        match error {
            VolumeError::WouldBlock => Self::Cold,
            error => Self::Failed(error),
        }
    }
}

/// Tells "ask elsewhere" from "this is the answer".
pub(crate) fn settle<T>(result: Result<T, Miss>) -> Result<Result<T, VolumeError>, Cold> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Miss::Failed(error)) => Ok(Err(error)),
        Err(Miss::Cold) => Err(Cold),
    }
}
