//! Every request and answer as the text that goes over the wire.
//!
//! Invariant: each type of this crate has an example here that is read and written again letter by
//! letter, so that a change of the wire is a change of this file. Requests refuse keys that they do
//! not know, answers pass over them.

#![expect(
    clippy::unwrap_used,
    reason = "a failure anywhere in a test is a failure of the test"
)]

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use towline_api::{care, fault, listing, nfs, publish, pull, status, task, tune};

/// An example without its line breaks and indentation.
fn compact(example: &str) -> String {
    example.lines().map(str::trim_start).collect()
}

/// Reads an example and writes it again.
fn same<T: DeserializeOwned + Serialize + Debug>(example: &str) -> T {
    let compact = compact(example);
    let read: T = serde_json::from_str(&compact).unwrap_or_else(|why| panic!("{why}: {compact}"));
    assert_eq!(serde_json::to_string(&read).unwrap(), compact);
    read
}

fn refuses_what_it_does_not_know<T: DeserializeOwned + Debug>(example: &str) {
    let more = example.replacen('{', "{\"colour\":\"blue\",", 1);
    let why = serde_json::from_str::<T>(&more).unwrap_err().to_string();
    assert!(why.contains("colour"), "{why}");
}

fn passes_over_what_it_does_not_know<T: DeserializeOwned + Serialize>(example: &str) {
    let compact = compact(example);
    let more = compact.replacen('{', "{\"colour\":\"blue\",", 1);
    let read: T = serde_json::from_str(&more).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), compact);
}

const SIGNED: &str = r#"{"parent":null,"created":1767225600,
    "signature":{"key":"ed25519:ab","bytes":"cd"}}"#;

