//! The simulator must lose what was not synced, keep what was, and never more by courtesy.

use super::*;
use crate::backend::os::Directory;

fn write(on: &dyn Backend, path: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = on.open(path, Open::Create).unwrap();
    file.write_at(bytes, 0).unwrap();
    file
}

fn read(on: &dyn Backend, path: &str) -> Option<Vec<u8>> {
    let file = on.open(path, Open::Read).ok()?;
    let mut bytes = vec![0; file.length().unwrap() as usize];
    file.read_at(&mut bytes, 0).unwrap();
    Some(bytes)
}

/// The disks that a crash right now may leave.
fn disks(sim: &Sim) -> Vec<Sim> {
    let mut crashes = sim.crashes();
    crashes.advance(crashes.boundaries());
    let seeds = 0..40;
    let all = seeds.flat_map(|seed| Loss::ALL.map(|loss| crashes.machine(loss, seed)));
    all.collect()
}

#[test]
fn a_file_survives_only_when_its_bytes_and_its_name_were_synced() {
    for (syncs_file, syncs_name) in [(false, false), (true, false), (false, true), (true, true)] {
        let sim = Sim::new();
        let file = write(&sim, "a", &[7; 5_000]);
        if syncs_file {
            file.sync_data().unwrap();
        }
        if syncs_name {
            sim.sync_directory("").unwrap();
        }
        let found: Vec<_> = disks(&sim).iter().map(|disk| read(disk, "a")).collect();
        let whole = found
            .iter()
            .filter(|found| **found == Some(vec![7; 5_000]))
            .count();
        let named = found.iter().filter(|found| found.is_some()).count();
        assert_eq!(whole == found.len(), syncs_file && syncs_name);
        assert_eq!(named == found.len(), syncs_name);
        assert!(
            syncs_file || whole < named,
            "some disks have the name and not all bytes"
        );
    }
}

#[test]
fn a_rename_is_whole_or_not_at_all_and_may_be_kept_without_the_bytes() {
    let sim = Sim::new();
    let old = write(&sim, "a", b"old");
    old.sync_data().unwrap();
    sim.sync_directory("").unwrap();
    write(&sim, "b", b"new");
    sim.rename("b", "a").unwrap();
    let found: Vec<_> = disks(&sim)
        .iter()
        .filter_map(|disk| read(disk, "a"))
        .collect();
    assert_eq!(found.len(), disks(&sim).len(), "the name is always there");
    for expected in [&b"old"[..], b"new", b""] {
        assert!(
            found.iter().any(|found| found == expected),
            "{expected:?} never happens"
        );
    }
}

#[test]
fn writes_are_torn_and_reordered() {
    let sim = Sim::new();
    let file = write(&sim, "a", &[0; 8_192]);
    file.sync_data().unwrap();
    sim.sync_directory("").unwrap();
    file.write_at(&[1; 8_192], 0).unwrap();
    file.write_at(&[2; 4_096], 0).unwrap();
    let found: Vec<_> = disks(&sim)
        .iter()
        .filter_map(|disk| read(disk, "a"))
        .collect();
    let torn = |found: &Vec<u8>| found.contains(&0) && found.contains(&1);
    assert!(found.iter().any(torn), "a write is never torn");
    assert!(
        found.iter().any(|found| *found == [1; 8_192]),
        "the later write is never first"
    );
    assert!(
        found
            .iter()
            .any(|found| found.starts_with(&[2]) && found.ends_with(&[0]))
    );
}

#[test]
fn faults_come_when_they_are_asked_for_and_a_failed_sync_fails_for_ever() {
    let sim = Sim::new();
    let file = write(&sim, "a", b"x");
    sim.set_faults(Faults {
        fail_at: Some((sim.changes(), Errno::NOSPC)),
        ..Faults::default()
    });
    assert_eq!(file.sync_data(), Err(Errno::NOSPC));
    assert_eq!(file.sync_data(), Err(Errno::IO));
    assert_eq!(sim.make_directory("d"), Ok(()));
    sim.set_faults(Faults {
        capacity: Some(10),
        ..Faults::default()
    });
    assert_eq!(
        write(&sim, "b", &[1; 9]).write_at(&[1; 9], 9),
        Err(Errno::NOSPC)
    );
    sim.set_faults(Faults {
        dead_from: Some(0),
        ..Faults::default()
    });
    assert_eq!(sim.list("").err(), Some(Errno::IO));
    assert_eq!(sim.remove_file("b"), Err(Errno::IO));
}

