//! Signature version 4: whether a request was signed with one of the configured keys.
//!
//! Governed by "Authenticating Requests (AWS Signature Version 4)" of the S3 API reference: in the
//! Authorization field, or in the query of a presigned URL. Invariant: the secret never leaves
//! here, a signature is compared in a time that does not depend on where it differs, the signed
//! time is within 15 minutes of ours, and the host is always signed. Not promised: that a request
//! is sent only once, and chunked payloads, which only uploads have.

use std::fmt;

use ring::{digest, hmac};

use crate::date;
use crate::head::{Head, Method};
use crate::path::{decode, encode};
use crate::status::Status;

/// How far the signed time may be from ours, in seconds: what S3 allows.
pub const SKEW_SECONDS_MAX: i64 = 15 * 60;

/// Longest life of a presigned URL, in seconds: seven days, what S3 allows.
const EXPIRES_SECONDS_MAX: i64 = 7 * 86_400;

/// Most signed fields; clients sign about five.
const FIELDS_MAX: usize = 32;

/// Most pairs in a query that is signed.
const PAIRS_MAX: usize = 64;

const ALGORITHM: &[u8] = b"AWS4-HMAC-SHA256";
const UNSIGNED: &[u8] = b"UNSIGNED-PAYLOAD";
/// SHA-256 of nothing.
const EMPTY: &[u8] = b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A key whose holder may read.
#[derive(Clone)]
pub struct Key {
    id: Box<str>,
    secret: Box<str>,
    prefixes: Vec<String>,
}

impl Key {
    /// A key from its id and secret, and what the names of private models begin with that it
    /// reads.
    #[must_use]
    pub fn new(id: &str, secret: &str, prefixes: Vec<String>) -> Self {
        Self {
            id: id.into(),
            secret: secret.into(),
            prefixes,
        }
    }

    /// What the names of private models begin with that it reads.
    #[must_use]
    pub fn prefixes(&self) -> &[String] {
        &self.prefixes
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, ***)", self.id)
    }
}

/// Why a request counts as not signed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SignFault {
    /// No signature.
    Missing,
    /// A signature that cannot be read.
    Malformed,
    /// One of version 2.
    Old,
    /// An id that is none of ours.
    UnknownKey,
    /// The time is too far from ours.
    Skewed,
    /// A presigned URL is too old.
    Expired,
    /// It does not fit.
    Wrong,
}

impl SignFault {
    /// The status.
    #[must_use]
    pub fn status(self) -> Status {
        match self {
            Self::Malformed | Self::Old => Status::BAD_REQUEST,
            Self::Missing | Self::UnknownKey | Self::Skewed | Self::Expired | Self::Wrong => {
                Status::FORBIDDEN
            }
        }
    }

    /// The code of S3.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing | Self::Expired => "AccessDenied",
            Self::Malformed => "AuthorizationHeaderMalformed",
            Self::Old => "InvalidRequest",
            Self::UnknownKey => "InvalidAccessKeyId",
            Self::Skewed => "RequestTimeTooSkewed",
            Self::Wrong => "SignatureDoesNotMatch",
        }
    }

    /// What to do.
    #[must_use]
    pub fn why(self) -> &'static str {
        match self {
            Self::Missing => "this node wants signed requests: configure one of its keys",
            Self::Malformed => {
                "the signature cannot be read: version 4 for the service s3 is spoken here, in the \
                 Authorization field or as a presigned URL, with the host among the signed fields"
            }
            Self::Old => {
                "that is a signature of version 2; version 4 is spoken here. For 'aws s3 presign': \
                 aws configure set default.s3.signature_version s3v4; for boto3: \
                 Config(signature_version='s3v4')"
            }
            Self::UnknownKey => "the access key id is none of [[s3.keys]] on the node",
            Self::Skewed => {
                "the time of the request is more than 15 minutes from that of the node: set the \
                 clock of one of them"
            }
            Self::Expired => "the presigned URL has expired",
            Self::Wrong => "the signature does not fit: check the secret access key",
        }
    }
}

/// A signature as it was sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sent {
    /// The key's id.
    pub id: String,
    /// `date/region/service/aws4_request`.
    pub scope: String,
    /// Names of the signed fields, in lower case.
    pub fields: Vec<String>,
    /// The signature.
    pub signature: [u8; 32],
    /// When it was signed: `YYYYMMDDTHHMMSSZ`.
    pub time: String,
    /// Seconds that a presigned URL lives.
    pub expires: Option<i64>,
}

