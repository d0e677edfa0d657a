//! Stateids: how a client names an open, a lock or a delegation (RFC 8881 section 8.2).
//!
//! `other` is the node's start (4 bytes), the kind (1) and a number that is never given twice
//! (7): an id of an earlier start is told from one of this start, and none comes again. Invariant:
//! the special ids of section 8.2.3 are told apart before anything is looked up. Not promised:
//! secrecy; whoever uses one must be the client that it was given to.

use crate::xdr::{Malformed, Reader, Writer};

/// Bytes of `other` (RFC 8881 section 3.3.12, `NFS4_OTHER_SIZE`).
pub const OTHER_BYTES: usize = 12;

/// What names a piece of state, over all its changes.
pub type Other = [u8; OTHER_BYTES];

/// A stateid (RFC 8881 section 3.3.12).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct StateId {
    /// Counts the changes; 0 means the newest (section 8.2.2).
    pub seqid: u32,
    /// Which state.
    pub other: Other,
}

/// What a stateid names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Kind {
    /// An open of a file.
    Open = 1,
    /// The locks of one owner on a file.
    Lock = 2,
    /// A delegation.
    Delegation = 3,
}

/// What a client's stateid means (RFC 8881 section 8.2.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Meaning {
    /// All zeros: no state at all.
    Anonymous,
    /// All ones: READ passes over deny modes; elsewhere like zeros.
    Bypass,
    /// The one that an operation before it in the same COMPOUND has left.
    Current,
    /// Reserved and without meaning.
    Invalid,
    /// One that was given out, perhaps by us.
    Given(StateId),
}

impl StateId {
    /// Reads one.
    ///
    /// # Errors
    /// [`Malformed`] if fewer than 16 bytes are left.
    pub fn parse(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let seqid = from.u32()?;
        let other = from.fixed()?;
        Ok(Self { seqid, other })
    }

    /// Writes it.
    pub fn write(&self, out: &mut Writer<'_>) {
        out.u32(self.seqid);
        out.fixed(&self.other);
    }

    /// What it means.
    #[must_use]
    pub fn meaning(self) -> Meaning {
        const ZEROS: Other = [0; OTHER_BYTES];
        const ONES: Other = [0xff; OTHER_BYTES];
        match (self.other, self.seqid) {
            (ZEROS, 0) => Meaning::Anonymous,
            (ZEROS, 1) => Meaning::Current,
            (ONES, u32::MAX) => Meaning::Bypass,
            (ZEROS | ONES, _) => Meaning::Invalid,
            _ => Meaning::Given(self),
        }
    }

    /// The next one of the same state: seqids pass over 0 (RFC 8881 section 8.2.2).
    #[must_use]
    pub fn next_seqid(seqid: u32) -> u32 {
        seqid.wrapping_add(1).max(1)
    }
}

/// A new `other`.
#[must_use]
pub fn other(epoch: u32, kind: Kind, number: u64) -> Other {
    let [a, b, c, d] = epoch.to_be_bytes();
    let [_, n @ ..] = number.to_be_bytes();
    let [e, f, g, h, i, j, k] = n;
    [a, b, c, d, kind as u8, e, f, g, h, i, j, k]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_ids_are_told_apart_from_given_ones() {
        let of = |seqid, other| StateId { seqid, other }.meaning();
        assert_eq!(of(0, [0; 12]), Meaning::Anonymous);
        assert_eq!(of(1, [0; 12]), Meaning::Current);
        assert_eq!(of(2, [0; 12]), Meaning::Invalid);
        assert_eq!(of(u32::MAX, [0; 12]), Meaning::Invalid);
        assert_eq!(of(u32::MAX, [0xff; 12]), Meaning::Bypass);
        assert_eq!(of(1, [0xff; 12]), Meaning::Invalid);
        let given = other(7, Kind::Open, 1);
        assert!(matches!(of(0, given), Meaning::Given(_)));
    }

    #[test]
    fn no_two_numbers_or_starts_share_an_id() {
        let mut seen = std::collections::HashSet::new();
        for epoch in [1, 2, u32::MAX] {
            for number in [0, 1, 255, 256, (1 << 56) - 1] {
                for kind in [Kind::Open, Kind::Lock, Kind::Delegation] {
                    assert!(seen.insert(other(epoch, kind, number)));
                }
            }
        }
    }

    #[test]
    fn a_seqid_is_never_zero() {
        assert_eq!(StateId::next_seqid(1), 2);
        assert_eq!(StateId::next_seqid(u32::MAX), 1);
    }
}
