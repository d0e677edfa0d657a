//! Models that not everybody may know of: which places of a volume belong to them.
//!
//! A prefix of names (`acme/`, `acme/llama`) makes the models, datasets and spaces private whose
//! names begin with it; one with `datasets/` or `spaces/` in front those of that kind alone. A
//! volume that hides them ([`crate::Tree::hiding`]) has no such names for anybody; who has proved
//! that it may see some is given the whole volume, and asked about here for every place.
//! Invariant: a place that cannot be understood is judged by its first name alone, so it is hidden
//! rather than shown. Not promised: that somebody who holds a file open, or a copy, loses it.

use std::collections::BTreeSet;
use std::sync::Arc;

use towline_base::Name;

use crate::volume::Volume;

/// How the names of models are spelled in a volume's paths.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Spelling {
    /// `org/model/...`
    Repositories,
    /// `models--org--model/...`, the layout of the hub's cache.
    HubCache,
}

/// Which models of a volume are private.
#[derive(Clone, Debug)]
pub struct Private {
    /// How their names are spelled.
    pub spelling: Spelling,
    /// What their names begin with; at least one.
    pub prefixes: Vec<String>,
}

/// The private part of an export.
#[derive(Clone, Debug)]
pub struct Hidden {
    /// Which models.
    pub private: Arc<Private>,
    /// The volume with nothing hidden: for places that were judged one by one.
    pub whole: Arc<dyn Volume>,
}

/// Words that stand before the names of what is no model, in names and as folders.
const KINDS: [&str; 2] = ["datasets", "spaces"];

/// The model, or the organisation, that a place belongs to. One of another kind (`datasets/...`)
/// has the word for it apart, so that a prefix without such a word is about every kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Subject<'a> {
    kind: Option<&'static str>,
    organisation: Option<&'a [u8]>,
    model: Option<&'a [u8]>,
}

/// The word for a kind that a name is.
fn kind_of(name: &[u8]) -> Option<&'static str> {
    KINDS.into_iter().find(|kind| kind.as_bytes() == name)
}

/// The word for a kind before a prefix or name, and what follows it.
fn without_kind(text: &str) -> (Option<&'static str>, &str) {
    let cut = text.split_once('/');
    let found = cut.and_then(|(word, rest)| Some((kind_of(word.as_bytes())?, rest)));
    found.map_or((None, text), |(kind, rest)| (Some(kind), rest))
}

impl<'a> Subject<'a> {
    /// The subject of a name: `org/model`, `model`, or with the word for a kind in front.
    #[must_use]
    pub fn of_model(name: &'a str) -> Self {
        let (kind, bare) = without_kind(name);
        let mut parts = bare.splitn(2, '/').map(str::as_bytes);
        Self {
            kind,
            organisation: parts.next(),
            model: parts.next(),
        }
    }

    /// The subject of the names of directories, from the top.
    fn of_names(mut names: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut first = Some(names.next()?);
        let kind = first.and_then(kind_of);
        if kind.is_some() {
            first = names.next();
        }
        Some(Self {
            kind,
            organisation: first,
            model: names.next(),
        })
    }

    /// The text without its kind: `org/model`, or `org/` for an organisation.
    fn bare(&self) -> impl Iterator<Item = &'a u8> {
        let slash: &[u8] = if self.organisation.is_some() {
            b"/"
        } else {
            b""
        };
        let (organisation, model) = (self.organisation, self.model);
        let organisation = organisation.unwrap_or(&[]);
        organisation.iter().chain(slash).chain(model.unwrap_or(&[]))
    }

    /// Whether its name begins with the prefix, so that a rule for the prefix is about it.
    #[must_use]
    pub fn is_below(&self, prefix: &str) -> bool {
        let (kind, rest) = without_kind(prefix);
        let mut text = self.bare();
        (kind.is_none() || kind == self.kind) && rest.bytes().all(|byte| text.next() == Some(&byte))
    }

    /// Whether it is the folder of a kind, or the organisation, of models that begin with the
    /// prefix.
    #[must_use]
    pub fn leads_to(&self, prefix: &str) -> bool {
        let (kind, rest) = without_kind(prefix);
        let mut rest = rest.bytes();
        self.model.is_none()
            && (kind.is_none() || kind == self.kind)
            && self.bare().all(|byte| rest.next() == Some(*byte))
    }
}

