//! Who may do what with a volume: the address decides, and a token where the volume has tokens.
//!
//! Governed by RFC 6750 section 2.1 (Bearer), RFC 7617 (Basic) and RFC 9110 section 11. Invariant:
//! an address that may not reach a volume learns nothing of it, not even that it exists (threat
//! N14). A token never widens what the address may do. Tokens are compared in a time that does not
//! depend on where they differ. Not promised: secrecy of tokens on a connection without TLS.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use towline_volume::{Export, Name, Reach};

use crate::keyring::Keyring;
use crate::status::{Extra, Refusal, Status};

/// What the peer may do with `export`, at least `needed`.
///
/// # Errors
/// 404 if it may not know of it, 401 without a valid token, 403 if it may not do this.
pub(crate) fn judge(
    export: &Export,
    address: IpAddr,
    authorization: Option<&[u8]>,
    needed: Reach,
) -> Result<(), Refusal> {
    let mut reach = export.reach(address);
    if reach == Reach::None {
        return Err(Refusal::NOT_FOUND);
    }
    if !export.tokens.is_empty() {
        let token = authorization
            .and_then(token)
            .and_then(|sent| find(export, &sent));
        let Some(opens) = token else {
            return Err(Refusal::new(
                Status::UNAUTHORIZED,
                "the volume needs a token: send 'Authorization: Bearer TOKEN', or the token as \
                 the password of any user name",
            )
            .with(Extra::Challenge));
        };
        reach = reach.min(opens);
    }
    if reach >= needed {
        return Ok(());
    }
    Err(Refusal::new(
        Status::FORBIDDEN,
        if export.volume.writable().is_none() {
            "the volume is read-only"
        } else {
            "this address or token may read the volume but not write to it; see allow_write"
        },
    ))
}

/// The same where a proof other than a bearer token was judged already.
///
/// # Errors
/// 404 if the address may not know of the volume or may not do this.
pub(crate) fn judge_address(
    export: &Export,
    address: IpAddr,
    needed: Reach,
) -> Result<(), Refusal> {
    if export.reach(address) >= needed {
        Ok(())
    } else {
        Err(Refusal::NOT_FOUND)
    }
}

/// The token in the value of an Authorization field: after `Bearer`, or the password of `Basic`,
/// which is all that some clients can send.
pub(crate) fn token(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    let cut = value.iter().position(|byte| *byte == b' ')?;
    let (scheme, rest) = value.split_at_checked(cut)?;
    let rest = rest.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Some(Cow::Borrowed(rest));
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let pair = STANDARD.decode(rest).ok()?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    Some(Cow::Owned(pair.get(colon + 1..)?.to_vec()))
}

/// What the peer may know of a place in a volume that was opened to it: all but private models that
/// its token does not open.
///
/// # Errors
/// 404, as for what does not exist.
pub(crate) fn judge_place(
    export: &Export,
    names: &[Name],
    keyring: &Arc<Keyring>,
    authorization: Option<&[u8]>,
) -> Result<(), Refusal> {
    if !export.hides(names) {
        return Ok(());
    }
    let hidden = export.hidden.as_ref();
    let subject = hidden.and_then(|hidden| hidden.private.subject(names));
    let sight = keyring.sight(authorization);
    match subject {
        Some(subject) if sight.sees_subject(&subject) => Ok(()),
        Some(_) | None => Err(Refusal::NOT_FOUND),
    }
}

/// What the token opens, looking at every token of the volume whichever matches.
fn find(export: &Export, sent: &[u8]) -> Option<Reach> {
    export.tokens.iter().fold(None, |found, token| {
        if same(token.secret.as_bytes(), sent) {
            found.max(Some(token.reach))
        } else {
            found
        }
    })
}

/// Compares without stopping at the first difference. Lengths may show.
pub(crate) fn same(secret: &[u8], sent: &[u8]) -> bool {
    let difference = secret.iter().zip(sent).fold(0, |sum, (one, other)| {
        std::hint::black_box(sum | (one ^ other))
    });
    difference == 0 && secret.len() == sent.len() && !secret.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_is_found_in_its_field() {
        assert_eq!(token(b"bearer  abc ").as_deref(), Some(&b"abc"[..]));
        assert_eq!(token(b"Basic dTphOmI=").as_deref(), Some(&b"a:b"[..]));
        for none in [
            &b"Basic abc"[..],
            b"Basic dQ==",
            b"Bearer",
            b"Digest a",
            b"",
        ] {
            assert_eq!(token(none), None);
        }
    }

    #[test]
    fn only_the_very_token_is_the_same() {
        assert!(same(b"secret", b"secret"));
        for sent in [&b"secreT"[..], b"secre", b"secrets", b"", b"Secret"] {
            assert!(!same(b"secret", sent));
        }
        assert!(!same(b"", b""));
    }
}
