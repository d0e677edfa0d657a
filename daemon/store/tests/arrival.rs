//! Revisions that arrive in pieces: any order, any number of threads, stops in between.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed step is a failed test"
)]

use std::time::Duration;

use towline_store::{
    Arrival, ArrivalFile, ArrivalPlan, ClientFault, Options, PeerFault, RevisionId, Sha256, Store,
    StoreError, TagName,
};

const MIB: usize = 1 << 20;

fn content(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        bytes.extend_from_slice(&state.to_be_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn sha256(bytes: &[u8]) -> Sha256 {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    Sha256(digest.as_ref().try_into().unwrap())
}

fn plan(files: &[(&str, &[u8])]) -> ArrivalPlan {
    let files = files.iter().map(|(path, bytes)| ArrivalFile {
        path: path.parse().unwrap(),
        size: bytes.len() as u64,
        sha256: Some(sha256(bytes)),
        git_oid: None,
    });
    ArrivalPlan {
        repo: "org/model".parse().unwrap(),
        rev: Some(RevisionId([7; 20])),
        parent: None,
        created: Some(1_767_225_600),
        message: String::new(),
        origin: "hf://org/model@main".into(),
        files: files.collect(),
    }
}

fn fill(arrival: &Arrival, number: usize, bytes: &[u8]) {
    for range in arrival.missing(number) {
        for start in (range.start..range.end).step_by(300_000) {
            let end = (start + 300_000).min(range.end);
            let part = &bytes[start as usize..end as usize];
            arrival.write(number, start, part).unwrap();
        }
    }
}

#[test]
fn pieces_from_many_threads_become_a_revision() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open_directory(root.path(), Options::default()).unwrap();
    let (big, small) = (content(20 * MIB + 12_345, 1), content(70_000, 2));
    let plan = plan(&[
        ("model.bin", &big),
        ("config.json", &small),
        ("empty.txt", b""),
    ]);
    let arrival = store.begin(plan.clone()).unwrap();
    assert!(matches!(store.begin(plan), Err(StoreError::Busy(_))));
    let early = arrival.clone().finish(Some(&TagName::main()), None);
    assert!(matches!(
        early,
        Err(StoreError::Client(ClientFault::Incomplete { .. }))
    ));
    std::thread::scope(|scope| {
        for part in 0..4usize {
            let (arrival, big) = (&arrival, &big);
            scope.spawn(move || {
                let quarter = big.len() / 4 + 1;
                let end = ((part + 1) * quarter).min(big.len());
                for start in (part * quarter..end).step_by(100_001) {
                    let stop = (start + 100_001).min(end);
                    arrival.write(0, start as u64, &big[start..stop]).unwrap();
                }
            });
        }
        fill(&arrival, 1, &small);
    });
    let progress = arrival.progress();
    assert_eq!(progress.bytes_present, progress.bytes_total);
    let published = arrival.finish(Some(&TagName::main()), None).unwrap();
    assert_eq!(published.rev, RevisionId([7; 20]));
    let main = root.path().join("org/model/main");
    assert!(std::fs::read(main.join("model.bin")).unwrap() == big);
    assert!(std::fs::read(main.join("config.json")).unwrap() == small);
    assert_eq!(std::fs::read(main.join("empty.txt")).unwrap(), b"");
    let left = std::fs::read_dir(root.path().join(".towline/arrivals")).unwrap();
    assert_eq!(left.count(), 0);
}

#[test]
fn what_has_come_is_found_again_after_a_stop() {
    let root = tempfile::tempdir().unwrap();
    let (first, second) = (content(10 * MIB, 1), content(9 * MIB, 2));
    let plan = plan(&[("a.bin", &first), ("b.bin", &second)]);
    {
        let store = Store::open_directory(root.path(), Options::default()).unwrap();
        let arrival = store.begin(plan.clone()).unwrap();
        fill(&arrival, 0, &first);
        arrival.write(1, 0, &second[..5 * MIB + 7]).unwrap();
        // Give the hashing thread the time to put the first file in its place.
        assert!(arrival.wait(0, &(0..10), Duration::from_secs(10)).unwrap());
        std::mem::forget(arrival);
        std::mem::forget(store);
    }
    // The lock is the forgotten store's: take its files to another place, as a kill would.
    let copy = tempfile::tempdir().unwrap();
    let status = std::process::Command::new("cp")
        .arg("-a")
        .arg(root.path().join("."))
        .arg(copy.path())
        .status()
        .unwrap();
    assert!(status.success());
    let store = Store::open_directory(copy.path(), Options::default()).unwrap();
    assert_eq!(
        store.stopped_arrivals().unwrap(),
        std::slice::from_ref(&plan)
    );
    let arrival = store.begin(plan).unwrap();
    let missing: u64 = [0, 1]
        .iter()
        .flat_map(|n| arrival.missing(*n))
        .map(|r| r.end - r.start)
        .sum();
    assert!(
        missing <= (4 * MIB + (256 << 10)) as u64,
        "{missing} bytes would be fetched again"
    );
    fill(&arrival, 0, &first);
    fill(&arrival, 1, &second);
    arrival.finish(Some(&TagName::main()), None).unwrap();
    let main = copy.path().join("org/model/main");
    assert!(std::fs::read(main.join("a.bin")).unwrap() == first);
    assert!(std::fs::read(main.join("b.bin")).unwrap() == second);
}

#[test]
fn other_bytes_than_promised_are_not_published_and_are_missing_again() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open_directory(root.path(), Options::default()).unwrap();
    let (right, mut wrong) = (content(MIB, 1), content(MIB, 1));
    wrong[77] ^= 1;
    let plan = plan(&[("a.bin", &right)]);
    let arrival = store.begin(plan.clone()).unwrap();
    fill(&arrival, 0, &wrong);
    let refused = arrival.clone().finish(Some(&TagName::main()), None);
    assert!(matches!(
        refused,
        Err(StoreError::Peer(PeerFault::Hash { .. }))
    ));
    let all = 0..MIB as u64;
    assert_eq!(arrival.missing(0), std::slice::from_ref(&all));
    fill(&arrival, 0, &right);
    arrival.finish(Some(&TagName::main()), None).unwrap();
    // The same file under another revision needs no byte.
    let mut other = plan;
    other.rev = Some(RevisionId([8; 20]));
    let arrival = store.begin(other).unwrap();
    assert_eq!(arrival.missing(0), []);
    let published = arrival.finish(None, None).unwrap();
    assert_eq!(
        (published.stored.written, published.stored.linked),
        (0, MIB as u64)
    );
}

