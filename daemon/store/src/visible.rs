//! What clients see: real directories with hard links to the store's files, one per revision and
//! one per tag, and the same once more in the layout of the hub's cache.
//!
//! A directory is built beside, synced, and put in place by one rename, so that nobody ever sees
//! half of a revision, and a tag moves from one revision to the next in one step. Invariant: what
//! is seen under a tag is all of one revision. Not promised: that a file opened before a move is
//! still under its name after it; its bytes are.

use std::collections::BTreeSet;

use rustix::io::Errno;
use serde_json::{Map, Value, json};

use crate::disk::DiskAccess;
use crate::error::{Result, io};
use crate::layout;
use crate::manifest::Manifest;
use crate::name::{RepoName, RepoPath, RevisionId, TagName};

/// A directory that was built beside and waits for its name.
#[derive(Debug)]
pub(crate) struct Staged {
    disk: DiskAccess,
    path: String,
    placed: bool,
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.placed {
            let _ = self.disk.remove_all(&self.path);
        }
    }
}

impl Staged {
    fn new(disk: &DiskAccess) -> Result<Self> {
        let path = disk.temporary_path();
        disk.backend
            .make_directory(&path)
            .map_err(io("make directory", &path))?;
        Ok(Self {
            disk: disk.clone(),
            path,
            placed: false,
        })
    }

    /// A directory with the files of a manifest, durable but for its own name.
    pub(crate) fn revision(disk: &DiskAccess, manifest: &Manifest) -> Result<Self> {
        let staged = Self::new(disk)?;
        let data: Vec<String> = manifest
            .files
            .iter()
            .map(|file| layout::data(&file.table))
            .collect();
        let files = manifest.files.iter().zip(&data);
        staged.fill(
            &staged.path,
            files.map(|(file, data)| (&file.path, data.as_str())),
        )?;
        Ok(staged)
    }

    /// A directory with links to data files, for a revision that is still arriving.
    pub(crate) fn arriving(disk: &DiskAccess, files: &[(&RepoPath, String)]) -> Result<Self> {
        let staged = Self::new(disk)?;
        staged.fill(
            &staged.path,
            files.iter().map(|(path, data)| (*path, data.as_str())),
        )?;
        Ok(staged)
    }

    fn fill<'f>(
        &self,
        at: &str,
        files: impl Iterator<Item = (&'f RepoPath, &'f str)>,
    ) -> Result<()> {
        let mut directories = BTreeSet::new();
        let mut links = Vec::new();
        for (path, data) in files {
            for directory in path.directories() {
                if directories.insert(directory) {
                    let path = format!("{at}/{directory}");
                    let made = self.disk.backend.make_directory(&path);
                    made.map_err(io("make directory", &path))?;
                }
            }
            links.push((data, format!("{at}/{path}")));
        }
        // Neighbours of one directory of the store together: it is looked up once.
        links.sort_unstable();
        link_all(&self.disk, &links)?;
        for directory in directories.iter().rev() {
            let path = format!("{at}/{directory}");
            self.disk
                .backend
                .sync_directory(&path)
                .map_err(io("sync", &path))?;
        }
        self.disk.backend.sync_directory(at).map_err(io("sync", at))
    }

    /// Gives the directory its name in one step; what was there before is removed.
    pub(crate) fn place(mut self, target: &str) -> Result<()> {
        let (parent, _) = towline_io::backend::split(target);
        self.disk.make_directories(parent)?;
        self.disk.announce.change(target);
        let backend = &self.disk.backend;
        match backend.exchange(&self.path, target) {
            // What is at the temporary path now goes when this is dropped.
            Ok(()) => {}
            Err(Errno::NOENT) => {
                backend
                    .rename(&self.path, target)
                    .map_err(io("rename", target))?;
                self.placed = true;
            }
            Err(errno) => return Err(io("exchange", target)(errno)),
        }
        self.disk.sync_parent(target)
    }
}

/// Links files to visible names. A file with as many names as the file system allows is copied
/// for this one.
fn link_all(disk: &DiskAccess, mut links: &[(&str, String)]) -> Result<()> {
    while let Err((done, errno)) = disk.backend.link_all(links) {
        let Some(((data, to), rest)) = links.get(done..).and_then(<[_]>::split_first) else {
            break;
        };
        match errno {
            Errno::MLINK => copy(disk, data, to)?,
            errno => return Err(io("link", to)(errno)),
        }
        links = rest;
    }
    Ok(())
}

