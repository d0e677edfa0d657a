//! Who may see which private models, and who may publish: tokens with the prefixes that they open.
//!
//! A prefix that some token may only read is private: whoever has no token for it learns nothing of
//! the models below it, not even that they exist. Invariant: a [`Sight`] shows a private model only
//! if one of its prefixes covers it; tokens are compared in a time that does not depend on where
//! they differ, and never printed. Not promised: that a token opens a volume that has tokens of its
//! own; those are asked for first.

use std::fmt;
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use towline_store::{Catalog, CatalogRepo, CatalogRevision, RepoName};
use towline_volume::{Hidden, Name, Subject};

use crate::access;

/// A token for models.
#[derive(Clone)]
pub struct ModelToken {
    /// The secret text. Never printed.
    pub secret: String,
    /// What the names of models begin with that it opens; empty: every model.
    pub prefix: String,
    /// Whether it publishes; it reads in any case.
    pub publishes: bool,
}

impl fmt::Debug for ModelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ModelToken(***, {:?})", self.prefix)
    }
}

/// All tokens for models.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    tokens: Vec<ModelToken>,
    private: Vec<String>,
}

impl Keyring {
    /// The keyring of these tokens.
    #[must_use]
    pub fn new(tokens: Vec<ModelToken>) -> Self {
        let readers = tokens.iter().filter(|token| !token.publishes);
        let private = readers.map(|token| token.prefix.clone()).collect();
        Self { tokens, private }
    }

    /// What the names of private models begin with.
    #[must_use]
    pub fn private(&self) -> &[String] {
        &self.private
    }

    /// What the sender of an Authorization field may see, looking at every token whichever
    /// matches. Tokens that are none of ours see what everybody sees.
    #[must_use]
    pub fn sight(self: &Arc<Self>, authorization: Option<&[u8]>) -> Sight {
        let sent = authorization.and_then(access::token);
        let mut sight = self.sight_of(&[]);
        if let Some(sent) = sent {
            for token in &self.tokens {
                if access::same(token.secret.as_bytes(), &sent) {
                    sight.opened.push((token.prefix.clone(), token.publishes));
                    sight.holder = Some(token.secret.clone());
                }
            }
        }
        sight
    }

    /// What somebody may see who was told apart in another way: private models below these
    /// prefixes.
    #[must_use]
    pub fn sight_of(self: &Arc<Self>, prefixes: &[String]) -> Sight {
        let opened = prefixes.iter().map(|prefix| (prefix.clone(), false));
        Sight {
            keyring: Arc::clone(self),
            sees_all: false,
            opened: opened.collect(),
            holder: None,
        }
    }

    /// What the node's owner may see: everything.
    #[must_use]
    pub fn sight_of_owner(self: &Arc<Self>) -> Sight {
        Sight {
            sees_all: true,
            ..self.sight_of(&[])
        }
    }
}

/// What somebody may see and publish.
#[derive(Clone)]
pub struct Sight {
    keyring: Arc<Keyring>,
    sees_all: bool,
    /// Prefixes, and whether they may be published below.
    opened: Vec<(String, bool)>,
    /// The token that was sent.
    holder: Option<String>,
}

impl fmt::Debug for Sight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sight({}, {:?})", self.sees_all, self.opened)
    }
}

impl Sight {
    /// Whether a token was sent that is one of ours.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.sees_all || !self.opened.is_empty()
    }

    /// A name for whoever sends this token, from which the token cannot be had: sixteen hex digits.
    #[must_use]
    pub fn holder(&self) -> String {
        let holder = self.holder.as_deref().unwrap_or("");
        let hash = digest(&SHA256, format!("towline holder\0{holder}").as_bytes());
        let bytes = hash.as_ref().iter().take(8);
        bytes.map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether it is the owner's.
    #[must_use]
    pub fn sees_everything(&self) -> bool {
        self.sees_all
    }

    /// Whether anything may be published.
    #[must_use]
    pub fn may_publish_some(&self) -> bool {
        self.sees_all || self.opened.iter().any(|(_, publishes)| *publishes)
    }

    /// Whether this model may be published.
    #[must_use]
    pub fn may_publish(&self, name: &RepoName) -> bool {
        let mut publishing = self.opened.iter().filter(|(_, publishes)| *publishes);
        let subject = Subject::of_model(name.as_str());
        self.sees_all || publishing.any(|(prefix, _)| subject.is_below(prefix))
    }

    /// Whether this model may be known of.
    #[must_use]
    pub fn sees(&self, name: &RepoName) -> bool {
        self.sees_subject(&Subject::of_model(name.as_str()))
    }

    /// Whether anybody may know of this model.
    #[must_use]
    pub fn is_private(&self, name: &RepoName) -> bool {
        self.covers(&Subject::of_model(name.as_str()))
    }

    /// Whether some model may be here that this sight does not show.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        !self.sees_all && !self.keyring.private.is_empty()
    }

    /// Whether a place of a volume may be known of. The way to what may be seen may be seen.
    pub(crate) fn sees_subject(&self, subject: &Subject<'_>) -> bool {
        let mut opened = self.opened.iter().map(|(prefix, _)| prefix);
        self.sees_all
            || !self.covers(subject)
            || opened.any(|prefix| subject.is_below(prefix) || subject.leads_to(prefix))
    }

    /// Whether an entry of a directory of a volume may be known of.
    pub(crate) fn sees_entry(&self, hidden: &Hidden, dir: &[Name], name: &[u8]) -> bool {
        let subject = hidden.private.entry(dir, name);
        subject.is_none_or(|subject| self.sees_subject(&subject))
    }

    fn covers(&self, subject: &Subject<'_>) -> bool {
        let mut private = self.keyring.private.iter();
        private.any(|prefix| subject.is_below(prefix))
    }
}

