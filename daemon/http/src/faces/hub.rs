//! The hub: what Hugging Face clients ask, answered from the store with the internet unplugged.
//!
//! `HF_ENDPOINT=http://node:8420/hf` points huggingface_hub, transformers, vLLM, exo, hf-hub and
//! llama.cpp here; a port of the hub's own has the same without `/hf`. Pages are made from the
//! store's catalog on the spot; files go out through the same code as `/files/`. Invariant: every
//! answer to `resolve` names its commit and carries the strong ETag that git or LFS would give,
//! and nothing is ever redirected. Not promised: routes that no such client needs, and Xet, whose
//! fields are never sent.

mod fault;
mod list;
mod pages;
pub mod route;
mod shapes;

use std::sync::Arc;

use serde_json::{Value, json};
use towline_io::Output;
use towline_store::name::TAG_BYTES_MAX;
use towline_store::{CatalogFile, CatalogRepo, CatalogRevision, RepoName};
use towline_volume::Reach;

use super::{Asked, Face};
use crate::access;
use crate::done::Done;
use crate::exchange::{Exchange, Flow, Request};
use crate::faces::files::entries::JSON;
use crate::faces::files::get;
use crate::head::{Body, Head, Method};
use crate::keyring::Seen;
use crate::models::{Dress, Models};
use crate::path::encode;
use crate::query::Query;
use crate::server::Port;
use crate::status::Status;
use crate::validator::EntityTag;

use fault::HubFault;
use route::Route;

/// Where the hub begins.
pub const PREFIX: &[u8] = b"/hf";

/// Most entries of a tree in one answer. exo and llama.cpp read one page only, so it is long.
pub const TREE_ENTRIES_MAX: usize = 10_000;

/// Longest body of a question, in bytes: 4,000 paths of 60 bytes.
pub const BODY_BYTES_MAX: u64 = 256 << 10;

/// A repository, and one of its revisions.
type Found<'c> = (&'c CatalogRepo, &'c Arc<CatalogRevision>);

/// What a route gives.
enum Answer {
    /// JSON.
    Page(Value),
    /// JSON, and where it goes on (a whole URL).
    Continued(Value, String),
    /// The same, and how many entries all pages have.
    Counted(Value, Option<String>, usize),
    /// A file, with its place below `/files/`.
    File(Vec<u8>, Dress),
    /// Bytes of text.
    Text(String, Dress),
    /// Nothing, successfully.
    Nothing,
    /// What the files of these say must be read first.
    Read(Vec<Arc<CatalogRevision>>),
    /// The control plane does it.
    Elsewhere,
}

/// The path behind the hub's prefix, if it is the hub's: on its own port every path is.
fn below(port: Port, path: &[u8]) -> Option<&[u8]> {
    match port {
        Port::Hub => Some(path),
        Port::Http => path
            .strip_prefix(PREFIX)
            .filter(|rest| rest.starts_with(b"/")),
        Port::S3 => None,
    }
}

/// The URL before the paths of this client, as it calls this node.
fn base(exchange: &Exchange, head: &Head<'_>) -> Vec<u8> {
    let local = exchange.peer.local.port();
    let is_tls = exchange.server.tls_port() == Some(local);
    let mut url = if is_tls {
        b"https://".to_vec()
    } else {
        b"http://".to_vec()
    };
    url.extend_from_slice(head.host.unwrap_or(b"localhost"));
    if exchange.port != Port::Hub {
        url.extend_from_slice(PREFIX);
    }
    url
}

/// The face.
pub(crate) struct Hub;

impl Face for Hub {
    fn takes(&self, port: Port, path: &[u8]) -> bool {
        below(port, path).is_some()
    }

    fn body_needed(&self, port: Port, head: &Head<'_>) -> Option<u64> {
        body_needed(port, head)
    }

    fn answer(
        &self,
        exchange: &mut Exchange,
        asked: Asked<'_, '_>,
        output: &mut Output<Done>,
    ) -> Flow {
        let request = Request {
            head: asked.head,
            below: &[],
            tone: asked.tone,
            dress: None,
        };
        answer(exchange, &request, asked.body, asked.done, output)
    }
}

