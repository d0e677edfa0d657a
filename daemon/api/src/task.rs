//! Work that takes a while: the node answers with a task, which is asked for until it has ended.
//!
//! Invariant: a task that has ended has a result or a fault. `R` is the result's type where it is
//! known, and any JSON where it is not.

use serde::{Deserialize, Serialize};

use crate::fault::Fault;

/// A task that takes a while.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Task<R> {
    /// Its number, for `GET /v1/models/tasks/N`.
    pub task: u64,
    /// What it does.
    pub what: String,
    /// How far it is.
    pub state: TaskState,
    /// Bytes that are done.
    pub bytes_done: u64,
    /// Bytes that there are, as far as is known.
    pub bytes_total: u64,
    /// Files that are done.
    pub files_done: u64,
    /// Files that there are.
    pub files_total: u64,
    /// Seconds since it began.
    pub elapsed: f64,
    /// What came of it.
    pub result: Option<R>,
    /// Why it failed.
    pub error: Option<Fault>,
}

/// How far a task is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// It runs.
    Running,
    /// It has ended well.
    Done,
    /// It has failed.
    Failed,
}
