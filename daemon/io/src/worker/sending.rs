//! Staging: turning what a core put out into pieces to send, jobs to run and cold reads.
//!
//! Short framed spans are read straight into the reply when they are in memory, or sent from where
//! they lie if their file lives there; longer ones are sent as files; cold ones go aside and come
//! back when they have been read, so that other replies pass them. Invariant: a framed reply's head
//! is sent only with its bytes secured. Not promised: the order of framed replies.

use std::os::fd::AsFd;

use rustix::io::Errno;

use super::cold::{ColdFramed, ColdRead, client};
use super::{Held, Mail, Worker};
use crate::limits::INLINE_BYTES_MAX;
use crate::outbox::{Item, Outbox, Seen, has_arrived, is_all_resident};
use crate::protocol::{Service, Unit};
use crate::span::FileSpan;
use crate::token::Token;
use towline_sys::files;

const PADDING: [u8; 3] = [0; 3];

/// Room for the short replies to one slice of requests ([`crate::limits::SLICE_BYTES`]): sixteen
/// of 4 KiB with their heads.
const REPLIES_BYTES: usize = 68 << 10;

impl<S: Service> Worker<S> {
    /// Takes everything out of the output.
    pub(super) fn stage(&mut self, token: Token, connection: &mut Held<S>) {
        if self.output.is_empty() {
            return;
        }
        let (mut buffer, units, jobs) = self.output.take();
        if let [Unit::Bytes(_)] = units.as_slice()
            && !matches!(connection.outbox.items.back(), Some(Item::Bytes(..)))
        {
            // The usual case, one reply: the buffer itself becomes the piece to send.
            connection.outbox.bytes_held += buffer.len();
            connection.outbox.items.push_back(Item::Bytes(buffer, 0));
            self.run_jobs(token, connection, jobs);
            return;
        }
        let mut at = 0;
        for unit in units {
            match unit {
                Unit::Bytes(count) => {
                    push_bytes(&mut connection.outbox, slice(&buffer, at, count));
                    at += count;
                }
                Unit::Span(span) => connection
                    .outbox
                    .items
                    .push_back(Item::Span(span, Seen::default())),
                Unit::Framed {
                    head_bytes,
                    span,
                    padding,
                    recover,
                } => {
                    let head = slice(&buffer, at, head_bytes);
                    at += head_bytes;
                    if !stage_hot(&mut connection.outbox, head, &span, padding) {
                        let head = head.to_vec();
                        let cold = ColdFramed {
                            head,
                            span,
                            padding,
                            recover,
                        };
                        connection.under_way += 1;
                        self.begin_cold(token, client(connection), cold);
                    }
                }
            }
        }
        buffer.clear();
        self.output.reuse(buffer);
        self.run_jobs(token, connection, jobs);
    }

    fn run_jobs(
        &mut self,
        token: Token,
        connection: &mut Held<S>,
        jobs: Vec<crate::protocol::Job<super::Done<S>>>,
    ) {
        for job in jobs {
            connection.under_way += 1;
            let mailbox = self.mailbox.clone();
            self.metrics.jobs.add(1);
            let task = Box::new(move || {
                // A job that panics must not leave its connection waiting for ever.
                let run = std::panic::AssertUnwindSafe(job);
                match std::panic::catch_unwind(run) {
                    Ok(done) => mailbox.answer(Mail::Done(token, done)),
                    Err(_) => mailbox.answer(Mail::Lost(token)),
                }
            });
            if let Err(task) = self.pool.submit(task) {
                connection.stalled.push_back(task);
            }
        }
    }

    /// Reads a short cold span on a pool thread.
    pub(super) fn read_on_pool(&mut self, token: Token, cold: ColdFramed) {
        let mailbox = self.mailbox.clone();
        let task = Box::new(move || mailbox.answer(Mail::Read(token, ColdRead::run(cold))));
        if let Err(task) = self.pool.submit(task) {
            match self.connections.get_mut(token) {
                Some(connection) => connection.stalled.push_back(task),
                // Lent at this moment: the caller is staging for it.
                None => self.stalled_reads.push((token, task)),
            }
        }
    }
}

/// Stages a framed reply whose bytes are in memory; `false` if they are not.
fn stage_hot(outbox: &mut Outbox, head: &[u8], span: &FileSpan, padding: u8) -> bool {
    if span.length <= INLINE_BYTES_MAX {
        if !has_arrived(span) {
            return false;
        }
        return match span.file.mapped(span.offset, span.length) {
            Some(mapped) => {
                push_bytes(outbox, head);
                outbox.items.push_back(Item::Mapped(mapped));
                push_bytes(outbox, slice(&PADDING, 0, usize::from(padding)));
                true
            }
            None => read_inline(outbox, head, span, padding),
        };
    }
    if !is_all_resident(span) {
        return false;
    }
    push_bytes(outbox, head);
    outbox
        .items
        .push_back(Item::Span(span.clone(), Seen::all(span)));
    push_bytes(outbox, slice(&PADDING, 0, usize::from(padding)));
    true
}

/// Reads a short span behind its head if all of it is in memory.
fn read_inline(outbox: &mut Outbox, head: &[u8], span: &FileSpan, padding: u8) -> bool {
    let length = span.length as usize;
    let tail = outbox.tail();
    let start = tail.len();
    if tail.capacity() - start < head.len() + length + PADDING.len() {
        // Grown once for the whole slice of requests: doubling copies every reply once more.
        tail.reserve(REPLIES_BYTES.max(head.len() + length + PADDING.len()));
    }
    tail.extend_from_slice(head);
    let mut filled = 0;
    let waits = span.file.lives_in_memory();
    while filled < length {
        let offset = span.offset + filled as u64;
        match files::append(span.file.as_fd(), tail, length - filled, offset, waits) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(_) => break,
        }
    }
    if filled < length {
        tail.truncate(start);
        return false;
    }
    tail.extend_from_slice(slice(&PADDING, 0, usize::from(padding)));
    let added = tail.len() - start;
    outbox.bytes_held += added;
    true
}

/// Appends bytes to what is to be sent.
pub(super) fn push_bytes(outbox: &mut Outbox, bytes: &[u8]) {
    if !bytes.is_empty() {
        outbox.tail().extend_from_slice(bytes);
        outbox.bytes_held += bytes.len();
    }
}

fn slice(bytes: &[u8], at: usize, count: usize) -> &[u8] {
    bytes.get(at..at + count).unwrap_or(&[])
}
