//! The folder as the revision that it will be, and the word of a key for it.
//!
//! Invariant: what is signed was read and hashed on this machine. Not promised: that nobody writes
//! to the folder afterwards; the node refuses it then.

use std::path::Path;
use std::time::Duration;

use towline_api as api;
use towline_base::clock;
use towline_store::manifest::Manifest;
use towline_store::signing_key;
use towline_store::{
    DirectorySource, Outline, Progress, RepoName, Result, RevisionId, Source, SourceEntry,
    StoreError,
};

use super::Push;
use crate::bar::Bar;
use crate::client;
use crate::failure::Failure;
use crate::options::NodeUrl;

/// How often progress is drawn.
const PAUSE: Duration = Duration::from_millis(100);

/// A folder that was read.
pub(super) struct Folder {
    pub(super) source: Listed,
    pub(super) manifest: Manifest,
    pub(super) signed: Option<api::Signed>,
}

/// A directory with its list of files, which is made once.
pub(super) struct Listed {
    directory: DirectorySource,
    pub(super) entries: Vec<SourceEntry>,
}

impl Source for Listed {
    fn entries(&self) -> Result<Vec<SourceEntry>> {
        Ok(self.entries.clone())
    }

    fn read_at(&self, index: usize, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.directory.read_at(index, offset, buffer)
    }

    fn check(&self, index: usize) -> Result<()> {
        self.directory.check(index)
    }
}

/// Reads and hashes the folder, and signs it if a key was named.
pub(super) fn folder(
    push: &Push,
    node: &NodeUrl,
    directory: &Path,
) -> std::result::Result<Folder, Failure> {
    // A key that cannot be read is told before an hour of hashing.
    let signer = push.sign_key.as_deref().map(signing_key::read).transpose();
    let signer = signer.map_err(|fault| Failure::usage(fault.to_string()))?;
    let (name, tag) = push.name_and_tag()?;
    let repo: RepoName = name
        .parse()
        .map_err(|fault: towline_store::NameFault| Failure::usage(fault.to_string()))?;
    let parent = match signer {
        Some(_) => head(node, &name, &tag)?,
        None => None,
    };
    let outline = Outline {
        repo: &repo,
        parent,
        created: clock::since_epoch().as_secs(),
        message: &push.message,
    };
    let directory = DirectorySource::open(directory).map_err(failed)?;
    let entries = directory.entries().map_err(failed)?;
    let source = Listed { directory, entries };
    let manifest = read(&outline, &source).map_err(failed)?;
    let signed = signer.map(|signer| {
        let signature = signer.sign_manifest(&Manifest::id_of(&manifest.encode()));
        api::Signed {
            parent: parent.map(|rev| rev.to_string()),
            created: outline.created,
            signature: api::SignatureText {
                key: signature.key.to_string(),
                bytes: signature.hex(),
            },
        }
    });
    Ok(Folder {
        source,
        manifest,
        signed,
    })
}

/// Hashes everything, with progress where a person looks.
fn read(outline: &Outline<'_>, source: &Listed) -> Result<Manifest> {
    let (progress, bar) = (Progress::default(), Bar::new("read"));
    let started = clock::now();
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| outline.compose(source, &progress));
        while !reading.is_finished() {
            let view = progress.view();
            let elapsed = clock::now().duration_since(started).as_secs_f64();
            bar.draw(view.bytes_done, view.bytes_total, elapsed);
            std::thread::sleep(PAUSE);
        }
        let died = || StoreError::from(towline_store::StorageFault::Thread("reading panicked"));
        reading.join().unwrap_or_else(|_| Err(died()))
    })
}

/// What the tag points to on the node now.
fn head(node: &NodeUrl, name: &str, tag: &str) -> std::result::Result<Option<RevisionId>, Failure> {
    let listed: api::Models = client::get(node, "/v1/models")?;
    let model = listed.models.iter().find(|model| model.name == name);
    let mut revisions = model.into_iter().flat_map(|model| &model.revisions);
    let tagged = revisions.find(|revision| revision.tags.iter().any(|at| at == tag));
    Ok(tagged.and_then(|revision| revision.revision.parse().ok()))
}

/// Why a folder cannot be published, by whose fault.
fn failed(error: StoreError) -> Failure {
    match error {
        StoreError::Client(fault) => Failure::Refused(fault.to_string()),
        StoreError::Storage(fault) => Failure::Storage(fault.to_string()),
        other => Failure::Temporary(other.to_string()),
    }
}
