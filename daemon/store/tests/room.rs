//! Limits of room, eviction, and what is refused before the first byte.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed step is a failed test"
)]

mod support;

use std::sync::Arc;

use support::{Dice, Files, Memory, Time, publish, tree};
use towline_io::backend::sim::{Faults, Sim};
use towline_io::backend::{Backend, File, Open};
use towline_store::{
    ArrivalFile, ArrivalPlan, CatalogRevision, ClientFault, CollectOptions, Options, Origins,
    Progress, PublishOptions, Published, RepoName, Result, Source, SourceEntry, StorageFault,
    Store, StoreError, TagName,
};

fn repo(name: &str) -> RepoName {
    format!("org/{name}").parse().unwrap()
}

fn one_file(length: usize, seed: u64) -> Files {
    [("model.bin".to_owned(), Dice(seed).bytes(length))].into()
}

fn with_quota(sim: &Sim, time: &Time, quota: u64) -> Store {
    let options = Options {
        quota: Some(quota),
        ..support::options(time)
    };
    Store::open(Arc::new(sim.clone()), options).unwrap()
}

/// Brings a file from an origin, so that it may be evicted.
fn pull(store: &Store, name: &str, bytes: &[u8]) -> Result<Published> {
    let arrival = store.begin(ArrivalPlan {
        repo: repo(name),
        rev: None,
        parent: None,
        created: Some(1),
        message: String::new(),
        origin: format!("hf://org/{name}"),
        files: vec![ArrivalFile {
            path: "model.bin".parse().unwrap(),
            size: bytes.len() as u64,
            sha256: None,
            git_oid: None,
        }],
    })?;
    arrival.write(0, 0, bytes)?;
    arrival.finish(Some(&TagName::main()), None)
}

#[test]
fn what_fits_exactly_is_taken_and_one_byte_more_is_refused() {
    let (sim, time) = (Sim::new(), Time::at(1_000));
    let store = with_quota(&sim, &time, 10_000);
    publish(&store, &repo("a"), &TagName::main(), &one_file(10_000, 1)).unwrap();
    let refused = publish(&store, &repo("b"), &TagName::main(), &one_file(1, 2));
    let Err(StoreError::Client(ClientFault::Quota {
        needed,
        free,
        limit,
        evictable,
    })) = refused
    else {
        panic!("{refused:?}");
    };
    assert_eq!((needed, free, limit, evictable), (1, 0, 10_000, 0));
    // The same bytes once more need no room.
    publish(&store, &repo("b"), &TagName::main(), &one_file(10_000, 1)).unwrap();
    let usage = store.usage().unwrap();
    assert_eq!((usage.stored_bytes, usage.reserved_bytes), (10_000, 0));
    let of = &usage.revisions.values().next().unwrap();
    assert_eq!((of.unique_bytes, of.shared_bytes), (0, 10_000));
}

#[test]
fn what_was_used_longest_ago_is_evicted_and_never_what_is_needed() {
    let (sim, time) = (Sim::new(), Time::at(1_000));
    let store = with_quota(&sim, &time, 30_000);
    let contents: Vec<Vec<u8>> = (0..4).map(|seed| Dice(seed).bytes(10_000)).collect();
    let mut revisions = Vec::new();
    for (at, name) in ["old", "pinned", "used"].into_iter().enumerate() {
        time.advance(100);
        revisions.push(pull(&store, name, &contents[at]).unwrap().rev);
    }
    store.pin(&repo("pinned"), &revisions[1]).unwrap();
    time.advance(200);
    let catalog = store.catalog();
    let used = catalog.resolve(&repo("used"), "main").unwrap();
    used.last_use.note(time.now());
    store.note_uses().unwrap();
    pull(&store, "new", &contents[3]).unwrap();
    let names: Vec<String> = store
        .catalog()
        .repos
        .keys()
        .map(ToString::to_string)
        .collect();
    assert_eq!(names, ["org/new", "org/pinned", "org/used"]);
    assert!(tree(&sim, "org/old/main").is_none());
    assert_eq!(store.usage().unwrap().stored_bytes, 30_000);
    // Everything left is needed: pinned, leased, open, or published here only.
    store
        .lease("job", &repo("used"), &revisions[2], time.now() + 1_000)
        .unwrap();
    let new = store.resolve(&repo("new"), "main").unwrap();
    let catalog = store.catalog();
    let file = &catalog.resolve(&repo("new"), "main").unwrap().files[0];
    sim.set_open(&towline_store::layout::data(&file.id), true);
    let refused = pull(&store, "more", &contents[0]);
    assert!(matches!(
        refused,
        Err(StoreError::Client(ClientFault::Quota { evictable: 0, .. }))
    ));
    sim.set_open(&towline_store::layout::data(&file.id), false);
    // An origin that has not answered for an hour is not counted on.
    time.advance(4_000);
    store
        .lease("job", &repo("used"), &revisions[2], time.now() + 1_000)
        .unwrap();
    assert!(pull(&store, "more", &contents[0]).is_err());
    store.origin_answered(&repo("new"), &new).unwrap();
    pull(&store, "more", &contents[0]).unwrap();
    assert!(store.resolve(&repo("new"), "main").is_err());
}

