//! Repositories of every kind and shape: made empty, named, renamed and removed as a whole, and
//! found again when the store is opened.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed step is a failed test"
)]

mod support;

use support::{Files, Time, open, publish, tree};
use towline_io::backend::Backend;
use towline_io::backend::sim::{Loss, Sim};
use towline_store::{
    ClientFault, CollectOptions, Progress, RepoName, Store, StoreError, TagName, VerifyOptions,
};

fn name(text: &str) -> RepoName {
    text.parse().unwrap()
}

fn tag(text: &str) -> TagName {
    text.parse().unwrap()
}

fn files(content: &str) -> Files {
    let pairs = [("config.json", content), ("sub/a.txt", "hi\n")];
    let pairs = pairs.map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()));
    pairs.into_iter().collect()
}

fn store() -> (Sim, Time, Store) {
    let (sim, time) = (Sim::new(), Time::at(1_767_225_600));
    let store = open(&sim, &time);
    (sim, time, store)
}

fn is_taken<T: std::fmt::Debug>(result: Result<T, StoreError>) -> bool {
    matches!(
        result,
        Err(StoreError::Client(ClientFault::NameTaken { .. }))
    )
}

/// Names that have one, two and three parts lie side by side, and opening finds all of them and
/// removes nothing.
#[test]
fn names_of_every_shape_are_found_again() {
    let (sim, time, store) = store();
    let names = [
        "gpt2",
        "acme/x",
        "datasets/squad",
        "datasets/acme/x",
        "spaces/acme/app",
    ];
    for text in names {
        publish(&store, &name(text), &TagName::main(), &files(text)).unwrap();
        let rev = store.resolve(&name(text), "main").unwrap();
        store
            .branch(&name(text), &tag("feature/x"), &rev, None)
            .unwrap();
    }
    drop(store);
    let store = open(&sim, &time);
    for text in names {
        let found = tree(&sim, &format!("{text}/main"));
        assert_eq!(found, Some(files(text)), "{text}");
        assert_eq!(
            tree(&sim, &format!("{text}/feature%2Fx")),
            Some(files(text))
        );
        let catalog = store.catalog();
        let tags = &catalog.repo(&name(text)).unwrap().tags;
        assert!(tags[&tag("feature/x")].is_branch && tags[&TagName::main()].is_branch);
    }
    for hub in ["models--gpt2", "datasets--acme--x", "spaces--acme--app"] {
        let refs = tree(&sim, &format!(".towline/hub/{hub}/refs")).unwrap();
        assert_eq!(refs.keys().collect::<Vec<_>>(), ["feature/x", "main"]);
    }
    let report = store.verify(&VerifyOptions::default(), &Progress::default());
    assert_eq!(report.unwrap().damages, []);
    store.untag(&name("gpt2"), &tag("feature/x")).unwrap();
    assert!(sim.metadata("gpt2/feature%2Fx").is_err());
    assert!(
        sim.metadata(".towline/hub/models--gpt2/refs/feature")
            .is_err()
    );
}

#[test]
fn names_that_clients_would_confuse_are_refused_before_a_byte_is_stored() {
    let (_sim, _time, store) = store();
    let main = TagName::main();
    for text in ["acme/x", "gpt2", "datasets/acme/ds"] {
        publish(&store, &name(text), &main, &files("1")).unwrap();
    }
    for text in [
        "Acme/X",
        "gpt2/x",
        "acme",
        "GPT2",
        "datasets/acme",
        "datasets/ACME/DS",
    ] {
        assert!(
            is_taken(publish(&store, &name(text), &main, &files("2"))),
            "{text}"
        );
        assert!(is_taken(store.create(&name(text), None)), "{text}");
    }
    let catalog = store.catalog();
    assert_eq!(catalog.spelled(&name("ACME/x")), name("acme/x"));
    assert_eq!(catalog.repos.len(), 3);
    let rev = store.resolve(&name("gpt2"), "main").unwrap();
    store.tag(&name("gpt2"), &tag("a"), &rev, None).unwrap();
    let refused = store.branch(&name("gpt2"), &tag("a/b"), &rev, None);
    let is_taken = matches!(
        refused,
        Err(StoreError::Client(ClientFault::TagTaken { .. }))
    );
    assert!(is_taken, "{refused:?}");
}

