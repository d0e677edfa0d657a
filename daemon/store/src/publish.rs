//! Publishing: a source becomes an immutable revision, and a tag moves to it in one step.
//!
//! Order: files in place and durable, then the manifest, then the directories that will be seen,
//! built beside; then the index commits, which is the moment from which the revision exists; then
//! the directories take their names. Invariant: when [`Store::publish`] has returned, the revision
//! survives any crash; when it fails, readers see what they saw before. The same content under the
//! same tag again stores nothing and changes nothing. Not promised: that a failed publishing leaves
//! no bytes behind until the next garbage collection.

use std::collections::HashSet;
use std::sync::Arc;

use crate::books::{Edit, ReferenceRow, RevisionRow, Row};
use crate::catalog::CatalogRevision;
use crate::compose::{Outline, each_file};
use crate::error::{ClientFault, Result};
use crate::index::{Changes, IndexedFile};
use crate::ingest::{Ingested, Stored, ingest};
use crate::layout;
use crate::manifest::{Manifest, ManifestFile, check_paths};
use crate::metrics;
use crate::name::{ManifestId, RepoName, RevisionId, TagName};
use crate::progress::Progress;
use crate::sign::{self, Reference, Signer};
use crate::source::{Source, SourceEntry};
use crate::store::{Inner, State, Store};
use crate::visible::{self, Staged, StagedHub};
use crate::vouch::vouch;

/// Which revision the new one follows.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Parent {
    /// Whatever the tag points to now.
    #[default]
    Head,
    /// None: history begins here.
    Nothing,
    /// None, in place of this one; if the tag has moved on, nothing is published.
    NothingAfter(RevisionId),
    /// This one; if the tag has moved on, nothing is published.
    Exactly(RevisionId),
}

/// What may be said about a publishing.
#[derive(Clone, Copy, Debug, Default)]
pub struct PublishOptions<'a> {
    /// A message, like that of a commit; empty: `publish`.
    pub message: &'a str,
    /// When it was made, in seconds since 1970-01-01 UTC; `None`: now.
    pub created: Option<u64>,
    /// What it follows.
    pub parent: Parent,
    /// Whose word is added.
    pub signer: Option<&'a Signer>,
    /// Words that others have given for this very manifest; one for another refuses all of it.
    pub signatures: &'a [sign::Signature],
    /// The id that it has elsewhere, for a mirrored revision; `None`: computed as git does.
    pub rev: Option<RevisionId>,
    /// Where it can be had again; `None`: nowhere, so it is never evicted.
    pub origin: Option<&'a str>,
    /// Whether it may be without any file.
    pub may_be_empty: bool,
}

/// What came of a publishing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Published {
    /// The revision.
    pub rev: RevisionId,
    /// Its content.
    pub manifest: ManifestId,
    /// How many files it has.
    pub files: u64,
    /// How many of them were here before, whole.
    pub files_linked: u64,
    /// Length of all files together, in bytes.
    pub bytes: u64,
    /// How the bytes came to be here.
    pub stored: Stored,
    /// The tag pointed to the same content already; nothing was changed.
    pub unchanged: bool,
}

/// A revision that is complete but not known yet.
pub(crate) struct Complete<'a> {
    pub(crate) manifest: Manifest,
    pub(crate) files: Vec<Ingested>,
    pub(crate) tag: Option<&'a TagName>,
    pub(crate) signer: Option<&'a Signer>,
    pub(crate) signatures: Vec<sign::Signature>,
    pub(crate) origin: Option<String>,
    pub(crate) parent: Parent,
}

