//! Applies a plan, verifies it by reading back, and takes it back.
//!
//! Order: snapshot on the disk, then every change with a read-back, then the marker `applied`.
//! Invariant: a change that fails or does not hold takes back all changes of its snapshot, newest
//! first; a run that died is taken back by the next one that may write. Not promised: values that
//! somebody else changed in between.

use std::time::Duration;

use crate::error::TuneError;
use crate::machine::Machine;
use crate::persist::{self, Place};
use crate::plan::Plan;
use crate::snapshot::{Fate, Item, Snapshot, Store};

/// Time in which a change that can drop the link must be confirmed.
pub const CONFIRM_TIME: Duration = Duration::from_secs(60);

/// Applies the plan. `confirm_time` counts where a link can drop; `arm` starts what takes the
/// snapshot back when nobody confirms in that time. The caller holds the store's lock and has
/// recovered what was left over.
///
/// # Errors
/// When the snapshot cannot be written, or a change did not hold: then all is as before.
pub fn apply(
    store: &Store,
    machine: &mut Machine,
    plan: &Plan,
    persist: bool,
    confirm_time: Duration,
    arm: impl FnOnce(&Snapshot) -> Result<(), TuneError>,
) -> Result<Snapshot, TuneError> {
    let items = plan.steps.iter().map(|step| Item {
        id: step.id.clone(),
        setting: step.change.setting.clone(),
        before: step.before.clone(),
        after: step.change.value.clone(),
    });
    let within = plan.drops_link().then_some(confirm_time);
    let snapshot = store.take(items.collect(), persist, within)?;
    if within.is_some() {
        // The timer runs before the first change: it does not need this process.
        if let Err(error) = arm(&snapshot) {
            store.mark(&snapshot, "reverted")?;
            return Err(error);
        }
    }
    for (done, item) in snapshot.items.iter().enumerate() {
        if let Err(why) = change(machine, item) {
            let failed = put_back(machine, &snapshot.items[..=done]);
            store.mark(&snapshot, "reverted")?;
            return Err(TuneError::TakenBack(told(&item.id, &why, &failed)));
        }
    }
    store.mark(&snapshot, "applied")?;
    Ok(snapshot)
}

fn told(id: &str, why: &str, failed: &[String]) -> String {
    if failed.is_empty() {
        return format!(
            "{id}: {why}; everything was put back. The rest can be had with --except {id}"
        );
    }
    format!("{id}: {why}; put back all but: {}", failed.join(", "))
}

fn change(machine: &mut Machine, item: &Item) -> Result<(), String> {
    let setting = &item.setting;
    machine
        .write(setting, &item.after)
        .map_err(|error| format!("{setting} refused {:?}: {error}", item.after))?;
    let now = machine
        .read(setting)
        .map_err(|error| format!("{setting} cannot be read back: {error}"))?;
    if now != item.after {
        return Err(format!(
            "{setting} is {now:?} after writing {:?}",
            item.after
        ));
    }
    Ok(())
}

/// Writes the former values, newest first; gives what could not be put back.
fn put_back(machine: &mut Machine, items: &[Item]) -> Vec<String> {
    let mut failed = Vec::new();
    for item in items.iter().rev() {
        let setting = &item.setting;
        let done = match machine.read(setting) {
            Ok(now) if now == item.before => Ok(()),
            Ok(_) | Err(_) => machine.write(setting, &item.before),
        };
        let held = done.and_then(|()| machine.read(setting));
        match held {
            Ok(now) if now == item.before => {}
            Ok(now) => failed.push(format!("{setting} (is {now}, was {})", item.before)),
            Err(error) => failed.push(format!("{setting} ({error})")),
        }
    }
    failed
}

fn in_force(machine: &mut Machine, items: &[Item]) -> Vec<Item> {
    let stands = |item: &&Item| {
        let now = machine.read(&item.setting);
        now.is_ok_and(|now| now == item.after)
    };
    items.iter().filter(stands).cloned().collect()
}

/// Takes one snapshot back: live values, then what was persisted. Of an earlier boot only the
/// values that still stand are put back.
///
/// # Errors
/// When a value could not be put back, or the marker not written.
pub fn take_back(
    store: &Store,
    machine: &mut Machine,
    place: Place<'_>,
    snapshot: &Snapshot,
) -> Result<(), TuneError> {
    let failed = if store.is_ours(snapshot) {
        put_back(machine, &snapshot.items)
    } else {
        // After a reboot only what was kept is still in force, and it shows the written value.
        let standing = in_force(machine, &snapshot.items);
        put_back(machine, &standing)
    };
    if !failed.is_empty() {
        return Err(TuneError::TakenBack(format!(
            "snapshot {}: could not put back {}",
            snapshot.name,
            failed.join(", ")
        )));
    }
    store.mark(snapshot, "reverted")?;
    release(store, machine, place, snapshot)
}

