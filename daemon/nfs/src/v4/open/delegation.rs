//! Whether an OPEN comes with a delegation, and what is said if it does not (RFC 8881 sections 10.4
//! and 18.16).
//!
//! Only files of published models are delegated, and only for reading: nobody writes into them, so
//! what ends a promise is that the store takes a name away. Invariant: nothing is delegated to a
//! client that was not reached by a callback, during grace, or for a file that is still arriving.
//! Not promised: delegations for writing, or of directories.

use std::sync::Arc;

use crate::ground::Target;
use crate::v4::args::{Claim, OpenArgs};
use crate::v4::compound::Run;
use crate::v4::session::Client;
use crate::v4::state::delegations::Refusal;
use crate::v4::state::opens;
use crate::v4::state::stateid::StateId;
use crate::xdr::Writer;
use towline_io::span::Passage;

/// `OPEN_DELEGATE_NONE`, `_READ`, `_NONE_EXT` (RFC 8881 section 18.16.2).
const KINDS: [u32; 3] = [0, 1, 3];

/// What a client says of delegations (`OPEN4_SHARE_ACCESS_WANT_DELEG_MASK`, section 18.16.1).
const WANT_MASK: u32 = 0xff00;

/// `OPEN4_SHARE_ACCESS_WANT_WRITE_DELEG`, `_NO_DELEG`, `_CANCEL` (RFC 8881 section 18.16.1).
const WANTS: [u32; 3] = [0x200, 0x400, 0x500];

/// `WND4_NOT_WANTED`, `WND4_CONTENTION`, `WND4_RESOURCE`, `WND4_NOT_SUPP_FTYPE`, `WND4_CANCELLED`
/// (RFC 8881 section 18.16.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Why {
    NotWanted = 0,
    Contention = 1,
    Resource = 2,
    NotSupported = 3,
    Cancelled = 7,
}

/// What OPEN says of a delegation.
pub(super) enum Given {
    /// There is none, and the client has not asked.
    Nothing,
    /// There is none, for this reason.
    Refused(Reason),
    /// There is one for reading.
    Read(StateId),
}

/// Why there is none.
pub(super) struct Reason(Why);

/// Decides about the delegation of a file that was just opened.
pub(super) fn decide(
    run: &mut Run<'_>,
    client: &Arc<Client>,
    target: &Target,
    args: &OpenArgs<'_>,
) -> Given {
    match consider(run, client, target, args) {
        Ok(stateid) => Given::Read(stateid),
        Err(_) if args.access & WANT_MASK == 0 => Given::Nothing,
        Err(why) => Given::Refused(Reason(why)),
    }
}

fn consider(
    run: &mut Run<'_>,
    client: &Arc<Client>,
    target: &Target,
    args: &OpenArgs<'_>,
) -> Result<StateId, Why> {
    let [write, none, cancel] = WANTS;
    match args.access & WANT_MASK {
        want if want == none => return Err(Why::NotWanted),
        want if want == cancel => return Err(Why::Cancelled),
        want if want == write => return Err(Why::NotSupported),
        _ => {}
    }
    let is_plain = matches!(args.claim, Claim::Name(_) | Claim::Handle);
    if args.access & opens::WRITE != 0 || !is_plain {
        return Err(Why::NotWanted);
    }
    let volume = target.located.export.id;
    if !run.server.is_guarded(volume) {
        return Err(Why::NotSupported);
    }
    if !client.is_proved() || run.books.is_in_grace() {
        return Err(Why::Resource);
    }
    let node = &target.located.node;
    if !is_published(run, target) {
        return Err(Why::NotSupported);
    }
    let place = (node.identity.file_system, node.identity.file_id);
    let given = run.books.delegate(client, (node.handle, target.who), place);
    given.map_err(|refusal| match refusal {
        Refusal::Contended => Why::Contention,
        Refusal::Full => Why::Resource,
    })
}

/// Whether a file is one of the store's, and all of it is there. Those have a name in the store
/// besides the visible ones; what somebody has put there by hand has one.
fn is_published(run: &mut Run<'_>, target: &Target) -> bool {
    let Ok(seen) = run.ground.attributes(target) else {
        return false;
    };
    let volume = &target.located.export.volume;
    let open = volume.open_read(&target.located.node, &target.who);
    let is_whole = |file: &towline_io::OpenFile| match file.passage(0, seen.size) {
        Passage::Open(bytes) => bytes >= seen.size,
        Passage::Closed | Passage::Lost => false,
    };
    seen.links > 1 && open.is_ok_and(|file| is_whole(&file))
}

impl Given {
    pub(super) fn write(&self, out: &mut Writer<'_>) {
        let [nothing, read, refused] = KINDS;
        match self {
            Self::Nothing => out.u32(nothing),
            Self::Refused(Reason(why)) => {
                out.words([refused, *why as u32]);
                if matches!(why, Why::Contention | Why::Resource) {
                    // No word comes when there is one.
                    out.u32(0);
                }
            }
            Self::Read(stateid) => {
                out.u32(read);
                stateid.write(out);
                // Not recalled already. Then an `nfsace4` that allows nobody anything: clients ask
                // by ACCESS.
                out.words([0, 0, 0, 0, 0]);
            }
        }
    }
}
