//! All connections of one way of reading, waited for together (epoll(7)).
//!
//! Invariant: a connection that the server closed between two requests is opened again, once; one
//! that it closed inside an answer ends the measurement.

use std::time::Duration;

use towline_base::clock;

use super::line::{Line, Progress};
use super::{HttpSource, SILENCE_MAX};
use crate::poll::Poll;
use crate::source::{Access, Queue, SourceError, Told};

pub(super) struct HttpQueue<'a> {
    source: &'a HttpSource,
    poll: Poll,
    lines: Vec<Line>,
    /// Answers are longer than blocks, and go on when nobody asks any more.
    goes_on: bool,
    /// Slots whose block was in the buffer already when it was asked for.
    finished: Vec<usize>,
}

impl<'a> HttpQueue<'a> {
    pub(super) fn open(source: &'a HttpSource, access: &Access) -> Result<Self, SourceError> {
        let poll = Poll::new(false);
        let poll = poll.map_err(|error| SourceError::server("epoll", format!("{error:#}")))?;
        let line = |slot| Line::open(source, &poll, slot, access);
        let lines: Result<Vec<Line>, SourceError> = (0..access.depth as usize).map(line).collect();
        Ok(Self {
            source,
            lines: lines?,
            poll,
            goes_on: access.is_sequential,
            finished: Vec::new(),
        })
    }
}

impl Queue for HttpQueue<'_> {
    fn submit(&mut self, slot: usize, offset: u64, length: u32) -> Result<(), SourceError> {
        let Some(line) = self.lines.get_mut(slot) else {
            return Ok(());
        };
        if line.ask(self.source, &self.poll, slot, (offset, length))? {
            self.finished.push(slot);
        }
        Ok(())
    }

    fn arrived(&self) -> Option<u64> {
        let arrived = self.lines.iter().map(Line::arrived).sum();
        self.goes_on.then_some(arrived)
    }

    fn wait(&mut self, told: &mut Told<'_>) -> Result<(), SourceError> {
        let mut any = false;
        for slot in std::mem::take(&mut self.finished) {
            if let Some(line) = self.lines.get_mut(slot) {
                line.tell(slot, told)?;
                any = true;
            }
        }
        let begun = clock::now();
        loop {
            let patience = match any {
                true => Duration::ZERO,
                false => SILENCE_MAX.saturating_sub(begun.elapsed()),
            };
            let ready = self.poll.wait(patience);
            let ready =
                ready.map_err(|error| SourceError::server("epoll", format!("{error:#}")))?;
            if ready.is_empty() {
                let why = format!("no byte came for {} s", SILENCE_MAX.as_secs());
                let silent = SourceError::server(self.source.place.path.clone(), why);
                return any.then_some(()).ok_or(silent);
            }
            for token in ready.into_iter().map(|ready| ready.token) {
                let Some(line) = self.lines.get_mut(token) else {
                    continue;
                };
                match line.receive(self.source)? {
                    Progress::Whole if line.is_asked() => {
                        line.tell(token, told)?;
                        any = true;
                    }
                    Progress::Whole | Progress::Partial => {}
                    Progress::Closed { is_lost: true } => {
                        let why = "the server closed the connection inside an answer";
                        return Err(SourceError::server(self.source.place.path.clone(), why));
                    }
                    Progress::Closed { is_lost: false } => {
                        line.renew(self.source, &self.poll, token)?;
                        line.send(self.source)?;
                    }
                }
            }
            if any {
                return Ok(());
            }
        }
    }
}
