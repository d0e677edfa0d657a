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
    let mut how = How::Exclusive([1, 2, 3, 4, 5, 6, 7, 8]);
    let first = changes(&tree)
        .create(&root, &name("x"), &me(), &how)
        .unwrap();
    let again = changes(&tree)
        .create(&root, &name("x"), &me(), &how)
        .unwrap();
    assert_eq!(first.node.handle, again.node.handle);
    how = How::Exclusive([8; 8]);
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
    if !towline_io::identity::can_switch() {
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
