//! What a node says of itself at `GET /v1/status`.
//!
//! Invariant: fields are only added, never renamed or removed, while the path says `v1`; a
//! client ignores what it does not know. Secrets have no place here.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A running node.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Status {
    /// The node's name.
    pub node: String,
    /// Version of the daemon.
    pub version: String,
    /// Readiness engine in use: `uring` or `portable`.
    pub engine: String,
    /// Worker threads.
    pub workers: u32,
    /// When the node started, in seconds since 1970-01-01 UTC.
    pub started: u64,
    /// Whether root runs it: callers then act with their own uid.
    pub runs_as_root: bool,
    /// The uid that the node runs as.
    #[serde(default)]
    pub uid: u32,
    /// Port 111 of the host leads to the node, by its own portmapper or the host's: what Windows
    /// needs.
    #[serde(default)]
    pub portmap: bool,
    /// What is listened on.
    pub listeners: Vec<Listener>,
    /// Where `towline tune check --peer` is answered, TCP and UDP.
    #[serde(default)]
    pub tune: Vec<SocketAddr>,
    /// The volumes that the asking address may know of.
    pub volumes: Vec<Volume>,
    /// Files of models that were uploaded and are not published; where there is a store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploads: Option<Uploads>,
    /// What clients of NFSv4 hold; where that is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nfs4: Option<Nfs4>,
    /// What an operator should know, in sentences.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// What clients of NFS version 4 hold.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Nfs4 {
    /// Clients that are known.
    pub clients: u64,
    /// Their sessions.
    pub sessions: u64,
    /// Files that they have open.
    pub opens: u64,
    /// Owners that have locked, or have had locked, part of a file that they have open.
    pub lock_owners: u64,
    /// Delegations.
    pub delegations: u64,
}

/// Room that uploads take before they are published.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Uploads {
    /// Bytes that lie there.
    pub bytes: u64,
    /// Bytes promised to uploads under way.
    pub promised: u64,
    /// Most bytes of both together.
    pub bytes_max: u64,
}

/// One listening socket.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Listener {
    /// What is spoken there.
    pub protocol: ListenerProtocol,
    /// Address and port.
    pub address: SocketAddr,
}

/// What is spoken on a socket.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ListenerProtocol {
    /// HTTP: files and the API.
    Http,
    /// The same over TLS.
    Https,
    /// Read-only S3.
    S3,
    /// The hub, on a port of its own.
    Hub,
    /// NFS version 3 and MOUNT.
    Nfs,
    /// Portmapper and rpcbind.
    Portmap,
    /// Link measurements.
    Iperf3,
}

/// One volume.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Volume {
    /// Name: the NFS export is `/name`, the HTTP folder `/files/name/`.
    pub name: String,
    /// `model`, `project` or `cache`.
    pub kind: String,
    /// Directory on the node.
    pub path: PathBuf,
    /// No writing at all.
    pub read_only: bool,
    /// Ranges of addresses that may read.
    pub allow: Vec<String>,
    /// Ranges of addresses that may write.
    pub allow_write: Vec<String>,
    /// `root`, `all` or `none`.
    pub squash: String,
    /// The anonymous user.
    pub anonymous: Anonymous,
    /// HTTP asks for a bearer token.
    #[serde(default)]
    pub needs_token: bool,
}

/// Whom squashed callers act as.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Anonymous {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}
