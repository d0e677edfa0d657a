//! The opens of one file: share reservations (RFC 8881 sections 9.7 to 9.9, 18.16, 18.18).
//!
//! There is one open per client, owner and file; opening again adds to it. Invariant: no open is
//! given an access that another one denies, or denies what another one has. Not promised: who may
//! open at all; the kernel has decided that before.

use super::stateid::{Other, StateId};

/// `OPEN4_SHARE_ACCESS_READ` (RFC 8881 section 18.16.1).
pub const READ: u32 = 1;
/// `OPEN4_SHARE_ACCESS_WRITE` (RFC 8881 section 18.16.1).
pub const WRITE: u32 = 2;
/// Both, of access or of deny.
pub const BOTH: u32 = READ | WRITE;

/// One open.
#[derive(Clone, Debug)]
pub struct Open {
    /// Whose.
    pub client: u64,
    /// Its owner there.
    owner: Box<[u8]>,
    /// What names it.
    pub other: Other,
    seqid: u32,
    /// What it may do, all its OPENs together.
    pub access: u32,
    /// What it denies others.
    pub deny: u32,
    /// Which values of access and of deny its OPENs had, one bit for each value.
    had: (u8, u8),
}

/// The opens of one file.
#[derive(Clone, Debug, Default)]
pub struct Opens {
    list: Vec<Open>,
}

/// What an OPEN asks for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Whose.
    pub client: u64,
    /// Its owner there.
    pub owner: &'a [u8],
    /// 1 to 3.
    pub access: u32,
    /// 0 to 3.
    pub deny: u32,
}

impl Opens {
    /// The first client whose open stands in the way of `wanted`.
    #[must_use]
    pub fn conflict(&self, wanted: &Wanted<'_>) -> Option<u64> {
        let is_own = |open: &Open| open.client == wanted.client && *open.owner == *wanted.owner;
        let clashes =
            |open: &Open| open.deny & wanted.access != 0 || open.access & wanted.deny != 0;
        let mut others = self.list.iter().filter(|open| !is_own(open));
        others.find(|open| clashes(open)).map(|open| open.client)
    }

    /// Opens, or adds to the open that there is. Ask [`Opens::conflict`] first. `new` makes a
    /// name for a new one; the second part says whether it was needed.
    pub fn open(&mut self, wanted: &Wanted<'_>, new: impl FnOnce() -> Other) -> (StateId, bool) {
        let had = (1 << wanted.access, 1 << wanted.deny);
        let is_own =
            |open: &&mut Open| open.client == wanted.client && *open.owner == *wanted.owner;
        if let Some(open) = self.list.iter_mut().find(is_own) {
            open.seqid = StateId::next_seqid(open.seqid);
            open.access |= wanted.access;
            open.deny |= wanted.deny;
            open.had = (open.had.0 | had.0, open.had.1 | had.1);
            return (open.stateid(), false);
        }
        let open = Open {
            client: wanted.client,
            owner: wanted.owner.into(),
            other: new(),
            seqid: 1,
            access: wanted.access,
            deny: wanted.deny,
            had,
        };
        let stateid = open.stateid();
        self.list.push(open);
        (stateid, true)
    }

    /// Gives part of an open back (OPEN_DOWNGRADE); `None` if it is no part of it.
    pub fn downgrade(&mut self, other: &Other, access: u32, deny: u32) -> Option<StateId> {
        let open = self.list.iter_mut().find(|open| open.other == *other)?;
        if !is_union(open.had.0, access) || !is_union(open.had.1 | 1, deny) {
            return None;
        }
        open.access = access;
        open.deny = deny;
        open.had = (within(open.had.0, access), within(open.had.1, deny));
        open.seqid = StateId::next_seqid(open.seqid);
        Some(open.stateid())
    }

    /// Takes an open away.
    pub fn close(&mut self, other: &Other) -> Option<Open> {
        let place = self.list.iter().position(|open| open.other == *other)?;
        Some(self.list.swap_remove(place))
    }

    /// Takes all opens of a client away.
    pub fn close_all(&mut self, client: u64) -> Vec<Open> {
        let (gone, left) = std::mem::take(&mut self.list)
            .into_iter()
            .partition(|open| open.client == client);
        self.list = left;
        gone
    }

    /// One open.
    #[must_use]
    pub fn find(&self, other: &Other) -> Option<&Open> {
        self.list.iter().find(|open| open.other == *other)
    }

