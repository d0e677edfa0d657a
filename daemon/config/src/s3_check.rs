//! The rules for S3: its port, and the keys whose holders may read.
//!
//! Invariant: S3 is served only where a port was named, every key has an id of its own, and no
//! message shows a secret. Not promised: that a volume of models is there to be read.

use crate::checker::Checker;
use crate::effective::{Listen, S3Key, Setting};
use crate::file::{self, At};
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

/// `listen.s3_port`; `taken` are the ports of others.
pub(crate) fn port(
    check: &mut Checker<'_>,
    at: &At<i64>,
    taken: &[(&str, u16)],
) -> Setting<Option<u16>> {
    let Some(written) = at else {
        return Setting::default_of(None);
    };
    let port = check.number(at, "listen.s3_port", 0, 0..=u16::MAX);
    if let Some((name, _)) = taken.iter().find(|(_, other)| *other == port.value)
        && port.value != 0
    {
        check.refuse(
            written.span().start,
            "listen.s3_port",
            format!("{name} has port {} already", port.value),
            "give one of them another port, or leave the key out",
        );
    }
    check.here(written, Some(port.value))
}

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
