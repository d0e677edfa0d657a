//! Datagrams of a UDP stream: greeting, header, and the receiver's arithmetic.
//!
//! Sequence numbers begin at 1 in each stream. Jitter is that of RFC 1889 section 6.3.1 and
//! appendix A.8; clocks need not agree, since only differences count. Invariant: any header is
//! accepted, and no sequence of them can overflow a counter.

/// What a client sends to open a stream.
pub const HELLO: [u8; 4] = *b"9876";

/// What a server answers.
pub const WELCOME: [u8; 4] = *b"6789";

/// What servers before 3.10 answer.
pub const WELCOME_OLD: [u8; 4] = [0xb1, 0x68, 0xde, 0x3a];

/// Bytes of the header with 32-bit counters.
pub const HEADER_BYTES: usize = 12;

/// Bytes of the header with 64-bit counters.
pub const HEADER_64_BYTES: usize = 16;

/// The header of one datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// When it was sent by the sender's clock, in microseconds.
    pub sent_us: u64,
    /// Its number from 1.
    pub sequence: u64,
}

impl Header {
    /// Writes the header to the front of `datagram`; one that is too short stays as it is.
    pub fn encode(self, wide: bool, datagram: &mut [u8]) {
        let seconds = (self.sent_us / 1_000_000) as u32;
        let micros = (self.sent_us % 1_000_000) as u32;
        let mut bytes = [0; HEADER_64_BYTES];
        bytes[..4].copy_from_slice(&seconds.to_be_bytes());
        bytes[4..8].copy_from_slice(&micros.to_be_bytes());
        let length = if wide {
            bytes[8..].copy_from_slice(&self.sequence.to_be_bytes());
            HEADER_64_BYTES
        } else {
            bytes[8..12].copy_from_slice(&(self.sequence as u32).to_be_bytes());
            HEADER_BYTES
        };
        if let Some(place) = datagram.get_mut(..length) {
            place.copy_from_slice(&bytes[..length]);
        }
    }

    /// The header of `datagram`; `None` if it is too short for one.
    #[must_use]
    pub fn decode(wide: bool, datagram: &[u8]) -> Option<Self> {
        let (seconds, rest) = datagram.split_first_chunk::<4>()?;
        let (micros, rest) = rest.split_first_chunk::<4>()?;
        let sequence = if wide {
            u64::from_be_bytes(*rest.first_chunk::<8>()?)
        } else {
            u64::from(u32::from_be_bytes(*rest.first_chunk::<4>()?))
        };
        let seconds = u64::from(u32::from_be_bytes(*seconds));
        let micros = u64::from(u32::from_be_bytes(*micros));
        Some(Self {
            sent_us: seconds * 1_000_000 + micros,
            sequence,
        })
    }
}

/// What a receiver has counted so far, the omitted time included.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reception {
    /// Highest sequence number seen.
    pub highest: u64,
    /// Numbers that were skipped and did not come later.
    pub lost: u64,
    /// Datagrams that came after a higher one.
    pub out_of_order: u64,
    /// Smoothed jitter in seconds.
    pub jitter_s: f64,
    transit_us: Option<i64>,
}

impl Reception {
    /// Counts one datagram that arrived at `now_us` of this end's clock.
    pub fn count(&mut self, header: Header, now_us: u64) {
        let expected = self.highest.saturating_add(1);
        if header.sequence >= expected {
            self.lost = self.lost.saturating_add(header.sequence - expected);
            self.highest = header.sequence;
        } else {
            self.out_of_order += 1;
            self.lost = self.lost.saturating_sub(1);
        }
        let transit = (now_us as i64).wrapping_sub(header.sent_us as i64);
        if let Some(before) = self.transit_us {
            let difference = transit.saturating_sub(before).unsigned_abs() as f64 / 1e6;
            self.jitter_s += (difference - self.jitter_s) / 16.0;
        }
        self.transit_us = Some(transit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back_in_both_widths() {
        for wide in [false, true] {
            let mut datagram = [9; 20];
            let header = Header {
                sent_us: 5_000_007,
                sequence: 300,
            };
            header.encode(wide, &mut datagram);
            assert_eq!(Header::decode(wide, &datagram), Some(header));
            assert_eq!(Header::decode(wide, &datagram[..11]), None);
        }
    }

    #[test]
    fn gaps_are_lost_and_latecomers_are_found_again() {
        let mut reception = Reception::default();
        for sequence in [1, 2, 5, 4, 6] {
            let sent_us = sequence * 1000;
            reception.count(Header { sent_us, sequence }, sent_us + 40);
        }
        assert_eq!((reception.highest, reception.lost), (6, 1));
        assert_eq!((reception.out_of_order, reception.jitter_s), (1, 0.0));
        let sequence = u64::MAX;
        reception.count(
            Header {
                sent_us: 0,
                sequence,
            },
            0,
        );
        reception.count(
            Header {
                sent_us: u64::MAX,
                sequence,
            },
            7,
        );
        assert!(reception.jitter_s.is_finite());
    }
}
