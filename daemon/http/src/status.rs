//! Status codes, and which one each failure of a volume becomes.
//!
//! Governed by RFC 9110 section 15 (507: RFC 4918 section 11.5; 308 for an upload that is not
//! complete: the resumable upload protocol of Google's storage services). Invariant: the match
//! over [`VolumeError`] has no wildcard, so a new failure must be mapped before this compiles.
//! Texts are constants: nothing that a peer sent is ever reflected.

use towline_volume::VolumeError;

use crate::chunked::ChunkFault;
use crate::head::HeadFault;
use crate::path::PathFault;

/// A status code that this server sends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Status {
    code: u16,
    line: &'static str,
}

macro_rules! statuses {
    ($($name:ident $code:literal $reason:literal;)*) => {
        impl Status {
            $(
                #[doc = concat!("`", $code, " ", $reason, "`")]
                pub const $name: Self = Self {
                    code: $code,
                    line: concat!("HTTP/1.1 ", $code, " ", $reason, "\r\n"),
                };
            )*
        }
    };
}

statuses! {
    CONTINUE 100 "Continue";
    OK 200 "OK";
    CREATED 201 "Created";
    NO_CONTENT 204 "No Content";
    PARTIAL 206 "Partial Content";
    MOVED 301 "Moved Permanently";
    NOT_MODIFIED 304 "Not Modified";
    INCOMPLETE 308 "Resume Incomplete";
    BAD_REQUEST 400 "Bad Request";
    UNAUTHORIZED 401 "Unauthorized";
    FORBIDDEN 403 "Forbidden";
    NOT_FOUND 404 "Not Found";
    NOT_ALLOWED 405 "Method Not Allowed";
    TIMEOUT 408 "Request Timeout";
    CONFLICT 409 "Conflict";
    LENGTH_REQUIRED 411 "Length Required";
    PRECONDITION_FAILED 412 "Precondition Failed";
    TOO_LARGE 413 "Content Too Large";
    UNSUPPORTED_BODY 415 "Unsupported Media Type";
    UNSATISFIABLE 416 "Range Not Satisfiable";
    EXPECTATION_FAILED 417 "Expectation Failed";
    MISDIRECTED 421 "Misdirected Request";
    HEAD_TOO_LARGE 431 "Request Header Fields Too Large";
    INTERNAL 500 "Internal Server Error";
    NOT_IMPLEMENTED 501 "Not Implemented";
    UNAVAILABLE 503 "Service Unavailable";
    VERSION 505 "HTTP Version Not Supported";
    NO_SPACE 507 "Insufficient Storage";
}

impl Status {
    /// The number, 100 to 599.
    #[must_use]
    pub fn code(self) -> u16 {
        self.code
    }

    /// The status line with its CR LF.
    #[must_use]
    pub fn line(self) -> &'static str {
        self.line
    }

    /// Code and reason, without the version.
    #[must_use]
    pub fn title(self) -> &'static str {
        self.line.get(9..).unwrap_or("").trim_ascii_end()
    }
}

/// A reply that says no, or not yet: what failed and what to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// The status.
    pub status: Status,
    /// What failed and what to do, in constant words.
    pub why: &'static str,
    /// Extra fields that this status needs.
    pub extra: Extra,
}

/// Fields that belong to certain refusals.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Extra {
    /// None.
    #[default]
    Nothing,
    /// `Allow` with these methods (405).
    Allow(&'static str),
    /// `Content-Range: bytes */size` (416).
    Size(u64),
    /// `Range: bytes=0-(held-1)`, if any bytes are held (308, 409).
    Held(u64),
    /// `WWW-Authenticate` (401).
    Challenge,
    /// `Retry-After` of one second (503).
    Retry,
}

impl Refusal {
    /// A refusal without extra fields.
    #[must_use]
    pub const fn new(status: Status, why: &'static str) -> Self {
        Self {
            status,
            why,
            extra: Extra::Nothing,
        }
    }

    /// The same with extra fields.
    #[must_use]
    pub const fn with(self, extra: Extra) -> Self {
        Self { extra, ..self }
    }

    /// What every unknown or unreachable place gets: the two must look the same (threat N14).
    pub const NOT_FOUND: Self = Self::new(
        Status::NOT_FOUND,
        "there is nothing of that name here; see /files/ for what you can reach",
    );

    /// What is here and must not be served without a signature.
    pub const UNSIGNED: Self = Self::new(
        Status::FORBIDDEN,
        "this model is not signed by a key that the node trusts, and the node serves no other; its \
         owner can sign it: towline models sign ORG/MODEL:TAG",
    );

    /// A result that belongs to no request: a fault of this server.
    pub(crate) const MISPLACED: Self = Self::new(
        Status::INTERNAL,
        "the node lost track of the request; report this",
    );
}

