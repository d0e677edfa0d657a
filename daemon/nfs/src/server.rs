//! What all workers of a node share for NFS: exports, stored replies, the write verifier.
//!
//! Reads take no lock here. Invariant: the write verifier (RFC 1813 section 3.3.7,
//! `writeverf3`) is random for every start of the node and changes only when making data durable
//! has failed, so that clients send again what may be lost. Not promised: that stored replies
//! survive a restart.

use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use towline_io::Peer;
use towline_volume::{Export, Exports, Reach, Timestamp, VolumeId};

use crate::metrics::{Counters, Snapshot};
use crate::mounts::Mounts;
use crate::overlap::Overlap;
use crate::v3::drc::ReplyCache;
use crate::v4;

/// The ports under which clients find this node, as portmap tells them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ports {
    /// NFS and MOUNT over TCP.
    pub nfs: u16,
    /// MOUNT over UDP, if it is answered.
    pub mount_udp: Option<u16>,
    /// Portmap itself, over TCP and UDP, if it is ours.
    pub portmap: Option<u16>,
}

/// From which ports programs on this very host may connect (threat N13).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LocalPorts {
    /// Below 1024, or a port that belongs to root or to the user that runs the node: separates
    /// the host's users from each other. Linux mounts come from below 1024 unless `noresvport`
    /// is given.
    Owner,
    /// Any: for mounts with `noresvport` and for tools without privilege.
    Any,
}

/// How a node serves NFS.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// Where.
    pub ports: Ports,
    /// For whom on this host.
    pub local_ports: LocalPorts,
    /// How version 4 is served; `None`: not at all.
    pub v4: Option<v4::Settings>,
}

/// The NFS face of a node. One, shared by all workers.
#[derive(Debug)]
pub struct Server {
    pub(crate) exports: Arc<Exports>,
    pub(crate) settings: Settings,
    pub(crate) replies: Arc<ReplyCache>,
    pub(crate) overlap: Arc<Overlap>,
    pub(crate) mounts: Mounts,
    /// For datagrams, which no worker answers.
    pub(crate) counters: Arc<Counters>,
    workers: Mutex<Vec<Arc<Counters>>>,
    verifier: AtomicU64,
    /// The file system of each export's root.
    homes: Vec<(VolumeId, u64)>,
    /// What clients of version 4 hold; `None`: it is not served.
    pub(crate) books: Option<Arc<v4::Books>>,
    /// The wall clock when the server was made.
    pub(crate) born: Timestamp,
    /// The volumes whose changes are announced by [`Server::changes_below`].
    guarded: OnceLock<Vec<VolumeId>>,
}

/// What a client's address may do with an export, and what the export's file ids start from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Door {
    pub(crate) volume: VolumeId,
    pub(crate) reach: Reach,
    home: Option<u64>,
}

impl Server {
    /// Serves `exports`. Looks once at the root of each, so it may block.
    ///
    /// # Errors
    /// The operating system's error when it has no randomness for the write verifier.
    pub fn new(exports: Arc<Exports>, settings: Settings) -> std::io::Result<Arc<Self>> {
        let home = |export: &Arc<Export>| {
            // A volume without a root is an error of that volume alone (threat N14).
            let root = export.volume.root().ok()?;
            Some((export.id, root.identity.file_system))
        };
        let books = match &settings.v4 {
            None => None,
            Some(settings) => Some(Arc::new(v4::books(settings)?)),
        };
        let now = towline_base::clock::since_epoch();
        let born = Timestamp {
            seconds: now.as_secs().cast_signed(),
            nanoseconds: now.subsec_nanos(),
        };
        let homes = exports.all().iter().filter_map(home).collect();
        Ok(Arc::new(Self {
            exports,
            settings,
            replies: Arc::default(),
            overlap: Arc::new(Overlap::new()),
            mounts: Mounts::default(),
            counters: Arc::new(Counters::new()),
            workers: Mutex::default(),
            verifier: AtomicU64::new(towline_base::rand::bits()?),
            homes,
            books,
            born,
            guarded: OnceLock::new(),
        }))
    }

