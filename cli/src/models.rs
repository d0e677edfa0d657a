//! `towline models`: what models there are, their tags, pins and files.
//!
//! Everything is asked of the node. What changes something it refuses to everybody but its owner
//! and holders of a token that may publish the model; private models it shows to tokens for them.
//! Invariant: a name that stands in a table can be typed back as it is.

mod keys;

use clap::{Args, Subcommand};
use towline_api as api;

use crate::bar::size;
use crate::failure::Failure;
use crate::options::{NodeToken, NodeUrl};
use crate::push::name_and_tag;
use crate::{client, output, table, task};

pub(crate) const EXAMPLES: &str = "\
Examples:
  towline models
  towline models show acme/tiny-llama
  towline models tag acme/tiny-llama:main v2      v2 points to what main points to
  towline models du
  towline models pin acme/tiny-llama:v2
  towline models rm acme/tiny-llama:v1
  towline models keygen ~/.config/towline/key     a key that signs, and the line that trusts it
  towline models task 3                           go on watching a push or pull
  towline models sign acme/tiny-llama:v2          the node's key gives its word
  TOWLINE_TOKEN=... towline models --node http://10.0.0.1:8420

From another machine a token of the node's [[models.tokens]] is needed for private models;
one that publishes may tag, untag, pin, unpin, sign and rm what its prefix covers. gc,
verify and pull are for the node's owner on its own machine.

Exit codes: 0 done, 64 usage, 65 refused, 69 no node, 74 storage, 130 interrupted.";

/// Which models, and what to do with them.
#[derive(Args, Debug)]
pub(crate) struct Models {
    #[command(flatten)]
    node: NodeUrl,
    #[command(flatten)]
    token: NodeToken,
    /// Print what the node said as JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Every model with its tags; the default.
    List,
    /// One model: its revisions and the files of one of them.
    Show {
        /// ORG/MODEL or ORG/MODEL:TAG.
        name: String,
    },
    /// Room on the disk: of every revision, shared and its own.
    Du,
    /// Let a tag point to a revision.
    Tag {
        /// ORG/MODEL:TAG or ORG/MODEL:REVISION.
        name: String,
        /// The tag to set.
        tag: String,
    },
    /// Take a tag away; its revision stays.
    Untag {
        /// ORG/MODEL:TAG.
        name: String,
    },
    /// Keep a revision whatever happens.
    Pin {
        /// ORG/MODEL or ORG/MODEL:TAG.
        name: String,
    },
    /// Let a revision go again.
    Unpin {
        /// ORG/MODEL or ORG/MODEL:TAG.
        name: String,
    },
    /// Remove a revision and the tags that point to it.
    Rm {
        /// ORG/MODEL:TAG or ORG/MODEL:REVISION.
        name: String,
    },
    /// Give a key's word for a revision that is there.
    Sign {
        /// ORG/MODEL or ORG/MODEL:TAG.
        name: String,
        /// Sign with the key in this file; the node's own key signs if left out.
        #[arg(long, value_name = "FILE")]
        sign_key: Option<std::path::PathBuf>,
    },
    /// Watch a push, pull or verify that the node is at, to its end.
    Task {
        /// Its number, which the command said that was interrupted.
        number: u64,
    },
    /// Make a key that signs models, readable by you alone.
    Keygen {
        /// The file, which must not be there yet.
        file: std::path::PathBuf,
        /// What operators call the key, such as your name.
        #[arg(long, value_name = "TEXT", default_value = "")]
        name: String,
    },
}

pub(crate) fn run(models: &Models) -> Result<(), Failure> {
    let Models {
        json, verb, token, ..
    } = models;
    if let Some(Verb::Keygen { file, name }) = verb {
        return keys::make(file, name, *json);
    }
    let node = &models.node.with(token)?;
    match verb {
        None | Some(Verb::List) => {
            let list: api::Models = client::get(node, "/v1/models")?;
            print(&list, *json, || describe_all(&list))
        }
        Some(Verb::Show { name }) => {
            let (name, revision) = name_and_tag(name);
            let model: api::Model = client::get(node, &format!("/v1/models/{name}"))?;
            print(&model, *json, || {
                describe(&model, revision.unwrap_or("main"))
            })
        }
        Some(Verb::Du) => {
            let usage: api::Usage = client::get(node, "/v1/models/usage")?;
            print(&usage, *json, || describe_usage(&usage))
        }
        Some(Verb::Tag { name, tag }) => change((node, *json), "tag", name, Some(tag)),
        Some(Verb::Untag { name }) => {
            let (bare, tag) = name_and_tag(name);
            let tag = tag.ok_or_else(|| Failure::usage("name the tag: ORG/MODEL:TAG"))?;
            change((node, *json), "untag", bare, Some(tag))
        }
        Some(Verb::Pin { name }) => change((node, *json), "pin", name, None),
        Some(Verb::Unpin { name }) => change((node, *json), "unpin", name, None),
        Some(Verb::Rm { name }) => {
            if name_and_tag(name).1.is_none() {
                let why = "name what to remove: ORG/MODEL:TAG or ORG/MODEL:REVISION";
                return Err(Failure::usage(why));
            }
            change((node, *json), "remove", name, None)
        }
        Some(Verb::Task { number }) => {
            let result = task::follow(node, task::find(node, *number)?)?;
            if *json {
                return output::json(&result);
            }
            output::print(&format!("task {number} is done\n"))
        }
        Some(Verb::Sign { name, sign_key }) => keys::sign(node, name, sign_key.as_deref(), *json),
        Some(Verb::Keygen { .. }) => Ok(()),
    }
}

