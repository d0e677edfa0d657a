//! A registry that `ollama pull` reads: GGUF models below `/v2/`.
//!
//! Governed by what ollama asks for (it calls the protocol private): a manifest, then each blob by
//! HEAD, by a GET without a range that must say where it is, and by ranged GETs. Invariant: a
//! layer is a file of the revision and goes out through the same code as `/files/`; only the
//! configuration is made here, from the head of the GGUF file. Not promised: pushing, and the
//! token dance of other registries; tokens come as bearer tokens, or as the password of Basic.

pub mod gguf;
mod layers;

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use serde_json::json;
use towline_io::Output;
use towline_store::{CatalogRepo, FileId, RepoName, Sha256};
use towline_volume::volume::Pace;
use towline_volume::{Export, Name, Reach};

use super::{Asked, Face};
use crate::access;
use crate::done::Done;
use crate::exchange::{Exchange, Flow, Request};
use crate::faces::files::get;
use crate::head::{Head, Method};
use crate::keyring::{Seen, Sight};
use crate::models::{Dress, Models};
use crate::path::{Place, decode};
use crate::server::Port;
use crate::status::{Refusal, Status};
use crate::validator::EntityTag;

use gguf::{About, Heads};
use layers::Choice;

/// Where the registry begins.
const PREFIX: &[u8] = b"/v2/";

/// Most GGUF files of a repository whose configurations are made to find one by its digest.
const CHOICES_MAX: usize = 64;

/// What a question gives.
enum Answer {
    /// A document with its type.
    Page(String, &'static str),
    /// A layer, with its place below `/files/`.
    Layer(Vec<u8>, Dress),
    /// The heads of these files must be read first.
    Read(Vec<Choice>),
}

/// Why a question is refused: a code of the distribution specification with its status.
type Fault = (Status, &'static str, &'static str);

const NO_NAME: Fault = (
    Status::NOT_FOUND,
    "NAME_UNKNOWN",
    "this node has no such model: see towline models",
);

/// The same where a token might show more: the two look the same with and without the model.
const NO_TOKEN: Fault = (
    Status::UNAUTHORIZED,
    "UNAUTHORIZED",
    "this node has no such model for everybody; if it is private, send its token as password",
);

const UNSIGNED: Fault = (Status::FORBIDDEN, "DENIED", Refusal::UNSIGNED.why);

const NO_MANIFEST: Fault = (
    Status::NOT_FOUND,
    "MANIFEST_UNKNOWN",
    "the model has no such tag or quantisation, or no GGUF file in one piece there",
);

const NO_BLOB: Fault = (
    Status::NOT_FOUND,
    "BLOB_UNKNOWN",
    "the model has no such blob",
);

/// The face.
pub(crate) struct Registry;

impl Face for Registry {
    fn takes(&self, port: Port, path: &[u8]) -> bool {
        port == Port::Http && path.starts_with(PREFIX)
    }

