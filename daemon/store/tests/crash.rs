//! Power loss at every I/O boundary of an ingest, under every model of what a disk loses: what was
//! acknowledged is there, whole; what was not is there whole or not at all.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a failed step is a failed test"
)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use support::{Files, Time, options, publish, tree};
use towline_io::backend::sim::{Faults, Loss, Sim};
use towline_store::{
    ArrivalFile, ArrivalPlan, CollectOptions, Progress, RepoName, RevisionId, Store, TagName,
    VerifyOptions,
};

/// What a user has been told.
#[derive(Clone, Default)]
struct Told {
    tags: BTreeMap<TagName, RevisionId>,
    revisions: BTreeMap<RevisionId, Files>,
    pins: Vec<RevisionId>,
}

fn repo() -> RepoName {
    "org/model".parse().unwrap()
}

fn tag(name: &str) -> TagName {
    name.parse().unwrap()
}

fn files(items: &[(&str, Vec<u8>)]) -> Files {
    items
        .iter()
        .map(|(path, bytes)| ((*path).to_owned(), bytes.clone()))
        .collect()
}

/// Publishes, tags, pulls, removes and collects; after each step what a user knows, and how many
/// changes the disk had seen by then.
fn ingest(sim: &Sim, time: &Time) -> Vec<(usize, Told)> {
    let store = support::open(sim, time);
    let mut told = Told::default();
    let mut steps = vec![(sim.changes(), told.clone())];
    let mut dice = support::Dice(1);
    let weights = dice.bytes(70_000);
    let mut content = files(&[
        ("config.json", b"{}".to_vec()),
        ("model.bin", weights.clone()),
        ("a/b/tokens.txt", b"one two".to_vec()),
    ]);
    for step in 0..3u8 {
        time.advance(10);
        content.insert("config.json".into(), vec![b'0' + step; 3_000]);
        let published = publish(&store, &repo(), &TagName::main(), &content).unwrap();
        told.revisions.insert(published.rev, content.clone());
        told.tags.insert(TagName::main(), published.rev);
        steps.push((sim.changes(), told.clone()));
    }
    let first = *told.revisions.keys().next().unwrap();
    store.tag(&repo(), &tag("v1"), &first, None).unwrap();
    told.tags.insert(tag("v1"), first);
    steps.push((sim.changes(), told.clone()));
    store.pin(&repo(), &first).unwrap();
    told.pins.push(first);
    steps.push((sim.changes(), told.clone()));
    let pulled = pull(&store);
    told.revisions.insert(pulled.0, pulled.1);
    told.tags.insert(tag("pulled"), pulled.0);
    steps.push((sim.changes(), told.clone()));
    // So many small files that they are synced with everything else.
    let many = many_files();
    let published = publish(&store, &repo(), &tag("many"), &many).unwrap();
    told.revisions.insert(published.rev, many);
    told.tags.insert(tag("many"), published.rev);
    steps.push((sim.changes(), told.clone()));
    store.untag(&repo(), &TagName::main()).unwrap();
    told.tags.remove(&TagName::main());
    steps.push((sim.changes(), told.clone()));
    // Collection takes two passes; what only the first marks is still there.
    let now = CollectOptions {
        grace_seconds: 0,
        ..CollectOptions::default()
    };
    store.gc(&now).unwrap();
    steps.push((sim.changes(), told.clone()));
    time.advance(1);
    let gone = store.gc(&now).unwrap().revisions;
    assert!(!gone.is_empty());
    told.revisions
        .retain(|rev, _| !gone.iter().any(|(_, gone)| gone == rev));
    store.gc(&now).unwrap();
    steps.push((sim.changes(), told.clone()));
    steps
}

fn many_files() -> Files {
    let file = |number: u8| (format!("part-{number}.txt"), vec![b'a' + number; 10]);
    (0..20).map(file).collect()
}

/// What is pulled.
fn pulled_bytes() -> Vec<u8> {
    support::Dice(77).bytes(600_000)
}