fn change(
    (node, json): (&NodeUrl, bool),
    verb: &str,
    name: &str,
    tag: Option<&str>,
) -> Result<(), Failure> {
    let (bare, revision) = name_and_tag(name);
    let request = api::Target {
        name: bare.to_owned(),
        revision: revision.map(str::to_owned),
        tag: tag.map(str::to_owned),
    };
    let _: serde_json::Value = client::post(node, &format!("/v1/models/{verb}"), &request)?;
    if json {
        return output::print("{}\n");
    }
    let tag = tag.map(|tag| format!(" {tag}")).unwrap_or_default();
    output::print(&format!("{verb} {name}{tag}: done\n"))
}

fn print<T: serde::Serialize>(
    value: &T,
    json: bool,
    text: impl FnOnce() -> String,
) -> Result<(), Failure> {
    if !json {
        return output::print(&text());
    }
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::Internal(error.to_string()))?;
    output::print(&format!("{text}\n"))
}

fn describe_all(list: &api::Models) -> String {
    if list.models.is_empty() {
        return "no models yet: towline push DIR ORG/MODEL publishes one\n".to_owned();
    }
    let rows = list.models.iter().flat_map(|model| {
        model.revisions.iter().map(|revision| {
            vec![
                model.name.clone(),
                kind(&model.name).to_owned(),
                tags(revision),
                short(&revision.revision),
                revision.files.to_string(),
                size(revision.bytes),
                remarks(model, revision),
            ]
        })
    });
    let rows: Vec<Vec<String>> = rows.collect();
    table::layout(
        &["MODEL", "TYPE", "TAGS", "REVISION", "FILES", "SIZE", ""],
        &rows,
    )
}

fn describe(model: &api::Model, wanted: &str) -> String {
    let rows = model.revisions.iter().map(|revision| {
        vec![
            revision.revision.clone(),
            tags(revision),
            size(revision.bytes),
            signers(revision),
            revision.message.clone(),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let private = if model.private { " (private)" } else { "" };
    let mut text = format!("{}{private}\n\n", model.name);
    text.push_str(&table::layout(
        &["REVISION", "TAGS", "SIZE", "SIGNED BY", "MESSAGE"],
        &rows,
    ));
    if model.revisions.iter().any(|revision| revision.refused) {
        text.push_str(&format!(
            "\n'not served': no key that the node trusts has signed it, and the node requires \
             that; sign it with\n  towline models sign {}:REVISION\n",
            model.name
        ));
    }
    let named = |revision: &&api::Revision| {
        revision.revision.starts_with(wanted) || revision.tags.iter().any(|tag| tag == wanted)
    };
    if let Some(revision) = model.revisions.iter().find(named) {
        let files = revision.contents.iter();
        let rows = files.map(|file| vec![file.path.clone(), size(file.size), short(&file.etag)]);
        let rows: Vec<Vec<String>> = rows.collect();
        text.push_str(&format!("\nfiles of {wanted}\n"));
        text.push_str(&table::layout(&["PATH", "SIZE", "ETAG"], &rows));
    }
    text
}

fn describe_usage(usage: &api::Usage) -> String {
    let rows = usage.revisions.iter().map(|revision| {
        vec![
            revision.name.clone(),
            short(&revision.revision),
            size(revision.bytes),
            size(revision.unique),
            size(revision.shared),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let mut text = table::layout(&["MODEL", "REVISION", "SIZE", "UNIQUE", "SHARED"], &rows);
    let quota = usage.quota.map_or("no limit".to_owned(), size);
    text.push_str(&format!(
        "\nstored {} for {} of models, unused {}, reserved {}\nlimit {quota}, free on disk {}\n",
        size(usage.stored),
        size(usage.referred),
        size(usage.unused),
        size(usage.reserved),
        size(usage.free)
    ));
    text
}

/// What a name is the name of.
fn kind(name: &str) -> &'static str {
    let name = name.parse::<towline_store::RepoName>();
    name.map_or("", |name| name.kind().word())
}

/// What else there is to know of a revision.
fn remarks(model: &api::Model, revision: &api::Revision) -> String {
    let words = [
        (model.private, "private"),
        (revision.pinned.is_some(), "pinned"),
        (revision.refused, "not served: no trusted signature"),
    ];
    let words = words.into_iter().filter(|(holds, _)| *holds);
    let words: Vec<&str> = words.map(|(_, word)| word).collect();
    words.join(", ")
}

/// Who signed a revision, and whether that counts.
fn signers(revision: &api::Revision) -> String {
    let signed = revision.signed_by.iter().map(|signed| {
        let who = match signed.name.as_str() {
            "" => signed.key.chars().take(24).collect(),
            name => name.to_owned(),
        };
        let trust = if signed.trusted {
            "trusted"
        } else {
            "not trusted"
        };
        format!("{who} ({trust})")
    });
    let mut signed: Vec<String> = signed.collect();
    if signed.is_empty() {
        signed.push("nobody".to_owned());
    }
    if revision.refused {
        signed.push("not served".to_owned());
    }
    signed.join(", ")
}

fn tags(revision: &api::Revision) -> String {
    if revision.tags.is_empty() {
        return "-".to_owned();
    }
    revision.tags.join(", ")
}

fn short(hash: &str) -> String {
    hash.chars().take(12).collect()
}
