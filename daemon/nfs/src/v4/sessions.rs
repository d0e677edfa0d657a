//! Client ids and sessions: EXCHANGE_ID, CREATE_SESSION, SEQUENCE and their like (RFC 8881
//! sections 18.33 to 18.37, 18.46, 18.50, 18.51).
//!
//! Invariant: an address that may reach no export gets no client id (threat N15), and nothing is
//! granted that was not asked for, nor more of it. Not promised: persistent sessions, RDMA, SSV.

use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use super::Status;
use super::args::session::Security;
use super::args::{Channel, CreateSessionArgs, ExchangeIdArgs, SequenceArgs};
use super::books::SESSIONS_PER_CLIENT_MAX;
use super::callback::{ANSWER_BYTES_MAX, CALLBACK_BYTES_MAX};
use super::compound::{OPERATIONS_MAX, Outcome, Place, Run};
use super::session::{Claim, Client, SESSION_BYTES, Session};
use super::state::clients::{Creation, Exchange, Principal};
use super::state::slots::Verdict;
use crate::caller::Caller;
use crate::rpc::Credential;
use crate::rpc::auth::{AUTH_NONE, AUTH_SYS};
use crate::rpc::record::MESSAGE_BYTES_MAX;
use crate::xdr::Writer;

/// `EXCHGID4_FLAG_UPD_CONFIRMED_REC_A` (RFC 8881 section 18.35.1).
const FLAG_UPDATE: u32 = 0x4000_0000;
/// `EXCHGID4_FLAG_CONFIRMED_R` (RFC 8881 section 18.35.1).
const FLAG_CONFIRMED: u32 = 0x8000_0000;
/// `EXCHGID4_FLAG_USE_NON_PNFS` (RFC 8881 section 18.35.1).
const FLAG_NON_PNFS: u32 = 0x0001_0000;
/// Every flag that a client may set (RFC 8881 section 18.35.1).
const FLAGS_OF_CLIENTS: u32 = 0x4007_0103;
/// `EXCHGID4_FLAG_SUPP_FENCE_OPS`, of minor version 2 (RFC 7862 section 14.1).
const FLAG_FENCE_OPS: u32 = 0x4;

/// `CREATE_SESSION4_FLAG_PERSIST`, `_CONN_BACK_CHAN`, `_CONN_RDMA` (RFC 8881 section 18.36.1).
const SESSION_FLAGS: u32 = 0x7;

/// `CREATE_SESSION4_FLAG_CONN_BACK_CHAN` (RFC 8881 section 18.36.1).
const FLAG_BACK_CHANNEL: u32 = 0x2;

/// Fewest bytes of a request or reply that hold anything: RPC head, COMPOUND and a SEQUENCE.
const CHANNEL_BYTES_MIN: u32 = 128;

/// Fewest operations of a callback: CB_SEQUENCE and what follows it.
const CALLBACK_OPERATIONS: u32 = 2;

/// Longest reply that is kept, in bytes: Linux' have at most 376; 64 of them are 128 KiB.
const CACHED_BYTES_MAX: u32 = 2048;

/// Most slots of a session: what Linux asks for.
const SLOTS_MAX: u32 = 64;

/// EXCHANGE_ID.
pub(super) fn exchange_id(run: &mut Run<'_>, args: &ExchangeIdArgs<'_>) -> Outcome {
    run.must_wait()?;
    let caller = &run.compound.caller;
    let flags = match run.compound.minor {
        0 | 1 => FLAGS_OF_CLIENTS,
        _ => FLAGS_OF_CLIENTS | FLAG_FENCE_OPS,
    };
    if args.flags & !flags != 0 {
        return Err(Status::Inval.into());
    }
    if !run.server.is_listed(caller.address) {
        return Err(Status::Perm.into());
    }
    let exchange = Exchange {
        owner: args.owner,
        verifier: args.verifier,
        principal: principal(caller),
        address: caller.address,
        is_update: args.flags & FLAG_UPDATE != 0,
        now_ms: run.books.now_ms(),
    };
    let books = run.books;
    let made = books
        .clients()
        .exchange(&exchange, |id| books.is_in_use(id))?;
    if let Some(gone) = made.gone {
        books.expel(gone);
    }
    if let Some(elsewhere) = made.elsewhere {
        // Two clients with one name throw each other out for ever; only they can mend that.
        tracing::warn!(
            peer = %caller.address,
            conn = %elsewhere,
            "two addresses use one NFS client name: give each its own hostname or nfs4_unique_id"
        );
    }
    let confirmed = if made.is_confirmed { FLAG_CONFIRMED } else { 0 };
    let identity = books.identity;
    let mut out = run.writer();
    out.u64(made.id);
    out.words([made.sequence, FLAG_NON_PNFS | confirmed, 0]);
    // `so_minor_id`, `so_major_id`, scope; no implementation's name.
    out.u64(0);
    out.opaque(&identity);
    out.opaque(&identity);
    out.u32(0);
    Ok(())
}

