//! Damage of every kind in everything that the store keeps: all of it found, none of it shown as
//! good, and put right where another copy exists.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a failed step is a failed test"
)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use support::{Dice, Files, Time, publish, tree};
use towline_io::backend::sim::Sim;
use towline_io::backend::{Backend, Open};
use towline_store::{
    DamageKind, Healer, Progress, RepoName, Result, Store, TagName, VerifyOptions, Wanted,
};

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Flip,
    Truncate,
    Extend,
    Zero,
    Swap,
    Stale,
    Remove,
}

const HARMS: [Harm; 7] = [
    Harm::Flip,
    Harm::Truncate,
    Harm::Extend,
    Harm::Zero,
    Harm::Swap,
    Harm::Stale,
    Harm::Remove,
];

/// Cases per kind of file and harm; damage lies elsewhere in each.
const CASES: u64 = 25;

struct Truth(BTreeMap<String, Vec<u8>>);

impl Healer for Truth {
    fn read(&self, wanted: &Wanted<'_>, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let bytes = &self.0[wanted.file.path.as_str()];
        let start = offset as usize;
        buffer.copy_from_slice(&bytes[start..start + buffer.len()]);
        Ok(())
    }
}

fn repo() -> RepoName {
    "org/model".parse().unwrap()
}

/// A safetensors file whose tensors become chunks of their own, so that swapping is possible.
fn weights(dice: &mut Dice) -> Vec<u8> {
    let lengths = [300_000, 300_000, 270_000];
    let (mut entries, mut offset) = (Vec::new(), 0);
    for (name, length) in lengths.iter().enumerate() {
        let end = offset + length;
        entries.push(format!(
            "\"t{name}\":{{\"dtype\":\"U8\",\"shape\":[{length}],\
             \"data_offsets\":[{offset},{end}]}}"
        ));
        offset = end;
    }
    let json = format!("{{{}}}", entries.join(","));
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(json.as_bytes());
    bytes.extend(dice.bytes(offset));
    bytes
}

fn paths(sim: &Sim, directory: &str, suffix: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in sim.list(directory).unwrap() {
        let path = format!("{directory}/{}", entry.name);
        if entry.is_directory {
            found.extend(paths(sim, &path, suffix));
        } else if path.ends_with(suffix) {
            found.push(path);
        }
    }
    found
}

fn read(sim: &Sim, path: &str) -> Vec<u8> {
    let file = sim.open(path, Open::Read).unwrap();
    let mut bytes = vec![0; file.length().unwrap() as usize];
    file.read_at(&mut bytes, 0).unwrap();
    bytes
}

/// Damages a file in place, so that every name of it is damaged; `false`: nothing changed.
fn harm(sim: &Sim, path: &str, other: &[u8], harm: Harm, dice: &mut Dice) -> bool {
    let before = read(sim, path);
    let mut bytes = before.clone();
    if bytes.is_empty() {
        return false;
    }
    let at = dice.below(bytes.len());
    let end = (at + 1 + dice.below(5_000)).min(bytes.len());
    match harm {
        Harm::Flip => bytes[at] ^= 1 << dice.below(8),
        Harm::Truncate => bytes.truncate(at),
        Harm::Extend => bytes.extend_from_slice(&dice.bytes(end - at)),
        Harm::Zero => bytes[at..end].fill(0),
        // Two tensors of one length trade places: every block is well formed.
        Harm::Swap if bytes.len() > 800_000 => {
            let start = bytes.len() - 870_000;
            let (one, two) = bytes[start..start + 600_000].split_at_mut(300_000);
            one.swap_with_slice(two);
        }
        Harm::Swap => bytes.reverse(),
        Harm::Stale => bytes = other.to_vec(),
        Harm::Remove => {
            sim.remove_file(path).unwrap();
            return true;
        }
    }
    let file = sim.open(path, Open::Write).unwrap();
    file.set_length(bytes.len() as u64).unwrap();
    file.write_at(&bytes, 0).unwrap();
    bytes != before
}

struct World {
    sim: Sim,
    time: Time,
    first: Files,
    second: Files,
    truth: Truth,
}

fn world() -> World {
    let mut dice = Dice(9);
    let (sim, time) = (Sim::new(), Time::at(1_000));
    let store = support::open(&sim, &time);
    let first: Files = [
        ("model.safetensors".to_owned(), weights(&mut dice)),
        ("tokenizer.bin".to_owned(), dice.bytes(100_000)),
    ]
    .into();
    let mut second = first.clone();
    second.insert("tokenizer.bin".to_owned(), dice.bytes(100_000));
    publish(&store, &repo(), &"v1".parse().unwrap(), &first).unwrap();
    time.advance(1);
    publish(&store, &repo(), &TagName::main(), &second).unwrap();
    drop(store);
    let truth = Truth(second.clone());
    World {
        sim,
        time,
        first,
        second,
        truth,
    }
}

