//! Where the bytes of an upload may be put: addresses that only this node can have made.
//!
//! Clients of the hub send no token with the bytes, so the address is the right: it is signed with
//! a key of this node's and bound to holder, hash, size, the cut into parts, the part, and a time.
//! The key lies in the data directory, so an upload goes on where the node was killed. Invariant:
//! an address that was not made here, or is too old, leads nowhere. Not promised: that an address
//! dies with the token of its holder; it opens the holder's own staging only, for a day at most.

use towline_base::{MacKey, clock};
use towline_store::Sha256;

use super::plan::Plan;

/// How long the place of a whole file is good for, in seconds: an upload may begin that late.
const WHOLE_SECONDS: u64 = 3_600;

/// How long the place of a part is good for, in seconds: the last part begins when all others have
/// come, and what lies here for longer than a day is removed.
const PART_SECONDS: u64 = 86_400;

/// What an upload must be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Expected {
    /// Who was sent there.
    pub(crate) holder: String,
    /// What the bytes must hash to.
    pub(crate) oid: Sha256,
    /// How many there are.
    pub(crate) size: u64,
}

/// What a signed place is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    /// A whole file.
    Whole(Expected),
    /// One part of a file, counted from 1.
    Part(Expected, Plan, u32),
    /// The word that every part is here.
    Complete(Expected, Plan),
}

/// Makes and reads places.
#[derive(Debug)]
pub(super) struct Places(MacKey);

impl Places {
    pub(super) fn new(key: MacKey) -> Self {
        Self(key)
    }

    /// The path of a place, behind the hub's prefix.
    pub(super) fn path(&self, place: &Place) -> String {
        let (expected, cut, seconds) = match place {
            Place::Whole(expected) => (expected, String::new(), WHOLE_SECONDS),
            Place::Part(expected, plan, number) => {
                let cut = format!("{}/{number}/", plan.part_bytes());
                (expected, cut, PART_SECONDS)
            }
            Place::Complete(expected, plan) => {
                let cut = format!("{}/0/", plan.part_bytes());
                (expected, cut, PART_SECONDS)
            }
        };
        let until = clock::since_epoch().as_secs() + seconds;
        let Expected { holder, oid, size } = expected;
        let text = format!("{holder}/{oid}/{size}/{cut}{until}");
        let mac = self.0.sign(text.as_bytes()).0;
        let mac: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("/lfs/{text}/{mac}")
    }

    /// What a path behind `/lfs/` is for, if it is one of ours and still good.
    pub(super) fn judge(&self, path: &str) -> Option<Place> {
        let (text, mac) = path.rsplit_once('/')?;
        let mut digits = [0; 16];
        if mac.len() != 32 {
            return None;
        }
        for (to, pair) in digits.iter_mut().zip(mac.as_bytes().chunks_exact(2)) {
            *to = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        if !self.0.sign(text.as_bytes()).matches(&digits) {
            return None;
        }
        let (text, until) = text.rsplit_once('/')?;
        if clock::since_epoch().as_secs() > until.parse().ok()? {
            return None;
        }
        let mut segments = text.split('/');
        let expected = Expected {
            holder: segments.next()?.to_owned(),
            oid: segments.next()?.parse().ok()?,
            size: segments.next()?.parse().ok()?,
        };
        let Some(part_bytes) = segments.next() else {
            return Some(Place::Whole(expected));
        };
        let plan = Plan::cut(expected.size, part_bytes.parse().ok()?)?;
        match segments.next()?.parse().ok()? {
            0 => Some(Place::Complete(expected, plan)),
            number => Some(Place::Part(expected, plan, number)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OID: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    #[test]
    fn a_place_is_good_as_it_was_signed_and_not_otherwise() {
        let places = Places::new(MacKey::random().unwrap());
        let expected = Expected {
            holder: "h".to_owned(),
            oid: OID.parse().unwrap(),
            size: 7_000_000,
        };
        let plan = Plan::of(7_000_000, 3 << 20).unwrap();
        for wanted in [
            Place::Whole(expected.clone()),
            Place::Part(expected.clone(), plan, 2),
            Place::Complete(expected, plan),
        ] {
            let path = places.path(&wanted);
            let path = path.strip_prefix("/lfs/").unwrap();
            assert_eq!(places.judge(path), Some(wanted));
            for (from, to) in [("/7000000/", "/7000001/"), ("h/", "i/"), ("/2/", "/1/")] {
                let other = path.replace(from, to);
                assert!(other == path || places.judge(&other).is_none(), "{other}");
            }
            assert_eq!(places.judge(path.split_at(path.len() - 1).0), None);
            let foreign = Places::new(MacKey::random().unwrap());
            assert_eq!(foreign.judge(path), None);
        }
        for broken in ["", "/", "a/b/c/d", "é/é"] {
            assert_eq!(places.judge(broken), None, "{broken}");
        }
    }
}
