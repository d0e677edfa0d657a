//! PUT: a file on its way in, under no name until it is whole.
//!
//! Governed by RFC 9110 sections 9.3.4 (PUT), 10.1.1 (Expect) and 14.5 (partial PUT). The bytes
//! go from the socket to the file without passing through here. With a Content-Range the upload
//! may come in pieces, each behind what is held, over as many connections as it takes; the same
//! peer address and the same total name the same upload. Invariant: 201 and 204 are sent after
//! [`towline_volume::WritableVolume::publish`], so they promise what the volume promises. A
//! plain upload that breaks off leaves nothing; one in pieces leaves what arrived.

use towline_io::protocol::PayloadSink;
use towline_io::{Demand, Output, Payload, PayloadFault};
use towline_volume::{FileKind, Upload, VolumeError};

use crate::change::Target;
use crate::chunked::{Chunks, Next};
use crate::connection::{Connection, Flow, Request};
use crate::done::{Begun, Done, Stored};
use crate::head::Body;
use crate::piece::Piece;
use crate::reply::Tone;
use crate::status::{Extra, Refusal, Status};

/// An upload whose bytes arrive.
pub(crate) struct Incoming {
    target: Target,
    /// `None` once it was handed to the job that ends it.
    upload: Option<Upload>,
    piece: Option<Piece>,
    framing: Framing,
    /// Where the next byte goes.
    offset: u64,
    /// Bytes of the payload that was asked for last.
    pub(crate) arriving: u64,
    bytes_max: u64,
    fault: Option<PayloadFault>,
    pub(crate) tone: Tone,
}

enum Framing {
    /// This many bytes, which have not been asked for yet.
    Length(u64),
    Chunked(Chunks),
}

impl Drop for Incoming {
    /// A plain upload that broke off and has a temporary name loses it.
    fn drop(&mut self) {
        if let (Some(upload), None) = (&self.upload, &self.piece) {
            abandon(&self.target, upload);
        }
    }
}

/// Answers PUT, or begins to take its body.
pub(crate) fn answer(
    connection: &mut Connection,
    request: &Request<'_, '_>,
    target: Target,
    answer: Option<Done>,
    output: &mut Output<Done>,
) -> Result<Flow, Refusal> {
    let piece = piece(request)?;
    let bytes_max = connection.server.limits().upload_bytes_max;
    check_length(request, piece.as_ref(), bytes_max)?;
    match answer {
        None => {
            let peer = connection.address();
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
                connection.reply_stored(&stored, request.tone, output);
                Ok(Flow::Replied)
            }
            Begun::Receive(upload) => {
                let framing = match request.head.body {
                    Body::Length(length) => Framing::Length(length),
                    Body::Absent => Framing::Length(0),
                    Body::Chunked => Framing::Chunked(Chunks::default()),
                };
                Ok(Flow::Receive(Box::new(Incoming {
                    offset: upload.bytes_held,
                    target,
                    upload: Some(upload),
                    piece,
                    framing,
                    arriving: 0,
                    bytes_max,
                    fault: None,
                    tone: Tone::of(request.head, true),
                })))
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

fn too_large() -> Refusal {
    Refusal::new(
        Status::TOO_LARGE,
        "the file is larger than this node accepts; see limits.upload_size",
    )
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

/// Not a failure: so much is held.
fn incomplete(held: u64) -> Refusal {
    Refusal::new(
        Status::INCOMPLETE,
        "the upload is not complete; go on behind the range that is held",
    )
    .with(Extra::Held(held))
}

/// Gives the upload its name, if the preconditions still hold. Runs on a pool thread.
fn publish(target: &Target, upload: &Upload) -> Result<Stored, Refusal> {
    let volume = &target.export.volume;
    let writable = volume.writable().ok_or(VolumeError::ReadOnly)?;
    let current = target.current(&upload.dir)?;
    target.judge(current.as_ref())?;
    let attributes = writable.publish(upload, &target.name, &target.export.anonymous)?;
    Ok(Stored {
        attributes,
        has_replaced: current.is_some(),
    })
}

/// Throws away what has arrived. A temporary name that stays is told to the operator.
fn abandon(target: &Target, upload: &Upload) {
    let Some(writable) = target.export.volume.writable() else {
        return;
    };
    if let Err(error) = writable.abandon(upload, &target.export.anonymous) {
        let volume = target.export.name.as_str();
        tracing::warn!(volume, %error, "an unfinished upload was left behind");
    }
}

/// How an upload goes on.
pub(crate) enum Progress {
    /// As the demand says; the upload stays.
    Go(Demand, Box<Incoming>),
    /// The job that ends it was deferred.
    Ending(Tone),
    /// It has ended with this reply, and the connection may go on.
    Ended(Refusal, Tone),
    /// The stream cannot be followed any more: reply and close.
    Broken(Refusal),
}

impl Incoming {
    /// Takes framing off the input and says what comes next.
    pub(crate) fn advance(
        mut self: Box<Self>,
        input: &mut &[u8],
        output: &mut Output<Done>,
    ) -> Progress {
        let next = match &mut self.framing {
            Framing::Length(0) => Next::End,
            Framing::Length(length) => Next::Chunk(std::mem::take(length)),
            Framing::Chunked(chunks) => match chunks.next(input) {
                Ok(next) => next,
                Err(fault) => return Progress::Broken(fault.into()),
            },
        };
        match next {
            Next::Input => Progress::Go(Demand::Input, self),
            Next::Chunk(length) if self.offset.saturating_add(length) > self.bytes_max => {
                Progress::Broken(too_large())
            }
            Next::Chunk(length) => {
                let payload = Payload {
                    sink: self.sink(),
                    length,
                };
                self.offset += length;
                self.arriving = length;
                Progress::Go(Demand::Payload(payload), self)
            }
            Next::End => self.end(output),
        }
    }

    /// Notes how the payload fared. Whether the body ends here.
    pub(crate) fn stored(&mut self, outcome: Result<(), PayloadFault>) -> bool {
        if let Err(fault) = outcome {
            self.fault.get_or_insert(fault);
        }
        matches!(self.framing, Framing::Length(0))
    }

    /// Where the next bytes go: nowhere once a write has failed.
    fn sink(&self) -> Option<PayloadSink> {
        let upload = self.upload.as_ref().filter(|_| self.fault.is_none())?;
        Some(PayloadSink {
            file: upload.file.clone(),
            offset: self.offset,
            who: self.target.export.anonymous,
        })
    }

    /// The body has arrived.
    pub(crate) fn end(mut self: Box<Self>, output: &mut Output<Done>) -> Progress {
        let tone = self.tone;
        if let Some(PayloadFault::Write(errno)) = self.fault {
            // Dropping it throws a plain upload away.
            return Progress::Ended(VolumeError::from(errno).into(), tone);
        }
        if let Some(piece) = &self.piece
            && self.offset < piece.total()
        {
            return Progress::Ended(incomplete(self.offset), tone);
        }
        let Some(upload) = self.upload.take() else {
            return Progress::Ended(Refusal::MISPLACED, tone);
        };
        output.defer(move || {
            let stored = publish(&self.target, &upload);
            if stored.is_err() && self.piece.is_none() {
                abandon(&self.target, &upload);
            }
            Done::Stored(stored)
        });
        Progress::Ending(tone)
    }
}