/// The catalog as somebody may see it.
#[derive(Clone, Debug)]
pub struct Seen {
    catalog: Arc<Catalog>,
    sight: Sight,
}

impl Seen {
    /// A catalog as this sight shows it.
    #[must_use]
    pub fn new(catalog: Arc<Catalog>, sight: Sight) -> Self {
        Self { catalog, sight }
    }

    /// Whose view it is.
    #[must_use]
    pub fn sight(&self) -> &Sight {
        &self.sight
    }

    /// Every repository.
    pub fn repos(&self) -> impl Iterator<Item = (&RepoName, &CatalogRepo)> {
        let all = self.catalog.repos.iter();
        all.filter(|(name, _)| self.sight.sees(name))
    }

    /// A name as it is written here, whatever its capital letters are.
    #[must_use]
    pub fn spelled(&self, name: &RepoName) -> RepoName {
        self.catalog.spelled(name)
    }

    /// A repository.
    #[must_use]
    pub fn repo(&self, name: &RepoName) -> Option<&CatalogRepo> {
        self.catalog.repo(name).filter(|_| self.sight.sees(name))
    }

    /// The revision that a tag or forty hex digits name.
    #[must_use]
    pub fn resolve(&self, name: &RepoName, rev: &str) -> Option<&Arc<CatalogRevision>> {
        self.repo(name)?.resolve(rev)
    }

    /// Repositories with revisions that are refused for want of a signature.
    pub fn refused_repos(&self) -> impl Iterator<Item = (&RepoName, &CatalogRepo)> {
        let all = self.catalog.refused.iter();
        all.filter(|(name, _)| self.sight.sees(name))
    }

    /// The same for a place in the volume of models.
    pub(crate) fn is_refused_at(&self, names: &[Name]) -> bool {
        let names = names
            .iter()
            .map(|name| std::str::from_utf8(name.as_bytes()));
        let Ok(names) = names.collect::<Result<Vec<&str>, _>>() else {
            return false;
        };
        let path = names.join("/");
        RepoName::cuts(&path).any(|(name, rest)| {
            let tag = rest.split('/').next().filter(|tag| !tag.is_empty());
            self.is_refused(&name, tag)
        })
    }

    /// What of a repository is refused for want of a signature.
    #[must_use]
    pub fn refused(&self, name: &RepoName) -> Option<&CatalogRepo> {
        let refused = self.catalog.refused.get(name);
        refused.filter(|_| self.sight.sees(name))
    }

    /// Whether what a tag or forty hex digits name is here and refused for want of a signature.
    /// Without a name: whether nothing else is here of the repository.
    #[must_use]
    pub fn is_refused(&self, name: &RepoName, rev: Option<&str>) -> bool {
        let Some(refused) = self.refused(name) else {
            return false;
        };
        match rev {
            Some(rev) => refused.resolve(rev).is_some(),
            None => !self.catalog.repos.contains_key(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring() -> Arc<Keyring> {
        let token = |secret: &str, prefix: &str, publishes| ModelToken {
            secret: secret.to_owned(),
            prefix: prefix.to_owned(),
            publishes,
        };
        Arc::new(Keyring::new(vec![
            token("reads-acme", "acme/", false),
            token("writes-acme", "acme/", true),
            token("reads-one", "lab/secret", false),
            token("writes-all", "", true),
        ]))
    }

    fn name(text: &str) -> RepoName {
        text.parse().unwrap()
    }

    #[test]
    fn a_token_shows_what_its_prefix_covers_and_publishing_implies_reading() {
        let keyring = keyring();
        let seen = |field: Option<&str>| {
            let sight = keyring.sight(field.map(str::as_bytes));
            let names = ["acme/x", "lab/secret-1", "lab/open"];
            names.map(|text| sight.sees(&name(text)))
        };
        assert_eq!(seen(None), [false, false, true]);
        assert_eq!(seen(Some("Bearer wrong")), [false, false, true]);
        assert_eq!(seen(Some("Bearer reads-acme")), [true, false, true]);
        assert_eq!(seen(Some("Bearer writes-acme")), [true, false, true]);
        assert_eq!(seen(Some("bearer reads-one")), [false, true, true]);
        assert_eq!(seen(Some("Bearer writes-all")), [true, true, true]);
        // user:reads-acme
        assert_eq!(
            seen(Some("Basic dXNlcjpyZWFkcy1hY21l")),
            [true, false, true]
        );
    }

    #[test]
    fn only_a_token_that_publishes_publishes() {
        let keyring = keyring();
        let may = |field: &str, model: &str| {
            let sight = keyring.sight(Some(field.as_bytes()));
            sight.may_publish(&name(model))
        };
        assert!(!may("Bearer reads-acme", "acme/x"));
        assert!(may("Bearer writes-acme", "acme/x"));
        assert!(!may("Bearer writes-acme", "lab/x"));
        assert!(may("Bearer writes-all", "lab/x"));
        assert!(!format!("{keyring:?}").contains("writes-all"));
    }
}
