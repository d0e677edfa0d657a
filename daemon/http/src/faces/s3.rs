//! Read-only S3 on a port of its own: the models as objects of one bucket.
//!
//! Governed by the API reference of Amazon S3 as boto3, s3fs and model streamers use it: path style
//! only, `/{bucket}/{org}/{model}/{tag or revision}/{path}`, where the bucket is the volume of
//! models. Objects go out through the same code as `/files/`. Invariant: where keys are configured
//! nothing is said before a signature was verified, and private models are shown only to keys that
//! name them; every refusal is XML with a code of S3. Not
//! promised: anything that changes an object, versions, or an ETag that is an MD5.

pub(crate) mod fault;
pub mod list;
pub mod sign;

use towline_io::Output;
use towline_store::{CatalogFile, CatalogRevision, RepoName, TagName};
use towline_volume::Reach;

use super::{Asked, Face};
use crate::access;
use crate::done::Done;
use crate::exchange::{Exchange, Flow, Request};
use crate::faces::files::get;
use crate::head::{Head, Method};
use crate::keyring::Sight;
use crate::metrics::add;
use crate::models::{Dress, Models};
use crate::path::decode;
use crate::query::Query;
use crate::server::Port;
use crate::status::{Extra, Refusal, Status};
use crate::validator::EntityTag;

pub use sign::Key;
use sign::SignFault;

/// What S3 calls the namespace of its documents.
const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// What is told as region: that of clients which name none.
const REGION: &str = "us-east-1";

/// What may stand in any query: a signature, and the operation's name, which some clients add.
const ALWAYS: [&str; 4] = ["x-id", "AWSAccessKeyId", "Signature", "Expires"];

/// What may stand in the query of the list of buckets. There is one bucket, so nothing chooses.
const OF_BUCKETS: [&str; 4] = [
    "max-buckets",
    "prefix",
    "continuation-token",
    "bucket-region",
];

/// What may stand in the query of a bucket.
const OF_BUCKET: [&str; 10] = [
    "location",
    "list-type",
    "prefix",
    "delimiter",
    "max-keys",
    "continuation-token",
    "start-after",
    "marker",
    "encoding-type",
    "fetch-owner",
];

/// What may stand in the query of an object.
const OF_OBJECT: [&str; 2] = ["versionId", "partNumber"];

const OTHER_QUESTION: Fault = Fault::Said(
    Status::NOT_IMPLEMENTED,
    "NotImplemented",
    "this S3 answers ListBuckets, HeadBucket, GetBucketLocation, ListObjectsV2, ListObjects, \
     HeadObject and GetObject, and nothing that the query asks for beside them",
);

const NO_VERSION: Fault = Fault::Said(
    Status::NOT_FOUND,
    "NoSuchVersion",
    "objects have no versions here: revisions of a model are keys, ORG/MODEL/REVISION/PATH",
);

/// What a question gives.
enum Answer {
    /// A document.
    Page(String),
    /// An object, with its place below `/files/`.
    Object(Vec<u8>, Dress),
    /// The bucket is there.
    Bucket,
}

/// Why a question is refused: a code of S3 with its status.
enum Fault {
    /// By what the signature lacks.
    Sign(SignFault),
    /// By anything else.
    Said(Status, &'static str, &'static str),
    /// As a file would be.
    Refused(Refusal),
}

const NO_KEY: Fault = Fault::Said(
    Status::NOT_FOUND,
    "NoSuchKey",
    "there is no such object; keys are ORG/MODEL/TAG/PATH, see towline models",
);

const UNSIGNED: Fault = Fault::Said(Status::FORBIDDEN, "AccessDenied", Refusal::UNSIGNED.why);

const NO_BUCKET: Fault = Fault::Said(
    Status::NOT_FOUND,
    "NoSuchBucket",
    "there is no such bucket; the one here has the name of the volume of models, and is \
     addressed by path",
);

/// The face.
pub(crate) struct S3;

