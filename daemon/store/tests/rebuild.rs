//! A node that is killed, or loses power, at any moment of making its index anew, of opening, of a
//! collection and of a verification: nothing that was acknowledged is lost, neither then nor by
//! the collection that follows.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a failed step is a failed test"
)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use support::{Dice, Files, Time, options, publish, tree};
use towline_io::backend::sim::{Loss, Sim};
use towline_io::backend::{Backend, Open};
use towline_store::{
    CollectOptions, DamageKind, Progress, Remedy, RepoName, RevisionId, StorageFault, Store,
    StoreError, TagName, VerifyOptions, VerifyReport,
};

/// What was acknowledged.
struct World {
    sim: Sim,
    revisions: BTreeMap<RevisionId, Files>,
    tags: BTreeMap<TagName, RevisionId>,
}

fn repo() -> RepoName {
    "org/model".parse().unwrap()
}

fn tag(name: &str) -> TagName {
    name.parse().unwrap()
}

fn world() -> World {
    let (sim, time) = (Sim::new(), Time::at(1_000));
    let store = support::open(&sim, &time);
    let mut dice = Dice(3);
    let mut world = World {
        sim: sim.clone(),
        revisions: BTreeMap::new(),
        tags: BTreeMap::new(),
    };
    let shared = dice.bytes(70_000);
    for name in ["v1", "v2", "main"] {
        time.advance(10);
        let mut files: Files = (0..6)
            .map(|number| (format!("part-{number}.bin"), dice.bytes(2_000)))
            .collect();
        files.insert("shared/weights.bin".into(), shared.clone());
        let published = publish(&store, &repo(), &tag(name), &files).unwrap();
        world.revisions.insert(published.rev, files);
        world.tags.insert(tag(name), published.rev);
    }
    drop(store);
    world.sim = sim.copy();
    world
}

fn overwrite(sim: &Sim, path: &str, bytes: &[u8]) {
    let file = sim.open(path, Open::Write).unwrap();
    file.set_length(bytes.len() as u64).unwrap();
    file.write_at(bytes, 0).unwrap();
}

fn below(sim: &Sim, suffix: &str) -> Vec<String> {
    let directories = sim.list(".towline/files").unwrap();
    let directories = directories.iter().map(|entry| &entry.name);
    let paths = directories.flat_map(|directory| {
        let directory = format!(".towline/files/{directory}");
        let names = sim.list(&directory).unwrap().into_iter();
        names.map(move |entry| format!("{directory}/{}", entry.name))
    });
    paths.filter(|path| path.ends_with(suffix)).collect()
}

/// What was done to the store while nobody had it open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Harm {
    Nothing,
    IndexDamaged,
    IndexGone,
    /// The index and one table: what it says cannot be read, the file is whole.
    IndexAndTable,
    /// The index and its second copy.
    IndexAndLedger,
}

const HARMS: [Harm; 5] = [
    Harm::Nothing,
    Harm::IndexDamaged,
    Harm::IndexGone,
    Harm::IndexAndTable,
    Harm::IndexAndLedger,
];

fn harmed(world: &World, harm: Harm) -> Sim {
    let sim = world.sim.copy();
    match harm {
        Harm::Nothing => {}
        Harm::IndexDamaged => overwrite(&sim, ".towline/index.redb", &[7; 9_000]),
        Harm::IndexGone => sim.remove_file(".towline/index.redb").unwrap(),
        Harm::IndexAndTable => {
            overwrite(&sim, ".towline/index.redb", &[7; 9_000]);
            let tables = below(&sim, ".table");
            overwrite(&sim, &tables[tables.len() / 2], b"no table at all");
        }
        Harm::IndexAndLedger => {
            overwrite(&sim, ".towline/index.redb", &[7; 9_000]);
            overwrite(&sim, ".towline/ledger", &[7; 90]);
        }
    }
    sim.copy()
}

/// Two collections without grace, the second of which takes what the first has marked.
fn collect(store: &Store, time: &Time, name: &str) {
    let now = CollectOptions {
        grace_seconds: 0,
        ..CollectOptions::default()
    };
    for _ in 0..2 {
        time.advance(1);
        store
            .gc(&now)
            .unwrap_or_else(|error| panic!("{name}: gc: {error}"));
    }
}

fn verify(store: &Store) -> VerifyReport {
    store
        .verify(&VerifyOptions::default(), &Progress::default())
        .unwrap()
}

