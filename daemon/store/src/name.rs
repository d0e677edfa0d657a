//! Names that came from outside: repositories, tags, revisions, paths, identities of content.
//!
//! Every path and name from a manifest, a hub's answer or a client's key becomes one of these
//! types before anything is done with it. Invariant: a value that exists cannot lead out of the
//! directory that it is joined to, on Linux, macOS or Windows alike (threats F1 and F2), and holds
//! no more than its limit. Not promised: that what is named exists.

use std::fmt;
use std::str::FromStr;

mod id;
mod path;

pub(crate) use id::from_hex;
pub use id::{ChunkId, FileId, GitId, ManifestId, RevisionId, Sha256};
use path::is_reserved;
pub use path::{PATH_BYTES_MAX, PATH_SEGMENT_BYTES_MAX, RepoPath};

/// Longest organisation or model name, in bytes (the Hub's own limit).
pub const SEGMENT_BYTES_MAX: usize = 96;

/// Longest tag, in bytes; it becomes one directory name, in which a slash takes three.
pub const TAG_BYTES_MAX: usize = 128;

/// Why text is not a name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NameFault {
    /// Not `organisation/model`, with its kind in front or not.
    #[error(
        "'{0}' is not a model name: write organisation/model, or model alone, with datasets/ or \
         spaces/ in front for those; letters, digits, '-', '_' and '.', at most \
         {SEGMENT_BYTES_MAX} bytes each, no '--' or '..'"
    )]
    Repo(String),
    /// Not a tag.
    #[error(
        "'{0}' is not a tag or branch: use 1 to {TAG_BYTES_MAX} letters, digits, '-', '_', '.' and \
         '/', each part starting with a letter or digit, not refs/, and not 40 hex digits, which \
         name a revision"
    )]
    Tag(String),
    /// Not forty hex digits.
    #[error("'{0}' is not a revision: 40 lower-case hex digits are")]
    Revision(String),
    /// Not sixty-four hex digits.
    #[error("'{0}' is not an identity of content: 64 lower-case hex digits are")]
    Identity(String),
    /// A path that is too long, or would mean another place somewhere.
    #[error("path '{path}': {reason}")]
    Path {
        /// The path, cut to a readable length.
        path: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
}

fn shown(text: &str) -> String {
    text.chars()
        .take(120)
        .flat_map(char::escape_debug)
        .collect()
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// What a repository is for. The store treats all alike; their names differ.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum RepoKind {
    /// A model: its name has no word in front.
    #[default]
    Model,
    /// A dataset: `datasets/` stands in front.
    Dataset,
    /// A space: `spaces/` stands in front.
    Space,
}

impl RepoKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Model, Self::Dataset, Self::Space];

    /// The word for one: what clients call `repo_type`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Dataset => "dataset",
            Self::Space => "space",
        }
    }

    /// The word for many: what stands in the addresses of a hub's API.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Dataset => "datasets",
            Self::Space => "spaces",
        }
    }

    /// What stands before the names of this kind.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Model => "",
            Self::Dataset => "datasets/",
            Self::Space => "spaces/",
        }
    }

    /// The kind that a word for one or for many means.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|kind| word == kind.word() || word == kind.plural())
    }
}

/// Stands where an organisation would, before a name that has none.
pub const NO_ORGANISATION: &str = "_";

/// Words that stand alone in addresses of a hub and of the node's own API, so that no repository
/// may be called so.
const RESERVED_NAMES: [&str; 8] = [
    "api", "datasets", "kernels", "lfs", "models", "spaces", "tasks", "usage",
];

/// The name of a repository: `organisation/model`, or `model` alone; before those of datasets and
/// spaces stands `datasets/` or `spaces/`, as in the addresses of the Hub. The text is also where
/// it lies below the store's root.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RepoName(Box<str>);

