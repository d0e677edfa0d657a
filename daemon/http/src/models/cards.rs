//! The cards of revisions, read once by a thread that may block and kept.
//!
//! Invariant: at most [`CARDS_MAX`] are kept, those that were not asked for longest go first, and a
//! card is that of exactly one content, so none is ever stale. Not promised: cards of what is still
//! on its way here.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use towline_store::{CatalogFile, CatalogRevision, ManifestId};
use towline_volume::volume::Pace;
use towline_volume::{Identity, Name};

use super::card::{CONFIG_BYTES_MAX, Card, Parts, README_BYTES_MAX};
use crate::models::Models;

/// Most cards that are kept: with 12 KiB each at worst, 48 MiB.
pub(crate) const CARDS_MAX: usize = 4096;

/// Longest header of a safetensors file that is read for its numbers, in bytes.
const HEADER_BYTES_MAX: u64 = 4 << 20;

/// Most files of weights that are looked into: the largest models have about 200.
const WEIGHTS_MAX: usize = 512;

/// Cards by content.
#[derive(Debug, Default)]
pub(crate) struct Cards(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    cards: HashMap<ManifestId, (Arc<Card>, u64)>,
    /// Counts look-ups: a larger number is a later one.
    now: u64,
}

impl Cards {
    /// The card of a content, if it was read.
    pub(crate) fn get(&self, id: &ManifestId) -> Option<Arc<Card>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.now += 1;
        let now = kept.now;
        let (card, used) = kept.cards.get_mut(id)?;
        *used = now;
        Some(Arc::clone(card))
    }

    fn put(&self, id: ManifestId, card: Card) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.cards.len() >= CARDS_MAX {
            let mut used: Vec<u64> = kept.cards.values().map(|(_, used)| *used).collect();
            // An eighth at once, so that looking for them costs little for each.
            let (_, last, _) = used.select_nth_unstable(CARDS_MAX / 8);
            let last = *last;
            kept.cards.retain(|_, (_, used)| *used > last);
        }
        kept.now += 1;
        let now = kept.now;
        kept.cards.insert(id, (Arc::new(card), now));
    }
}

/// Reads the cards of revisions. Runs on a pool thread.
pub(crate) fn read_all(models: &Models, revisions: &[Arc<CatalogRevision>]) {
    let catalog = models.store().catalog();
    for revision in revisions {
        let repo = catalog.repo(&revision.repo);
        let is_here = repo.is_some_and(|repo| repo.revisions.contains_key(&revision.rev));
        if is_here && models.cards().get(&revision.manifest).is_none() {
            models
                .cards()
                .put(revision.manifest, read(models, revision));
        }
    }
}

fn read(models: &Models, revision: &CatalogRevision) -> Card {
    let whole = |path: &str, limit: usize| {
        let file = path.parse().ok().and_then(|path| revision.file(&path));
        let bytes = file.and_then(|file| read_at(models, (revision, file), 0, limit));
        bytes.unwrap_or_default()
    };
    let (readme, config) = (
        whole("README.md", README_BYTES_MAX),
        whole("config.json", CONFIG_BYTES_MAX),
    );
    let weights = revision.files.iter().filter(|file| {
        let path = file.path.as_str();
        path.ends_with(".safetensors") && !path.contains('/')
    });
    let weights: Vec<&CatalogFile> = weights.collect();
    let mut parameters = BTreeMap::new();
    let mut is_whole = weights.len() <= WEIGHTS_MAX;
    for file in weights {
        let counted = is_whole.then(|| count(models, (revision, file), &mut parameters));
        is_whole = counted.flatten().is_some();
    }
    if !is_whole {
        parameters.clear();
    }
    let paths: Vec<&str> = revision
        .files
        .iter()
        .map(|file| file.path.as_str())
        .collect();
    let parts = Parts {
        readme: &readme,
        config: &config,
        paths: &paths,
        parameters,
    };
    Card::of(revision.repo.kind(), parts)
}

#[derive(Deserialize)]
struct Tensor {
    #[serde(default)]
    dtype: String,
    #[serde(default)]
    shape: Vec<u64>,
}

/// Adds the numbers of a file of weights.
fn count(
    models: &Models,
    at: (&CatalogRevision, &CatalogFile),
    parameters: &mut BTreeMap<String, u64>,
) -> Option<()> {
    let start = read_at(models, at, 0, 8)?;
    let length = u64::from_le_bytes(*start.first_chunk::<8>()?);
    if length > HEADER_BYTES_MAX {
        return None;
    }
    let header = read_at(models, at, 8, usize::try_from(length).ok()?)?;
    let tensors: HashMap<String, Tensor> = serde_json::from_slice(&header).ok()?;
    for (_, tensor) in tensors.iter().filter(|(name, _)| *name != "__metadata__") {
        let mut numbers = tensor.shape.iter();
        let numbers = numbers.try_fold(1u64, |product, size| product.checked_mul(*size))?;
        if tensor.dtype.len() > 16 {
            return None;
        }
        let sum = parameters.entry(tensor.dtype.clone()).or_default();
        *sum = sum.checked_add(numbers)?;
    }
    Some(())
}

/// Bytes of a file from `offset`, at most `limit` and as far as it reaches.
fn read_at(
    models: &Models,
    (revision, file): (&CatalogRevision, &CatalogFile),
    offset: u64,
    limit: usize,
) -> Option<Vec<u8>> {
    let export = models.export();
    let who: &Identity = &export.anonymous;
    let volume = export.whole();
    let place = revision.place(file);
    let names = place.split('/').map(|name| Name::new(name.as_bytes()).ok());
    let names = names.collect::<Option<Vec<Name>>>()?;
    let node = volume.walk(&names, who, Pace::Blocking).ok()?;
    let opened = volume.open_read(&node, who).ok()?;
    let left = usize::try_from(file.size.saturating_sub(offset)).unwrap_or(usize::MAX);
    let mut bytes = vec![0; limit.min(left)];
    let mut filled = 0;
    while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
        match opened.read_at(room, offset + filled as u64) {
            Ok(0) => return None,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cards_that_were_not_asked_for_go_first_and_the_number_stays_bounded() {
        let id = |number: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            ManifestId(bytes)
        };
        let cards = Cards::default();
        for number in 0..CARDS_MAX {
            cards.put(id(number), Card::default());
        }
        assert!(
            cards.get(&id(0)).is_some(),
            "exactly as many as there may be"
        );
        cards.put(id(CARDS_MAX), Card::default());
        let kept = |number: usize| cards.get(&id(number)).is_some();
        assert!(kept(0) && kept(CARDS_MAX) && !kept(1));
        let count = cards.0.lock().unwrap().cards.len();
        assert!((CARDS_MAX * 7 / 8..=CARDS_MAX).contains(&count), "{count}");
    }
}