fn copy(disk: &DiskAccess, from: &str, to: &str) -> Result<()> {
    use towline_io::backend::Open;
    let source = disk
        .backend
        .open(from, Open::Read)
        .map_err(io("open", from))?;
    let copy = disk.temporary()?;
    let mut buffer = vec![0; 1 << 20];
    let mut offset = 0;
    loop {
        let count = source
            .read_at(&mut buffer, offset)
            .map_err(io("read", from))?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
            break;
        };
        copy.file.write_at(bytes, offset).map_err(io("write", to))?;
        offset += count as u64;
    }
    copy.place(to)
}

/// The folders of a revision in the hub's layout, built beside.
#[derive(Debug)]
pub(crate) struct StagedHub {
    snapshot: Staged,
}

impl StagedHub {
    pub(crate) fn new(disk: &DiskAccess, manifest: &Manifest) -> Result<Self> {
        Ok(Self {
            snapshot: Staged::revision(disk, manifest)?,
        })
    }

    pub(crate) fn place(self, manifest: &Manifest) -> Result<()> {
        let disk = self.snapshot.disk.clone();
        let repo = layout::hub_repo(&manifest.repo);
        let rev = manifest.rev;
        for directory in ["blobs", "refs", "snapshots", "trees"] {
            disk.make_directories(&format!("{repo}/{directory}"))?;
        }
        disk.make_directories(&format!("{repo}/.no_exist/{rev}"))?;
        disk.write_whole(&format!("{repo}/trees/{rev}.json"), &tree_json(manifest))?;
        self.snapshot.place(&format!("{repo}/snapshots/{rev}"))
    }
}

/// What hub clients keep of a tree, so that they need not ask for it.
fn tree_json(manifest: &Manifest) -> Vec<u8> {
    let mut files = Map::new();
    for file in &manifest.files {
        let lfs = file.sha256.filter(|_| file.is_lfs());
        let entry = json!({
            "size": file.size,
            "blob_id": file.git_oid.to_string(),
            "lfs_sha256": lfs.map(|sha256| sha256.to_string()),
            "lfs_size": lfs.map(|_| file.size),
        });
        files.insert(file.path.to_string(), entry);
    }
    let tree = json!({ "format_version": 1, "files": Value::Object(files) });
    tree.to_string().into_bytes()
}

/// Lets a tag of the hub's layout point to a revision.
pub(crate) fn point(
    disk: &DiskAccess,
    repo: &RepoName,
    tag: &TagName,
    rev: &RevisionId,
) -> Result<()> {
    let path = format!("{}/refs/{tag}", layout::hub_repo(repo));
    let (parent, _) = towline_io::backend::split(&path);
    disk.make_directories(parent)?;
    disk.write_whole(&path, rev.to_string().as_bytes())
        .map(drop)
}

/// Takes a tag away from both views.
pub(crate) fn hide_tag(disk: &DiskAccess, repo: &RepoName, tag: &TagName) -> Result<()> {
    let refs = format!("{}/refs", layout::hub_repo(repo));
    hide(disk, &format!("{refs}/{tag}"))?;
    // Folders of a branch with slashes go when they are empty; else others are in them.
    let folders = tag.as_str().match_indices('/').map(|(end, _)| end);
    for end in folders.collect::<Vec<_>>().into_iter().rev() {
        let folder = tag.as_str().get(..end).unwrap_or_default();
        let _full = disk.backend.remove_directory(&format!("{refs}/{folder}"));
    }
    hide(disk, &layout::tag(repo, tag))
}

/// Takes a revision away from both views.
pub(crate) fn hide_revision(disk: &DiskAccess, repo: &RepoName, rev: &RevisionId) -> Result<()> {
    let hub = layout::hub_repo(repo);
    hide(disk, &format!("{hub}/snapshots/{rev}"))?;
    hide(disk, &format!("{hub}/trees/{rev}.json"))?;
    hide(disk, &format!("{hub}/.no_exist/{rev}"))?;
    hide(disk, &layout::revision(repo, rev))
}

/// Moves something out of sight in one step, then removes it; its parents go when empty.
fn hide(disk: &DiskAccess, path: &str) -> Result<()> {
    disk.announce.change(path);
    let aside = disk.temporary_path();
    match disk.backend.rename(path, &aside) {
        Ok(()) => {}
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        Err(errno) => return Err(io("rename", path)(errno)),
    }
    disk.sync_parent(path)?;
    disk.remove_all(&aside)
}
