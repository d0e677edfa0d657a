//! Clients of NFS version 4: who they are, what they have locked, and taking it all from one.
//!
//! Invariant: requests are refused with unknown keys; answers may grow.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// `GET /v1/nfs/clients`: every client that the node knows.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Clients {
    /// In the order of their ids.
    pub clients: Vec<Client>,
}

/// One client.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Client {
    /// Its id, 16 hexadecimal digits; another one after a restart of either side.
    pub id: String,
    /// What it calls itself; bytes that are no text are replaced.
    pub name: String,
    /// Where it was seen first.
    pub address: IpAddr,
    /// Seconds since it was heard of.
    pub silent_seconds: u64,
    /// Whether it was silent for longer than its lease: what it holds goes to whoever asks.
    pub expired: bool,
    /// Whether it has answered a callback: only then it is promised anything, or told of locks.
    pub reachable: bool,
    /// Its sessions.
    pub sessions: u64,
    /// Opens, lock owners and delegations together.
    pub held: u64,
}

/// `GET /v1/nfs/locks`: ranges of files that are locked.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Locks {
    /// By client and file.
    pub locks: Vec<Lock>,
    /// Whether there are more than are shown.
    pub more: bool,
}

/// One locked range.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Lock {
    /// The client's id.
    pub client: String,
    /// What the client calls itself.
    pub name: String,
    /// The volume; empty if the file is gone.
    pub volume: String,
    /// The file's inode number there: `find -inum` shows its name.
    pub file: u64,
    /// First byte.
    pub offset: u64,
    /// Bytes; left out: to the end of the file and beyond.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// Whether it is for writing, so for one owner alone.
    pub write: bool,
}

/// `POST /v1/nfs/revoke`: take everything from a client that it holds.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// Its id, as `GET /v1/nfs/clients` shows it.
    pub client: String,
}

/// What was taken.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Revoked {
    /// What the client calls itself.
    pub name: String,
    /// Opens, lock owners and delegations that it held.
    pub held: u64,
}