/// CREATE_SESSION.
pub(super) fn create_session(run: &mut Run<'_>, args: &CreateSessionArgs) -> Outcome {
    run.must_wait()?;
    if args.flags & !SESSION_FLAGS != 0 {
        return Err(Status::Inval.into());
    }
    let caller = run.compound.caller;
    let books = run.books;
    let at = (books.now_ms(), u64::from(books.lease_seconds) * 1000);
    // Creations of one id are rare, and one after the other.
    let creation = books
        .clients()
        .create((args.client, args.sequence), principal(&caller), at)?;
    let (replaced, is_first) = match creation {
        Creation::Replay(reply) => {
            run.out.extend_from_slice(&reply);
            // It may have come over another connection than the first one did.
            let id = reply.first_chunk::<SESSION_BYTES>();
            run.compound.bound = id.and_then(|id| books.session(id));
            return Ok(());
        }
        Creation::New { replaced, is_first } => (replaced, is_first),
    };
    let fore = granted(&args.fore)?;
    let back = back_channel(args)?;
    if let Some(replaced) = replaced {
        books.expel(replaced);
    }
    let client = confirmed(run, args.client, is_first)?;
    if books.sessions_of(args.client).len() >= SESSIONS_PER_CLIENT_MAX {
        return Err(Status::Delay.into());
    }
    let id = session_id(args.client).ok_or(Status::Delay)?;
    let session = Arc::new(Session::new(id, client, fore, back.security.is_some()));
    let mut flags = 0;
    if let Some(security) = back.security {
        flags = FLAG_BACK_CHANNEL;
        let of = (id, run.compound.minor);
        let terms = (args.program, security);
        session.client.with_back(|all| all.open(of, terms));
        run.compound.bound = Some(session.clone());
    }
    let mut reply = Vec::new();
    let mut out = Writer::new(&mut reply);
    out.fixed(&id);
    out.words([args.sequence, flags]);
    write_channel(&mut out, &fore);
    write_channel(&mut out, &back.sizes);
    run.out.extend_from_slice(&reply);
    books.add_session(session);
    books.clients().created(args.client, args.sequence, reply);
    Ok(())
}

/// What is granted of a back channel.
struct BackChannel {
    sizes: Channel,
    /// How callbacks introduce themselves; `None`: there are none.
    security: Option<Security>,
}

/// What is granted of the back channel that a client asks for: one slot, if it can be called with
/// a credential that we can make.
fn back_channel(args: &CreateSessionArgs) -> Result<BackChannel, Status> {
    let asked = args.back;
    if asked.request_bytes_max < CHANNEL_BYTES_MIN || asked.operations_max < CALLBACK_OPERATIONS {
        return Err(Status::TooSmall);
    }
    let is_enough = asked.request_bytes_max >= CALLBACK_BYTES_MAX
        && asked.response_bytes_max >= ANSWER_BYTES_MAX
        && asked.slots > 0;
    let is_wanted = args.flags & FLAG_BACK_CHANNEL != 0 && is_enough;
    Ok(BackChannel {
        sizes: Channel {
            slots: asked.slots.min(1),
            ..asked
        },
        security: args.security.clone().filter(|_| is_wanted),
    })
}

