//! PUT: a file on its way in, under no name until it is whole.
//!
//! Governed by RFC 9110 sections 9.3.4 (PUT), 10.1.1 (Expect) and 14.5 (partial PUT). The bytes
//! go from the socket to the file without passing through here. With a Content-Range the upload
//! may come in pieces, each behind what is held, over as many connections as it takes; the same
//! peer address and the same total name the same upload. Invariant: 201 and 204 are sent after
//! [`towline_volume::WritableVolume::publish`], so they promise what the volume promises. A
//! plain upload that breaks off leaves nothing; one in pieces leaves what arrived.

use towline_io::Output;
use towline_volume::FileKind;

use crate::done::{Begun, Done};
use crate::exchange::{Exchange, Flow, Request};
use crate::head::Body;
use crate::incoming::{Incoming, abandon, incomplete, publish, too_large};
use crate::piece::Piece;
use crate::reply::Tone;
use crate::status::{Extra, Refusal, Status};
use crate::target::Target;

/// Answers PUT, or begins to take its body.
pub(crate) fn answer(
    exchange: &mut Exchange,
    request: &Request<'_, '_>,
    target: Target,
    answer: Option<Done>,
    output: &mut Output<Done>,
) -> Result<Flow, Refusal> {
    let piece = piece(request)?;
    let bytes_max = exchange.server.limits().upload_bytes_max;
    check_length(request, piece.as_ref(), bytes_max)?;
    match answer {
        None => {
            let peer = exchange.address();
            let session = piece.map(|piece| format!("{} {peer}", piece.total()).into_bytes());
            let announced = match request.head.body {
                Body::Length(length) => length,
                Body::Absent | Body::Chunked => 0,
            };
            let comes = (piece, announced);
            output.defer(move || Done::Begun(begin(&target, comes, session.as_deref())));
            Ok(Flow::Wait)
        }
        Some(Done::Begun(begun)) => match begun? {
            Begun::Stored(stored) => {
                exchange.reply_stored(&stored, request.tone, output);
                Ok(Flow::Replied)
            }
            Begun::Receive(upload) => {
                let tone = Tone::of(request.head, true);
                let body = request.head.body;
                let incoming = Incoming::new((target, upload, piece), body, bytes_max, tone);
                Ok(Flow::Receive(Box::new(incoming)))
            }
        },
        Some(_) => Err(Refusal::MISPLACED),
    }
}

/// The piece that the request brings, if it brings one.
fn piece(request: &Request<'_, '_>) -> Result<Option<Piece>, Refusal> {
    let Some(value) = request.head.content_range else {
        return Ok(None);
    };
    match Piece::parse(value) {
        Some(piece) => Ok(Some(piece)),
        None => Err(Refusal::new(
            Status::BAD_REQUEST,
            "Content-Range must be 'bytes FIRST-LAST/TOTAL', or 'bytes */TOTAL' to ask",
        )),
    }
}

/// Judges the announced length before anything is done for it.
fn check_length(
    request: &Request<'_, '_>,
    piece: Option<&Piece>,
    bytes_max: u64,
) -> Result<(), Refusal> {
    let length_needed = Refusal::new(
        Status::LENGTH_REQUIRED,
        "send Content-Length, or for a whole file Transfer-Encoding: chunked",
    );
    let announced = match (request.head.body, piece) {
        (Body::Absent | Body::Length(0), Some(Piece::Ask { total })) => *total,
        (
            Body::Length(length),
            Some(Piece::Bytes {
                length: expected,
                total,
                ..
            }),
        ) if length == *expected => *total,
        (Body::Length(_), Some(_)) => {
            return Err(Refusal::new(
                Status::BAD_REQUEST,
                "Content-Length does not agree with Content-Range",
            ));
        }
        (Body::Length(length), None) => length,
        (Body::Chunked, None) => 0,
        (Body::Absent, _) | (Body::Chunked, Some(_)) => return Err(length_needed),
    };
    if announced > bytes_max {
        return Err(too_large());
    }
    Ok(())
}

/// Opens the upload. Runs on a pool thread.
fn begin(
    target: &Target,
    (piece, announced): (Option<Piece>, u64),
    session: Option<&[u8]>,
) -> Result<Begun, Refusal> {
    let ground = target.open()?;
    if ground
        .current
        .is_some_and(|current| current.kind != FileKind::Regular)
    {
        return Err(Refusal::new(
            Status::CONFLICT,
            "something that is not a regular file stands there; remove it first",
        ));
    }
    let who = &target.export.anonymous;
    let upload = ground
        .writable
        .begin_upload(&ground.dir, &target.name, who, session)?;
    let held = upload.bytes_held;
    // A question brings nothing, so it takes no room.
    let announced = match piece {
        None => announced,
        Some(Piece::Bytes { total, .. }) => total,
        Some(Piece::Ask { .. }) => 0,
    };
    if let Err(error) = ground.writable.reserve(&upload, announced) {
        if held == 0 {
            abandon(target, &upload);
        }
        return Err(error.into());
    }
    let (wanted, total) = match piece {
        None => return Ok(Begun::Receive(upload)),
        Some(Piece::Bytes { start, total, .. }) => (Some(start), total),
        Some(Piece::Ask { total }) => (None, total),
    };
    if wanted == Some(held) {
        return Ok(Begun::Receive(upload));
    }
    if held == total && wanted.is_none() {
        return publish(target, &upload).map(Begun::Stored);
    }
    if held == 0 {
        // The question has made an empty file.
        abandon(target, &upload);
    }
    Err(match wanted {
        None => incomplete(held),
        Some(_) => Refusal::new(
            Status::CONFLICT,
            "the piece does not begin where the upload ends; go on behind the range that is held",
        )
        .with(Extra::Held(held)),
    })
}