#[test]
fn an_empty_repository_is_one_and_grows() {
    let (sim, time, store) = store();
    let repo = name("acme/new");
    let made = store.create(&repo, None).unwrap();
    assert_eq!(made.files, 0);
    assert_eq!(store.create(&repo, None).unwrap().rev, made.rev);
    drop(store);
    let store = open(&sim, &time);
    assert_eq!(store.resolve(&repo, "main").unwrap(), made.rev);
    assert_eq!(tree(&sim, "acme/new/main"), Some(Files::new()));
    let grown = publish(&store, &repo, &TagName::main(), &files("1")).unwrap();
    let catalog = store.catalog();
    let revision = catalog.resolve(&repo, "main").unwrap();
    assert_eq!((revision.rev, revision.parent), (grown.rev, Some(made.rev)));
    assert_eq!(tree(&sim, "acme/new/main"), Some(files("1")));
}

#[test]
fn a_removed_repository_is_gone_as_a_whole_or_not_at_all() {
    let (sim, time, store) = store();
    let repo = name("acme/x");
    let first = publish(&store, &repo, &TagName::main(), &files("1")).unwrap();
    publish(&store, &repo, &TagName::main(), &files("2")).unwrap();
    store.pin(&repo, &first.rev).unwrap();
    let held = store.remove_repository(&repo);
    assert!(matches!(
        held,
        Err(StoreError::Client(ClientFault::Held { .. }))
    ));
    assert_eq!(tree(&sim, "acme/x/main"), Some(files("2")));
    store.unpin(&repo, &first.rev).unwrap();
    store.remove_repository(&repo).unwrap();
    assert!(store.catalog().repo(&repo).is_none());
    assert!(
        sim.metadata("acme/x").is_err() && sim.metadata(".towline/hub/models--acme--x").is_err()
    );
    assert!(matches!(
        store.remove_repository(&repo),
        Err(StoreError::Client(ClientFault::NoRepo(_)))
    ));
    let options = CollectOptions {
        grace_seconds: 0,
        ..CollectOptions::default()
    };
    time.advance(1);
    store.gc(&options).unwrap();
    time.advance(1);
    store.gc(&options).unwrap();
    drop(store);
    let store = open(&sim, &time);
    assert!(store.catalog().repos.is_empty());
    assert_eq!(store.gauges().bytes_stored, 0);
}

#[test]
fn a_renamed_repository_has_the_same_revisions_tags_and_pins() {
    let (sim, time, store) = store();
    let (from, to) = (name("acme/x"), name("lab/y"));
    let first = publish(&store, &from, &TagName::main(), &files("1")).unwrap();
    let second = publish(&store, &from, &TagName::main(), &files("2")).unwrap();
    store.tag(&from, &tag("v1"), &first.rev, None).unwrap();
    store.pin(&from, &first.rev).unwrap();
    publish(&store, &name("lab/z"), &TagName::main(), &files("z")).unwrap();
    assert!(is_taken(store.rename_repository(
        &from,
        &name("lab/z"),
        None
    )));
    assert!(is_taken(store.rename_repository(&from, &name("lab"), None)));
    store.rename_repository(&from, &to, None).unwrap();
    let judge = |store: &Store| {
        assert!(store.catalog().repo(&from).is_none());
        assert_eq!(store.resolve(&to, "main").unwrap(), second.rev);
        assert_eq!(store.resolve(&to, "v1").unwrap(), first.rev);
        assert!(store.pinned_since(&to, &first.rev).is_some());
        assert_eq!(tree(&sim, "lab/y/main"), Some(files("2")));
        assert_eq!(tree(&sim, "lab/y/v1"), Some(files("1")));
        assert!(sim.metadata("acme/x").is_err());
        assert!(sim.metadata(".towline/hub/models--acme--x").is_err());
        let report = store.verify(&VerifyOptions::default(), &Progress::default());
        assert_eq!(report.unwrap().damages, []);
    };
    judge(&store);
    drop(store);
    judge(&open(&sim, &time));
    // Only the capital letters change.
    let store = open(&sim, &time);
    store.rename_repository(&to, &name("lab/Y"), None).unwrap();
    assert_eq!(tree(&sim, "lab/Y/main"), Some(files("2")));
}

