//! The name in an OPEN: a file that is there, or one that is made (RFC 8881 section 18.16.3).
//!
//! Invariant: an unchecked create that meets a file changes nothing of it here; its size is cut
//! only behind the reservation. Not promised: which of two creates at one moment is first.

use towline_base::Name;
use towline_volume::{Attributes, How, SetAttributes, SetTime, VolumeError, Wcc};

use super::Found;
use crate::ground::Target;
use crate::v4::Status;
use crate::v4::args::{Create, Settings};
use crate::v4::attributes::{SIZE, TIME_ACCESS, TIME_MODIFY};
use crate::v4::bits::Bits;
use crate::v4::compound::{Halt, Run};
use crate::xdr::Writer;

/// How often a name that came and went meanwhile is looked at again.
const TRIES_MAX: usize = 4;

/// A directory before and after (`change_info4`).
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::v4) struct Change {
    is_atomic: bool,
    before: u64,
    after: u64,
}

impl Change {
    /// What an operation saw under the directory's lock.
    pub(in crate::v4) fn of(wcc: &Wcc) -> Self {
        match (&wcc.before, &wcc.after) {
            (Some(before), Some(after)) => Self {
                is_atomic: true,
                before: before.change,
                after: after.change,
            },
            _ => Self::default(),
        }
    }

    /// A directory that was not changed.
    fn still(seen: &Attributes) -> Self {
        Self {
            is_atomic: false,
            before: seen.change,
            after: seen.change,
        }
    }

    pub(in crate::v4) fn write(&self, out: &mut Writer<'_>) {
        out.u32(u32::from(self.is_atomic));
        out.u64(self.before);
        out.u64(self.after);
    }
}

/// The file called `name`, made if `create` says so.
pub(super) fn by_name(
    run: &mut Run<'_>,
    dir: &Target,
    name: &[u8],
    create: &Create,
) -> Result<Found, Halt> {
    let name = Name::new(name)?;
    let seen = run.ground.attributes(dir)?;
    for _ in 0..TRIES_MAX {
        if !matches!(create, Create::Exclusive(..)) {
            match run.ground.lookup(dir, &name) {
                Ok((handle, _)) => {
                    let target = run.ground.open(&handle)?;
                    let found = meet(create, Found::there(target))?;
                    let change = Change::still(&seen);
                    return Ok(Found { change, ..found });
                }
                Err(crate::ground::Miss::Failed(VolumeError::NotFound)) => {}
                Err(miss) => return Err(miss.into()),
            }
        }
        match make(run, dir, &name, create) {
            // Somebody else was faster: what is there now counts.
            Err(VolumeError::Exists) if matches!(create, Create::Unchecked(_)) => {}
            made => return Ok(made?),
        }
    }
    Err(Status::Delay.into())
}

/// A create that meets a file.
fn meet(create: &Create, found: Found) -> Result<Found, Status> {
    match create {
        Create::No => Ok(found),
        Create::Unchecked(settings) => {
            let cut = settings.set.size;
            let set = cut.map_or(Bits::default(), |_| Bits::of(&[SIZE]));
            Ok(Found { cut, set, ..found })
        }
        Create::Guarded(_) | Create::Exclusive(..) => Err(Status::Exist),
    }
}

fn make(
    run: &mut Run<'_>,
    dir: &Target,
    name: &Name,
    create: &Create,
) -> Result<Found, VolumeError> {
    let (how, set) = match create {
        Create::No => return Err(VolumeError::NotFound),
        // A name that is taken meanwhile must not be cut here.
        Create::Unchecked(settings) | Create::Guarded(settings) => {
            (How::Guarded(settings.set), settings.named)
        }
        Create::Exclusive(verifier, settings) => {
            let set = settings.named.or(&Bits::of(&[TIME_ACCESS, TIME_MODIFY]));
            (How::Exclusive(*verifier, without_times(settings)), set)
        }
    };
    let volume = dir.writable()?;
    let made = volume.create(&dir.located.node, name, &dir.who, &how)?;
    if let Some(notes) = run.ground.notes() {
        crate::ground::learn(notes, dir, name, &made.node);
    }
    let mut target = dir.clone();
    target.located.node = made.node;
    Ok(Found {
        target,
        change: Change::of(&made.dir),
        set,
        is_new: true,
        cut: None,
    })
}

/// The times hold the verifier.
fn without_times(settings: &Settings) -> SetAttributes {
    SetAttributes {
        accessed: SetTime::Keep,
        modified: SetTime::Keep,
        ..settings.set
    }
}

/// Cuts a file that was there.
pub(super) fn cut(run: &Run<'_>, target: &Target, size: u64) -> Result<(), Status> {
    let node = &target.located.node;
    let _guard = run.server.overlap.begin(&node.identity);
    let set = SetAttributes {
        size: Some(size),
        ..SetAttributes::default()
    };
    target
        .writable()?
        .set_attributes(node, &target.who, &set, None)?;
    Ok(())
}