    /// Whether NFS and MOUNT may be spoken over a connection from `peer` at all: programs on this
    /// host need a port of root's or of our own if [`LocalPorts::Owner`] is set (threat N13).
    #[must_use]
    pub fn admits(&self, peer: &Peer) -> bool {
        /// Ports below are for root (IANA system ports; capabilities(7) `CAP_NET_BIND_SERVICE`).
        const RESERVED_PORTS: u16 = 1024;
        let (there, here) = (peer.address.ip().to_canonical(), peer.local.ip());
        let is_local = there.is_loopback() || there == here.to_canonical();
        match self.settings.local_ports {
            LocalPorts::Any => true,
            LocalPorts::Owner if is_local => {
                let own = rustix::process::geteuid().as_raw();
                let owner = || towline_io::peer_owner::peer_owner(peer);
                peer.address.port() < RESERVED_PORTS
                    || owner().is_some_and(|uid| uid == own || uid == 0)
            }
            LocalPorts::Owner => true,
        }
    }

    /// The counts of all workers.
    #[must_use]
    pub fn metrics(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        snapshot.add(&self.counters);
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.iter().for_each(|worker| snapshot.add(worker));
        if let Some(books) = &self.books {
            snapshot.v4.census = books.census();
            snapshot.v4.callbacks = books.calls();
            snapshot.v4.revoked = books.revoked();
        }
        snapshot
    }

    /// What clients of version 4 hold; `None`: it is not served.
    #[must_use]
    pub fn held(&self) -> Option<v4::Census> {
        self.books.as_ref().map(|books| books.census())
    }

    /// Lets clients of version 4 go that were silent for longer than courtesy lasts. Blocks.
    pub fn forget_silent_clients(&self) {
        if let Some(books) = &self.books {
            books.sweep();
        }
    }

    /// Whatever changes the visible files of these volumes calls [`Server::changes_below`] first,
    /// so that clients of version 4 may be promised that they do not change. Said once.
    pub fn guard(&self, volumes: Vec<VolumeId>) {
        let _ = self.guarded.set(volumes);
    }

    /// Whether changes of a volume are announced.
    pub(crate) fn is_guarded(&self, volume: VolumeId) -> bool {
        let guarded = self.guarded.get();
        guarded.is_some_and(|volumes| volumes.contains(&volume))
    }

    /// What lies at and below `path` is about to be taken away or replaced. Blocks until clients
    /// have given back what they were promised about it: milliseconds, and a lease at most.
    pub fn changes_below(&self, path: &Path) {
        let Some(books) = &self.books else {
            return;
        };
        let mut places = Vec::new();
        collect(path, DEPTH_MAX, &mut places);
        if !places.is_empty() {
            books.recall(&places);
        }
    }

    /// Counters for one more worker. Called once per worker, so the list stays short.
    pub(crate) fn enlist(&self) -> Arc<Counters> {
        let counters = Arc::new(Counters::new());
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.push(counters.clone());
        counters
    }

    /// The write verifier of this moment.
    pub(crate) fn verifier(&self) -> [u8; 8] {
        self.verifier.load(Ordering::Acquire).to_be_bytes()
    }

    /// Making data durable has failed: every client must send again what it has not committed.
    pub(crate) fn change_verifier(&self) {
        // An odd step gives 2^64 different values before one comes again.
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        self.verifier.fetch_add(STEP, Ordering::AcqRel);
    }

    /// What `client` may do with `export`.
    pub(crate) fn door(&self, export: &Export, client: IpAddr) -> Door {
        let home = self.homes.iter().find(|(volume, _)| *volume == export.id);
        Door {
            volume: export.id,
            reach: export.reach(client),
            home: home.map(|(_, file_system)| *file_system),
        }
    }

    /// Whether `client` may reach any export: others get no datagram from us (threat N15).
    pub(crate) fn is_listed(&self, client: IpAddr) -> bool {
        let mut exports = self.exports.all().iter();
        exports.any(|export| export.reach(client) > Reach::None)
    }
}

/// Deepest folder that is looked into, as a count: the longest path has at most 512 names.
const DEPTH_MAX: usize = 600;