    /// Whether an open of somebody denies this access, and whose it is. `None` as client: for
    /// callers that have no client id.
    #[must_use]
    pub fn denies(&self, access: u32) -> Option<u64> {
        let mut list = self.list.iter();
        list.find(|open| open.deny & access != 0)
            .map(|open| open.client)
    }

    /// Whether somebody has it open for writing.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.list.iter().any(|open| open.access & WRITE != 0)
    }

    /// Whether nobody has it open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl Open {
    fn stateid(&self) -> StateId {
        StateId {
            seqid: self.seqid,
            other: self.other,
        }
    }
}

/// Whether `value` is the union of some of the values in `had`.
fn is_union(had: u8, value: u32) -> bool {
    let parts = (0..4_u32).filter(|part| had & (1 << part) != 0 && part & !value == 0);
    let mut any = false;
    let union = parts.fold(0, |sum, part| {
        any = true;
        sum | part
    });
    any && union == value
}

/// Those values in `had` that are parts of `value`.
fn within(had: u8, value: u32) -> u8 {
    let parts = (0..4_u32).filter(|part| had & (1 << part) != 0 && part & !value == 0);
    parts.fold(0, |bits, part| bits | 1 << part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(client: u64, owner: &[u8], access: u32, deny: u32) -> Wanted<'_> {
        Wanted {
            client,
            owner,
            access,
            deny,
        }
    }

    fn other(number: u8) -> Other {
        [number; 12]
    }

    #[test]
    fn one_owner_has_one_open_that_grows() {
        let mut opens = Opens::default();
        let (first, is_new) = opens.open(&wanted(1, b"a", READ, 0), || other(1));
        assert_eq!((first.seqid, is_new), (1, true));
        let (second, is_new) = opens.open(&wanted(1, b"a", WRITE, 0), || other(2));
        assert_eq!((second.seqid, is_new, second.other), (2, false, other(1)));
        assert_eq!(opens.find(&other(1)).map(|open| open.access), Some(BOTH));
        let (third, _) = opens.open(&wanted(1, b"b", READ, 0), || other(3));
        assert_eq!(third.other, other(3));
        assert_eq!(opens.close_all(1).len(), 2);
        assert!(opens.is_empty());
    }

    #[test]
    fn denies_hold_both_ways_and_not_against_oneself() {
        let mut opens = Opens::default();
        opens.open(&wanted(1, b"a", READ, WRITE), || other(1));
        assert_eq!(opens.conflict(&wanted(2, b"a", WRITE, 0)), Some(1));
        assert_eq!(opens.conflict(&wanted(2, b"a", READ, READ)), Some(1));
        assert_eq!(opens.conflict(&wanted(2, b"a", READ, WRITE)), None);
        assert_eq!(opens.conflict(&wanted(1, b"a", WRITE, READ)), None);
        assert_eq!(opens.conflict(&wanted(1, b"b", WRITE, 0)), Some(1));
        assert_eq!(opens.denies(WRITE), Some(1));
        assert_eq!(opens.denies(READ), None);
    }

    #[test]
    fn only_what_was_opened_can_be_gone_back_to() {
        let mut opens = Opens::default();
        opens.open(&wanted(1, b"a", BOTH, 0), || other(1));
        assert_eq!(opens.downgrade(&other(1), READ, 0), None);
        opens.open(&wanted(1, b"a", READ, WRITE), || other(1));
        assert_eq!(opens.downgrade(&other(1), READ, READ), None);
        let down = opens.downgrade(&other(1), READ, 0).unwrap();
        assert_eq!(down.seqid, 3);
        assert_eq!(opens.downgrade(&other(1), BOTH, 0), None);
        assert!(!opens.is_written());
    }

    /// Every history of three OPENs against sets of single bits.
    #[test]
    fn reservations_agree_with_sets() {
        for code in 0_u32..(12_u32).pow(3) {
            let mut opens = Opens::default();
            let mut held: Vec<(u64, u32, u32)> = Vec::new();
            for step in 0..3 {
                let part = code / 12_u32.pow(step) % 12;
                let (access, deny) = (part % 3 + 1, part / 3);
                let client = u64::from(step % 2);
                let asked = wanted(client, b"o", access, deny);
                let clash = held
                    .iter()
                    .any(|(whose, a, d)| *whose != client && (d & access != 0 || a & deny != 0));
                assert_eq!(opens.conflict(&asked).is_some(), clash);
                if !clash {
                    opens.open(&asked, || other(step as u8));
                    held.push((client, access, deny));
                }
            }
        }
    }
}
