//! A directory as a volume, seen through its two traits: what a face relies on.
//!
//! These tests run as whoever runs them; what only root can show (another identity, device
//! nodes) is asked only of root. Not covered here: power loss, which needs a guest.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed step is a failed test"
)]

use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use towline_base::MacKey;
use towline_volume::handle::HandleKeys;
use towline_volume::tree::Writing;
use towline_volume::{
    Detail, FileKind, How, Identity, Name, Node, Pace, SetAttributes, Tree, Volume, VolumeError,
    VolumeId, WritableVolume,
};

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

fn me() -> Identity {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    Identity::new(uid.as_raw(), gid.as_raw(), &[])
}

fn open(path: &Path, writing: Writing) -> Tree {
    let keys = HandleKeys::new(MacKey::new([1; 32]));
    Tree::open(path, VolumeId(1), keys, writing, None).unwrap()
}

fn changes(tree: &Tree) -> &dyn WritableVolume {
    tree.writable().unwrap()
}

fn create(tree: &Tree, dir: &Node, text: &str) -> Arc<Node> {
    let how = How::Guarded(SetAttributes {
        mode: Some(0o600),
        ..Default::default()
    });
    changes(tree)
        .create(dir, &name(text), &me(), &how)
        .unwrap()
        .node
}

#[test]
fn a_created_file_is_found_by_name_and_by_handle_even_after_a_restart_and_a_rename() {
    let dir = tempfile::tempdir().unwrap();
    let tree = open(dir.path(), Writing::Synchronous);
    let root = tree.root().unwrap();
    let made = create(&tree, &root, "a");
    let found = tree
        .lookup(&root, &name("a"), &me(), Pace::Blocking)
        .unwrap();
    assert_eq!(found.handle, made.handle);
    let handle = made.handle;
    drop((made, found, root, tree));

    std::fs::rename(dir.path().join("a"), dir.path().join("b")).unwrap();
    let tree = open(dir.path(), Writing::Synchronous);
    let node = tree.resolve(&handle).unwrap();
    let inode = std::fs::metadata(dir.path().join("b")).unwrap().ino();
    assert_eq!(tree.attributes(&node).unwrap().file_id, inode);

    drop(node);
    std::fs::remove_file(dir.path().join("b")).unwrap();
    assert_eq!(tree.resolve(&handle).err(), Some(VolumeError::Stale));
}

#[test]
fn a_link_is_never_followed_and_nothing_above_the_root_is_reached() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("secret"), b"s").unwrap();
    let share = dir.path().join("share");
    std::fs::create_dir_all(share.join("sub")).unwrap();
    std::os::unix::fs::symlink("..", share.join("up")).unwrap();
    std::os::unix::fs::symlink("../secret", share.join("file")).unwrap();
    let tree = open(&share, Writing::ReadOnly);
    let root = tree.root().unwrap();
    let file = tree
        .lookup(&root, &name("file"), &me(), Pace::Blocking)
        .unwrap();
    assert_eq!(file.kind, FileKind::Symlink);
    assert_eq!(
        tree.open_read(&file, &me()).err(),
        Some(VolumeError::WrongType)
    );
    assert_eq!(tree.read_link(&file, &me()).unwrap(), b"../secret");
    let through = tree.walk(&[name("up"), name("secret")], &me(), Pace::Blocking);
    assert_eq!(through.err(), Some(VolumeError::WrongType));
    assert_eq!(tree.parent(&root, &me()).unwrap().handle, root.handle);
    let sub = tree
        .lookup(&root, &name("sub"), &me(), Pace::Blocking)
        .unwrap();
    assert_eq!(tree.parent(&sub, &me()).unwrap().handle, root.handle);
    std::fs::rename(share.join("sub"), dir.path().join("moved")).unwrap();
    assert_eq!(tree.parent(&sub, &me()).err(), Some(VolumeError::Stale));
}

#[test]
fn a_read_only_tree_has_no_way_to_write() {
    let dir = tempfile::tempdir().unwrap();
    assert!(open(dir.path(), Writing::ReadOnly).writable().is_none());
}