impl Sent {
    /// Reads the signature of a request; `None`: it has none.
    ///
    /// # Errors
    /// [`SignFault::Malformed`].
    pub fn of(head: &Head<'_>) -> Result<Option<Self>, SignFault> {
        match head.authorization {
            Some(value) if value.starts_with(ALGORITHM) => {
                let time = head.values(b"x-amz-date").next();
                let time = time.ok_or(SignFault::Malformed)?;
                in_field(value, time).ok_or(SignFault::Malformed).map(Some)
            }
            Some(value) if value.starts_with(b"AWS ") => Err(SignFault::Old),
            Some(_) => Err(SignFault::Malformed),
            None => match in_query(head.query) {
                Found::Absent => Ok(None),
                Found::Broken => Err(SignFault::Malformed),
                Found::Old => Err(SignFault::Old),
                Found::Whole(sent) => Ok(Some(*sent)),
            },
        }
    }
}

/// What a query says of a signature.
enum Found {
    Absent,
    Broken,
    Old,
    Whole(Box<Sent>),
}

fn in_field(value: &[u8], time: &[u8]) -> Option<Sent> {
    let rest = std::str::from_utf8(value.strip_prefix(ALGORITHM)?).ok()?;
    let (mut credential, mut fields, mut signature) = (None, None, None);
    for part in rest.split(',') {
        let (name, value) = part.trim().split_once('=')?;
        let slot = match name {
            "Credential" => &mut credential,
            "SignedHeaders" => &mut fields,
            "Signature" => &mut signature,
            _ => return None,
        };
        if slot.replace(value).is_some() {
            return None;
        }
    }
    let time = std::str::from_utf8(time).ok()?;
    sent(credential?, fields?, signature?, time, None)
}

fn in_query(query: &[u8]) -> Found {
    let Some(pairs) = pairs(query) else {
        // More than any presigned URL has, or broken: no signature to be found.
        return Found::Absent;
    };
    let get = |name: &str| {
        let mut found = pairs.iter().filter(|(own, _)| own == name.as_bytes());
        let value = found.next().map(|(_, value)| value.as_slice());
        // Twice is as good as broken.
        value.filter(|_| found.next().is_none())
    };
    let Some(algorithm) = get("X-Amz-Algorithm") else {
        if get("AWSAccessKeyId").is_some() && get("Signature").is_some() {
            return Found::Old;
        }
        return Found::Absent;
    };
    let text = |name| std::str::from_utf8(get(name)?).ok();
    let whole = || {
        let expires: i64 = text("X-Amz-Expires")?.parse().ok()?;
        (1..=EXPIRES_SECONDS_MAX).contains(&expires).then_some(())?;
        sent(
            text("X-Amz-Credential")?,
            text("X-Amz-SignedHeaders")?,
            text("X-Amz-Signature")?,
            text("X-Amz-Date")?,
            Some(expires),
        )
    };
    match whole() {
        Some(sent) if algorithm == ALGORITHM => Found::Whole(Box::new(sent)),
        _ => Found::Broken,
    }
}

fn sent(
    credential: &str,
    fields: &str,
    signature: &str,
    time: &str,
    expires: Option<i64>,
) -> Option<Sent> {
    let (id, scope) = credential.split_once('/')?;
    let parts: Vec<&str> = scope.split('/').collect();
    let [date, region, "s3", "aws4_request"] = parts.as_slice() else {
        return None;
    };
    let is_good = !region.is_empty() && date.len() == 8 && time.starts_with(date);
    let fields: Vec<String> = fields.split(';').map(str::to_owned).collect();
    let is_lower = |name: &String| !name.bytes().any(|byte| byte.is_ascii_uppercase());
    if !is_good || fields.len() > FIELDS_MAX || !fields.iter().all(is_lower) {
        return None;
    }
    // Whoever could change the host could send the request elsewhere.
    fields.iter().any(|name| name == "host").then_some(())?;
    Some(Sent {
        id: id.to_owned(),
        scope: scope.to_owned(),
        fields,
        signature: unhex(signature)?,
        time: time.to_owned(),
        expires,
    })
}

