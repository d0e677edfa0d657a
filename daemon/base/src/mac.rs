//! Keyed message authentication codes: what a node signs, only that node can have signed.
//!
//! BLAKE3 in keyed mode, cut to 128 bits (the BLAKE3 paper, section 2.3: any prefix of the
//! output is a MAC of that length). Comparison takes the same time wherever the first
//! difference lies. Not promised: secrecy of what is signed.

use std::fmt;

/// Length of a [`Mac`] in bytes. 2^-128 for a guess; one guess per request makes that never.
pub const MAC_BYTES: usize = 16;

/// Length of a [`MacKey`] in bytes (BLAKE3 keyed mode).
pub const MAC_KEY_BYTES: usize = 32;

/// A key for [`MacKey::sign`]. `Debug` prints `***`.
#[derive(Clone)]
pub struct MacKey([u8; MAC_KEY_BYTES]);

/// A code over some bytes. Compare with [`Mac::matches`], never byte by byte.
#[derive(Clone, Copy, Debug)]
pub struct Mac(pub [u8; MAC_BYTES]);

impl MacKey {
    /// Wraps key bytes, which must come from a good random source.
    #[must_use]
    pub fn new(bytes: [u8; MAC_KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// A new key from the operating system's random source.
    ///
    /// # Errors
    /// The operating system's error when it has no randomness to give.
    pub fn random() -> std::io::Result<Self> {
        let mut bytes = [0; MAC_KEY_BYTES];
        crate::rand::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The key bytes, for storing them in a file that only the node may read.
    #[must_use]
    pub fn expose(&self) -> &[u8; MAC_KEY_BYTES] {
        &self.0
    }

    /// The code of `message` under this key.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Mac {
        let hash = blake3::keyed_hash(&self.0, message);
        let mut mac = [0; MAC_BYTES];
        for (to, from) in mac.iter_mut().zip(hash.as_bytes()) {
            *to = *from;
        }
        Mac(mac)
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey(***)")
    }
}

impl Mac {
    /// Whether `other` is the same code; the time taken does not depend on the bytes.
    #[must_use]
    pub fn matches(&self, other: &[u8; MAC_BYTES]) -> bool {
        u128::from_le_bytes(self.0) ^ u128::from_le_bytes(*other) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_holds_for_its_key_and_message_only() {
        let key = MacKey::new([7; MAC_KEY_BYTES]);
        let mac = key.sign(b"handle");
        assert!(mac.matches(&key.sign(b"handle").0));
        assert!(!mac.matches(&key.sign(b"handlf").0));
        assert!(!mac.matches(&MacKey::new([8; MAC_KEY_BYTES]).sign(b"handle").0));
    }

    #[test]
    fn a_key_never_shows_in_debug_output() {
        assert_eq!(
            format!("{:?}", MacKey::new([0x41; MAC_KEY_BYTES])),
            "MacKey(***)"
        );
    }
}
