//! An object store: the objects below a prefix of a bucket, through `object_store`.
//!
//! Credentials, region and endpoint come from the node's environment, as that crate reads them
//! (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, `GOOGLE_SERVICE_ACCOUNT`, `AZURE_STORAGE_KEY`, ...).
//! Invariant: an object whose entity tag changes under the pull ends it. Not promised: hashes;
//! object stores promise none of whole objects that any client could check.

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore};
use towline_store::{ArrivalFile, RepoPath};

use crate::error::TransferError;
use crate::source::{Listing, Source};

/// Most objects below a prefix.
const OBJECTS_MAX: usize = 100_000;

/// A prefix of a bucket.
pub(super) struct Objects {
    url: String,
    prefix: Path,
    store: Box<dyn ObjectStore>,
    runtime: Arc<tokio::runtime::Runtime>,
    /// Once the listing is known: each object by its path below the prefix.
    objects: BTreeMap<RepoPath, ObjectMeta>,
}

impl Objects {
    pub(super) fn new(url: &str) -> Result<Self, TransferError> {
        let usage = |error: &dyn std::fmt::Display| TransferError::Usage(format!("{url}: {error}"));
        let parsed = url::Url::parse(url).map_err(|error| usage(&error))?;
        let local = std::env::var("AWS_ENDPOINT_URL").is_ok_and(|url| url.starts_with("http://"));
        let plain = local.then(|| ("aws_allow_http".to_owned(), "true".to_owned()));
        // Variables that are no text or say nothing are none of ours.
        let variables = std::env::vars_os().filter_map(|(name, value)| {
            let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
            (!value.is_empty()).then(|| (name.to_ascii_lowercase(), value))
        });
        let settings = variables.chain(plain);
        let (store, prefix) =
            object_store::parse_url_opts(&parsed, settings).map_err(|error| usage(&error))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| TransferError::Network(error.to_string()))?;
        Ok(Self {
            url: url.to_owned(),
            prefix,
            store,
            runtime: Arc::new(runtime),
            objects: BTreeMap::new(),
        })
    }

    fn failed(&self, error: object_store::Error) -> TransferError {
        let text = format!("{}: {error}", self.url);
        match error {
            object_store::Error::NotFound { .. }
            | object_store::Error::PermissionDenied { .. }
            | object_store::Error::Unauthenticated { .. }
            | object_store::Error::Precondition { .. } => TransferError::Refused(text),
            _ => TransferError::Network(text),
        }
    }
}

impl Source for Objects {
    fn list(&mut self) -> Result<Listing, TransferError> {
        let list = self.store.list(Some(&self.prefix)).try_collect();
        let mut objects: Vec<ObjectMeta> = self
            .runtime
            .block_on(list)
            .map_err(|error| self.failed(error))?;
        if objects.len() > OBJECTS_MAX {
            let why = format!("{}: more than {OBJECTS_MAX} objects", self.url);
            return Err(TransferError::Refused(why));
        }
        objects.sort_by(|one, other| one.location.cmp(&other.location));
        let mut files = Vec::new();
        self.objects.clear();
        for object in objects {
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
                .map_err(|fault| TransferError::Refused(format!("{}: {fault}", self.url)))?;
            files.push(ArrivalFile {
                path: path.clone(),
                size: object.size,
                sha256: None,
                git_oid: None,
            });
            self.objects.insert(path, object);
        }
        Ok(Listing {
            rev: None,
            created: None,
            origin: self.url.clone(),
            files,
        })
    }

    fn open(
        &self,
        path: &RepoPath,
        range: &Range<u64>,
    ) -> Result<Box<dyn Read + Send>, TransferError> {
        let Some(object) = self.objects.get(path) else {
            let why = format!("{}: pull it again", self.url);
            return Err(TransferError::Refused(why));
        };
        let options = GetOptions {
            range: Some(GetRange::Bounded(range.clone())),
            if_match: object.e_tag.clone(),
            ..Default::default()
        };
        let got = self.store.get_opts(&object.location, options);
        let got = self.runtime.block_on(got);
        Ok(Box::new(Body {
            stream: got.map_err(|error| self.failed(error))?.into_stream(),
            runtime: Arc::clone(&self.runtime),
            front: Bytes::new(),
        }))
    }

    fn has(&self, path: &RepoPath, size: u64) -> Result<(), TransferError> {
        let listing = Self::new(&self.url)?.list()?;
        let is_it = |file: &ArrivalFile| file.path == *path && file.size == size;
        if listing.files.iter().any(is_it) {
            return Ok(());
        }
        Err(TransferError::Refused(format!(
            "{}: {path} is gone",
            self.url
        )))
    }
}

/// The bytes of an answer as they come: no more of it is held than the last piece.
struct Body {
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    runtime: Arc<tokio::runtime::Runtime>,
    front: Bytes,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.front.is_empty() {
            let next = self.runtime.block_on(self.stream.try_next());
            match next.map_err(std::io::Error::other)? {
                Some(bytes) => self.front = bytes,
                None => return Ok(0),
            }
        }
        let piece = self.front.split_to(buffer.len().min(self.front.len()));
        let (to, _) = buffer.split_at_mut(piece.len());
        to.copy_from_slice(&piece);
        Ok(piece.len())
    }
}
