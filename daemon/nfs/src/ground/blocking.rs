//! The ground on a pool thread: asks the volume itself and notes what the worker may keep.
//!
//! Invariant: it never answers [`Miss::Cold`]. A handle is believed only after its MAC was
//! checked. Not promised: that the worker keeps what was found.

use std::sync::Arc;

use towline_volume::view::Located;
use towline_volume::{Attributes, FileHandle, Name, Node, Pace, VolumeError};

use super::{Ground, Miss, Target};
use crate::caller::Caller;
use crate::server::Server;

/// Something for the worker's view.
#[derive(Debug)]
pub(crate) enum Find {
    /// A node that is open now.
    Node(Located),
    /// A name, and the node that it was.
    Name {
        dir: Arc<Node>,
        name: Name,
        node: Arc<Node>,
    },
}

/// The volumes in the hands of one call.
pub(crate) struct Blocking<'c> {
    pub(crate) server: &'c Arc<Server>,
    pub(crate) caller: &'c Caller,
    /// A node that the worker had open already.
    pub(crate) known: Option<Located>,
    pub(crate) finds: Vec<Find>,
}

impl<'c> Blocking<'c> {
    pub(crate) fn new(server: &'c Arc<Server>, caller: &'c Caller, known: Option<Located>) -> Self {
        let finds = Vec::new();
        Self {
            server,
            caller,
            known,
            finds,
        }
    }

    /// [`Ground::open`] where nothing is cold.
    pub(crate) fn reach(&mut self, handle: &FileHandle) -> Result<Target, VolumeError> {
        let located = match &self.known {
            Some(known) if known.node.handle == *handle => known.clone(),
            Some(_) | None => {
                let export = self.server.exports.of_handle(handle)?.clone();
                let node = export.volume.resolve(handle)?;
                let located = Located { node, export };
                self.finds.push(Find::Node(located.clone()));
                located
            }
        };
        let door = self.server.door(&located.export, self.caller.address);
        Target::new(located, door, self.caller)
    }

    /// Notes that `name` in `dir` is `node`.
    pub(crate) fn learn(&mut self, dir: &Target, name: &Name, node: &Arc<Node>) {
        let export = dir.located.export.clone();
        let node = node.clone();
        self.finds.push(Find::Node(Located {
            node: node.clone(),
            export,
        }));
        self.finds.push(Find::Name {
            dir: dir.located.node.clone(),
            name: name.clone(),
            node,
        });
    }
}

impl Ground for Blocking<'_> {
    fn open(&mut self, handle: &FileHandle) -> Result<Target, Miss> {
        self.reach(handle).map_err(settled)
    }

    fn attributes(&mut self, target: &Target) -> Result<Attributes, VolumeError> {
        let Located { node, export } = &target.located;
        export.volume.attributes(node)
    }

    fn lookup(&mut self, dir: &Target, name: &Name) -> Result<(FileHandle, Attributes), Miss> {
        let Located { node, export } = &dir.located;
        let found = export
            .volume
            .lookup(node, name, &dir.who, Pace::Blocking)
            .map_err(settled)?;
        let attributes = export.volume.attributes(&found).map_err(settled)?;
        let handle = found.handle;
        self.learn(dir, name, &found);
        Ok((handle, attributes))
    }

    fn parent(&mut self, dir: &Target) -> Result<(FileHandle, Attributes), Miss> {
        let Located { node, export } = &dir.located;
        let parent = export.volume.parent(node, &dir.who).map_err(settled)?;
        let attributes = export.volume.attributes(&parent).map_err(settled)?;
        let handle = parent.handle;
        self.finds.push(Find::Node(Located {
            node: parent,
            export: export.clone(),
        }));
        Ok((handle, attributes))
    }
}

/// A failure as a final answer: here nothing is cold.
fn settled(error: VolumeError) -> Miss {
    Miss::Failed(error)
}
