//! Finding the file handles a load works on: MNT, then LOOKUP (RFC 1813 sections 5.2.1, 3.3.3).
//!
//! Invariant: handles are copied from replies, never made up. Not promised: any other procedure;
//! the whole-system tests use a client we did not write for those.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};

use towline_bench::rpc::{CallWriter, Caller, MOUNT, NFS, Reader, connect_reserved, exchange};

/// Where one server's NFS and MOUNT programs are.
#[derive(Clone, Copy, Debug)]
pub struct Endpoint {
    /// NFS version 3 over TCP.
    pub nfs: SocketAddr,
    /// MOUNT version 3 over TCP; the same as `nfs` on towline.
    pub mount: SocketAddr,
}

/// Mounts `export` and returns its root handle.
///
/// # Errors
/// Fails when the server refuses the mount.
pub fn mount(endpoint: Endpoint, export: &str, caller: Caller) -> Result<Vec<u8>> {
    let mut stream = connect_reserved(endpoint.mount)?;
    let mut call = CallWriter::new();
    call.begin(1, MOUNT, 1, caller);
    call.opaque(export.as_bytes());
    call.end(0);
    let reply = exchange(&mut stream, &call.take()).context("MNT")?;
    let mut reader = Reader(&reply);
    let status = reader.number()?;
    ensure!(status == 0, "MNT of {export} answered status {status}");
    Ok(reader.opaque()?.to_vec())
}

/// Looks `name` up in `directory`.
///
/// # Errors
/// Fails when the server does not find it.
pub fn lookup(endpoint: Endpoint, directory: &[u8], name: &str, caller: Caller) -> Result<Vec<u8>> {
    let mut stream = connect_reserved(endpoint.nfs)?;
    let mut call = CallWriter::new();
    call.begin(2, NFS, 3, caller);
    call.opaque(directory);
    call.opaque(name.as_bytes());
    call.end(0);
    let reply = exchange(&mut stream, &call.take()).context("LOOKUP")?;
    let mut reader = Reader(&reply);
    let status = reader.number()?;
    ensure!(status == 0, "LOOKUP of {name} answered status {status}");
    Ok(reader.opaque()?.to_vec())
}
