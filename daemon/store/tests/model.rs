//! The store against a model of it that is too simple to be wrong: 2,000 cases of 50 operations.
//!
//! A failing case prints its seed and the line that runs it again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a failed step is a failed test"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use support::{Dice, Files, Time, publish, tree};
use towline_io::backend::sim::Sim;
use towline_store::{
    ClientFault, CollectOptions, Options, Progress, RepoName, RevisionId, Store, StoreError,
    TagName, VerifyOptions,
};

const CASES: u64 = 2_000;
const OPERATIONS: usize = 50;
const GRACE_SECONDS: u64 = 100;

type Key = (RepoName, RevisionId);

/// What the store should be.
#[derive(Default)]
struct Model {
    revisions: BTreeMap<Key, Files>,
    tags: BTreeMap<(RepoName, TagName), RevisionId>,
    pins: BTreeSet<Key>,
    leases: BTreeMap<Key, u64>,
    unused_since: BTreeMap<Key, u64>,
}

impl Model {
    fn is_used(&self, key: &Key, now: u64) -> bool {
        self.tags
            .iter()
            .any(|((repo, _), rev)| (repo, rev) == (&key.0, &key.1))
            || self.pins.contains(key)
            || self.leases.get(key).is_some_and(|expiry| *expiry > now)
    }

    fn collect(&mut self, now: u64) -> BTreeSet<Key> {
        let mut gone = BTreeSet::new();
        for key in self.revisions.keys().cloned().collect::<Vec<_>>() {
            if self.is_used(&key, now) {
                self.unused_since.remove(&key);
                continue;
            }
            match self.unused_since.get(&key) {
                Some(since) if now >= since + GRACE_SECONDS => {
                    gone.insert(key);
                }
                Some(_) => {}
                None => {
                    self.unused_since.insert(key, now);
                }
            }
        }
        gone.iter().for_each(|key| self.forget(key));
        gone
    }

    fn forget(&mut self, key: &Key) {
        self.revisions.remove(key);
        self.unused_since.remove(key);
        self.leases.remove(key);
        self.pins.remove(key);
        self.tags
            .retain(|(repo, _), rev| (repo, &*rev) != (&key.0, &key.1));
    }
}

struct Case {
    dice: Dice,
    sim: Sim,
    time: Time,
    store: Store,
    model: Model,
    contents: Vec<Vec<u8>>,
}

