//! Pipes that carry file data past user space, pooled because making one costs three calls.
//!
//! There are few, and many want them: no client has more than its share, and whoever waits is
//! served in turn by client ([`Queue`]). Invariant: a pipe in the pool is empty. One that may still
//! hold bytes is dropped instead of given back. Not promised: a capacity; the kernel may give less
//! than [`PIPE_BYTES`] to a user that has many (pipe(7), pipe-user-pages-soft).

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

/// Capacity that is asked for, in bytes: one NFS READ, and the largest that an ordinary user may
/// have (pipe-max-size).
pub(crate) const PIPE_BYTES: usize = 1 << 20;

/// A pipe, both ends.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) reader: OwnedFd,
    /// Shared with the engine while it fills the pipe.
    pub(crate) writer: Arc<OwnedFd>,
    /// Whom it was taken for.
    client: Option<IpAddr>,
}

/// One worker's pipes.
#[derive(Debug)]
pub(crate) struct Pipes {
    free: Vec<Pipe>,
    out: usize,
    out_max: usize,
    by_client: HashMap<IpAddr, usize>,
}

impl Pipes {
    /// At most `out_max` in use at a time; at least one.
    pub(crate) fn new(out_max: usize) -> Self {
        Self {
            free: Vec::new(),
            out: 0,
            out_max: out_max.max(1),
            by_client: HashMap::new(),
        }
    }

    /// A pipe, unless all are in use, or this client has its share: three of four, so that one
    /// client alone still keeps a disk busy and the others find a pipe when they come.
    pub(crate) fn take(&mut self, client: IpAddr) -> Result<Option<Pipe>, Errno> {
        let share = (self.out_max / 4 * 3).max(1);
        let has = self.by_client.get(&client).copied().unwrap_or(0);
        if !self.has_room() || has >= share {
            return Ok(None);
        }
        let mut pipe = match self.free.pop() {
            Some(pipe) => pipe,
            None => make()?,
        };
        pipe.client = Some(client);
        self.out += 1;
        self.by_client.insert(client, has + 1);
        Ok(Some(pipe))
    }

    /// Whether not all are in use.
    pub(crate) fn has_room(&self) -> bool {
        self.out < self.out_max
    }

    /// Gives an empty pipe back.
    pub(crate) fn give_back(&mut self, mut pipe: Pipe) {
        self.left(pipe.client.take());
        self.free.push(pipe);
    }

    /// Drops a pipe that may hold bytes.
    pub(crate) fn discard(&mut self, mut pipe: Pipe) {
        self.left(pipe.client.take());
    }

    fn left(&mut self, client: Option<IpAddr>) {
        self.out -= 1;
        let Some(client) = client else {
            return;
        };
        match self.by_client.get_mut(&client) {
            Some(has) if *has > 1 => *has -= 1,
            _ => {
                self.by_client.remove(&client);
            }
        }
    }
}

/// Who waits for a pipe: in turn by client, and in order for each.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    turns: VecDeque<IpAddr>,
    waiting: HashMap<IpAddr, VecDeque<T>>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            turns: VecDeque::new(),
            waiting: HashMap::new(),
        }
    }
}

impl<T> Queue<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    pub(crate) fn push(&mut self, client: IpAddr, waiter: T) {
        let line = self.waiting.entry(client).or_default();
        if line.is_empty() {
            self.turns.push_back(client);
        }
        line.push_back(waiter);
    }

    /// The next one for whom `take` has something; those of clients that get nothing wait on.
    pub(crate) fn next<P>(&mut self, mut take: impl FnMut(IpAddr) -> Option<P>) -> Option<(T, P)> {
        for _ in 0..self.turns.len() {
            let client = self.turns.pop_front()?;
            let Some(pipe) = take(client) else {
                self.turns.push_back(client);
                continue;
            };
            let line = self.waiting.get_mut(&client);
            let waiter = line.and_then(VecDeque::pop_front);
            match self.waiting.get(&client).is_none_or(VecDeque::is_empty) {
                true => {
                    self.waiting.remove(&client);
                }
                false => self.turns.push_back(client),
            }
            return waiter.map(|waiter| (waiter, pipe));
        }
        None
    }
}

/// A new pipe of [`PIPE_BYTES`] if the kernel allows, else of what it gives.
pub(crate) fn make() -> Result<Pipe, Errno> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    if let Err(error) = fcntl_setpipe_size(&writer, PIPE_BYTES) {
        tracing::debug!(%error, "a pipe keeps its default size");
    }
    Ok(Pipe {
        reader,
        writer: Arc::new(writer),
        client: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn one_client_leaves_a_pipe_for_another_and_all_have_no_more_than_there_are() {
        let mut pipes = Pipes::new(4);
        let mut take = |last| pipes.take(client(last)).unwrap();
        let first: Vec<_> = (0..3).map(|_| take(1).unwrap()).collect();
        assert!(take(1).is_none(), "the share of one client");
        let other = take(2).unwrap();
        assert!(take(3).is_none(), "all are in use");
        pipes.give_back(other);
        assert!(pipes.take(client(1)).unwrap().is_none());
        for pipe in first {
            pipes.discard(pipe);
        }
        assert!(pipes.take(client(1)).unwrap().is_some());
    }

    #[test]
    fn clients_take_turns_and_one_that_gets_nothing_holds_up_nobody() {
        let mut queue = Queue::default();
        for number in 0..3 {
            queue.push(client(1), (1, number));
        }
        queue.push(client(2), (2, 0));
        let mut next = |barred: Option<u8>| {
            let take = |who| (Some(who) != barred.map(client)).then_some(());
            queue.next(take).map(|(waiter, ())| waiter)
        };
        assert_eq!(next(None), Some((1, 0)));
        assert_eq!(next(None), Some((2, 0)));
        assert_eq!(next(Some(1)), None);
        assert_eq!(next(None), Some((1, 1)));
        assert_eq!(next(None), Some((1, 2)));
        assert!(queue.is_empty());
    }
}
