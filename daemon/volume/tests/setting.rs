//! SETATTR against the kernel's own answers: every combination of mode, owner, group, size and
//! times, by the owner, a member of the group, others and root.
//!
//! Each combination is made once through the volume and once by hand, with the system calls of a
//! local program under the same identity, on a twin file; what came out and what the file looks
//! like afterwards must be the same. What the kernel refuses must leave the file as it was. These
//! tests need root, who alone can act as others.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed step is a failed test"
)]

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, Uid,
};
use rustix::io::Errno;
use towline_base::MacKey;
use towline_sys::identity::{assume, assume_daemon, can_switch};
use towline_volume::handle::HandleKeys;
use towline_volume::tree::Writing;
use towline_volume::{
    Identity, Name, Pace, SetAttributes, SetTime, Timestamp, Tree, Volume, VolumeError, VolumeId,
};

const OWNER: u32 = 1_001;
const GROUP: u32 = 2_001;
const SECOND_GROUP: u32 = 2_002;
const STRANGER: u32 = 1_009;
const OLD: i64 = 1_000;
const GIVEN: i64 = 2_000;

/// What a file looks like, with times as "old", "given" or "now".
fn state(path: &Path) -> (u32, u32, u32, u64, [&'static str; 2]) {
    let seen = std::fs::metadata(path).unwrap();
    let word = |seconds| match seconds {
        OLD => "old",
        GIVEN => "given",
        _ => "now",
    };
    (
        seen.mode() & 0o7777,
        seen.uid(),
        seen.gid(),
        seen.size(),
        [word(seen.atime()), word(seen.mtime())],
    )
}

fn fresh(path: &Path, mode: u32) {
    assume_daemon().unwrap();
    let _ = std::fs::remove_file(path);
    std::fs::write(path, b"0123456789").unwrap();
    chown(path, Some(OWNER), Some(GROUP)).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    set_times(path, SetTime::To(stamp(OLD)), SetTime::To(stamp(OLD))).unwrap();
}

fn stamp(seconds: i64) -> Timestamp {
    Timestamp {
        seconds,
        nanoseconds: 0,
    }
}

fn set_times(path: &Path, accessed: SetTime, modified: SetTime) -> Result<(), Errno> {
    let spec = |time| match time {
        SetTime::Keep => Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        SetTime::Now => Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        },
        SetTime::To(stamp) => Timespec {
            tv_sec: stamp.seconds,
            tv_nsec: 0,
        },
    };
    let times = Timestamps {
        last_access: spec(accessed),
        last_modification: spec(modified),
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::empty())
}

type Step = Box<dyn Fn(&Path) -> Result<(), Errno>>;

/// The system calls of a local program for the same changes, in the order in which they do not
/// undo each other.
fn steps(who: &Identity, set: &SetAttributes) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let (uid, gid) = (set.uid.map(Uid::from_raw), set.gid.map(Gid::from_raw));
    if uid.is_some() || gid.is_some() {
        steps.push(Box::new(move |path| {
            rustix::fs::chownat(CWD, path, uid, gid, AtFlags::empty())
        }));
    }
    if let Some(size) = set.size {
        steps.push(Box::new(move |path| {
            let file = rustix::fs::open(path, OFlags::WRONLY, Mode::empty())?;
            rustix::fs::ftruncate(&file, size)
        }));
    }
    if let Some(mode) = set.mode {
        steps.push(Box::new(move |path| {
            rustix::fs::chmod(path, Mode::from_raw_mode(mode))
        }));
    }
    // A cut sets the time of change: the server's clock beside a size asks for nothing more.
    // Without a size it is what Linux sends for a cut to the same size, and knfsd takes it from
    // whoever may write; a local program has no call for that but setting both times.
    let is_owner = who.uid == OWNER || who.uid == 0;
    let times = match (set.size, set.accessed, set.modified) {
        (None, SetTime::Keep, SetTime::Now) if !is_owner => (SetTime::Now, SetTime::Now),
        (Some(_), SetTime::Keep, SetTime::Now) => (SetTime::Keep, SetTime::Keep),
        (Some(_), SetTime::Now, SetTime::Keep) => (SetTime::Now, SetTime::Now),
        (_, accessed, modified) => (accessed, modified),
    };
    if times != (SetTime::Keep, SetTime::Keep) {
        steps.push(Box::new(move |path| set_times(path, times.0, times.1)));
    }
    steps
}

