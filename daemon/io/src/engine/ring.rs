//! Reading cold file data through io_uring(7).
//!
//! Invariant: an order stays with the ring until its end. Not promised: an order of completions.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;
use towline_sys::splices::{Ends, SpliceRing};

use super::{Event, FillOrder, Filler};
use crate::token::Token;

pub(super) struct Ring(SpliceRing<FillOrder>);

impl Ends for FillOrder {
    fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    fn pipe(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

impl Ring {
    pub(super) fn new() -> Result<Self, Errno> {
        SpliceRing::new().map(Self)
    }
}

impl Filler for Ring {
    fn fill(&mut self, order: FillOrder) -> Result<(), Errno> {
        let (offset, bytes) = (order.offset, order.bytes);
        self.0.fill(order.token.to_bits(), order, offset, bytes)
    }

    fn collect(&mut self, events: &mut Vec<Event>) {
        let told = self.0.collect(|number, result| {
            events.push(Event::Filled(Token::from_bits(number), result));
        });
        if let Err(error) = told {
            tracing::debug!(%error, "a fill waits for the next turn");
        }
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }
}