#[test]
fn an_exclusive_create_succeeds_again_with_its_own_verifier_only() {
    let dir = tempfile::tempdir().unwrap();
    let tree = open(dir.path(), Writing::Asynchronous);
    let root = tree.root().unwrap();
    let mut how = How::Exclusive([1, 2, 3, 4, 5, 6, 7, 8], SetAttributes::default());
    let first = changes(&tree)
        .create(&root, &name("x"), &me(), &how)
        .unwrap();
    let again = changes(&tree)
        .create(&root, &name("x"), &me(), &how)
        .unwrap();
    assert_eq!(first.node.handle, again.node.handle);
    how = How::Exclusive([8; 8], SetAttributes::default());
    let other = changes(&tree).create(&root, &name("x"), &me(), &how);
    assert_eq!(other.err(), Some(VolumeError::Exists));
}

#[test]
fn a_listing_continues_behind_every_cookie() {
    let dir = tempfile::tempdir().unwrap();
    let tree = open(dir.path(), Writing::Asynchronous);
    for number in 0..300 {
        std::fs::write(dir.path().join(format!("file-{number:03}")), b"").unwrap();
    }
    let root = tree.root().unwrap();
    let (mut seen, mut cookie, mut end) = (Vec::new(), 0, false);
    while !end {
        let mut left = 7;
        end = tree
            .read_dir(&root, &me(), cookie, Detail::Attributes, &mut |entry| {
                if left == 0 {
                    return ControlFlow::Break(());
                }
                left -= 1;
                cookie = entry.cookie;
                assert!(entry.node.is_some());
                seen.push(entry.name.to_vec());
                ControlFlow::Continue(())
            })
            .unwrap();
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 302);
}

#[test]
fn directory_changes_report_the_directory_before_and_after() {
    let dir = tempfile::tempdir().unwrap();
    let tree = open(dir.path(), Writing::Synchronous);
    let root = tree.root().unwrap();
    let before = tree.attributes(&root).unwrap();
    let how = How::Unchecked(SetAttributes::default());
    let made = changes(&tree)
        .create(&root, &name("n"), &me(), &how)
        .unwrap();
    assert_eq!(made.dir.before, Some(before));
    assert_eq!(made.dir.after, Some(tree.attributes(&root).unwrap()));
    let sub = changes(&tree)
        .make_dir(&root, &name("d"), &me(), &SetAttributes::default())
        .unwrap();
    let (from, to) = changes(&tree)
        .rename((&root, &name("n")), (&sub.node, &name("m")), &me())
        .unwrap();
    assert!(from.before.is_some() && to.after.is_some());
    assert_eq!(
        changes(&tree).remove_dir(&root, &name("d"), &me()),
        Err(VolumeError::NotEmpty)
    );
    changes(&tree).remove(&sub.node, &name("m"), &me()).unwrap();
    changes(&tree).remove_dir(&root, &name("d"), &me()).unwrap();
}

#[test]
fn an_upload_replaces_its_target_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let tree = open(dir.path(), Writing::Synchronous);
    let root = tree.root().unwrap();
    std::fs::write(dir.path().join("t"), b"old").unwrap();
    let plain = changes(&tree)
        .begin_upload(&root, &name("t"), &me(), None)
        .unwrap();
    std::os::unix::fs::FileExt::write_all_at(&**plain.file, b"new bytes", 0).unwrap();
    assert_eq!(std::fs::read(dir.path().join("t")).unwrap(), b"old");
    let published = changes(&tree).publish(&plain, &name("t"), &me()).unwrap();
    assert_eq!(
        (
            published.size,
            std::fs::read(dir.path().join("t")).unwrap().len()
        ),
        (9, 9)
    );

    let part = changes(&tree)
        .begin_upload(&root, &name("u"), &me(), Some(b"5"))
        .unwrap();
    std::os::unix::fs::FileExt::write_all_at(&**part.file, b"ab", 0).unwrap();
    let rival = changes(&tree).begin_upload(&root, &name("u"), &me(), Some(b"5"));
    assert!(matches!(rival, Err(VolumeError::Busy(_))));
    drop(part);
    let part = changes(&tree)
        .begin_upload(&root, &name("u"), &me(), Some(b"5"))
        .unwrap();
    assert_eq!(part.bytes_held, 2);
    changes(&tree).abandon(&part, &me()).unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

