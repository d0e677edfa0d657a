//! The store of models as the hub, registry and S3 faces see it: a catalog, and the export whose
//! files it names.
//!
//! The faces never open a file themselves: they turn what a client asked for into a path below
//! `/files/`, and the same code sends it that sends every other file. Invariant: a face serves
//! nothing that `/files/` would not serve to the same address and token.

use std::sync::Arc;

use towline_store::{Catalog, CatalogFile, CatalogRevision, Store};
use towline_volume::Export;

use crate::path;
use crate::validator::EntityTag;

/// A store with the export that shows its files.
#[derive(Clone, Debug)]
pub struct Models {
    store: Store,
    export: Arc<Export>,
}

impl Models {
    /// The models of a store whose root is the volume of `export`.
    #[must_use]
    pub fn new(store: Store, export: Arc<Export>) -> Self {
        Self { store, export }
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

    /// What can be read right now.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.store.catalog()
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