/// Everything that was acknowledged is shown, byte for byte.
fn all_is_there(world: &World, sim: &Sim, store: &Store, name: &str) {
    let catalog = store.catalog();
    let shown = catalog.repo(&repo()).cloned().unwrap_or_default();
    for (rev, files) in &world.revisions {
        assert!(shown.revisions.contains_key(rev), "{name}: lost {rev}");
        let seen = tree(sim, &format!("org/model/{rev}"));
        assert!(seen.as_ref() == Some(files), "{name}: {rev} is not whole");
    }
    for (tag, rev) in &world.tags {
        let found = shown.tags.get(tag).map(|tag| tag.rev);
        assert_eq!(found, Some(*rev), "{name}: {tag}");
        let seen = tree(sim, &format!("org/model/{tag}"));
        assert!(seen.as_ref() == world.revisions.get(rev), "{name}: {tag}");
    }
}

/// Opens, collects and verifies what a crash has left, twice: nothing is lost.
fn check(world: &World, sim: &Sim, name: &str) {
    for attempt in ["first", "second"] {
        let name = format!("{name}, {attempt} start");
        let time = Time::at(1_000_000);
        let store = Store::open(Arc::new(sim.clone()), options(&time))
            .unwrap_or_else(|error| panic!("{name}: does not open: {error}"));
        all_is_there(world, sim, &store, &name);
        collect(&store, &time, &name);
        all_is_there(world, sim, &store, &name);
        let report = verify(&store);
        assert!(report.is_sound(), "{name}: {:?}", report.damages);
        assert_eq!(report.files, 19, "{name}: files read");
        all_is_there(world, sim, &store, &name);
    }
}

#[test]
fn every_boundary_of_a_rebuild_an_open_a_collection_and_a_verification_loses_nothing() {
    let world = world();
    let mut images = 0;
    for harm in HARMS {
        let sim = harmed(&world, harm);
        let time = Time::at(2_000);
        {
            let store = support::open(&sim, &time);
            collect(&store, &time, "without a crash");
            verify(&store);
            collect(&store, &time, "without a crash");
        }
        check(&world, &sim.copy(), &format!("{harm:?}, no crash"));
        let mut crashes = sim.crashes();
        for boundary in 0..=crashes.boundaries() {
            crashes.advance(boundary);
            for (number, loss) in Loss::ALL.into_iter().enumerate() {
                let seed = (boundary * Loss::ALL.len() + number) as u64;
                let machine = crashes.machine(loss, seed);
                check(
                    &world,
                    &machine,
                    &format!("{harm:?}, boundary {boundary}, {loss:?}"),
                );
                images += 1;
            }
        }
        println!("{harm:?}: {} boundaries", crashes.boundaries());
    }
    assert!(images > 500, "only {images} disks");
}

/// Every table is damaged, one after the other, and the index as well: the data stays, and the
/// table is made again from it.
#[test]
fn a_file_whose_table_cannot_be_read_is_kept_and_its_table_made_again() {
    let world = world();
    for path in below(&world.sim, ".table") {
        for damage in [&b"no table"[..], b""] {
            let sim = world.sim.copy();
            overwrite(&sim, &path, damage);
            sim.remove_file(".towline/index.redb").unwrap();
            let time = Time::at(1_000_000);
            let store = support::open(&sim, &time);
            collect(&store, &time, &path);
            all_is_there(&world, &sim, &store, &path);
            let report = verify(&store);
            let tables = report.damages.iter();
            let tables = tables.filter(|damage| damage.kind == DamageKind::Table);
            assert_eq!(tables.count(), 1, "{path}: {:?}", report.damages);
            assert!(report.is_sound(), "{path}: {:?}", report.damages);
            assert_eq!(verify(&store).damages, [], "{path}");
            collect(&store, &time, &path);
            all_is_there(&world, &sim, &store, &path);
        }
    }
}

/// What earlier versions left when they were killed while they made their index anew: all rows, and
/// no file.
#[test]
fn an_index_that_knows_rows_and_no_files_is_completed() {
    let world = world();
    let sim = world.sim.copy();
    let files: Vec<(String, Vec<u8>)> = below(&sim, "")
        .into_iter()
        .map(|path| {
            let file = sim.open(&path, Open::Read).unwrap();
            let mut bytes = vec![0; file.length().unwrap() as usize];
            file.read_at(&mut bytes, 0).unwrap();
            (path, bytes)
        })
        .collect();
    // Made anew while the tables are away, so that it knows no file; then they come back.
    for (path, _) in files.iter().filter(|(path, _)| path.ends_with(".table")) {
        sim.rename(path, &format!("{path}-away")).unwrap();
    }
    sim.remove_file(".towline/index.redb").unwrap();
    drop(support::open(&sim, &Time::at(5_000)));
    for (path, _) in files.iter().filter(|(path, _)| path.ends_with(".table")) {
        sim.rename(&format!("{path}-away"), path).unwrap();
    }
    check(&world, &sim, "an index without files");
}