/// What can be seen of a backend after some calls, errors included.
fn behaviour(on: &dyn Backend) -> Vec<String> {
    let mut seen = Vec::new();
    let mut note = |what: &str, text: String| seen.push(format!("{what}: {text}"));
    note("mkdir", format!("{:?}", on.make_directory("d")));
    note("again", format!("{:?}", on.make_directory("d")));
    note("below nothing", format!("{:?}", on.make_directory("x/y")));
    write(on, "d/a", b"one").make_read_only().unwrap();
    note("taken", format!("{:?}", on.open("d/a", Open::Create).err()));
    note("missing", format!("{:?}", on.open("d/b", Open::Read).err()));
    note("directory", format!("{:?}", on.open("d", Open::Read).err()));
    note("link", format!("{:?}", on.link("d/a", "b")));
    note(
        "links",
        format!(
            "{:?}",
            on.metadata("b").map(|found| (found.links, found.length))
        ),
    );
    note(
        "same",
        (on.metadata("b").unwrap().inode == on.metadata("d/a").unwrap().inode).to_string(),
    );
    note("not empty", format!("{:?}", on.remove_directory("d")));
    on.make_directory("e").unwrap();
    note("exchange", format!("{:?}", on.exchange("d", "e")));
    note("moved", format!("{:?} {:?}", on.list("d"), on.list("e")));
    note("exchange nothing", format!("{:?}", on.exchange("d", "x")));
    note("rename over", format!("{:?}", on.rename("d", "e")));
    note("rename", format!("{:?}", on.rename("e", "f")));
    note("list", format!("{:?}", on.list("")));
    let file = on.open("f/a", Open::Read).unwrap();
    note("data", format!("{:?}", read(on, "f/a")));
    note("beyond", format!("{:?}", file.read_at(&mut [0; 4], 9)));
    note(
        "write to read",
        format!("{:?}", file.write_at(b"x", 0).is_err()),
    );
    for path in ["f/a", "b", "d", "f"] {
        let removed = on.remove_file(path).or_else(|_| on.remove_directory(path));
        note("remove", format!("{path} {removed:?}"));
    }
    note("left", format!("{:?}", on.list("")));
    for path in ["..", "a/../b", "/etc", "."] {
        note(
            "escape",
            format!("{path} {}", on.remove_file(path).is_err()),
        );
    }
    let lock = on.lock("lock").unwrap();
    note("locked", format!("{:?}", on.lock("lock").err()));
    drop(lock);
    note("free", on.lock("lock").is_ok().to_string());
    seen
}

#[test]
fn the_simulated_machine_behaves_like_this_one() {
    let place = tempfile::tempdir().unwrap();
    let real = behaviour(&Directory::open(place.path()).unwrap());
    let simulated = behaviour(&Sim::new());
    for (real, simulated) in real.iter().zip(&simulated) {
        assert_eq!(simulated, real);
    }
    assert_eq!(real.len(), simulated.len());
}

#[test]
fn the_real_machine_follows_no_link_and_does_not_leave_its_directory() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("root");
    std::fs::create_dir(&root).unwrap();
    std::fs::write(place.path().join("secret"), b"s").unwrap();
    std::os::unix::fs::symlink("../secret", root.join("link")).unwrap();
    std::os::unix::fs::symlink("..", root.join("up")).unwrap();
    let on = Directory::open(&root).unwrap();
    for path in ["link", "up/secret", "../secret", "root/../../secret"] {
        assert!(on.open(path, Open::Read).is_err(), "{path}");
        assert!(on.open(path, Open::Create).is_err(), "{path}");
    }
    assert_eq!(on.metadata("link").unwrap().kind, Kind::Other);
    assert!(on.list("up").is_err());
    on.remove_file("link").unwrap();
    assert!(place.path().join("secret").exists());
}

#[test]
fn the_real_machine_tells_holes_from_data() {
    let place = tempfile::tempdir().unwrap();
    let on = Directory::open(place.path()).unwrap();
    let file = on.open("a", Open::Create).unwrap();
    file.set_length(1 << 20).unwrap();
    file.reserve(1 << 20).unwrap();
    file.write_at(&[1; 4_096], 65_536).unwrap();
    file.sync_data().unwrap();
    let (start, end) = file.next_data(0).unwrap().unwrap();
    assert!(start <= 65_536 && end >= 69_632);
    let mut byte = [9];
    assert_eq!(file.read_at(&mut byte, 500_000), Ok(1));
    assert_eq!(byte, [0]);
    assert!(on.space().unwrap().total > 0);
}