impl RepoName {
    /// The name of a repository of a kind, from the name that it has among its kind.
    ///
    /// # Errors
    /// [`NameFault::Repo`] if there can be none of that name.
    pub fn of_kind(kind: RepoKind, bare: &str) -> Result<Self, NameFault> {
        let name: Self = format!("{}{bare}", kind.prefix()).parse()?;
        if name.kind() == kind {
            Ok(name)
        } else {
            Err(NameFault::Repo(shown(bare)))
        }
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> RepoKind {
        let mut kinds = [RepoKind::Dataset, RepoKind::Space].into_iter();
        let found = kinds.find(|kind| self.0.starts_with(kind.prefix()));
        found.unwrap_or_default()
    }

    /// The name among its kind: `organisation/model`, or `model` alone.
    #[must_use]
    pub fn bare(&self) -> &str {
        self.0.get(self.kind().prefix().len()..).unwrap_or("")
    }

    /// The part before the slash; empty where there is none.
    #[must_use]
    pub fn organisation(&self) -> &str {
        self.bare().split_once('/').map_or("", |(one, _)| one)
    }

    /// The part behind the slash, or the whole.
    #[must_use]
    pub fn model(&self) -> &str {
        let bare = self.bare();
        bare.split_once('/').map_or(bare, |(_, other)| other)
    }

    /// The whole name, with its kind in front.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same name where it stands behind `_/`, which some clients need before a name that has no
    /// organisation.
    #[must_use]
    pub fn without_mark(&self) -> Option<Self> {
        let is_marked = self.organisation() == NO_ORGANISATION;
        is_marked.then(|| Self::of_kind(self.kind(), self.model()).ok())?
    }

    /// The name among its kind as clients need it that take one without organisation for none.
    #[must_use]
    pub fn marked(&self) -> String {
        match self.bare().contains('/') {
            true => self.to_string(),
            false => format!("{}{NO_ORGANISATION}/{}", self.kind().prefix(), self.bare()),
        }
    }

    /// Whether both are written alike but for capital and small letters.
    #[must_use]
    pub fn is_alike(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }

    /// Cuts `NAME/REST` behind its name, in each way in which it can be read: the first part of a
    /// path may be an organisation, or a model without one.
    pub fn cuts(text: &str) -> impl Iterator<Item = (Self, &str)> {
        let ends = text.match_indices('/').map(|(at, _)| at);
        let ends = ends.chain(std::iter::once(text.len())).take(3);
        ends.filter_map(|end| {
            let name = text.get(..end)?.parse().ok()?;
            let rest = text.get(end..)?;
            Some((name, rest.strip_prefix('/').unwrap_or(rest)))
        })
    }
}

fn is_repo_segment(segment: &str) -> bool {
    (1..=SEGMENT_BYTES_MAX).contains(&segment.len())
        && segment.bytes().all(is_plain)
        && !segment.starts_with(['.', '-'])
        && !segment.ends_with(['.', '-'])
        && !segment.contains("--")
        && !segment.contains("..")
        && !is_reserved(segment)
}

/// Whether a name may stand without an organisation.
fn is_single(name: &str) -> bool {
    let is_taken = |word: &&str| name.eq_ignore_ascii_case(word);
    is_repo_segment(name) && !RESERVED_NAMES.iter().any(is_taken)
}

impl FromStr for RepoName {
    type Err = NameFault;

