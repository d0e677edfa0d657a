//! Threads for calls that may block: cold opens, directory changes, fsync.
//!
//! One pool per node, shared by all workers. Invariant: at most [`PoolLimits::queue_max`] jobs
//! wait; a job that finds no place goes back to its worker, which stops reading from that
//! connection. Not promised: an order between jobs.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use rustix::io::Errno;

/// Bounds of a pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolLimits {
    /// Threads. Each may wait for the disk, so more than cores: an fsync takes milliseconds and
    /// file systems commit those that wait together at once.
    pub threads: usize,
    /// Most jobs that wait for a thread.
    pub queue_max: usize,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            threads: 16,
            queue_max: 4096,
        }
    }
}

type Task = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    tasks: VecDeque<Task>,
    is_closed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    queue_max: usize,
}

/// The pool. Dropping it finishes the jobs that wait, then ends the threads.
pub struct Pool {
    shared: Arc<Shared>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Pool {
    /// Starts the threads.
    ///
    /// # Errors
    /// `AGAIN` if the system gives no more threads.
    pub fn new(limits: PoolLimits) -> Result<Self, Errno> {
        let (queue, changed) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared {
            queue,
            changed,
            queue_max: limits.queue_max,
        });
        let mut threads = Vec::new();
        for _ in 0..limits.threads.max(1) {
            let shared = shared.clone();
            let thread = std::thread::Builder::new()
                .name("towline-pool".into())
                .spawn(move || shared.work())
                .map_err(|_| Errno::AGAIN)?;
            threads.push(thread);
        }
        Ok(Self { shared, threads })
    }

    /// Queues a task; gives it back if too many wait.
    pub(crate) fn submit(&self, task: Task) -> Result<(), Task> {
        let mut queue = self.shared.lock();
        if queue.tasks.len() >= self.shared.queue_max {
            return Err(task);
        }
        queue.tasks.push_back(task);
        drop(queue);
        self.shared.changed.notify_one();
        Ok(())
    }

    /// Jobs that wait at the moment, for the metrics.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.lock().tasks.len()
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut queue = self.lock();
        loop {
            match queue.tasks.pop_front() {
                Some(task) => {
                    drop(queue);
                    task();
                    queue = self.lock();
                }
                None if queue.is_closed => return,
                None => {
                    queue = self
                        .changed
                        .wait(queue)
                        .unwrap_or_else(PoisonError::into_inner)
                }
            }
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
