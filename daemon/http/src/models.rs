//! The store of models as the hub, registry and S3 faces see it: a catalog, and the export whose
//! files it names.
//!
//! The faces never open a file themselves: they turn what a client asked for into a path below
//! `/files/`, and the same code sends it that sends every other file. Invariant: a face serves
//! nothing that `/files/` would not serve to the same address and token.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use towline_store::{Catalog, CatalogFile, CatalogRevision, CatalogTag, Store, TagName};
use towline_volume::Export;

use crate::keyring::{Seen, Sight};
use crate::path;
use crate::validator::EntityTag;

/// A revision on its way, and the tag that it will have.
type Arriving = (Arc<CatalogRevision>, TagName);

/// A store with the export that shows its files.
#[derive(Clone, Debug)]
pub struct Models {
    store: Store,
    export: Arc<Export>,
    root: PathBuf,
    arriving: Arc<RwLock<Vec<Arriving>>>,
}

impl Models {
    /// The models of a store whose root is the volume of `export`, at `root`.
    #[must_use]
    pub fn new(store: Store, export: Arc<Export>, root: PathBuf) -> Self {
        Self {
            store,
            export,
            root,
            arriving: Arc::default(),
        }
    }

    /// The directory of the volume.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Shows a revision that is on its way; a tag that is new here means it until it is there.
    pub fn arrives(&self, revision: &Arc<CatalogRevision>, tag: &TagName) {
        let mut arriving = self
            .arriving
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        arriving.push((Arc::clone(revision), tag.clone()));
    }

    /// Takes a revision back that was on its way: it is in the store now, or will not come.
    pub fn arrived(&self, revision: &Arc<CatalogRevision>) {
        let mut arriving = self
            .arriving
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        arriving.retain(|(other, _)| !Arc::ptr_eq(other, revision));
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The export.
    #[must_use]
    pub fn export(&self) -> &Arc<Export> {
        &self.export
    }

    /// What somebody may see right now, with what is on its way.
    #[must_use]
    pub fn seen(&self, sight: Sight) -> Seen {
        Seen::new(self.catalog(), sight)
    }

    /// What is here right now, with what is on its way.
    fn catalog(&self) -> Arc<Catalog> {
        let catalog = self.store.catalog();
        let arriving = self.arriving.read().unwrap_or_else(PoisonError::into_inner);
        if arriving.is_empty() {
            return catalog;
        }
        let mut catalog = Catalog::clone(&catalog);
        for (revision, tag) in arriving.iter() {
            let repo = catalog.repos.entry(revision.repo.clone()).or_default();
            let rev = revision.rev;
            repo.revisions
                .entry(rev)
                .or_insert_with(|| Arc::clone(revision));
            let (seq, time) = (0, revision.created);
            repo.tags
                .entry(tag.clone())
                .or_insert(CatalogTag { rev, seq, time });
        }
        Arc::new(catalog)
    }

    /// Where a file of a revision lies below `/files/`, percent-encoded. The revision is named by
    /// its id, so the place never means another file.
    pub(crate) fn below(&self, revision: &CatalogRevision, file: &CatalogFile) -> Vec<u8> {
        let mut below = Vec::new();
        path::encode(self.export.name.as_bytes(), &mut below);
        for segment in revision.place(file).split('/') {
            below.push(b'/');
            path::encode(segment.as_bytes(), &mut below);
        }
        below
    }
}

/// How a file of a revision is dressed on its way out: the tag and fields that its client expects.
#[derive(Clone, Debug)]
pub(crate) struct Dress {
    /// Takes the place of the tag made from inode and times.
    pub(crate) tag: EntityTag,
    /// Further fields: printable ASCII only.
    pub(crate) fields: Vec<(&'static str, String)>,
    /// The client has proved who it is in another way than by a bearer token.
    pub(crate) is_known: bool,
}
