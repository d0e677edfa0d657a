//! What a client is told when the storage fails: a volume whose files cannot be made durable, and
//! one that is busy. Nothing that failed may look like success, now or later.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on panics"
)]

mod harness;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use harness::*;
use nfs3_types::nfs3::*;
use nfs3_types::xdr_codec::Opaque;
use rustix::io::Errno;
use towline_base::Name;
use towline_io::OpenFile;
use towline_sys::identity::Identity;
use towline_volume::volume::Result;
use towline_volume::{
    Access, Attributes, Created, Detail, DirEntry, FileHandle, Guard, How, Node, Pace,
    SetAttributes, Space, Special, Tree, Upload, Volume, VolumeError, Wcc, WritableVolume,
};

const A: &str = "10.0.0.1:700";

/// A tree whose sync fails while `broken`, and whose removals are busy once.
#[derive(Debug)]
struct Faulty {
    tree: Tree,
    broken: AtomicU32,
    busy: AtomicU32,
}

impl Faulty {
    fn changes(&self) -> &dyn WritableVolume {
        self.tree.writable().unwrap()
    }
}

impl Volume for Faulty {
    fn root(&self) -> Result<Arc<Node>> {
        self.tree.root()
    }
    fn resolve(&self, handle: &FileHandle) -> Result<Arc<Node>> {
        self.tree.resolve(handle)
    }
    fn lookup(&self, dir: &Node, name: &Name, who: &Identity, pace: Pace) -> Result<Arc<Node>> {
        self.tree.lookup(dir, name, who, pace)
    }
    fn peek(&self, dir: &Node, name: &Name, who: &Identity) -> Result<Attributes> {
        self.tree.peek(dir, name, who)
    }
    fn parent(&self, dir: &Node, who: &Identity) -> Result<Arc<Node>> {
        self.tree.parent(dir, who)
    }
    fn walk(&self, path: &[Name], who: &Identity, pace: Pace) -> Result<Arc<Node>> {
        self.tree.walk(path, who, pace)
    }
    fn attributes(&self, node: &Node) -> Result<Attributes> {
        self.tree.attributes(node)
    }
    fn access(&self, node: &Node, who: &Identity, asked: Access) -> Result<Access> {
        self.tree.access(node, who, asked)
    }
    fn open_read(&self, node: &Node, who: &Identity) -> Result<Arc<OpenFile>> {
        self.tree.open_read(node, who)
    }
    fn read_link(&self, node: &Node, who: &Identity) -> Result<Vec<u8>> {
        self.tree.read_link(node, who)
    }
    fn read_dir(
        &self,
        dir: &Node,
        who: &Identity,
        cookie: u64,
        detail: Detail,
        visit: &mut dyn FnMut(&DirEntry<'_>) -> ControlFlow<()>,
    ) -> Result<bool> {
        self.tree.read_dir(dir, who, cookie, detail, visit)
    }
    fn space(&self) -> Result<Space> {
        self.tree.space()
    }
    fn writable(&self) -> Option<&dyn WritableVolume> {
        Some(self)
    }
}

impl WritableVolume for Faulty {
    fn open_write(&self, node: &Node, who: &Identity) -> Result<Arc<OpenFile>> {
        self.changes().open_write(node, who)
    }
    fn sync(&self, node: &Node) -> Result<()> {
        match self.broken.load(Ordering::Relaxed) {
            0 => self.changes().sync(node),
            _ => Err(VolumeError::Io(Errno::IO)),
        }
    }
    fn is_synchronous(&self) -> bool {
        true
    }
    fn set_attributes(
        &self,
        node: &Node,
        who: &Identity,
        changes: &SetAttributes,
        guard: Guard,
    ) -> Result<Wcc> {
        self.changes().set_attributes(node, who, changes, guard)
    }
    fn create(&self, dir: &Node, name: &Name, who: &Identity, how: &How) -> Result<Created> {
        self.changes().create(dir, name, who, how)
    }
    fn make_dir(
        &self,
        dir: &Node,
        name: &Name,
        who: &Identity,
        set: &SetAttributes,
    ) -> Result<Created> {
        self.changes().make_dir(dir, name, who, set)
    }
    fn make_symlink(
        &self,
        dir: &Node,
        name: &Name,
        who: &Identity,
        target: &[u8],
        set: &SetAttributes,
    ) -> Result<Created> {
        self.changes().make_symlink(dir, name, who, target, set)
    }
    fn make_special(
        &self,
        dir: &Node,
        name: &Name,
        who: &Identity,
        special: Special,
        set: &SetAttributes,
    ) -> Result<Created> {
        self.changes().make_special(dir, name, who, special, set)
    }
    fn remove(&self, dir: &Node, name: &Name, who: &Identity) -> Result<Wcc> {
        match self.busy.swap(0, Ordering::Relaxed) {
            0 => self.changes().remove(dir, name, who),
            _ => Err(VolumeError::Busy(Errno::MFILE)),
        }
    }
    fn remove_dir(&self, dir: &Node, name: &Name, who: &Identity) -> Result<Wcc> {
        self.changes().remove_dir(dir, name, who)
    }
    fn rename(
        &self,
        from: (&Node, &Name),
        to: (&Node, &Name),
        who: &Identity,
    ) -> Result<(Wcc, Wcc)> {
        self.changes().rename(from, to, who)
    }
    fn link(
        &self,
        node: &Node,
        dir: &Node,
        name: &Name,
        who: &Identity,
    ) -> Result<(Attributes, Wcc)> {
        self.changes().link(node, dir, name, who)
    }
    fn begin_upload(
        &self,
        dir: &Arc<Node>,
        name: &Name,
        who: &Identity,
        session: Option<&[u8]>,
    ) -> Result<Upload> {
        self.changes().begin_upload(dir, name, who, session)
    }
    fn publish(&self, upload: &Upload, name: &Name, who: &Identity) -> Result<Attributes> {
        self.changes().publish(upload, name, who)
    }
    fn reserve(&self, upload: &Upload, bytes_total: u64) -> Result<()> {
        self.changes().reserve(upload, bytes_total)
    }
    fn abandon(&self, upload: &Upload, who: &Identity) -> Result<()> {
        self.changes().abandon(upload, who)
    }
}

fn faulty() -> (harness::Node, Arc<Faulty>) {
    let mut kept = None;
    let node = node_with(|tree| {
        let volume = Arc::new(Faulty {
            tree,
            broken: AtomicU32::new(0),
            busy: AtomicU32::new(0),
        });
        if kept.is_none() {
            kept = Some(volume.clone());
        }
        volume
    });
    (node, kept.unwrap())
}

fn lookup(client: &mut Client, dir: &nfs_fh3, name: &'static [u8]) -> nfs_fh3 {
    let what = diropargs3 {
        dir: dir.clone(),
        name: filename3(Opaque::borrowed(name)),
    };
    let result: LOOKUP3res = client.nfs(3, &LOOKUP3args { what });
    result.unwrap().object
}

#[test]
fn a_failed_sync_is_an_error_and_every_client_must_send_again() {
    let (node, volume) = faulty();
    write_file(node.path("projects/a"), b"");
    let mut client = node.client(A);
    let file = lookup(&mut client, &node.root("projects"), b"a");
    let write = |client: &mut Client, stable| -> WRITE3res {
        let arguments = WRITE3args {
            file: file.clone(),
            offset: 0,
            count: 4,
            stable,
            data: Opaque::borrowed(b"data"),
        };
        client.nfs(7, &arguments)
    };
    let unstable = write(&mut client, stable_how::UNSTABLE).unwrap();
    volume.broken.store(1, Ordering::Relaxed);
    for stable in [stable_how::FILE_SYNC, stable_how::DATA_SYNC] {
        let failed = write(&mut client, stable);
        assert!(matches!(failed, Nfs3Result::Err((nfsstat3::NFS3ERR_IO, _))));
    }
    let commit = COMMIT3args {
        file: file.clone(),
        offset: 0,
        count: 0,
    };
    let failed: COMMIT3res = client.nfs(21, &commit);
    assert!(matches!(failed, Nfs3Result::Err((nfsstat3::NFS3ERR_IO, _))));
    let again = write(&mut client, stable_how::UNSTABLE).unwrap();
    assert_ne!(again.verf, unstable.verf);
}

#[test]
fn busy_is_told_and_not_remembered() {
    let (node, volume) = faulty();
    write_file(node.path("projects/a"), b"");
    let mut client = node.client(A);
    let arguments = [
        pack(&node.root("projects")),
        vec![0, 0, 0, 1, b'a', 0, 0, 0],
    ]
    .concat();
    let remove = message(7, NFS, 3, 12, &unix(&me()), &arguments);
    volume.busy.store(1, Ordering::Relaxed);
    assert_eq!(client.words(&remove)[6], 10_008, "JUKEBOX");
    assert_eq!(client.words(&remove)[6], 0, "the same call is tried again");
    assert_eq!(client.words(&remove)[6], 0, "and now its reply is kept");
}
