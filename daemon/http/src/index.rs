//! The index of volumes at `/files/`: what the peer's address may reach, and nothing else.
//!
//! A volume with tokens is listed to addresses that may reach it, because a person must know
//! that there is something to bring a token for. Invariant: threat N14, a volume that the
//! address may not reach is not named.

use towline_io::Output;
use towline_volume::{Reach, VolumeKind};

use crate::connection::{Connection, Flow, Request};
use crate::done::Done;
use crate::listing;
use crate::{listing_json, page};

/// Answers `GET /files/`.
pub(crate) fn answer(
    connection: &mut Connection,
    request: &Request<'_, '_>,
    output: &mut Output<Done>,
) -> Flow {
    let server = connection.server.clone();
    let address = connection.address();
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
    listing::reply(connection, request, page, output)
}