impl Private {
    /// What a place below the root belongs to; `None` for the root.
    #[must_use]
    pub fn subject<'a>(&self, names: &'a [Name]) -> Option<Subject<'a>> {
        let mut names = names.iter().map(Name::as_bytes);
        match self.spelling {
            Spelling::Repositories => Subject::of_names(names),
            Spelling::HubCache => names.next().map(of_cache),
        }
    }

    /// What an entry of a directory belongs to.
    #[must_use]
    pub fn entry<'a>(&self, dir: &'a [Name], name: &'a [u8]) -> Option<Subject<'a>> {
        let above = dir.iter().map(Name::as_bytes);
        let mut names = above.chain(std::iter::once(name));
        match self.spelling {
            Spelling::Repositories => Subject::of_names(names),
            Spelling::HubCache => names.next().map(of_cache),
        }
    }

    /// Whether a subject is private.
    #[must_use]
    pub fn covers(&self, subject: &Subject<'_>) -> bool {
        self.prefixes.iter().any(|prefix| subject.is_below(prefix))
    }

    /// Whether a place below the root is private.
    #[must_use]
    pub fn hides(&self, names: &[Name]) -> bool {
        self.subject(names)
            .is_some_and(|subject| self.covers(&subject))
    }

    /// Directories below the root of which a part may be private: in them names must be looked at.
    pub(crate) fn divided(&self) -> BTreeSet<String> {
        let mut divided = BTreeSet::new();
        if self.spelling != Spelling::Repositories {
            return divided;
        }
        for prefix in &self.prefixes {
            let (kind, rest) = without_kind(prefix);
            let partly = rest.split_once('/').filter(|(_, rest)| !rest.is_empty());
            let organisation = partly.map(|(organisation, _)| organisation);
            if kind.is_none() {
                divided.extend(organisation.map(str::to_owned));
            }
            let kinds = KINDS
                .into_iter()
                .filter(|one| kind.is_none_or(|kind| kind == *one));
            for kind in kinds.filter(|_| !rest.is_empty()) {
                divided.insert(kind.to_owned());
                divided.extend(organisation.map(|name| format!("{kind}/{name}")));
            }
        }
        divided
    }

    /// Text that changes whenever something else becomes private.
    #[must_use]
    pub fn mark(&self) -> String {
        let mut sorted: Vec<&str> = self.prefixes.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        sorted.dedup();
        sorted.join("\n")
    }
}

