//! How S3 says no: an XML document with a code (the S3 API reference, "Error responses").
//!
//! Invariant: every status has a code. Not promised: the codes of Amazon for every cause.

use crate::status::Status;

/// What an XML document begins with.
pub(super) const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// The code of S3 for a refusal that a file would get too.
pub(crate) fn code(status: Status) -> &'static str {
    match status.code() {
        404 => "NoSuchKey",
        405 => "MethodNotAllowed",
        401 | 403 => "AccessDenied",
        412 => "PreconditionFailed",
        416 => "InvalidRange",
        501 => "NotImplemented",
        503 => "SlowDown",
        400..=499 => "InvalidRequest",
        _ => "InternalError",
    }
}

/// The document that says no; both texts are constants without markup.
pub(crate) fn error(code: &str, why: &str) -> String {
    format!("{DECLARATION}<Error><Code>{code}</Code><Message>{why}</Message></Error>")
}
