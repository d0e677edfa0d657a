//! GET and HEAD: a file, parts of it, or a directory.
//!
//! A file that this worker has served before is answered here and now: one question to the
//! kernel whether the path still leads to it, a head written into the output, and a span.
//! Invariant: the size that a reply promises was read from the very file that is sent, after
//! the request came in. A file that shrinks before it is sent ends the connection early.

use std::net::IpAddr;
use std::sync::Arc;

use towline_io::Output;
use towline_volume::view::{Located, Right};
use towline_volume::volume::Pace;
use towline_volume::{Export, FileKind, Identity, Name, Reach, VolumeError};

use crate::access;
use crate::done::{Done, Found, Opened};
use crate::exchange::{Exchange, Flow, Request};
use crate::faces::files::index;
use crate::faces::files::listing;
use crate::faces::files::send;
use crate::keyring::Keyring;
use crate::media;
use crate::metrics::add;
use crate::path::Place;
use crate::status::Refusal;
use crate::worker::{Known, Ready};

/// Answers GET or HEAD below `/files/`.
pub(crate) fn answer(
    exchange: &mut Exchange,
    request: &Request<'_, '_>,
    answer: Option<Done>,
    output: &mut Output<Done>,
) -> Flow {
    if answer.is_none()
        && let Some(outcome) = hot(exchange, request)
    {
        return match outcome {
            Ok(ready) => send::file(exchange, request, &ready, output),
            Err(refusal) => exchange.refuse(&refusal, request.tone, output),
        };
    }
    match cold(exchange, request, answer, output) {
        Ok(flow) => flow,
        Err(refusal) => exchange.refuse(&refusal, request.tone, output),
    }
}

/// Whether the peer may read here: by its token, unless another proof was judged already.
fn judge(
    export: &Export,
    (address, keyring): (IpAddr, &Arc<Keyring>),
    names: &[Name],
    request: &Request<'_, '_>,
) -> Result<(), Refusal> {
    if request.dress.is_some_and(|dress| dress.is_known) {
        return access::judge_address(export, address, Reach::Read);
    }
    let sent = request.head.authorization;
    access::judge(export, address, sent, Reach::Read)?;
    access::judge_place(export, names, keyring, sent)
}

/// The file, if the path is remembered and everything still holds.
fn hot(exchange: &Exchange, request: &Request<'_, '_>) -> Option<Result<Ready, Refusal>> {
    let known = exchange.worker.borrow_mut().known(request.below)?;
    let worker = exchange.worker.borrow();
    let address = exchange.address();
    let keyring = exchange.server.keyring();
    if let Err(refusal) = judge(&known.export, (address, keyring), &known.names, request) {
        return Some(Err(refusal));
    }
    let ready = worker.ready(&known)?;
    add(&worker.counters.hot, 1);
    Some(Ok(ready))
}

fn cold(
    exchange: &mut Exchange,
    request: &Request<'_, '_>,
    answer: Option<Done>,
    output: &mut Output<Done>,
) -> Result<Flow, Refusal> {
    let place = Place::parse(request.below)?;
    let Some(volume) = &place.volume else {
        return Ok(index::answer(exchange, request, output));
    };
    let export = exchange.server.exports().by_name(volume);
    let export = export.ok_or(Refusal::NOT_FOUND)?.clone();
    let peer = (exchange.address(), exchange.server.keyring());
    judge(&export, peer, &place.names, request)?;
    match answer {
        None if place.is_directory => {
            let sight = exchange.server.keyring().sight(request.head.authorization);
            listing::defer(exchange, request, export, (place, sight), output)
        }
        None => {
            output.defer(move || Done::Opened(open(&export, place.names)));
            Ok(Flow::Wait)
        }
        Some(Done::Listed(page)) => {
            let page = page.map_err(|error| explain(exchange, &place, error))?;
            Ok(listing::reply(exchange, request, page, output))
        }
        Some(Done::Opened(found)) => {
            match found.map_err(|error| explain(exchange, &place, error))? {
                // The name of a revision may have moved while the file of the old one was opened.
                Found::File(opened) if opened.names != place.names => {
                    output.defer(move || Done::Opened(open(&export, place.names)));
                    Ok(Flow::Wait)
                }
                Found::Directory => {
                    let url = place.directory_url();
                    Ok(exchange.redirect(&url, request.tone, output))
                }
                Found::File(opened) => {
                    let ready = admit(exchange, request, export, opened);
                    Ok(send::file(exchange, request, &ready, output))
                }
            }
        }
        // A head of another method would have to stand where this one stood.
        Some(
            Done::Changed(_) | Done::Begun(_) | Done::Stored(_) | Done::Heads(_) | Done::Cards,
        ) => Err(Refusal::MISPLACED),
    }
}

/// Why there is nothing at a path: one that is a model's may be refused for want of a signature.
fn explain(exchange: &Exchange, place: &Place, error: VolumeError) -> Refusal {
    let models = exchange.server.models();
    let unsigned = models.is_some_and(|models| {
        let sight = exchange.server.keyring().sight_of_owner();
        place.volume.as_deref() == Some(models.export().name.as_bytes())
            && models.seen(sight).is_refused_at(&place.names)
    });
    match error {
        VolumeError::NotFound if unsigned => Refusal::UNSIGNED,
        error => Refusal::from(error),
    }
}

/// Looks a path up and opens it. Runs on a pool thread.
fn open(export: &Arc<Export>, names: Vec<Name>) -> Result<Found, VolumeError> {
    let who: &Identity = &export.anonymous;
    let volume = export.whole();
    let node = volume.walk(&names, who, Pace::Blocking)?;
    if node.kind == FileKind::Directory {
        return Ok(Found::Directory);
    }
    let seen = volume.attributes(&node)?;
    let file = volume.open_read(&node, who)?;
    let export = export.clone();
    Ok(Found::File(Opened {
        names,
        located: Located { node, export },
        seen,
        file,
    }))
}

/// Makes an opened file hot.
fn admit(
    exchange: &Exchange,
    request: &Request<'_, '_>,
    export: Arc<Export>,
    opened: Opened,
) -> Ready {
    let mut worker = exchange.worker.borrow_mut();
    let Opened {
        names,
        located,
        seen,
        file,
    } = opened;
    let media = names.last().map_or(media::UNKNOWN, media::of);
    let known = Known {
        names,
        handle: located.node.handle,
        media,
        export: export.clone(),
    };
    worker.remember(request.below, known);
    let mut view = worker.view.borrow_mut();
    view.grant(located, &export.anonymous, Right::Read, &seen);
    Ready {
        file,
        attributes: seen,
        media,
    }
}
