//! Sends a file: conditions first, then ranges, then a head and spans.
//!
//! Governed by RFC 9110 sections 13.2.2 (order of conditions), 14 (ranges) and 15.3.7 (206).
//! Ranges count for GET only (section 14.2). Invariant: Content-Length is the exact number of
//! bytes behind the head; a reply with several parts holds their heads, never their contents.

use towline_io::{FileSpan, Output};

use crate::date;
use crate::done::Done;
use crate::exchange::{Exchange, Flow, Request};
use crate::head::Method;
use crate::media;
use crate::metrics::add;
use crate::range::{self, ByteRange, Ranges, Selection};
use crate::reply::{ReplyHead, push_content_range};
use crate::status::{Extra, Refusal, Status};
use crate::validator::{Conditions, Validator, Verdict, if_range_holds};
use crate::worker::{Ready, Worker};

/// Length of a multipart boundary, in bytes; RFC 2046 section 5.1.1 allows 70.
const BOUNDARY_BYTES: usize = 24;

/// Answers a GET or HEAD of a regular file.
pub(crate) fn file(
    exchange: &mut Exchange,
    request: &Request<'_, '_>,
    ready: &Ready,
    output: &mut Output<Done>,
) -> Flow {
    let shared = exchange.worker.clone();
    let mut worker = shared.borrow_mut();
    let worker = &mut *worker;
    let (now, _) = worker.date();
    let mut validator = Validator::of(&ready.attributes, now);
    if let Some(dress) = request.dress {
        validator.tag = dress.tag;
    }
    let head = request.head;
    match Conditions::of(head).judge(Some(&validator), true, now) {
        Verdict::Proceed => {}
        Verdict::NotModified => {
            begin(worker, request, Status::NOT_MODIFIED, &validator, output).end();
            return Flow::Replied;
        }
        Verdict::Failed => {
            let refusal = Refusal::new(
                Status::PRECONDITION_FAILED,
                "the file is not the one that the request names; fetch it again",
            );
            return refuse(worker, request, &refusal, output);
        }
    }
    let size = ready.attributes.size;
    let selection = match head.range {
        Some(value) if head.method == Method::Get => {
            if if_range_holds(head.if_range, &validator, now) {
                range::select(value, size)
            } else {
                Selection::Whole
            }
        }
        Some(_) | None => Selection::Whole,
    };
    match selection {
        Selection::Whole => whole(worker, request, ready, &validator, output),
        Selection::Parts(ranges) => match ranges.as_slice() {
            [range] => part(worker, request, ready, &validator, *range, output),
            _ => parts(worker, request, ready, &validator, &ranges, output),
        },
        Selection::Unsatisfiable => {
            let refusal = Refusal::new(
                Status::UNSATISFIABLE,
                "none of the ranges lies in the file; Content-Range tells its size",
            );
            refuse(worker, request, &refusal.with(Extra::Size(size)), output)
        }
    }
}

fn refuse(
    worker: &mut Worker,
    request: &Request<'_, '_>,
    refusal: &Refusal,
    output: &mut Output<Done>,
) -> Flow {
    let (_, date) = worker.date();
    worker.counters.replied(refusal.status);
    crate::reply::refuse(output.buffer(), refusal, &date, request.tone);
    Flow::Replied
}

/// The fields that 200, 206 and 304 have in common.
fn begin<'b>(
    worker: &mut Worker,
    request: &Request<'_, '_>,
    status: Status,
    validator: &Validator,
    output: &'b mut Output<Done>,
) -> ReplyHead<'b> {
    let (_, date) = worker.date();
    worker.counters.replied(status);
    let mut head = ReplyHead::begin(output.buffer(), status, &date, request.tone);
    head.text("ETag", validator.tag.as_bytes());
    head.text("Last-Modified", &date::format(validator.modified));
    // A file may be replaced at any time: caches ask again, which the ETag makes cheap.
    head.text("Cache-Control", b"no-cache");
    head.text("Accept-Ranges", b"bytes");
    for (name, value) in request.dress.iter().flat_map(|dress| &dress.fields) {
        head.text(name, value.as_bytes());
    }
    head
}