/// A client checks rights when it opens; afterwards the owner writes to a file of mode 0444.
#[test]
fn the_owner_may_write_to_a_file_that_its_mode_protects() {
    let dir = tempfile::tempdir().unwrap();
    let tree = open(dir.path(), Writing::Asynchronous);
    let root = tree.root().unwrap();
    let set = SetAttributes {
        mode: Some(0o444),
        ..Default::default()
    };
    let made = changes(&tree)
        .create(&root, &name("o"), &me(), &How::Guarded(set))
        .unwrap();
    assert!(changes(&tree).open_write(&made.node, &me()).is_ok());
}

#[test]
fn the_kernel_decides_for_another_user() {
    if !towline_sys::identity::can_switch() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let tree = open(dir.path(), Writing::Synchronous);
    let root = tree.root().unwrap();
    let other = Identity::new(4321, 4321, &[]);
    let node = create(&tree, &root, "mine");
    assert_eq!(
        tree.open_read(&node, &other).err(),
        Some(VolumeError::Denied)
    );
    let how = How::Unchecked(SetAttributes::default());
    let refused = changes(&tree).create(&root, &name("theirs"), &other, &how);
    assert_eq!(refused.err(), Some(VolumeError::Denied));
    let set = SetAttributes {
        uid: Some(4321),
        ..Default::default()
    };
    assert_eq!(
        changes(&tree).set_attributes(&node, &other, &set, None),
        Err(VolumeError::NotOwner)
    );
    changes(&tree)
        .set_attributes(&node, &me(), &set, None)
        .unwrap();
    assert!(tree.open_read(&node, &other).is_ok());
}

/// Descriptors of this process that lead to a file that has lost its name.
fn descriptors_of_removed(dir: &Path) -> usize {
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    let targets = open
        .flatten()
        .filter_map(|fd| std::fs::read_link(fd.path()).ok());
    let of_dir = targets.filter(|target| target.starts_with(dir));
    of_dir
        .filter(|target| target.to_string_lossy().ends_with("(deleted)"))
        .count()
}

/// Each worker keeps nodes of its own. A removed file took its room until the last of them had
/// aged, seconds after the client was told that it was gone.
#[test]
fn a_removed_file_is_closed_before_the_answer_unless_it_is_being_read() {
    let dir = tempfile::tempdir().unwrap();
    let tree = open(dir.path(), Writing::Asynchronous);
    let root = tree.root().unwrap();
    type Removal = fn(&dyn WritableVolume, &Arc<Node>);
    let removals: [Removal; 3] = [
        |changes, root| {
            changes.remove(root, &name("a"), &me()).unwrap();
        },
        |changes, root| {
            let (from, to) = (name("other"), name("a"));
            changes.rename((root, &from), (root, &to), &me()).unwrap();
        },
        |changes, root| {
            let upload = changes.begin_upload(root, &name("a"), &me(), None).unwrap();
            changes.publish(&upload, &name("a"), &me()).unwrap();
        },
    ];
    for removal in removals {
        std::fs::write(dir.path().join("a"), b"content").unwrap();
        std::fs::write(dir.path().join("other"), b"other").unwrap();
        let keep = || {
            let node = tree
                .lookup(&root, &name("a"), &me(), Pace::Blocking)
                .unwrap();
            drop(tree.open_read(&node, &me()).unwrap());
            drop(changes(&tree).open_write(&node, &me()).unwrap());
            node
        };
        let kept = [keep(), keep(), keep()];
        let reader = tree.open_read(&kept[1], &me()).unwrap();
        removal(changes(&tree), &root);
        // One reader is under way: it may finish.
        assert_eq!(descriptors_of_removed(dir.path()), 1);
        let mut read = [0; 7];
        std::os::unix::fs::FileExt::read_exact_at(&**reader, &mut read, 0).unwrap();
        assert_eq!(&read, b"content");
        drop(reader);
        assert_eq!(descriptors_of_removed(dir.path()), 0);
        for node in kept {
            assert_eq!(tree.attributes(&node).err(), Some(VolumeError::Stale));
            assert_eq!(tree.open_read(&node, &me()).err(), Some(VolumeError::Stale));
        }
    }
    // One of two names: the file stays, and what is kept of it stays open.
    std::fs::hard_link(dir.path().join("a"), dir.path().join("b")).unwrap();
    let node = tree
        .lookup(&root, &name("b"), &me(), Pace::Blocking)
        .unwrap();
    changes(&tree).remove(&root, &name("a"), &me()).unwrap();
    assert!(tree.attributes(&node).is_ok());
}

