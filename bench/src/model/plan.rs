//! The requests that a loader makes: where, how long, in which order.
//!
//! Invariant: the pieces cover the header and every tensor, in the order of the file, none longer
//! than the way or the source allows.

use crate::source::Source;

/// Bytes of a request by range: what loaders ask for at a time.
const RANGE_BYTES: u32 = 4 << 20;
/// First request of a tensor by faults: one page.
const FAULT_BYTES_MIN: u32 = 4 << 10;
/// Longest one: the kernel's usual read-ahead (`read_ahead_kb`, 128).
const FAULT_BYTES_MAX: u32 = 128 << 10;

/// How a loader reads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Way {
    /// Large requests, several in flight.
    Range,
    /// Page faults with read-ahead, one at a time.
    Faults,
}

impl Way {
    /// Its name in figures.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::Faults => "faults",
        }
    }

    /// Its longest request.
    pub(super) fn bytes_max(self, source: &dyn Source) -> u32 {
        let most = match self {
            Self::Range => RANGE_BYTES,
            Self::Faults => FAULT_BYTES_MAX,
        };
        most.min(source.block_bytes_max())
    }
}

/// One request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Piece {
    pub(super) offset: u64,
    pub(super) length: u32,
}

/// The requests for a header and tensors of (offset, length), sorted by offset.
pub(super) fn pieces(source: &dyn Source, tensors: &[(u64, u64)], way: Way) -> Vec<Piece> {
    let header = tensors.first().map_or(0, |first| first.0);
    let most = way.bytes_max(source);
    let mut found = Vec::new();
    for (offset, length) in [(0, header)].into_iter().chain(tensors.iter().copied()) {
        cut(
            offset,
            length.min(source.bytes().saturating_sub(offset)),
            way,
            most,
            &mut found,
        );
    }
    found
}

fn cut(offset: u64, length: u64, way: Way, most: u32, found: &mut Vec<Piece>) {
    let mut step = match way {
        Way::Range => most,
        Way::Faults => FAULT_BYTES_MIN.min(most),
    };
    let (mut at, end) = (offset, offset + length);
    while at < end {
        let length = (end - at).min(step.into()) as u32;
        found.push(Piece { offset: at, length });
        at += u64::from(length);
        step = step.saturating_mul(2).min(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_grow_to_the_read_ahead_and_cover_all() {
        let mut found = Vec::new();
        cut(100, 1_000_000, Way::Faults, FAULT_BYTES_MAX, &mut found);
        let sizes: Vec<u32> = found
            .iter()
            .take(6)
            .map(|piece| piece.length >> 10)
            .collect();
        assert_eq!(sizes, [4, 8, 16, 32, 64, 128]);
        let mut at = 100;
        for piece in found {
            assert_eq!(piece.offset, at);
            at += u64::from(piece.length);
        }
        assert_eq!(at, 1_000_100);
    }
}
