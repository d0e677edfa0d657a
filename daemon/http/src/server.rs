//! What all workers of a node share on this face: the exports, the limits, the counters, and
//! which uploads are under way.
//!
//! Invariant: two connections never write to one unfinished upload; the second is told 409. The
//! lock here is taken once per worker and once per upload, never on the way of a read.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use towline_volume::{Exports, FileHandle, Name};

use crate::metrics::{Counters, METRICS, Metric};

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
    workers: Mutex<Vec<Arc<Counters>>>,
    uploads: Mutex<HashSet<UploadKey>>,
}

/// A resumable upload: directory, name and session.
type UploadKey = (FileHandle, Name, Vec<u8>);

impl Server {
    /// A server of these exports.
    #[must_use]
    pub fn new(exports: Arc<Exports>, limits: Limits) -> Self {
        Self {
            exports,
            limits,
            workers: Mutex::default(),
            uploads: Mutex::default(),
        }
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

    /// Claims a resumable upload; `None` if another connection has it.
    pub(crate) fn claim(
        self: &Arc<Self>,
        dir: FileHandle,
        name: Name,
        session: Vec<u8>,
    ) -> Option<Claim> {
        let key = (dir, name, session);
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        uploads.insert(key.clone()).then(|| Claim {
            server: self.clone(),
            key,
        })
    }
}

/// The right to write to a resumable upload; dropping it gives the right back.
#[derive(Debug)]
pub(crate) struct Claim {
    server: Arc<Server>,
    key: UploadKey,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut uploads = self
            .server
            .uploads
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        uploads.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use towline_base::MacKey;
    use towline_volume::handle::HandleKeys;

    use super::*;

    #[test]
    fn an_upload_belongs_to_one_connection_until_it_lets_go() {
        let exports = Exports::new(Vec::new(), HandleKeys::new(MacKey::new([1; 32])));
        let server = Arc::new(Server::new(Arc::new(exports), Limits::default()));
        let dir = FileHandle::from_bytes(b"dir").unwrap();
        let claim = |session: &str| {
            let name = Name::new(b"file").unwrap();
            server.claim(dir, name, session.as_bytes().to_vec())
        };
        let first = claim("10");
        assert!(first.is_some());
        assert!(claim("10").is_none());
        assert!(claim("11").is_some());
        drop(first);
        assert!(claim("10").is_some());
    }
}
