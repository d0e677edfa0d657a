//! A new index from what lies beside it: tables, manifests, and the ledger or else the manifests
//! and the tags that clients see.
//!
//! It is built beside and takes its place in one step, so a kill or a power cut at any moment
//! leaves the old one, which is rebuilt at the next start, or the new one, whole. Invariant: the
//! generation, by which a start knows a good index, is written last. Not promised: pins without the
//! ledger; everything that no tag names is pinned then, for a person to judge.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use rustix::io::Errno;
use towline_io::backend::Open;

use crate::books::{Books, Edit, ReferenceRow, RevisionRow, Row};
use crate::disk::DiskAccess;
use crate::error::{Result, io};
use crate::index::{Changes, Index, IndexedFile};
use crate::layout;
use crate::manifest::{MANIFEST_BYTES_MAX, Manifest};
use crate::name::{FileId, ManifestId, RevisionId, Sha256, TagName};
use crate::sign::Reference;
use crate::table::{CHUNK_BYTES_MAX, Chunk, ChunkTable};
use crate::tables::TABLE_BYTES_MAX;
use crate::verify;

/// Most chunks whose rows are written in one step: some 64 MiB of pages.
const CHUNKS_PER_STEP: usize = 200_000;

/// Longest file that holds the revision of a tag in the hub's layout, in bytes.
const REFERENCE_BYTES_MAX: usize = 256;

/// A manifest that is on the disk, whole.
struct Found {
    id: ManifestId,
    bytes: Vec<u8>,
    manifest: Manifest,
}

/// Makes a new index and sets the old one aside.
pub(crate) fn rebuild_index(disk: &DiskAccess, ledger: Option<Books>) -> Result<(Index, Books)> {
    let beside = disk.temporary_path();
    let built = build(disk, &beside, ledger);
    if built.is_err() {
        disk.remove_all(&beside)?;
    }
    let (index, books) = built?;
    let aside = format!("{}/index.redb", layout::QUARANTINE);
    disk.remove_all(&aside)?;
    // A second name first, so that there is an index at any moment.
    match disk.backend.link(layout::INDEX, &aside) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(io("link", &aside)(errno)),
    }
    disk.backend
        .rename(&beside, layout::INDEX)
        .map_err(io("rename", layout::INDEX))?;
    disk.sync_parent(layout::INDEX)?;
    disk.write_whole(layout::LEDGER, &books.to_ledger())?;
    Ok((index, books))
}

fn build(disk: &DiskAccess, path: &str, ledger: Option<Books>) -> Result<(Index, Books)> {
    let index = Index::create(&*disk.backend, path)?;
    let found = manifests_on_disk(disk)?;
    add_files(disk, &index, &found)?;
    let mut books = match ledger {
        Some(books) => books,
        None => books_from(disk, &found)?,
    };
    books.generation = books.generation.max(1);
    let last = Changes {
        edits: books.rows().cloned().map(Edit::Put).collect(),
        manifests: found.into_iter().map(|one| (one.id, one.bytes)).collect(),
        ..Changes::default()
    };
    index.commit(&last, books.generation, true)?;
    Ok((index, books))
}

/// Lets the index know of every file that is there. One whose table cannot be read is left to
/// verification, which makes the table again from the file.
fn add_files(disk: &DiskAccess, index: &Index, found: &[Found]) -> Result<()> {
    let mut digests: HashMap<FileId, Option<Sha256>> = HashMap::new();
    for file in found.iter().flat_map(|one| &one.manifest.files) {
        let digest = digests.entry(file.table).or_default();
        *digest = digest.or(file.sha256);
    }
    let (mut changes, mut chunks) = (Changes::default(), 0);
    for id in files_on_disk(disk)? {
        let Some(table) = table_on_disk(disk, &id) else {
            tracing::warn!(chunk = %id, "a file without a good table; run towline verify");
            continue;
        };
        let named = digests.get(&id);
        // A file is durable before a manifest names it. The rest may be what a crash has left.
        if named.is_none() && !is_whole(disk, &id, &table) {
            continue;
        }
        chunks += table.chunks.len();
        changes.files.push(IndexedFile {
            id,
            sha256: named.copied().flatten(),
            table: Arc::new(table),
        });
        if chunks >= CHUNKS_PER_STEP {
            index.commit(&std::mem::take(&mut changes), 0, false)?;
            chunks = 0;
        }
    }
    index.commit(&changes, 0, false)
}

/// The table of a file, if it is what its name says and the file is there.
pub(super) fn table_on_disk(disk: &DiskAccess, id: &FileId) -> Option<ChunkTable> {
    let Ok(bytes) = disk.read_whole(&layout::table(id), TABLE_BYTES_MAX) else {
        return disk.short_table(id);
    };
    let table = ChunkTable::decode(&bytes).ok()?;
    let good = ChunkTable::id_of(&bytes) == *id && disk.exists(&layout::data(id));
    good.then_some(table)
}

/// Whether every chunk of a file is what its table says.
fn is_whole(disk: &DiskAccess, id: &FileId, table: &ChunkTable) -> bool {
    let Ok(file) = disk.backend.open(&layout::data(id), Open::Read) else {
        return false;
    };
    let mut buffer = vec![0; CHUNK_BYTES_MAX as usize];
    let mut is_good = |chunk: &Chunk| {
        let (bytes, _) = buffer.split_at_mut(chunk.length as usize);
        verify::is_good(&*file, chunk, bytes)
    };
    file.length() == Ok(table.size) && table.chunks.iter().all(&mut is_good)
}