/// Names of repositories hold no `--`, so there is one way only to read a folder's name.
fn of_cache(name: &[u8]) -> Subject<'_> {
    let cut = |text: &[u8]| text.windows(2).position(|pair| pair == b"--");
    let (mut kind, mut bare) = (None, name);
    if let Some(end) = cut(name)
        && let (Some(word), Some(rest)) = (name.get(..end), name.get(end + 2..))
    {
        kind = kind_of(word);
        if kind.is_some() || word == b"models" {
            bare = rest;
        }
    }
    let end = cut(bare);
    Subject {
        kind,
        organisation: end.and_then(|end| bare.get(..end)).or(Some(bare)),
        model: end.and_then(|end| bare.get(end + 2..)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &str) -> Vec<Name> {
        let parts = path.split('/').filter(|part| !part.is_empty());
        parts
            .map(|part| Name::new(part.as_bytes()).unwrap())
            .collect()
    }

    fn private(spelling: Spelling, prefixes: &[&str]) -> Private {
        Private {
            spelling,
            prefixes: prefixes.iter().map(|&prefix| prefix.to_owned()).collect(),
        }
    }

    #[test]
    fn a_prefix_hides_what_begins_with_it_and_nothing_else() {
        let rules = private(Spelling::Repositories, &["acme/", "lab/secret"]);
        for path in [
            "acme",
            "acme/x",
            "acme/x/main/file",
            "lab/secret",
            "lab/secret-2/main",
        ] {
            assert!(rules.hides(&names(path)), "{path}");
        }
        for path in ["", "lab", "lab/open", "acm/x", "acmes/x", "other"] {
            assert!(!rules.hides(&names(path)), "{path}");
        }
        let divided = rules.divided().into_iter().collect::<Vec<_>>();
        assert_eq!(
            divided,
            ["datasets", "datasets/lab", "lab", "spaces", "spaces/lab"]
        );
        let all = private(Spelling::Repositories, &[""]);
        assert!(all.hides(&names("a")) && !all.hides(&names("")));
    }

    /// Who makes an organisation private means its datasets too; a word in front means one kind.
    #[test]
    fn a_prefix_is_about_every_kind_unless_it_names_one() {
        let rules = private(Spelling::Repositories, &["acme/", "datasets/lab/secret"]);
        for path in [
            "datasets/acme",
            "datasets/acme/ds/main/file",
            "spaces/acme/app",
            "datasets/lab/secret-1/main",
        ] {
            assert!(rules.hides(&names(path)), "{path}");
        }
        for path in [
            "datasets",
            "datasets/lab",
            "datasets/lab/open",
            "lab/secret",
            "spaces/lab/secret",
            "datasets/other",
        ] {
            assert!(!rules.hides(&names(path)), "{path}");
        }
        let hides = |name: &str| rules.covers(&Subject::of_model(name));
        assert!(hides("acme/x") && hides("datasets/acme/x") && hides("datasets/lab/secret"));
        assert!(!hides("lab/secret") && !hides("datasets/squad") && !hides("gpt2"));
        let divided = rules.divided().into_iter().collect::<Vec<_>>();
        assert_eq!(divided, ["datasets", "datasets/lab", "spaces"]);
        let cache = private(Spelling::HubCache, &["acme/", "datasets/squad"]);
        for path in ["datasets--acme--ds/refs", "datasets--squad"] {
            assert!(cache.hides(&names(path)), "{path}");
        }
        assert!(!cache.hides(&names("models--squad")));
        let all = private(Spelling::Repositories, &["gpt2"]);
        assert!(all.hides(&names("gpt2")) && all.hides(&names("gpt2-xl/main")));
        let datasets = private(Spelling::Repositories, &["datasets/"]);
        assert!(datasets.hides(&names("datasets")) && !datasets.hides(&names("acme")));
    }

    #[test]
    fn the_cache_of_the_hub_is_hidden_alike() {
        let rules = private(Spelling::HubCache, &["acme/", "lab/secret"]);
        for path in [
            "models--acme--x/refs/main",
            "models--lab--secret-2",
            "models--acme",
        ] {
            assert!(rules.hides(&names(path)), "{path}");
        }
        for path in ["models--lab--open/refs", "models--acmes--x", "version.txt"] {
            assert!(!rules.hides(&names(path)), "{path}");
        }
        assert!(rules.divided().is_empty());
    }

    #[test]
    fn entries_belong_where_their_paths_do() {
        let rules = private(Spelling::Repositories, &["lab/secret"]);
        let dir = names("lab");
        let entry = rules.entry(&dir, b"secret-1").unwrap();
        assert!(rules.covers(&entry));
        assert!(!rules.covers(&rules.entry(&dir, b"open").unwrap()));
        assert!(!rules.covers(&rules.entry(&[], b"lab").unwrap()));
        assert!(rules.entry(&[], b"lab").unwrap().leads_to("lab/secret"));
        let inside = names("lab/secret-1/main");
        assert!(rules.covers(&rules.entry(&inside, b"anything").unwrap()));
    }
}