impl Store {
    /// Publishes the files of a source and lets the tag point to them.
    ///
    /// # Errors
    /// [`ClientFault`] if the source cannot be published, has changed meanwhile, does not fit, or
    /// its signature is missing; [`StorageFault`] if the disk fails.
    pub fn publish(
        &self,
        repo: &RepoName,
        tag: &TagName,
        source: &dyn Source,
        options: &PublishOptions<'_>,
        progress: &Progress,
    ) -> Result<Published> {
        let inner = &self.inner;
        let _span = tracing::info_span!("publish", node = %repo).entered();
        let keys = options.signatures.iter().map(|signature| signature.key);
        inner.check_keys(keys.chain(options.signer.map(Signer::public_key)), repo)?;
        inner.state().check_name(repo, None)?;
        let entries = source.entries()?;
        if !(entries.is_empty() && options.may_be_empty) {
            check_entries(&entries)?;
        }
        progress.expect(
            entries.len() as u64,
            entries.iter().map(|entry| entry.size).sum(),
        );
        let files = ingest_all(inner, source, &entries, progress)?;
        let head = inner
            .state()
            .books
            .reference(repo, tag)
            .map(|row| row.reference.rev);
        let parent = match options.parent {
            Parent::Head => head,
            Parent::Nothing | Parent::NothingAfter(_) => None,
            Parent::Exactly(rev) => Some(rev),
        };
        let outline = Outline {
            repo,
            parent,
            created: options.created.unwrap_or_else(|| inner.now()),
            message: options.message,
        };
        let listed = files.iter().zip(&entries).map(manifest_file).collect();
        let mut manifest = outline.manifest(listed)?;
        let tree = manifest.trees().root();
        if let Some(same) = unchanged(inner, (repo, tag), options, &tree) {
            return Ok(published(&same, &files, true));
        }
        manifest.rev = options.rev.unwrap_or(manifest.rev);
        let complete = Complete {
            manifest,
            files,
            tag: Some(tag),
            signer: options.signer,
            signatures: options.signatures.to_vec(),
            origin: options.origin.map(str::to_owned),
            parent: options.parent,
        };
        commit(inner, complete)
    }
}

fn manifest_file((file, entry): (&Ingested, &SourceEntry)) -> ManifestFile {
    ManifestFile {
        path: entry.path.clone(),
        size: file.size,
        git_oid: file.git_oid,
        sha256: Some(file.sha256),
        format: file.format,
        table: file.id,
    }
}

/// What the tag points to, if it has the same tree and nothing else was asked for.
fn unchanged(
    inner: &Inner,
    (repo, tag): (&RepoName, &TagName),
    options: &PublishOptions<'_>,
    tree: &crate::name::GitId,
) -> Option<Arc<CatalogRevision>> {
    let state = inner.state();
    let head = state.books.reference(repo, tag)?.reference.rev;
    let revision = state.shown.get(&(repo.clone(), head))?;
    let same = revision.directories.get("") == Some(tree);
    let asked = options.rev.is_none_or(|rev| rev == head);
    // A key that has not given its word yet makes a difference.
    let own = options.signer.map(Signer::public_key);
    let mut keys = options.signatures.iter().map(|one| one.key).chain(own);
    let signed = keys.all(|key| revision.signed_by.contains(&key));
    let follows = match options.parent {
        Parent::Head => true,
        Parent::Nothing | Parent::NothingAfter(_) => revision.parent.is_none(),
        Parent::Exactly(parent) => parent == head || revision.parent == Some(parent),
    };
    (same && asked && signed && follows).then(|| Arc::clone(revision))
}

fn published(revision: &CatalogRevision, files: &[Ingested], unchanged: bool) -> Published {
    let mut stored = Stored::default();
    files.iter().for_each(|file| stored.add(&file.stored));
    Published {
        rev: revision.rev,
        manifest: revision.manifest,
        files: revision.files.len() as u64,
        files_linked: files
            .iter()
            .filter(|file| file.stored.linked == file.size)
            .count() as u64,
        bytes: revision.bytes,
        stored,
        unchanged,
    }
}

fn check_entries(entries: &[SourceEntry]) -> Result<()> {
    if entries.is_empty() {
        return Err(ClientFault::Empty.into());
    }
    let mut paths: Vec<_> = entries.iter().map(|entry| &entry.path).collect();
    paths.sort();
    Ok(check_paths(paths.into_iter())?)
}

/// Stores every file.
fn ingest_all(
    inner: &Arc<Inner>,
    source: &dyn Source,
    entries: &[SourceEntry],
    progress: &Progress,
) -> Result<Vec<Ingested>> {
    each_file(entries, inner.options.workers, |hasher, index, entry| {
        let file = ingest(inner, hasher, source, (index, entry), progress)?;
        progress.finish_file();
        Ok(file)
    })
}

