//! Every rule on fact sheets: one machine on which all passes, one change for each check that makes
//! it fail, and composed sheets of different machines with the findings that they must give.
//!
//! The sheets are composed from values that the drivers document; none was recorded.

#![allow(clippy::unwrap_used, reason = "tests: a failure here is a failed test")]

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};
use towline_tuning::peer::PeerFacts;
use towline_tuning::rules;
use towline_tuning::verdict::State;
use towline_tuning::{Case, Catalogue, HostFacts, Profile, Report, Values, choose};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sheet {
    about: String,
    profile: Profile,
    interface: String,
    facts: HostFacts,
    #[serde(default)]
    peer: Option<PeerFacts>,
    #[serde(default)]
    preset: Option<String>,
    /// Ids that must fail on this machine.
    #[serde(default)]
    fails: Vec<String>,
    /// Ids that must not fail, because a naive rule would.
    #[serde(default)]
    passes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Failing {
    case: Vec<Change>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    id: String,
    profile: Option<String>,
    set: toml::Table,
}

/// Checks that only report, so that no sheet can make them fail.
const REPORTS: [&str; 8] = [
    "nic.driver_fw",
    "nic.privflags",
    "sys.ip_local_port_range",
    "sys.tcp_metrics",
    "sys.tcp_tw_reuse",
    "e2e.lacp",
    "nfs.nolock",
    "nfs.port_priv",
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/sheets")
}

fn read(name: &str) -> Value {
    let text = std::fs::read_to_string(folder().join(name)).unwrap();
    let table: toml::Table = toml::from_str(&text).unwrap();
    serde_json::to_value(table).unwrap()
}

fn judge(sheet: Value) -> (Sheet, Report) {
    let sheet: Sheet = serde_json::from_value(sheet).unwrap();
    let values = Values::load().unwrap();
    let subjects = choose::named(&sheet.facts, &sheet.interface).unwrap();
    let case = Case {
        facts: &sheet.facts,
        values: &values,
        profile: sheet.profile,
        subjects: &subjects,
        peer: sheet.peer.as_ref(),
        preset: sheet.preset.as_ref().map(|name| &values.preset[name]),
    };
    let report = Report::of(&case, &Catalogue::load().unwrap());
    (sheet, report)
}

/// Sets the value at a path; the last part of the path need not be there yet.
fn set(sheet: &mut Value, path: &str, value: Value) {
    let (parent, name) = path.rsplit_once('/').unwrap();
    let parent = sheet
        .pointer_mut(parent)
        .unwrap_or_else(|| panic!("no {path}"));
    let name = name.replace("~1", "/");
    match parent {
        Value::Array(list) => list[name.parse::<usize>().unwrap()] = value,
        Value::Object(map) => drop(map.insert(name, value)),
        other => panic!("{path} is inside {other}"),
    }
}

fn ids(report: &Report, state: &State) -> BTreeSet<String> {
    let wanted = report.checks.iter().filter(|check| check.state == *state);
    wanted.map(|check| check.id.clone()).collect()
}

#[test]
fn every_id_of_the_catalogue_is_in_code_or_says_why_not() {
    let catalogue = Catalogue::load().unwrap();
    let rules = rules::all();
    for entry in &catalogue.0 {
        let made = rules.iter().filter(|(id, _)| *id == entry.id).count();
        let elsewhere = entry.id.starts_with("win.") || entry.id.starts_with("mac.");
        match &entry.absent {
            Some(reason) => assert!(made == 0 && reason.len() > 20, "{}", entry.id),
            None => {
                assert_eq!(made, usize::from(!elsewhere), "{}", entry.id);
                assert!(
                    !entry.from.is_empty() && !entry.why.is_empty(),
                    "{}",
                    entry.id
                );
            }
        }
    }
    for (id, _) in rules {
        assert!(
            catalogue.entry(id).is_some(),
            "{id} is not in the catalogue"
        );
    }
    let unique: BTreeSet<&str> = catalogue.0.iter().map(|entry| entry.id.as_str()).collect();
    assert_eq!(unique.len(), catalogue.0.len());
    assert_eq!(unique.len(), 122, "an id was lost or added");
}

#[test]
fn on_the_good_sheet_nothing_fails_and_every_rule_passes_once() {
    let sheet = read("good-10g.toml");
    let (_, report) = judge(sheet.clone());
    let failed: Vec<String> = report
        .failures()
        .map(|check| {
            format!(
                "{} {}: {} / {}",
                check.id, check.subject, check.read, check.want
            )
        })
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let mut passed = ids(&report, &State::Ok);
    // Two need another machine to be asked at all.
    for (id, path, value) in [
        ("link.fec", "/facts/links/1/modes/speed_mbit", json!(25000)),
        ("tb.loop", "/facts/links/0/kind", json!("thunderbolt")),
    ] {
        let mut other = sheet.clone();
        set(&mut other, path, value);
        let (_, report) = judge(other);
        assert!(ids(&report, &State::Ok).contains(id), "{id}");
        passed.insert(id.to_owned());
    }
    for (id, _) in rules::all() {
        assert!(passed.contains(id), "{id} passes nowhere");
    }
}

#[test]
fn each_rule_fails_on_its_failing_sheet() {
    let text = std::fs::read_to_string(folder().join("failing.toml")).unwrap();
    let failing: Failing = toml::from_str(&text).unwrap();
    let mut seen = BTreeSet::new();
    for change in failing.case {
        let mut sheet = read("good-10g.toml");
        for (path, value) in change.set {
            set(&mut sheet, &path, serde_json::to_value(value).unwrap());
        }
        if let Some(profile) = change.profile {
            set(&mut sheet, "/profile", json!(profile));
        }
        let (_, report) = judge(sheet);
        let failed = ids(&report, &State::Fail);
        assert!(
            failed.contains(&change.id),
            "{} does not fail: {failed:?}",
            change.id
        );
        seen.insert(change.id);
    }
    for (id, _) in rules::all() {
        let reports = REPORTS.contains(&id);
        assert_eq!(
            seen.contains(id),
            !reports,
            "{id}: has a failing sheet, or only reports"
        );
    }
}

#[test]
fn each_machine_gives_the_findings_that_its_sheet_names() {
    let mut machines = 0;
    for entry in std::fs::read_dir(folder().join("machines")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let (sheet, report) = judge(read(&format!("machines/{name}")));
        let failed = ids(&report, &State::Fail);
        for id in &sheet.fails {
            assert!(
                failed.contains(id),
                "{name}: {id} must fail; failed: {failed:?}"
            );
        }
        for id in &sheet.passes {
            assert!(!failed.contains(id), "{name}: {id} must not fail");
        }
        assert!(
            sheet.about.starts_with("composed"),
            "{name} says where it is from"
        );
        machines += 1;
    }
    assert!(machines >= 6);
}

#[test]
fn what_is_missing_is_unknown_or_skipped_and_never_passes() {
    let facts = HostFacts {
        links: vec![Default::default()],
        ..HostFacts::default()
    };
    let values = Values::load().unwrap();
    let subjects = vec![&facts.links[0]];
    let case = Case {
        facts: &facts,
        values: &values,
        profile: Profile::Lan,
        subjects: &subjects,
        peer: None,
        preset: None,
    };
    let report = Report::of(&case, &Catalogue::load().unwrap());
    // What needs no reading at all: lists that are empty because nothing is there.
    let allowed = ["cpu.irqbalance", "link.dup_ip", "sys.obsolete_keys"];
    for check in &report.checks {
        let passed = check.state == State::Ok;
        assert!(
            !passed || allowed.contains(&check.id.as_str()),
            "{}",
            check.id
        );
    }
}
