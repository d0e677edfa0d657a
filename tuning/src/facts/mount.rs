//! NFS mounts and block devices, as the kernel tells them.
//!
//! Governed by nfs(5) and `/proc/self/mountstats`. Not promised: what the server would allow.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::reading::Reading;

/// One NFS mount.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct NfsMount {
    /// Server and path.
    pub device: String,
    /// Where it is mounted.
    pub path: String,
    /// `nfs` or `nfs4`.
    pub kind: String,
    /// Effective options; a flag has an empty value.
    pub options: BTreeMap<String, String>,
    /// What `/etc/fstab` asks for, where it names the mount.
    pub asked_options: Option<String>,
    /// Connections in use (xprt lines).
    pub connections: u32,
    /// Source port of the first connection.
    pub source_port: Option<u16>,
    /// READ calls and their transmissions since the mount.
    pub reads: Option<(u64, u64)>,
    /// Milliseconds that READ calls took in all, since the mount.
    pub read_rtt_ms: Option<u64>,
    /// Read-ahead in KiB.
    pub readahead_kib: Reading<u64>,
    /// File that holds the read-ahead, below the root.
    pub readahead_file: Option<String>,
}

/// One block device.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiskFacts {
    /// Name below `/sys/block`.
    pub name: String,
    /// Read-ahead in KiB.
    pub readahead_kib: u64,
}
