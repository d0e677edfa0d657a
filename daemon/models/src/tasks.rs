//! Tasks that take minutes: each on a thread of its own, watched by number.
//!
//! Invariant: a task that was begun is found under its number until [`KEPT_MAX`] others have ended
//! after it; at most [`RUNNING_MAX`] run at once. Not promised: that tasks outlive the node; what
//! they do can be begun again and goes on where it stood.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use towline_base::clock;
use towline_http::Sight;
use towline_store::{Progress, ProgressView, RepoName};

use towline_api::{Fault, Task, TaskState};
use towline_transfer::{Look, Watch};

/// Most tasks at once: each reads and hashes on several threads.
const RUNNING_MAX: usize = 8;

/// Most ended tasks that are remembered.
const KEPT_MAX: usize = 64;

/// How much tasks stand back: hashing a model on every core should not make a request wait for its
/// turn. Threads that a task starts do as it does.
const NICE: i32 = 15;

/// How long a task runs before another one; it gives the rest of it up where it yields.
const SLICE: Duration = Duration::from_micros(100);

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

type End = Option<(Instant, Result<Value, Fault>)>;

struct Entry {
    /// What others may wait for as well.
    key: Option<[u8; 32]>,
    what: String,
    /// The model that it is about: whoever may not know of it is not told of the task.
    about: Option<RepoName>,
    started: Instant,
    progress: Progress,
    is_stopped: AtomicBool,
    look: Mutex<Option<Look>>,
    end: Mutex<End>,
}

/// A task as its own work sees it.
pub(crate) struct Doing<'a> {
    /// For work of the store that counts here itself.
    pub(crate) progress: &'a Progress,
    entry: &'a Entry,
}

impl Watch for Doing<'_> {
    fn is_stopped(&self) -> bool {
        self.entry.is_stopped.load(Ordering::Relaxed)
    }

    fn progress(&self) -> &Progress {
        self.progress
    }

    fn show(&self, look: Look) {
        let mut slot = self
            .entry
            .look
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *slot = Some(look);
    }

    fn freeze(&self) {
        self.entry.freeze();
    }
}

impl Tasks {
    /// Begins a task; `None` if too many run. Where a task of the same key runs, the number is that
    /// of it: who asks for the same thing at the same time waits for the same work.
    pub(crate) fn begin_once(
        &self,
        key: [u8; 32],
        about: (String, Option<RepoName>),
        work: impl FnOnce(&Doing<'_>) -> Result<Value, Fault> + Send + 'static,
    ) -> Option<u64> {
        self.start(Some(key), about, work)
    }

    /// Begins a task; `None` if too many run.
    pub(crate) fn begin(
        &self,
        about: (String, Option<RepoName>),
        work: impl FnOnce(&Doing<'_>) -> Result<Value, Fault> + Send + 'static,
    ) -> Option<u64> {
        self.start(None, about, work)
    }

    fn start(
        &self,
        key: Option<[u8; 32]>,
        (what, about): (String, Option<RepoName>),
        work: impl FnOnce(&Doing<'_>) -> Result<Value, Fault> + Send + 'static,
    ) -> Option<u64> {
        let mut held = self.held();
        let mut same = held.tasks.iter().filter(|(_, task)| {
            let stops = task.is_stopped.load(Ordering::Relaxed);
            key.is_some() && task.key == key && !stops && task.end().is_none()
        });
        if let Some((number, _)) = same.next() {
            return Some(*number);
        }
        let running = held.tasks.values().filter(|task| task.end().is_none());
        if running.count() >= RUNNING_MAX {
            return None;
        }
        let entry = Arc::new(Entry {
            key,
            what,
            about,
            started: clock::now(),
            progress: Progress::default(),
            is_stopped: AtomicBool::new(false),
            look: Mutex::default(),
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
                if let Err(error) = towline_sys::threads::stand_back(NICE, SLICE) {
                    tracing::debug!(%error, "a task runs with full priority");
                }
                let doing = Doing {
                    progress: &entry.progress,
                    entry: &entry,
                };
                let result = work(&doing);
                if let Err(fault) = &result {
                    tracing::warn!(error = fault.error, "task failed");
                }
                entry.freeze();
                *entry.end() = Some((clock::now(), result));
            });
        if spawned.is_err() {
            self.held().tasks.remove(&number);
            return None;
        }
        Some(number)
    }

    /// How far a task is, for somebody who may know of its model.
    pub(crate) fn get(&self, number: u64, sight: &Sight) -> Option<Task<Value>> {
        let entry = self.held().tasks.get(&number)?.clone();
        let about = entry.about.as_ref();
        about
            .is_none_or(|name| sight.sees(name))
            .then(|| entry.describe(number))
    }

    /// Tells a task to stop; whether there is one that this sight may stop: of a model that it
    /// may publish.
    pub(crate) fn stop(&self, number: u64, sight: &Sight) -> bool {
        let entry = self.held().tasks.get(&number).cloned();
        let own = |entry: &Arc<Entry>| match &entry.about {
            Some(name) => sight.may_publish(name),
            None => sight.sees_everything(),
        };
        entry.filter(own).is_some_and(|entry| {
            entry.stop();
            true
        })
    }

    /// Tells all tasks to stop.
    pub(crate) fn stop_all(&self) {
        let held = self.held();
        held.tasks.values().for_each(|entry| entry.stop());
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
    fn end(&self) -> MutexGuard<'_, End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
        self.progress.stop();
    }

    fn view(&self) -> ProgressView {
        let look = self.look.lock().unwrap_or_else(PoisonError::into_inner);
        look.as_ref()
            .map_or_else(|| self.progress.view(), |look| look())
    }

    /// Keeps the last view and lets go of what it came from.
    fn freeze(&self) {
        let last = self.view();
        let mut look = self.look.lock().unwrap_or_else(PoisonError::into_inner);
        *look = Some(Box::new(move || last));
    }

    fn describe(&self, number: u64) -> Task<Value> {
        let view = self.view();
        let end = self.end();
        let (state, until, result, error) = match &*end {
            None => (TaskState::Running, clock::now(), None, None),
            Some((until, Ok(value))) => (TaskState::Done, *until, Some(value.clone()), None),
            Some((until, Err(fault))) => (TaskState::Failed, *until, None, Some(fault.clone())),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_the_same_at_once_waits_for_the_same_work() {
        let tasks = Tasks::default();
        let (go, wait) = std::sync::mpsc::sync_channel::<()>(1);
        let about = || ("pull".to_owned(), None);
        let first = tasks.begin_once([1; 32], about(), move |_| {
            let _ = wait.recv();
            Ok(Value::Null)
        });
        let never = |_: &Doing<'_>| -> Result<Value, Fault> { Ok(Value::Bool(true)) };
        assert_eq!(tasks.begin_once([1; 32], about(), never), first);
        assert_ne!(tasks.begin_once([2; 32], about(), never), first);
        assert_ne!(tasks.begin(about(), never), first);
        drop(go);
        let number = first.unwrap();
        while tasks.held().tasks.get(&number).unwrap().end().is_none() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert_ne!(
            tasks.begin_once([1; 32], about(), never),
            first,
            "it has ended"
        );
    }
}
