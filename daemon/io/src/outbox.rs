//! What a connection still has to send, and sending it: bytes, file spans, filled pipes.
//!
//! A span is tested for residency window by window (`preadv2` with RWF_NOWAIT). What is in memory
//! goes out with sendfile(2); what is not is read into a pipe by the engine while other
//! connections go on. Invariant: a span that cannot be sent whole ends the connection; bytes that
//! the file did not have are never made up. A cork set here is always taken out again.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::{Errno, ReadWriteFlags};
use rustix::net::{SendFlags, sockopt};
use rustix::pipe::{SpliceFlags, splice};

use crate::connection::SocketKind;
use crate::limits::{CORK_BYTES_MIN, PROBE_STEP_BYTES, TRUSTED_BYTES, WINDOW_BYTES};
use crate::pipes::{Pipe, Pipes};
use crate::span::{FileSpan, Passage, SpanFault};
use towline_sys::mapping::{MappedSpan, Pieces};

/// One piece to send.
#[derive(Debug)]
pub(crate) enum Item {
    /// Bytes, sent up to the index.
    Bytes(Vec<u8>, usize),
    /// Bytes of a file in memory, sent together with the bytes around them.
    Mapped(MappedSpan),
    /// A span, and what is known of its bytes.
    Span(FileSpan, Seen),
    /// A span whose beginning is being read into a pipe.
    Filling(FileSpan),
    /// A pipe that holds the bytes of this span.
    Piped(Pipe, FileSpan),
}

/// What is known of a span's bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// So many of its first bytes are in memory.
    pub(crate) resident: u64,
    /// So many bytes up to there were found in memory without a gap.
    run: u64,
    /// Part of it was not in memory: what is now may be read-ahead that is still under way.
    was_cold: bool,
}

impl Seen {
    /// A span that is in memory as a whole.
    pub(crate) fn all(span: &FileSpan) -> Self {
        Self {
            resident: span.length,
            ..Self::default()
        }
    }

    /// What remains of a span behind a part that had to be read.
    pub(crate) fn behind_cold() -> Self {
        Self {
            was_cold: true,
            ..Self::default()
        }
    }

    /// Tests the next window. In a long run of resident bytes every fourth place is enough: what
    /// is missed there costs one read-ahead, and a file is rarely cached in patches.
    fn look_ahead(&mut self, span: &FileSpan) -> Result<(), SpanFault> {
        let window = (span.length - self.resident).min(WINDOW_BYTES);
        let window = match span.file.passage(span.offset + self.resident, window) {
            Passage::Open(bytes) => bytes.min(window),
            Passage::Closed => {
                self.run = 0;
                return Ok(());
            }
            Passage::Lost => return Err(SpanFault::Lost),
        };
        let is_trusted = self.run >= TRUSTED_BYTES && !self.was_cold;
        let step = if is_trusted {
            PROBE_STEP_BYTES * 4
        } else {
            PROBE_STEP_BYTES
        };
        if is_resident(span, self.resident, window, step)? {
            self.resident += window;
            self.run += window;
        } else {
            self.run = 0;
        }
        Ok(())
    }
}

/// How far sending got.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Flushed {
    /// All is sent.
    All,
    /// The socket takes no more for now.
    Blocked,
    /// The next bytes have to be read first; `Some` names what to read into a pipe.
    Cold,
    /// The next bytes have not arrived at this node.
    Absent,
    /// A pipe is being filled for the next bytes.
    Filling,
    /// The budget of this turn is used up.
    Spent,
}

/// Why sending cannot go on.
#[derive(Debug)]
pub(crate) enum SendFault {
    /// The connection is gone.
    Socket,
    /// The file failed.
    Span(SpanFault),
}

/// The pieces of one connection.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(crate) items: VecDeque<Item>,
    pub(crate) bytes_held: usize,
    is_corked: bool,
}