/// Makes the changes by hand; the errors of all steps that are refused, each on a file of its own.
fn by_hand(twin: &Path, mode: u32, who: &Identity, set: &SetAttributes) -> Vec<Errno> {
    let steps = steps(who, set);
    let mut refused = Vec::new();
    for step in &steps {
        fresh(twin, mode);
        assume(who).unwrap();
        refused.extend(step(twin).err());
    }
    fresh(twin, mode);
    if refused.is_empty() {
        // Opened before anything is changed, as one call of a client is judged at its beginning.
        let writer = set.size.map(|size| {
            assume(who).unwrap();
            let flags = OFlags::WRONLY;
            (rustix::fs::open(twin, flags, Mode::empty()).unwrap(), size)
        });
        assume(who).unwrap();
        let is_owner_change = set.uid.is_some() || set.gid.is_some();
        for (place, step) in steps.iter().enumerate() {
            match &writer {
                Some((file, size)) if place == usize::from(is_owner_change) => {
                    rustix::fs::ftruncate(file, *size).unwrap();
                }
                _ => step(twin).unwrap(),
            }
        }
    }
    assume_daemon().unwrap();
    refused
}

fn all_changes() -> Vec<SetAttributes> {
    let times = [SetTime::Keep, SetTime::Now, SetTime::To(stamp(GIVEN))];
    let mut all = Vec::new();
    for mode in [None, Some(0o640), Some(0o6755)] {
        for uid in [None, Some(OWNER), Some(STRANGER)] {
            for gid in [None, Some(GROUP), Some(SECOND_GROUP), Some(999)] {
                for size in [None, Some(3)] {
                    for accessed in times {
                        for modified in times {
                            all.push(SetAttributes {
                                mode,
                                uid,
                                gid,
                                size,
                                accessed,
                                modified,
                            });
                        }
                    }
                }
            }
        }
    }
    all
}

#[test]
fn every_combination_ends_as_the_kernel_would_have_it_and_a_refusal_changes_nothing() {
    if !can_switch() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let keys = HandleKeys::new(MacKey::new([1; 32]));
    let tree = Tree::open(dir.path(), VolumeId(1), keys, Writing::Asynchronous, None).unwrap();
    let root = tree.root().unwrap();
    let (file, twin) = (dir.path().join("file"), dir.path().join("twin"));
    let callers = [
        Identity::new(OWNER, GROUP, &[SECOND_GROUP]),
        Identity::new(1_002, GROUP, &[]),
        Identity::new(1_003, 2_009, &[GROUP, SECOND_GROUP]),
        Identity::new(STRANGER, 2_009, &[]),
        Identity::new(0, 0, &[]),
    ];
    let mut cases = 0;
    for mode in [0o664, 0o666, 0o644, 0o6777, 0o2664] {
        for who in &callers {
            for set in all_changes() {
                cases += 1;
                let refused = by_hand(&twin, mode, who, &set);
                fresh(&file, mode);
                let before = state(&file);
                let node = tree
                    .lookup(&root, &Name::new(b"file").unwrap(), who, Pace::Blocking)
                    .unwrap();
                let writable = tree.writable().unwrap();
                let result = writable.set_attributes(&node, who, &set, None);
                assume_daemon().unwrap();
                let case = format!("mode {mode:o}, {who:?}, {set:?}");
                match result {
                    Ok(_) => {
                        assert_eq!(refused, [], "the kernel refuses this: {case}");
                        assert_eq!(state(&file), state(&twin), "{case}");
                    }
                    Err(error) => {
                        let errors: Vec<_> = refused
                            .iter()
                            .map(|errno| VolumeError::from(*errno))
                            .collect();
                        assert!(errors.contains(&error), "{error} not in {errors:?}: {case}");
                        assert_eq!(state(&file), before, "changed all the same: {case}");
                    }
                }
            }
        }
    }
    assert!(cases > 10_000, "{cases} cases");
}
