//! Lists of repositories: which are asked for, in which order, a page at a time.
//!
//! Governed by the parameters of `list_models`, `list_datasets` and `list_spaces` of
//! huggingface_hub 0.36 to 2.4. Invariant: a filter that is not understood is refused, so a list
//! never holds what was asked to be left out; a page is bounded by repositories and by the files
//! that it names. Not promised: numbers of downloads or likes; nobody counts them here, so they
//! order nothing.

use std::sync::Arc;

use serde_json::{Map, Value};
use towline_store::{CatalogRepo, CatalogRevision, RepoKind, RepoName};

use super::fault::HubFault;
use super::shapes;
use crate::keyring::Seen;
use crate::models::card::Card;
use crate::models::cards::{CARDS_MAX, Cards};
use crate::query::Query;

/// Most repositories in one page.
pub(super) const LIST_MAX: usize = 1000;

/// Most files that one page names, where files are asked for.
const FILES_MAX: usize = 10_000;

/// Filters for what no node has or knows.
const UNKNOWN: [(&str, HubFault); 3] = [
    (
        "inference_provider",
        HubFault::BadFilter("no provider runs models of this node: leave inference_provider out"),
    ),
    (
        "apps",
        HubFault::BadFilter("this node cannot list by apps: leave it out, or filter by gguf"),
    ),
    (
        "emissions_thresholds",
        HubFault::BadFilter("this node cannot list by emissions"),
    ),
];

/// What orders a list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Order {
    Name,
    Modified,
    Created,
}

/// What is asked for.
#[derive(Debug)]
pub(super) struct Wanted {
    kind: RepoKind,
    search: Vec<String>,
    author: Option<String>,
    /// Tags that a repository must have, all of them.
    filters: Vec<String>,
    pipeline: Option<String>,
    /// Fewest and most numbers in its weights.
    numbers: Option<(u64, u64)>,
    /// Only what no repository here is.
    is_void: bool,
    order: Order,
    ascends: bool,
    from: usize,
    limit: usize,
    /// With its files, card and configuration.
    full: bool,
    card: bool,
    config: bool,
}

/// A repository with the revision that it shows first.
type Found<'c> = (&'c CatalogRepo, &'c Arc<CatalogRevision>);

/// A page.
#[derive(Debug)]
pub(super) enum Listed {
    /// The repositories, and where the next page begins.
    Page(Vec<Value>, Option<usize>),
    /// The cards of these must be read first.
    Read(Vec<Arc<CatalogRevision>>),
}

impl Wanted {
    /// Reads a query.
    pub(super) fn parse(kind: RepoKind, query: &Query<'_>) -> Result<Self, HubFault> {
        for (name, fault) in UNKNOWN {
            if query.is_named(name) {
                return Err(fault);
            }
        }
        let texts = |name: &'static str| query.all(name).flatten();
        let filters = ["filter", "library", "tags", "language"]
            .into_iter()
            .flat_map(texts);
        let filters = filters.flat_map(|text| {
            let parts = text.split(',').map(str::to_owned);
            parts.collect::<Vec<_>>()
        });
        let trained = texts("trained_dataset").map(|name| format!("dataset:{name}"));
        let order = match query.text("sort").as_deref() {
            Some("lastModified" | "last_modified") => Order::Modified,
            Some("createdAt" | "created_at") => Order::Created,
            None | Some("downloads" | "likes" | "trendingScore" | "trending_score") => Order::Name,
            Some(_) => {
                let why = "sort is one of lastModified, createdAt, downloads, likes, trendingScore";
                return Err(HubFault::BadFilter(why));
            }
        };
        let numbers = query.text("num_parameters").map(|text| numbers(&text));
        let limit = query.number("limit").unwrap_or(LIST_MAX);
        Ok(Self {
            kind,
            search: texts("search")
                .map(|text| text.to_ascii_lowercase())
                .collect(),
            author: query.text("author"),
            filters: filters
                .chain(trained)
                .filter(|text| !text.is_empty())
                .collect(),
            pipeline: query.text("pipeline_tag"),
            numbers: numbers.transpose()?,
            is_void: query.is_named("inference") || query.is_set("gated"),
            order,
            ascends: query.text("direction").as_deref() == Some("1"),
            from: query.number("cursor").unwrap_or(0),
            limit: limit.clamp(1, LIST_MAX),
            full: query.is_set("full"),
            card: query.is_set("cardData") || query.is_set("full"),
            config: query.is_set("config"),
        })
    }

    /// The page that answers it. `is_read`: cards that are not here cannot be had.
    pub(super) fn page(
        &self,
        catalog: &Seen,
        cards: &Cards,
        is_read: bool,
    ) -> Result<Listed, HubFault> {
        let repos = catalog.repos().filter(|(name, _)| self.is_named(name));
        let found = repos.filter_map(|(_, repo)| Some((repo, shapes::default_revision(repo)?)));
        let mut found: Vec<Found<'_>> = found.filter(|_| !self.is_void).collect();
        if self.asks_cards() {
            if found.len() > CARDS_MAX {
                let why = "more than 4096 repositories would have to be looked into: narrow the \
                           list by author or search";
                return Err(HubFault::BadFilter(why));
            }
            if let Some(unread) = unread(&found, cards).filter(|_| !is_read) {
                return Ok(Listed::Read(unread));
            }
            found.retain(|(_, revision)| {
                let card = cards.get(&revision.manifest).unwrap_or_default();
                self.is_described(&card)
            });
        }
        self.sort(&mut found);
        let all = found.len();
        let found: Vec<Found<'_>> = found.into_iter().skip(self.from).take(self.limit).collect();
        if let Some(unread) = unread(&found, cards).filter(|_| !is_read) {
            return Ok(Listed::Read(unread));
        }
        let (mut page, mut files) = (Vec::new(), 0);
        for (repo, revision) in found {
            files += if self.full { revision.files.len() } else { 0 };
            if files > FILES_MAX && !page.is_empty() {
                break;
            }
            let card = cards.get(&revision.manifest).unwrap_or_default();
            page.push(self.object(catalog, (repo, revision), &card));
        }
        let next = self.from + page.len();
        Ok(Listed::Page(page, (next < all).then_some(next)))
    }

