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
use towline_store::{
    ArrivalFile, ArrivalPlan, ClientFault, CollectOptions, Options, Progress, PublishOptions,
    Published, RepoName, Result, StorageFault, Store, StoreError, TagName,
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
    store.touch(&repo("used"), &revisions[2]).unwrap();
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
