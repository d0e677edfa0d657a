//! What of a share is read: a file and folder that are there, or ones written for it.
//!
//! Invariant: what was written is removed when the subject is dropped, whatever happened. Of a
//! folder that may not be written to, the largest file and the small ones are taken.

use std::path::Path;
use std::time::Duration;

use towline_base::clock;

use super::own_files::OwnFiles;
use super::{Event, Options};
use crate::content::{Content, each_block};
use crate::source::file::{PathSource, PathTree};
use crate::source::http::{HttpSource, HttpTree, escaped};
use crate::source::nfs::{self, Found};
use crate::source::place::HttpPlace;
use crate::source::{Entry, Place, Source, SourceError, Tree};

/// Largest file that counts as small, in bytes.
const SMALL_BYTES_MAX: u64 = 1 << 20;
/// Most small files that are read, as a count.
const SMALL_MAX: usize = 4096;

/// What is read.
pub(super) struct Subject {
    pub(super) source: Box<dyn Source>,
    pub(super) tree: Option<Box<dyn Tree>>,
    pub(super) small: Vec<Entry>,
    pub(super) content: Content,
    /// How long the first read of all took, where the content was learned by it.
    pub(super) first_read: Option<Duration>,
    /// Removed last.
    _own: Option<OwnFiles>,
}

type Parts = (Box<dyn Source>, Option<Box<dyn Tree>>);

impl Subject {
    pub(super) fn open(
        options: &Options,
        notes: &mut Vec<String>,
        show: &mut dyn FnMut(Event<'_>),
    ) -> Result<Self, SourceError> {
        if let Place::Path(path) = &options.place
            && path.is_dir()
            && !options.is_read_only
        {
            show(Event::Begins("writing files to read"));
            match OwnFiles::write(path, options) {
                Ok((own, content)) => return Self::of_own(own, content, options),
                Err(error) => notes.push(format!("nothing could be written ({error})")),
            }
        }
        let (source, tree) = existing(options)?;
        let small = match &tree {
            Some(tree) => small_of(&**tree)?,
            None => Vec::new(),
        };
        show(Event::Begins("reading all of it once"));
        let mut content = Content::new(&options.name, "read", source.bytes());
        let begun = clock::now();
        each_block(&*source, &mut |offset, bytes| {
            content.learn(offset, bytes);
            Ok(())
        })?;
        let first_read = Some(begun.elapsed());
        notes.push(
            "content: nothing was written, so every byte was read twice and compared".to_owned(),
        );
        Ok(Self {
            source,
            tree,
            small,
            content,
            first_read,
            _own: None,
        })
    }

    fn of_own(own: OwnFiles, content: Content, options: &Options) -> Result<Self, SourceError> {
        let tree: Box<dyn Tree> = Box::new(PathTree(own.folder().join("small")));
        Ok(Self {
            source: Box::new(PathSource::new(&own.large(), options.bytes)?),
            small: small_of(&*tree)?,
            tree: Some(tree),
            content,
            first_read: None,
            _own: Some(own),
        })
    }

    pub(super) fn content_bytes(&self) -> u64 {
        self.source.bytes()
    }
}

fn small_of(tree: &dyn Tree) -> Result<Vec<Entry>, SourceError> {
    let entries = tree.open()?.list()?.into_iter();
    let is_small = |entry: &Entry| entry.bytes.is_some_and(|bytes| bytes <= SMALL_BYTES_MAX);
    Ok(entries.filter(is_small).take(SMALL_MAX).collect())
}

fn existing(options: &Options) -> Result<Parts, SourceError> {
    match &options.place {
        Place::Path(path) if path.is_dir() => {
            let tree = PathTree(path.clone());
            let largest = largest(&tree, &options.name)?;
            let source = PathSource::new(&path.join(largest), options.bytes)?;
            Ok((Box::new(source), Some(Box::new(tree))))
        }
        Place::Path(path) => of_file(path, options.bytes),
        Place::Nfs(place) => match nfs::find(place, options.bytes)? {
            Found::File(file) if file.bytes() == 0 => Err(empty(&options.name)),
            Found::File(file) => Ok((Box::new(file), None)),
            Found::Folder(tree) => {
                let largest = largest(&tree, &options.name)?;
                let source = tree.file(&largest, options.bytes)?;
                Ok((Box::new(source), Some(Box::new(tree))))
            }
        },
        Place::Http(place) if place.path.ends_with('/') => {
            let tree = HttpTree::new(place)?;
            let largest = largest(&tree, &options.name)?;
            let file = HttpPlace {
                path: format!("{}{}", place.path, escaped(&largest)),
                ..place.clone()
            };
            let source = HttpSource::new(&file, options.bytes)?;
            Ok((Box::new(source), Some(Box::new(tree))))
        }
        Place::Http(place) => Ok((Box::new(HttpSource::new(place, options.bytes)?), None)),
    }
}

fn of_file(path: &Path, bytes: u64) -> Result<Parts, SourceError> {
    Ok((Box::new(PathSource::new(path, bytes)?), None))
}

fn empty(name: &str) -> SourceError {
    let text = "there is nothing to read: put a file of 256 MiB or more there, or name another \
                folder; files of folders below it, such as ORG/MODEL/TAG of a model, are not \
                looked at";
    SourceError::Usage(format!("{name}: {text}"))
}

fn largest(tree: &dyn Tree, name: &str) -> Result<String, SourceError> {
    let entries = tree.open()?.list()?;
    let largest = entries
        .into_iter()
        .max_by_key(|entry| entry.bytes.unwrap_or(0));
    let largest = largest.filter(|entry| entry.bytes.unwrap_or(0) > 0);
    largest.map(|entry| entry.name).ok_or_else(|| empty(name))
}