/// The fields that describe the contents.
fn describe(head: &mut ReplyHead<'_>, media: &str, length: u64) {
    head.text("Content-Type", media.as_bytes());
    head.text("X-Content-Type-Options", b"nosniff");
    if media::is_active(media) {
        head.text("Content-Security-Policy", b"sandbox");
    }
    head.number("Content-Length", length);
}

fn whole(
    worker: &mut Worker,
    request: &Request<'_, '_>,
    ready: &Ready,
    validator: &Validator,
    output: &mut Output<Done>,
) -> Flow {
    let size = ready.attributes.size;
    let mut head = begin(worker, request, Status::OK, validator, output);
    describe(&mut head, ready.media, size);
    head.end();
    if !request.tone.is_head {
        add(&worker.counters.bytes_sent, size);
        let whole = ByteRange {
            start: 0,
            length: size,
        };
        span(ready, whole, output);
    }
    Flow::Replied
}

fn part(
    worker: &mut Worker,
    request: &Request<'_, '_>,
    ready: &Ready,
    validator: &Validator,
    range: ByteRange,
    output: &mut Output<Done>,
) -> Flow {
    let mut head = begin(worker, request, Status::PARTIAL, validator, output);
    head.content_range(range.start, range.length, ready.attributes.size);
    describe(&mut head, ready.media, range.length);
    head.end();
    add(&worker.counters.bytes_sent, range.length);
    span(ready, range, output);
    Flow::Replied
}

/// `multipart/byteranges` (RFC 9110 section 14.6): part heads are written aside first, so that
/// the length is known, and then go out between the spans.
fn parts(
    worker: &mut Worker,
    request: &Request<'_, '_>,
    ready: &Ready,
    validator: &Validator,
    ranges: &Ranges,
    output: &mut Output<Done>,
) -> Flow {
    let boundary = boundary(worker.boundary());
    let mut scratch = std::mem::take(&mut worker.scratch);
    let mut ends = [0; range::RANGES_MAX];
    let mut bytes = 0;
    for (range, end) in ranges.as_slice().iter().zip(&mut ends) {
        scratch.extend_from_slice(b"\r\n--");
        scratch.extend_from_slice(&boundary);
        scratch.extend_from_slice(b"\r\nContent-Type: ");
        scratch.extend_from_slice(ready.media.as_bytes());
        scratch.extend_from_slice(b"\r\n");
        push_content_range(
            &mut scratch,
            range.start,
            range.length,
            ready.attributes.size,
        );
        scratch.extend_from_slice(b"\r\n");
        *end = scratch.len();
        bytes += range.length;
    }
    scratch.extend_from_slice(b"\r\n--");
    scratch.extend_from_slice(&boundary);
    scratch.extend_from_slice(b"--\r\n");
    let mut head = begin(worker, request, Status::PARTIAL, validator, output);
    let media = [&b"multipart/byteranges; boundary="[..], &boundary].concat();
    head.text("Content-Type", &media);
    head.number("Content-Length", scratch.len() as u64 + bytes);
    head.end();
    let mut start = 0;
    for (range, end) in ranges.as_slice().iter().zip(ends) {
        let part_head = scratch.get(start..end).unwrap_or(&[]);
        output.buffer().extend_from_slice(part_head);
        span(ready, *range, output);
        start = end;
    }
    let tail = scratch.get(start..).unwrap_or(&[]);
    output.buffer().extend_from_slice(tail);
    scratch.clear();
    worker.scratch = scratch;
    add(&worker.counters.bytes_sent, bytes);
    add(&worker.counters.multipart, 1);
    Flow::Replied
}

fn span(ready: &Ready, range: ByteRange, output: &mut Output<Done>) {
    output.span(FileSpan {
        file: ready.file.clone(),
        offset: range.start,
        length: range.length,
    });
}

/// A boundary from a number that does not repeat soon.
fn boundary(number: u64) -> [u8; BOUNDARY_BYTES] {
    let mut boundary = *b"towline-0000000000000000";
    let digits = boundary.iter_mut().skip(8).enumerate();
    for (place, byte) in digits {
        let digit = (number >> (place * 4) & 15) as u8;
        *byte = if digit < 10 {
            b'0' + digit
        } else {
            b'a' + digit - 10
        };
    }
    boundary
}