/// `body` is what follows the head, as far as it is here.
fn answer(
    exchange: &mut Exchange,
    request: &Request<'_, '_>,
    body: &[u8],
    done: Option<Done>,
    output: &mut Output<Done>,
) -> Flow {
    let Some(models) = exchange.server.models().cloned() else {
        return Flow::HandOff;
    };
    let is_read = matches!(done, Some(Done::Cards));
    match judge(exchange, &models, request, (body, is_read)) {
        Ok(Answer::Read(revisions)) => {
            output.defer(move || {
                crate::models::cards::read_all(&models, &revisions);
                Done::Cards
            });
            Flow::Wait
        }
        Ok(Answer::Page(page)) => page_of(exchange, request, &page, (None, None), output),
        Ok(Answer::Continued(page, next)) => {
            page_of(exchange, request, &page, (Some(&next), None), output)
        }
        Ok(Answer::Counted(page, next, count)) => {
            let about = (next.as_deref(), Some(count));
            page_of(exchange, request, &page, about, output)
        }
        Ok(Answer::File(below, dress)) => {
            let request = Request {
                head: request.head,
                below: &below,
                tone: request.tone,
                dress: Some(&dress),
            };
            get::answer(exchange, &request, done, output)
        }
        Ok(Answer::Text(text, dress)) => text_of(exchange, request, &text, &dress, output),
        Ok(Answer::Nothing) => {
            exchange.reply_empty(Status::NO_CONTENT, request.tone, output);
            Flow::Replied
        }
        Ok(Answer::Elsewhere) => Flow::HandOff,
        Err(fault) => {
            let mut worker = exchange.worker.borrow_mut();
            let (_, date) = worker.date();
            let status = fault.write(output.buffer(), &date, request.tone);
            worker.counters.replied(status);
            Flow::Replied
        }
    }
}

/// How many bytes of body a question needs in front of it; `None` if it is no question.
fn body_needed(port: Port, head: &Head<'_>) -> Option<u64> {
    if head.method != Method::Post {
        return None;
    }
    let path = below(port, head.path)?;
    match (Route::parse(Method::Post, path), head.body) {
        (Route::PathsInfo { .. }, Body::Length(length)) if length <= BODY_BYTES_MAX => Some(length),
        _ => None,
    }
}

fn judge(
    exchange: &Exchange,
    models: &Models,
    request: &Request<'_, '_>,
    (body, is_read): (&[u8], bool),
) -> Result<Answer, HubFault> {
    let head = request.head;
    let path = below(exchange.port, head.path).unwrap_or(b"/");
    let route = Route::parse(head.method, path);
    if route == Route::Telemetry {
        return Ok(Answer::Nothing);
    }
    if route == Route::Change {
        return Ok(Answer::Elsewhere);
    }
    let (address, sent) = (exchange.address(), head.authorization);
    if let Err(refusal) = access::judge(models.export(), address, sent, Reach::Read) {
        return Err(match refusal.status {
            Status::UNAUTHORIZED => HubFault::BadToken,
            _ => HubFault::NoRepo,
        });
    }
    let catalog = models.seen(exchange.server.keyring().sight(sent));
    page(exchange, (models, &catalog), (head, route), (body, is_read))
}

