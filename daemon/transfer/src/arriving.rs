//! Models that are still on their way, as the data plane and the hub's clients see them.
//!
//! While a revision of a hub arrives, its files lie under its id with their full lengths, each
//! behind a gate that asks the arrival which bytes are here; readers of missing bytes wait, and the
//! pull fetches what they wait for first. The hub's face finds the revision too, by its id and, if
//! the tag is new, by its tag. Invariant: when a pull ends in whatever way, its gates are open for
//! good or tell that the rest is lost, and nothing here keeps the arrival.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use towline_http::Models;
use towline_io::{Gate, Passage};
use towline_store::arrival::BLOCK_BYTES;
use towline_store::{
    Arrival, ArrivalPlan, CatalogFile, CatalogRevision, FileId, ManifestId, StoreError, TagName,
};
use towline_volume::Gates;
use towline_volume::node::FileIdentity;

/// File system and inode, as [`FileIdentity`] has them.
type Key = (u64, u64);

/// The files that are on their way.
#[derive(Debug, Default)]
pub struct Arriving {
    gates: RwLock<HashMap<Key, Arc<FileGate>>>,
}

#[derive(Debug)]
struct FileGate {
    file: usize,
    state: RwLock<State>,
}

#[derive(Debug)]
enum State {
    Coming(Arrival),
    Here,
    Lost,
}

impl Gate for FileGate {
    fn passage(&self, offset: u64, length: u64) -> Passage {
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Here => Passage::Open(length),
            State::Coming(arrival) => match present(arrival, self.file, offset, length) {
                0 => Passage::Closed,
                bytes => Passage::Open(bytes),
            },
            State::Lost => Passage::Lost,
        }
    }

    fn want(&self, offset: u64, length: u64) {
        if let State::Coming(arrival) = &*self.state.read().unwrap_or_else(PoisonError::into_inner)
        {
            arrival.want(self.file, offset..offset.saturating_add(length));
        }
    }
}

/// How many bytes from `offset` are here without a gap, at most `length`.
fn present(arrival: &Arrival, file: usize, offset: u64, length: u64) -> u64 {
    let end = offset.saturating_add(length);
    let mut at = offset;
    while at < end {
        let next = ((at / BLOCK_BYTES + 1) * BLOCK_BYTES).min(end);
        if !arrival.is_present(file, &(at..next)) {
            break;
        }
        at = next;
    }
    at - offset
}

impl Gates for Arriving {
    fn gate(&self, file: &FileIdentity) -> Option<Arc<dyn Gate>> {
        let gates = self.gates.read().unwrap_or_else(PoisonError::into_inner);
        let gate = gates.get(&(file.file_system, file.file_id))?;
        Some(Arc::clone(gate) as Arc<dyn Gate>)
    }
}

/// A revision that is shown while it arrives; dropping it takes it out of sight.
pub(crate) struct Shown {
    arriving: Arc<Arriving>,
    models: Models,
    arrival: Arrival,
    revision: Option<Arc<CatalogRevision>>,
    keys: Vec<Key>,
}

impl Shown {
    /// Shows an arrival, if its revision has an id.
    pub(crate) fn new(
        arriving: &Arc<Arriving>,
        models: &Models,
        arrival: &Arrival,
        tag: &TagName,
    ) -> Result<Self, StoreError> {
        let mut shown = Self {
            arriving: Arc::clone(arriving),
            models: models.clone(),
            arrival: arrival.clone(),
            revision: None,
            keys: Vec::new(),
        };
        if let Some(place) = arrival.show()? {
            let below = models.root().join(place);
            shown.put_gates(&below);
            if let Some(revision) = revision(arrival.plan()) {
                let revision = Arc::new(revision);
                models.arrives(&revision, tag);
                shown.revision = Some(revision);
            }
        }
        Ok(shown)
    }

    fn put_gates(&mut self, below: &std::path::Path) {
        let files = self.arrival.plan().files.iter().enumerate();
        let paths = files.map(|(file, planned)| (file, below.join(planned.path.as_str())));
        let mut gates = self
            .arriving
            .gates
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let paths: Vec<(usize, PathBuf)> = paths.collect();
        for (file, path) in paths {
            if let Ok(found) = std::fs::symlink_metadata(path) {
                let key = (file_system(found.dev()), found.ino());
                let state = RwLock::new(State::Coming(self.arrival.clone()));
                gates.insert(key, Arc::new(FileGate { file, state }));
                self.keys.push(key);
            }
        }
    }

    /// The revision is published: what was opened meanwhile is whole.
    pub(crate) fn published(mut self) {
        self.end(|| State::Here);
    }

    fn end(&mut self, state: impl Fn() -> State) {
        let mut gates = self
            .arriving
            .gates
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        for key in self.keys.drain(..) {
            if let Some(gate) = gates.remove(&key) {
                *gate.state.write().unwrap_or_else(PoisonError::into_inner) = state();
            }
        }
        if let Some(revision) = self.revision.take() {
            self.models.arrived(&revision);
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let was_shown = !self.keys.is_empty();
        self.end(|| State::Lost);
        if was_shown && let Err(error) = self.arrival.hide() {
            tracing::warn!(%error, "what was shown of a pull stays in sight until the restart");
        }
    }
}

/// A device number as [`FileIdentity`] has it.
fn file_system(device: u64) -> u64 {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    u64::from(major) << 32 | u64::from(minor)
}

/// What the hub's face says of a revision on its way; `None` if its source promised too little.
fn revision(plan: &ArrivalPlan) -> Option<CatalogRevision> {
    let rev = plan.rev?;
    let mut files = Vec::new();
    for file in &plan.files {
        files.push(CatalogFile {
            path: file.path.clone(),
            size: file.size,
            git_oid: file.git_oid?,
            sha256: file.sha256,
            lfs: file.sha256.is_some(),
            id: FileId([0; 32]),
        });
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    let trees = towline_store::git::trees(files.iter().map(|file| (&file.path, file.git_oid)));
    Some(CatalogRevision {
        repo: plan.repo.clone(),
        rev,
        manifest: ManifestId([0; 32]),
        parent: plan.parent,
        created: plan.created.unwrap_or(0),
        message: plan.message.clone(),
        origin: Some(plan.origin.clone()),
        bytes: files.iter().map(|file| file.size).sum(),
        last_use: Default::default(),
        signed_by: Vec::new(),
        files,
        directories: trees.directories,
    })
}
