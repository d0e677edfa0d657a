//! The ground on a worker: what its view has in memory, without a lock.
//!
//! Invariant: no method waits for storage. What an address may do with an export is looked up
//! once per connection. Not promised: that what was hot a moment ago still is.

use std::sync::Arc;

use towline_io::OpenFile;
use towline_volume::view::{Hot as Warm, Located, Right, View};
use towline_volume::{Attributes, FileHandle, Name, VolumeError};

use super::{Find, Grant, Ground, Miss, Target};
use crate::caller::Caller;
use crate::server::{Door, Server};

/// A worker's memory in the hands of one call.
pub(crate) struct Hot<'c> {
    pub(crate) server: &'c Server,
    pub(crate) view: &'c mut View,
    /// Exports that this connection has asked for: as many as there are exports, at most.
    pub(crate) doors: &'c mut Vec<Door>,
    pub(crate) caller: &'c Caller,
}

impl Hot<'_> {
    /// The target that `located` is for this caller.
    pub(crate) fn target(&mut self, located: Located) -> Result<Target, VolumeError> {
        let volume = located.export.id;
        let known = self.doors.iter().find(|door| door.volume == volume);
        let door = match known {
            Some(door) => *door,
            None => {
                let door = self.server.door(&located.export, self.caller.address);
                self.doors.push(door);
                door
            }
        };
        Target::new(located, door, self.caller)
    }
}

impl Ground for Hot<'_> {
    fn open(&mut self, handle: &FileHandle) -> Result<Target, Miss> {
        match self.view.node(handle) {
            Warm::Ready(located) => self.target(located).map_err(Miss::Failed),
            Warm::Cold => Err(Miss::Cold),
        }
    }

    fn attributes(&mut self, target: &Target) -> Result<Attributes, VolumeError> {
        self.view.attributes(&target.located)
    }

    fn lookup(&mut self, dir: &Target, name: &Name) -> Result<(FileHandle, Attributes), Miss> {
        match self.view.lookup(&dir.located, name, &dir.who)? {
            Warm::Ready(found) => Ok(found),
            Warm::Cold => Err(Miss::Cold),
        }
    }

    fn parent(&mut self, _: &Target) -> Result<(FileHandle, Attributes), Miss> {
        Err(Miss::Cold)
    }

    fn file(
        &mut self,
        target: &Target,
        seen: &Attributes,
        right: Right,
        grant: Grant,
    ) -> Result<Arc<OpenFile>, Miss> {
        let node = &target.located.node;
        let file = match grant {
            Grant::Ask => self.view.file(node, seen, &target.who, right),
            Grant::Given(_) => View::opened(node, right),
        };
        file.ok_or(Miss::Cold)
    }

    fn notes(&mut self) -> Option<&mut Vec<Find>> {
        None
    }
}
