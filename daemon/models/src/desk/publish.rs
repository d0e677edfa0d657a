//! Publishing from another machine, and signatures that were made elsewhere.
//!
//! A publisher asks which files are missing, sends those, and then names all of them: the node
//! reads what it has and moves the tag. Invariant: a revision that came with a signature is exactly
//! what was signed, or it is not published; a file is taken by its hash only where its sender could
//! have had it from here. Not promised: that files which were sent are kept for more than a day.

use towline_store::{
    ManifestId, Parent, PublicKey, PublishOptions, RepoPath, RevisionId, Sha256, Signature, Signer,
};

use super::answer::{Answer, done, failed, fault, json, refuse, tag, value};
use super::report::describe;
use super::{Caller, ModelDesk};
use crate::uploads::Operation;
use towline_api as api;

/// What a publisher signed.
#[derive(Clone, Debug)]
pub(super) struct Signed {
    parent: Parent,
    created: u64,
    pub(super) signature: Signature,
}

impl Signed {
    pub(super) fn of(signed: &api::Signed) -> Result<Self, Answer> {
        let parent = match signed.parent.as_deref() {
            None => Parent::Nothing,
            Some(rev) => Parent::Exactly(name::<RevisionId>(rev)?),
        };
        Ok(Self {
            parent,
            created: signed.created,
            signature: signature(&signed.signature)?,
        })
    }
}

/// What is published as it was signed, or else as this node signs it.
pub(super) fn options<'a>(
    signed: Option<&Signed>,
    signer: Option<&'a Signer>,
) -> PublishOptions<'a> {
    PublishOptions {
        created: signed.map(|signed| signed.created),
        parent: signed.map(|signed| signed.parent).unwrap_or_default(),
        // Who signs elsewhere is the publisher; this node's word would say something else.
        signer: signer.filter(|_| signed.is_none()),
        ..Default::default()
    }
}

impl ModelDesk {
    /// Tells which files are not here, where they go, and how much of each has come already.
    pub(super) fn missing(&self, asked: &api::Having, caller: &Caller) -> Result<Answer, Answer> {
        let repo = self.own(&asked.name, caller)?;
        // What would be refused in the end is refused before it is sent.
        let key = match asked.key.as_deref() {
            Some(key) => Some(name::<PublicKey>(key)?),
            None => self.uploads.signer().map(Signer::public_key),
        };
        let checked = self.store().check_key(key, &repo);
        checked.map_err(|error| failed(&error))?;
        let mut files = Vec::new();
        for file in &asked.files {
            let oid = name::<Sha256>(&file.sha256)?;
            if file.size > self.uploads.size_max() {
                let why = "a file is larger than limits.upload_size of the node";
                return Err(refuse(413, "usage", why));
            }
            if self.uploads.known(&oid, &caller.sight).is_some() {
                continue;
            }
            let wanted = (&oid, file.size);
            let room = self.uploads.judge_room(wanted, None, &caller.sight);
            room.map_err(|why| refuse(507, "storage", &why))?;
            let (place, held) = self.uploads.place(&oid, file.size, &caller.sight);
            files.push(api::MissingFile {
                sha256: file.sha256.clone(),
                size: file.size,
                held,
                place: format!("/hf{place}"),
            });
        }
        Ok(json(&api::Missing { files }))
    }

    /// Publishes files that are all here.
    pub(super) fn publish(&self, publish: api::Publish, caller: &Caller) -> Result<Answer, Answer> {
        let (repo, tag) = (self.own(&publish.name, caller)?, tag(&publish.tag)?);
        let signed = publish.signed.as_ref().map(Signed::of).transpose()?;
        let mut operations = Vec::new();
        for file in &publish.files {
            let path = name::<RepoPath>(&file.path)?;
            operations.push(Operation::Large(path, name(&file.sha256)?));
        }
        let large: Vec<Sha256> = operations.iter().filter_map(Operation::large).collect();
        let source = self.uploads.source(None, operations, &caller.sight);
        let source = source.map_err(|why| refuse(400, "usage", &why))?;
        let (uploads, sight) = (self.uploads.clone(), caller.sight.clone());
        let about = Some(repo.clone());
        self.begin(format!("publish {repo}:{tag}"), about, move |doing| {
            let signature = signed.as_ref().map(|signed| signed.signature);
            let options = PublishOptions {
                message: &publish.message,
                signatures: signature.as_slice(),
                ..options(signed.as_ref(), uploads.signer())
            };
            let store = uploads.store();
            let published = store
                .publish(&repo, &tag, &source, &options, doing.progress)
                .map_err(|error| fault(&error))?;
            uploads.published(&large, published.bytes, &sight);
            Ok(value(&describe(&repo, &tag, &published)))
        })
    }

    /// Adds a signature to a revision: one that was made elsewhere, or this node's own.
    pub(super) fn sign(&self, sign: &api::Sign, caller: &Caller) -> Result<Answer, Answer> {
        let repo = self.own(&sign.name, caller)?;
        let rev = self.resolve(&repo, sign.revision.as_deref())?;
        let signature = match (&sign.signature, self.uploads.signer()) {
            (Some(text), _) => signature(text)?,
            (None, Some(signer)) => {
                let manifest = self.manifest(&repo, &rev)?;
                signer.sign_manifest(&manifest)
            }
            (None, None) => {
                let why = "this node has no key of its own: set models.signing_key, or sign with \
                           --sign-key FILE";
                return Err(refuse(400, "usage", why));
            }
        };
        done(self.store().add_signature(&repo, &rev, signature))
    }

    fn manifest(
        &self,
        repo: &towline_store::RepoName,
        rev: &RevisionId,
    ) -> Result<ManifestId, Answer> {
        let catalog = self.store().catalog();
        let both = [catalog.repo(repo), catalog.refused.get(repo)];
        let mut both = both.into_iter().flatten();
        let found = both.find_map(|repo| repo.revisions.get(rev));
        let gone = || towline_store::ClientFault::NoRevision {
            repo: repo.clone(),
            rev: *rev,
        };
        let found = found.ok_or_else(|| failed(&gone().into()))?;
        Ok(found.manifest)
    }
}

fn name<T: std::str::FromStr<Err = towline_store::NameFault>>(text: &str) -> Result<T, Answer> {
    text.parse()
        .map_err(|fault: towline_store::NameFault| refuse(400, "usage", &fault.to_string()))
}

fn signature(text: &api::SignatureText) -> Result<Signature, Answer> {
    Signature::parse(&text.key, &text.bytes).map_err(|fault| {
        refuse(
            400,
            "usage",
            &format!("the signature cannot be read: {fault}"),
        )
    })
}