#[test]
fn a_reader_waits_for_its_bytes_and_they_are_asked_for_first() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open_directory(root.path(), Options::default()).unwrap();
    let bytes = content(3 * MIB, 1);
    let arrival = store.begin(plan(&[("a.bin", &bytes)])).unwrap();
    let range = 2_000_000..2_000_100u64;
    assert!(!arrival.wait(0, &range, Duration::from_millis(10)).unwrap());
    let (file, wanted) = arrival.next_wanted().unwrap();
    assert!(wanted.start <= range.start && range.end <= wanted.end);
    assert_eq!(arrival.next_wanted(), None);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| arrival.wait(0, &range, Duration::from_secs(20)));
        let part = &bytes[wanted.start as usize..wanted.end as usize];
        arrival.write(file, wanted.start, part).unwrap();
        assert!(waiting.join().unwrap().unwrap());
    });
    let mut found = vec![0; 100];
    assert_eq!(arrival.read_at(0, range.start, &mut found).unwrap(), 100);
    assert_eq!(found, bytes[2_000_000..2_000_100]);
    assert_eq!(
        arrival.read_at(0, 0, &mut found).unwrap(),
        0,
        "not here yet"
    );
    let outside = arrival.write(0, 3 * MIB as u64, &[1]);
    assert!(matches!(
        outside,
        Err(StoreError::Peer(PeerFault::Range { .. }))
    ));
}