/// Clears the places of a snapshot that is taken back.
fn release(
    store: &Store,
    machine: &mut Machine,
    place: Place<'_>,
    snapshot: &Snapshot,
) -> Result<(), TuneError> {
    if !snapshot.persist {
        return Ok(());
    }
    let outcome = persist::write(
        place,
        store.folder(),
        &kept(store)?,
        &persist::owners(place.root),
    )?;
    if !outcome.failures.is_empty() {
        return Err(TuneError::TakenBack(format!(
            "snapshot {}: the values are as before, but over a reboot they may come again: {}; \
             `towline tune revert` tries it again",
            snapshot.name,
            outcome.failures.join("; ")
        )));
    }
    // An owner that gives a profile back writes what it had found, which was ours.
    let failed = match store.is_ours(snapshot) {
        true => put_back(machine, &snapshot.items),
        false => Vec::new(),
    };
    if !failed.is_empty() {
        return Err(TuneError::TakenBack(format!(
            "snapshot {}: changed again by the owner of the configuration: {}",
            snapshot.name,
            failed.join(", ")
        )));
    }
    store.mark(snapshot, "released")
}

/// The snapshots whose values stay.
///
/// # Errors
/// When a snapshot cannot be read.
pub fn kept(store: &Store) -> Result<Vec<Snapshot>, TuneError> {
    let all = store.all()?;
    Ok(all
        .into_iter()
        .filter(|snapshot| snapshot.persist && store.fate(snapshot) == Fate::Confirmed)
        .collect())
}

/// Takes back what a run that died, or that nobody confirmed, has left; newest first.
///
/// # Errors
/// As [`take_back`].
pub fn recover(
    store: &Store,
    machine: &mut Machine,
    place: Place<'_>,
) -> Result<Vec<String>, TuneError> {
    let mut names = Vec::new();
    for snapshot in store.all()?.iter().rev() {
        if store.is_left_over(snapshot) && !store.is_foreign(snapshot) {
            take_back(store, machine, place, snapshot)?;
            names.push(snapshot.name.clone());
        }
    }
    settle(store, machine, place)?;
    Ok(names)
}

/// Finishes what was confirmed or taken back, but not written down or cleared.
fn settle(store: &Store, machine: &mut Machine, place: Place<'_>) -> Result<(), TuneError> {
    for snapshot in store.all()? {
        if !snapshot.persist || store.is_foreign(&snapshot) {
            continue;
        }
        match store.fate(&snapshot) {
            Fate::Confirmed if !store.has(&snapshot, "kept") => {
                write_down(store, place, &snapshot)?;
            }
            Fate::Reverted
                if store.has(&snapshot, "confirmed") && !store.has(&snapshot, "released") =>
            {
                release(store, machine, place, &snapshot)?;
            }
            Fate::Confirmed | Fate::Reverted | Fate::Waiting | Fate::Interrupted => {}
        }
    }
    Ok(())
}

/// Takes back that snapshot and all newer ones; the oldest that stands where none is named.
///
/// # Errors
/// When there is no such snapshot, or as [`take_back`].
pub fn revert(
    store: &Store,
    machine: &mut Machine,
    place: Place<'_>,
    name: Option<&str>,
) -> Result<Vec<String>, TuneError> {
    let all = store.all()?;
    let standing: Vec<&Snapshot> = all
        .iter()
        .filter(|snapshot| store.fate(snapshot) != Fate::Reverted && !store.is_foreign(snapshot))
        .collect();
    let first = match name {
        None => 0,
        Some(name) => standing
            .iter()
            .position(|snapshot| snapshot.name == name)
            .ok_or_else(|| {
                TuneError::usage(format!(
                    "no snapshot {name} that stands; see towline tune history"
                ))
            })?,
    };
    let mut names = Vec::new();
    for snapshot in standing[first.min(standing.len())..].iter().rev() {
        take_back(store, machine, place, snapshot)?;
        names.push(snapshot.name.clone());
    }
    Ok(names)
}

/// Confirms the newest snapshot that waits, and persists it if it was asked to be kept.
///
/// # Errors
/// When none waits, or the files cannot be written.
pub fn confirm(store: &Store, place: Place<'_>) -> Result<(Snapshot, persist::Outcome), TuneError> {
    let all = store.all()?;
    let waiting = all
        .into_iter()
        .rev()
        .find(|snapshot| store.fate(snapshot) == Fate::Waiting && !store.is_left_over(snapshot));
    let Some(snapshot) = waiting else {
        return Err(TuneError::usage("nothing waits for a confirmation"));
    };
    let outcome = keep(store, place, &snapshot)?;
    Ok((snapshot, outcome))
}

/// Marks a snapshot as one that stays, and persists it if it was asked to be kept.
///
/// # Errors
/// When a file cannot be written.
pub fn keep(
    store: &Store,
    place: Place<'_>,
    snapshot: &Snapshot,
) -> Result<persist::Outcome, TuneError> {
    store.mark(snapshot, "confirmed")?;
    if !snapshot.persist {
        return Ok(persist::Outcome::default());
    }
    write_down(store, place, snapshot)
}

fn write_down(
    store: &Store,
    place: Place<'_>,
    snapshot: &Snapshot,
) -> Result<persist::Outcome, TuneError> {
    let owners = persist::owners(place.root);
    let outcome = persist::write(place, store.folder(), &kept(store)?, &owners)?;
    if outcome.failures.is_empty() {
        store.mark(snapshot, "kept")?;
    }
    Ok(outcome)
}
