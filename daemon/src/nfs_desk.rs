//! `/v1/nfs/*`: which clients of NFSv4 there are, what they have locked, and taking it from one.
//!
//! Invariant: what belongs to whom is shown to the node's owner on this machine alone, and only
//! the owner takes it away: what a client has not written out yet may be lost to its programs.
//! Not promised: that a client which was sent away stays away; it comes back with a new id.

use serde_json::{Value, json};
use towline_api as api;
use towline_nfs::Server;
use towline_nfs::v4::Books;

/// A status of HTTP and its body.
pub(crate) type Answer = (u16, Value);

/// Answers a request below `/v1/nfs`; it blocks.
pub(crate) fn answer(nfs: &Server, path: &str, body: Option<&[u8]>, is_owner: bool) -> Answer {
    if !is_owner {
        return refused(
            403,
            "only root and the user that the node runs as may see or change that, on the node's \
             own machine",
        );
    }
    let Some(books) = nfs.books() else {
        return refused(404, "NFSv4 is off: set nfs.v4 = true to serve it");
    };
    match (path, body) {
        (api::NFS_CLIENTS, None) => shown(serde_json::to_value(clients(books))),
        (api::NFS_LOCKS, None) => shown(serde_json::to_value(locks(nfs, books))),
        (api::NFS_REVOKE, Some(body)) => revoke(books, body),
        _ => refused(404, "there is no such page: see towline nfs --help"),
    }
}

fn clients(books: &Books) -> api::nfs::Clients {
    let clients = books
        .clients_seen()
        .into_iter()
        .map(|client| api::nfs::Client {
            id: id(client.id),
            name: name(&client.owner),
            address: client.address,
            silent_seconds: client.silent_ms / 1000,
            expired: client.has_expired,
            reachable: client.is_proved,
            sessions: client.sessions as u64,
            held: client.holds as u64,
        });
    api::nfs::Clients {
        clients: clients.collect(),
    }
}

fn locks(nfs: &Server, books: &Books) -> api::nfs::Locks {
    let (locks, more) = books.locks_seen();
    let locks = locks.into_iter().map(|lock| {
        let owner = books.client(lock.client);
        let (volume, file) = nfs.file_of(&lock.handle).unwrap_or_default();
        let length = lock.span.length();
        api::nfs::Lock {
            client: id(lock.client),
            name: owner.map_or_else(String::new, |client| name(&client.owner)),
            volume,
            file,
            offset: lock.span.first,
            length: (length != u64::MAX).then_some(length),
            write: lock.is_write,
        }
    });
    let locks = locks.collect();
    api::nfs::Locks { locks, more }
}

fn revoke(books: &Books, body: &[u8]) -> Answer {
    let asked: api::nfs::Revoke = match serde_json::from_slice(body) {
        Ok(asked) => asked,
        Err(error) => return refused(400, &format!("the request is not understood: {error}")),
    };
    let known = u64::from_str_radix(&asked.client, 16).ok();
    match known.and_then(|known| books.revoke(known)) {
        Some(client) => {
            tracing::info!(peer = %client.address, "a client of NFSv4 was sent away");
            shown(serde_json::to_value(api::nfs::Revoked {
                name: name(&client.owner),
                held: client.holds as u64,
            }))
        }
        None => refused(
            404,
            &format!(
                "no client has the id '{}': see towline nfs clients",
                asked.client
            ),
        ),
    }
}

fn id(number: u64) -> String {
    format!("{number:016x}")
}

fn name(owner: &[u8]) -> String {
    String::from_utf8_lossy(owner).into_owned()
}

fn shown(value: serde_json::Result<Value>) -> Answer {
    match value {
        Ok(value) => (200, value),
        Err(error) => refused(500, &error.to_string()),
    }
}

fn refused(code: u16, why: &str) -> Answer {
    (code, json!(api::Fault::new("usage", why)))
}
