//! Read delegations of a node: who was promised that a file does not change (RFC 8881 section
//! 10.4).
//!
//! A file is told by its place on the disk, because a change from another door knows no handle.
//! Before it changes it is *barred*, so that no new promise is made meanwhile, and what was
//! promised is recalled. Invariant: what is promised is bounded, for each client and in all; the
//! oldest promise is recalled to make room for a new one. Not promised: that a client gives back;
//! what is overdue is named by [`Delegations::overdue`], to be revoked.

use std::collections::{BTreeMap, HashMap};

use super::stateid::Other;

/// Most delegations of one client, as a count: Linux holds 5,000 at most.
pub const PER_CLIENT_MAX: usize = 8_192;

/// Most delegations in all, as a count; at about 600 bytes each, 60 MB.
pub const GIVEN_MAX: usize = 100_000;

/// How long nothing is promised about a file that is about to change, in milliseconds.
pub const BAR_MS: u64 = 5_000;

/// Most files that are barred at a time, as a count: a revision has fewer. Where there are more,
/// nothing at all is promised until the bars end.
const BARRED_MAX: usize = 65_536;

/// A file: the numbers of its file system and of the file there.
pub type Place = (u64, u64);

/// Why nothing is promised.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// The file is about to change, or has just changed.
    Contended,
    /// There are too many, or this client has one of this file.
    Full,
}

#[derive(Clone, Debug)]
struct Given {
    client: u64,
    place: Place,
    /// When it was given, as a place in the order of all.
    number: u64,
    recalled_ms: Option<u64>,
}

/// All delegations.
#[derive(Debug, Default)]
pub struct Delegations {
    all: HashMap<Other, Given>,
    by_file: HashMap<Place, Vec<Other>>,
    by_age: BTreeMap<u64, Other>,
    per_client: HashMap<u64, usize>,
    /// How many were asked back and not given back yet: mostly none, and then nothing is looked
    /// through for what is overdue.
    recalled: usize,
    barred: HashMap<Place, u64>,
    /// Until when nothing at all is promised.
    all_barred_ms: u64,
    numbers: u64,
}

impl Delegations {
    /// Whether a client may be promised something about a file.
    ///
    /// # Errors
    /// Why not.
    pub fn may_give(&self, place: Place, client: u64, now_ms: u64) -> Result<(), Refusal> {
        let is_barred = self.barred.get(&place).is_some_and(|until| *until > now_ms);
        if is_barred || self.all_barred_ms > now_ms {
            return Err(Refusal::Contended);
        }
        let of_file = self.by_file.get(&place).map_or(&[][..], Vec::as_slice);
        for given in of_file.iter().filter_map(|other| self.all.get(other)) {
            if given.recalled_ms.is_some() {
                return Err(Refusal::Contended);
            }
            if given.client == client {
                return Err(Refusal::Full);
            }
        }
        match self.count_of(client) >= PER_CLIENT_MAX || self.all.len() >= GIVEN_MAX {
            true => Err(Refusal::Full),
            false => Ok(()),
        }
    }

    /// Gives one. Ask [`Delegations::may_give`] first.
    pub fn give(&mut self, place: Place, client: u64, other: Other) {
        self.numbers += 1;
        let number = self.numbers;
        self.by_file.entry(place).or_default().push(other);
        self.by_age.insert(number, other);
        *self.per_client.entry(client).or_default() += 1;
        let given = Given {
            client,
            place,
            number,
            recalled_ms: None,
        };
        self.all.insert(other, given);
    }

    /// One was given back, or taken away.
    pub fn take(&mut self, other: &Other) {
        let Some(given) = self.all.remove(other) else {
            return;
        };
        self.by_age.remove(&given.number);
        self.recalled -= usize::from(given.recalled_ms.is_some());
        if let Some(list) = self.by_file.get_mut(&given.place) {
            list.retain(|one| one != other);
            if list.is_empty() {
                self.by_file.remove(&given.place);
            }
        }
        if let Some(count) = self.per_client.get_mut(&given.client) {
            *count -= 1;
            if *count == 0 {
                self.per_client.remove(&given.client);
            }
        }
    }

    /// Files are about to change: nothing more is promised about them for a while. Those that are
    /// named now must be asked back; they were not yet.
    pub fn bar(&mut self, places: &[Place], now_ms: u64) -> Vec<Other> {
        self.barred.retain(|_, until| *until > now_ms);
        if self.barred.len() + places.len() > BARRED_MAX {
            self.all_barred_ms = now_ms.saturating_add(BAR_MS);
        } else {
            let until = now_ms.saturating_add(BAR_MS);
            self.barred
                .extend(places.iter().map(|place| (*place, until)));
        }
        let mut asked = self.about(places);
        asked.retain(|other| self.recall(other, now_ms));
        asked
    }

