//! Publishing a folder and reading it back, as a user of the store sees it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed step is a failed test"
)]

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use towline_store::{
    ClientFault, DirectorySource, Options, Progress, PublishOptions, Published, RepoName, Source,
    Store, StoreError, TagName, VerifyOptions,
};

fn repo() -> RepoName {
    "org/model".parse().unwrap()
}

fn store(root: &Path) -> Store {
    Store::open_directory(root, Options::default()).unwrap()
}

fn push(store: &Store, from: &Path) -> Result<Published, StoreError> {
    let source = DirectorySource::open(from)?;
    let options = PublishOptions {
        message: "publish",
        created: Some(1_767_225_600),
        ..PublishOptions::default()
    };
    store.publish(
        &repo(),
        &TagName::main(),
        &source,
        &options,
        &Progress::default(),
    )
}

/// The three files whose ids git has computed.
fn vector(at: &Path) {
    fs::create_dir_all(at.join("sub")).unwrap();
    fs::write(at.join("config.json"), "{\"a\":1}\n").unwrap();
    fs::write(at.join("sub/a.txt"), "hi\n").unwrap();
    fs::write(at.join("model.safetensors"), b"\x08\0\0\0\0\0\0\0{}      ").unwrap();
}

#[test]
fn a_folder_becomes_the_revision_that_git_would_make_of_it() {
    let (root, from) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    vector(from.path());
    let store = store(root.path());
    let published = push(&store, from.path()).unwrap();
    assert_eq!(
        published.rev.to_string(),
        "a06c5e52021e6efa8445fd69202014b34c6b94bc"
    );
    assert_eq!((published.files, published.bytes), (3, 27));
    let catalog = store.catalog();
    let revision = catalog.resolve(&repo(), "main").unwrap();
    let weights = revision
        .file(&"model.safetensors".parse().unwrap())
        .unwrap();
    assert!(weights.lfs);
    assert_eq!(
        weights.etag(),
        "9bbcbf73561f6bc5d0a17ea6a2081feed2d1304e87602d8c502d9a5c4bd85576"
    );
    for place in ["org/model/main", &format!("org/model/{}", published.rev)] {
        let shown = root.path().join(place);
        assert_eq!(fs::read(shown.join("sub/a.txt")).unwrap(), b"hi\n");
        let metadata = fs::symlink_metadata(shown.join("config.json")).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o444);
        assert_eq!(metadata.nlink(), 4, "store, revision, tag and hub");
        let directory = fs::symlink_metadata(shown.join("sub")).unwrap();
        assert!(directory.is_dir() && directory.permissions().mode() & 0o7777 == 0o755);
    }
    let hub = root.path().join(".towline/hub/models--org--model");
    assert_eq!(
        fs::read_to_string(hub.join("refs/main")).unwrap(),
        published.rev.to_string()
    );
    let snapshot = hub.join(format!("snapshots/{}", published.rev));
    assert_eq!(
        fs::read(snapshot.join("config.json")).unwrap(),
        b"{\"a\":1}\n"
    );
}

#[test]
fn the_same_content_again_stores_nothing_and_changes_nothing() {
    let (root, from) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    vector(from.path());
    fs::write(from.path().join("big.bin"), vec![3; 9 << 20]).unwrap();
    let store = store(root.path());
    let first = push(&store, from.path()).unwrap();
    assert_eq!(first.stored.linked, 0);
    let generation = store.catalog().generation;
    let again = push(&store, from.path()).unwrap();
    assert!(again.unchanged);
    assert_eq!((again.rev, again.stored.written), (first.rev, 0));
    assert_eq!(again.stored.linked, again.bytes);
    assert_eq!(store.catalog().generation, generation);
}

#[test]
fn a_changed_folder_moves_the_tag_and_keeps_the_old_revision() {
    let (root, from) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    vector(from.path());
    let store = store(root.path());
    let first = push(&store, from.path()).unwrap();
    fs::write(from.path().join("sub/a.txt"), "changed\n").unwrap();
    let second = push(&store, from.path()).unwrap();
    assert_ne!(first.rev, second.rev);
    assert_eq!(second.files_linked, 2);
    let main = root.path().join("org/model/main/sub/a.txt");
    assert_eq!(fs::read(main).unwrap(), b"changed\n");
    let old = root
        .path()
        .join(format!("org/model/{}/sub/a.txt", first.rev));
    assert_eq!(fs::read(old).unwrap(), b"hi\n");
    let catalog = store.catalog();
    let found = catalog.resolve(&repo(), "main").unwrap();
    assert_eq!((found.rev, found.parent), (second.rev, Some(first.rev)));
}

