//! The NFS face of a node: ONC RPC, portmap, MOUNT and NFSv3 as protocol cores without I/O.

#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

pub mod rpc;
pub mod xdr;
