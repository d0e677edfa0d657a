//! Which program, version and procedure a call is for (RFC 5531 section 9).
//!
//! A connection speaks a set of programs; everything else is refused quietly, so that NFSACL
//! (100227) and other side programs cost nothing. Where version 4 is switched off, its clients
//! are told at once that there is only version 3, and fall back without waiting. Invariant: what
//! comes out exists.

use crate::rpc::Call;
use crate::rpc::reply::Accept;
use crate::{mount, portmap, v3, v4};

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
    V3(v3::Procedure),
    /// NFS version 4.
    V4(v4::Procedure),
    /// MOUNT, with its version.
    Mount(mount::Procedure, u32),
    /// Portmap or rpcbind, with its version.
    Portmap(portmap::Procedure, u32),
}

/// Finds the way for a call.
pub(crate) fn route(
    (programs, serves_v4): (Programs, bool),
    call: &Call<'_>,
) -> Result<Route, Accept> {
    let missing = Accept::ProcedureUnavailable;
    let number = call.procedure;
    match (programs, call.program) {
        (Programs::Nfs, v3::PROGRAM) => {
            let newest = if serves_v4 { v4::VERSION } else { v3::VERSION };
            check_version(call, v3::VERSION, newest)?;
            let found = match call.version {
                v3::VERSION => v3::Procedure::from_number(number).map(Route::V3),
                _ => v4::Procedure::from_number(number).map(Route::V4),
            };
            found.ok_or(missing)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::call::{CALL, RPC_VERSION};
    use crate::xdr::Writer;

    #[test]
    fn clients_of_version_4_fall_back_at_once_where_it_is_off() {
        let mut message = Vec::new();
        let words = [
            1,
            CALL,
            RPC_VERSION,
            v3::PROGRAM,
            v4::VERSION,
            0,
            0,
            0,
            0,
            0,
        ];
        Writer::new(&mut message).words(words);
        let call = Call::parse(&message).unwrap();
        let off = route((Programs::Nfs, false), &call);
        assert_eq!(off, Err(Accept::ProgramMismatch { low: 3, high: 3 }));
        let on = route((Programs::Nfs, true), &call);
        assert_eq!(on, Ok(Route::V4(v4::Procedure::Null)));
    }
}
