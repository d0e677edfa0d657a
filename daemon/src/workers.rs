//! The worker threads: started together, drained together.
//!
//! Invariant: [`Workers::start`] returns when every worker runs its engine, or ends all of them.
//! A worker that fails takes the node down: a node with a dead worker would lose every connection
//! that the kernel gives to it.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::io::Errno;
use towline_io::{
    Admission, EngineChoice, HandOff, Listening, Pool, Worker, WorkerHandle, WorkerLimits,
    WorkerMetrics, WorkerParts,
};

use crate::error::NodeError;
use crate::face::{Done, Faces, Speaks};

/// How long a worker runs before somebody else who wants its processor. Shorter than the kernel's
/// own (1.4 to 3 ms), so that a call that comes in while the node hashes is answered at once.
const TURN: Duration = Duration::from_micros(200);

/// What all workers share.
#[derive(Clone)]
pub(crate) struct Plant {
    pub(crate) engine: EngineChoice,
    pub(crate) limits: WorkerLimits,
    /// Files that each worker keeps open.
    pub(crate) nodes_max: usize,
    pub(crate) admission: Arc<Admission>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) exports: Arc<towline_volume::Exports>,
    pub(crate) http: Arc<towline_http::Server>,
    pub(crate) nfs: Arc<towline_nfs::Server>,
    pub(crate) handed_off: tokio::sync::mpsc::Sender<HandOff>,
    /// Rings when a worker has ended.
    pub(crate) ended: tokio::sync::mpsc::Sender<Result<(), Errno>>,
}

/// The running workers.
pub(crate) struct Workers {
    threads: Vec<JoinHandle<()>>,
    handles: Vec<WorkerHandle<Done>>,
    metrics: Vec<Arc<WorkerMetrics>>,
    engine: &'static str,
}

impl Workers {
    /// Starts one worker per element of `listeners`.
    pub(crate) fn start(
        plant: &Plant,
        listeners: Vec<Vec<(Speaks, Listening)>>,
    ) -> Result<Self, NodeError> {
        let mut this = Self {
            threads: vec![],
            handles: vec![],
            metrics: vec![],
            engine: "portable",
        };
        for (index, listeners) in listeners.into_iter().enumerate() {
            if let Err(error) = this.start_one(plant, index, listeners) {
                this.drain();
                this.join();
                return Err(error);
            }
        }
        Ok(this)
    }

    fn start_one(
        &mut self,
        plant: &Plant,
        index: usize,
        listeners: Vec<(Speaks, Listening)>,
    ) -> Result<(), NodeError> {
        let metrics = Arc::new(WorkerMetrics::default());
        self.metrics.push(metrics.clone());
        let (speaks, listeners) = listeners.into_iter().unzip();
        let parts = WorkerParts {
            listeners,
            engine: plant.engine,
            limits: plant.limits,
            admission: plant.admission.clone(),
            pool: plant.pool.clone(),
            metrics,
        };
        let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
        let plant = plant.clone();
        let body = move || {
            let Plant {
                nodes_max,
                exports,
                http,
                nfs,
                handed_off,
                ended,
                ..
            } = plant;
            let faces = Faces::new(speaks, (&exports, nodes_max), &http, &nfs, handed_off);
            // The receiver waits for exactly this message; a node that is gone needs no worker.
            let worker = match Worker::new(parts, faces) {
                Ok((worker, handle, engine)) => {
                    let _ = ready.send(Ok((handle, engine)));
                    worker
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                    return;
                }
            };
            if let Err(error) = towline_sys::threads::take_short_turns(TURN) {
                tracing::debug!(%error, "a worker takes turns as long as others");
            }
            let _ = ended.try_send(worker.run());
        };
        let name = format!("towline-io-{index}");
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(body)
            .map_err(|error| NodeError::System {
                what: "cannot start a worker thread",
                error: error.to_string(),
            })?;
        self.threads.push(thread);
        match is_ready.recv() {
            Ok(Ok((handle, engine))) => {
                self.handles.push(handle);
                self.engine = engine;
                Ok(())
            }
            Ok(Err(error)) => Err(NodeError::Engine(error)),
            Err(_) => Err(NodeError::System {
                what: "a worker thread ended at once",
                error: "see the log".to_owned(),
            }),
        }
    }

    pub(crate) fn engine(&self) -> &'static str {
        self.engine
    }

    pub(crate) fn handles(&self) -> &[WorkerHandle<Done>] {
        &self.handles
    }

    pub(crate) fn metrics(&self) -> &[Arc<WorkerMetrics>] {
        &self.metrics
    }

    /// Tells all workers to finish what they have.
    pub(crate) fn drain(&self) {
        self.handles.iter().for_each(WorkerHandle::drain);
    }

    /// Waits for all workers to end.
    pub(crate) fn join(&mut self) {
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a worker has panicked: please report this with the log above");
            }
        }
    }
}
