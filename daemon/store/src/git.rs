//! Git's names for what is published here, so that ETags and commit ids are what git would say.
//!
//! Invariant: the ids are those of git itself (SHA-1 object format): the same content gives the
//! same ids on every node. Not promised: a git repository; no objects are kept.
//! Source: gitformat-pack(5), git-hash-object(1), and the LFS pointer file specification v1.

use std::collections::BTreeMap;

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

use crate::name::{GitId, RepoPath, RevisionId, Sha256};

/// A file larger than this is kept as an LFS file, in bytes.
pub const REGULAR_BYTES_MAX: u64 = 10 << 20;

/// Suffixes of weights and archives, which are LFS files however small.
const LFS_SUFFIXES: [&str; 27] = [
    "7z",
    "arrow",
    "bin",
    "bz2",
    "ckpt",
    "ftz",
    "gguf",
    "gz",
    "h5",
    "joblib",
    "mlmodel",
    "model",
    "msgpack",
    "npy",
    "npz",
    "onnx",
    "parquet",
    "pb",
    "pickle",
    "pkl",
    "pt",
    "pth",
    "rar",
    "safetensors",
    "tar",
    "zip",
    "zst",
];

/// Whether a file that is published here becomes an LFS file.
#[must_use]
pub fn is_lfs(path: &RepoPath, size: u64) -> bool {
    let suffix = path
        .as_str()
        .rsplit_once('.')
        .map_or("", |(_, suffix)| suffix);
    let lower = suffix.to_ascii_lowercase();
    // An empty file is regular whatever its name is: hub clients upload it that way.
    size > 0 && (size > REGULAR_BYTES_MAX || LFS_SUFFIXES.contains(&lower.as_str()))
}

/// Computes a blob's id while its bytes pass by.
pub struct BlobHasher(Context);

impl BlobHasher {
    /// For a blob of exactly `size` bytes.
    #[must_use]
    pub fn new(size: u64) -> Self {
        Self(object("blob", size))
    }

    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The id.
    #[must_use]
    pub fn finish(self) -> GitId {
        finish(self.0)
    }
}

fn object(kind: &str, size: u64) -> Context {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    context.update(format!("{kind} {size}\0").as_bytes());
    context
}

fn finish(context: Context) -> GitId {
    let mut id = [0; 20];
    for (to, from) in id.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    GitId(id)
}

/// The id of a blob whose bytes are all here.
#[must_use]
pub fn blob_id(bytes: &[u8]) -> GitId {
    let mut hasher = BlobHasher::new(bytes.len() as u64);
    hasher.update(bytes);
    hasher.finish()
}

/// The text that git holds in place of an LFS file.
#[must_use]
pub fn pointer(sha256: &Sha256, size: u64) -> String {
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n")
}

/// The git id of an LFS file: that of its pointer.
#[must_use]
pub fn pointer_id(sha256: &Sha256, size: u64) -> GitId {
    blob_id(pointer(sha256, size).as_bytes())
}

/// The ids of every directory of a revision; the root is "".
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Trees {
    /// Directory to tree id, sorted by path.
    pub directories: BTreeMap<Box<str>, GitId>,
}

impl Trees {
    /// The tree of the whole revision.
    #[must_use]
    pub fn root(&self) -> GitId {
        self.directories
            .get("")
            .copied()
            .unwrap_or_else(|| tree_id(&mut []))
    }
}

/// Computes the tree ids of files. No path may be a directory of another.
pub fn trees<'a>(files: impl Iterator<Item = (&'a RepoPath, GitId)>) -> Trees {
    let mut entries: BTreeMap<&str, Vec<Entry<'_>>> = BTreeMap::from([("", Vec::new())]);
    for (path, id) in files {
        for directory in path.directories() {
            entries.entry(directory).or_default();
        }
        let (directory, name) = path
            .as_str()
            .rsplit_once('/')
            .unwrap_or(("", path.as_str()));
        let entry = Entry {
            name,
            id,
            is_directory: false,
        };
        entries.entry(directory).or_default().push(entry);
    }
    let mut directories = BTreeMap::new();
    // A directory sorts before everything below it, so the last ones are complete first.
    while let Some((directory, mut below)) = entries.pop_last() {
        let id = tree_id(&mut below);
        if !directory.is_empty() {
            let (parent, name) = directory.rsplit_once('/').unwrap_or(("", directory));
            entries.entry(parent).or_default().push(Entry {
                name,
                id,
                is_directory: true,
            });
        }
        directories.insert(directory.into(), id);
    }
    Trees { directories }
}