#[test]
fn everything_is_there_after_opening_again() {
    let (root, from) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    vector(from.path());
    let published = push(&store(root.path()), from.path()).unwrap();
    let store = store(root.path());
    assert_eq!(store.resolve(&repo(), "main").unwrap(), published.rev);
    let busy = Store::open_directory(root.path(), Options::default());
    assert!(
        matches!(busy, Err(StoreError::Busy(_))),
        "one process at a time"
    );
    store.untag(&repo(), &TagName::main()).unwrap();
    assert!(!root.path().join("org/model/main").exists());
    store
        .tag(&repo(), &"v1".parse().unwrap(), &published.rev, None)
        .unwrap();
    assert!(root.path().join("org/model/v1/config.json").exists());
    store.pin(&repo(), &published.rev).unwrap();
    let held = store.remove(&repo(), &published.rev);
    assert!(matches!(
        held,
        Err(StoreError::Client(ClientFault::Held { .. }))
    ));
    store.unpin(&repo(), &published.rev).unwrap();
    store.remove(&repo(), &published.rev).unwrap();
    assert!(!root.path().join("org/model/v1").exists());
    assert!(store.catalog().repos.is_empty());
}

#[test]
fn links_out_of_the_folder_are_refused_and_those_of_a_hub_snapshot_followed() {
    let (root, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = store(root.path());
    fs::write(place.path().join("secret"), "outside").unwrap();
    let from = place.path().join("folder");
    fs::create_dir(&from).unwrap();
    symlink("../secret", from.join("a")).unwrap();
    let refused = push(&store, &from).unwrap_err();
    assert!(
        refused.to_string().contains("leads out of the folder"),
        "{refused}"
    );
    fs::remove_file(from.join("a")).unwrap();
    assert!(matches!(
        push(&store, &from),
        Err(StoreError::Client(ClientFault::Empty))
    ));
    let hub = place.path().join("models--org--model");
    let snapshot = hub.join("snapshots/0123");
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir(hub.join("blobs")).unwrap();
    fs::write(hub.join("blobs/b1"), "content").unwrap();
    symlink("../../blobs/b1", snapshot.join("config.json")).unwrap();
    push(&store, &snapshot).unwrap();
    let shown = root.path().join("org/model/main/config.json");
    assert_eq!(fs::read(shown).unwrap(), b"content");
    symlink("../../../secret", snapshot.join("more")).unwrap();
    assert!(push(&store, &snapshot).is_err());
}

/// A folder of models that was there before the store must not be lost to it.
#[test]
fn what_somebody_else_has_put_there_is_never_removed() {
    let (root, from) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    vector(from.path());
    let own = root.path().join("org/model/main/own.txt");
    fs::create_dir_all(own.parent().unwrap()).unwrap();
    fs::write(&own, "mine").unwrap();
    let store = store(root.path());
    assert_eq!(fs::read(&own).unwrap(), b"mine");
    let refused = push(&store, from.path());
    assert!(matches!(
        refused,
        Err(StoreError::Client(ClientFault::InTheWay(_)))
    ));
    assert_eq!(fs::read(&own).unwrap(), b"mine");
    fs::rename(
        root.path().join("org/model/main"),
        root.path().join("aside"),
    )
    .unwrap();
    push(&store, from.path()).unwrap();
    assert_eq!(store.metrics().revisions_published, 1);
}

/// A revision that lost its tag while a client downloads it stays until the client is gone.
#[test]
fn what_is_being_downloaded_survives_a_collection_for_a_while() {
    use towline_store::CollectOptions;
    use towline_store::collect::READ_LEASE_SECONDS;

    let (sim, time) = (
        towline_io::backend::sim::Sim::new(),
        support::Time::at(1_000),
    );
    let store = support::open(&sim, &time);
    let repo: RepoName = "org/model".parse().unwrap();
    let files: support::Files = [("a.bin".to_owned(), vec![1; 2_000])].into();
    let published = support::publish(&store, &repo, &TagName::main(), &files).unwrap();
    let now = CollectOptions {
        grace_seconds: 0,
        ..CollectOptions::default()
    };
    let is_here = || {
        store
            .catalog()
            .resolve(&repo, &published.rev.to_string())
            .is_some()
    };
    let note = || {
        let catalog = store.catalog();
        let found = catalog.resolve(&repo, &published.rev.to_string()).unwrap();
        found.last_use.note(time.now());
    };
    note();
    store.untag(&repo, &TagName::main()).unwrap();
    for _ in 0..5 {
        store.gc(&now).unwrap();
        time.advance(READ_LEASE_SECONDS - 1);
        store.gc(&now).unwrap();
        assert!(is_here(), "it is read, and each read keeps it anew");
        note();
    }
    time.advance(READ_LEASE_SECONDS);
    store.gc(&now).unwrap();
    store.gc(&now).unwrap();
    assert!(!is_here(), "nobody reads it any more");
}

/// A link to a folder beneath the pushed one is that folder; one into its own parents is told.
#[test]
fn a_link_to_a_folder_is_followed_and_a_circle_is_named() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    std::fs::create_dir_all(root.join("real/deep")).unwrap();
    std::fs::write(root.join("real/deep/a.txt"), "a").unwrap();
    std::os::unix::fs::symlink("real", root.join("linked")).unwrap();
    let source = DirectorySource::open(root).unwrap();
    let paths: Vec<_> = source
        .entries()
        .unwrap()
        .into_iter()
        .map(|entry| entry.path.to_string())
        .collect();
    assert_eq!(paths, ["linked/deep/a.txt", "real/deep/a.txt"]);
    std::os::unix::fs::symlink("..", root.join("real/up")).unwrap();
    let fault = DirectorySource::open(root).unwrap().entries().unwrap_err();
    let text = fault.to_string();
    assert!(
        text.contains("real/up") && text.contains("lies itself"),
        "{text}"
    );
    std::fs::remove_file(root.join("real/up")).unwrap();
    std::os::unix::fs::symlink("/etc", root.join("out")).unwrap();
    let fault = DirectorySource::open(root).unwrap().entries().unwrap_err();
    assert!(
        fault.to_string().contains("leads out of the folder"),
        "{fault}"
    );
}

