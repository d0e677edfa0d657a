//! Who has mounted what, as far as clients tell us (RFC 1813 section 5.2, DUMP and UMNT).
//!
//! The list serves people who ask `showmount`; nothing depends on it. Invariant: it holds at most
//! [`MOUNTS_MAX`] entries of at most [`PATH_BYTES_MAX`] bytes. Not promised: that an entry is
//! still mounted, because clients may vanish without a word.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most mounts remembered; the oldest is forgotten first. With the longest paths this is 1 MiB.
pub const MOUNTS_MAX: usize = 1024;

/// Longest path of a mount, in bytes (RFC 1813 section 5.1.1, `MNTPATHLEN`).
pub const PATH_BYTES_MAX: usize = 1024;

/// The list of a node.
#[derive(Debug, Default)]
pub(crate) struct Mounts(Mutex<VecDeque<(IpAddr, Vec<u8>)>>);

impl Mounts {
    pub(crate) fn add(&self, client: IpAddr, path: &[u8]) {
        let mut list = self.lock();
        if list.iter().any(|(of, at)| *of == client && at == path) {
            return;
        }
        if list.len() >= MOUNTS_MAX {
            list.pop_front();
        }
        list.push_back((client, path.to_vec()));
    }

    /// Forgets one path of a client, or all of them.
    pub(crate) fn remove(&self, client: IpAddr, path: Option<&[u8]>) {
        self.lock()
            .retain(|(of, at)| *of != client || path.is_some_and(|path| path != at));
    }

    /// What `client` may know: its own mounts, and all of them if it is this host.
    pub(crate) fn seen_by(&self, client: IpAddr) -> Vec<(IpAddr, Vec<u8>)> {
        let list = self.lock();
        let visible = list
            .iter()
            .filter(|(of, _)| *of == client || client.is_loopback());
        visible.cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(IpAddr, Vec<u8>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));
    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn a_client_sees_its_own_mounts_and_the_host_sees_all() {
        let mounts = Mounts::default();
        mounts.add(A, b"/models");
        mounts.add(A, b"/models");
        mounts.add(B, b"/cache");
        assert_eq!(mounts.seen_by(A), [(A, b"/models".to_vec())]);
        assert_eq!(mounts.seen_by(HERE).len(), 2);
        mounts.remove(A, Some(b"/cache"));
        assert_eq!(mounts.seen_by(A).len(), 1);
        mounts.remove(A, None);
        assert!(mounts.seen_by(A).is_empty());
        assert_eq!(mounts.seen_by(B).len(), 1);
    }

    #[test]
    fn the_list_is_bounded() {
        let mounts = Mounts::default();
        for number in 0..=MOUNTS_MAX {
            mounts.add(A, number.to_string().as_bytes());
        }
        let seen = mounts.seen_by(A);
        assert_eq!(seen.len(), MOUNTS_MAX);
        assert_eq!(seen.first(), Some(&(A, b"1".to_vec())));
    }
}
