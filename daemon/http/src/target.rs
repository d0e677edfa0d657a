//! The place of a change: a name in a directory, and what must hold for it.
//!
//! Invariant: preconditions are judged on the thread that makes the change, right before it. Not
//! promised: that nobody else changes the name between the two.

use std::sync::Arc;

use towline_base::clock;
use towline_volume::volume::Pace;
use towline_volume::{Attributes, Export, FileKind, Name, Node, VolumeError, WritableVolume};

use crate::status::{Refusal, Status};
use crate::validator::{Conditions, Validator, Verdict};

/// The place of a change: a name in a directory of a volume.
pub(crate) struct Target {
    pub(crate) export: Arc<Export>,
    pub(crate) above: Vec<Name>,
    pub(crate) name: Name,
    pub(crate) conditions: Conditions<'static>,
}

/// A target whose directory is open and whose preconditions hold.
pub(crate) struct Ground<'t> {
    pub(crate) writable: &'t dyn WritableVolume,
    pub(crate) dir: Arc<Node>,
    pub(crate) current: Option<Attributes>,
}

impl Target {
    /// Opens the directory and judges the preconditions. Runs on a pool thread.
    pub(crate) fn open(&self) -> Result<Ground<'_>, Refusal> {
        let (volume, who) = (&self.export.volume, &self.export.anonymous);
        let writable = volume.writable().ok_or(VolumeError::ReadOnly)?;
        let dir = match volume.walk(&self.above, who, Pace::Blocking) {
            Ok(dir) if dir.kind == FileKind::Directory => dir,
            Ok(_) | Err(VolumeError::NotFound | VolumeError::NotDirectory) => {
                return Err(Refusal::new(
                    Status::CONFLICT,
                    "the folder above does not exist; make it first, with MKCOL",
                ));
            }
            Err(error) => return Err(error.into()),
        };
        let ground = Ground {
            writable,
            current: self.current(&dir)?,
            dir,
        };
        self.judge(ground.current.as_ref())?;
        Ok(ground)
    }

    /// What has the name now.
    pub(crate) fn current(&self, dir: &Node) -> Result<Option<Attributes>, Refusal> {
        let export = &self.export;
        match export.volume.peek(dir, &self.name, &export.anonymous) {
            Ok(attributes) => Ok(Some(attributes)),
            Err(VolumeError::NotFound) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Judges the preconditions on what has the name now.
    pub(crate) fn judge(&self, current: Option<&Attributes>) -> Result<(), Refusal> {
        let now = clock::since_epoch().as_secs() as i64;
        let validator = current.map(|attributes| Validator::of(attributes, now));
        match self.conditions.judge(validator.as_ref(), false, now) {
            Verdict::Proceed => Ok(()),
            Verdict::NotModified | Verdict::Failed => Err(Refusal::new(
                Status::PRECONDITION_FAILED,
                "what stands there is not what the request expects; look at it again first",
            )),
        }
    }
}