    fn object(&self, catalog: &Seen, (repo, revision): Found<'_>, card: &Card) -> Value {
        let mut object: Map<String, Value> =
            shapes::summary((repo, revision), card, catalog.sight());
        if self.full {
            object.insert("siblings".into(), shapes::siblings(revision, false));
        }
        for (key, wanted) in [("cardData", self.card), ("config", self.config)] {
            if !wanted {
                object.remove(key);
            }
        }
        object.remove("safetensors");
        Value::Object(object)
    }

    fn is_named(&self, name: &RepoName) -> bool {
        let lower = name.bare().to_ascii_lowercase();
        let author = self.author.as_deref();
        name.kind() == self.kind
            && self.search.iter().all(|text| lower.contains(text))
            && author.is_none_or(|author| name.organisation().eq_ignore_ascii_case(author))
    }

    fn asks_cards(&self) -> bool {
        !self.filters.is_empty() || self.pipeline.is_some() || self.numbers.is_some()
    }

    fn is_described(&self, card: &Card) -> bool {
        let has = |wanted: &String| card.tags.contains(wanted);
        let task = self.pipeline.as_ref();
        self.filters.iter().all(has)
            && task.is_none_or(|task| card.pipeline_tag.as_ref() == Some(task))
            && self
                .numbers
                .is_none_or(|(least, most)| (least..=most).contains(&card.total()))
    }

    /// Newest first, unless asked otherwise; names from the first letter on.
    fn sort(&self, found: &mut [Found<'_>]) {
        let created = |repo: &CatalogRepo| {
            let times = repo.revisions.values().map(|revision| revision.created);
            times.min().unwrap_or_default()
        };
        match self.order {
            Order::Name => return,
            Order::Modified => found.sort_by_key(|(_, revision)| revision.created),
            Order::Created => found.sort_by_key(|(repo, _)| created(repo)),
        }
        if !self.ascends {
            found.reverse();
        }
    }

    /// The query of the page that begins at `from`, from the query of this one.
    pub(super) fn query_from(query: &[u8], from: usize) -> Vec<u8> {
        let pairs = query.split(|byte| *byte == b'&');
        let pairs = pairs.filter(|pair| !pair.is_empty() && !pair.starts_with(b"cursor="));
        let mut next = Vec::new();
        for pair in pairs {
            next.extend_from_slice(pair);
            next.push(b'&');
        }
        next.extend_from_slice(format!("cursor={from}").as_bytes());
        next
    }
}

/// Revisions whose cards are not here; `None` if there are none.
fn unread(found: &[Found<'_>], cards: &Cards) -> Option<Vec<Arc<CatalogRevision>>> {
    let all = found.iter().map(|(_, revision)| *revision);
    let unread = all.filter(|revision| cards.get(&revision.manifest).is_none());
    let unread: Vec<_> = unread.map(Arc::clone).collect();
    (!unread.is_empty()).then_some(unread)
}

/// Reads `min:6B,max:128B`.
fn numbers(text: &str) -> Result<(u64, u64), HubFault> {
    let fault = HubFault::BadFilter("num_parameters is written like min:6B,max:128B");
    let number = |text: &str| -> Option<u64> {
        let (digits, factor) = match text.as_bytes().last()?.to_ascii_uppercase() {
            b'K' => (text.get(..text.len() - 1)?, 1e3),
            b'M' => (text.get(..text.len() - 1)?, 1e6),
            b'B' => (text.get(..text.len() - 1)?, 1e9),
            _ => (text, 1.0),
        };
        let number: f64 = digits.parse().ok()?;
        (number >= 0.0).then_some((number * factor) as u64)
    };
    let (mut least, mut most) = (0, u64::MAX);
    for part in text.split(',') {
        let bound = part.split_once(':');
        let bound = bound.and_then(|(word, text)| Some((word, number(text)?)));
        match bound {
            Some(("min", number)) => least = number,
            Some(("max", number)) => most = number,
            Some(_) | None => return Err(fault),
        }
    }
    Ok((least, most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_numbers_are_read() {
        assert_eq!(
            numbers("min:6B,max:1.5B"),
            Ok((6_000_000_000, 1_500_000_000))
        );
        assert_eq!(numbers("max:10K"), Ok((0, 10_000)));
        for wrong in ["6B", "min:", "min:x", "most:1"] {
            assert!(numbers(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_next_page_is_asked_as_this_one_was() {
        let next = Wanted::query_from(b"search=a%20b&cursor=3&limit=2", 5);
        assert_eq!(next, b"search=a%20b&limit=2&cursor=5");
        assert_eq!(Wanted::query_from(b"", 5), b"cursor=5");
    }

    #[test]
    fn what_cannot_be_filtered_is_refused() {
        for query in [
            "sort=best",
            "apps=vllm",
            "inference_provider=all",
            "num_parameters=9",
        ] {
            let wanted = Wanted::parse(RepoKind::Model, &Query(query.as_bytes()));
            assert!(wanted.is_err(), "{query}");
        }
        let query = Query(b"filter=a,b&filter=c&trained_dataset=d&limit=5000");
        let wanted = Wanted::parse(RepoKind::Model, &query).unwrap();
        assert_eq!(wanted.filters, ["a", "b", "c", "dataset:d"]);
        assert_eq!(wanted.limit, LIST_MAX);
    }
}
