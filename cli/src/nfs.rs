//! `towline nfs`: which clients of NFSv4 there are, what they have locked, and taking it from one.
//!
//! Invariant: looking changes nothing. Not promised: that what was shown is still so a moment
//! later, or that a client which was sent away does not come back with a new id.

use clap::{Args, Subcommand};
use towline_api as api;

use crate::failure::Failure;
use crate::options::NodeUrl;
use crate::{client, output, table};

pub(crate) const CLIENTS_EXAMPLES: &str = "\
Examples:
  towline nfs clients           who has mounted something by NFSv4
  towline nfs clients --json    the same for programs

Only root and the user that the node runs as may ask, on the node's own machine.

Exit codes: 0 done, 64 usage, 65 refused, 69 no node.";

pub(crate) const LOCKS_EXAMPLES: &str = "\
Examples:
  towline nfs locks             who has locked which bytes of which file
  find /srv/projects -inum 4711 the name of the file that 'locks' calls 4711

Only root and the user that the node runs as may ask, on the node's own machine.

Exit codes: 0 done, 64 usage, 65 refused, 69 no node.";

pub(crate) const REVOKE_EXAMPLES: &str = "\
Examples:
  towline nfs revoke 0000000700000002    the id is what 'towline nfs clients' shows

All that this client has open or locked is taken away, so others get it at once. Use it for a
client that hangs: programs on one that lives see errors for files that they have open or locked.

Exit codes: 0 done, 64 usage, 65 refused or no such client, 69 no node.";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum NfsVerb {
    /// Show the clients of NFSv4.
    #[command(after_help = CLIENTS_EXAMPLES)]
    Clients(Look),
    /// Show what clients of NFSv4 have locked.
    #[command(after_help = LOCKS_EXAMPLES)]
    Locks(Look),
    /// Take everything from a client of NFSv4 that it holds.
    #[command(after_help = REVOKE_EXAMPLES)]
    Revoke {
        #[command(flatten)]
        look: Look,
        /// The client's id.
        client: String,
    },
}

/// Whom to ask, and how to show it.
#[derive(Args, Debug)]
pub(crate) struct Look {
    #[command(flatten)]
    node: NodeUrl,
    /// Print what the node said as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(verb: &NfsVerb) -> Result<(), Failure> {
    match verb {
        NfsVerb::Clients(look) => {
            let found: api::nfs::Clients = client::get(&look.node, api::NFS_CLIENTS)?;
            show(look, &found, describe_clients)
        }
        NfsVerb::Locks(look) => {
            let found: api::nfs::Locks = client::get(&look.node, api::NFS_LOCKS)?;
            show(look, &found, describe_locks)
        }
        NfsVerb::Revoke { look, client } => {
            let request = api::nfs::Revoke {
                client: client.clone(),
            };
            let done: api::nfs::Revoked = client::post(&look.node, api::NFS_REVOKE, &request)?;
            show(look, &done, |done| {
                format!(
                    "taken from {}: {} opens and locks\n",
                    shown(&done.name),
                    done.held
                )
            })
        }
    }
}

fn show<T: serde::Serialize>(
    look: &Look,
    value: &T,
    describe: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    if look.json {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| Failure::Internal(error.to_string()))?;
        return output::print(&format!("{text}\n"));
    }
    output::print(&describe(value))
}

fn describe_clients(found: &api::nfs::Clients) -> String {
    if found.clients.is_empty() {
        return "no client speaks NFSv4 with this node\n".to_owned();
    }
    let rows: Vec<Vec<String>> = found
        .clients
        .iter()
        .map(|client| {
            let state = match (client.expired, client.reachable) {
                (true, _) => "expired",
                (false, true) => "reachable",
                (false, false) => "not called back",
            };
            vec![
                client.id.clone(),
                client.address.to_string(),
                client.held.to_string(),
                format!("{} s", client.silent_seconds),
                state.to_owned(),
                shown(&client.name),
            ]
        })
        .collect();
    let head = ["CLIENT", "ADDRESS", "HOLDS", "SILENT", "STATE", "NAME"];
    table::layout(&head, &rows)
}

fn describe_locks(found: &api::nfs::Locks) -> String {
    if found.locks.is_empty() {
        return "nothing is locked by NFSv4\n".to_owned();
    }
    let rows: Vec<Vec<String>> = found
        .locks
        .iter()
        .map(|lock| {
            let end = lock.length.map_or_else(
                || "end".to_owned(),
                |length| lock.offset.saturating_add(length - 1).to_string(),
            );
            vec![
                lock.volume.clone(),
                lock.file.to_string(),
                format!("{}-{end}", lock.offset),
                if lock.write { "write" } else { "read" }.to_owned(),
                lock.client.clone(),
                shown(&lock.name),
            ]
        })
        .collect();
    let head = ["VOLUME", "FILE", "BYTES", "KIND", "CLIENT", "NAME"];
    let mut text = table::layout(&head, &rows);
    if found.more {
        text.push_str("and more\n");
    }
    text
}

/// A client's own word for itself, without what a terminal might obey.
fn shown(name: &str) -> String {
    name.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_and_locks_are_shown_without_what_a_terminal_obeys() {
        let client = api::nfs::Client {
            id: "0000000700000002".to_owned(),
            name: "Linux NFSv4.2 one\u{1b}[2J".to_owned(),
            address: "10.0.0.1".parse().unwrap(),
            silent_seconds: 3,
            expired: false,
            reachable: true,
            sessions: 1,
            held: 2,
        };
        let clients = vec![client];
        let text = describe_clients(&api::nfs::Clients { clients });
        assert!(text.contains("reachable") && text.contains("0000000700000002"));
        assert!(!text.contains('\u{1b}'));
        let lock = api::nfs::Lock {
            client: "1".to_owned(),
            name: String::new(),
            volume: "projects".to_owned(),
            file: 7,
            offset: 10,
            length: Some(5),
            write: true,
        };
        let open = api::nfs::Lock {
            length: None,
            ..lock.clone()
        };
        let text = describe_locks(&api::nfs::Locks {
            locks: vec![lock, open],
            more: true,
        });
        assert!(text.contains("10-14") && text.contains("10-end") && text.contains("and more"));
    }
}
