//! The cookie that ties data connections to a test: 36 letters and a NUL.
//!
//! Invariant: all 37 octets are compared. It is no secret against somebody on the path and proves
//! no identity; it keeps tests and strangers apart.

use super::fault::Fault;

/// Octets of a cookie on the wire.
pub const COOKIE_BYTES: usize = 37;

const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// A cookie as it is on the wire.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cookie([u8; COOKIE_BYTES]);

impl Cookie {
    /// The cookie made of these random octets; five bits of each are used.
    #[must_use]
    pub fn from_random(random: [u8; COOKIE_BYTES - 1]) -> Self {
        let mut octets = [0; COOKIE_BYTES];
        for (octet, random) in octets.iter_mut().zip(random) {
            *octet = LETTERS[usize::from(random) % LETTERS.len()];
        }
        Self(octets)
    }

    /// A cookie as it came.
    #[must_use]
    pub fn from_wire(octets: [u8; COOKIE_BYTES]) -> Self {
        Self(octets)
    }

    /// Its octets.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; COOKIE_BYTES] {
        &self.0
    }

    /// Its letters, for a report; what is not printable is left out.
    #[must_use]
    pub fn text(&self) -> String {
        let printable = self.0.iter().filter(|octet| octet.is_ascii_graphic());
        printable.map(|octet| char::from(*octet)).collect()
    }

    /// Takes a cookie off the front of `input`, if all of it is there.
    #[must_use]
    pub fn take(input: &mut &[u8]) -> Option<Self> {
        let (octets, rest) = input.split_first_chunk::<COOKIE_BYTES>()?;
        *input = rest;
        Some(Self(*octets))
    }

    /// The fault of a connection that ended before its cookie was complete.
    #[must_use]
    pub fn cut_off() -> Fault {
        Fault::Ended {
            phase: "waiting for the cookie",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_36_letters_and_a_nul() {
        let cookie = Cookie::from_random([255; 36]);
        assert_eq!(cookie.text().len(), 36);
        assert_eq!(cookie.as_bytes().last(), Some(&0));
        let mut input = &[cookie.as_bytes().as_slice(), b"x"].concat()[..];
        assert_eq!(Cookie::take(&mut input), Some(cookie));
        assert_eq!(input, b"x");
        assert_eq!(Cookie::take(&mut input), None);
    }
}
