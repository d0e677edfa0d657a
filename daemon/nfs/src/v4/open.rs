//! OPEN, CLOSE and OPEN_DOWNGRADE (RFC 8881 sections 18.2, 18.16, 18.18).
//!
//! A file is opened as the caller, so that the kernel decides; the right is then noted and the
//! descriptor kept only as long as the worker's view keeps it. Invariant: a share reservation is
//! in the books before a file is cut, and a name is created only where it was not. Not promised:
//! that a file lives on without a name (`OPEN4_RESULT_PRESERVE_UNLINKED` is never said).

mod delegation;
mod make;

use towline_volume::VolumeError;

use super::Status;
use super::args::{Claim, Create, OpenArgs};
use super::bits::Bits;
use super::books::Opening;
use super::compound::{Halt, Outcome, Place, Run};
use super::place::{check_directory, find};
use super::read::check_regular;
use super::session::Client;
use super::state::opens::{self, BOTH};
use super::state::stateid::{Kind, Meaning, OTHER_BYTES, StateId};
use crate::ground::Target;
use crate::xdr::Writer;

pub(super) use make::Change;

/// `OPEN4_RESULT_LOCKTYPE_POSIX` (RFC 8881 section 18.16.2).
const RESULT_POSIX: u32 = 0x4;

/// `OPEN4_RESULT_MAY_NOTIFY_LOCK` (RFC 8881 section 18.16.2).
const RESULT_MAY_NOTIFY: u32 = 0x20;

/// What OPEN has opened.
pub(super) struct Found {
    target: Target,
    /// The directory before and after, if a name was created.
    change: Change,
    /// Attributes that were set.
    set: Bits,
    /// Whether the caller has made the file just now: then it may use it whatever its mode says.
    is_new: bool,
    /// What is cut once the reservation stands.
    cut: Option<u64>,
}

impl Found {
    fn there(target: Target) -> Self {
        Self {
            target,
            change: Change::default(),
            set: Bits::default(),
            is_new: false,
            cut: None,
        }
    }
}

/// OPEN.
pub(super) fn open(run: &mut Run<'_>, args: &OpenArgs<'_>) -> Outcome {
    let (access, deny) = (args.access & BOTH, args.deny);
    if access == 0 || deny > BOTH {
        return Err(Status::Inval.into());
    }
    if matches!(run.compound.current, Place::None) {
        return Err(Status::NoFileHandle.into());
    }
    let client = run.client()?;
    may_begin(run, &client, args)?;
    run.must_wait()?;
    let found = locate(run, &client, args)?;
    let target = &found.target;
    check_regular(target)?;
    if access & opens::WRITE != 0 {
        target.writable()?;
    }
    if !found.is_new {
        may_open(target, access)?;
    }
    let opening = Opening {
        handle: target.located.node.handle,
        who: target.who,
        owner: args.owner,
        access,
        deny,
    };
    let stateid = run.books.open(&client, &opening)?;
    if let Some(size) = found.cut
        && let Err(status) = make::cut(run, target, size)
    {
        // An open that fails leaves nothing behind but what was open before.
        if stateid.seqid == 1 {
            run.books.drop_holding(&stateid.other);
        }
        return Err(status.into());
    }
    let given = delegation::decide(run, &client, target, args);
    let mut out = Writer::new(run.out);
    stateid.write(&mut out);
    found.change.write(&mut out);
    // Linux asks only every 30 s for a lock of which it may be told, so not before it was reached.
    let tells = if client.is_proved() {
        RESULT_MAY_NOTIFY
    } else {
        0
    };
    out.u32(RESULT_POSIX | tells);
    found.set.write(&mut out);
    given.write(&mut out);
    run.set_current(Place::Node(found.target));
    run.compound.stateid = stateid;
    Ok(())
}

/// What must be reclaimed comes first, and only what was held (section 8.4.2.1).
fn may_begin(run: &Run<'_>, client: &Client, args: &OpenArgs<'_>) -> Result<(), Status> {
    let is_complete = client
        .is_complete
        .load(std::sync::atomic::Ordering::Acquire);
    match args.claim {
        Claim::Previous => run.books.may_reclaim(client),
        Claim::DelegationBefore => Err(Status::NotSupp),
        _ if !is_complete => Err(Status::Grace),
        // With locks that are only advised of, nothing else can conflict (section 8.4.2.1).
        _ if args.deny != 0 && run.books.is_in_grace() => Err(Status::Grace),
        _ => Ok(()),
    }
}