/// Opens what a crash left at each moment since `start`, under each way to lose what was not
/// synced.
fn after_every_crash(sim: &Sim, time: &Time, start: usize, judge: impl Fn(&Sim, &Store)) {
    let mut crashes = sim.crashes();
    let end = crashes.boundaries();
    assert!(end > start + 5, "{start} to {end}: too few changes");
    for boundary in start..=end {
        crashes.advance(boundary);
        for (number, loss) in Loss::ALL.into_iter().enumerate() {
            let machine = crashes.machine(loss, (boundary * 4 + number) as u64);
            judge(&machine, &open(&machine, time));
        }
    }
}

#[test]
fn a_crash_at_any_moment_of_a_rename_leaves_the_one_name_or_the_other() {
    let (sim, time, store) = store();
    let (from, to) = (name("acme/x"), name("datasets/lab/y"));
    let first = publish(&store, &from, &TagName::main(), &files("1")).unwrap();
    publish(&store, &from, &TagName::main(), &files("2")).unwrap();
    store.branch(&from, &tag("a/b"), &first.rev, None).unwrap();
    let start = sim.changes();
    store.rename_repository(&from, &to, None).unwrap();
    drop(store);
    after_every_crash(&sim, &time, start, |machine, store| {
        let catalog = store.catalog();
        let (here, gone) = match catalog.repo(&to) {
            Some(_) => (&to, &from),
            None => (&from, &to),
        };
        assert!(catalog.repo(gone).is_none());
        assert_eq!(catalog.repo(here).unwrap().tags.len(), 2);
        assert_eq!(tree(machine, &format!("{here}/main")), Some(files("2")));
        assert_eq!(tree(machine, &format!("{here}/a%2Fb")), Some(files("1")));
        assert!(tree(machine, &format!("{gone}/main")).is_none());
        let options = CollectOptions::default();
        assert_eq!(store.gc(&options).unwrap().files, 0);
        let report = store.verify(&VerifyOptions::default(), &Progress::default());
        assert_eq!(report.unwrap().damages, []);
    });
}

#[test]
fn a_crash_at_any_moment_of_a_removal_leaves_all_or_nothing() {
    let (sim, time, store) = store();
    let repo = name("gpt2");
    let first = publish(&store, &repo, &TagName::main(), &files("1")).unwrap();
    publish(&store, &repo, &TagName::main(), &files("2")).unwrap();
    store.tag(&repo, &tag("v1"), &first.rev, None).unwrap();
    let start = sim.changes();
    store.remove_repository(&repo).unwrap();
    drop(store);
    after_every_crash(&sim, &time, start, |machine, store| {
        match store.catalog().repo(&repo) {
            Some(found) => {
                assert_eq!((found.revisions.len(), found.tags.len()), (2, 2));
                assert_eq!(tree(machine, "gpt2/main"), Some(files("2")));
                assert_eq!(tree(machine, "gpt2/v1"), Some(files("1")));
            }
            None => {
                for place in [
                    "gpt2/main",
                    "gpt2/v1",
                    ".towline/hub/models--gpt2/refs/main",
                ] {
                    assert!(machine.metadata(place).is_err(), "{place}");
                }
            }
        }
    });
}
