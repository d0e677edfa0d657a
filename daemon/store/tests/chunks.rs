//! Chunks by their names: what is here is told and given, what is not or is damaged never.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed step is a failed test"
)]

mod support;

use support::{Dice, Files, Time, publish};
use towline_io::backend::sim::Sim;
use towline_io::backend::{Backend, Open};
use towline_store::chunks::HAVE_MAX;
use towline_store::{
    ChunkId, ClientFault, CollectOptions, RepoName, StorageFault, Store, StoreError, TagName,
};

fn repo() -> RepoName {
    "org/model".parse().unwrap()
}

fn name(bytes: &[u8]) -> ChunkId {
    ChunkId(*blake3::hash(bytes).as_bytes())
}

/// A long file of two chunks and a bit, zeros between, and a short one; their chunks.
fn published(sim: &Sim, time: &Time) -> (Store, Vec<Vec<u8>>) {
    let mut dice = Dice(3);
    let chunks = vec![
        dice.bytes(4 << 20),
        vec![0; 4 << 20],
        dice.bytes(77_777),
        b"{}".to_vec(),
    ];
    let mut files = Files::new();
    files.insert("model.bin".into(), chunks[..3].concat());
    files.insert("config.json".into(), chunks[3].clone());
    let store = support::open(sim, time);
    publish(&store, &repo(), &TagName::main(), &files).unwrap();
    (store, chunks)
}

#[test]
fn every_chunk_of_a_model_is_told_and_given_and_no_other() {
    let (sim, time) = (Sim::new(), Time::at(1_000));
    let (store, chunks) = published(&sim, &time);
    let mut asked: Vec<ChunkId> = chunks.iter().map(|bytes| name(bytes)).collect();
    asked.insert(1, name(b"unheard of"));
    assert_eq!(store.have(&asked).unwrap(), [true, false, true, true, true]);
    for bytes in &chunks {
        assert!(store.read_chunk(&name(bytes)).unwrap().as_ref() == Some(bytes));
    }
    assert_eq!(store.read_chunk(&name(b"unheard of")).unwrap(), None);
    assert!(store.have(&[]).unwrap().is_empty());
    let many = vec![asked[0]; HAVE_MAX + 1];
    let refused = store.have(&many);
    assert!(matches!(
        refused,
        Err(StoreError::Client(ClientFault::Argument(_)))
    ));
    assert!(
        store
            .have(&many[..HAVE_MAX])
            .unwrap()
            .iter()
            .all(|here| *here)
    );
}

#[test]
fn a_damaged_chunk_is_never_given() {
    let (sim, time) = (Sim::new(), Time::at(1_000));
    let (store, chunks) = published(&sim, &time);
    let path = data_of(&sim, chunks[0].len() as u64 * 2);
    let file = sim.open(&path, Open::Write).unwrap();
    file.write_at(&[chunks[2][5] ^ 1], (8 << 20) + 5).unwrap();
    let read = store.read_chunk(&name(&chunks[2]));
    assert!(matches!(
        read,
        Err(StoreError::Storage(StorageFault::Damaged { .. }))
    ));
    assert!(store.read_chunk(&name(&chunks[0])).unwrap().is_some());
    sim.remove_file(&path).unwrap();
    assert_eq!(store.read_chunk(&name(&chunks[0])).unwrap(), None);
}

#[test]
fn chunks_go_with_the_last_model_that_has_them() {
    let (sim, time) = (Sim::new(), Time::at(1_000));
    let (store, chunks) = published(&sim, &time);
    store.untag(&repo(), &TagName::main()).unwrap();
    let now = CollectOptions {
        grace_seconds: 0,
        ..CollectOptions::default()
    };
    for _ in 0..3 {
        store.gc(&now).unwrap();
        time.advance(1);
    }
    let asked: Vec<ChunkId> = chunks.iter().map(|bytes| name(bytes)).collect();
    assert_eq!(store.have(&asked).unwrap(), [false; 4]);
    assert_eq!(store.read_chunk(&asked[0]).unwrap(), None);
}

/// The data file that is longer than this.
fn data_of(sim: &Sim, longer: u64) -> String {
    let files = ".towline/files";
    for directory in sim.list(files).unwrap() {
        for entry in sim.list(&format!("{files}/{}", directory.name)).unwrap() {
            let path = format!("{files}/{}/{}", directory.name, entry.name);
            if sim.metadata(&path).unwrap().length > longer {
                return path;
            }
        }
    }
    panic!("there is no such file");
}