    fn answer(
        &self,
        exchange: &mut Exchange,
        asked: Asked<'_, '_>,
        output: &mut Output<Done>,
    ) -> Flow {
        let Asked {
            head, tone, done, ..
        } = asked;
        let Some(models) = exchange.server.models().cloned() else {
            return Flow::HandOff;
        };
        let heads = match &done {
            Some(Done::Heads(heads)) => heads.as_slice(),
            Some(_) | None => &[],
        };
        let (status, kind, body) = match judge(exchange, &models, head, heads) {
            Ok(Answer::Layer(below, dress)) => {
                let request = Request {
                    head,
                    below: &below,
                    tone,
                    dress: Some(&dress),
                };
                return get::answer(exchange, &request, done, output);
            }
            Ok(Answer::Read(choices)) => {
                output.defer(move || Done::Heads(read_all(&models, &choices)));
                return Flow::Wait;
            }
            Ok(Answer::Page(page, kind)) => (Status::OK, kind, page),
            Err((status, code, why)) => {
                let body = json!({ "errors": [{ "code": code, "message": why }] });
                (status, "application/json", body.to_string())
            }
        };
        let (how, what) = ((status, tone), (kind, body.as_bytes()));
        exchange.reply_whole(how, what, output, |reply| {
            reply.text("Docker-Distribution-Api-Version", b"registry/2.0");
            if status == Status::OK {
                let digest = layers::digest(body.as_bytes());
                reply.text("Docker-Content-Digest", digest.as_bytes());
                // ollama asks every blob where it is.
                reply.text("Location", head.path);
            }
            if status == Status::UNAUTHORIZED {
                reply.text("WWW-Authenticate", b"Basic realm=\"towline\"");
            }
        })
    }
}

fn judge(
    exchange: &Exchange,
    models: &Models,
    head: &Head<'_>,
    heads: &[(FileId, Option<About>)],
) -> Result<Answer, Fault> {
    let (address, sent) = (exchange.address(), head.authorization);
    if let Err(refusal) = access::judge(models.export(), address, sent, Reach::Read) {
        return Err(match refusal.status {
            Status::UNAUTHORIZED => (refusal.status, "UNAUTHORIZED", refusal.why),
            _ => NO_NAME,
        });
    }
    if !matches!(head.method, Method::Get | Method::Head) {
        let why = "this registry is read-only; publish with towline push";
        return Err((Status::NOT_ALLOWED, "UNSUPPORTED", why));
    }
    let path = head
        .path
        .strip_prefix(PREFIX)
        .and_then(|path| decode(path).ok());
    let path = path.and_then(|path| String::from_utf8(path).ok());
    let path = path.ok_or(NO_NAME)?;
    let parts: Vec<&str> = path.split('/').collect();
    let catalog = models.seen(exchange.server.keyring().sight(sent));
    let unknown = || unknown(catalog.sight());
    let repo = |one: &str, other: &str| {
        let name: RepoName = format!("{one}/{other}").parse().ok()?;
        // What ollama writes before a name without a namespace.
        let bare = || other.parse().ok().filter(|_| one == "library");
        catalog.repo(&name).or_else(|| catalog.repo(&bare()?))
    };
    match parts.as_slice() {
        [""] => Ok(Answer::Page("{}".to_owned(), "application/json")),
        [one, other, "manifests", tag] => {
            let refused = is_refused(&catalog, one, other, tag);
            let repo = repo(one, other).ok_or(if refused { UNSIGNED } else { unknown() })?;
            let choice = layers::choose(repo, tag);
            let choice = choice.ok_or(if refused { UNSIGNED } else { NO_MANIFEST })?;
            match heads.iter().find(|(id, _)| *id == choice.file.id) {
                Some((_, Some(about))) => {
                    let page = layers::manifest(&choice, about);
                    Ok(Answer::Page(page, layers::MANIFEST))
                }
                Some((_, None)) => Err(NO_MANIFEST),
                None => Ok(Answer::Read(vec![choice])),
            }
        }
        [one, other, "blobs", digest] => blob(
            models,
            repo(one, other).ok_or_else(unknown)?,
            digest,
            heads,
            head.path,
        ),
        _ => Err((
            Status::NOT_FOUND,
            "UNSUPPORTED",
            "there are manifests and blobs only",
        )),
    }
}

fn unknown(sight: &Sight) -> Fault {
    if sight.is_limited() && !sight.is_known() {
        NO_TOKEN
    } else {
        NO_NAME
    }
}

fn is_refused(catalog: &Seen, one: &str, other: &str, tag: &str) -> bool {
    let name = format!("{one}/{other}").parse();
    name.is_ok_and(|name| catalog.is_refused(&name, Some(tag)))
}

/// A layer by its digest, or else a configuration.
fn blob(
    models: &Models,
    repo: &CatalogRepo,
    digest: &str,
    heads: &[(FileId, Option<About>)],
    path: &[u8],
) -> Result<Answer, Fault> {
    // ollama writes both.
    let digits = digest
        .strip_prefix("sha256:")
        .or_else(|| digest.strip_prefix("sha256-"));
    let sha256: Sha256 = digits
        .and_then(|digits| digits.parse().ok())
        .ok_or(NO_BLOB)?;
    for revision in repo.revisions.values() {
        let mut files = revision.files.iter();
        if let Some(file) = files.find(|file| file.sha256 == Some(sha256)) {
            let location = String::from_utf8_lossy(path).into_owned();
            let dress = Dress {
                tag: EntityTag::quoted(&sha256.to_string()),
                fields: vec![
                    ("Location", location),
                    ("Docker-Content-Digest", format!("sha256:{sha256}")),
                ],
                is_known: false,
            };
            return Ok(Answer::Layer(models.below(revision, file), dress));
        }
    }
    let choices = layers::all(repo, CHOICES_MAX);
    let mut unread = Vec::new();
    for choice in choices {
        match heads.iter().find(|(id, _)| *id == choice.file.id) {
            Some((_, Some(about))) => {
                let page = layers::configuration(&choice, about);
                if layers::digest(page.as_bytes()) == format!("sha256:{sha256}") {
                    return Ok(Answer::Page(page, "application/octet-stream"));
                }
            }
            Some((_, None)) => {}
            None => unread.push(choice),
        }
    }
    if unread.is_empty() || !heads.is_empty() {
        return Err(NO_BLOB);
    }
    Ok(Answer::Read(unread))
}

/// Reads the heads of files. Runs on a pool thread.
fn read_all(models: &Models, choices: &[Choice]) -> Heads {
    let export = models.export();
    let one = |choice: &Choice| {
        let below = models.below(&choice.revision, &choice.file);
        let place = Place::parse(&below).ok();
        let bytes = place.and_then(|place| read(export, &place.names));
        let about = bytes.and_then(|bytes| gguf::about(&bytes));
        (choice.file.id, about)
    };
    choices.iter().map(one).collect()
}

fn read(export: &Arc<Export>, names: &[Name]) -> Option<Vec<u8>> {
    let who = &export.anonymous;
    let volume = export.whole();
    let node = volume.walk(names, who, Pace::Blocking).ok()?;
    let file = volume.open_read(&node, who).ok()?;
    let mut bytes = vec![0; gguf::HEAD_BYTES_MAX];
    let mut filled = 0;
    while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
        match file.read_at(room, filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    bytes.truncate(filled);
    Some(bytes)
}
