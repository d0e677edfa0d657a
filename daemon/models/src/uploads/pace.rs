//! How fast a body must come: the same bounds as for every other transfer of the node.
//!
//! Governed by `limits.stall_timeout` and `limits.progress_per_s`. Invariant: only time in which
//! this node waits for the sender counts; a pause passes, a dribble does not. Not promised:
//! precision better than a window.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use tokio::time::timeout;
use towline_base::clock;

/// Time in which what has come is counted, as `towline_io` counts it.
const WINDOW: Duration = Duration::from_secs(10);

/// Windows in a row in which less came than must, before a sender is cut: a pause begins and ends
/// in the middle of one.
const SLOW_WINDOWS_MAX: u32 = 3;

/// The body of a request: as it comes in, or whole and here already.
pub type Inflow = Either<Incoming, Full<Bytes>>;

/// How fast it must be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// How long nothing at all may come.
    pub(crate) stall_max: Duration,
    /// Fewer bytes a second count as nothing.
    pub(crate) bytes_per_s: u64,
}

/// Why a body has no more bytes.
#[derive(Debug)]
pub(crate) enum Ended {
    Broken(String),
    Slow(String),
}

/// Watches one body.
pub(crate) struct Pace {
    bounds: Bounds,
    waited: Duration,
    moved: u64,
    slow: u32,
}

impl Pace {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            waited: Duration::ZERO,
            moved: 0,
            slow: 0,
        }
    }

    /// The next bytes of a body; `None` behind the last.
    pub(crate) async fn next(&mut self, body: &mut Inflow) -> Result<Option<Bytes>, Ended> {
        loop {
            let begun = clock::now();
            let frame = match timeout(self.bounds.stall_max, body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(Ended::Broken(error.to_string())),
                Err(_) => {
                    let seconds = self.bounds.stall_max.as_secs();
                    return Err(Ended::Slow(format!(
                        "nothing came for {seconds} s, which is limits.stall_timeout of the \
                         node: go on from where it broke off"
                    )));
                }
            };
            let Ok(piece) = frame.into_data() else {
                continue;
            };
            self.judge(begun.elapsed(), piece.len() as u64)?;
            return Ok(Some(piece));
        }
    }

    /// Counts bytes that came after so long.
    fn judge(&mut self, waited: Duration, bytes: u64) -> Result<(), Ended> {
        self.waited += waited;
        self.moved += bytes;
        let window = WINDOW.min(self.bounds.stall_max);
        if self.waited < window {
            return Ok(());
        }
        let least = self.bounds.bytes_per_s.saturating_mul(window.as_secs());
        self.slow = match self.moved < least {
            true => self.slow + 1,
            false => 0,
        };
        (self.waited, self.moved) = (Duration::ZERO, 0);
        if self.slow < SLOW_WINDOWS_MAX {
            return Ok(());
        }
        Err(Ended::Slow(format!(
            "fewer than {} bytes came a second, which is limits.progress_per_s of the node: go on \
             from where it broke off, faster",
            self.bounds.bytes_per_s
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace() -> Pace {
        Pace::new(Bounds {
            stall_max: Duration::from_secs(120),
            bytes_per_s: 1_000,
        })
    }

    #[test]
    fn a_dribble_ends_and_what_is_just_fast_enough_or_pauses_does_not() {
        let second = Duration::from_secs(1);
        let mut slow = pace();
        let mut seconds = 0;
        while slow.judge(second, 999).is_ok() {
            seconds += 1;
            assert!(seconds < 1_000, "it never ends");
        }
        assert_eq!(seconds, 29);
        let mut enough = pace();
        assert!((0..1_000).all(|_| enough.judge(second, 1_000).is_ok()));
        let mut pausing = pace();
        for _ in 0..100 {
            assert!(pausing.judge(60 * second, 100).is_ok(), "a pause");
            assert!((0..10).all(|_| pausing.judge(second, 1 << 20).is_ok()));
        }
    }
}