/// What workers share of a client whose id is confirmed by this call, or was before.
fn confirmed(run: &Run<'_>, id: u64, is_first: bool) -> Result<Arc<Client>, Status> {
    let books = run.books;
    if !is_first && let Some(client) = books.client(id) {
        return Ok(client);
    }
    let owner: Box<[u8]> = books
        .clients()
        .owner(id)
        .ok_or(Status::StaleClientId)?
        .into();
    let address = run.compound.caller.address;
    let client = Arc::new(Client::new(id, owner, address, books.now_ms()));
    books.admit(client.clone());
    Ok(client)
}

/// What is granted of the channel that a client asks for.
fn granted(asked: &Channel) -> Result<Channel, Status> {
    let longest = MESSAGE_BYTES_MAX as u32;
    let is_too_small = asked.request_bytes_max < CHANNEL_BYTES_MIN
        || asked.response_bytes_max < CHANNEL_BYTES_MIN
        || asked.operations_max == 0
        || asked.slots == 0;
    if is_too_small {
        return Err(Status::TooSmall);
    }
    Ok(Channel {
        request_bytes_max: asked.request_bytes_max.min(longest),
        response_bytes_max: asked.response_bytes_max.min(longest),
        cached_bytes_max: asked.cached_bytes_max.min(CACHED_BYTES_MAX),
        operations_max: asked.operations_max.min(OPERATIONS_MAX),
        slots: asked.slots.min(SLOTS_MAX),
    })
}

fn write_channel(out: &mut Writer<'_>, channel: &Channel) {
    out.words([
        0,
        channel.request_bytes_max,
        channel.response_bytes_max,
        channel.cached_bytes_max,
        channel.operations_max,
        channel.slots,
        0,
    ]);
}

/// A session id that nobody can guess.
fn session_id(client: u64) -> Option<[u8; SESSION_BYTES]> {
    let random = towline_base::rand::bits().ok()?;
    let mut id = [0; SESSION_BYTES];
    let bytes = client.to_be_bytes().into_iter().chain(random.to_be_bytes());
    for (to, from) in id.iter_mut().zip(bytes) {
        *to = from;
    }
    Some(id)
}

/// Who asks, as far as it is told.
fn principal(caller: &Caller) -> Principal {
    match &caller.credential {
        Credential::Nobody => (AUTH_NONE, 0),
        Credential::Unix(ids) => (AUTH_SYS, ids.uid()),
    }
}

/// SEQUENCE.
pub(super) fn sequence(run: &mut Run<'_>, args: SequenceArgs, message: &[u8]) -> Outcome {
    let session = run.books.session(&args.session);
    let session = session.filter(|session| !session.is_gone());
    let session = session.ok_or(Status::BadSession)?;
    let compound = &mut *run.compound;
    if compound.message_bytes > session.fore.request_bytes_max as usize {
        return Err(Status::ReqTooBig.into());
    }
    if compound.total > session.fore.operations_max {
        return Err(Status::TooManyOps.into());
    }
    match args.is_kept {
        true => compound.limit(session.fore.cached_bytes_max, Status::RepTooBigToCache),
        false => compound.limit(session.fore.response_bytes_max, Status::RepTooBig),
    }
    run.room_for(40)?;
    let at = run.compound.arguments_at;
    let print = || {
        let mut hasher = DefaultHasher::new();
        hasher.write(message.get(at..).unwrap_or(&[]));
        hasher.finish()
    };
    let verdict = session.begin(&args, print).ok_or(Status::BadSlot)?;
    match verdict {
        Verdict::New => {
            let print = if args.is_kept { print() } else { 0 };
            session.client.renew(run.books.now_ms());
            write_sequence(run, &session, &args);
            run.compound.claim = Some(Claim::new(session, args, print));
            Ok(())
        }
        Verdict::Replay(reply) => {
            run.compound.replay(reply);
            Ok(())
        }
        Verdict::Uncached => {
            write_sequence(run, &session, &args);
            // The second operation says why there is no more (section 2.10.6.1.3).
            run.compound.answer_uncached();
            Ok(())
        }
        Verdict::Running => Err(Status::Delay.into()),
        Verdict::Misordered => Err(Status::SeqMisordered.into()),
        Verdict::FalseRetry => Err(Status::SeqFalseRetry.into()),
    }
}

