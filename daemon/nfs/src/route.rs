//! Which program, version and procedure a call is for (RFC 5531 section 9).
//!
//! A connection speaks a set of programs; everything else is refused quietly, so that NFSACL
//! (100227) and other side programs cost nothing. NFS version 4 is told at once that there is
//! only version 3: clients fall back without waiting. Invariant: what comes out exists.

use crate::rpc::Call;
use crate::rpc::reply::Accept;
use crate::v3::{self, Procedure};
use crate::{mount, portmap};

/// The programs of one port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Programs {
    /// NFS and MOUNT, over TCP.
    Nfs,
    /// Portmap and rpcbind, over TCP.
    Portmap,
    /// MOUNT and portmap, over UDP.
    Datagram,
}

/// Where a call goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Route {
    /// NFS version 3.
    V3(Procedure),
    /// MOUNT, with its version.
    Mount(mount::Procedure, u32),
    /// Portmap or rpcbind, with its version.
    Portmap(portmap::Procedure, u32),
}

/// Finds the way for a call.
pub(crate) fn route(programs: Programs, call: &Call<'_>) -> Result<Route, Accept> {
    let missing = Accept::ProcedureUnavailable;
    let number = call.procedure;
    match (programs, call.program) {
        (Programs::Nfs, v3::PROGRAM) => {
            check_version(call, v3::VERSION, v3::VERSION)?;
            Procedure::from_number(number).map(Route::V3).ok_or(missing)
        }
        (Programs::Nfs | Programs::Datagram, mount::PROGRAM) => {
            check_version(call, mount::VERSION_MIN, mount::VERSION_MAX)?;
            let procedure = mount::Procedure::from_number(number).ok_or(missing)?;
            Ok(Route::Mount(procedure, call.version))
        }
        (Programs::Portmap | Programs::Datagram, portmap::PROGRAM) => {
            check_version(call, portmap::VERSION_MIN, portmap::VERSION_MAX)?;
            let procedure = portmap::Procedure::from_number(call.version, number);
            Ok(Route::Portmap(procedure.ok_or(missing)?, call.version))
        }
        (Programs::Nfs | Programs::Portmap | Programs::Datagram, _) => {
            Err(Accept::ProgramUnavailable)
        }
    }
}

fn check_version(call: &Call<'_>, low: u32, high: u32) -> Result<(), Accept> {
    match (low..=high).contains(&call.version) {
        true => Ok(()),
        false => Err(Accept::ProgramMismatch { low, high }),
    }
}