/// What a route gives to somebody who may read here.
fn page(
    exchange: &Exchange,
    (models, catalog): (&Models, &Seen),
    (head, route): (&Head<'_>, Route),
    (body, is_read): (&[u8], bool),
) -> Result<Answer, HubFault> {
    let query = Query(head.query);
    match route {
        Route::Repo { repo, rev } => {
            let found = find(catalog, &repo, rev.as_deref())?;
            Ok(object(catalog, models, found, (&query, is_read)))
        }
        Route::Tree { repo, rev, path } => {
            let (found, path) = find_split(catalog, &repo, (&rev, &path))?;
            pages::tree(&base(exchange, head), &query, found, path)
        }
        Route::PathsInfo { repo, rev } => {
            let (_, revision) = find(catalog, &repo, Some(&rev))?;
            if !matches!(head.body, Body::Length(length) if length <= BODY_BYTES_MAX) {
                return Err(HubFault::LongBody);
            }
            let (paths, expand) = wanted_paths(body).ok_or(HubFault::BadBody)?;
            Ok(Answer::Page(shapes::paths(revision, &paths, expand)))
        }
        Route::Refs { repo } => {
            let (repo, _) = find(catalog, &repo, None)?;
            Ok(Answer::Page(shapes::refs(
                repo,
                query.is_set("include_prs"),
            )))
        }
        Route::Commits { repo, rev } => {
            let found = find(catalog, &repo, Some(&rev))?;
            Ok(pages::commits(&base(exchange, head), &query, found))
        }
        Route::Discussions { repo } => {
            find(catalog, &repo, None)?;
            Ok(Answer::Page(shapes::discussions()))
        }
        Route::AuthCheck { repo, writes } => {
            let (_, revision) = find(catalog, &repo, None)?;
            if writes && !catalog.sight().may_publish(&revision.repo) {
                return Err(HubFault::ReadOnly);
            }
            Ok(Answer::Page(json!({ "message": "OK" })))
        }
        Route::List(kind) => {
            let base = base(exchange, head);
            pages::list(&base, (kind, head.query), (catalog, models), is_read)
        }
        Route::WhoAmI => user(catalog, models),
        Route::File {
            repo,
            rev,
            path,
            is_raw,
        } => {
            let is_part = head.range.is_some();
            file(catalog, models, (&repo, &rev, &path), (is_raw, is_part))
        }
        Route::OtherKind => Err(HubFault::NoRepo),
        Route::Telemetry | Route::Change | Route::Unknown => Err(HubFault::NoRoute),
    }
}

/// A repository as an object, once what its files say was read.
fn object(
    catalog: &Seen,
    models: &Models,
    (repo, revision): Found<'_>,
    (query, is_read): (&Query<'_>, bool),
) -> Answer {
    let card = match models.cards().get(&revision.manifest) {
        Some(card) => card,
        None if is_read => Arc::default(),
        None => return Answer::Read(vec![Arc::clone(revision)]),
    };
    Answer::Page(shapes::repo(
        (repo, revision),
        &card,
        (query.is_set("blobs"), catalog.sight()),
    ))
}

/// Whom a token stands for: one of a model, or that of the volume, which was judged before.
fn user(catalog: &Seen, models: &Models) -> Result<Answer, HubFault> {
    let sight = catalog.sight();
    if !sight.is_known() && models.export().tokens.is_empty() {
        return Err(HubFault::BadToken);
    }
    Ok(Answer::Page(shapes::user(sight.may_publish_some())))
}

/// The repository, and the revision that a branch, tag or commit names; without one the default.
fn find<'c>(catalog: &'c Seen, name: &str, rev: Option<&str>) -> Result<Found<'c>, HubFault> {
    let name: RepoName = name.parse().map_err(|_| HubFault::NoRepo)?;
    let name = catalog.spelled(&name);
    // What git calls the revision that a repository shows first.
    let rev = rev.filter(|rev| *rev != "HEAD").map(|rev| {
        let rev = rev.strip_prefix("refs/heads/").unwrap_or(rev);
        rev.strip_prefix("refs/tags/").unwrap_or(rev)
    });
    let is_refused = catalog.is_refused(&name, rev);
    let unless = |fault| {
        if is_refused {
            HubFault::Unsigned
        } else {
            fault
        }
    };
    let repo = catalog.repo(&name);
    let repo = repo.ok_or_else(|| unless(HubFault::NoRepo))?;
    let revision = match rev {
        None => shapes::default_revision(repo),
        Some(rev) => repo.resolve(rev),
    };
    let revision = revision.ok_or_else(|| unless(HubFault::NoRevision))?;
    Ok((repo, revision))
}

