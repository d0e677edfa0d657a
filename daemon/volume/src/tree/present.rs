//! Which nodes exist of a file, whoever keeps them.
//!
//! Each worker keeps nodes of its own, and an open descriptor of any of them keeps the room of a
//! file that was removed. So the tree knows its nodes, and lets go of those whose file is gone.
//! Invariant: an entry is a hint; a node that nobody keeps is dropped as if it were not listed.
//! Not promised: that the room is back while somebody is reading the file or another process has
//! it open.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::error::VolumeError;
use crate::node::{FileIdentity, Node};

/// Files at which dropped nodes are looked for the first time; then whenever as many again were
/// added, so that looking costs each node a constant.
const LOOK_FILES_MIN: usize = 1_024;

/// The nodes of one tree.
#[derive(Debug, Default)]
pub(super) struct Present(Mutex<Nodes>);

#[derive(Debug, Default)]
struct Nodes {
    by_file: HashMap<FileIdentity, Vec<Weak<Node>>>,
    look_at: usize,
}

impl Present {
    /// Notes a node that was just made.
    pub(super) fn add(&self, node: &Arc<Node>) {
        let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = nodes.by_file.entry(node.identity).or_default();
        same.retain(|other| other.strong_count() > 0);
        same.push(Arc::downgrade(node));
        if nodes.by_file.len() >= nodes.look_at.max(LOOK_FILES_MIN) {
            nodes.by_file.retain(|_, same| {
                same.retain(|other| other.strong_count() > 0);
                !same.is_empty()
            });
            nodes.look_at = nodes.by_file.len() * 2;
        }
    }

    /// Closes the nodes of a file if it has no name any more.
    pub(super) fn let_go(&self, file: &FileIdentity) {
        let same = {
            let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            nodes.by_file.get_mut(file).map(std::mem::take)
        };
        let mut still_named = Vec::new();
        for node in same.into_iter().flatten() {
            let Some(alive) = node.upgrade() else {
                continue;
            };
            match alive.attributes() {
                Err(VolumeError::Stale) => alive.release(),
                Ok(_) | Err(_) => still_named.push(node),
            }
        }
        let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = nodes.by_file.get_mut(file) {
            same.append(&mut still_named);
            if same.is_empty() {
                nodes.by_file.remove(file);
            }
        }
    }
}