/// Bytes moved by each way, for the metrics.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moved {
    pub(crate) copied: u64,
    pub(crate) by_sendfile: u64,
    pub(crate) by_splice: u64,
}

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The bytes at the end, to append to.
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        if !matches!(self.items.back(), Some(Item::Bytes(..))) {
            self.items.push_back(Item::Bytes(Vec::new(), 0));
        }
        match self.items.back_mut() {
            Some(Item::Bytes(bytes, _)) => bytes,
            _ => unreachable!("the last item was just made to be bytes"),
        }
    }

    /// Sends until nothing is left, the socket is full, data is cold, or `budget` is used up.
    pub(crate) fn flush(
        &mut self,
        fd: BorrowedFd<'_>,
        kind: SocketKind,
        budget: &mut usize,
        pipes: &mut Pipes,
        moved: &mut Moved,
    ) -> Result<Flushed, SendFault> {
        while let Some(item) = self.items.front() {
            if *budget == 0 {
                return Ok(Flushed::Spent);
            }
            if kind != SocketKind::Local && !self.is_corked && self.wants_cork(item) {
                self.is_corked = sockopt::set_tcp_cork(fd, true).is_ok();
            }
            let step = match item {
                Item::Mapped(_) => self.send_gathered(fd, budget, moved)?,
                Item::Bytes(..) if matches!(self.items.get(1), Some(Item::Mapped(_))) => {
                    self.send_gathered(fd, budget, moved)?
                }
                Item::Bytes(..) => self.send_bytes(fd, budget, moved)?,
                Item::Span(..) => self.send_span(fd, budget, moved)?,
                Item::Filling(_) => Step::Stop(Flushed::Filling),
                Item::Piped(..) => self.send_piped(fd, budget, pipes, moved)?,
            };
            if let Step::Stop(flushed) = step {
                if flushed != Flushed::Blocked {
                    self.uncork(fd);
                }
                return Ok(flushed);
            }
        }
        self.uncork(fd);
        self.bytes_held = 0;
        Ok(Flushed::All)
    }

    fn wants_cork(&self, front: &Item) -> bool {
        let is_long = |item: &Item| match item {
            Item::Span(span, _) | Item::Filling(span) => span.length >= CORK_BYTES_MIN,
            Item::Piped(_, span) => span.length >= CORK_BYTES_MIN,
            Item::Bytes(..) | Item::Mapped(_) => false,
        };
        is_long(front) || self.items.get(1).is_some_and(is_long)
    }

    fn uncork(&mut self, fd: BorrowedFd<'_>) {
        if self.is_corked {
            self.is_corked = false;
            if let Err(error) = sockopt::set_tcp_cork(fd, false) {
                tracing::debug!(%error, "a cork stays in a socket that is going away");
            }
        }
    }

    fn send_bytes(
        &mut self,
        fd: BorrowedFd<'_>,
        budget: &mut usize,
        moved: &mut Moved,
    ) -> Result<Step, SendFault> {
        let has_more = self.items.len() > 1;
        let Some(Item::Bytes(bytes, at)) = self.items.front_mut() else {
            return Ok(Step::Next);
        };
        let more = if has_more {
            SendFlags::MORE
        } else {
            SendFlags::empty()
        };
        let rest = bytes.get(*at..).unwrap_or(&[]);
        if rest.is_empty() {
            self.items.pop_front();
            return Ok(Step::Next);
        }
        match rustix::net::send(fd, rest, SendFlags::NOSIGNAL | SendFlags::DONTWAIT | more) {
            Ok(sent) => {
                *at += sent;
                *budget = budget.saturating_sub(sent);
                moved.copied += sent as u64;
                self.bytes_held = self.bytes_held.saturating_sub(sent);
                if *at == bytes.len() {
                    self.items.pop_front();
                }
                Ok(Step::Next)
            }
            Err(Errno::AGAIN) => Ok(Step::Stop(Flushed::Blocked)),
            Err(Errno::INTR) => Ok(Step::Next),
            Err(_) => Err(SendFault::Socket),
        }
    }

    /// Sends the bytes and mapped spans at the front in one call.
    fn send_gathered(
        &mut self,
        fd: BorrowedFd<'_>,
        budget: &mut usize,
        moved: &mut Moved,
    ) -> Result<Step, SendFault> {
        let mut pieces = Pieces::new();
        let mut count = 0;
        for item in &self.items {
            let is_added = pieces.bytes() < *budget
                && match item {
                    Item::Bytes(bytes, at) => pieces.add_bytes(bytes.get(*at..).unwrap_or(&[])),
                    Item::Mapped(span) => pieces.add_mapped(span),
                    _ => false,
                };
            if !is_added {
                break;
            }
            count += 1;
        }
        let more = if self.items.len() > count {
            SendFlags::MORE
        } else {
            SendFlags::empty()
        };
        match pieces.send(fd, SendFlags::NOSIGNAL | SendFlags::DONTWAIT | more) {
            Ok(sent) => {
                *budget = budget.saturating_sub(sent);
                moved.copied += sent as u64;
                self.drop_sent(sent);
                Ok(Step::Next)
            }
            Err(Errno::AGAIN) => Ok(Step::Stop(Flushed::Blocked)),
            Err(Errno::INTR) => Ok(Step::Next),
            Err(Errno::FAULT) => {
                for item in self.items.iter().take(count) {
                    if let Item::Mapped(span) = item {
                        span.give_up();
                    }
                }
                Err(SendFault::Span(SpanFault::Short { bytes: 0 }))
            }
            Err(_) => Err(SendFault::Socket),
        }
    }

    /// Takes bytes and mapped spans that have been sent off the front.
    fn drop_sent(&mut self, mut sent: usize) {
        while let Some(item) = self.items.front_mut() {
            let left = match item {
                Item::Bytes(bytes, at) => {
                    let now = sent.min(bytes.len() - *at);
                    *at += now;
                    sent -= now;
                    self.bytes_held = self.bytes_held.saturating_sub(now);
                    bytes.len() - *at
                }
                Item::Mapped(span) => {
                    let now = sent.min(span.len());
                    span.advance(now);
                    sent -= now;
                    span.len()
                }
                _ => return,
            };
            if left > 0 {
                return;
            }
            self.items.pop_front();
        }
    }

    fn send_span(
        &mut self,
        fd: BorrowedFd<'_>,
        budget: &mut usize,
        moved: &mut Moved,
    ) -> Result<Step, SendFault> {
        let Some(Item::Span(span, seen)) = self.items.front_mut() else {
            return Ok(Step::Next);
        };
        // Tested ahead, so that the file goes out in pieces as large as the socket takes.
        if seen.resident < span.length.min(WINDOW_BYTES) {
            match seen.look_ahead(span) {
                Ok(()) if seen.resident > 0 => {}
                Ok(()) => {
                    let has_arrived = span.file.passage(span.offset, 1) == Passage::Open(1);
                    let cold = if has_arrived {
                        Flushed::Cold
                    } else {
                        Flushed::Absent
                    };
                    return Ok(Step::Stop(cold));
                }
                Err(fault) => return Err(SendFault::Span(fault)),
            }
        }
        let mut offset = span.offset;
        let count = seen.resident.min(span.length) as usize;
        match rustix::fs::sendfile(fd, &*span.file, Some(&mut offset), count) {
            Ok(0) => Err(SendFault::Span(SpanFault::Short { bytes: 0 })),
            Ok(sent) => {
                span.offset += sent as u64;
                span.length -= sent as u64;
                seen.resident -= sent as u64;
                *budget = budget.saturating_sub(sent);
                moved.by_sendfile += sent as u64;
                if span.length == 0 {
                    self.items.pop_front();
                } else if sent < count {
                    // The socket is full. Asking again would read 64 KiB in vain.
                    return Ok(Step::Stop(Flushed::Blocked));
                }
                Ok(Step::Next)
            }
            Err(Errno::AGAIN) => Ok(Step::Stop(Flushed::Blocked)),
            Err(Errno::INTR) => Ok(Step::Next),
            Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => Err(SendFault::Socket),
            Err(error) => Err(SendFault::Span(SpanFault::Read(error))),
        }
    }

    fn send_piped(
        &mut self,
        fd: BorrowedFd<'_>,
        budget: &mut usize,
        pipes: &mut Pipes,
        moved: &mut Moved,
    ) -> Result<Step, SendFault> {
        let has_more = self.items.len() > 1;
        let Some(Item::Piped(pipe, left)) = self.items.front_mut() else {
            return Ok(Step::Next);
        };
        let count = left.length as usize;
        let more = if has_more {
            SpliceFlags::MORE
        } else {
            SpliceFlags::empty()
        };
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK | more;
        match splice(&pipe.reader, None, fd, None, count, flags) {
            Ok(0) => Err(SendFault::Socket),
            Ok(sent) => {
                left.offset += sent as u64;
                left.length -= sent as u64;
                *budget = budget.saturating_sub(sent);
                moved.by_splice += sent as u64;
                if left.length == 0
                    && let Some(Item::Piped(pipe, _)) = self.items.pop_front()
                {
                    pipes.give_back(pipe);
                }
                Ok(Step::Next)
            }
            Err(Errno::AGAIN) => Ok(Step::Stop(Flushed::Blocked)),
            Err(Errno::INTR) => Ok(Step::Next),
            Err(_) => Err(SendFault::Socket),
        }
    }

    /// Whether it keeps a pipe.
    pub(crate) fn holds_pipe(&self) -> bool {
        self.items
            .iter()
            .any(|item| matches!(item, Item::Piped(..)))
    }

    /// Gives every pipe up: what it holds lies in the page cache since it was read, and is sent
    /// from there, or read once more if the host needed the memory.
    pub(crate) fn spill(&mut self, pipes: &mut Pipes) {
        for item in &mut self.items {
            let Item::Piped(_, span) = item else {
                continue;
            };
            let span = Item::Span(span.clone(), Seen::behind_cold());
            if let Item::Piped(pipe, _) = std::mem::replace(item, span) {
                pipes.discard(pipe);
            }
        }
    }

    /// Gives back every pipe when the connection ends.
    pub(crate) fn clear(&mut self, pipes: &mut Pipes) {
        for item in self.items.drain(..) {
            if let Item::Piped(pipe, _) = item {
                pipes.discard(pipe);
            }
        }
    }
}