#[test]
fn uploads_on_their_way_in_are_not_shown_and_keep_no_directory() {
    let dir = tempfile::tempdir().unwrap();
    let tree = open(dir.path(), Writing::Asynchronous);
    std::fs::create_dir(dir.path().join("sub")).unwrap();
    let root = tree.root().unwrap();
    let sub = tree
        .lookup(&root, &name("sub"), &me(), Pace::Blocking)
        .unwrap();
    let begin = || {
        changes(&tree)
            .begin_upload(&sub, &name("file"), &me(), Some(b"session"))
            .unwrap()
    };
    let upload = begin();
    let listed = |detail| {
        let mut names = Vec::new();
        tree.read_dir(&sub, &me(), 0, detail, &mut |entry| {
            names.push(entry.name.to_vec());
            ControlFlow::Continue(())
        })
        .unwrap();
        names.sort();
        names
    };
    for detail in [Detail::Names, Detail::Attributes] {
        assert_eq!(listed(detail), [b".".to_vec(), b"..".to_vec()]);
    }
    // While somebody writes to it, it stays; nobody sweeps it either.
    let busy = changes(&tree).remove_dir(&root, &name("sub"), &me());
    assert_eq!(busy.err(), Some(VolumeError::NotEmpty));
    let sweep = |age| towline_volume::evict::sweep_uploads(dir.path(), age).unwrap();
    assert_eq!(sweep(std::time::Duration::ZERO), 0);
    drop(upload);
    assert_eq!(sweep(std::time::Duration::from_secs(3_600)), 0);
    assert_eq!(sweep(std::time::Duration::ZERO), 1);
    drop(begin());
    std::fs::write(dir.path().join("sub/seen"), b"").unwrap();
    let full = changes(&tree).remove_dir(&root, &name("sub"), &me());
    assert_eq!(full.err(), Some(VolumeError::NotEmpty));
    std::fs::remove_file(dir.path().join("sub/seen")).unwrap();
    changes(&tree)
        .remove_dir(&root, &name("sub"), &me())
        .unwrap();
    assert!(!dir.path().join("sub").exists());
}

/// A cache of a bound shows what its files leave of it, and makes room for an upload by removing
/// what was not used for longest.
#[test]
fn a_bounded_volume_shows_its_bound_less_what_is_used() {
    const MIB: u64 = 1 << 20;
    let dir = tempfile::tempdir().unwrap();
    let keys = HandleKeys::new(MacKey::new([1; 32]));
    let bound = Some(20 * MIB);
    let tree = Tree::open(dir.path(), VolumeId(1), keys, Writing::Asynchronous, bound).unwrap();
    assert_eq!(tree.space().unwrap().bytes_available, 20 * MIB);
    let old = dir.path().join("old");
    std::fs::write(&old, vec![1; 15 << 20]).unwrap();
    let file = std::fs::File::options().write(true).open(&old).unwrap();
    let day = std::time::SystemTime::now() - std::time::Duration::from_secs(86_400);
    let times = std::fs::FileTimes::new()
        .set_accessed(day)
        .set_modified(day);
    file.set_times(times).unwrap();
    drop(file);
    // What other programs do to the disk counts until the next walk, which is due by then.
    let pause = || std::thread::sleep(std::time::Duration::from_millis(1_100));
    pause();
    let space = tree.space().unwrap();
    assert_eq!(space.bytes_total, 20 * MIB);
    let about = 4 * MIB..=5 * MIB;
    assert!(about.contains(&space.bytes_available), "{space:?}");
    let root = tree.root().unwrap();
    let writable = changes(&tree);
    let upload = writable
        .begin_upload(&root, &name("new"), &me(), None)
        .unwrap();
    assert_eq!(
        writable.reserve(&upload, 21 * MIB),
        Err(VolumeError::NoSpace)
    );
    assert!(old.exists(), "nothing goes for what can never fit");
    pause();
    assert_eq!(writable.reserve(&upload, 4 * MIB), Ok(()));
    assert!(old.exists(), "it fits as it is");
    assert_eq!(writable.reserve(&upload, 16 * MIB), Ok(()));
    assert!(!old.exists());
}
