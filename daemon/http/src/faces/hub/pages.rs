//! Pages of the hub that go on elsewhere: trees, histories, lists.
//!
//! Invariant: no page holds more than its limit, and each that is not the last names the whole URL
//! of the next. Not promised: that pages fit together when the store changes between them.

use serde_json::Value;
use towline_store::RepoKind;

use super::fault::HubFault;
use super::list::{Listed, Wanted};
use super::{Answer, Found, TREE_ENTRIES_MAX, shapes};
use crate::keyring::Seen;
use crate::models::Models;
use crate::path::encode;
use crate::query::Query;

/// Most commits of a history in one answer.
const COMMITS_MAX: usize = 1000;

/// A page of a list of repositories.
pub(super) fn list(
    base: &[u8],
    (kind, query): (RepoKind, &[u8]),
    (catalog, models): (&Seen, &Models),
    is_read: bool,
) -> Result<Answer, HubFault> {
    let wanted = Wanted::parse(kind, &Query(query))?;
    match wanted.page(catalog, models.cards(), is_read)? {
        Listed::Read(revisions) => Ok(Answer::Read(revisions)),
        Listed::Page(page, None) => Ok(Answer::Page(page.into())),
        Listed::Page(page, Some(next)) => {
            let mut url = base.to_vec();
            url.extend_from_slice(format!("/api/{}?", kind.plural()).as_bytes());
            url.extend(Wanted::query_from(query, next));
            let url = String::from_utf8(url).map_err(|_| HubFault::NoRoute)?;
            Ok(Answer::Continued(page.into(), url))
        }
    }
}

/// A page of the history of a revision.
pub(super) fn commits(base: &[u8], query: &Query<'_>, (repo, revision): Found<'_>) -> Answer {
    let limit = query
        .number("limit")
        .unwrap_or(COMMITS_MAX)
        .clamp(1, COMMITS_MAX);
    let page = query.number("p").unwrap_or(0);
    let from = page.saturating_mul(limit);
    let (list, count) = shapes::commits(repo, revision, (from, limit));
    let next = from.saturating_add(limit) < count;
    let next = next.then(|| {
        let (kind, name) = (revision.repo.kind().plural(), revision.repo.bare());
        let base = String::from_utf8_lossy(base);
        let rev = revision.rev;
        format!(
            "{base}/api/{kind}/{name}/commits/{rev}?limit={limit}&p={}",
            page + 1
        )
    });
    Answer::Counted(list, next, count)
}

/// A page of a tree.
pub(super) fn tree(
    base: &[u8],
    query: &Query<'_>,
    (_, revision): Found<'_>,
    path: &str,
) -> Result<Answer, HubFault> {
    let listing = shapes::Listing {
        recursive: query.is_set("recursive"),
        expand: query.is_set("expand"),
        from: query.number("cursor").unwrap_or(0),
        limit: query
            .number("limit")
            .unwrap_or(TREE_ENTRIES_MAX)
            .clamp(1, TREE_ENTRIES_MAX),
    };
    let (entries, continues) =
        shapes::tree(revision, path, &listing).ok_or(HubFault::NoEntry(revision.rev))?;
    let page = Value::Array(entries);
    if !continues {
        return Ok(Answer::Page(page));
    }
    let mut url = base.to_vec();
    let (kind, name) = (revision.repo.kind().plural(), revision.repo.bare());
    let place = format!("/api/{kind}/{name}/tree/{}", revision.rev);
    url.extend_from_slice(place.as_bytes());
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        url.push(b'/');
        encode(segment.as_bytes(), &mut url);
    }
    let (next, limit) = (listing.from + listing.limit, listing.limit);
    let (recursive, expand) = (listing.recursive, listing.expand);
    let rest = format!("?recursive={recursive}&expand={expand}&limit={limit}&cursor={next}");
    url.extend_from_slice(rest.as_bytes());
    let url = String::from_utf8(url).map_err(|_| HubFault::NoRoute)?;
    Ok(Answer::Continued(page, url))
}
