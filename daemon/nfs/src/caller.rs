//! Who calls: the address that a call came from, and what the caller claims to be.
//!
//! The address opens an export, the claim never does (threat N10). Invariant: both belong to the
//! same call. Not promised: that the claim is true; see [`crate::rpc::auth`].

use std::net::IpAddr;

use crate::rpc::Credential;

/// Who calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) address: IpAddr,
    pub(crate) credential: Credential,
}