/// What is below a directory and ends so.
fn count(at: &Path, suffix: &str) -> usize {
    let mut found = 0;
    for entry in fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        found += match path.is_dir() {
            true => count(&path, suffix),
            false => usize::from(path.to_string_lossy().ends_with(suffix)),
        };
    }
    found
}

/// A short file has no table beside it: the index has it, and where that is lost the bytes tell it.
#[test]
fn short_files_need_no_tables_even_without_the_index() {
    let (root, from) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for number in 0..40u8 {
        fs::write(from.path().join(format!("{number}.txt")), [b'a', number]).unwrap();
        fs::write(from.path().join(format!("{number}.bin")), [number; 5_000]).unwrap();
    }
    fs::write(from.path().join("empty"), b"").unwrap();
    fs::write(from.path().join("long.bin"), [9; 70_000]).unwrap();
    let files = root.path().join(".towline/files");
    {
        let store = store(root.path());
        let published = push(&store, from.path()).unwrap();
        assert_eq!((published.files, published.stored.linked), (82, 0));
        assert_eq!(count(&files, ".data"), 82);
        assert_eq!(count(&files, ".table"), 1);
    }
    fs::remove_file(root.path().join(".towline/index.redb")).unwrap();
    let store = store(root.path());
    let again = push(&store, from.path()).unwrap();
    assert!(again.unchanged);
    assert_eq!(again.files_linked, 82);
    let report = store
        .verify(&VerifyOptions::default(), &Progress::default())
        .unwrap();
    assert_eq!((report.files, report.damages.len()), (82, 0));
}

/// Many threads want to give the same place to the same bytes: one does, the others find it.
#[test]
fn the_same_short_file_many_times_is_stored_once() {
    let (root, from) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for number in 0..200 {
        fs::write(from.path().join(format!("{number}")), "the same").unwrap();
    }
    let options = Options {
        workers: Some(8),
        ..Options::default()
    };
    let store = Store::open_directory(root.path(), options).unwrap();
    let published = push(&store, from.path()).unwrap();
    assert_eq!(published.stored.written, 8);
    assert_eq!(
        (published.files_linked, published.stored.linked),
        (199, 199 * 8)
    );
    assert_eq!(count(&root.path().join(".towline/files"), ".data"), 1);
    let seen = fs::metadata(root.path().join("org/model/main/7")).unwrap();
    // In the store, and under the revision, the tag and the hub's snapshot for each path.
    assert_eq!(seen.nlink(), 1 + 3 * 200);
}

/// A file that was replaced after it was listed is not what was listed.
#[test]
fn a_file_that_changes_while_it_is_read_ends_the_publishing() {
    let from = tempfile::tempdir().unwrap();
    let path = from.path().join("a");
    let changes: [&dyn Fn(); 4] = [
        &|| fs::write(&path, "other").unwrap(),
        &|| {
            fs::write(from.path().join("b"), "bytes").unwrap();
            fs::rename(from.path().join("b"), &path).unwrap();
        },
        &|| fs::rename(&path, from.path().join("c")).unwrap(),
        &|| fs::remove_file(&path).unwrap(),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        for reads_first in [false, true] {
            fs::write(&path, "bytes").unwrap();
            let source = DirectorySource::open(from.path()).unwrap();
            let entries = source.entries().unwrap();
            let index = entries.iter().position(|entry| entry.path.as_str() == "a");
            let index = index.unwrap();
            let mut bytes = [0; 5];
            if reads_first {
                source.read_at(index, 0, &mut bytes).unwrap();
            }
            // Longer than the grain of a file's times on kernels that have a coarse one.
            std::thread::sleep(std::time::Duration::from_millis(20));
            change();
            let later = source
                .read_at(index, 0, &mut bytes)
                .and_then(|()| source.check(index));
            assert!(later.is_err(), "change {number}, read first: {reads_first}");
            let _ = fs::remove_file(from.path().join("c"));
        }
    }
}
