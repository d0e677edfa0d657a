//! Places for uploads: each may take hours, so they have places of their own, counted by address.
//!
//! Invariant: no address has more than [`PER_ADDRESS_MAX`] of them, and all together no more than
//! [`UPLOADS_MAX`]. Not promised: a queue; who finds none is told to come back.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Uploads that are taken at the same time: with a quarter of a MiB each, 64 MiB of memory.
const UPLOADS_MAX: usize = 256;

/// Of those, uploads from one address: half of them, so that no neighbour takes all.
const PER_ADDRESS_MAX: usize = 128;

/// Who uploads now.
#[derive(Debug, Default)]
pub struct UploadPlaces(Mutex<HashMap<IpAddr, usize>>);

/// A place for one upload; dropping it gives it back.
#[derive(Debug)]
pub struct UploadPlace(Arc<UploadPlaces>, IpAddr);

impl UploadPlaces {
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for an upload from this address, if there is one.
    #[must_use]
    pub fn take(self: &Arc<Self>, from: IpAddr) -> Option<UploadPlace> {
        let from = from.to_canonical();
        let mut taken = self.lock();
        let all: usize = taken.values().sum();
        let own = taken.get(&from).copied().unwrap_or(0);
        if all >= UPLOADS_MAX || own >= PER_ADDRESS_MAX {
            return None;
        }
        taken.insert(from, own + 1);
        Some(UploadPlace(self.clone(), from))
    }
}

impl Drop for UploadPlace {
    fn drop(&mut self) {
        let mut taken = self.0.lock();
        match taken.get_mut(&self.1) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.remove(&self.1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gets_its_places_and_not_one_more_and_leaves_some_for_others() {
        let places = Arc::new(UploadPlaces::default());
        let (one, other) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let mut held: Vec<_> = (0..PER_ADDRESS_MAX).map(|_| places.take(one)).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(places.take(one).is_none());
        let others: Vec<_> = (0..PER_ADDRESS_MAX).map(|_| places.take(other)).collect();
        assert!(others.iter().all(Option::is_some));
        assert!(places.take("10.0.0.3".parse().unwrap()).is_none());
        held.pop();
        assert!(places.take(one).is_some());
    }
}