/// Makes a complete revision durable and known. The last step is taken by one at a time.
pub(crate) fn commit(inner: &Arc<Inner>, complete: Complete<'_>) -> Result<Published> {
    inner.sync_files(complete.files.iter().map(|file| &file.id))?;
    let mut state = inner.state();
    let manifest = &complete.manifest;
    let files = &complete.files;
    check_way(inner, &state, &complete)?;
    let encoded = manifest.encode();
    let id = Manifest::id_of(&encoded);
    let signatures = vouch(inner, &complete, &id)?;
    if !signatures.is_empty() {
        let bytes = sign::encode(&signatures);
        inner.disk.write_whole(&layout::signatures(&id), &bytes)?;
    }
    inner.disk.write_whole(&layout::manifest(&id), &encoded)?;
    let mut row = new_row(inner, &complete, id);
    let mut changes = Changes {
        edits: vec![Edit::Put(Row::Revision(row.clone()))],
        manifests: vec![(id, encoded)],
        files: indexed(files),
        ..Changes::default()
    };
    // A file that was marked for removal is in use again.
    let used: HashSet<_> = files.iter().map(|file| file.id).collect();
    let revived = state.books.unused().filter(|(file, _)| used.contains(file));
    let revived = revived.map(|(file, time)| Edit::Remove(Row::Unused { file, time }));
    changes.edits.extend(revived);
    let staged = Staged::revision(&inner.disk, manifest)?;
    let hub = match inner.options.hub_view {
        true => Some(StagedHub::new(&inner.disk, manifest)?),
        false => None,
    };
    make_known(inner, &mut state, &mut changes, &row)?;
    staged.place(&layout::revision(&manifest.repo, &manifest.rev))?;
    if let Some(hub) = hub {
        hub.place(manifest)?;
    }
    let keys = signatures.iter().map(|signature| signature.key).collect();
    let revision = Arc::new(CatalogRevision::new(&row, manifest.clone(), keys));
    row.visible = true;
    inner.note(&mut state, vec![Edit::Put(Row::Revision(row))])?;
    let outcome = published(&revision, files, false);
    let counters = &inner.counters;
    metrics::add(&counters.revisions_published, 1);
    metrics::add(&counters.bytes_published, outcome.bytes);
    metrics::add(&counters.bytes_written, outcome.stored.written);
    metrics::add(&counters.bytes_known_written, outcome.stored.known_written);
    metrics::add(&counters.bytes_linked, outcome.stored.linked);
    metrics::add(&counters.bytes_cloned, outcome.stored.cloned);
    let key = (manifest.repo.clone(), manifest.rev);
    state.refused.remove(&key);
    if state.shown.insert(key, revision).is_none() {
        show_tags(inner, &state, manifest)?;
    }
    if let Some(tag) = complete.tag {
        move_tag(
            inner,
            &mut state,
            (manifest, id),
            (tag, false),
            complete.signer,
        )?;
    }
    inner.publish_catalog(&mut state);
    Ok(outcome)
}

/// Commits the row of a revision with all that belongs to it. A manifest that the revision had
/// before goes; where it fails, so does the new one, which must not look like a revision that has
/// lost its row.
fn make_known(
    inner: &Inner,
    state: &mut State,
    changes: &mut Changes,
    row: &RevisionRow,
) -> Result<()> {
    let before = state.books.revision(&row.repo, &row.rev);
    let before = before.map(|before| before.manifest);
    let replaced = before.filter(|before| *before != row.manifest);
    changes.drop_manifests(replaced);
    if let Err(error) = inner.commit(state, changes) {
        let known = state.books.revision(&row.repo, &row.rev);
        if known.is_none_or(|known| known.manifest != row.manifest) {
            let _ = inner.remove_manifests(&[row.manifest]);
        }
        return Err(error);
    }
    match replaced {
        Some(_) => inner.finish_drops(state),
        None => Ok(()),
    }
}

/// Refuses a name that others are too near to, a head that has moved, and to replace folders that
/// the store did not make.
fn check_way(inner: &Inner, state: &State, complete: &Complete<'_>) -> Result<()> {
    let (repo, rev) = (&complete.manifest.repo, &complete.manifest.rev);
    if let (Parent::Exactly(expected) | Parent::NothingAfter(expected), Some(tag)) =
        (complete.parent, complete.tag)
    {
        check_head(state, (repo, tag), expected)?;
    }
    state.check_name(repo, None)?;
    let mut places = Vec::new();
    if state.books.revision(repo, rev).is_none() {
        places.push(layout::revision(repo, rev));
    }
    if let Some(tag) = complete.tag {
        places.extend(unknown_tag(state, repo, tag));
    }
    clear_way(inner, &places)
}