#[test]
fn a_full_disk_is_an_error_and_nothing_is_lost() {
    let (sim, time) = (Sim::new(), Time::at(1_000));
    let store = support::open(&sim, &time);
    let kept = one_file(50_000, 1);
    publish(&store, &repo("kept"), &TagName::main(), &kept).unwrap();
    let free = store.usage().unwrap().free_bytes;
    sim.set_faults(Faults {
        capacity: Some((1 << 50) - free + 100_000),
        ..Faults::default()
    });
    let refused = publish(&store, &repo("big"), &TagName::main(), &one_file(90_000, 2));
    let full = matches!(
        refused,
        Err(StoreError::Client(ClientFault::Quota { .. }) | StoreError::Storage(StorageFault::Full))
    );
    assert!(full, "{refused:?}");
    sim.set_faults(Faults::default());
    drop(store);
    let store = support::open(&sim, &time);
    assert_eq!(tree(&sim, "org/kept/main"), Some(kept));
    publish(&store, &repo("big"), &TagName::main(), &one_file(90_000, 2)).unwrap();
    let gone = store.gc(&CollectOptions::default()).unwrap();
    assert_eq!((gone.files, gone.files_marked), (0, 0));
}

/// A safetensors file of one tensor, with a note of this length in its header.
fn noted(tensor: &[u8], note: usize) -> Files {
    let json = format!(
        "{{\"__metadata__\":{{\"note\":\"{}\"}},\"w\":{{\"dtype\":\"U8\",\"shape\":[{}],\
         \"data_offsets\":[0,{}]}}}}",
        "n".repeat(note),
        tensor.len(),
        tensor.len()
    );
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(json.as_bytes());
    bytes.extend_from_slice(tensor);
    [("model.safetensors".to_owned(), bytes)].into()
}

/// Chunks that are known share their blocks where they lie alike in a block, and only there; padded
/// headers make it so.
#[test]
fn known_chunks_share_blocks_where_both_lie_alike() {
    use towline_store::align::Aligned;
    let tensor = Dice(3).bytes(6 << 20);
    for (note, padded, shares) in [(4_096, false, true), (8, false, false), (8, true, true)] {
        let (sim, time) = (Sim::new(), Time::at(1_000));
        sim.set_faults(Faults {
            reflink: true,
            ..Faults::default()
        });
        let store = support::open(&sim, &time);
        let push = |tag: &str, files: &Files| {
            let memory = Memory::new(files);
            let aligned = Aligned::new(&memory);
            let source: &dyn towline_store::Source = if padded { &aligned } else { &memory };
            let options = PublishOptions::default();
            let tag = tag.parse().unwrap();
            store
                .publish(&repo("a"), &tag, source, &options, &Progress::default())
                .unwrap()
        };
        push("v1", &noted(&tensor, 0));
        let stored = push("v2", &noted(&tensor, note)).stored;
        assert_eq!(
            stored.cloned > 6_000_000,
            shares,
            "note of {note}: {stored:?}"
        );
        assert!(stored.known_written > 6_000_000 || shares, "{stored:?}");
        let seen = tree(&sim, "org/a/v2").unwrap();
        assert!(seen["model.safetensors"].ends_with(&tensor));
        let report = store
            .verify(&Default::default(), &Progress::default())
            .unwrap();
        assert_eq!(report.damages, []);
    }
}