/// What is gone is told, each time, with what had it.
#[test]
fn a_verification_counts_what_manifests_and_tags_name_not_what_it_finds() {
    let world = world();
    let sim = world.sim.copy();
    for path in below(&sim, "") {
        sim.remove_file(&path).unwrap();
    }
    let time = Time::at(1_000_000);
    for attempt in 0..2 {
        let store = support::open(&sim, &time);
        let report = verify(&store);
        assert!(!report.is_sound(), "{attempt}: {report:?}");
        let missing = report
            .damages
            .iter()
            .filter(|damage| damage.kind == DamageKind::Missing && damage.path.ends_with(".data"));
        assert_eq!(missing.count(), 19, "{attempt}: {:?}", report.damages);
        for rev in world.revisions.keys() {
            let named = |damage: &towline_store::Damage| damage.revisions.contains(&(repo(), *rev));
            assert!(report.damages.iter().any(named), "{attempt}: {rev}");
        }
        let look = VerifyOptions {
            look_only: true,
            ..VerifyOptions::default()
        };
        let looked = store.verify(&look, &Progress::default()).unwrap();
        assert!(!looked.is_sound());
        assert!(
            looked
                .damages
                .iter()
                .all(|damage| damage.remedy == Remedy::Left)
        );
    }
    // Its owner says that it may go: then nothing is missing any more.
    let store = support::open(&sim, &time);
    for rev in world.revisions.keys() {
        let found = store.resolve_known(&repo(), &rev.to_string()).unwrap();
        store.remove(&repo(), &found).unwrap();
    }
    assert_eq!(verify(&store).damages, []);
}

/// Both copies of a manifest are gone: what it names cannot be known, so nothing goes.
#[test]
fn a_collection_that_cannot_explain_what_would_go_removes_nothing_and_says_so() {
    let world = world();
    let now = CollectOptions {
        grace_seconds: 0,
        ..CollectOptions::default()
    };
    // A manifest that neither index nor ledger knows, put there while the node runs.
    let sim = world.sim.copy();
    let time = Time::at(1_000_000);
    let store = support::open(&sim, &time);
    let name = sim.list(".towline/manifests").unwrap()[0].name.clone();
    let away = world.sim.copy();
    let other = support::open(&away, &time);
    let rev = *world.revisions.keys().next().unwrap();
    other.remove(&repo(), &rev).unwrap();
    let left = away.list(".towline/manifests").unwrap().len();
    assert_eq!(left, 2, "the manifest of a removed revision goes with it");
    drop(store);
    drop(other);
    let store = support::open(&away, &time);
    let kept = away.list(".towline/manifests").unwrap();
    let gone = sim.list(".towline/manifests").unwrap();
    let gone = gone.iter().find(|entry| !kept.contains(entry)).unwrap();
    let path = format!(".towline/manifests/{}", gone.name);
    let bytes = support::read(&sim, &path);
    let file = away.open(&path, Open::Create).unwrap();
    file.write_at(&bytes, 0).unwrap();
    let before = below(&away, "").len();
    let outcome = store.gc(&now);
    assert!(
        matches!(
            outcome,
            Err(StoreError::Storage(StorageFault::Unexplained { .. }))
        ),
        "{outcome:?}"
    );
    assert_eq!(below(&away, "").len(), before);
    // The next start takes it up again.
    drop(store);
    let store = support::open(&away, &time);
    collect(&store, &time, "taken up again");
    assert!(name.len() == 64);
}

/// Data files that nothing names, in a store that knows no past: it may have lost all of it.
#[test]
fn a_store_without_a_past_keeps_files_that_nothing_names() {
    let world = world();
    let sim = world.sim.copy();
    for entry in sim.list(".towline/manifests").unwrap() {
        let path = format!(".towline/manifests/{}", entry.name);
        sim.remove_file(&path).unwrap();
    }
    sim.remove_file(".towline/index.redb").unwrap();
    sim.remove_file(".towline/ledger").unwrap();
    let before = below(&sim, "").len();
    let store = support::open(&sim, &Time::at(1_000_000));
    let outcome = store.gc(&CollectOptions::default());
    assert!(
        matches!(
            outcome,
            Err(StoreError::Storage(StorageFault::Unexplained { .. }))
        ),
        "{outcome:?}"
    );
    assert_eq!(below(&sim, "").len(), before);
}