/// Verifies the signature of a request at the time `now`, in seconds since 1970.
///
/// # Errors
/// [`SignFault`].
pub fn verify<'k>(keys: &'k [Key], head: &Head<'_>, now: i64) -> Result<&'k Key, SignFault> {
    let sent = Sent::of(head)?.ok_or(SignFault::Missing)?;
    let key = keys.iter().find(|key| *key.id == *sent.id);
    let key = key.ok_or(SignFault::UnknownKey)?;
    let time = date::parse_basic(&sent.time).ok_or(SignFault::Malformed)?;
    match sent.expires {
        _ if time > now + SKEW_SECONDS_MAX => return Err(SignFault::Skewed),
        None if time < now - SKEW_SECONDS_MAX => return Err(SignFault::Skewed),
        Some(expires) if time + expires < now => return Err(SignFault::Expired),
        None | Some(_) => {}
    }
    let request = canonical(head, &sent).ok_or(SignFault::Malformed)?;
    let hash = digest::digest(&digest::SHA256, &request);
    let text = [
        ALGORITHM,
        sent.time.as_bytes(),
        sent.scope.as_bytes(),
        hex(hash.as_ref()).as_bytes(),
    ]
    .join(&b'\n');
    let first = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{}", key.secret).as_bytes());
    let signing = sent.scope.split('/').fold(first, |key, part| {
        let step = hmac::sign(&key, part.as_bytes());
        hmac::Key::new(hmac::HMAC_SHA256, step.as_ref())
    });
    hmac::verify(&signing, &text, &sent.signature).map_err(|_| SignFault::Wrong)?;
    Ok(key)
}

/// The canonical request: method, path as sent, sorted query, signed fields, payload as told.
fn canonical(head: &Head<'_>, sent: &Sent) -> Option<Vec<u8>> {
    let method: &[u8] = match head.method {
        Method::Get => b"GET",
        Method::Head => b"HEAD",
        Method::Put => b"PUT",
        Method::Post => b"POST",
        Method::Delete => b"DELETE",
        Method::Mkcol | Method::Options | Method::Other => return None,
    };
    let mut text = method.to_vec();
    text.push(b'\n');
    text.extend_from_slice(head.path);
    text.push(b'\n');
    let mut list: Vec<Vec<u8>> = Vec::new();
    for (name, value) in pairs(head.query)? {
        if sent.expires.is_some() && name == b"X-Amz-Signature" {
            continue;
        }
        let mut pair = Vec::new();
        encode(&name, &mut pair);
        pair.push(b'=');
        encode(&value, &mut pair);
        list.push(pair);
    }
    // '=' sorts behind the digits, '-' and '.', before letters; names that begin alike are sorted
    // by name first.
    list.sort_by(|one, other| {
        let cut = |pair: &[u8]| pair.iter().position(|byte| *byte == b'=').unwrap_or(0);
        let (one_cut, other_cut) = (cut(one), cut(other));
        one.get(..one_cut)
            .cmp(&other.get(..other_cut))
            .then_with(|| one.cmp(other))
    });
    text.extend(list.join(&b'&'));
    text.push(b'\n');
    for name in &sent.fields {
        text.extend_from_slice(name.as_bytes());
        text.push(b':');
        let values: Vec<Vec<u8>> = head.values(name.as_bytes()).map(one_space).collect();
        text.extend(values.join(&b','));
        text.push(b'\n');
    }
    text.push(b'\n');
    text.extend_from_slice(sent.fields.join(";").as_bytes());
    text.push(b'\n');
    let payload = head.values(b"x-amz-content-sha256").next();
    let fallback = if sent.expires.is_some() {
        UNSIGNED
    } else {
        EMPTY
    };
    text.extend_from_slice(payload.unwrap_or(fallback));
    Some(text)
}

/// Runs of spaces become one.
fn one_space(value: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(value.len());
    for byte in value {
        if *byte != b' ' || out.last() != Some(&b' ') {
            out.push(*byte);
        }
    }
    out
}

