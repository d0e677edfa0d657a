//! What all workers of a node share on this face: the exports, the limits and the counters.
//!
//! Invariant: exports and limits do not change while the node runs. The lock here is taken once
//! per worker and when somebody reads the counters, never on the way of a request.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use towline_volume::Exports;

use crate::doors::Doors;
use crate::faces::s3::sign::Key;
use crate::keyring::Keyring;
use crate::metrics::{Counters, METRICS, Metric};
use crate::models::Models;

/// Where a client came in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Port {
    /// The port of HTTP and that of HTTPS: every face that has a prefix, and the control plane.
    Http,
    /// Read-only S3 and nothing else.
    S3,
    /// The hub without its prefix, and nothing else.
    Hub,
}

/// What an operator may change.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest file that PUT accepts, in bytes; 413 above. Default 2^63-1: the disk decides.
    pub upload_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            upload_bytes_max: i64::MAX as u64,
        }
    }
}

/// The node-wide part of the face.
#[derive(Debug)]
pub struct Server {
    exports: Arc<Exports>,
    limits: Limits,
    models: Option<Models>,
    keyring: Arc<Keyring>,
    s3_keys: Vec<Key>,
    tls_port: Option<u16>,
    doors: Doors,
    spool: Option<PathBuf>,
    workers: Mutex<Vec<Arc<Counters>>>,
}

impl Server {
    /// A server of these exports.
    #[must_use]
    pub fn new(exports: Arc<Exports>, limits: Limits) -> Self {
        Self {
            exports,
            limits,
            models: None,
            keyring: Arc::default(),
            s3_keys: Vec::new(),
            tls_port: None,
            doors: Doors::default(),
            spool: None,
            workers: Mutex::default(),
        }
    }

    /// The same with models for the hub's clients.
    #[must_use]
    pub fn with_models(self, models: Option<Models>) -> Self {
        Self { models, ..self }
    }

    /// The same with tokens for models.
    #[must_use]
    pub fn with_keyring(self, keyring: Arc<Keyring>) -> Self {
        Self { keyring, ..self }
    }

    /// The same with a folder for long listings while they are sent.
    #[must_use]
    pub fn with_spool(self, folder: &Path) -> Self {
        let spool = Some(folder.to_owned());
        Self { spool, ..self }
    }

    /// Where long listings lie while they are sent.
    pub(crate) fn spool(&self) -> Option<&Path> {
        self.spool.as_deref()
    }

    /// The same with the names of the node and the pages that may use it.
    #[must_use]
    pub fn with_doors(self, doors: Doors) -> Self {
        Self { doors, ..self }
    }

    /// The names of the node and the pages that may use it.
    #[must_use]
    pub fn doors(&self) -> &Doors {
        &self.doors
    }

    /// The tokens for models.
    #[must_use]
    pub fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }

    /// The same with keys that S3 asks for; without keys it asks for none.
    #[must_use]
    pub fn with_s3_keys(self, s3_keys: Vec<Key>) -> Self {
        Self { s3_keys, ..self }
    }

    /// The same with the port whose connections come through TLS.
    #[must_use]
    pub fn with_tls_port(self, tls_port: Option<u16>) -> Self {
        Self { tls_port, ..self }
    }

    /// The port of HTTPS: whoever connected there is sent to URLs with `https`.
    #[must_use]
    pub fn tls_port(&self) -> Option<u16> {
        self.tls_port
    }

    /// The keys of S3.
    #[must_use]
    pub fn s3_keys(&self) -> &[Key] {
        &self.s3_keys
    }

    /// The models, if there is a store.
    #[must_use]
    pub fn models(&self) -> Option<&Models> {
        self.models.as_ref()
    }

    /// The exports.
    #[must_use]
    pub fn exports(&self) -> &Arc<Exports> {
        &self.exports
    }

    /// The limits.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Every metric with its present value.
    #[must_use]
    pub fn metrics(&self) -> Vec<(Metric, u64)> {
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = |metric: &Metric| metric.sum(workers.iter().map(Arc::as_ref));
        METRICS
            .iter()
            .map(|metric| (*metric, sum(metric)))
            .collect()
    }

    /// New counters for one more worker.
    pub(crate) fn enlist(&self) -> Arc<Counters> {
        let counters = Arc::new(Counters::default());
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.push(counters.clone());
        counters
    }
}