/// Files that lie on the same disk as the store.
struct OnDisk {
    sim: Sim,
    memory: Memory,
}

impl OnDisk {
    fn new(sim: &Sim, files: &Files) -> Self {
        for (at, bytes) in files.values().enumerate() {
            let path = format!("source-{at}");
            let _ = sim.remove_file(&path);
            let file = sim.open(&path, Open::Create).unwrap();
            file.write_at(bytes, 0).unwrap();
        }
        Self {
            sim: sim.clone(),
            memory: Memory::new(files),
        }
    }
}

impl Source for OnDisk {
    fn entries(&self) -> Result<Vec<SourceEntry>> {
        self.memory.entries()
    }

    fn read_at(&self, index: usize, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.memory.read_at(index, offset, buffer)
    }

    fn file(&self, index: usize) -> Result<Option<Arc<dyn File>>> {
        let file = self.sim.open(&format!("source-{index}"), Open::Read);
        Ok(Some(file.unwrap()))
    }
}

/// A source on the same file system costs no bytes where blocks can be shared; known content is
/// linked as ever, also where there is no room for it, and a source that cannot be cloned is read.
#[test]
fn a_source_is_cloned_where_blocks_can_be_shared() {
    let files = one_file(3_000_001, 5);
    let length = 3_000_001;
    for reflink in [true, false] {
        let (sim, time) = (Sim::new(), Time::at(1_000));
        sim.set_faults(Faults {
            reflink,
            ..Faults::default()
        });
        let store = with_quota(&sim, &time, length + 1_000);
        let source = OnDisk::new(&sim, &files);
        let push = |name: &str, source: &dyn Source| {
            let (options, progress) = (PublishOptions::default(), Progress::default());
            store.publish(&repo(name), &TagName::main(), source, &options, &progress)
        };
        let stored = push("a", &source).unwrap().stored;
        let (cloned, written) = if reflink { (length, 0) } else { (0, length) };
        assert_eq!((stored.cloned, stored.written), (cloned, written));
        assert_eq!(push("b", &source).unwrap().stored.linked, length);
        assert_eq!(tree(&sim, "org/b/main").as_ref(), Some(&files));
        let other = OnDisk::new(&sim, &one_file(3_000_001, 6));
        let refused = push("c", &other);
        assert!(matches!(
            refused,
            Err(StoreError::Client(ClientFault::Quota { .. }))
        ));
        let usage = store.usage().unwrap();
        assert_eq!((usage.stored_bytes, usage.reserved_bytes), (length, 0));
    }
}

/// Answers for some repositories.
struct Answering(&'static [&'static str]);

impl Origins for Answering {
    fn has(&self, revision: &CatalogRevision) -> bool {
        self.0.contains(&revision.repo.model())
    }
}

/// An origin that was silent for long is asked before what came from it goes, and only what can be
/// had again goes.
#[test]
fn an_origin_is_asked_before_its_model_is_evicted() {
    let (sim, time) = (Sim::new(), Time::at(1_000));
    let options = Options {
        quota: Some(20_000),
        origins: Some(Arc::new(Answering(&["there"]))),
        ..support::options(&time)
    };
    let store = Store::open(Arc::new(sim.clone()), options).unwrap();
    pull(&store, "gone", &Dice(1).bytes(10_000)).unwrap();
    pull(&store, "there", &Dice(2).bytes(10_000)).unwrap();
    time.advance(100_000);
    pull(&store, "new", &Dice(3).bytes(10_000)).unwrap();
    let catalog = store.catalog();
    let names = catalog.repos.keys().map(ToString::to_string);
    assert_eq!(names.collect::<Vec<_>>(), ["org/gone", "org/new"]);
    time.advance(100_000);
    assert!(pull(&store, "more", &Dice(4).bytes(10_000)).is_err());
    assert_eq!(store.metrics().room_refused, 1);
    assert_eq!(store.metrics().bytes_evicted, 10_000);
}
