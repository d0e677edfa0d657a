//! A web server: one file, or a folder with a listing, and the requests that others share.
//!
//! A folder's URL ends in a slash. Its listing is another towline's JSON, or the links of a page
//! as nginx, Apache and Python write it. Governed by RFC 9110. Invariant: only links that lead
//! below the folder are followed, at most [`DEPTH_MAX`] deep and [`FILES_MAX`] in all; a file
//! whose entity tag changes under the pull ends it.

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;
use std::time::Duration;

use serde::de::DeserializeOwned;
use towline_store::{ArrivalFile, RepoPath};
use ureq::unversioned::resolver::DefaultResolver;

use super::window;
use crate::error::TransferError;
use crate::source::{Listing, Source};

/// Longest time to a connection, in seconds: what a host across the world with a lost packet takes.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Time to an answer's head, and between two pieces of its body.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// How deep folders are followed.
const DEPTH_MAX: usize = 16;

/// Most files of a listing.
const FILES_MAX: usize = 100_000;

/// Longest page of a listing, in bytes.
const PAGE_BYTES_MAX: u64 = 16 << 20;

/// Makes requests, with a token for the first origin only.
pub(super) struct Agent {
    agent: ureq::Agent,
    token: Option<String>,
}

impl Agent {
    pub(super) fn new(token: Option<&str>) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_connect(Some(CONNECT_MAX))
            .timeout_recv_response(Some(SILENCE_MAX))
            .http_status_as_error(false)
            .max_redirects(5)
            .user_agent(concat!("towline/", env!("CARGO_PKG_VERSION")))
            .build();
        Self {
            agent: ureq::Agent::with_parts(config, window::connector(), DefaultResolver::default()),
            token: token.map(str::to_owned),
        }
    }

    fn get(
        &self,
        url: &str,
        fields: &[(&str, &str)],
    ) -> Result<ureq::http::Response<ureq::Body>, TransferError> {
        let mut request = self.agent.get(url).header("Accept-Encoding", "identity");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let answer = request.call().map_err(|error| network(url, &error))?;
        judge(url, answer)
    }

    /// JSON, and where it goes on (RFC 8288, `rel="next"`).
    pub(super) fn json<T: DeserializeOwned>(
        &self,
        url: &str,
        bytes_max: u64,
    ) -> Result<(T, Option<String>), TransferError> {
        let mut answer = self.get(url, &[("Accept", "application/json")])?;
        let link = answer
            .headers()
            .get("link")
            .and_then(|link| link.to_str().ok());
        let next = link.and_then(next_link);
        let body = answer
            .body_mut()
            .with_config()
            .limit(bytes_max)
            .read_to_vec()
            .map_err(|error| network(url, &error))?;
        let read = serde_json::from_slice(&body).map_err(|error| {
            TransferError::Refused(format!("{url}: not the JSON of a hub: {error}"))
        })?;
        Ok((read, next))
    }
}