/// The regular files at and below a path. What cannot be looked at cannot be opened by clients.
fn collect(path: &Path, depth: usize, places: &mut Vec<(u64, u64)>) {
    let Ok(found) = std::fs::symlink_metadata(path) else {
        return;
    };
    if found.is_file() {
        places.extend(towline_volume::volume::place_of(path));
    } else if found.is_dir() && depth > 0 {
        let entries = std::fs::read_dir(path).into_iter().flatten();
        for entry in entries.filter_map(Result::ok) {
            collect(&entry.path(), depth - 1, places);
        }
    }
}

impl Door {
    /// The `fsid` that clients see (RFC 1813 section 2.6: with `fileid` it names one file): the
    /// volume, which keeps its number over restarts of the host, and for file systems below its
    /// root (subvolumes and snapshots of btrfs) their device number. The kernel keeps 12 bits of
    /// the major and 20 of the minor number (`MINORBITS`), so no two of them are alike; all bits
    /// are turned over, because 0 is the root's own, and all ones, which give 0, are no device.
    pub(crate) fn file_system_id(&self, file_system: u64) -> u64 {
        const MINOR_BITS: u32 = 20;
        let part = match self.home == Some(file_system) {
            true => 0,
            false => !((file_system >> 32) << MINOR_BITS | file_system & 0xffff_ffff) & 0xffff_ffff,
        };
        u64::from(self.volume.0) << 32 | part
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use towline_base::MacKey;
    use towline_volume::handle::HandleKeys;

    fn server(local_ports: LocalPorts) -> Arc<Server> {
        let exports = Exports::new(Vec::new(), HandleKeys::new(MacKey::new([1; 32])));
        let ports = Ports {
            nfs: 2049,
            mount_udp: None,
            portmap: None,
        };
        let settings = Settings {
            ports,
            local_ports,
            v4: None,
        };
        Server::new(Arc::new(exports), settings).unwrap()
    }

    fn peer(address: &str, local: &str) -> Peer {
        Peer {
            address: address.parse().unwrap(),
            local: local.parse().unwrap(),
        }
    }

    #[test]
    fn users_of_this_host_need_a_reserved_port_and_others_do_not() {
        let server = server(LocalPorts::Owner);
        assert!(!server.admits(&peer("127.0.0.1:1024", "127.0.0.1:2049")));
        assert!(server.admits(&peer("127.0.0.1:1023", "127.0.0.1:2049")));
        assert!(!server.admits(&peer("10.0.0.1:40000", "10.0.0.1:2049")));
        assert!(!server.admits(&peer("[::ffff:10.0.0.1]:40000", "10.0.0.1:2049")));
        assert!(server.admits(&peer("10.0.0.2:40000", "10.0.0.1:2049")));
    }

    #[test]
    fn the_verifier_stays_until_data_may_be_lost() {
        let server = server(LocalPorts::Any);
        let first = server.verifier();
        assert_eq!(server.verifier(), first);
        server.change_verifier();
        assert_ne!(server.verifier(), first);
    }

    #[test]
    fn a_file_system_below_the_root_has_its_own_id() {
        let door = Door {
            volume: VolumeId(7),
            reach: Reach::Read,
            home: Some(5),
        };
        assert_eq!(door.file_system_id(5), 7 << 32);
        assert_ne!(door.file_system_id(6), 7 << 32);
    }

    /// Every second subvolume of btrfs shared its id with the one before: `diff` then takes two
    /// files for one.
    #[test]
    fn no_two_file_systems_share_an_id() {
        let door = Door {
            volume: VolumeId(7),
            reach: Reach::Read,
            home: Some(50),
        };
        let minors = (0..4_096).chain([(1 << 20) - 2]);
        let all = [0, 1, 8, 259, 4_095]
            .into_iter()
            .flat_map(|major: u64| minors.clone().map(move |minor| major << 32 | minor));
        let ids: std::collections::HashSet<u64> = all
            .clone()
            .map(|device| door.file_system_id(device))
            .collect();
        assert_eq!(ids.len(), all.count());
    }
}
