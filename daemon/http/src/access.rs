//! Who may do what with a volume: the address decides, and a token where the volume has tokens.
//!
//! Governed by RFC 6750 section 2.1 (Bearer) and RFC 9110 section 11. Invariant: an address that
//! may not reach a volume learns nothing of it, not even that it exists (threat N14). A token
//! never widens what the address may do. Tokens are compared in a time that does not depend on
//! where they differ. Not promised: secrecy of tokens on a connection without TLS.

use std::net::IpAddr;

use towline_volume::{Export, Reach};

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
            .and_then(bearer)
            .and_then(|sent| find(export, sent));
        let Some(opens) = token else {
            return Err(Refusal::new(
                Status::UNAUTHORIZED,
                "the volume needs a token; send 'Authorization: Bearer TOKEN'",
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

/// The token in the value of an Authorization field.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(b"bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| token.trim_ascii())
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
fn same(secret: &[u8], sent: &[u8]) -> bool {
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
        assert_eq!(bearer(b"bearer  abc "), Some(&b"abc"[..]));
        assert_eq!(bearer(b"Basic abc"), None);
        assert_eq!(bearer(b"Bearer"), None);
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