enum Step {
    Next,
    Stop(Flushed),
}

/// Whether every byte of a span is at this node.
pub(crate) fn has_arrived(span: &FileSpan) -> bool {
    span.file.passage(span.offset, span.length) == Passage::Open(span.length)
}

/// Whether a whole span of at most one framed reply is in memory.
pub(crate) fn is_all_resident(span: &FileSpan) -> bool {
    has_arrived(span)
        && matches!(
            is_resident(span, 0, span.length, PROBE_STEP_BYTES),
            Ok(true)
        )
}

/// Whether `window` bytes of a span from `start` are in the page cache. One byte is read at the
/// start, at every `step` bytes, and at the end (large folios leave holes between).
fn is_resident(span: &FileSpan, start: u64, window: u64, step: u64) -> Result<bool, SpanFault> {
    if span.file.lives_in_memory() {
        let end = span.offset + start + window;
        let stat = rustix::fs::fstat(&*span.file);
        return Ok(stat.is_ok_and(|stat| u64::try_from(stat.st_size).is_ok_and(|size| size >= end)));
    }
    let is_there = probe(span, (start, window), step)?;
    span.file.note_look(is_there);
    Ok(is_there)
}

/// Reads bytes of a window, without waiting for the disk.
fn probe(span: &FileSpan, (start, window): (u64, u64), step: u64) -> Result<bool, SpanFault> {
    let last = window.saturating_sub(1);
    let is_short = last < step && span.file.is_held();
    let steps = (0..last).step_by(step as usize).skip(usize::from(is_short));
    for at in steps.chain(std::iter::once(last)) {
        let mut byte = [0];
        let mut buffers = [std::io::IoSliceMut::new(&mut byte)];
        let offset = span.offset + start + at;
        let file = span.file.as_fd();
        match rustix::io::preadv2(file, &mut buffers, offset, ReadWriteFlags::NOWAIT) {
            Ok(0) => return Err(SpanFault::Short { bytes: start + at }),
            Ok(_) => {}
            Err(Errno::AGAIN | Errno::INTR) => return Ok(false),
            // Not every file system can tell; there everything is cold.
            Err(Errno::OPNOTSUPP) => return Ok(false),
            Err(error) => return Err(SpanFault::Read(error)),
        }
    }
    Ok(true)
}