/// The decoded pairs of a query; a plus is a plus here. `None`: broken, or too many.
fn pairs(query: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut list = Vec::new();
    for pair in query
        .split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty())
    {
        if list.len() == PAIRS_MAX {
            return None;
        }
        let cut = pair.iter().position(|byte| *byte == b'=');
        let (name, value) = match cut {
            Some(cut) => (pair.get(..cut)?, pair.get(cut + 1..)?),
            None => (pair, &[][..]),
        };
        list.push((decode(name).ok()?, decode(value).ok()?));
    }
    Some(list)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let digits = text.as_bytes();
    if digits.len() != 64 || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    let digit = |byte: &u8| (*byte as char).to_digit(16);
    for (to, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *to = (digit(high)? * 16 + digit(low)?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [&str; 2] = [
        "AKIAIOSFODNN7EXAMPLE",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    ];
    /// 2013-05-24T00:00:00Z, the time of the examples in the API reference of S3.
    const NOW: i64 = 1_369_353_600;

    fn judge(request: &str, now: i64) -> Result<(), SignFault> {
        let text = request.replace('\n', "\r\n");
        let (head, _) = crate::head::parse(text.as_bytes(), &mut 0)
            .unwrap()
            .unwrap();
        verify(
            &[
                Key::new("other", "x", Vec::new()),
                Key::new(KEY[0], KEY[1], Vec::new()),
            ],
            &head,
            now,
        )
        .map(drop)
    }

    fn list(signature: &str) -> String {
        format!(
            "GET /?max-keys=2&prefix=J HTTP/1.1\nHost: examplebucket.s3.amazonaws.com\n\
             x-amz-content-sha256: {}\nx-amz-date: 20130524T000000Z\n\
             Authorization: AWS4-HMAC-SHA256 \
             Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
             SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature={signature}\n\n",
            std::str::from_utf8(EMPTY).unwrap()
        )
    }

    const LIST: &str = "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7";

    /// The example "Get Bucket (List Objects)" of the reference.
    #[test]
    fn the_references_example_is_verified_within_its_time() {
        let request = list(LIST);
        assert_eq!(judge(&request, NOW), Ok(()));
        assert_eq!(judge(&request, NOW + SKEW_SECONDS_MAX), Ok(()));
        assert_eq!(judge(&request, NOW - SKEW_SECONDS_MAX), Ok(()));
        assert_eq!(
            judge(&request, NOW + SKEW_SECONDS_MAX + 1),
            Err(SignFault::Skewed)
        );
        assert_eq!(
            judge(&request, NOW - SKEW_SECONDS_MAX - 1),
            Err(SignFault::Skewed)
        );
    }

    #[test]
    fn whatever_was_changed_does_not_fit() {
        let request = list(LIST);
        for (from, to, fault) in [
            ("prefix=J", "prefix=K", SignFault::Wrong),
            ("GET /?", "GET /x?", SignFault::Wrong),
            ("GET", "HEAD", SignFault::Wrong),
            ("examplebucket", "example", SignFault::Wrong),
            ("=34b", "=35b", SignFault::Wrong),
            ("us-east-1", "us-east-2", SignFault::Wrong),
            ("20130524T000000Z", "20130524T000001Z", SignFault::Wrong),
            ("e3b0", "e3b1", SignFault::Wrong),
            ("AKIA", "AKIB", SignFault::UnknownKey),
            ("=host;", "=", SignFault::Malformed),
            ("/s3/", "/ec2/", SignFault::Malformed),
            ("=34b", "=4b", SignFault::Malformed),
            ("AWS4-HMAC-SHA256", "AWS5", SignFault::Malformed),
            ("AWS4-HMAC-SHA256", "AWS", SignFault::Old),
        ] {
            assert_eq!(
                judge(&request.replacen(from, to, 1), NOW),
                Err(fault),
                "{from}"
            );
        }
        let (bare, _) = request.split_once("Authorization").unwrap();
        assert_eq!(judge(&format!("{bare}\n"), NOW), Err(SignFault::Missing));
    }

    /// The presigned URL of the reference, good for a day.
    #[test]
    fn a_presigned_url_lives_as_long_as_it_says() {
        let request = "GET /test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=\
                       AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
                       &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
                       &X-Amz-Signature=\
                       aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404 HTTP/1.1\n\
                       Host: examplebucket.s3.amazonaws.com\n\n";
        assert_eq!(judge(request, NOW + 86_400), Ok(()));
        assert_eq!(judge(request, NOW + 86_401), Err(SignFault::Expired));
        let longer = request.replace("=86400", "=86401");
        assert_eq!(judge(&longer, NOW), Err(SignFault::Wrong));
    }
}
