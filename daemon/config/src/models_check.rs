//! The rules for `[[models.tokens]]`: who may publish which models over HTTP.
//!
//! Invariant: a token covers names that begin with its prefix, an empty prefix covers nothing
//! silently but must be written, and no message shows a token. Not promised: that a token reads;
//! the tokens of the volume decide that.

use crate::checker::Checker;
use crate::effective::{ModelToken, Setting};
use crate::file;
use crate::secret::Secret;

/// Shortest token, in bytes: 16 random letters and digits hold 95 bits.
const TOKEN_BYTES_MIN: usize = 16;

/// Longest token, in bytes: it must fit in a request head with everything else.
const TOKEN_BYTES_MAX: usize = 1_024;

/// Most tokens: every one is compared at every request.
const TOKENS_MAX: usize = 256;

/// What a token may do.
const RIGHTS: [(&str, ()); 1] = [("publish", ())];

/// `[[models.tokens]]`.
pub(crate) fn tokens(check: &mut Checker<'_>, file: &file::Models) -> Vec<ModelToken> {
    let mut list = Vec::new();
    for table in file.tokens.iter().flatten() {
        let inner = table.get_ref();
        let (Some(token), Some(prefix)) = (&inner.token, &inner.prefix) else {
            check.refuse(
                table.span().start,
                "models.tokens",
                "token and prefix belong together",
                "write both, such as prefix = \"acme/\"; prefix = \"\" is every model",
            );
            continue;
        };
        check.word(&inner.rights, "models.tokens.rights", (), &RIGHTS);
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
        let prefix: Setting<String> = check.here(prefix, prefix.get_ref().clone());
        list.push(ModelToken {
            prefix,
            secret: Secret::new(text.clone()),
        });
    }
    list
}
