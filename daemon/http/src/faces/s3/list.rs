//! ListObjectsV2 and ListObjects: the keys of the models in the order of their bytes.
//!
//! Governed by the API reference of S3. A listing shows tags, not revisions, so that what copies a
//! bucket copies nothing twice; a revision shows where the prefix names it. Invariant: pages are
//! sorted by key bytes without gap or repetition as long as the catalog does not change, and a
//! page costs what lies between its first and last key, not what the bucket holds below a prefix
//! that is grouped.

use std::fmt::Write;
use std::sync::Arc;

use towline_store::{CatalogFile, CatalogRepo, CatalogRevision, RevisionId};

use super::NAMESPACE;
use super::fault::DECLARATION;
use crate::date;
use crate::keyring::Seen;
use crate::path::encode;
use crate::query::Query;

/// Most entries of a page: the limit of S3.
const KEYS_MAX: usize = 1000;

/// Longest prefix, delimiter or key in a question, in bytes: the limit of S3 for keys.
const KEY_BYTES_MAX: usize = 1024;

/// What is asked.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Question {
    is_second: bool,
    prefix: String,
    delimiter: String,
    max_keys: usize,
    after: Option<Place>,
    token: Option<String>,
    start_after: String,
    encodes: bool,
}

/// Where a listing goes on.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Place {
    /// Behind this key.
    Key(String),
    /// Behind every key that begins with this.
    Group(String),
}

impl Place {
    /// Whether every key that begins with `start` lies before this place.
    fn is_behind_all(&self, start: &str) -> bool {
        match self {
            Self::Key(key) => start < key.as_str() && !key.starts_with(start),
            Self::Group(group) => {
                start.starts_with(group.as_str())
                    || (start < group.as_str() && !group.starts_with(start))
            }
        }
    }

    fn is_behind(&self, key: &str) -> bool {
        match self {
            Self::Key(last) => key <= last.as_str(),
            Self::Group(group) => key.starts_with(group.as_str()) || key < group.as_str(),
        }
    }

    /// As an opaque token: letters and digits only.
    fn token(&self) -> String {
        let (kind, text) = match self {
            Self::Key(key) => ('k', key),
            Self::Group(group) => ('g', group),
        };
        let digits = text.bytes().map(|byte| format!("{byte:02x}"));
        std::iter::once(kind.to_string()).chain(digits).collect()
    }

    fn parse(token: &str) -> Option<Self> {
        let (kind, digits) = token.split_at_checked(1)?;
        let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
        let digit = |byte: u8| (byte as char).to_digit(16);
        let bytes = pairs
            .iter()
            .map(|[high, low]| Some((digit(*high)? * 16 + digit(*low)?) as u8));
        let text = String::from_utf8(bytes.collect::<Option<Vec<u8>>>()?).ok()?;
        match (kind, rest) {
            ("k", []) => Some(Self::Key(text)),
            ("g", []) => Some(Self::Group(text)),
            _ => None,
        }
    }
}

