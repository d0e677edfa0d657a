//! Proof that a part of a chunk belongs to it: BLAKE3's own tree, cut at groups of 64 KiB.
//!
//! A chunk's name is the root of a tree whose leaves are its groups, so the hashes of the subtrees
//! beside a range prove that range without the rest of the chunk: at most 6 hashes of 32 bytes for
//! one group of a 4 MiB chunk. Proofs are never stored; [`Groups::of`] makes them from the bytes.
//! Invariant: [`verify`] takes only bytes that are in the chunk at just that place. Not promised:
//! proofs for ranges that do not begin and end at groups; [`widen`] them first.

use std::ops::Range;

use blake3::Hasher;
use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root,
};

use crate::error::PeerFault;
use crate::name::ChunkId;
use crate::table::CHUNK_BYTES_MAX;

/// Bytes that are proved together.
pub const GROUP_BYTES: u64 = 64 << 10;

/// Most hashes in a proof: two sides of a tree of 64 leaves.
pub const PROOF_HASHES_MAX: usize = 12;

/// The hashes of a chunk's groups.
#[derive(Clone, Debug)]
pub struct Groups {
    length: u64,
    values: Vec<ChainingValue>,
}

/// The smallest range of whole groups around a range; both in bytes from the chunk's start.
#[must_use]
pub fn widen(length: u64, range: &Range<u64>) -> Range<u64> {
    let start = range.start / GROUP_BYTES * GROUP_BYTES;
    start.min(length)..range.end.next_multiple_of(GROUP_BYTES).min(length)
}

fn group_value(offset: u64, bytes: &[u8]) -> ChainingValue {
    let mut hasher = Hasher::new();
    hasher.set_input_offset(offset);
    hasher.update(bytes);
    hasher.finalize_non_root()
}

impl Groups {
    /// Hashes the groups of a whole chunk.
    #[must_use]
    pub fn of(chunk: &[u8]) -> Self {
        let groups = chunk.chunks(GROUP_BYTES as usize).enumerate();
        // A chunk of one group has no tree above it.
        let values = match chunk.len() as u64 > GROUP_BYTES {
            true => groups
                .map(|(at, bytes)| group_value(at as u64 * GROUP_BYTES, bytes))
                .collect(),
            false => Vec::new(),
        };
        Self {
            length: chunk.len() as u64,
            values,
        }
    }

    /// The hashes that prove a range of whole groups.
    #[must_use]
    pub fn proof(&self, range: &Range<u64>) -> Vec<[u8; 32]> {
        let mut proof = Vec::new();
        if !self.values.is_empty() {
            self.collect(0..self.length, range, &mut proof);
        }
        proof
    }

    fn collect(&self, node: Range<u64>, wanted: &Range<u64>, proof: &mut Vec<[u8; 32]>) {
        if node.end <= wanted.start || node.start >= wanted.end {
            proof.push(self.value(node));
        } else if node.end - node.start > GROUP_BYTES {
            let middle = node.start + left_subtree_len(node.end - node.start);
            self.collect(node.start..middle, wanted, proof);
            self.collect(middle..node.end, wanted, proof);
        }
    }

    fn value(&self, node: Range<u64>) -> ChainingValue {
        if node.end - node.start <= GROUP_BYTES {
            let at = (node.start / GROUP_BYTES) as usize;
            return self.values.get(at).copied().unwrap_or_default();
        }
        let middle = node.start + left_subtree_len(node.end - node.start);
        let (left, right) = (self.value(node.start..middle), self.value(middle..node.end));
        merge_subtrees_non_root(&left, &right, Mode::Hash)
    }
}

