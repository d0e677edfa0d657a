//! The ground on a pool thread: asks the volume itself and notes what the worker may keep.
//!
//! Invariant: it never answers [`Miss::Cold`]. A handle is believed only after its MAC was
//! checked. Not promised: that the worker keeps what was found.

use std::sync::Arc;

use towline_io::OpenFile;
use towline_volume::view::{Located, Right};
use towline_volume::{Attributes, FileHandle, Identity, Name, Node, Pace, VolumeError};

use super::{Grant, Ground, Miss, Target};
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
    /// A right that the kernel granted; the attributes were read before it was asked.
    Right {
        target: Box<Target>,
        right: Right,
        seen: Attributes,
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
        super::learn(&mut self.finds, dir, name, node);
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
        self.known = Some(Located {
            node: found,
            export: export.clone(),
        });
        Ok((handle, attributes))
    }

    fn parent(&mut self, dir: &Target) -> Result<(FileHandle, Attributes), Miss> {
        let Located { node, export } = &dir.located;
        let parent = export.volume.parent(node, &dir.who).map_err(settled)?;
        let attributes = export.volume.attributes(&parent).map_err(settled)?;
        let handle = parent.handle;
        let located = Located {
            node: parent,
            export: export.clone(),
        };
        self.known = Some(located.clone());
        self.finds.push(Find::Node(located));
        Ok((handle, attributes))
    }

    fn file(
        &mut self,
        target: &Target,
        seen: &Attributes,
        right: Right,
        grant: Grant,
    ) -> Result<Arc<OpenFile>, Miss> {
        match grant {
            Grant::Ask => {
                let file = open(target, right, &target.who).map_err(settled)?;
                self.finds.push(Find::Right {
                    target: Box::new(target.clone()),
                    right,
                    seen: *seen,
                });
                Ok(file)
            }
            // The mode may have changed since; what was opened stays open.
            Grant::Given(who) => open(target, right, &who)
                .or_else(|_| open(target, right, &Identity::DAEMON))
                .map_err(settled),
        }
    }

    fn notes(&mut self) -> Option<&mut Vec<Find>> {
        Some(&mut self.finds)
    }
}

fn open(target: &Target, right: Right, who: &Identity) -> Result<Arc<OpenFile>, VolumeError> {
    let Located { node, export } = &target.located;
    match right {
        Right::Read => export.volume.open_read(node, who),
        Right::Write => target.writable()?.open_write(node, who),
    }
}

/// A failure as a final answer: here nothing is cold.
fn settled(error: VolumeError) -> Miss {
    Miss::Failed(error)
}