#[test]
fn what_is_published_is_named_file_by_file() {
    let push = r#"{"directory":"/srv/tiny","name":"acme/tiny","tag":"main","message":"first",
        "signed":SIGNED}"#;
    same::<publish::Push>(&push.replace("SIGNED", SIGNED));
    refuses_what_it_does_not_know::<publish::Push>(&push.replace("SIGNED", "null"));
    same::<publish::Signed>(SIGNED);
    same::<publish::SignatureText>(r#"{"key":"ed25519:ab","bytes":"cd"}"#);
    let having = r#"{"name":"acme/tiny","key":null,"files":[{"sha256":"ab","size":3}]}"#;
    same::<publish::Having>(having);
    refuses_what_it_does_not_know::<publish::Having>(having);
    same::<publish::HavingFile>(r#"{"sha256":"ab","size":3}"#);
    let file = r#"{"sha256":"ab","size":3,"held":1,"place":"/hf/lfs/h/ab/3/9/cd"}"#;
    same::<publish::MissingFile>(file);
    passes_over_what_it_does_not_know::<publish::MissingFile>(file);
    same::<publish::Missing>(&format!(r#"{{"files":[{file}]}}"#));
    let all = r#"{"name":"acme/tiny","tag":"main","message":"","files":[
        {"path":"a/b","sha256":"ab"}],"signed":null}"#;
    same::<publish::Publish>(all);
    refuses_what_it_does_not_know::<publish::Publish>(all);
    same::<publish::PublishFile>(r#"{"path":"a/b","sha256":"ab"}"#);
    let sign = r#"{"name":"acme/tiny","revision":"main","signature":null}"#;
    same::<publish::Sign>(sign);
    refuses_what_it_does_not_know::<publish::Sign>(sign);
    let published = r#"{"name":"acme/tiny","tag":"main","revision":"ab","files":2,"bytes":9,
        "bytes_written":1,"bytes_linked":2,"bytes_cloned":3,"bytes_known_written":1,"bytes_zero":2,
        "unchanged":false}"#;
    same::<publish::Published>(published);
    passes_over_what_it_does_not_know::<publish::Published>(published);
}

#[test]
fn the_token_of_a_pull_is_sent_and_never_shown() {
    let example = r#"{"source":"hf://a/b","endpoint":null,"token":"hunter2hunter2","name":"a/b",
        "tag":"main"}"#;
    let pull = same::<pull::Pull>(example);
    assert_eq!(
        pull.token.as_ref().map(|token| token.0.as_str()),
        Some("hunter2hunter2")
    );
    assert!(!format!("{pull:?}").contains("hunter2"), "{pull:?}");
    same::<pull::Token>(r#""hunter2hunter2""#);
    refuses_what_it_does_not_know::<pull::Pull>(r#"{"source":"hf://a/b"}"#);
    let least: pull::Pull = serde_json::from_str(r#"{"source":"hf://a/b"}"#).unwrap();
    assert!(least.token.is_none() && least.name.is_none());
}

#[test]
fn what_is_looked_after_is_told() {
    let verify = r#"{"name":"acme/tiny","revision":null,"look_only":true}"#;
    same::<care::Verify>(verify);
    refuses_what_it_does_not_know::<care::Verify>(verify);
    let damage = r#"{"kind":"data","path":"data/ab","detail":"hash","revisions":["acme/tiny@ab"],
        "remedy":"healed"}"#;
    let damage = compact(damage);
    same::<care::Damage>(&damage);
    let verified = format!(r#"{{"revisions":1,"files":2,"bytes":3,"damages":[{damage}]}}"#);
    same::<care::Verified>(&verified);
    passes_over_what_it_does_not_know::<care::Verified>(&verified);
    let gc = r#"{"dry_run":false,"grace":86400}"#;
    same::<care::Gc>(gc);
    refuses_what_it_does_not_know::<care::Gc>(gc);
    let collected = r#"{"dry_run":false,"revisions":["acme/tiny@ab"],"files":1,"bytes":2,
        "revisions_marked":[],"files_marked":3,"bytes_marked":4,"bytes_uploads":5}"#;
    same::<care::Collected>(collected);
    passes_over_what_it_does_not_know::<care::Collected>(collected);
}

#[test]
fn what_there_is_is_listed() {
    let file = r#"{"path":"a/b","size":3,"etag":"ab"}"#;
    same::<listing::File>(file);
    let key = r#"{"key":"ed25519:ab","name":"alice","trusted":true}"#;
    same::<listing::SignedBy>(key);
    let revision = format!(
        r#"{{"revision":"ab","manifest":"cd","tags":["main"],"created":1767225600,"message":"m",
        "origin":null,"bytes":3,"files":1,"pinned":null,"leases":[["node-2",1767229200]],
        "signed_by":[{key}],"refused":false,"contents":[{file}]}}"#
    );
    same::<listing::Revision>(&revision);
    passes_over_what_it_does_not_know::<listing::Revision>(&revision);
    let model = format!(
        r#"{{"name":"acme/tiny","type":"model","private":false,"revisions":[{revision}]}}"#
    );
    same::<listing::Model>(&model);
    same::<listing::Models>(&format!(r#"{{"models":[{model}]}}"#));
    // Without files, which only one model's page has.
    let bare = compact(&revision).replace(&format!(r#","contents":[{file}]"#), "");
    assert!(same::<listing::Revision>(&bare).contents.is_empty());
    let usage = r#"{"name":"acme/tiny","revision":"ab","bytes":3,"unique":2,"shared":1}"#;
    same::<listing::RevisionUsage>(usage);
    let all = format!(
        r#"{{"stored":1,"referred":2,"unused":3,"reserved":4,"quota":null,"free":5,
        "revisions":[{usage}]}}"#
    );
    same::<listing::Usage>(&all);
    passes_over_what_it_does_not_know::<listing::Usage>(&all);
    let target = r#"{"name":"acme/tiny","revision":"ab","tag":"v2"}"#;
    same::<listing::Target>(target);
    refuses_what_it_does_not_know::<listing::Target>(target);
}

#[test]
fn a_task_tells_how_far_it_is_and_how_it_ended() {
    let running = r#"{"task":7,"what":"push acme/tiny:main","state":"running","bytes_done":1,
        "bytes_total":2,"files_done":0,"files_total":1,"elapsed":0.5,"result":null,"error":null}"#;
    let task = same::<task::Task<publish::Published>>(running);
    assert_eq!(task.state, task::TaskState::Running);
    passes_over_what_it_does_not_know::<task::Task<()>>(running);
    let fault = r#"{"culprit":"peer","error":"the hub does not answer"}"#;
    same::<fault::Fault>(fault);
    let failed = running.replace("running", "failed");
    let failed = failed.replace(r#""error":null"#, &format!(r#""error":{fault}"#));
    assert!(same::<task::Task<()>>(&failed).error.is_some());
    for state in ["running", "done", "failed"] {
        same::<task::TaskState>(&format!("\"{state}\""));
    }
}

#[test]
fn a_node_tells_what_it_serves() {
    let volume = r#"{"name":"models","kind":"model","path":"/m","read_only":true,
        "allow":["10.0.0.0/24"],"allow_write":[],"squash":"root",
        "anonymous":{"uid":65534,"gid":65534},"needs_token":false}"#;
    same::<status::Volume>(volume);
    same::<status::Anonymous>(r#"{"uid":65534,"gid":65534}"#);
    let listener = r#"{"protocol":"nfs","address":"10.0.0.1:2049"}"#;
    same::<status::Listener>(listener);
    for protocol in ["http", "https", "s3", "hub", "nfs", "portmap", "iperf3"] {
        same::<status::ListenerProtocol>(&format!("\"{protocol}\""));
    }
    let uploads = r#"{"bytes":1,"promised":2,"bytes_max":3}"#;
    same::<status::Uploads>(uploads);
    let held = r#"{"clients":1,"sessions":2,"opens":3,"lock_owners":4,"delegations":0}"#;
    same::<status::Nfs4>(held);
    let node = format!(
        r#"{{"node":"n1","version":"0.1.0","engine":"uring","workers":4,"started":7,
        "runs_as_root":true,"uid":0,"portmap":true,"listeners":[{listener}],
        "tune":["10.0.0.1:8421"],"volumes":[{volume}],"uploads":{uploads},
        "nfs4":{held},"notes":["all well"]}}"#
    );
    same::<status::Status>(&node);
    passes_over_what_it_does_not_know::<status::Status>(&node);
    // Of a node from before some of the fields.
    let old = r#"{"node":"n1","version":"0.0.9","engine":"uring","workers":4,"started":7,
        "runs_as_root":true,"listeners":[],"volumes":[]}"#;
    let old: status::Status = serde_json::from_str(old).unwrap();
    assert!(old.uploads.is_none() && !old.portmap && old.notes.is_empty());
}

