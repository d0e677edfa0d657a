//! The rules for S3: the keys whose holders may read.
//!
//! Invariant: every key has an id of its own, and no
//! message shows a secret. Not promised: that a volume of models is there to be read.

use crate::checker::Checker;
use crate::effective::{Listen, S3Key};
use crate::file;
use crate::models_check;
use crate::secret::Secret;

/// Most keys: each request looks through all of them.
const KEYS_MAX: usize = 256;

/// Longest id of a key, in bytes: those of AWS have 20, and STS allows 128.
const ID_BYTES_MAX: usize = 128;

/// Shortest secret, in bytes: 16 random letters and digits hold 95 bits.
const SECRET_BYTES_MIN: usize = 16;

/// Longest secret, in bytes; those of AWS have 40.
const SECRET_BYTES_MAX: usize = 1_024;

/// The prefixes of the private models that a key may read.
fn prefixes(check: &mut Checker<'_>, key: &file::S3Key) -> Vec<String> {
    let mut list = Vec::new();
    for prefix in key.prefixes.iter().flatten() {
        models_check::prefix(check, prefix, "s3.keys.prefixes");
        list.push(prefix.get_ref().clone());
    }
    list
}

/// `[[s3.keys]]`.
pub(crate) fn keys(check: &mut Checker<'_>, file: &file::S3, listen: &Listen) -> Vec<S3Key> {
    let mut keys: Vec<S3Key> = Vec::new();
    for table in file.keys.iter().flatten() {
        let start = table.span().start;
        let (Some(id), Some(secret)) = (&table.get_ref().id, &table.get_ref().secret) else {
            check.refuse(
                start,
                "s3.keys",
                "id and secret belong together",
                "write both; make a secret with: openssl rand -hex 24",
            );
            continue;
        };
        let visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        let name = id.get_ref();
        if !(1..=ID_BYTES_MAX).contains(&name.len()) || !visible(name) || name.contains(['/', ','])
        {
            check.refuse(
                id.span().start,
                "s3.keys.id",
                "that is not the id of a key",
                "write 1 to 128 visible characters without '/' and ','",
            );
        }
        let text = secret.get_ref();
        if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&text.len()) || !visible(text) {
            check.refuse(
                secret.span().start,
                "s3.keys.secret",
                "the secret is too short, too long, or holds spaces or letters outside ASCII",
                "write 16 to 1024 visible characters; make one with: openssl rand -hex 24",
            );
        }
        if keys.iter().any(|key| key.id.value == *name) || keys.len() == KEYS_MAX {
            check.refuse(
                id.span().start,
                "s3.keys.id",
                format!("the id stands twice, or there are more than {KEYS_MAX} keys"),
                "give every key its own id, and remove those that nobody uses",
            );
            continue;
        }
        keys.push(S3Key {
            id: check.here(id, name.clone()),
            secret: Secret::new(text.clone()),
            prefixes: prefixes(check, table.get_ref()),
        });
    }
    if !keys.is_empty() && listen.s3_port.value.is_none() {
        check.notes.push(
            "there are keys for S3, but it is not served; write listen.s3_port = 8422".to_owned(),
        );
    }
    keys
}
