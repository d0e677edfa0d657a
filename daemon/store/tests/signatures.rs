//! Signatures: what is taken without one, what is shown, what becomes of one that does not hold.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed step is a failed test"
)]

mod support;

use std::sync::Arc;

use support::{Dice, Files, Memory, Time, tree};
use towline_io::backend::sim::Sim;
use towline_io::backend::{Backend, Open};
use towline_store::manifest::Manifest;
use towline_store::{
    CatalogRevision, ClientFault, Damage, DamageKind, ManifestId, Options, Outline, Progress,
    PublishOptions, RepoName, Signer, Store, StoreError, TagName, VerifyOptions,
};

fn repo(name: &str) -> RepoName {
    format!("org/{name}").parse().unwrap()
}

fn one_file(length: usize, seed: u64) -> Files {
    [("model.bin".to_owned(), Dice(seed).bytes(length))].into()
}

#[test]
fn only_what_a_trusted_key_has_signed_is_taken_and_shown() {
    let (sim, time) = (Sim::new(), Time::at(1_000));
    let trusted = Signer::from_seed(&[1; 32]).unwrap();
    let stranger = Signer::from_seed(&[2; 32]).unwrap();
    let strict = Options {
        require_signature: true,
        trusted_keys: vec![trusted.public_key()],
        ..support::options(&time)
    };
    let open = |options: &Options| Store::open(Arc::new(sim.clone()), options.clone()).unwrap();
    let store = open(&strict);
    let push = |store: &Store, name: &str, signer: Option<&Signer>| {
        let source = Memory::new(&one_file(100, 1));
        let options = PublishOptions {
            signer,
            ..PublishOptions::default()
        };
        store.publish(
            &repo(name),
            &TagName::main(),
            &source,
            &options,
            &Progress::default(),
        )
    };
    let refused = |signer| match push(&store, "a", signer) {
        Err(StoreError::Client(fault)) => fault,
        other => panic!("{other:?}"),
    };
    assert!(matches!(refused(None), ClientFault::NoSigner(_)));
    let by_stranger = refused(Some(&stranger));
    assert!(matches!(by_stranger, ClientFault::Untrusted { .. }));
    push(&store, "a", Some(&trusted)).unwrap();
    drop(store);
    let store = open(&support::options(&time));
    push(&store, "b", Some(&stranger)).unwrap();
    push(&store, "c", None).unwrap();
    assert_eq!(store.catalog().repos.len(), 3);
    drop(store);
    let store = open(&strict);
    let shown: Vec<String> = store
        .catalog()
        .repos
        .keys()
        .map(ToString::to_string)
        .collect();
    assert_eq!(shown, ["org/a"]);
    assert!(tree(&sim, "org/b/main").is_none() && tree(&sim, "org/a/main").is_some());
    // The same content, signed now, is shown again.
    push(&store, "c", Some(&trusted)).unwrap();
    assert!(tree(&sim, "org/c/main").is_some());
    the_refused_is_told_apart_until_it_is_signed(&sim, &store, &trusted);
}

fn the_refused_is_told_apart_until_it_is_signed(sim: &Sim, store: &Store, trusted: &Signer) {
    let name = repo("b");
    let refused = Arc::clone(store.catalog().refused[&name].resolve("main").unwrap());
    let rev = refused.rev;
    let tagged = store.tag(&name, &"v2".parse().unwrap(), &rev, None);
    assert!(matches!(
        tagged,
        Err(StoreError::Client(ClientFault::Unsigned { .. }))
    ));
    let report = || {
        let options = VerifyOptions {
            repo: Some(&name),
            ..VerifyOptions::default()
        };
        store.verify(&options, &Progress::default()).unwrap()
    };
    let kinds: Vec<_> = report().damages.iter().map(|found| found.kind).collect();
    assert_eq!(kinds, [DamageKind::Signature]);
    let wrong = trusted.sign_manifest(&ManifestId([9; 32]));
    assert!(matches!(
        store.add_signature(&name, &rev, wrong),
        Err(StoreError::Client(ClientFault::WrongSignature { .. }))
    ));
    let right = trusted.sign_manifest(&refused.manifest);
    store.add_signature(&name, &rev, right).unwrap();
    assert!(tree(sim, "org/b/main").is_some());
    assert!(!store.catalog().refused.contains_key(&name));
    assert!(report().damages.is_empty());
    flipped(sim, store, &refused);
}

/// A signature with one bit changed is named, set aside, and its revision is not served any more.
fn flipped(sim: &Sim, store: &Store, revision: &CatalogRevision) {
    let path = format!(".towline/manifests/{}.sig", revision.manifest);
    let file = sim.open(&path, Open::Write).unwrap();
    let mut byte = [0];
    let last = file.length().unwrap() - 1;
    for place in [last, 70] {
        file.read_at(&mut byte, place).unwrap();
        file.write_at(&[byte[0] ^ 1], place).unwrap();
    }
    let options = VerifyOptions::default();
    let report = store.verify(&options, &Progress::default()).unwrap();
    let wrong = |found: &&Damage| found.detail.contains("is not for this content");
    assert_eq!(report.damages.iter().filter(wrong).count(), 1, "{report:?}");
    assert!(!report.is_sound());
    assert!(tree(sim, "org/b/main").is_none());
    assert!(store.catalog().refused.contains_key(&revision.repo));
}

/// What a publisher computes on its own machine is what the store makes of the same files, and a
/// signature for anything else is refused with nothing changed.
#[test]
fn a_manifest_signed_elsewhere_is_taken_if_it_is_for_these_very_files() {
    let (sim, time) = (Sim::new(), Time::at(1_000));
    let signer = Signer::from_seed(&[1; 32]).unwrap();
    let strict = Options {
        require_signature: true,
        trusted_keys: vec![signer.public_key()],
        ..support::options(&time)
    };
    let store = Store::open(Arc::new(sim.clone()), strict).unwrap();
    let name = repo("a");
    let composed = |files: &Files| {
        let outline = Outline {
            repo: &name,
            parent: None,
            created: 77,
            message: "m",
        };
        let progress = Progress::default();
        outline.compose(&Memory::new(files), &progress).unwrap()
    };
    let push = |files: &Files, signed: &Manifest| {
        let id = Manifest::id_of(&signed.encode());
        let options = PublishOptions {
            message: "m",
            created: Some(77),
            signatures: &[signer.sign_manifest(&id)],
            ..PublishOptions::default()
        };
        let source = Memory::new(files);
        store.publish(
            &name,
            &TagName::main(),
            &source,
            &options,
            &Progress::default(),
        )
    };
    let (files, others) = (one_file(100_000, 1), one_file(100_000, 2));
    let refused = push(&files, &composed(&others));
    assert!(matches!(
        refused,
        Err(StoreError::Client(ClientFault::WrongSignature { .. }))
    ));
    assert!(store.catalog().repos.is_empty());
    let signed = composed(&files);
    assert_eq!(push(&files, &signed).unwrap().rev, signed.rev);
    assert!(push(&files, &signed).unwrap().unchanged);
}