impl Face for S3 {
    fn takes(&self, port: Port, _path: &[u8]) -> bool {
        port == Port::S3
    }

    fn answer(
        &self,
        exchange: &mut Exchange,
        asked: Asked<'_, '_>,
        output: &mut Output<Done>,
    ) -> Flow {
        let Asked {
            head, tone, done, ..
        } = asked;
        if done.is_none() {
            add(&exchange.worker.borrow().counters.s3, 1);
        }
        let (status, body) = match judge(exchange, head) {
            Ok(Answer::Object(below, dress)) => {
                let request = Request {
                    head,
                    below: &below,
                    tone,
                    dress: Some(&dress),
                };
                return get::answer(exchange, &request, done, output);
            }
            Ok(Answer::Page(page)) => (Status::OK, page),
            Ok(Answer::Bucket) => (Status::OK, String::new()),
            Err(Fault::Refused(refusal)) => return exchange.refuse(&refusal, tone, output),
            Err(Fault::Said(status, code, why)) => (status, fault::error(code, why)),
            Err(Fault::Sign(fault)) => {
                add(&exchange.worker.borrow().counters.s3_unsigned, 1);
                (fault.status(), fault::error(fault.code(), fault.why()))
            }
        };
        let (how, what) = ((status, tone), ("application/xml", body.as_bytes()));
        exchange.reply_whole(how, what, output, |reply| {
            reply.text("x-amz-bucket-region", REGION.as_bytes());
        })
    }
}

fn judge(exchange: &Exchange, head: &Head<'_>) -> Result<Answer, Fault> {
    let keys = exchange.server.s3_keys();
    let with_keys = !keys.is_empty();
    let keyring = exchange.server.keyring();
    let sight = if with_keys {
        let (now, _) = exchange.worker.borrow_mut().date();
        let key = sign::verify(keys, head, now).map_err(Fault::Sign)?;
        keyring.sight_of(key.prefixes())
    } else {
        keyring.sight(None)
    };
    let Some(models) = exchange.server.models().cloned() else {
        return Err(NO_BUCKET);
    };
    let (export, address) = (models.export(), exchange.address());
    let allowed = if with_keys {
        access::judge_address(export, address, Reach::Read)
    } else {
        access::judge(export, address, head.authorization, Reach::Read)
    };
    match allowed {
        Ok(()) => {}
        Err(refusal) if refusal.status == Status::UNAUTHORIZED => {
            return Err(Fault::Said(
                Status::FORBIDDEN,
                "AccessDenied",
                "the volume has tokens, so S3 needs keys of its own: [[s3.keys]] on the node",
            ));
        }
        Err(_) => return Err(NO_BUCKET),
    }
    if !matches!(head.method, Method::Get | Method::Head) {
        let refusal = Refusal::new(
            Status::NOT_ALLOWED,
            "this S3 is read-only; publish with towline push",
        );
        return Err(Fault::Refused(refusal.with(Extra::Allow("GET, HEAD"))));
    }
    let path = head.path.strip_prefix(b"/").unwrap_or(head.path);
    let (bucket, key) = match path.iter().position(|byte| *byte == b'/') {
        Some(cut) => (path.get(..cut), path.get(cut + 1..)),
        None => (Some(path), None),
    };
    let (bucket, key) = (bucket.unwrap_or(&[]), key.unwrap_or(&[]));
    let known: &[&str] = match (bucket, key) {
        ([], _) => &OF_BUCKETS,
        (_, []) => &OF_BUCKET,
        _ => &OF_OBJECT,
    };
    // A question that is not understood is never answered with an object.
    let is_known = |name: &[u8]| {
        let starts = name.get(..6).unwrap_or(&[]);
        let mut named = known.iter().chain(&ALWAYS);
        named.any(|own| own.as_bytes() == name) || starts.eq_ignore_ascii_case(b"x-amz-")
    };
    if !Query(head.query).names().all(is_known) {
        return Err(OTHER_QUESTION);
    }
    if bucket.is_empty() {
        return Ok(Answer::Page(list::buckets(&export.name)));
    }
    if decode(bucket).ok().as_deref() != Some(export.name.as_bytes()) {
        return Err(NO_BUCKET);
    }
    if key.is_empty() {
        return self::bucket(&models, head, sight);
    }
    version(head)?;
    object(&models, key, (with_keys, sight))
}