impl From<VolumeError> for Refusal {
    fn from(error: VolumeError) -> Self {
        let (status, why) = match error {
            VolumeError::NotFound | VolumeError::Stale | VolumeError::BadHandle => {
                return Self::NOT_FOUND;
            }
            VolumeError::NotDirectory | VolumeError::NameTooLong => return Self::NOT_FOUND,
            VolumeError::Exists => (Status::CONFLICT, "the name is taken; choose another"),
            VolumeError::IsDirectory => (Status::CONFLICT, "a directory stands there"),
            VolumeError::WrongType => (
                Status::FORBIDDEN,
                "not a regular file or directory; links and devices are not served",
            ),
            VolumeError::NotEmpty => (
                Status::CONFLICT,
                "the directory is not empty; remove its entries first",
            ),
            VolumeError::Denied | VolumeError::NotOwner => (
                Status::FORBIDDEN,
                "the file's permissions do not allow that to HTTP clients; \
                 see anonymous_uid of the volume",
            ),
            VolumeError::Invalid | VolumeError::BadCookie => (
                Status::BAD_REQUEST,
                "the file system refuses that name or value",
            ),
            VolumeError::TooLarge => (
                Status::TOO_LARGE,
                "the file would be larger than the file system allows",
            ),
            VolumeError::ReadOnly => (Status::FORBIDDEN, "the volume is read-only"),
            VolumeError::InUse => (
                Status::CONFLICT,
                "it is in use on the node itself: a file system is mounted there, or it is a \
                 program that runs; unmount or stop it on the node first",
            ),
            VolumeError::CrossDevice | VolumeError::TooManyLinks => {
                (Status::CONFLICT, "the file system cannot do that there")
            }
            VolumeError::NotSupported => {
                (Status::NOT_IMPLEMENTED, "the file system cannot do that")
            }
            VolumeError::GuardFailed => (
                Status::PRECONDITION_FAILED,
                "the file was changed in the meantime; fetch it again",
            ),
            VolumeError::NoSpace => (
                Status::NO_SPACE,
                "no space left on the volume; remove something first",
            ),
            VolumeError::Quota => (Status::NO_SPACE, "the quota of the volume is used up"),
            VolumeError::Io(_) => (
                Status::INTERNAL,
                "the storage failed; the node's log says more",
            ),
            VolumeError::WouldBlock | VolumeError::Busy(_) => {
                return Self::new(Status::UNAVAILABLE, "the node is busy; try again")
                    .with(Extra::Retry);
            }
        };
        Self::new(status, why)
    }
}

impl From<PathFault> for Refusal {
    fn from(fault: PathFault) -> Self {
        let why = match fault {
            PathFault::BadEscape => {
                "a '%' in the path must be followed by two hexadecimal digits; write %25 for '%'"
            }
            PathFault::BadName => {
                "the path has a part that is no name: '..', '%2E', too long, or with '/' or NUL in \
                 it"
            }
            PathFault::TooLong => "the path is too long",
        };
        Self::new(Status::BAD_REQUEST, why)
    }
}

impl From<ChunkFault> for Refusal {
    fn from(fault: ChunkFault) -> Self {
        let why = match fault {
            ChunkFault::BadSize => "a chunk must begin with its size in hexadecimal",
            ChunkFault::TooLong => "a chunk line or the trailer is too long",
            ChunkFault::BadEnd => "a chunk must end in CR LF",
        };
        Self::new(Status::BAD_REQUEST, why)
    }
}

impl From<HeadFault> for Refusal {
    fn from(fault: HeadFault) -> Self {
        let (status, why) = match fault {
            HeadFault::NotHttp | HeadFault::Http2 => (
                Status::BAD_REQUEST,
                "the request does not begin with a method, a target and HTTP/1.1",
            ),
            HeadFault::Version => (
                Status::VERSION,
                "only HTTP/1.1 and HTTP/1.0 are spoken here",
            ),
            HeadFault::BadLine => (
                Status::BAD_REQUEST,
                "every line must end in CR LF and hold no control characters",
            ),
            HeadFault::BadTarget => (
                Status::BAD_REQUEST,
                "the request target must be a path that begins with '/'",
            ),
            HeadFault::TooLong => (
                Status::HEAD_TOO_LARGE,
                "the request head is longer than 16 KiB; send fewer or shorter fields",
            ),
            HeadFault::TooManyFields => (
                Status::HEAD_TOO_LARGE,
                "the request has more than 100 fields; send fewer",
            ),
            HeadFault::BadFieldName => (Status::BAD_REQUEST, "a field name is broken"),
            HeadFault::Folded => (
                Status::BAD_REQUEST,
                "folded field lines are not accepted; write each field on one line",
            ),
            HeadFault::Duplicate => (
                Status::BAD_REQUEST,
                "a field that may stand once stands twice",
            ),
            HeadFault::BadLength => (
                Status::BAD_REQUEST,
                "Content-Length must be decimal digits, at most 2^63-1",
            ),
            HeadFault::TwoFramings => (
                Status::BAD_REQUEST,
                "Content-Length and Transfer-Encoding must not stand together",
            ),
            HeadFault::BadCoding => (
                Status::NOT_IMPLEMENTED,
                "the only transfer coding is 'chunked', in HTTP/1.1",
            ),
            HeadFault::BadHost => (
                Status::BAD_REQUEST,
                "HTTP/1.1 needs exactly one valid Host field",
            ),
            HeadFault::Expectation => (
                Status::EXPECTATION_FAILED,
                "the only expectation is '100-continue'",
            ),
        };
        Self::new(status, why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_line() {
        assert_eq!(Status::PARTIAL.line(), "HTTP/1.1 206 Partial Content\r\n");
        assert_eq!(Status::NO_SPACE.title(), "507 Insufficient Storage");
    }

    /// Threat N14: what is unknown and what must not be known look the same.
    #[test]
    fn a_missing_file_and_a_missing_volume_look_the_same() {
        assert_eq!(Refusal::from(VolumeError::NotFound), Refusal::NOT_FOUND);
        assert_eq!(Refusal::from(VolumeError::NoSpace).status, Status::NO_SPACE);
    }
}