    fn from_str(text: &str) -> Result<Self, NameFault> {
        let mut parts = text.split('/');
        let parts = [parts.next(), parts.next(), parts.next(), parts.next()];
        let is_good = match parts {
            [Some(one), None, ..] => is_single(one),
            [Some("datasets" | "spaces"), Some(name), None, _] => is_repo_segment(name),
            [Some(one), Some(name), None, _] => is_repo_segment(one) && is_repo_segment(name),
            [Some("datasets" | "spaces"), Some(one), Some(name), None] => {
                is_single(one) && is_repo_segment(name)
            }
            _ => false,
        };
        if is_good {
            Ok(Self(text.into()))
        } else {
            Err(NameFault::Repo(shown(text)))
        }
    }
}

/// A tag or branch of a repository; the parts between its slashes are names.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TagName(Box<str>);

impl TagName {
    /// The tag that a name without one means.
    #[must_use]
    pub fn main() -> Self {
        Self("main".into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the branch that every repository has.
    #[must_use]
    pub fn is_main(&self) -> bool {
        &*self.0 == "main"
    }

    /// The name of its directory: one segment, in which `%2F` stands for a slash.
    #[must_use]
    pub fn directory(&self) -> String {
        self.0.replace('/', "%2F")
    }

    /// The tag whose directory has that name.
    ///
    /// # Errors
    /// [`NameFault::Tag`] if it is no such directory's name.
    pub fn of_directory(name: &str) -> Result<Self, NameFault> {
        if name.contains('/') {
            return Err(NameFault::Tag(shown(name)));
        }
        name.replace("%2F", "/").parse()
    }
}

fn is_tag_part(part: &str) -> bool {
    part.bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric())
        && part.bytes().all(is_plain)
        && !part.ends_with('.')
        && !is_reserved(part)
}

impl FromStr for TagName {
    type Err = NameFault;

    fn from_str(text: &str) -> Result<Self, NameFault> {
        // The names of branches, tags and pull requests of git begin like that.
        let good = text.len() <= TAG_BYTES_MAX
            && text.split('/').all(is_tag_part)
            && !text.starts_with("refs/")
            && text.parse::<RevisionId>().is_err();
        if good {
            Ok(Self(text.into()))
        } else {
            Err(NameFault::Tag(shown(text)))
        }
    }
}

macro_rules! text_type {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.as_str())
            }
        }
    };
}

