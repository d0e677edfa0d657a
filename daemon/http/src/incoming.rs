//! The body of an upload on its way from the socket into a file without a name.
//!
//! Governed by RFC 9112 section 7.1 (chunks) and RFC 9110 section 14.5 (pieces). Invariant: a file
//! gets its name by [`publish`] alone, after its last byte; a plain upload that breaks off leaves
//! nothing, one in pieces leaves what arrived.

use towline_io::protocol::PayloadSink;
use towline_io::{Demand, Output, Payload, PayloadFault};
use towline_volume::{Upload, VolumeError};

use crate::chunked::{Chunks, Next};
use crate::done::{Done, Stored};
use crate::head::Body;
use crate::piece::Piece;
use crate::reply::Tone;
use crate::status::{Extra, Refusal, Status};
use crate::target::Target;

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

pub(crate) fn too_large() -> Refusal {
    Refusal::new(
        Status::TOO_LARGE,
        "the file is larger than this node accepts; see limits.upload_size",
    )
}

/// Not a failure: so much is held.
pub(crate) fn incomplete(held: u64) -> Refusal {
    Refusal::new(
        Status::INCOMPLETE,
        "the upload is not complete; go on behind the range that is held",
    )
    .with(Extra::Held(held))
}

/// Gives the upload its name, if the preconditions still hold. Runs on a pool thread.
pub(crate) fn publish(target: &Target, upload: &Upload) -> Result<Stored, Refusal> {
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
pub(crate) fn abandon(target: &Target, upload: &Upload) {
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
    /// An upload of a body that has not been read yet, behind what is held of it already.
    pub(crate) fn new(
        (target, upload, piece): (Target, Upload, Option<Piece>),
        body: Body,
        bytes_max: u64,
        tone: Tone,
    ) -> Self {
        let framing = match body {
            Body::Length(length) => Framing::Length(length),
            Body::Absent => Framing::Length(0),
            Body::Chunked => Framing::Chunked(Chunks::default()),
        };
        Self {
            offset: upload.bytes_held,
            target,
            upload: Some(upload),
            piece,
            framing,
            arriving: 0,
            bytes_max,
            fault: None,
            tone,
        }
    }

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