fn pull(store: &Store) -> (RevisionId, Files) {
    let bytes = pulled_bytes();
    let plan = ArrivalPlan {
        repo: repo(),
        rev: None,
        parent: None,
        created: Some(5),
        message: String::new(),
        origin: "hf://org/model".into(),
        files: vec![ArrivalFile {
            path: "weights.bin".parse().unwrap(),
            size: bytes.len() as u64,
            sha256: None,
            git_oid: None,
        }],
    };
    let arrival = store.begin(plan).unwrap();
    for (at, part) in bytes.chunks(250_000).enumerate() {
        arrival.write(0, at as u64 * 250_000, part).unwrap();
        arrival.flush().unwrap();
    }
    let published = arrival.finish(Some(&tag("pulled")), None).unwrap();
    (published.rev, files(&[("weights.bin", bytes)]))
}

/// Compares a machine after a crash with what the user knew before and would have known after.
fn check(sim: &Sim, before: &Told, after: &Told, name: &str) {
    let time = Time::at(1_000_000);
    let started = Instant::now();
    let store = Store::open(Arc::new(sim.clone()), options(&time)).unwrap_or_else(|error| {
        panic!("{name}: does not open: {error}");
    });
    assert!(
        started.elapsed().as_secs() < 2,
        "{name}: opening took too long"
    );
    let catalog = store.catalog();
    let shown = catalog.repo(&repo()).cloned().unwrap_or_default();
    for (rev, files) in &before.revisions {
        if !after.revisions.contains_key(rev) {
            continue;
        }
        assert!(shown.revisions.contains_key(rev), "{name}: lost {rev}");
        assert_eq!(
            tree(sim, &format!("org/model/{rev}")).as_ref(),
            Some(files),
            "{name}"
        );
    }
    for rev in shown.revisions.keys() {
        let known = before.revisions.get(rev).or(after.revisions.get(rev));
        let files = tree(sim, &format!("org/model/{rev}"));
        assert!(known.is_some(), "{name}: nobody published {rev}");
        let lengths = |files: &Files| -> Vec<_> {
            files
                .iter()
                .map(|(path, bytes)| (path.clone(), bytes.len()))
                .collect()
        };
        let (seen, wanted) = (files.as_ref().map(lengths), known.map(lengths));
        assert_eq!(seen, wanted, "{name}: {rev} is not whole");
        assert!(files.as_ref() == known, "{name}: {rev} has other bytes");

        let hub = format!(".towline/hub/models--org--model/snapshots/{rev}");
        assert_eq!(tree(sim, &hub).as_ref(), known, "{name}: hub view of {rev}");
    }
    let names = before.tags.keys().chain(after.tags.keys());
    for tag in names {
        let found = shown.tags.get(tag).map(|tag| tag.rev);
        let allowed = [before.tags.get(tag).copied(), after.tags.get(tag).copied()];
        assert!(
            allowed.contains(&found),
            "{name}: {tag} is {found:?}, not {allowed:?}"
        );
        let seen = tree(sim, &format!("org/model/{tag}"));
        let expected =
            found.and_then(|rev| before.revisions.get(&rev).or(after.revisions.get(&rev)));
        assert_eq!(seen.as_ref(), expected, "{name}: what {tag} shows");
    }
    for rev in before.pins.iter().filter(|rev| after.pins.contains(rev)) {
        assert!(
            store.pinned_since(&repo(), rev).is_some(),
            "{name}: pin of {rev} lost"
        );
    }
    let report = store
        .verify(&VerifyOptions::default(), &Progress::default())
        .unwrap();
    assert!(report.damages.is_empty(), "{name}: {:?}", report.damages);
    go_on(&store, sim, name);
}

/// A pull that was under way goes on with what it finds, and ends with the right bytes: no hash
/// was promised, so whatever was wrongly taken for present would show.
fn go_on(store: &Store, sim: &Sim, name: &str) {
    let bytes = pulled_bytes();
    for plan in store.stopped_arrivals().unwrap() {
        let arrival = store.begin(plan).unwrap();
        for range in arrival.missing(0) {
            let part = &bytes[range.start as usize..range.end as usize];
            arrival.write(0, range.start, part).unwrap();
        }
        arrival.finish(Some(&tag("resumed")), None).unwrap();
        let seen = tree(sim, "org/model/resumed").unwrap();
        assert!(
            seen["weights.bin"] == bytes,
            "{name}: resumed with other bytes"
        );
    }
}

