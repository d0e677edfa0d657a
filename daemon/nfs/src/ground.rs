//! The ground that a procedure stands on: a worker's memory, or a thread that may wait.
//!
//! GETATTR, LOOKUP and their like are written once over [`Ground`]. On a worker ([`Hot`]) a
//! question that memory cannot answer is [`Miss::Cold`]; the call then runs again on a pool
//! thread ([`Blocking`]), where nothing is cold. Invariant: [`Ground::open`] is the only way to a
//! [`Target`], and it lets nobody through whose address may not reach the export.

mod blocking;
mod hot;

use std::net::IpAddr;

use towline_volume::view::Located;
use towline_volume::{Attributes, FileHandle, Identity, Name, Reach, VolumeError, WritableVolume};

use crate::rpc::Credential;
use crate::server::Door;
use crate::status::Status;

pub(crate) use blocking::{Blocking, Find};
pub(crate) use hot::Hot;

/// Who calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) address: IpAddr,
    pub(crate) credential: Credential,
}

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
    Failed(Status),
}

/// The call must run on a pool thread.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Cold;

pub(crate) trait Ground {
    /// The node behind a handle, if the caller's address may reach its export.
    fn open(&mut self, handle: &FileHandle) -> Result<Target, Miss>;

    /// The attributes of a node now.
    fn attributes(&mut self, target: &Target) -> Result<Attributes, Status>;

    /// The node called `name` in `dir`.
    fn lookup(&mut self, dir: &Target, name: &Name) -> Result<(FileHandle, Attributes), Miss>;

    /// The directory above.
    fn parent(&mut self, dir: &Target) -> Result<(FileHandle, Attributes), Miss>;
}

impl Target {
    pub(crate) fn new(located: Located, door: Door, caller: &Caller) -> Result<Self, Status> {
        if door.reach == Reach::None {
            return Err(Status::Acces);
        }
        let who = crate::rpc::auth::identify(&located.export, &caller.credential);
        Ok(Self { located, door, who })
    }

    /// The writing half of its volume, if the caller's address may write (threat N12).
    pub(crate) fn writable(&self) -> Result<&dyn WritableVolume, Status> {
        match self.door.reach {
            Reach::Write => self.located.export.volume.writable().ok_or(Status::Rofs),
            Reach::Read | Reach::None => Err(Status::Rofs),
        }
    }
}

impl From<VolumeError> for Miss {
    fn from(error: VolumeError) -> Self {
        match error {
            VolumeError::WouldBlock => Self::Cold,
            error => Self::Failed(error.into()),
        }
    }
}

impl From<Status> for Miss {
    fn from(status: Status) -> Self {
        Self::Failed(status)
    }
}

/// Tells "ask elsewhere" from "this is the answer".
pub(crate) fn settle<T>(result: Result<T, Miss>) -> Result<Result<T, Status>, Cold> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Miss::Failed(status)) => Ok(Err(status)),
        Err(Miss::Cold) => Err(Cold),
    }
}