impl Question {
    /// Reads the query of a bucket.
    ///
    /// # Errors
    /// What is wrong, in constant words.
    pub fn parse(query: &[u8]) -> Result<Self, &'static str> {
        let query = Query(query);
        let text = |name: &'static str| match query.all(name).next() {
            None => Ok(None),
            Some(Some(text)) if text.len() <= KEY_BYTES_MAX => Ok(Some(text)),
            Some(_) => Err("a parameter is longer than 1024 bytes, or no UTF-8"),
        };
        let is_second = text("list-type")?.is_some_and(|kind| kind == "2");
        let encodes = match text("encoding-type")?.as_deref() {
            None => false,
            Some("url") => true,
            Some(_) => return Err("the only encoding-type is 'url'"),
        };
        let start_after = text(if is_second { "start-after" } else { "marker" })?;
        let token = query.text("continuation-token").filter(|_| is_second);
        let after = match (&token, &start_after) {
            (Some(token), _) => {
                Some(Place::parse(token).ok_or("the continuation-token is none of this node's")?)
            }
            (None, Some(key)) if !key.is_empty() => Some(Place::Key(key.clone())),
            (None, _) => None,
        };
        let max_keys = match text("max-keys")? {
            None => KEYS_MAX,
            Some(number) => number.parse().map_err(|_| "max-keys must be a number")?,
        };
        let this = Self {
            is_second,
            prefix: text("prefix")?.unwrap_or_default(),
            delimiter: text("delimiter")?.unwrap_or_default(),
            max_keys: max_keys.min(KEYS_MAX),
            after,
            token,
            start_after: start_after.unwrap_or_default(),
            encodes,
        };
        let shown = [&this.prefix, &this.delimiter, &this.start_after];
        if !encodes && shown.iter().any(|text| text.contains(char::is_control)) {
            return Err("control characters need encoding-type=url");
        }
        Ok(this)
    }

    /// The page that answers it.
    #[must_use]
    pub fn answer(&self, bucket: &str, catalog: &Seen) -> String {
        let mut page = Page::new(self);
        page.fill(catalog);
        self.write(bucket, &page)
    }

    fn write(&self, bucket: &str, page: &Page<'_>) -> String {
        let mut text = String::with_capacity(512 + 300 * page.count);
        let _ = write!(
            text,
            "{DECLARATION}<ListBucketResult xmlns=\"{NAMESPACE}\">"
        );
        let mut element = |name: &str, value: &str| {
            let _ = write!(text, "<{name}>{value}</{name}>");
        };
        element("Name", &escape(bucket));
        element("Prefix", &self.shown(&self.prefix));
        if !self.delimiter.is_empty() {
            element("Delimiter", &self.shown(&self.delimiter));
        }
        element("MaxKeys", &self.max_keys.to_string());
        if self.encodes {
            element("EncodingType", "url");
        }
        element(
            "IsTruncated",
            if page.next.is_some() { "true" } else { "false" },
        );
        if self.is_second {
            element("KeyCount", &page.count.to_string());
            if let Some(token) = &self.token {
                element("ContinuationToken", &escape(token));
            }
            if !self.start_after.is_empty() {
                element("StartAfter", &self.shown(&self.start_after));
            }
            if let Some(next) = &page.next {
                element("NextContinuationToken", &next.token());
            }
        } else {
            element("Marker", &self.shown(&self.start_after));
            if let Some(Place::Key(last) | Place::Group(last)) = &page.next {
                element("NextMarker", &self.shown(last));
            }
        }
        text.push_str(&page.text);
        text.push_str("</ListBucketResult>");
        text
    }

    /// A key as this client wants it.
    fn shown(&self, key: &str) -> String {
        if !self.encodes {
            return escape(key);
        }
        let mut out = Vec::new();
        for (place, segment) in key.split('/').enumerate() {
            if place > 0 {
                out.push(b'/');
            }
            encode(segment.as_bytes(), &mut out);
        }
        String::from_utf8_lossy(&out).into_owned()
    }
}

/// A page under way.
struct Page<'q> {
    question: &'q Question,
    /// Entries so far.
    count: usize,
    /// Where the last entry ended; nothing before it is looked at again.
    at: Option<Place>,
    /// Set when there is more.
    next: Option<Place>,
    text: String,
}

impl<'q> Page<'q> {
    fn new(question: &'q Question) -> Self {
        // A marker of the first version may name a group, as its own NextMarker does.
        let marker = |place: &Place| match place {
            Place::Key(key)
                if !question.is_second
                    && !question.delimiter.is_empty()
                    && key.ends_with(&question.delimiter) =>
            {
                Place::Group(key.clone())
            }
            other => other.clone(),
        };
        Self {
            question,
            count: 0,
            at: question.after.as_ref().map(marker),
            next: None,
            text: String::new(),
        }
    }

    /// Whether keys that begin with `start` may belong on this page.
    fn wants(&self, start: &str) -> bool {
        let prefix = self.question.prefix.as_str();
        (start.starts_with(prefix) || prefix.starts_with(start))
            && !self.at.as_ref().is_some_and(|at| at.is_behind_all(start))
    }

    fn fill(&mut self, catalog: &Seen) {
        let repos = catalog.repos();
        let mut repos: Vec<(String, &CatalogRepo)> = repos
            .map(|(name, repo)| (format!("{name}/"), repo))
            .filter(|(start, _)| self.wants(start))
            .collect();
        // Not the order of names: '-' sorts before '/'.
        repos.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (start, repo) in repos {
            for (start, revision) in revisions(&start, repo, &self.question.prefix) {
                if self.wants(&start) && !self.take(&start, &revision) {
                    return;
                }
            }
        }
    }

