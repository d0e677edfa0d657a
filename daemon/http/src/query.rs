//! Pairs of a query or a form, looked up by name and decoded.
//!
//! Governed by the URL Standard's form encoding: `+` is a space, everything else as in RFC 3986.
//! Invariant: a value is decoded once; one that cannot be decoded counts as absent. Nothing is
//! kept between two look-ups.

use crate::path::decode;

/// Pairs of a query or a form, still encoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query<'a>(pub(crate) &'a [u8]);

impl<'a> Query<'a> {
    /// Every value of a name, decoded; `None` for one that cannot be.
    pub(crate) fn all(&self, name: &'static str) -> impl Iterator<Item = Option<String>> + 'a {
        let pairs = self.0.split(|byte| *byte == b'&');
        pairs.filter_map(move |pair| {
            let value = pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            let spaced: Vec<u8> = value
                .iter()
                .map(|byte| if *byte == b'+' { b' ' } else { *byte })
                .collect();
            Some(
                decode(&spaced)
                    .ok()
                    .and_then(|text| String::from_utf8(text).ok()),
            )
        })
    }

    /// The first value of a name that can be decoded.
    pub(crate) fn text(&self, name: &'static str) -> Option<String> {
        self.all(name).next().flatten()
    }

    /// Every name, as it was sent; empty pairs have none.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let pairs = self.0.split(|byte| *byte == b'&');
        let name = |pair: &'a [u8]| pair.split(|byte| *byte == b'=').next().unwrap_or(pair);
        pairs.map(name).filter(|name| !name.is_empty())
    }

    /// Whether a name stands there, with a value or without.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        let mut pairs = self.0.split(|byte| *byte == b'&');
        pairs.any(|pair| {
            let rest = pair.strip_prefix(name.as_bytes());
            rest.is_some_and(|rest| matches!(rest, [] | [b'=', ..]))
        })
    }

    /// `true`, `True` and `1`: clients differ.
    pub(crate) fn is_set(&self, name: &'static str) -> bool {
        self.text(name)
            .is_some_and(|value| matches!(value.as_str(), "true" | "True" | "1"))
    }

    /// The first value as a number.
    pub(crate) fn number(&self, name: &'static str) -> Option<usize> {
        self.text(name)?.parse().ok()
    }
}
