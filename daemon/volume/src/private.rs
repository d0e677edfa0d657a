//! Models that not everybody may know of: which places of a volume belong to them.
//!
//! A prefix of names (`acme/`, `acme/llama`) makes the models private whose names begin with it. A
//! volume that hides them ([`crate::Tree::hiding`]) has no such names for anybody; who has proved
//! that it may see some is given the whole volume, and asked about here for every place. Invariant:
//! a place that cannot be understood is judged by its first name alone, so it is hidden rather than
//! shown. Not promised: that somebody who holds a file open, or a copy, loses it.

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

/// The model, or the organisation, that a place belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Subject<'a> {
    organisation: &'a [u8],
    model: Option<&'a [u8]>,
}

impl<'a> Subject<'a> {
    /// The subject of a model's name, `org/model`.
    #[must_use]
    pub fn of_model(name: &'a str) -> Self {
        match name.split_once('/') {
            Some((organisation, model)) => Self {
                organisation: organisation.as_bytes(),
                model: Some(model.as_bytes()),
            },
            None => Self {
                organisation: name.as_bytes(),
                model: None,
            },
        }
    }

    /// The text of the subject: `org/model`, or `org/` for an organisation.
    fn text(&self) -> impl Iterator<Item = &'a u8> {
        let model = self.model.unwrap_or(&[]);
        self.organisation.iter().chain(b"/").chain(model)
    }

    /// Whether its name begins with the prefix, so that a rule for the prefix is about it.
    #[must_use]
    pub fn is_below(&self, prefix: &str) -> bool {
        let mut text = self.text();
        prefix.bytes().all(|byte| text.next() == Some(&byte))
    }

    /// Whether it is the organisation of models that begin with the prefix.
    #[must_use]
    pub fn leads_to(&self, prefix: &str) -> bool {
        let mut rest = prefix.bytes();
        self.model.is_none() && self.text().all(|byte| rest.next() == Some(*byte))
    }
}

impl Private {
    /// What a place below the root belongs to; `None` for the root.
    #[must_use]
    pub fn subject<'a>(&self, names: &'a [Name]) -> Option<Subject<'a>> {
        let first = names.first()?.as_bytes();
        match self.spelling {
            Spelling::Repositories => Some(Subject {
                organisation: first,
                model: names.get(1).map(Name::as_bytes),
            }),
            Spelling::HubCache => Some(of_cache(first)),
        }
    }

    /// What an entry of a directory belongs to.
    #[must_use]
    pub fn entry<'a>(&self, dir: &'a [Name], name: &'a [u8]) -> Option<Subject<'a>> {
        match (self.spelling, dir.first()) {
            (Spelling::Repositories, None) => Some(Subject {
                organisation: name,
                model: None,
            }),
            (Spelling::HubCache, None) => Some(of_cache(name)),
            (Spelling::Repositories, Some(organisation)) if dir.len() == 1 => Some(Subject {
                organisation: organisation.as_bytes(),
                model: Some(name),
            }),
            (_, Some(_)) => self.subject(dir),
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

    /// Organisations of which a part is private: in their directories names must be looked at.
    pub(crate) fn divided(&self) -> impl Iterator<Item = &str> {
        let cuts = self.prefixes.iter().filter_map(|text| text.split_once('/'));
        let partly = cuts.filter(|(_, rest)| !rest.is_empty());
        let names = partly.map(|(organisation, _)| organisation);
        names.filter(|_| self.spelling == Spelling::Repositories)
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
    let bare = name.strip_prefix(b"models--").unwrap_or(name);
    match bare.windows(2).position(|pair| pair == b"--") {
        Some(cut) => Subject {
            organisation: bare.get(..cut).unwrap_or(bare),
            model: bare.get(cut + 2..),
        },
        None => Subject {
            organisation: bare,
            model: None,
        },
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
        assert_eq!(rules.divided().collect::<Vec<_>>(), ["lab"]);
        let all = private(Spelling::Repositories, &[""]);
        assert!(all.hides(&names("a")) && !all.hides(&names("")));
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
        assert_eq!(rules.divided().count(), 0);
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
