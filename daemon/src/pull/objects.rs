//! An object store: the objects below a prefix of a bucket, through `object_store`.
//!
//! Credentials, region and endpoint come from the node's environment, as that crate reads them
//! (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, `GOOGLE_SERVICE_ACCOUNT`, `AZURE_STORAGE_KEY`, ...).
//! Invariant: an object whose entity tag changes under the pull ends it. Not promised: hashes;
//! object stores promise none of whole objects that any client could check.

use std::io::Read;
use std::ops::Range;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore};
use towline_store::{ArrivalFile, RepoPath};

use super::{Listing, PullError, Remote};

/// Most objects below a prefix.
const OBJECTS_MAX: usize = 100_000;

/// Bytes that one request of a range asks for at most: they are held in memory.
const PART_BYTES_MAX: u64 = 8 << 20;

/// A prefix of a bucket.
pub(super) struct Objects {
    url: String,
    prefix: Path,
    store: Box<dyn ObjectStore>,
    runtime: tokio::runtime::Runtime,
    objects: Vec<ObjectMeta>,
}

impl Objects {
    pub(super) fn new(url: &str) -> Result<Self, PullError> {
        let usage = |error: &dyn std::fmt::Display| PullError::Usage(format!("{url}: {error}"));
        let parsed = url::Url::parse(url).map_err(|error| usage(&error))?;
        let local = std::env::var("AWS_ENDPOINT_URL").is_ok_and(|url| url.starts_with("http://"));
        let plain = local.then(|| ("aws_allow_http".to_owned(), "true".to_owned()));
        let settings = std::env::vars()
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .chain(plain);
        let (store, prefix) =
            object_store::parse_url_opts(&parsed, settings).map_err(|error| usage(&error))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| PullError::Network(error.to_string()))?;
        Ok(Self {
            url: url.to_owned(),
            prefix,
            store,
            runtime,
            objects: Vec::new(),
        })
    }

    fn failed(&self, error: object_store::Error) -> PullError {
        let text = format!("{}: {error}", self.url);
        match error {
            object_store::Error::NotFound { .. }
            | object_store::Error::PermissionDenied { .. }
            | object_store::Error::Unauthenticated { .. }
            | object_store::Error::Precondition { .. } => PullError::Refused(text),
            _ => PullError::Network(text),
        }
    }
}

impl Remote for Objects {
    fn list(&mut self) -> Result<Listing, PullError> {
        let list = self.store.list(Some(&self.prefix)).try_collect();
        let mut objects: Vec<ObjectMeta> = self
            .runtime
            .block_on(list)
            .map_err(|error| self.failed(error))?;
        if objects.len() > OBJECTS_MAX {
            let why = format!("{}: more than {OBJECTS_MAX} objects", self.url);
            return Err(PullError::Refused(why));
        }
        objects.sort_by(|one, other| one.location.cmp(&other.location));
        let mut files = Vec::new();
        for object in &objects {
            let below: Vec<_> = match object.location.prefix_match(&self.prefix) {
                Some(parts) => parts.collect(),
                None => continue,
            };
            let path = match below.as_slice() {
                [] => object.location.filename().unwrap_or("").to_owned(),
                parts => {
                    let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
                    parts.join("/")
                }
            };
            let path: RepoPath = path
                .parse()
                .map_err(|fault| PullError::Refused(format!("{}: {fault}", self.url)))?;
            files.push(ArrivalFile {
                path,
                size: object.size,
                sha256: None,
                git_oid: None,
            });
        }
        self.objects = objects;
        Ok(Listing {
            rev: None,
            created: None,
            origin: self.url.clone(),
            files,
        })
    }

    fn open(&self, file: usize, range: &Range<u64>) -> Result<Box<dyn Read + Send>, PullError> {
        let Some(object) = self.objects.get(file) else {
            return Err(PullError::Usage("no such object".to_owned()));
        };
        let end = range.end.min(range.start + PART_BYTES_MAX);
        let options = GetOptions {
            range: Some(GetRange::Bounded(range.start..end)),
            if_match: object.e_tag.clone(),
            ..Default::default()
        };
        let read = async {
            let got = self.store.get_opts(&object.location, options).await?;
            got.bytes().await
        };
        let bytes: Bytes = self
            .runtime
            .block_on(read)
            .map_err(|error| self.failed(error))?;
        Ok(Box::new(std::io::Cursor::new(bytes)))
    }
}