/// Checks that `bytes` are those at `range` of the chunk with this name and length.
///
/// # Errors
/// [`PeerFault::Proof`] if they are not, or the proof is not one.
pub fn verify(
    id: &ChunkId,
    length: u64,
    range: &Range<u64>,
    bytes: &[u8],
    proof: &[[u8; 32]],
) -> Result<(), PeerFault> {
    let fits = range.start < range.end
        && *range == widen(length, range)
        && bytes.len() as u64 == range.end - range.start
        && length <= u64::from(CHUNK_BYTES_MAX)
        && proof.len() <= PROOF_HASHES_MAX;
    if !fits {
        return Err(PeerFault::Proof);
    }
    if length <= GROUP_BYTES {
        let good = proof.is_empty() && blake3::hash(bytes).as_bytes() == &id.0;
        return good.then_some(()).ok_or(PeerFault::Proof);
    }
    let mut climb = Climb {
        range,
        bytes,
        proof: proof.iter(),
    };
    let middle = left_subtree_len(length);
    let left = climb.value(0..middle)?;
    let right = climb.value(middle..length)?;
    let root = merge_subtrees_root(&left, &right, Mode::Hash);
    let good = root.as_bytes() == &id.0 && climb.proof.next().is_none();
    good.then_some(()).ok_or(PeerFault::Proof)
}

struct Climb<'a> {
    range: &'a Range<u64>,
    bytes: &'a [u8],
    proof: std::slice::Iter<'a, [u8; 32]>,
}

impl Climb<'_> {
    fn value(&mut self, node: Range<u64>) -> Result<ChainingValue, PeerFault> {
        if node.end <= self.range.start || node.start >= self.range.end {
            return self.proof.next().copied().ok_or(PeerFault::Proof);
        }
        if node.end - node.start <= GROUP_BYTES {
            let from = (node.start - self.range.start) as usize;
            let to = (node.end - self.range.start) as usize;
            let group = self.bytes.get(from..to).ok_or(PeerFault::Proof)?;
            return Ok(group_value(node.start, group));
        }
        let middle = node.start + left_subtree_len(node.end - node.start);
        let left = self.value(node.start..middle)?;
        let right = self.value(middle..node.end)?;
        Ok(merge_subtrees_non_root(&left, &right, Mode::Hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 31 + at / 255) as u8).collect()
    }

    #[test]
    fn every_range_of_groups_is_proved_and_nothing_else() {
        let group = GROUP_BYTES as usize;
        for length in [
            1,
            group - 1,
            group,
            group + 1,
            3 * group,
            5 * group + 7,
            4 << 20,
        ] {
            let bytes = chunk(length);
            let id = ChunkId(*blake3::hash(&bytes).as_bytes());
            let groups = Groups::of(&bytes);
            let count = length.div_ceil(group);
            for first in (0..count).step_by(1 + count / 7) {
                for last in (first..count).step_by(1 + count / 5) {
                    let range = (first * group) as u64..(((last + 1) * group).min(length)) as u64;
                    let part = &bytes[range.start as usize..range.end as usize];
                    let proof = groups.proof(&range);
                    assert!(proof.len() <= PROOF_HASHES_MAX);
                    let length = length as u64;
                    assert_eq!(verify(&id, length, &range, part, &proof), Ok(()));
                    let mut wrong = part.to_vec();
                    wrong[part.len() / 2] ^= 1;
                    assert!(verify(&id, length, &range, &wrong, &proof).is_err());
                    if let [first, rest @ ..] = proof.as_slice() {
                        assert!(verify(&id, length, &range, part, rest).is_err());
                        let more = [&[*first], proof.as_slice()].concat();
                        assert!(verify(&id, length, &range, part, &more).is_err());
                    }
                }
            }
        }
    }

    /// Bytes of one group, with a right proof, do not pass for another place.
    #[test]
    fn a_group_at_another_place_is_refused() {
        let bytes = chunk(4 * GROUP_BYTES as usize);
        let id = ChunkId(*blake3::hash(&bytes).as_bytes());
        let groups = Groups::of(&bytes);
        let (one, two) = (0..GROUP_BYTES, GROUP_BYTES..2 * GROUP_BYTES);
        let part = &bytes[..GROUP_BYTES as usize];
        assert!(verify(&id, bytes.len() as u64, &two, part, &groups.proof(&two)).is_err());
        assert!(verify(&id, bytes.len() as u64, &one, part, &groups.proof(&two)).is_err());
        assert!(verify(&id, bytes.len() as u64, &(1..GROUP_BYTES), part, &[]).is_err());
    }
}