    /// Takes the files of a revision; false when the page is full.
    fn take(&mut self, start: &str, revision: &CatalogRevision) -> bool {
        let date = date::format_rfc3339(i64::try_from(revision.created).unwrap_or(i64::MAX));
        for file in &revision.files {
            let key = format!("{start}{}", file.path);
            if !key.starts_with(&self.question.prefix)
                || self.at.as_ref().is_some_and(|at| at.is_behind(&key))
            {
                continue;
            }
            if self.count == self.question.max_keys {
                // With no room at all there is nothing to go on from.
                self.next = self.at.clone().filter(|_| self.count > 0);
                return false;
            }
            self.count += 1;
            self.enter(key, file, &date);
        }
        true
    }

    fn enter(&mut self, key: String, file: &CatalogFile, date: &str) {
        let (question, text) = (self.question, &mut self.text);
        let behind = key.get(question.prefix.len()..).unwrap_or("");
        let group = match question.delimiter.as_str() {
            "" => None,
            delimiter => behind.find(delimiter).map(|cut| cut + delimiter.len()),
        };
        let group = group.and_then(|cut| key.get(..question.prefix.len() + cut));
        if let Some(group) = group {
            let shown = question.shown(group);
            let _ = write!(
                text,
                "<CommonPrefixes><Prefix>{shown}</Prefix></CommonPrefixes>"
            );
            self.at = Some(Place::Group(group.to_owned()));
            return;
        }
        let _ = write!(
            text,
            "<Contents><Key>{}</Key><LastModified>{}</LastModified><ETag>&quot;{}&quot;</ETag>\
             <Size>{}</Size><StorageClass>STANDARD</StorageClass></Contents>",
            question.shown(&key),
            date.replace('Z', ".000Z"),
            super::tag(file),
            file.size,
        );
        self.at = Some(Place::Key(key));
    }
}

/// The revisions of a repository with what their keys begin with, sorted: those that tags name,
/// and the one that the prefix names by its id.
fn revisions(start: &str, repo: &CatalogRepo, prefix: &str) -> Vec<(String, Arc<CatalogRevision>)> {
    let tags = repo.tags.iter().map(|(tag, at)| (tag.directory(), at.rev));
    let id = prefix
        .strip_prefix(start)
        .and_then(|rest| rest.split('/').next());
    let named = id.and_then(|id| id.parse::<RevisionId>().ok());
    let named = named.map(|rev| (rev.to_string(), rev));
    let mut list: Vec<(String, Arc<CatalogRevision>)> = tags
        .chain(named)
        .filter_map(|(name, rev)| {
            let revision = repo.revisions.get(&rev)?;
            Some((format!("{start}{name}/"), Arc::clone(revision)))
        })
        .collect();
    list.sort_by(|(one, _), (other, _)| one.cmp(other));
    list
}

/// The list of the one bucket.
pub(super) fn buckets(name: &str) -> String {
    format!(
        "{DECLARATION}<ListAllMyBucketsResult xmlns=\"{NAMESPACE}\"><Owner><ID>towline</ID></Owner>\
         <Buckets><Bucket><Name>{}</Name><CreationDate>1970-01-01T00:00:00.000Z</CreationDate>\
         </Bucket></Buckets></ListAllMyBucketsResult>",
        escape(name)
    )
}

/// Text as content of an element.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_brings_its_place_back() {
        for place in [
            Place::Key("a/b ü".to_owned()),
            Place::Group("a/".to_owned()),
        ] {
            assert_eq!(Place::parse(&place.token()), Some(place));
        }
        for broken in ["", "k6", "x61", "kzz", "kff"] {
            assert_eq!(Place::parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn what_lies_before_a_place_is_left_out_and_nothing_else() {
        let key = Place::Key("a/b/main/x".to_owned());
        assert!(
            key.is_behind_all("a/a/") && !key.is_behind_all("a/b/") && !key.is_behind_all("b/")
        );
        assert!(key.is_behind("a/b/main/x") && !key.is_behind("a/b/main/x1"));
        let group = Place::Group("a/".to_owned());
        assert!(group.is_behind_all("a/b/") && !group.is_behind_all("b/"));
        assert!(group.is_behind("a/z") && group.is_behind("Z") && !group.is_behind("a0"));
    }

    #[test]
    fn a_question_that_makes_no_sense_is_refused() {
        assert!(Question::parse(b"list-type=2&prefix=a%2Fb&max-keys=5").is_ok());
        for query in [
            &b"list-type=2&continuation-token=zz"[..],
            b"max-keys=-1",
            b"encoding-type=xml",
            b"prefix=%zz",
            b"prefix=%0a",
        ] {
            assert!(Question::parse(query).is_err(), "{query:?}");
        }
        assert!(Question::parse(b"prefix=%0a&encoding-type=url").is_ok());
    }
}