impl Case {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let (sim, time) = (Sim::new(), Time::at(1_000));
        let store = open(&sim, &time);
        let contents = (0..6).map(|_| {
            let length = [0, 1, 100, 3_000, 9_000][dice.below(5)];
            dice.bytes(length)
        });
        let contents = contents.collect();
        Self {
            dice,
            sim,
            time,
            store,
            model: Model::default(),
            contents,
        }
    }

    fn repo(&mut self) -> RepoName {
        ["org/one", "org/two"][self.dice.below(2)].parse().unwrap()
    }

    fn tag(&mut self) -> TagName {
        ["main", "v1", "v2"][self.dice.below(3)].parse().unwrap()
    }

    fn key(&mut self) -> Option<Key> {
        let at = self.dice.below(self.model.revisions.len());
        self.model.revisions.keys().nth(at).cloned()
    }

    fn files(&mut self) -> Files {
        let paths = ["config.json", "model.bin", "sub/a.txt", "sub/deep/b", "z"];
        let mut files = Files::new();
        for _ in 0..1 + self.dice.below(3) {
            let path = paths[self.dice.below(paths.len())];
            let content = self.dice.below(self.contents.len());
            files.insert(path.into(), self.contents[content].clone());
        }
        files
    }

    fn step(&mut self) {
        let elapsed = self.dice.below(60) as u64;
        self.time.advance(elapsed);
        match self.dice.below(16) {
            0..=4 => self.publish(),
            5..=6 => self.tag_one(),
            7 => self.untag_one(),
            8 => self.pin_one(),
            9 => self.unpin_one(),
            10 => self.lease_one(),
            11 => self.remove_one(),
            12..=13 => self.collect(),
            14 => self.open_again(),
            _ => {
                let report = self
                    .store
                    .verify(&VerifyOptions::default(), &Progress::default());
                assert_eq!(report.unwrap().damages, []);
            }
        }
    }

    fn publish(&mut self) {
        let (repo, tag, files) = (self.repo(), self.tag(), self.files());
        let head = self.model.tags.get(&(repo.clone(), tag.clone())).copied();
        let same = head.filter(|head| self.model.revisions[&(repo.clone(), *head)] == files);
        let published = publish(&self.store, &repo, &tag, &files).unwrap();
        assert_eq!(published.unchanged, same.is_some());
        if let Some(same) = same {
            assert_eq!((published.rev, published.stored.written), (same, 0));
        }
        let key = (repo.clone(), published.rev);
        let before = self.model.revisions.insert(key.clone(), files.clone());
        assert!(
            before.is_none_or(|before| before == files),
            "one id for two contents"
        );
        if same.is_none() {
            self.model.unused_since.remove(&key);
        }
        self.model.tags.insert((repo, tag), published.rev);
    }

    fn tag_one(&mut self) {
        let tag = self.tag();
        let Some((repo, rev)) = self.key() else {
            return;
        };
        self.store.tag(&repo, &tag, &rev, None).unwrap();
        self.model.tags.insert((repo, tag), rev);
    }

    fn untag_one(&mut self) {
        let (repo, tag) = (self.repo(), self.tag());
        let outcome = self.store.untag(&repo, &tag);
        match self.model.tags.remove(&(repo, tag)) {
            Some(_) => outcome.unwrap(),
            None => assert!(matches!(
                outcome,
                Err(StoreError::Client(ClientFault::NoTag { .. }))
            )),
        }
    }

    fn pin_one(&mut self) {
        let Some(key) = self.key() else { return };
        self.store.pin(&key.0, &key.1).unwrap();
        self.model.pins.insert(key);
    }

    fn unpin_one(&mut self) {
        let Some(key) = self.key() else { return };
        self.store.unpin(&key.0, &key.1).unwrap();
        self.model.pins.remove(&key);
    }

    fn lease_one(&mut self) {
        let Some(key) = self.key() else { return };
        let expiry = self.time.now() + self.dice.below(200) as u64;
        self.store.lease("job", &key.0, &key.1, expiry).unwrap();
        self.model.leases.insert(key, expiry);
    }

    fn remove_one(&mut self) {
        let Some(key) = self.key() else { return };
        let held = self.model.pins.contains(&key)
            || self
                .model
                .leases
                .get(&key)
                .is_some_and(|expiry| *expiry > self.time.now());
        let outcome = self.store.remove(&key.0, &key.1);
        if held {
            assert!(matches!(
                outcome,
                Err(StoreError::Client(ClientFault::Held { .. }))
            ));
            return;
        }
        outcome.unwrap();
        self.model.forget(&key);
    }

    fn collect(&mut self) {
        let options = CollectOptions {
            dry_run: self.dice.below(3) == 0,
            grace_seconds: GRACE_SECONDS,
        };
        let dry = CollectOptions {
            dry_run: true,
            ..options
        };
        let foretold = self.store.gc(&dry).unwrap();
        if options.dry_run {
            return;
        }
        let collected = self.store.gc(&options).unwrap();
        assert_eq!(collected.revisions, foretold.revisions, "what was foretold");
        let gone: BTreeSet<Key> = collected.revisions.into_iter().collect();
        assert_eq!(gone, self.model.collect(self.time.now()));
    }

    fn open_again(&mut self) {
        // The old one must be gone before the new one takes the lock.
        self.store = open(&Sim::new(), &self.time);
        self.store = open(&self.sim, &self.time);
    }

    fn check(&mut self) {
        let catalog = self.store.catalog();
        let mut revisions = BTreeSet::new();
        let mut tags = BTreeMap::new();
        for (name, repo) in &catalog.repos {
            revisions.extend(repo.revisions.keys().map(|rev| (name.clone(), *rev)));
            for (tag, at) in &repo.tags {
                tags.insert((name.clone(), tag.clone()), at.rev);
            }
        }
        assert!(
            revisions.iter().eq(self.model.revisions.keys()),
            "revisions"
        );
        assert_eq!(tags, self.model.tags);
        // One of each view after every step; all of them would take most of the time.
        let Some((repo, rev)) = self.key() else {
            return;
        };
        let files = &self.model.revisions[&(repo.clone(), rev)];
        assert_eq!(
            tree(&self.sim, &format!("{repo}/{rev}")).as_ref(),
            Some(files)
        );
        for ((repo, tag), rev) in self.model.tags.iter().take(1) {
            let files = &self.model.revisions[&(repo.clone(), *rev)];
            assert_eq!(
                tree(&self.sim, &format!("{repo}/{tag}")).as_ref(),
                Some(files)
            );
        }
    }

    /// At the end: room is counted right, and what nobody has is gone after its grace time.
    fn finish(&mut self) {
        let distinct: BTreeSet<&Vec<u8>> = self
            .model
            .revisions
            .values()
            .flat_map(Files::values)
            .collect();
        let bytes: usize = distinct.iter().map(|bytes| bytes.len()).sum();
        let usage = self.store.usage().unwrap();
        assert_eq!(usage.stored_bytes - usage.unused_bytes, bytes as u64);
        assert_eq!(usage.reserved_bytes, 0);
        let options = CollectOptions {
            dry_run: false,
            grace_seconds: GRACE_SECONDS,
        };
        for _ in 0..3 {
            self.time.advance(1_000);
            self.store.gc(&options).unwrap();
            self.model.collect(self.time.now());
        }
        let distinct: BTreeSet<&Vec<u8>> = self
            .model
            .revisions
            .values()
            .flat_map(Files::values)
            .collect();
        let bytes: usize = distinct.iter().map(|bytes| bytes.len()).sum();
        assert_eq!(
            self.store.usage().unwrap().stored_bytes,
            bytes as u64,
            "all else is gone"
        );
    }
}

fn open(sim: &Sim, time: &Time) -> Store {
    let options = Options {
        hub_view: false,
        ..support::options(time)
    };
    Store::open(Arc::new(sim.clone()), options).unwrap()
}

#[test]
fn the_store_does_what_a_simple_model_does() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let first = number("TOWLINE_SEED").unwrap_or(0);
    let cases = number("TOWLINE_CASES").unwrap_or(if first == 0 { CASES } else { 1 });
    std::thread::scope(|scope| {
        // Two threads, so that a machine with two cores is used.
        for half in 0..2 {
            scope.spawn(move || run((first..first + cases).skip(half).step_by(2)));
        }
    });
}

fn run(seeds: impl Iterator<Item = u64>) {
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| {
            let mut case = Case::new(seed);
            for _ in 0..OPERATIONS {
                case.step();
                case.check();
            }
            case.finish();
        });
        if let Err(panic) = outcome {
            println!("replay: TOWLINE_SEED={seed} cargo test -p towline-store --test model");
            std::panic::resume_unwind(panic);
        }
    }
}