/// The same with a path behind the revision. A branch may have slashes, which some clients do not
/// encode: then its name goes on in the path, and what is here decides where it ends.
fn find_split<'c, 'p>(
    catalog: &'c Seen,
    name: &str,
    (rev, path): (&str, &'p str),
) -> Result<(Found<'c>, &'p str), HubFault> {
    let first = find(catalog, name, Some(rev));
    if !matches!(first, Err(HubFault::NoRevision)) {
        return Ok((first?, path));
    }
    let ends = path.match_indices('/').map(|(at, _)| at);
    for end in ends
        .chain([path.len()])
        .take_while(|end| *end <= TAG_BYTES_MAX)
    {
        let (more, rest) = path.split_at_checked(end).unwrap_or((path, ""));
        if let Ok(found) = find(catalog, name, Some(&format!("{rev}/{more}"))) {
            return Ok((found, rest.strip_prefix('/').unwrap_or(rest)));
        }
    }
    Err(HubFault::NoRevision)
}

fn file(
    catalog: &Seen,
    models: &Models,
    (repo, rev, path): (&str, &str, &str),
    (is_raw, is_part): (bool, bool),
) -> Result<Answer, HubFault> {
    let ((_, revision), path) = find_split(catalog, repo, (rev, path))?;
    let file = path.parse().ok().and_then(|path| revision.file(&path));
    let file = file.ok_or(HubFault::NoEntry(revision.rev))?;
    let pointed = file.sha256.filter(|_| file.lfs);
    if let (true, Some(sha256)) = (is_raw, &pointed) {
        let text = towline_store::git::pointer(sha256, file.size);
        let dress = dress(revision, file, &file.git_oid.to_string(), false);
        return Ok(Answer::Text(text, dress));
    }
    let mut dress = dress(revision, file, &file.etag(), pointed.is_some());
    if is_part && file.size == 0 {
        // Clients ask for the first byte to learn the size. Of an empty file there is none to be
        // sent, so the answer is the whole of it; they look for the size in this field alone.
        dress.fields.push(("Content-Range", "bytes */0".to_owned()));
    }
    Ok(Answer::File(models.below(revision, file), dress))
}

fn dress(revision: &CatalogRevision, file: &CatalogFile, etag: &str, is_linked: bool) -> Dress {
    let mut fields = vec![("X-Repo-Commit", revision.rev.to_string())];
    if is_linked {
        fields.push(("X-Linked-ETag", format!("\"{etag}\"")));
        fields.push(("X-Linked-Size", file.size.to_string()));
    }
    let name = file.path.segments().last().unwrap_or("file");
    fields.push(("Content-Disposition", disposition(name)));
    Dress {
        tag: EntityTag::quoted(etag),
        fields,
        is_known: false,
    }
}

/// The name under which a file is to be kept. One beyond plain ASCII comes twice: encoded (RFC
/// 6266 section 4.1, RFC 8187 section 3.2), and for old clients with what they can read of it.
fn disposition(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.+ ()[]".contains(c);
    if name.chars().all(is_plain) {
        return format!("inline; filename=\"{name}\";");
    }
    let mut encoded = Vec::new();
    encode(name.as_bytes(), &mut encoded);
    let encoded = String::from_utf8_lossy(&encoded);
    let readable = name.replace(|c: char| !is_plain(c), "_");
    format!("inline; filename*=UTF-8''{encoded}; filename=\"{readable}\";")
}

fn page_of(
    exchange: &mut Exchange,
    request: &Request<'_, '_>,
    page: &Value,
    (next, count): (Option<&str>, Option<usize>),
    output: &mut Output<Done>,
) -> Flow {
    let body = page.to_string();
    let (how, what) = ((Status::OK, request.tone), (JSON, body.as_bytes()));
    exchange.reply_whole(how, what, output, |head| {
        if let Some(next) = next {
            head.text("Link", format!("<{next}>; rel=\"next\"").as_bytes());
        }
        if let Some(count) = count {
            head.number("X-Total-Count", count as u64);
        }
        head.text("Cache-Control", b"no-cache");
    })
}

fn text_of(
    exchange: &mut Exchange,
    request: &Request<'_, '_>,
    text: &str,
    dress: &Dress,
    output: &mut Output<Done>,
) -> Flow {
    let kind = "text/plain; charset=utf-8";
    let (how, what) = ((Status::OK, request.tone), (kind, text.as_bytes()));
    exchange.reply_whole(how, what, output, |head| {
        head.text("ETag", dress.tag.as_bytes());
        for (name, value) in &dress.fields {
            head.text(name, value.as_bytes());
        }
    })
}

/// The paths that a body asks for, as form or as JSON, and whether with their last commits.
fn wanted_paths(body: &[u8]) -> Option<(Vec<String>, bool)> {
    if body.trim_ascii_start().starts_with(b"{") {
        let object: Value = serde_json::from_slice(body).ok()?;
        let expand = object.get("expand").and_then(Value::as_bool);
        let paths = match object.get("paths")? {
            Value::String(path) => vec![path.clone()],
            Value::Array(list) => list
                .iter()
                .map(|path| path.as_str().map(str::to_owned))
                .collect::<Option<_>>()?,
            _ => return None,
        };
        return Some((paths, expand.unwrap_or(false)));
    }
    let form = Query(body);
    let paths: Option<Vec<String>> = form.all("paths").collect();
    Some((paths?, form.is_set("expand")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_beyond_ascii_is_encoded_and_no_byte_ends_the_field() {
        let plain = "inline; filename=\"a b+c.txt\";";
        assert_eq!(disposition("a b+c.txt"), plain);
        let other = "inline; filename*=UTF-8''%C3%BC%22%27%3B.bin; filename=\"____.bin\";";
        assert_eq!(disposition("\u{fc}\"';.bin"), other);
    }

    #[test]
    fn paths_come_as_a_form_or_as_json() {
        let expected = (vec!["a b".to_owned(), "c+d".to_owned()], true);
        let form = b"paths=a+b&paths=c%2Bd&expand=True";
        assert_eq!(wanted_paths(form), Some(expected.clone()));
        let object = br#"{"paths":["a b","c+d"],"expand":true}"#;
        assert_eq!(wanted_paths(object), Some(expected));
        assert_eq!(wanted_paths(b"{"), None);
        assert_eq!(wanted_paths(b"paths=%zz"), None);
    }
}
