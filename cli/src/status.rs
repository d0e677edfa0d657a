//! `towline status`: what a running node serves, where and to whom.
//!
//! `towline up` prints the same words once its node is ready, so both always agree.

use towline_api::status::{ListenerProtocol, Status, Volume};

use crate::bar::size;
use crate::failure::Failure;
use crate::options::NodeUrl;
use crate::{client, output, table};

pub(crate) const EXAMPLES: &str = "\
Examples:
  towline status
  towline status --json | jq '.volumes[].name'
  towline status --node http://10.0.0.1:8420

Exit codes: 0 the node answered, 64 usage, 69 it did not answer.";

pub(crate) fn run(node: &NodeUrl, json: bool) -> Result<(), Failure> {
    let status = client::status(node)?;
    if !json {
        return output::print(&describe(&status));
    }
    let text = serde_json::to_string_pretty(&status)
        .map_err(|error| Failure::Internal(error.to_string()))?;
    output::print(&format!("{text}\n"))
}

/// The node in words and two tables.
pub(crate) fn describe(status: &Status) -> String {
    let Status {
        node,
        version,
        engine,
        workers,
        ..
    } = status;
    let identity = if status.runs_as_root {
        "callers act with their own uid".to_owned()
    } else {
        format!("every caller acts as uid {}", status.uid)
    };
    let mut text =
        format!("node {node}, towline {version}, {workers} workers ({engine}), {identity}\n\n");
    let mut listeners: Vec<Vec<String>> = status
        .listeners
        .iter()
        .map(|listener| {
            let protocol = match listener.protocol {
                ListenerProtocol::Http => "http",
                ListenerProtocol::Https => "https",
                ListenerProtocol::S3 => "s3",
                ListenerProtocol::Hub => "hub",
                ListenerProtocol::Nfs => "nfs",
                ListenerProtocol::Portmap => "portmap",
                ListenerProtocol::Iperf3 => "iperf3",
            };
            vec![protocol.to_owned(), listener.address.to_string()]
        })
        .collect();
    let peers = status.tune.iter().map(ToString::to_string);
    listeners.extend(peers.map(|address| vec!["tune".to_owned(), address]));
    text.push_str(&table::layout(&["PROTOCOL", "ADDRESS"], &listeners));
    text.push('\n');
    let volumes: Vec<Vec<String>> = status.volumes.iter().map(row).collect();
    let head = ["VOLUME", "KIND", "READ", "WRITE", "SQUASH", "PATH"];
    text.push_str(&table::layout(&head, &volumes));
    if let Some(uploads) = status.uploads.filter(|uploads| uploads.bytes > 0) {
        text.push_str(&format!(
            "\nuploads that are not published: {} of at most {}\n",
            size(uploads.bytes),
            size(uploads.bytes_max)
        ));
    }
    if let Some(held) = status.nfs4.filter(|held| held.clients > 0) {
        text.push_str(&format!(
            "\nnfs 4: {} clients, {} sessions, {} opens, {} lock owners, {} delegations\n",
            held.clients, held.sessions, held.opens, held.lock_owners, held.delegations
        ));
    }
    for note in &status.notes {
        text.push_str(&format!("\nnote: {note}\n"));
    }
    text
}

fn row(volume: &Volume) -> Vec<String> {
    let mut read = volume.allow.clone();
    if !volume.read_only {
        let more = volume.allow_write.iter();
        read.extend(more.filter(|net| !volume.allow.contains(net)).cloned());
    }
    let write = if volume.read_only {
        "nobody".to_owned()
    } else {
        who(&volume.allow_write)
    };
    let token = if volume.needs_token { " +token" } else { "" };
    vec![
        volume.name.clone(),
        volume.kind.clone(),
        format!("{}{token}", who(&read)),
        write,
        volume.squash.clone(),
        volume.path.display().to_string(),
    ]
}

/// Ranges of addresses in the words that people use for them.
fn who(nets: &[String]) -> String {
    let (local, others): (Vec<&str>, Vec<&str>) = nets
        .iter()
        .map(String::as_str)
        .partition(|net| matches!(*net, "127.0.0.0/8" | "::1/128"));
    let mut words = others;
    if !local.is_empty() {
        words.insert(0, "this host");
    }
    if words.contains(&"0.0.0.0/0") {
        return "anybody".to_owned();
    }
    if words.is_empty() {
        return "nobody".to_owned();
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn ranges_are_told_in_words() {
        let who = |nets: &[&str]| {
            let nets: Vec<String> = nets.iter().map(|net| (*net).to_owned()).collect();
            super::who(&nets)
        };
        assert_eq!(who(&["127.0.0.0/8", "::1/128"]), "this host");
        assert_eq!(
            who(&["127.0.0.0/8", "10.0.0.0/24"]),
            "this host, 10.0.0.0/24"
        );
        assert_eq!(who(&["0.0.0.0/0", "::/0"]), "anybody");
        assert_eq!(who(&[]), "nobody");
    }
}