/// The place of a tag that has never been shown.
fn unknown_tag(state: &State, repo: &RepoName, tag: &TagName) -> Option<String> {
    let known = state.books.next_seq(repo, tag) > 1;
    (!known).then(|| layout::tag(repo, tag))
}

pub(crate) fn clear_way(inner: &Inner, places: &[String]) -> Result<()> {
    let disk = &inner.disk;
    let stranger = places
        .iter()
        .find(|place| disk.exists(place) && !disk.is_only_links(place));
    match stranger {
        Some(place) => Err(ClientFault::InTheWay(place.clone()).into()),
        None => Ok(()),
    }
}

fn new_row(inner: &Inner, complete: &Complete<'_>, manifest: ManifestId) -> RevisionRow {
    let now = inner.now();
    RevisionRow {
        repo: complete.manifest.repo.clone(),
        rev: complete.manifest.rev,
        manifest,
        origin_seen: if complete.origin.is_some() { now } else { 0 },
        origin: complete.origin.clone(),
        published: now,
        last_use: now,
        visible: false,
        unused_since: 0,
    }
}

/// A revision that was out of sight is shown again: so are the tags that point to it.
fn show_tags(inner: &Inner, state: &State, manifest: &Manifest) -> Result<()> {
    for row in state.books.references() {
        let at = &row.reference;
        if at.repo != manifest.repo || at.rev != manifest.rev {
            continue;
        }
        Staged::revision(&inner.disk, manifest)?.place(&layout::tag(&at.repo, &at.tag))?;
        if inner.options.hub_view {
            visible::point(&inner.disk, &at.repo, &at.tag, &at.rev)?;
        }
    }
    Ok(())
}

fn indexed(files: &[Ingested]) -> Vec<IndexedFile> {
    let fresh = files.iter().filter_map(|file| {
        Some(IndexedFile {
            id: file.id,
            sha256: Some(file.sha256),
            table: file.table.clone()?,
        })
    });
    fresh.collect()
}

fn check_head(
    state: &State,
    (repo, tag): (&RepoName, &TagName),
    expected: RevisionId,
) -> Result<()> {
    match state.books.reference(repo, tag) {
        Some(row) if row.reference.rev != expected => Err(ClientFault::HeadMoved {
            repo: repo.clone(),
            tag: tag.clone(),
            head: row.reference.rev,
        }
        .into()),
        Some(_) | None => Ok(()),
    }
}

/// Lets a tag point to a revision that is known, in the index and for everybody to see. One that
/// is new is a branch or not, as asked.
pub(crate) fn move_tag(
    inner: &Arc<Inner>,
    state: &mut State,
    (manifest, id): (&Manifest, ManifestId),
    (tag, is_branch): (&TagName, bool),
    signer: Option<&Signer>,
) -> Result<()> {
    state.check_tag(&manifest.repo, tag)?;
    clear_way(inner, unknown_tag(state, &manifest.repo, tag).as_slice())?;
    let reference = Reference {
        repo: manifest.repo.clone(),
        tag: tag.clone(),
        rev: manifest.rev,
        manifest: id,
        seq: state.books.next_seq(&manifest.repo, tag),
        time: inner.now(),
    };
    let mut row = ReferenceRow {
        signature: signer.map(|signer| signer.sign_reference(&reference)),
        visible: false,
        is_branch: match state.books.reference(&manifest.repo, tag) {
            Some(before) => before.is_branch,
            None => is_branch && !tag.is_main(),
        },
        reference,
    };
    let staged = Staged::revision(&inner.disk, manifest)?;
    let changes = Changes {
        edits: vec![Edit::Put(Row::Reference(row.clone()))],
        ..Changes::default()
    };
    inner.commit(state, &changes)?;
    staged.place(&layout::tag(&manifest.repo, tag))?;
    if inner.options.hub_view {
        visible::point(&inner.disk, &manifest.repo, tag, &manifest.rev)?;
    }
    row.visible = true;
    inner.note(state, vec![Edit::Put(Row::Reference(row))])
}