text_type!(RepoName);
text_type!(TagName);
text_type!(RepoPath);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_elsewhere_somewhere_are_refused() {
        for text in [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "../a",
            "a/../b",
            "a/..",
            "a\\b",
            "..\\a",
            "C:",
            "c:/a",
            "C:a",
            "a/C:b",
            "nul",
            "a/CON.txt",
            "com1",
            "LPT9.x",
            "a\0b",
            "a\nb",
            "\u{7f}",
            "\\\\host\\share",
            "//host/share",
            "aux .txt",
        ] {
            assert!(text.parse::<RepoPath>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn paths_that_people_use_are_taken_as_they_are() {
        for text in [
            "a",
            "sub dir/a+b.txt",
            ".gitattributes",
            "ü/模型.gguf",
            "a..b",
            "computer",
            "con-fig.json",
            "...",
            "auxiliary/nul1",
        ] {
            assert_eq!(text.parse::<RepoPath>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn the_longest_path_passes_and_one_more_byte_does_not() {
        let segment = "a".repeat(PATH_SEGMENT_BYTES_MAX);
        assert!(segment.parse::<RepoPath>().is_ok());
        assert!(format!("{segment}a").parse::<RepoPath>().is_err());
        let longest = [segment.as_str(); 4].join("/");
        assert_eq!(longest.len(), PATH_BYTES_MAX - 1);
        assert!(longest.parse::<RepoPath>().is_ok());
        assert!(format!("b/{longest}").parse::<RepoPath>().is_err());
    }

    #[test]
    fn model_names_are_two_plain_segments() {
        for text in ["a/b", "Qwen/Qwen3-8B", "meta-llama/Llama-3.1_x"] {
            let name: RepoName = text.parse().unwrap();
            assert_eq!(format!("{}/{}", name.organisation(), name.model()), text);
        }
        let long = "a".repeat(SEGMENT_BYTES_MAX);
        assert!(format!("{long}/{long}").parse::<RepoName>().is_ok());
        assert!(format!("{long}a/{long}").parse::<RepoName>().is_err());
        for text in [
            "a/b/c",
            "/b",
            "a/",
            ".towline/x",
            "a/..",
            "a--b/c",
            "a/b c",
            "a/con",
            "-a/b",
            "ä/b",
        ] {
            assert!(text.parse::<RepoName>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_tag_is_not_a_revision() {
        assert!("main".parse::<TagName>().is_ok());
        assert!("v1.0-rc_2".parse::<TagName>().is_ok());
        let revision = "a06c5e52021e6efa8445fd69202014b34c6b94bc";
        assert!(revision.parse::<TagName>().is_err());
        assert_eq!(
            revision.parse::<RevisionId>().unwrap().to_string(),
            revision
        );
        for text in [
            "",
            ".",
            "..",
            "a//b",
            "/a",
            "a/",
            "a/.b",
            ".hidden",
            "-x",
            "a.",
            "nul",
            "a b",
            "refs/pr/1",
            "a/nul",
            "a%2Fb",
        ] {
            assert!(text.parse::<TagName>().is_err(), "{text}");
        }
        assert!("a".repeat(TAG_BYTES_MAX).parse::<TagName>().is_ok());
        assert!("a".repeat(TAG_BYTES_MAX + 1).parse::<TagName>().is_err());
    }

    #[test]
    fn a_branch_may_have_slashes_and_one_directory() {
        let tag: TagName = "feature/x-1".parse().unwrap();
        assert_eq!(tag.directory(), "feature%2Fx-1");
        assert_eq!(TagName::of_directory("feature%2Fx-1"), Ok(tag));
        assert!(TagName::of_directory("feature/x").is_err());
        assert!(TagName::of_directory("%2F").is_err());
    }

    #[test]
    fn a_name_says_what_it_names() {
        for (text, kind, bare, organisation, model) in [
            ("gpt2", RepoKind::Model, "gpt2", "", "gpt2"),
            ("a/b", RepoKind::Model, "a/b", "a", "b"),
            ("datasets/squad", RepoKind::Dataset, "squad", "", "squad"),
            ("datasets/a/ds", RepoKind::Dataset, "a/ds", "a", "ds"),
            ("spaces/a/app", RepoKind::Space, "a/app", "a", "app"),
        ] {
            let name: RepoName = text.parse().unwrap();
            assert_eq!((name.kind(), name.bare()), (kind, bare), "{text}");
            assert_eq!((name.organisation(), name.model()), (organisation, model));
            assert_eq!(RepoName::of_kind(kind, bare), Ok(name));
        }
        for text in [
            "datasets",
            "Datasets",
            "api",
            "models",
            "spaces/datasets/x",
            "datasets/a/b/c",
            "models/a/b",
            "datasets/",
            "",
        ] {
            assert!(text.parse::<RepoName>().is_err(), "{text}");
        }
        assert!(RepoName::of_kind(RepoKind::Model, "datasets/x").is_err());
    }

    #[test]
    fn a_name_without_organisation_may_be_marked() {
        let name = |text: &str| text.parse::<RepoName>().unwrap();
        for (bare, marked) in [("gpt2", "_/gpt2"), ("datasets/squad", "datasets/_/squad")] {
            assert_eq!(name(bare).marked(), marked);
            assert_eq!(name(marked).without_mark(), Some(name(bare)));
        }
        assert_eq!(name("a/b").marked(), "a/b");
        assert_eq!(name("a/b").without_mark(), None);
    }

    #[test]
    fn a_path_is_cut_behind_each_name_that_it_may_begin_with() {
        let cuts = |text: &'static str| {
            let cuts = RepoName::cuts(text).map(|(name, rest)| format!("{name} {rest}"));
            cuts.collect::<Vec<_>>()
        };
        assert_eq!(cuts("gpt2/main/x"), ["gpt2 main/x", "gpt2/main x"]);
        assert_eq!(
            cuts("datasets/a/b/main"),
            ["datasets/a b/main", "datasets/a/b main"]
        );
        assert_eq!(cuts("gpt2"), ["gpt2 "]);
    }

    #[test]
    fn directories_of_a_path_come_from_the_top() {
        let path: RepoPath = "a/b/c".parse().unwrap();
        assert_eq!(path.directories().collect::<Vec<_>>(), ["a", "a/b"]);
    }
}