/// Objects have one version, which is called null, and one part.
fn version(head: &Head<'_>) -> Result<(), Fault> {
    let query = Query(head.query);
    if query.is_named("versionId") && query.text("versionId").as_deref() != Some("null") {
        return Err(NO_VERSION);
    }
    if query.is_named("partNumber") && query.number("partNumber") != Some(1) {
        return Err(OTHER_QUESTION);
    }
    Ok(())
}

/// What is asked of a bucket: HeadBucket, GetBucketLocation, ListObjectsV2 and ListObjects.
fn bucket(models: &Models, head: &Head<'_>, sight: Sight) -> Result<Answer, Fault> {
    if head.method == Method::Head {
        return Ok(Answer::Bucket);
    }
    let query = Query(head.query);
    if query.is_named("location") {
        let page = format!(
            "{}<LocationConstraint xmlns=\"{NAMESPACE}\"/>",
            fault::DECLARATION
        );
        return Ok(Answer::Page(page));
    }
    let question = list::Question::parse(head.query)
        .map_err(|why| Fault::Said(Status::BAD_REQUEST, "InvalidArgument", why))?;
    let bucket = &models.export().name;
    Ok(Answer::Page(question.answer(bucket, &models.seen(sight))))
}

/// What is asked of an object: HeadObject and GetObject.
fn object(models: &Models, key: &[u8], (is_known, sight): (bool, Sight)) -> Result<Answer, Fault> {
    let key = decode(key).ok().and_then(|key| String::from_utf8(key).ok());
    let key = key.ok_or(NO_KEY)?;
    let catalog = models.seen(sight);
    // The first part may be an organisation, or a model without one: what is here decides.
    let cuts = RepoName::cuts(&key).filter_map(|(name, rest)| {
        let (directory, path) = rest.split_once('/')?;
        let rev = match TagName::of_directory(directory) {
            Ok(tag) => tag.to_string(),
            Err(_) => directory.to_owned(),
        };
        Some((name, rev, path))
    });
    let cuts: Vec<_> = cuts.collect();
    let mut found = cuts.iter().filter_map(|(name, rev, path)| {
        let revision = catalog.resolve(name, rev)?;
        Some((revision, *path))
    });
    let is_refused =
        |(name, rev, _): &(RepoName, String, &str)| catalog.is_refused(name, Some(rev));
    let no_key = if cuts.iter().any(is_refused) {
        UNSIGNED
    } else {
        NO_KEY
    };
    let (revision, path) = found.next().ok_or(no_key)?;
    let path = path.parse().map_err(|_| NO_KEY)?;
    let file = revision.file(&path).ok_or(NO_KEY)?;
    Ok(Answer::Object(
        models.below(revision, file),
        dress(revision, file, is_known),
    ))
}

fn dress(revision: &CatalogRevision, file: &CatalogFile, is_known: bool) -> Dress {
    let rev = revision.rev.to_string();
    Dress {
        tag: EntityTag::quoted(&tag(file)),
        fields: vec![("x-amz-meta-revision", rev)],
        is_known,
    }
}

/// As S3 names objects that came in parts: 32 hex digits, a dash, a number. Programs take an ETag
/// without a dash for an MD5, compare it, and fetch everything again.
fn tag(file: &CatalogFile) -> String {
    let mut digits = match file.sha256 {
        Some(sha256) => sha256.to_string(),
        None => file.id.to_string(),
    };
    digits.truncate(32);
    digits + "-1"
}