/// The file that is meant, made if that is asked for.
fn locate(run: &mut Run<'_>, client: &Client, args: &OpenArgs<'_>) -> Result<Found, Halt> {
    match args.claim {
        Claim::Name(name) => {
            let dir = match &run.compound.current {
                Place::Node(dir) => dir.clone(),
                // The root above the volumes has directories only.
                Place::Root(_) if args.create == Create::No => {
                    find(run, name)?;
                    return Err(Status::IsDir.into());
                }
                Place::Root(_) => return Err(Status::Rofs.into()),
                Place::None => return Err(Status::NoFileHandle.into()),
            };
            check_directory(&dir)?;
            make::by_name(run, &dir, name, &args.create)
        }
        Claim::Handle | Claim::Previous if args.create == Create::No => {
            Ok(Found::there(current(run)?))
        }
        Claim::Delegation(stateid) if args.create == Create::No => {
            delegated(run, client, stateid)?;
            Ok(Found::there(current(run)?))
        }
        Claim::DelegationName(stateid, name) => {
            delegated(run, client, stateid)?;
            match find(run, name)? {
                Place::Node(target) => Ok(Found::there(target)),
                Place::Root(_) | Place::None => Err(Status::IsDir.into()),
            }
        }
        Claim::Handle | Claim::Previous | Claim::Delegation(_) | Claim::DelegationBefore => {
            Err(Status::Inval.into())
        }
    }
}

/// The current node; the made-up root is a directory.
fn current(run: &Run<'_>) -> Result<Target, Status> {
    match &run.compound.current {
        Place::Node(target) => Ok(target.clone()),
        Place::Root(_) => Err(Status::IsDir),
        Place::None => Err(Status::NoFileHandle),
    }
}

/// The delegation that an OPEN is made under must be this client's.
fn delegated(run: &Run<'_>, client: &Client, stateid: StateId) -> Result<(), Status> {
    let held = run.books.holding(run.resolve(stateid), client)?;
    match held.kind {
        Kind::Delegation => Ok(()),
        Kind::Open | Kind::Lock => Err(Status::BadStateId),
    }
}

/// Lets the kernel decide whether the caller may open.
fn may_open(target: &Target, access: u32) -> Result<(), VolumeError> {
    let node = &target.located.node;
    if access & opens::READ != 0 {
        target.located.export.volume.open_read(node, &target.who)?;
    }
    if access & opens::WRITE != 0 {
        target.writable()?.open_write(node, &target.who)?;
    }
    Ok(())
}

/// CLOSE.
pub(super) fn close(run: &mut Run<'_>, stateid: StateId) -> Outcome {
    let holding = open_held(run, stateid)?;
    run.books.close(&holding)?;
    // What cannot be used any more (section 18.2.4).
    let gone = StateId {
        seqid: u32::MAX,
        other: [0; OTHER_BYTES],
    };
    gone.write(&mut run.writer());
    run.compound.stateid = gone;
    Ok(())
}

/// OPEN_DOWNGRADE.
pub(super) fn downgrade(run: &mut Run<'_>, stateid: StateId, access: u32, deny: u32) -> Outcome {
    let access = access & BOTH;
    if access == 0 || deny > BOTH {
        return Err(Status::Inval.into());
    }
    let holding = open_held(run, stateid)?;
    let down = run.books.downgrade(&holding, access, deny)?;
    down.write(&mut run.writer());
    run.compound.stateid = down;
    Ok(())
}

/// The open of the current file that a stateid names.
fn open_held(
    run: &Run<'_>,
    stateid: StateId,
) -> Result<std::sync::Arc<super::holding::Holding>, Status> {
    let target = run.node()?;
    let client = run.client()?;
    let Meaning::Given(given) = run.resolve(stateid).meaning() else {
        return Err(Status::BadStateId);
    };
    let holding = run.books.holding(given, &client)?;
    let is_this = holding.handle == target.located.node.handle;
    match holding.kind {
        Kind::Open if is_this => Ok(holding),
        Kind::Open | Kind::Lock | Kind::Delegation => Err(Status::BadStateId),
    }
}
