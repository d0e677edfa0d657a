//! Tasks that take minutes: each on a thread of its own, watched by number.
//!
//! Invariant: a task that was begun is found under its number until [`KEPT_MAX`] others have ended
//! after it; at most [`RUNNING_MAX`] run at once. Not promised: that tasks outlive the node; what
//! they do can be begun again and goes on where it stood.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::Value;
use towline_base::clock;
use towline_store::{Progress, StoreError};

use super::fault;
use super::wire::{Task, TaskState};

/// Most tasks at once: each reads and hashes on several threads.
const RUNNING_MAX: usize = 8;

/// Most ended tasks that are remembered.
const KEPT_MAX: usize = 64;

/// The tasks of a node.
#[derive(Default)]
pub(crate) struct Tasks {
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    last: u64,
    tasks: BTreeMap<u64, Arc<Entry>>,
}

struct Entry {
    what: String,
    started: Instant,
    progress: Progress,
    end: Mutex<Option<(Instant, Result<Value, StoreError>)>>,
}

impl Tasks {
    /// Begins a task; `None` if too many run.
    pub(crate) fn begin(
        &self,
        what: String,
        work: impl FnOnce(&Progress) -> Result<Value, StoreError> + Send + 'static,
    ) -> Option<u64> {
        let mut held = self.held();
        let running = held.tasks.values().filter(|task| task.end().is_none());
        if running.count() >= RUNNING_MAX {
            return None;
        }
        let entry = Arc::new(Entry {
            what,
            started: clock::now(),
            progress: Progress::default(),
            end: Mutex::default(),
        });
        held.last += 1;
        let number = held.last;
        held.tasks.insert(number, entry.clone());
        held.forget_old();
        drop(held);
        let span = tracing::info_span!("task", job = number);
        let spawned = std::thread::Builder::new()
            .name(format!("towline-task-{number}"))
            .spawn(move || {
                let _entered = span.enter();
                tracing::info!(proc = entry.what, "task begun");
                let result = work(&entry.progress);
                if let Err(error) = &result {
                    tracing::warn!(%error, "task failed");
                }
                *entry.end() = Some((clock::now(), result));
            });
        if spawned.is_err() {
            self.held().tasks.remove(&number);
            return None;
        }
        Some(number)
    }

    /// How far a task is.
    pub(crate) fn get(&self, number: u64) -> Option<Task> {
        let entry = self.held().tasks.get(&number)?.clone();
        Some(entry.describe(number))
    }

    /// Tells a task to stop; whether there is one.
    pub(crate) fn stop(&self, number: u64) -> bool {
        let entry = self.held().tasks.get(&number).cloned();
        entry.is_some_and(|entry| {
            entry.progress.stop();
            true
        })
    }

    /// Tells all tasks to stop.
    pub(crate) fn stop_all(&self) {
        let held = self.held();
        held.tasks.values().for_each(|entry| entry.progress.stop());
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn forget_old(&mut self) {
        let ended = self.tasks.iter().filter(|(_, task)| task.end().is_some());
        let ended: Vec<u64> = ended.map(|(number, _)| *number).collect();
        let surplus = ended.len().saturating_sub(KEPT_MAX);
        for number in ended.iter().take(surplus) {
            self.tasks.remove(number);
        }
    }
}

impl Entry {
    fn end(&self) -> MutexGuard<'_, Option<(Instant, Result<Value, StoreError>)>> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn describe(&self, number: u64) -> Task {
        let view = self.progress.view();
        let end = self.end();
        let (state, until, result, error) = match &*end {
            None => (TaskState::Running, clock::now(), None, None),
            Some((until, Ok(value))) => (TaskState::Done, *until, Some(value.clone()), None),
            Some((until, Err(error))) => (TaskState::Failed, *until, None, Some(fault(error))),
        };
        Task {
            task: number,
            what: self.what.clone(),
            state,
            bytes_done: view.bytes_done,
            bytes_total: view.bytes_total,
            files_done: view.files_done,
            files_total: view.files_total,
            elapsed: until.duration_since(self.started).as_secs_f64(),
            result,
            error,
        }
    }
}