#[test]
fn a_report_tells_every_check() {
    let check = r#"{"id":"link.mtu","group":"Link","subject":"eth0","severity":"warning",
        "state":"fail","read":"1500","from":"rtnetlink","want":"9000","why":"fewer packets",
        "fixes":[{"text":"ip link set eth0 mtu 9000"}]}"#;
    same::<tune::Check>(check);
    same::<tune::Fix>(r#"{"text":"replace the cable"}"#);
    let unknown = check.replace(r#""fail""#, r#""unknown","reason":"speed unknown""#);
    assert!(same::<tune::Check>(&unknown).reason.is_some());
    let summary = r#"{"ok":1,"errors":0,"warnings":1,"notes":0,"skipped":0,"unknown":0}"#;
    same::<tune::Summary>(summary);
    let report = format!(
        r#"{{"format":1,"host":"n1","taken_at_s":1767225600,"profile":"lan","links":["eth0"],
        "summary":{summary},"checks":[{check}]}}"#
    );
    same::<tune::Report>(&report);
    passes_over_what_it_does_not_know::<tune::Report>(&report);
}

/// A type without an example is told here.
#[test]
fn every_type_has_an_example() {
    let own = include_str!("wire.rs");
    let sources = [
        ("care", include_str!("../src/care.rs")),
        ("fault", include_str!("../src/fault.rs")),
        ("listing", include_str!("../src/listing.rs")),
        ("nfs", include_str!("../src/nfs.rs")),
        ("publish", include_str!("../src/publish.rs")),
        ("pull", include_str!("../src/pull.rs")),
        ("status", include_str!("../src/status.rs")),
        ("task", include_str!("../src/task.rs")),
        ("tune", include_str!("../src/tune.rs")),
    ];
    let modules = include_str!("../src/lib.rs").matches("\npub mod ").count();
    assert_eq!(modules, sources.len(), "a module is not looked at");
    let mut types = 0;
    for (module, source) in sources {
        for line in source.lines() {
            let item = line
                .strip_prefix("pub struct ")
                .or(line.strip_prefix("pub enum "));
            let Some(item) = item else { continue };
            types += 1;
            let name = item.split(|c: char| !c.is_alphanumeric()).next().unwrap();
            let example = format!("same::<{module}::{name}");
            assert!(own.contains(&example), "{module}::{name} has no example");
        }
    }
    assert!(types >= 38, "{types}");
}

#[test]
fn clients_of_nfs_and_their_locks_are_told() {
    let client = r#"{"clients":[{"id":"0000000700000002","name":"Linux NFSv4.2 one",
        "address":"10.0.0.1","silent_seconds":3,"expired":false,"reachable":true,"sessions":1,
        "held":2}]}"#;
    assert_eq!(same::<nfs::Clients>(client).clients.len(), 1);
    let lock = r#"{"locks":[{"client":"0000000700000002","name":"Linux","volume":"projects",
        "file":7,"offset":0,"length":5,"write":true},{"client":"0000000700000002","name":"Linux",
        "volume":"projects","file":7,"offset":9,"write":false}],"more":false}"#;
    assert_eq!(same::<nfs::Locks>(lock).locks.len(), 2);
    let revoke = r#"{"client":"0000000700000002"}"#;
    same::<nfs::Revoke>(revoke);
    refuses_what_it_does_not_know::<nfs::Revoke>(revoke);
    let revoked = r#"{"name":"Linux NFSv4.2 one","held":2}"#;
    same::<nfs::Revoked>(revoked);
    passes_over_what_it_does_not_know::<nfs::Revoked>(revoked);
}
