//! The rules for `[models]`: whose signatures count, and who may read and publish over HTTP.
//!
//! Invariant: a token covers names that begin with its prefix, an empty prefix covers nothing
//! silently but must be written, no message shows a token, and signatures are not demanded where
//! none could be had. Not promised: that a token opens a volume; the tokens of the volume do that.

use std::path::PathBuf;

use toml::Spanned;

use crate::checker::Checker;
use crate::effective::{ModelRights, ModelToken, Models, Setting, TRUSTED_KEY_START, TrustedKey};
use crate::file::{self, At};
use crate::secret::Secret;

/// Shortest token, in bytes: 16 random letters and digits hold 95 bits.
const TOKEN_BYTES_MIN: usize = 16;

/// Longest token, in bytes: it must fit in a request head with everything else.
const TOKEN_BYTES_MAX: usize = 1_024;

/// Most tokens: every one is compared at every request.
const TOKENS_MAX: usize = 256;

/// Most trusted keys: one for each person or machine that publishes.
const KEYS_MAX: usize = 256;

/// Longest name of a key, in bytes: it stands in a table.
const KEY_NAME_BYTES_MAX: usize = 128;

/// Longest prefix, in bytes: `datasets/`, two segments of 96 and the slash.
const PREFIX_BYTES_MAX: usize = 202;

/// What a token may do.
const RIGHTS: [(&str, ModelRights); 2] = [
    ("read", ModelRights::Read),
    ("publish", ModelRights::Publish),
];

/// `[models]`.
pub(crate) fn models(check: &mut Checker<'_>, file: &file::Models) -> Models {
    let models = Models {
        require_signature: check.any(&file.require_signature, false),
        trusted_keys: trusted_keys(check, &file.trusted_keys),
        signing_key: signing_key(check, &file.signing_key),
        tokens: tokens(check, file),
    };
    let nobody = models.trusted_keys.value.is_empty() && models.signing_key.value.is_none();
    if let Some(at) = &file.require_signature
        && models.require_signature.value
        && nobody
    {
        check.refuse(
            at.span().start,
            "models.require_signature",
            "no key is trusted, so no model could be served",
            "add trusted_keys or signing_key; 'towline models keygen FILE' makes a key",
        );
    }
    models
}

fn trusted_keys(
    check: &mut Checker<'_>,
    at: &At<Vec<Spanned<String>>>,
) -> Setting<Vec<TrustedKey>> {
    let Some(list) = at else {
        return Setting::default_of(Vec::new());
    };
    let mut keys = Vec::new();
    for written in list.get_ref() {
        match trusted_key(written.get_ref()) {
            Some(key) if keys.len() < KEYS_MAX => keys.push(key),
            Some(_) | None => check.refuse(
                written.span().start,
                "models.trusted_keys",
                format!("that is not a public key, or there are more than {KEYS_MAX}"),
                "write \"ed25519:64-HEX-DIGITS NAME\", as 'towline models keygen' prints it",
            ),
        }
    }
    check.here(list, keys)
}

fn trusted_key(text: &str) -> Option<TrustedKey> {
    let (digits, name) = match text.split_once(' ') {
        Some((digits, name)) => (digits, name.trim()),
        None => (text, ""),
    };
    let digits = digits.strip_prefix(TRUSTED_KEY_START)?;
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let digit = |byte: u8| (byte as char).to_digit(16);
    let bytes = pairs
        .iter()
        .map(|[high, low]| Some((digit(*high)? * 16 + digit(*low)?) as u8));
    let bytes: Vec<u8> = bytes.collect::<Option<_>>()?;
    let plain = name.len() <= KEY_NAME_BYTES_MAX && !name.chars().any(char::is_control);
    let key = bytes.try_into().ok().filter(|_| plain)?;
    let name = name.to_owned();
    Some(TrustedKey { key, name })
}

fn signing_key(check: &mut Checker<'_>, at: &At<PathBuf>) -> Setting<Option<PathBuf>> {
    let Some(written) = at else {
        return Setting::default_of(None);
    };
    let path = check.path(written);
    if !path.value.is_file() {
        check.refuse(
            written.span().start,
            "models.signing_key",
            format!("there is no file {}", path.value.display()),
            "make one with: towline models keygen FILE",
        );
    }
    Setting {
        value: Some(path.value),
        origin: path.origin,
    }
}

/// `[[models.tokens]]`.
fn tokens(check: &mut Checker<'_>, file: &file::Models) -> Vec<ModelToken> {
    let mut list = Vec::new();
    for table in file.tokens.iter().flatten() {
        let inner = table.get_ref();
        let (Some(token), Some(written)) = (&inner.token, &inner.prefix) else {
            check.refuse(
                table.span().start,
                "models.tokens",
                "token and prefix belong together",
                "write both, such as prefix = \"acme/\"; prefix = \"\" is every model",
            );
            continue;
        };
        let key = "models.tokens.rights";
        let rights = check.word(&inner.rights, key, ModelRights::Publish, &RIGHTS);
        prefix(check, written, "models.tokens.prefix");
        let text = token.get_ref();
        let is_long = (TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&text.len());
        if !is_long || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            check.refuse(
                token.span().start,
                "models.tokens.token",
                "a token is too short, too long, or holds spaces or letters outside ASCII",
                "write 16 to 1024 visible characters; make one with: openssl rand -hex 24",
            );
        }
        if list.len() == TOKENS_MAX {
            check.refuse(
                token.span().start,
                "models.tokens",
                format!("there are more than {TOKENS_MAX} tokens"),
                "remove those that nobody uses",
            );
            break;
        }
        list.push(ModelToken {
            prefix: check.here(written, written.get_ref().clone()),
            rights,
            secret: Secret::new(text.clone()),
        });
    }
    list
}

/// Refuses what no name of a model can begin with: it would protect nothing.
pub(crate) fn prefix(check: &mut Checker<'_>, at: &Spanned<String>, key: &str) {
    let text = at.get_ref();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    let slashes = text.bytes().filter(|byte| *byte == b'/').count();
    let is_start = text.len() <= PREFIX_BYTES_MAX
        && text.bytes().all(plain)
        && slashes <= 1 + usize::from(text.starts_with("datasets/") || text.starts_with("spaces/"))
        && !text.starts_with(['/', '.', '-']);
    if !is_start {
        check.refuse(
            at.span().start,
            key,
            "no name of a model begins like that",
            "write \"acme/\", \"acme/llama\", \"datasets/acme/\", or \"\" for every model",
        );
    }
}
