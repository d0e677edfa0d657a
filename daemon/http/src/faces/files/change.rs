//! DELETE, MKCOL and the beginning of PUT: what changes a directory.
//!
//! Governed by RFC 9110 sections 9.3.4 and 9.3.5 and, for MKCOL, RFC 4918 section 9.3. Parent
//! directories are never made on the way: a mistyped path must not grow a tree. Invariant: the
//! preconditions of a request are judged on the same thread right before the change. Not
//! promised: that nobody else changes the name between the two.

use towline_io::Output;
use towline_volume::{FileKind, Reach, SetAttributes, VolumeError};

use crate::access;
use crate::done::Done;
use crate::exchange::{Exchange, Flow, METHODS, Request};
use crate::faces::files::upload;
use crate::head::{Body, Method};
use crate::path::Place;
use crate::status::{Extra, Refusal, Status};
use crate::target::{Ground, Target};
use crate::validator::Conditions;

/// Permission bits of a directory that MKCOL makes.
const DIRECTORY_MODE: u32 = 0o755;

/// Answers DELETE, MKCOL or PUT, or begins to.
pub(crate) fn answer(
    exchange: &mut Exchange,
    request: &Request<'_, '_>,
    answer: Option<Done>,
    output: &mut Output<Done>,
) -> Flow {
    match change(exchange, request, answer, output) {
        Ok(flow) => flow,
        Err(refusal) => exchange.refuse(&refusal, request.tone, output),
    }
}

fn change(
    exchange: &mut Exchange,
    request: &Request<'_, '_>,
    answer: Option<Done>,
    output: &mut Output<Done>,
) -> Result<Flow, Refusal> {
    let (target, is_directory) = target(exchange, request)?;
    match (request.head.method, answer) {
        (Method::Put, answer) => {
            if is_directory {
                return Err(Refusal::new(
                    Status::NOT_ALLOWED,
                    "a path that ends in '/' is a folder; make it with MKCOL",
                )
                .with(Extra::Allow("GET, HEAD, MKCOL, DELETE, OPTIONS")));
            }
            upload::answer(exchange, request, target, answer, output)
        }
        (_, Some(Done::Changed(status))) => {
            exchange.reply_empty(status?, request.tone, output);
            Ok(Flow::Replied)
        }
        (_, Some(_)) => Err(Refusal::MISPLACED),
        (Method::Delete, None) => {
            output.defer(move || Done::Changed(delete(&target, is_directory)));
            Ok(Flow::Wait)
        }
        (_, None) => {
            if !matches!(request.head.body, Body::Absent | Body::Length(0)) {
                return Err(Refusal::new(
                    Status::UNSUPPORTED_BODY,
                    "MKCOL takes no body; send it without one",
                ));
            }
            output.defer(move || Done::Changed(make_directory(&target)));
            Ok(Flow::Wait)
        }
    }
}

/// What the request names, if the peer may write there.
fn target(exchange: &Exchange, request: &Request<'_, '_>) -> Result<(Target, bool), Refusal> {
    let place = Place::parse(request.below)?;
    let volume = place.volume.as_deref().unwrap_or(&[]);
    let export = exchange.server.exports().by_name(volume);
    let export = match (export, &place.volume) {
        (Some(export), _) => export.clone(),
        (None, Some(_)) => return Err(Refusal::NOT_FOUND),
        (None, None) => return Err(not_allowed()),
    };
    let authorization = request.head.authorization;
    access::judge(&export, exchange.address(), authorization, Reach::Write)?;
    let mut above = place.names;
    let name = above.pop().ok_or(not_allowed())?;
    let target = Target {
        export,
        above,
        name,
        conditions: Conditions::of(request.head).into_owned(),
    };
    Ok((target, place.is_directory))
}

fn not_allowed() -> Refusal {
    Refusal::new(
        Status::NOT_ALLOWED,
        "volumes are made and removed in the node's configuration, not over HTTP",
    )
    .with(Extra::Allow("GET, HEAD, OPTIONS"))
}

fn delete(target: &Target, is_directory: bool) -> Result<Status, Refusal> {
    let Ground {
        writable,
        dir,
        current,
    } = target.open().map_err(missing)?;
    let who = &target.export.anonymous;
    let current = current.ok_or(Refusal::NOT_FOUND)?;
    if current.kind == FileKind::Directory {
        writable.remove_dir(&dir, &target.name, who)?;
    } else if is_directory {
        return Err(Refusal::NOT_FOUND);
    } else {
        writable.remove(&dir, &target.name, who)?;
    }
    Ok(Status::NO_CONTENT)
}

/// What lies in a folder that does not exist is simply not there.
fn missing(refusal: Refusal) -> Refusal {
    if refusal.status == Status::CONFLICT {
        Refusal::NOT_FOUND
    } else {
        refusal
    }
}

fn make_directory(target: &Target) -> Result<Status, Refusal> {
    let Ground {
        writable,
        dir,
        current,
    } = target.open()?;
    let taken = Refusal::new(Status::NOT_ALLOWED, "something of that name exists already")
        .with(Extra::Allow(METHODS));
    if current.is_some() {
        return Err(taken);
    }
    let set = SetAttributes {
        mode: Some(DIRECTORY_MODE),
        ..SetAttributes::default()
    };
    match writable.make_dir(&dir, &target.name, &target.export.anonymous, &set) {
        Ok(_) => Ok(Status::CREATED),
        Err(VolumeError::Exists) => Err(taken),
        Err(error) => Err(error.into()),
    }
}
