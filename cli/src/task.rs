//! Watching a task of the node to its end, with progress where a person looks.
//!
//! Invariant: Ctrl-C ends the command, not the task; the message on standard error says how to see
//! it again. Not promised: that a task is remembered for ever by the node.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use towline_api::{Task, TaskState};

use crate::bar::Bar;
use crate::client;
use crate::failure::Failure;
use crate::options::NodeUrl;

/// How often the node is asked.
const PAUSE: Duration = Duration::from_millis(150);

/// Follows a task until it has ended; its result.
pub(crate) fn follow(node: &NodeUrl, begun: Task<Value>) -> Result<Value, Failure> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, interrupted.clone())?;
    }
    let bar = Bar::new(begun.what.clone());
    let mut task = begun;
    loop {
        if interrupted.load(Ordering::Relaxed) && task.state == TaskState::Running {
            drop(bar);
            return Err(Failure::Interrupted(left(node, &task)));
        }
        match (task.state, task.error) {
            (TaskState::Running, _) => {}
            (TaskState::Done, _) => return Ok(task.result.unwrap_or_default()),
            (TaskState::Failed, Some(fault)) => return Err(Failure::of(&fault)),
            (TaskState::Failed, None) => {
                return Err(Failure::Internal("the task failed without a reason".into()));
            }
        }
        bar.draw(task.bytes_done, task.bytes_total, task.elapsed);
        std::thread::sleep(PAUSE);
        task = client::get(node, &format!("/v1/models/tasks/{}", task.task))?;
    }
}

/// A task of the node by its number.
pub(crate) fn find(node: &NodeUrl, number: u64) -> Result<Task<Value>, Failure> {
    client::get(node, &format!("/v1/models/tasks/{number}"))
}

/// What to say of a task that nobody watches any more.
fn left(node: &NodeUrl, task: &Task<Value>) -> String {
    let asked = if node.url == crate::options::URL_DEFAULT {
        String::new()
    } else {
        format!(" --node {}", node.url)
    };
    format!(
        "no longer watching, but the node goes on: {what}. Watch it again with: towline models \
         task {number}{asked}",
        what = task.what,
        number = task.task
    )
}