    /// Takes note that one is asked back; whether it was not before.
    pub fn recall(&mut self, other: &Other, now_ms: u64) -> bool {
        let Some(given) = self.all.get_mut(other) else {
            return false;
        };
        let is_new = given.recalled_ms.is_none();
        given.recalled_ms.get_or_insert(now_ms);
        self.recalled += usize::from(is_new);
        is_new
    }

    /// Everything that is promised about these files.
    #[must_use]
    pub fn about(&self, places: &[Place]) -> Vec<Other> {
        let of_file = |place| self.by_file.get(place).map_or(&[][..], Vec::as_slice);
        places.iter().flat_map(of_file).copied().collect()
    }

    /// Whether something is promised about one of these files.
    #[must_use]
    pub fn has(&self, places: &[Place]) -> bool {
        places.iter().any(|place| self.by_file.contains_key(place))
    }

    /// The oldest one that was not asked back, if a client or the node has nearly all it may.
    #[must_use]
    pub fn to_make_room(&self, client: u64) -> Option<Other> {
        let is_full = self.all.len() >= GIVEN_MAX / 8 * 7;
        let is_client_full = self.count_of(client) >= PER_CLIENT_MAX / 8 * 7;
        let fits = |given: &Given| {
            given.recalled_ms.is_none() && (is_full || (is_client_full && given.client == client))
        };
        if !is_full && !is_client_full {
            return None;
        }
        let mut others = self.by_age.values();
        others
            .find(|other| self.all.get(*other).is_some_and(fits))
            .copied()
    }

    /// Those that were asked back longer ago than this, in milliseconds.
    #[must_use]
    pub fn overdue(&self, now_ms: u64, within_ms: u64) -> Vec<Other> {
        if self.recalled == 0 {
            return Vec::new();
        }
        let is_late = |given: &Given| {
            let since = given.recalled_ms;
            since.is_some_and(|since| now_ms.saturating_sub(since) >= within_ms)
        };
        let late = self.all.iter().filter(|(_, given)| is_late(given));
        late.map(|(other, _)| *other).collect()
    }

    fn count_of(&self, client: u64) -> usize {
        self.per_client.get(&client).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: Place = (1, 2);

    fn other(number: u32) -> Other {
        let mut other = [0; 12];
        other[..4].copy_from_slice(&number.to_be_bytes());
        other
    }

    #[test]
    fn what_is_about_to_change_is_asked_back_and_not_promised_again() {
        let mut all = Delegations::default();
        assert_eq!(all.may_give(FILE, 1, 0), Ok(()));
        all.give(FILE, 1, other(1));
        all.give(FILE, 2, other(2));
        assert_eq!(all.may_give(FILE, 1, 0), Err(Refusal::Full));
        assert_eq!(all.bar(&[FILE, (1, 3)], 10), [other(1), other(2)]);
        assert!(all.bar(&[FILE], 10).is_empty(), "once");
        assert_eq!(all.may_give(FILE, 3, 10), Err(Refusal::Contended));
        assert_eq!(all.about(&[FILE]), [other(1), other(2)]);
        assert!(all.overdue(109, 100).is_empty());
        assert_eq!(all.overdue(110, 100).len(), 2);
        all.take(&other(1));
        assert!(all.has(&[FILE]));
        all.take(&other(2));
        assert!(!all.has(&[FILE]));
        assert_eq!(all.recalled, 0);
        assert_eq!(
            all.may_give(FILE, 3, 10 + BAR_MS - 1),
            Err(Refusal::Contended)
        );
        assert_eq!(all.may_give((1, 3), 3, 10), Err(Refusal::Contended));
        assert_eq!(all.may_give(FILE, 3, 10 + BAR_MS), Ok(()));
    }

    #[test]
    fn a_client_is_bounded_and_the_oldest_makes_room() {
        let mut all = Delegations::default();
        for number in 0..PER_CLIENT_MAX as u32 {
            let place = (1, u64::from(number));
            assert_eq!(all.may_give(place, 1, 0), Ok(()));
            let is_near = number as usize >= PER_CLIENT_MAX / 8 * 7;
            assert_eq!(all.to_make_room(1).is_some(), is_near);
            all.give(place, 1, other(number));
        }
        assert_eq!(all.may_give((2, 0), 1, 0), Err(Refusal::Full));
        assert_eq!(all.may_give((2, 0), 2, 0), Ok(()));
        assert_eq!(all.to_make_room(1), Some(other(0)));
        assert_eq!(all.to_make_room(2), None);
        assert!(all.recall(&other(0), 0));
        assert_eq!(all.to_make_room(1), Some(other(1)));
    }

    #[test]
    fn where_too_much_is_barred_nothing_is_promised() {
        let mut all = Delegations::default();
        let places: Vec<Place> = (0..=BARRED_MAX as u64).map(|file| (1, file)).collect();
        all.bar(&places, 0);
        assert_eq!(all.may_give((9, 9), 1, BAR_MS - 1), Err(Refusal::Contended));
        assert_eq!(all.may_give((9, 9), 1, BAR_MS), Ok(()));
    }
}
