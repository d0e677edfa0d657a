//! Identities of content, and of revisions: fixed numbers of bytes, written as lower-case hex.
//!
//! Invariant: what was read is what is shown again. Not promised: that anything has that identity.

use std::fmt;
use std::str::FromStr;

use super::{NameFault, shown};

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $fault:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// The bytes.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl FromStr for $name {
            type Err = NameFault;

            fn from_str(text: &str) -> Result<Self, NameFault> {
                from_hex(text).map(Self).ok_or_else(|| NameFault::$fault(shown(text)))
            }
        }
    };
}

id_type!(
    /// A revision: a git commit id.
    RevisionId, 20, Revision
);
id_type!(
    /// A git id of a blob or tree (SHA-1).
    GitId, 20, Revision
);
id_type!(
    /// What a file is: BLAKE3 of its chunk table.
    FileId, 32, Identity
);
id_type!(
    /// What a revision is: BLAKE3 of its manifest.
    ManifestId, 32, Identity
);
id_type!(
    /// A chunk: BLAKE3 of its bytes.
    ChunkId, 32, Identity
);
id_type!(
    /// SHA-256 of a whole file.
    Sha256, 32, Identity
);

/// Exactly `N` bytes from lower-case hex digits.
pub(crate) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (to, [high, low]) in bytes.iter_mut().zip(pairs) {
        *to = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}
