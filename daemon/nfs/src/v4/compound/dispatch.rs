//! Which function carries out an operation, and what must hold before it does.
//!
//! Invariant: every operation stands in a session, or alone (RFC 8881 section 2.10.6.4); one that
//! its minor version knows and that is not done here is NOTSUPP and never OP_ILLEGAL.

use super::super::args::Args;
use super::super::operation::Operation;
use super::super::{
    Status, change, copy, directory, inspect, lock, open, place, read, sessions, sparse, stateids,
    write, xattr,
};
use super::{Halt, Outcome, Run};
use crate::xdr::Reader;

/// Bytes of the longest results of an operation without lists and data: SEQUENCE has 36, the
/// attributes of a node more ([`super::super::attributes::BYTES_MAX`]).
const RESULTS_BYTES_USUAL: usize = 64;

impl Run<'_> {
    /// Carries out one operation; `None`: its number is none of this minor version.
    pub(super) fn operation(
        &mut self,
        operation: Option<Operation>,
        message: &[u8],
        reader: &mut Reader<'_>,
    ) -> Outcome {
        let is_first = self.compound.begun == 1;
        let Some(operation) = operation else {
            return Err(Status::OpIllegal.into());
        };
        if self.compound.is_uncached {
            return Err(Status::RetryUncachedRep.into());
        }
        if is_first && operation != Operation::Sequence {
            self.stands_alone(operation)?;
        }
        if !is_first && operation == Operation::Sequence {
            return Err(Status::SequencePos.into());
        }
        self.room_for(bytes_max(operation))?;
        let args = Args::parse(operation, reader)?;
        match operation {
            Operation::Sequence
            | Operation::ExchangeId
            | Operation::CreateSession
            | Operation::BackChannelCtl
            | Operation::BindConnToSession
            | Operation::DestroySession
            | Operation::DestroyClientId
            | Operation::ReclaimComplete => self.on_session(args, message),
            Operation::PutFh
            | Operation::PutRootFh
            | Operation::PutPubFh
            | Operation::GetFh
            | Operation::SaveFh
            | Operation::RestoreFh
            | Operation::Lookup
            | Operation::LookupP
            | Operation::SecInfo
            | Operation::SecInfoNoName => self.on_place(operation, args),
            other => self.on_node(other, args),
        }
    }

    /// Operations outside of a session stand alone.
    fn stands_alone(&self, operation: Operation) -> Result<(), Status> {
        let is_free = matches!(
            operation,
            Operation::ExchangeId
                | Operation::CreateSession
                | Operation::BindConnToSession
                | Operation::DestroySession
                | Operation::DestroyClientId
        );
        match (is_free, self.compound.total) {
            (false, _) => Err(Status::OpNotInSession),
            (true, 1) => Ok(()),
            (true, _) => Err(Status::NotOnlyOp),
        }
    }

    fn on_session(&mut self, args: Args<'_>, message: &[u8]) -> Outcome {
        match args {
            Args::Sequence(args) => sessions::sequence(self, args, message),
            Args::ExchangeId(args) => sessions::exchange_id(self, &args),
            Args::CreateSession(args) => sessions::create_session(self, &args),
            Args::BindConnToSession { session, direction } => {
                sessions::bind_connection(self, session, direction)
            }
            Args::BackChannelCtl { program, security } => {
                sessions::back_terms(self, program, security)
            }
            Args::DestroySession { session } => sessions::destroy_session(self, session),
            Args::DestroyClientId { client } => sessions::destroy_client(self, client),
            Args::ReclaimComplete { one_fs } => sessions::reclaim_complete(self, one_fs),
            _ => Err(Status::NotSupp.into()),
        }
    }

    fn on_place(&mut self, operation: Operation, args: Args<'_>) -> Outcome {
        match (operation, args) {
            (_, Args::PutFh { handle }) => place::put_handle(self, &handle),
            (Operation::PutRootFh | Operation::PutPubFh, _) => place::put_root(self),
            (Operation::GetFh, _) => place::get_handle(self),
            (Operation::SaveFh, _) => place::save(self),
            (Operation::RestoreFh, _) => place::restore(self),
            (Operation::Lookup, Args::Name { name }) => place::lookup(self, name),
            (Operation::LookupP, _) => place::parent(self),
            (Operation::SecInfo, Args::Name { name }) => place::security(self, name),
            (_, Args::SecInfoNoName { of_parent }) => place::security_here(self, of_parent),
            _ => Err(Status::NotSupp.into()),
        }
    }

    fn on_node(&mut self, operation: Operation, args: Args<'_>) -> Outcome {
        match args {
            Args::GetAttr { asked } => inspect::getattr(self, &asked),
            Args::Access { asked } => inspect::access(self, asked),
            Args::Verify { asked, values } => {
                inspect::verify(self, &asked, values, operation == Operation::Verify)
            }
            Args::None => inspect::readlink(self),
            Args::ReadDir {
                cookie,
                verifier,
                dir_count,
                max_count,
                asked,
            } => directory::readdir(self, (cookie, verifier), (dir_count, max_count), &asked),
            Args::Read {
                stateid,
                offset,
                count,
            } => read::read(self, stateid, offset, count),
            Args::Open(args) => open::open(self, &args),
            Args::Close { stateid } => open::close(self, stateid),
            Args::OpenDowngrade {
                stateid,
                access,
                deny,
            } => open::downgrade(self, stateid, access, deny),
            Args::Commit { offset, count } => write::commit(self, offset, count),
            Args::Write { head, data } => write::write(self, &head, data),
            Args::Create {
                kind,
                name,
                settings,
            } => change::create(self, &kind, name, &settings),
            Args::Name { name } if operation == Operation::Remove => change::remove(self, name),
            Args::Name { name } => change::link(self, name),
            Args::Rename { from, to } => change::rename(self, from, to),
            Args::SetAttr { stateid, settings } => change::setattr(self, stateid, &settings),
            Args::Seek {
                stateid,
                offset,
                what,
            } => sparse::seek(self, stateid, offset, what),
            Args::Allocate {
                stateid,
                offset,
                length,
            } => {
                let wanted = operation == Operation::Allocate;
                sparse::allocate(self, stateid, (offset, length), wanted)
            }
            Args::Copy(args) if operation == Operation::Copy => copy::copy(self, &args),
            Args::Copy(args) => copy::clone(self, &args),
            Args::Xattr(args) => xattr::xattr(self, &args),
            Args::Lock(args) => lock::lock(self, &args),
            Args::LockTest(args) => lock::test(self, &args),
            Args::Unlock(args) => lock::unlock(self, &args),
            Args::TestStateId { count, list } => stateids::test(self, count, list),
            Args::DelegReturn { stateid } => stateids::give_back(self, stateid),
            Args::FreeStateId { stateid } => stateids::free(self, stateid),
            _ => Err(Halt::Failed(Status::NotSupp)),
        }
    }
}

/// Bytes that the results of an operation take at most, lists and data aside.
fn bytes_max(operation: Operation) -> usize {
    let results = match operation {
        Operation::GetAttr => super::super::attributes::BYTES_MAX,
        Operation::ExchangeId => 128,
        Operation::CreateSession => 96,
        Operation::Open => 256,
        Operation::GetFh => 4 + towline_volume::handle::HANDLE_BYTES_MAX,
        _ => RESULTS_BYTES_USUAL,
    };
    match operation {
        // The bound is not known before the session is.
        Operation::Sequence => 0,
        _ => results,
    }
}
