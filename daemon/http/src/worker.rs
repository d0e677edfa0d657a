//! What the HTTP connections of one worker share: the view, the paths that are hot, the date.
//!
//! A path that was served once is remembered with its names and its node. Invariant: it is used
//! again only if the kernel, asked now and as the caller, says that the same path leads to the
//! same file, so a file that was renamed over is seen at once and a right that was taken away
//! is gone at once. Bounded by [`PATHS_MAX`] and [`PATH_KEY_BYTES_MAX`]; what was not used of late
//! goes first.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use towline_base::{Recent, clock};
use towline_io::OpenFile;
use towline_volume::node::FileIdentity;
use towline_volume::view::{Hot, Right};
use towline_volume::{Attributes, Export, FileHandle, FileKind, Name, View};

use crate::date::{self, DATE_BYTES};
use crate::metrics::Counters;
use crate::server::Server;

/// Most paths that one worker remembers: with keys of 100 bytes about 2 MB.
pub const PATHS_MAX: usize = 4096;

/// Longest path that is remembered, in bytes as sent; with [`PATHS_MAX`] at most 4 MiB of keys.
pub const PATH_KEY_BYTES_MAX: usize = 1024;

/// The state that connections of one worker share.
pub(crate) struct Worker {
    pub(crate) view: Rc<RefCell<View>>,
    pub(crate) counters: Arc<Counters>,
    paths: Recent<Box<[u8]>, Rc<Known>>,
    dated: (i64, [u8; DATE_BYTES]),
    /// Part heads under way; empty between calls.
    pub(crate) scratch: Vec<u8>,
    boundary: u64,
}

/// A path that was served.
pub(crate) struct Known {
    pub(crate) export: Arc<Export>,
    pub(crate) names: Vec<Name>,
    pub(crate) handle: FileHandle,
    pub(crate) media: &'static str,
}

/// A file that can be sent now.
pub(crate) struct Ready {
    pub(crate) file: Arc<OpenFile>,
    pub(crate) attributes: Attributes,
    pub(crate) media: &'static str,
}

impl Worker {
    /// The state of one more worker, the one that owns `view`.
    pub(crate) fn new(server: &Server, view: Rc<RefCell<View>>) -> Self {
        Self {
            view,
            counters: server.enlist(),
            paths: Recent::new(PATHS_MAX),
            dated: (i64::MIN, [0; DATE_BYTES]),
            scratch: Vec::new(),
            boundary: towline_base::rand::bits().unwrap_or_default(),
        }
    }

    /// How many paths are remembered.
    #[cfg(test)]
    pub(crate) fn paths_known(&self) -> usize {
        self.paths.len()
    }

    /// Whether a path, as sent, is remembered.
    #[cfg(test)]
    pub(crate) fn is_path_known(&self, below: &str) -> bool {
        self.paths.peek(below.as_bytes()).is_some()
    }

    /// The time in seconds since 1970 and as a Date field, written once a second.
    pub(crate) fn date(&mut self) -> (i64, [u8; DATE_BYTES]) {
        let now = clock::since_epoch().as_secs() as i64;
        if self.dated.0 != now {
            self.dated = (now, date::format(now));
        }
        self.dated
    }

    /// A number for the next multipart boundary.
    pub(crate) fn boundary(&mut self) -> u64 {
        self.boundary = self
            .boundary
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.boundary
    }

    /// What is remembered of a path, as sent.
    pub(crate) fn known(&mut self, below: &[u8]) -> Option<Rc<Known>> {
        self.paths.cloned(below)
    }

    /// The file behind a remembered path, if the kernel says that it is still that file and the
    /// right to read it still holds.
    pub(crate) fn ready(&self, known: &Known) -> Option<Ready> {
        let Known { export, names, .. } = known;
        let who = &export.anonymous;
        let attributes = export.whole().peek_path(names, who).ok()?;
        let mut view = self.view.borrow_mut();
        let Hot::Ready(located) = view.node(&known.handle) else {
            return None;
        };
        let same = FileIdentity::of(&attributes) == located.node.identity
            && attributes.kind == FileKind::Regular;
        let file = view.file(&located.node, &attributes, who, Right::Read)?;
        same.then_some(Ready {
            file,
            attributes,
            media: known.media,
        })
    }

    /// Remembers a path, as sent.
    pub(crate) fn remember(&mut self, below: &[u8], known: Known) {
        if below.len() > PATH_KEY_BYTES_MAX {
            return;
        }
        self.paths.insert(below.into(), Rc::new(known));
    }
}