fn write_sequence(run: &mut Run<'_>, session: &Session, args: &SequenceArgs) {
    let highest = session.highest_slot();
    let flags = session.flags();
    let mut out = run.writer();
    out.fixed(&args.session);
    out.words([args.sequence, args.slot, highest, highest, flags]);
}

/// BIND_CONN_TO_SESSION: every connection is bound to the fore channel by its first SEQUENCE
/// (section 2.10.3.1), so what this adds is the back channel, where the session has one.
pub(super) fn bind_connection(
    run: &mut Run<'_>,
    id: [u8; SESSION_BYTES],
    direction: u32,
) -> Outcome {
    /// `CDFC4_FORE`, `CDFC4_BACK`, `CDFC4_FORE_OR_BOTH`, `CDFC4_BACK_OR_BOTH` (section 18.34.1).
    const DIRECTIONS: [u32; 4] = [1, 2, 3, 7];
    /// `CDFS4_FORE`, `CDFS4_BACK`, `CDFS4_BOTH` (section 18.34.1).
    const GRANTED: [u32; 3] = [1, 2, 3];
    let session = run.books.session(&id).ok_or(Status::BadSession)?;
    if !DIRECTIONS.contains(&direction) {
        return Err(Status::BadXdr.into());
    }
    let [fore, back, both] = GRANTED;
    let granted = match direction {
        // Without a back channel there is nothing to bind for it.
        2 | 3 | 7 if !session.has_back() => match direction {
            2 => return Err(Status::Inval.into()),
            _ => fore,
        },
        2 => back,
        3 | 7 => both,
        _ => fore,
    };
    if granted != fore {
        run.compound.bound = Some(session);
    }
    let mut out = run.writer();
    out.fixed(&id);
    out.words([granted, 0]);
    Ok(())
}

/// BACKCHANNEL_CTL: other terms for the callbacks of this session.
pub(super) fn back_terms(run: &mut Run<'_>, program: u32, security: Option<Security>) -> Outcome {
    let claim = run.compound.claim.as_ref();
    let session = claim.map(|claim| claim.session.clone());
    let session = session.ok_or(Status::OpNotInSession)?;
    let security = security.ok_or(Status::NoEnt)?;
    if !session.has_back() {
        return Err(Status::Inval.into());
    }
    let of = (session.id, run.compound.minor);
    session.client.with_back(|back| {
        back.open(of, (program, security));
        back.check(&session.id);
    });
    run.books.pump(&session.client);
    Ok(())
}

/// DESTROY_SESSION.
pub(super) fn destroy_session(run: &mut Run<'_>, session: [u8; SESSION_BYTES]) -> Outcome {
    let own = run.compound.claim.as_ref().map(|claim| claim.session.id);
    if own == Some(session) && !run.compound.is_last() {
        return Err(Status::NotOnlyOp.into());
    }
    match run.books.end_session(&session) {
        true => Ok(()),
        false => Err(Status::BadSession.into()),
    }
}

/// DESTROY_CLIENTID.
pub(super) fn destroy_client(run: &mut Run<'_>, id: u64) -> Outcome {
    run.must_wait()?;
    let books = run.books;
    books.clients().standing(id).ok_or(Status::StaleClientId)?;
    let holds = books.client(id).map_or(0, |client| client.holds());
    if holds > 0 || !books.sessions_of(id).is_empty() {
        return Err(Status::ClientIdBusy.into());
    }
    books.expel(id);
    Ok(())
}

/// RECLAIM_COMPLETE. With `one_fs` it speaks of a file system that has moved here, which none
/// ever does (section 18.51.3).
pub(super) fn reclaim_complete(run: &mut Run<'_>, one_fs: bool) -> Outcome {
    if one_fs {
        return match run.compound.current {
            Place::None => Err(Status::NoFileHandle.into()),
            Place::Root(_) | Place::Node(_) => Ok(()),
        };
    }
    run.must_wait()?;
    let client = run.client()?;
    run.books.complete(&client)?;
    Ok(())
}