struct Entry<'a> {
    name: &'a str,
    id: GitId,
    is_directory: bool,
}

impl Entry<'_> {
    /// Git compares a directory as if its name ended with a slash.
    fn order(&self) -> impl Iterator<Item = u8> {
        let end = if self.is_directory { "/" } else { "" };
        self.name.bytes().chain(end.bytes())
    }
}

fn tree_id(entries: &mut [Entry<'_>]) -> GitId {
    entries.sort_by(|one, other| one.order().cmp(other.order()));
    let mut bytes = Vec::new();
    for entry in entries {
        let mode = if entry.is_directory {
            "40000 "
        } else {
            "100644 "
        };
        bytes.extend_from_slice(mode.as_bytes());
        bytes.extend_from_slice(entry.name.as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(&entry.id.0);
    }
    let mut context = object("tree", bytes.len() as u64);
    context.update(&bytes);
    finish(context)
}

/// The id of a commit; `created` is in seconds since 1970-01-01 UTC.
#[must_use]
pub fn commit_id(
    tree: &GitId,
    parent: Option<&RevisionId>,
    created: u64,
    message: &str,
) -> RevisionId {
    let parent = parent.map_or(String::new(), |parent| format!("parent {parent}\n"));
    let who = format!("towline <towline@localhost> {created} +0000");
    let text = format!("tree {tree}\n{parent}author {who}\ncommitter {who}\n\n{message}\n");
    let mut context = object("commit", text.len() as u64);
    context.update(text.as_bytes());
    RevisionId(finish(context).0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All ids were computed by git itself for the same three files.
    #[test]
    fn ids_are_those_of_git() {
        let weights = [&[8, 0, 0, 0, 0, 0, 0, 0, b'{', b'}'][..], &[b' '; 6]].concat();
        assert_eq!(weights.len(), 16);
        let mut sha256 = [0; 32];
        let digest = ring::digest::digest(&ring::digest::SHA256, &weights);
        sha256.copy_from_slice(digest.as_ref());
        let sha256 = Sha256(sha256);
        assert_eq!(
            sha256.to_string(),
            "9bbcbf73561f6bc5d0a17ea6a2081feed2d1304e87602d8c502d9a5c4bd85576"
        );
        assert_eq!(pointer(&sha256, 16).len(), 127);
        let files: Vec<(RepoPath, GitId)> = [
            ("config.json", blob_id(b"{\"a\":1}\n")),
            ("model.safetensors", pointer_id(&sha256, 16)),
            ("sub/a.txt", blob_id(b"hi\n")),
        ]
        .map(|(path, id)| (path.parse().unwrap(), id))
        .into();
        let ids: Vec<String> = files.iter().map(|(_, id)| id.to_string()).collect();
        assert_eq!(
            ids,
            [
                "0187f3b09d66cef7911083ad49f890f5a6589589",
                "8e2c4cb90b8d10d6c9a844a3b73ef3e07541f130",
                "45b983be36b73c0788dc9cbcb76cbb80fc7bb057"
            ]
        );
        let trees = trees(files.iter().map(|(path, id)| (path, *id)));
        assert_eq!(
            trees.root().to_string(),
            "47a5684aefe1ae37bc51f982ecd83dc847aff7a5"
        );
        assert!(trees.directories.contains_key("sub"));
        assert_eq!(
            commit_id(&trees.root(), None, 1_767_225_600, "publish").to_string(),
            "a06c5e52021e6efa8445fd69202014b34c6b94bc"
        );
    }

    #[test]
    fn the_empty_tree_is_gits_empty_tree() {
        let trees = trees(std::iter::empty());
        assert_eq!(
            trees.root().to_string(),
            "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
        );
    }

    #[test]
    fn weights_and_large_files_are_lfs_and_empty_ones_never() {
        let path = |text: &str| text.parse::<RepoPath>().unwrap();
        assert!(is_lfs(&path("a.SafeTensors"), 1));
        assert!(!is_lfs(&path("a.safetensors"), 0));
        assert!(!is_lfs(&path("tokenizer.json"), REGULAR_BYTES_MAX));
        assert!(is_lfs(&path("tokenizer.json"), REGULAR_BYTES_MAX + 1));
    }
}