fn open(sim: &Sim, time: &Time) -> Store {
    Store::open(Arc::new(sim.clone()), support::options(time)).unwrap()
}

/// Nothing that is shown is anything but the truth.
fn shown_is_true(world: &World, sim: &Sim, store: &Store, name: &str) -> usize {
    let catalog = store.catalog();
    let mut shown = 0;
    for (tag, files) in [("v1", &world.first), ("main", &world.second)] {
        if catalog.resolve(&repo(), tag).is_some() {
            let seen = tree(sim, &format!("org/model/{tag}"));
            assert!(
                seen.as_ref() == Some(files),
                "{name}: {tag} shows something else"
            );
            shown += 1;
        } else {
            let seen = tree(sim, &format!("org/model/{tag}"));
            assert!(
                seen.is_none(),
                "{name}: {tag} is out of the catalog and still to be seen"
            );
        }
    }
    shown
}

/// Damages files with this suffix; gives how many cases were healed without and with a healer.
fn run(
    world: &World,
    directory: &str,
    suffix: &str,
    kinds: &[DamageKind],
) -> (usize, usize, usize) {
    let (mut cases, mut alone, mut helped) = (0, 0, 0);
    let targets = paths(&world.sim, directory, suffix);
    assert!(!targets.is_empty());
    for (number, kind) in HARMS.into_iter().enumerate() {
        for case in 0..CASES {
            let mut dice = Dice(case * 100 + number as u64);
            let path = &targets[dice.below(targets.len())];
            let stale = read(&world.sim, &targets[dice.below(targets.len())]);
            let name = format!("{kind:?} of {path}, case {case}");
            for with_healer in [false, true] {
                let sim = world.sim.copy();
                let store = open(&sim, &world.time);
                if !harm(&sim, path, &stale, kind, &mut Dice(case)) {
                    continue;
                }
                cases += 1;
                let options = VerifyOptions {
                    healer: with_healer.then_some(&world.truth as &dyn Healer),
                    ..VerifyOptions::default()
                };
                let report = store.verify(&options, &Progress::default()).unwrap();
                assert!(!report.damages.is_empty(), "{name}: not found");
                let fits = report
                    .damages
                    .iter()
                    .any(|damage| kinds.contains(&damage.kind));
                assert!(fits, "{name}: {:?}", report.damages);
                let shown = shown_is_true(world, &sim, &store, &name);
                assert_eq!(report.is_sound(), shown == 2, "{name}: {report:?}");
                if shown == 2 {
                    *(if with_healer { &mut helped } else { &mut alone }) += 1;
                    let again = store.verify(&options, &Progress::default()).unwrap();
                    assert_eq!(again.damages, [], "{name}: healed and wrong again");
                }
                drop(store);
                let store = open(&sim, &world.time);
                shown_is_true(world, &sim, &store, &format!("{name}, opened again"));
            }
        }
    }
    println!("{suffix}: {cases} cases, {alone} healed alone, {helped} with a healer");
    (cases, alone, helped)
}

#[test]
fn damage_in_files_is_found_and_healed_from_a_source() {
    let world = world();
    let kinds = [DamageKind::Data, DamageKind::Length, DamageKind::Missing];
    let (cases, _, helped) = run(&world, ".towline/files", ".data", &kinds);
    // The healer knows the second revision only.
    assert!(cases > 200 && helped > cases / 4, "{cases} {helped}");
}

#[test]
fn damage_in_tables_is_found_and_healed_from_the_data() {
    let world = world();
    let (cases, alone, helped) = run(&world, ".towline/files", ".table", &[DamageKind::Table]);
    assert_eq!(alone + helped, cases, "every table can be made again");
}

#[test]
fn damage_in_manifests_is_found_and_healed_from_the_index() {
    let world = world();
    let (cases, alone, helped) = run(&world, ".towline/manifests", "", &[DamageKind::Manifest]);
    assert_eq!(alone + helped, cases);
}

#[test]
fn damage_in_the_ledger_is_found_and_healed_from_the_index() {
    let world = world();
    let (cases, alone, helped) = run(&world, ".towline", "ledger", &[DamageKind::Ledger]);
    assert_eq!(alone + helped, cases);
}