/// Without index and ledger the manifests tell what there was, and the hub's layout which tags.
fn books_from(disk: &DiskAccess, found: &[Found]) -> Result<Books> {
    let mut books = Books::default();
    for one in found {
        books.apply(&Edit::Put(Row::Revision(row_of(one.id, &one.manifest))));
    }
    let mut tagged = BTreeSet::new();
    for one in found {
        let repo = &one.manifest.repo;
        for (tag, rev) in tags_seen(disk, one)? {
            if rev != one.manifest.rev {
                continue;
            }
            tagged.insert((repo.clone(), rev));
            let reference = Reference {
                repo: repo.clone(),
                tag,
                rev,
                manifest: one.id,
                // Numbers only grow; no tag is moved as often as once a second.
                seq: one.manifest.created.max(1),
                time: one.manifest.created,
            };
            books.apply(&Edit::Put(Row::Reference(ReferenceRow {
                reference,
                is_branch: false,
                signature: None,
                visible: false,
            })));
        }
    }
    for one in found {
        let (repo, rev) = (one.manifest.repo.clone(), one.manifest.rev);
        if !tagged.contains(&(repo.clone(), rev)) {
            let time = one.manifest.created;
            books.apply(&Edit::Put(Row::Pin { repo, rev, time }));
        }
    }
    Ok(books)
}

/// The tags of a repository as the hub's layout has them.
fn tags_seen(disk: &DiskAccess, one: &Found) -> Result<Vec<(TagName, RevisionId)>> {
    let root = format!("{}/refs", layout::hub_repo(&one.manifest.repo));
    let (mut folders, mut seen) = (vec![String::new()], Vec::new());
    // A branch whose name has a slash lies in a folder.
    while let Some(folder) = folders.pop() {
        let directory = format!("{root}{folder}");
        let entries = match disk.backend.list(&directory) {
            Ok(entries) => entries,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(io("list", &directory)(errno)),
        };
        for entry in entries {
            let name = format!("{folder}/{}", entry.name);
            if entry.is_directory {
                folders.push(name);
                continue;
            }
            let bytes = disk.read_whole(&format!("{root}{name}"), REFERENCE_BYTES_MAX);
            let bytes = bytes.unwrap_or_default();
            let text = std::str::from_utf8(&bytes).unwrap_or("").trim();
            let tag = name.trim_start_matches('/').parse();
            if let (Ok(tag), Ok(rev)) = (tag, text.parse()) {
                seen.push((tag, rev));
            }
        }
    }
    Ok(seen)
}

/// The row of a revision of which only the manifest is left.
pub(super) fn row_of(id: ManifestId, manifest: &Manifest) -> RevisionRow {
    RevisionRow {
        repo: manifest.repo.clone(),
        rev: manifest.rev,
        manifest: id,
        origin: None,
        origin_seen: 0,
        published: manifest.created,
        last_use: manifest.created,
        visible: false,
        unused_since: 0,
    }
}

/// Whether any manifest is on the disk.
pub(super) fn has_manifests(disk: &DiskAccess) -> Result<bool> {
    Ok(!manifest_names(disk)?.is_empty())
}

/// The names of all manifests on the disk.
pub(super) fn manifest_names(disk: &DiskAccess) -> Result<Vec<ManifestId>> {
    let entries = disk.backend.list(layout::MANIFESTS);
    let entries = entries.map_err(io("list", layout::MANIFESTS))?;
    let ids = entries.iter().filter_map(|entry| entry.name.parse().ok());
    Ok(ids.collect())
}

/// A manifest on the disk, with its bytes, if it is what its name says.
pub(super) fn manifest_on_disk(disk: &DiskAccess, id: &ManifestId) -> Option<(Vec<u8>, Manifest)> {
    let bytes = disk.read_whole(&layout::manifest(id), MANIFEST_BYTES_MAX);
    let bytes = bytes.ok().filter(|bytes| Manifest::id_of(bytes) == *id)?;
    let manifest = Manifest::decode(&bytes).ok()?;
    Some((bytes, manifest))
}

/// Every whole manifest on the disk.
fn manifests_on_disk(disk: &DiskAccess) -> Result<Vec<Found>> {
    let names = manifest_names(disk)?.into_iter();
    let found = names.filter_map(|id| {
        let (bytes, manifest) = manifest_on_disk(disk, &id)?;
        Some(Found {
            id,
            bytes,
            manifest,
        })
    });
    Ok(found.collect())
}

/// Every file that has data or a table on the disk.
pub(crate) fn files_on_disk(disk: &DiskAccess) -> Result<BTreeSet<FileId>> {
    let mut found = BTreeSet::new();
    for directory in disk
        .backend
        .list(layout::FILES)
        .map_err(io("list", layout::FILES))?
    {
        let path = format!("{}/{}", layout::FILES, directory.name);
        for entry in disk.backend.list(&path).map_err(io("list", &path))? {
            let name = &entry.name;
            let stem = name.strip_suffix(".table").or(name.strip_suffix(".data"));
            found.extend(stem.and_then(|stem| stem.parse::<FileId>().ok()));
        }
    }
    Ok(found)
}