/// The target of the link to the next page.
fn next_link(field: &str) -> Option<String> {
    field.split(',').find_map(|link| {
        let (target, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
        rest.contains("rel=\"next\"").then(|| target.to_owned())
    })
}

fn network(url: &str, error: &ureq::Error) -> TransferError {
    TransferError::Network(format!("{url}: {error}"))
}

fn judge(
    url: &str,
    answer: ureq::http::Response<ureq::Body>,
) -> Result<ureq::http::Response<ureq::Body>, TransferError> {
    let code = answer.status().as_u16();
    match code {
        200..300 => Ok(answer),
        401 | 403 => Err(TransferError::Refused(format!(
            "{url} answers {code}: it needs a token with the right to read, given with --token or \
             HF_TOKEN"
        ))),
        404 => Err(TransferError::Refused(format!(
            "{url} answers 404: there is nothing of that name"
        ))),
        412 => Err(TransferError::Refused(format!(
            "{url} has changed while it was pulled; pull again"
        ))),
        408 | 429 | 500..600 => Err(TransferError::Network(format!("{url} answers {code}"))),
        _ => Err(TransferError::Refused(format!("{url} answers {code}"))),
    }
}

/// The bytes of a range; `etag` must still be that of the file.
pub(super) fn ask_range(
    agent: &Agent,
    url: &str,
    range: &Range<u64>,
    etag: Option<&str>,
) -> Result<Box<dyn Read + Send>, TransferError> {
    let wanted = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
    let mut fields = vec![("Range", wanted.as_str())];
    if let Some(etag) = etag {
        fields.push(("If-Match", etag));
    }
    let answer = agent.get(url, &fields)?;
    let is_part = answer.status().as_u16() == 206;
    if let Some(etag) = etag
        && let Some(now) = answer.headers().get("etag")
        && now.as_bytes() != etag.as_bytes()
    {
        let why = format!("{url} has changed while it was pulled; pull again");
        return Err(TransferError::Refused(why));
    }
    let mut reader = answer.into_body().into_reader();
    if !is_part && range.start > 0 {
        // A server without ranges starts anew; what is here already is read past.
        let skipped = std::io::copy(&mut (&mut reader).take(range.start), &mut std::io::sink());
        skipped.map_err(|error| TransferError::Network(format!("{url}: {error}")))?;
    }
    Ok(Box::new(reader))
}

/// Percent-encodes every segment of a path.
pub(super) fn encode_path(path: &str) -> String {
    let mut encoded = Vec::new();
    for (number, segment) in path.split('/').enumerate() {
        if number > 0 {
            encoded.push(b'/');
        }
        towline_http::path::encode(segment.as_bytes(), &mut encoded);
    }
    String::from_utf8_lossy(&encoded).into_owned()
}

/// A file or a folder of a web server.
pub(super) struct Web {
    base: String,
    agent: Agent,
    /// Once the listing is known: URL and entity tag of each file.
    files: BTreeMap<RepoPath, (String, Option<String>)>,
}

impl Web {
    pub(super) fn new(url: &str, token: Option<&str>) -> Result<Self, TransferError> {
        if url.contains(['?', '#']) {
            let why = format!("{url}: a URL without '?' and '#' is needed");
            return Err(TransferError::Usage(why));
        }
        Ok(Self {
            base: url.to_owned(),
            agent: Agent::new(token),
            files: BTreeMap::new(),
        })
    }

    /// Length and entity tag of a file.
    fn look(&self, url: &str) -> Result<(u64, Option<String>), TransferError> {
        let mut request = self
            .agent
            .agent
            .head(url)
            .header("Accept-Encoding", "identity");
        if let Some(token) = &self.agent.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let answer = request.call().map_err(|error| network(url, &error))?;
        let answer = judge(url, answer)?;
        let field = |name: &str| {
            let value = answer.headers().get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        let length = field("content-length").and_then(|length| length.parse().ok());
        let strong = field("etag").filter(|etag| !etag.starts_with("W/"));
        let length = length.ok_or_else(|| {
            TransferError::Refused(format!("{url}: the server does not tell the length"))
        })?;
        Ok((length, strong))
    }

    fn walk(
        &self,
        folder: &str,
        depth: usize,
        found: &mut Vec<String>,
    ) -> Result<(), TransferError> {
        if depth > DEPTH_MAX {
            let why = format!("{folder}: folders are nested deeper than {DEPTH_MAX}");
            return Err(TransferError::Refused(why));
        }
        let mut answer = self.agent.get(folder, &[("Accept", "text/html")])?;
        let page = answer
            .body_mut()
            .with_config()
            .limit(PAGE_BYTES_MAX)
            .read_to_vec()
            .map_err(|error| network(folder, &error))?;
        for link in links(&String::from_utf8_lossy(&page)) {
            let Some(child) = child(&link, folder) else {
                continue;
            };
            if child.ends_with('/') {
                self.walk(&format!("{folder}{child}"), depth + 1, found)?;
            } else {
                found.push(format!("{folder}{child}"));
            }
            if found.len() > FILES_MAX {
                let why = format!("{}: more than {FILES_MAX} files", self.base);
                return Err(TransferError::Refused(why));
            }
        }
        Ok(())
    }
}

impl Source for Web {
    fn list(&mut self) -> Result<Listing, TransferError> {
        let mut urls = Vec::new();
        let folder = match self.base.rsplit_once('/') {
            Some((folder, "")) => {
                let folder = format!("{folder}/");
                self.walk(&folder, 0, &mut urls)?;
                folder
            }
            Some((folder, _)) => {
                urls.push(self.base.clone());
                format!("{folder}/")
            }
            None => String::new(),
        };
        urls.sort();
        urls.dedup();
        let mut files = Vec::new();
        for url in urls {
            let below = url.strip_prefix(&folder).unwrap_or("");
            let decoded = towline_http::path::decode(below.as_bytes()).ok();
            let path = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
            let path: RepoPath = path
                .unwrap_or_default()
                .parse()
                .map_err(|fault| TransferError::Refused(format!("{url}: {fault}")))?;
            let (size, etag) = self.look(&url)?;
            files.push(ArrivalFile {
                path: path.clone(),
                size,
                sha256: None,
                git_oid: None,
            });
            self.files.insert(path, (url, etag));
        }
        Ok(Listing {
            rev: None,
            created: None,
            origin: folder,
            files,
        })
    }

    fn open(
        &self,
        path: &RepoPath,
        range: &Range<u64>,
    ) -> Result<Box<dyn Read + Send>, TransferError> {
        if let Some((url, etag)) = self.files.get(path) {
            return ask_range(&self.agent, url, range, etag.as_deref());
        }
        let url = format!("{}{}", self.base, encode_path(path.as_str()));
        ask_range(&self.agent, &url, range, None)
    }
}

/// The targets of the links of a page, as they are written.
fn links(page: &str) -> Vec<String> {
    let lower = page.to_ascii_lowercase();
    let mut found = Vec::new();
    for (at, _) in lower.match_indices("href=") {
        let rest = page.get(at + 5..).unwrap_or("");
        let quote = rest
            .chars()
            .next()
            .filter(|first| matches!(first, '"' | '\''));
        if let Some(quote) = quote
            && let Some((target, _)) = rest.get(1..).unwrap_or("").split_once(quote)
        {
            found.push(target.replace("&amp;", "&"));
        }
    }
    found
}

/// One name below the folder that a link leads to; `None` if it leads elsewhere.
fn child(link: &str, folder: &str) -> Option<String> {
    let host_end = folder.find("://").map(|at| at + 3)?;
    let path_start = folder.get(host_end..)?.find('/')? + host_end;
    let (origin, path) = folder.split_at_checked(path_start)?;
    let link = link.strip_prefix(origin).unwrap_or(link);
    let link = link.strip_prefix("./").unwrap_or(link);
    let below = match link.starts_with('/') {
        true => link.strip_prefix(path)?,
        false => link,
    };
    let name = below.strip_suffix('/').unwrap_or(below);
    let is_name = !name.is_empty()
        && !name.contains(['/', '?', '#', ':', '\\'])
        && !matches!(name, "." | "..")
        && !name.to_ascii_lowercase().contains("%2f");
    is_name.then(|| below.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_below_the_folder_are_followed_and_no_others() {
        let page = r#"<a href="../">..</a> <A HREF='a%20b.txt'>x</A> <a href="sub/">s</a>
            <a href="?C=N;O=D">N</a> <a href="/m/x/abs.bin">y</a> <a href="/etc/passwd">z</a>
            <a href="http://h:1/m/x/own.bin">o</a> <a href="http://evil/m/x/e">e</a>
            <a href="%2e%2e%2fup">u</a> <a href="a/b">deep</a>"#;
        let children: Vec<String> = links(page)
            .iter()
            .filter_map(|link| child(link, "http://h:1/m/x/"))
            .collect();
        assert_eq!(children, ["a%20b.txt", "sub/", "abs.bin", "own.bin"]);
    }

    #[test]
    fn the_next_page_is_found_in_a_link_field() {
        let field = "<http://h/a?cursor=1>; rel=\"next\", <http://h/b>; rel=\"prev\"";
        assert_eq!(next_link(field).as_deref(), Some("http://h/a?cursor=1"));
        assert_eq!(next_link("<http://h/b>; rel=\"prev\""), None);
    }
}