/// The index is damaged, while nobody has it open or while it is in use: either opening notices
/// and makes it anew, or a
/// verification does; in any case what is shown is true, and it is sound afterwards.
#[test]
fn damage_in_the_index_is_found_and_it_is_made_anew() {
    let world = world();
    let length = read(&world.sim, ".towline/index.redb").len();
    let (mut at_opening, mut by_verify, mut harmless) = (0, 0, 0);
    for (number, kind) in HARMS.into_iter().enumerate() {
        for case in 0..CASES * 2 {
            let is_open = case >= CASES;
            let sim = world.sim.copy();
            let early = is_open.then(|| open(&sim, &world.time));
            let mut dice = Dice(case * 100 + number as u64);
            let stale = dice.bytes(length);
            if !harm(&sim, ".towline/index.redb", &stale, kind, &mut dice) {
                continue;
            }
            let name = format!("{kind:?} of the index, case {case}");
            let damaged = read_or_nothing(&sim, ".towline/quarantine/index.redb");
            let store = early.unwrap_or_else(|| open(&sim, &world.time));
            let anew = read_or_nothing(&sim, ".towline/quarantine/index.redb") != damaged;
            let report = store
                .verify(&VerifyOptions::default(), &Progress::default())
                .unwrap();
            match (anew, report.damages.is_empty()) {
                (true, _) => at_opening += 1,
                (false, false) => by_verify += 1,
                // Bytes that no page in use holds.
                (false, true) => harmless += 1,
            }
            assert!(report.is_sound(), "{name}: {report:?}");
            assert_eq!(shown_is_true(&world, &sim, &store, &name), 2, "{name}");
            let again = store
                .verify(&VerifyOptions::default(), &Progress::default())
                .unwrap();
            assert_eq!(again.damages, [], "{name}");
        }
    }
    println!("{at_opening} at opening, {by_verify} by verify, {harmless} in unused bytes");
    assert!(at_opening > 30 && by_verify > 30);
}

fn read_or_nothing(sim: &Sim, path: &str) -> Option<Vec<u8>> {
    sim.metadata(path).is_ok().then(|| read(sim, path))
}

/// An index of last week put back: the ledger knows better.
#[test]
fn a_stale_index_is_noticed() {
    let world = world();
    let sim = world.sim.copy();
    let old = read(&sim, ".towline/index.redb");
    let store = open(&sim, &world.time);
    let rev = store.resolve(&repo(), "main").unwrap();
    store.pin(&repo(), &rev).unwrap();
    drop(store);
    let file = sim.open(".towline/index.redb", Open::Write).unwrap();
    file.set_length(old.len() as u64).unwrap();
    file.write_at(&old, 0).unwrap();
    let store = open(&sim, &world.time);
    assert!(
        store.pinned_since(&repo(), &rev).is_some(),
        "the pin is of today"
    );
    let report = store
        .verify(&VerifyOptions::default(), &Progress::default())
        .unwrap();
    assert_eq!(report.damages, []);
}

#[test]
fn what_clients_see_is_compared_with_the_store() {
    let world = world();
    let sim = world.sim.copy();
    let store = open(&sim, &world.time);
    sim.remove_file("org/model/main/tokenizer.bin").unwrap();
    sim.link("org/model/v1/tokenizer.bin", "org/model/main/tokenizer.bin")
        .unwrap();
    let report = store
        .verify(&VerifyOptions::default(), &Progress::default())
        .unwrap();
    assert!(
        report
            .damages
            .iter()
            .all(|damage| damage.kind == DamageKind::Shown)
    );
    assert!(report.is_sound() && report.damages.len() == 1);
    assert_eq!(shown_is_true(&world, &sim, &store, "swapped names"), 2);
}

/// The very revision that was quarantined is published again: its tags show it at once.
#[test]
fn the_same_revision_again_is_shown_under_all_its_tags() {
    let world = world();
    let sim = world.sim.copy();
    let store = open(&sim, &world.time);
    let data = paths(&sim, ".towline/files", ".data");
    data.iter()
        .for_each(|path| assert!(harm(&sim, path, &[], Harm::Flip, &mut Dice(4))));
    store
        .verify(&VerifyOptions::default(), &Progress::default())
        .unwrap();
    assert_eq!(shown_is_true(&world, &sim, &store, "quarantined"), 0);
    publish(&store, &repo(), &"again".parse().unwrap(), &world.second).unwrap();
    assert_eq!(shown_is_true(&world, &sim, &store, "published again"), 1);
}

/// A push of the same content brings back what was quarantined.
#[test]
fn content_that_comes_again_restores_what_was_out_of_sight() {
    let world = world();
    let sim = world.sim.copy();
    let store = open(&sim, &world.time);
    let largest = paths(&sim, ".towline/files", ".data")
        .into_iter()
        .max_by_key(|path| read(&sim, path).len())
        .unwrap();
    harm(&sim, &largest, &[], Harm::Flip, &mut Dice(4));
    let report = store
        .verify(&VerifyOptions::default(), &Progress::default())
        .unwrap();
    assert!(!report.is_sound());
    assert_eq!(
        shown_is_true(&world, &sim, &store, "quarantined"),
        0,
        "both have the file"
    );
    world.time.advance(1);
    publish(&store, &repo(), &"again".parse().unwrap(), &world.second).unwrap();
    let report = store
        .verify(&VerifyOptions::default(), &Progress::default())
        .unwrap();
    assert_eq!(report.restored.len(), 2);
    assert_eq!(shown_is_true(&world, &sim, &store, "restored"), 2);
}
