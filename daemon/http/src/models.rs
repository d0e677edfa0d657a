//! The store of models as the hub, registry and S3 faces see it: a catalog, and the export whose
//! files it names.
//!
//! The faces never open a file themselves: they turn what a client asked for into a path below
//! `/files/`, and the same code sends it that sends every other file. Invariant: a face serves
//! nothing that `/files/` would not serve to the same address and token.

pub(crate) mod card;
pub(crate) mod cards;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use towline_store::{Catalog, CatalogFile, CatalogRevision, CatalogTag, Store, TagName};
use towline_volume::Export;

use crate::keyring::{Seen, Sight};
use crate::models::cards::Cards;
use crate::path;
use crate::validator::EntityTag;

/// What is on its way, and the picture of everything that can be read.
#[derive(Debug, Default)]
struct View {
    /// Revisions on their way, and the tag that each will have.
    arriving: Vec<(Arc<CatalogRevision>, TagName)>,
    /// The store's picture with them, made once for each picture of the store.
    merged: Option<Arc<Catalog>>,
}

/// A store with the export that shows its files.
#[derive(Clone, Debug)]
pub struct Models {
    store: Store,
    export: Arc<Export>,
    root: PathBuf,
    view: Arc<RwLock<View>>,
    cards: Arc<Cards>,
}

impl Models {
    /// The models of a store whose root is the volume of `export`, at `root`.
    #[must_use]
    pub fn new(store: Store, export: Arc<Export>, root: PathBuf) -> Self {
        Self {
            store,
            export,
            root,
            view: Arc::default(),
            cards: Arc::default(),
        }
    }

    /// The directory of the volume.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Shows a revision that is on its way; a tag that is new here means it until it is there.
    pub fn arrives(&self, revision: &Arc<CatalogRevision>, tag: &TagName) {
        self.change(|arriving| arriving.push((Arc::clone(revision), tag.clone())));
    }

    /// Takes a revision back that was on its way: it is in the store now, or will not come.
    pub fn arrived(&self, revision: &Arc<CatalogRevision>) {
        self.change(|arriving| arriving.retain(|(other, _)| !Arc::ptr_eq(other, revision)));
    }

    fn change(&self, change: impl FnOnce(&mut Vec<(Arc<CatalogRevision>, TagName)>)) {
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut view.arriving);
        view.merged = None;
    }

    /// What the files of revisions say of them.
    pub(crate) fn cards(&self) -> &Cards {
        &self.cards
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

    /// What is here right now, with what is on its way: a shared picture, made anew only when the
    /// store or what is on its way has changed.
    fn catalog(&self) -> Arc<Catalog> {
        let catalog = self.store.catalog();
        {
            let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
            if view.arriving.is_empty() {
                return catalog;
            }
            if let Some(merged) = view.of(&catalog) {
                return merged;
            }
        }
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(merged) = view.of(&catalog) {
            return merged;
        }
        let merged = Arc::new(view.merge(&catalog));
        view.merged = Some(Arc::clone(&merged));
        merged
    }

    /// Where a file of a revision lies below `/files/`, percent-encoded, for a client that is to
    /// have it. The revision is named by its id, so the place never means another file.
    pub(crate) fn below(&self, revision: &CatalogRevision, file: &CatalogFile) -> Vec<u8> {
        revision.last_use.note((self.store.options().clock)());
        let mut below = Vec::new();
        path::encode(self.export.name.as_bytes(), &mut below);
        for segment in revision.place(file).split('/') {
            below.push(b'/');
            path::encode(segment.as_bytes(), &mut below);
        }
        below
    }
}

impl View {
    /// The picture, if it was made from this one of the store.
    fn of(&self, catalog: &Catalog) -> Option<Arc<Catalog>> {
        let merged = self.merged.as_ref()?;
        (merged.generation == catalog.generation).then(|| Arc::clone(merged))
    }

    fn merge(&self, catalog: &Catalog) -> Catalog {
        let mut merged = catalog.clone();
        for (revision, tag) in &self.arriving {
            let repo = merged.repos.entry(revision.repo.clone()).or_default();
            let rev = revision.rev;
            repo.revisions
                .entry(rev)
                .or_insert_with(|| Arc::clone(revision));
            let (seq, time) = (0, revision.created);
            repo.tags.entry(tag.clone()).or_insert(CatalogTag {
                rev,
                seq,
                time,
                is_branch: tag.is_main(),
            });
        }
        merged
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
