//! The index of volumes at `/files/`: what the peer's address may reach, and nothing else.
//!
//! A volume with tokens is listed to addresses that may reach it, because a person must know
//! that there is something to bring a token for. Invariant: threat N14, a volume that the
//! address may not reach is not named.

use towline_io::Output;
use towline_volume::{Reach, VolumeKind};

use crate::done::Done;
use crate::exchange::{Exchange, Flow, Request};
use crate::faces::files::{listing, listing_json, page};

/// Answers `GET /files/`.
pub(crate) fn answer(
    exchange: &mut Exchange,
    request: &Request<'_, '_>,
    output: &mut Output<Done>,
) -> Flow {
    let server = exchange.server.clone();
    let address = exchange.address();
    let list = server.exports().all().iter().filter_map(|export| {
        let reach = export.reach(address);
        let kind = match export.kind {
            VolumeKind::Model => "model",
            VolumeKind::Project => "project",
            VolumeKind::Cache => "cache",
        };
        let name = export.name.as_str();
        (reach > Reach::None).then_some((name, kind, reach == Reach::Write))
    });
    let page = if request.head.wants_json {
        listing_json::volumes(list)
    } else {
        page::volumes(list)
    };
    listing::reply(exchange, request, page, output)
}
