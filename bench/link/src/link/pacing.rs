//! Sending at a rate without burning a core: sleep while ahead of it.
//!
//! Invariant: over any time since the start the average is at most the rate plus one burst. A
//! sender sleeps only when it is ahead by [`STEP`] or more, so fast streams wake up two thousand
//! times a second and not once per block. Not promised: smoothness finer than that.

use std::time::{Duration, Instant};

use towline_base::clock;

/// How far ahead a sender may run before it sleeps.
const STEP: Duration = Duration::from_micros(500);

/// Longest sleep in one piece, so that a stop is noticed.
const NAP_MAX: Duration = Duration::from_millis(20);

/// Keeps one stream at its rate.
#[derive(Debug)]
pub struct Pacer {
    bits_per_s: u64,
    burst_blocks: u32,
    begun: Instant,
    bits: f64,
    blocks: u32,
}

impl Pacer {
    /// A pacer for `bits_per_s`, 0: no limit. Of each `burst_blocks` blocks all but the first go
    /// without a look at the clock.
    #[must_use]
    pub fn new(bits_per_s: u64, burst_blocks: u32) -> Self {
        Self {
            bits_per_s,
            burst_blocks: burst_blocks.max(1),
            begun: clock::now(),
            bits: 0.0,
            blocks: 0,
        }
    }

    /// Whether there is a rate to keep.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        self.bits_per_s > 0
    }

    /// Waits until the next block may go. False when `stopped` says so first.
    pub fn wait(&mut self, stopped: impl Fn() -> bool) -> bool {
        if self.bits_per_s == 0 || !self.blocks.is_multiple_of(self.burst_blocks) {
            return !stopped();
        }
        let due = Duration::from_secs_f64(self.bits / self.bits_per_s as f64);
        loop {
            if stopped() {
                return false;
            }
            let ahead = due.saturating_sub(self.begun.elapsed());
            if ahead < STEP {
                return true;
            }
            std::thread::sleep(ahead.min(NAP_MAX));
        }
    }

    /// Counts a block of `bytes` that went.
    pub fn sent(&mut self, bytes: usize) {
        self.bits += bytes as f64 * 8.0;
        self.blocks = self.blocks.wrapping_add(1);
    }

    /// Blocks of `bytes` that are due now, 1 to `most`.
    #[must_use]
    pub fn due(&self, bytes: usize, most: usize) -> usize {
        if self.bits_per_s == 0 {
            return most.max(1);
        }
        let time = self.begun.elapsed() + STEP;
        let bits = time.as_secs_f64() * self.bits_per_s as f64 - self.bits;
        let blocks = bits / (bytes.max(1) as f64 * 8.0);
        // A negative number becomes 0 in the cast.
        (blocks as usize).clamp(1, most.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_stays_at_the_rate() {
        let mut pacer = Pacer::new(80_000_000, 0);
        let begun = clock::now();
        let mut bytes = 0;
        while begun.elapsed() < Duration::from_millis(100) {
            assert!(pacer.wait(|| false));
            pacer.sent(10_000);
            bytes += 10_000;
        }
        let allowed = begun.elapsed().as_secs_f64() * 10e6 + 20_000.0;
        assert!(f64::from(bytes) <= allowed, "{bytes} of {allowed}");
        assert!(bytes > 500_000, "{bytes}");
    }

    #[test]
    fn a_stop_is_noticed_while_it_sleeps() {
        let mut pacer = Pacer::new(1, 0);
        pacer.sent(1000);
        let begun = clock::now();
        let stop_after = Duration::from_millis(50);
        assert!(!pacer.wait(|| begun.elapsed() > stop_after));
        assert!(begun.elapsed() < Duration::from_secs(1));
    }
}