#[test]
fn every_boundary_of_an_ingest_under_every_loss_keeps_what_was_acknowledged() {
    let (sim, time) = (Sim::new(), Time::at(1_000));
    let steps = ingest(&sim, &time);
    let mut crashes = sim.crashes();
    let boundaries = crashes.boundaries();
    assert!(boundaries >= 300, "only {boundaries} changes");
    let mut images = 0;
    for boundary in 0..=boundaries {
        crashes.advance(boundary);
        let done = steps.iter().rposition(|(at, _)| *at <= boundary);
        let before = done.map(|at| steps[at].1.clone()).unwrap_or_default();
        let after = steps
            .get(done.map_or(0, |at| at + 1))
            .map_or(&before, |step| &step.1);
        for (number, loss) in Loss::ALL.into_iter().enumerate() {
            let seed = (boundary * Loss::ALL.len() + number) as u64;
            let machine = crashes.machine(loss, seed);
            check(
                &machine,
                &before,
                after,
                &format!("boundary {boundary}, {loss:?}"),
            );
            images += 1;
        }
    }
    println!("{boundaries} boundaries, {images} disks");
}

/// Every call that fails once, with a full disk or an I/O error: an error comes out, nothing that
/// was there is damaged, and the store goes on after opening it again.
#[test]
fn a_failing_call_anywhere_leaves_the_store_sound() {
    use rustix::io::Errno;
    let content = files(&[
        ("config.json", b"{}".to_vec()),
        ("model.bin", vec![7; 9_000]),
    ]);
    let (base, time) = (Sim::new(), Time::at(1_000));
    let kept = {
        let store = support::open(&base, &time);
        publish(&store, &repo(), &TagName::main(), &content)
            .unwrap()
            .rev
    };
    let changed = files(&[
        ("config.json", b"{ }".to_vec()),
        ("model.bin", vec![8; 9_000]),
    ]);
    let cases = [
        (changed.clone(), Errno::NOSPC),
        (changed, Errno::IO),
        (many_files(), Errno::IO),
    ];
    for (changed, errno) in cases {
        for nth in 0.. {
            let sim = base.copy();
            let store = support::open(&sim, &time);
            let start = sim.changes();
            sim.set_faults(Faults {
                fail_at: Some((start + nth, errno)),
                ..Faults::default()
            });
            let outcome = publish(&store, &repo(), &tag("next"), &changed);
            let is_past_the_end = sim.changes() <= start + nth;
            sim.set_faults(Faults::default());
            let name = format!("call {nth} fails with {errno}");
            // What failed works the next time, without opening the store again.
            let again = publish(&store, &repo(), &tag("again"), &changed);
            let again = again.unwrap_or_else(|error| panic!("{name}: {error}")).rev;
            assert_eq!(
                tree(&sim, "org/model/again").as_ref(),
                Some(&changed),
                "{name}"
            );
            drop(store);
            let store = support::open(&sim, &time);
            let found = store
                .catalog()
                .resolve(&repo(), "again")
                .map(|found| found.rev);
            assert_eq!(found, Some(again), "{name}");
            let catalog = store.catalog();
            assert_eq!(
                catalog.resolve(&repo(), "main").map(|found| found.rev),
                Some(kept)
            );
            assert_eq!(
                tree(&sim, "org/model/main").as_ref(),
                Some(&content),
                "{name}"
            );
            if let Ok(published) = &outcome {
                let found = catalog.resolve(&repo(), "next").map(|found| found.rev);
                assert_eq!(found, Some(published.rev), "{name}");
            }
            let report = store
                .verify(&VerifyOptions::default(), &Progress::default())
                .unwrap();
            assert!(report.damages.is_empty(), "{name}: {:?}", report.damages);
            publish(&store, &repo(), &tag("next"), &changed).unwrap();
            assert_eq!(
                tree(&sim, "org/model/next").as_ref(),
                Some(&changed),
                "{name}"
            );
            if is_past_the_end {
                assert!(nth > 30, "only {nth} calls");
                break;
            }
        }
    }
}
