//! How many connections a node takes, in all and from one address.
//!
//! Shared by all workers; asked once per connection, never per request. Invariant: every
//! [`Admission::enter`] that says yes is followed by one [`Admission::leave`]. Not promised: that
//! peers behind one gateway are told apart.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Bounds on connections.
#[derive(Debug)]
pub struct Admission {
    connections_max: usize,
    per_address_max: usize,
    present: Mutex<Present>,
}

#[derive(Debug, Default)]
struct Present {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Admission {
    /// At most so many connections at once, in all and from one address.
    #[must_use]
    pub fn new(connections_max: usize, per_address_max: usize) -> Self {
        Self {
            connections_max,
            per_address_max,
            present: Mutex::default(),
        }
    }

    /// Whether one more from this address may come in; counts it if so.
    pub(crate) fn enter(&self, address: IpAddr) -> bool {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        let here = present.by_address.get(&address).copied().unwrap_or(0);
        if present.total >= self.connections_max || here >= self.per_address_max {
            return false;
        }
        present.total += 1;
        present.by_address.insert(address, here + 1);
        true
    }

    /// One from this address has gone.
    pub(crate) fn leave(&self, address: IpAddr) {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        present.total = present.total.saturating_sub(1);
        match present.by_address.get_mut(&address) {
            Some(here) if *here > 1 => *here -= 1,
            _ => {
                present.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_place_is_given_and_one_more_is_not() {
        let admission = Admission::new(3, 2);
        let (a, b) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        assert!(
            admission.enter(a) && admission.enter(a),
            "two from one address"
        );
        assert!(!admission.enter(a), "the third from one address");
        assert!(admission.enter(b), "the third in all");
        assert!(!admission.enter(b), "the fourth in all");
        admission.leave(a);
        assert!(admission.enter(b));
    }
}
