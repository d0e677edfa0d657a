//! An NFS client that we did not write (the crate `nfs3_client`), connected to a node under test.
//!
//! Invariant: every conversation ends within a limit. Not promised: caching; the kernel's client in
//! the guest covers that.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nfs3_client::tokio::{TokioConnector, TokioIo};
use nfs3_client::{Nfs3Connection, Nfs3ConnectionBuilder};
use nfs3_types::nfs3::{Nfs3Result, diropargs3, filename3, nfs_fh3, nfsstat3};
use nfs3_types::rpc::{auth_unix, opaque_auth};
use tokio::net::TcpStream;

use crate::node::Node;

/// A mounted export.
pub type Connection = Nfs3Connection<TokioIo<TcpStream>>;

/// Longest conversation with a node.
const TALK_LIMIT: Duration = Duration::from_secs(60);

/// Mounts an export as a user.
///
/// # Errors
/// The node's refusal.
pub async fn mount_as(node: &Node, export: &str, (uid, gid): (u32, u32)) -> Result<Connection> {
    let user = auth_unix {
        uid,
        gid,
        ..auth_unix::default()
    };
    let port = node.nfs().port();
    let builder = Nfs3ConnectionBuilder::new(TokioConnector, "127.0.0.1", export)
        .connect_from_privileged_port(rustix::process::geteuid().is_root())
        .mount_port(port)
        .nfs3_port(port)
        .credential(opaque_auth::auth_unix(&user));
    builder
        .mount()
        .await
        .with_context(|| format!("mount of {export}"))
}

/// Mounts an export as an ordinary user.
///
/// # Errors
/// The node's refusal.
pub async fn mount(node: &Node, export: &str) -> Result<Connection> {
    mount_as(node, export, (1000, 1000)).await
}

/// What a procedure gives back.
///
/// # Errors
/// Its refusal.
pub fn ok<T, E: std::fmt::Debug>(what: &str, result: Nfs3Result<T, E>) -> Result<T> {
    match result {
        Nfs3Result::Ok(value) => Ok(value),
        Nfs3Result::Err((status, detail)) => bail!("{what}: {status:?} {detail:?}"),
    }
}

/// Demands that a procedure refuses.
///
/// # Errors
/// Fails when it does not, or with another status.
pub fn refused<T, E>(what: &str, result: Nfs3Result<T, E>, wanted: nfsstat3) -> Result<()> {
    match result {
        Nfs3Result::Ok(_) => bail!("{what} succeeded, wanted {wanted:?}"),
        Nfs3Result::Err((status, _)) => {
            ensure!(
                status as u32 == wanted as u32,
                "{what}: {status:?}, wanted {wanted:?}"
            );
            Ok(())
        }
    }
}

/// A name in a directory.
#[must_use]
pub fn at(dir: &nfs_fh3, name: &str) -> diropargs3<'static> {
    diropargs3 {
        dir: dir.clone(),
        name: filename3::from(name.as_bytes().to_vec()),
    }
}

/// Runs a conversation to its end.
///
/// # Errors
/// That of the conversation, and its taking too long.
pub fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        tokio::time::timeout(TALK_LIMIT, future)
            .await
            .context("hung")?
    })
}
