//! Who vouches for a revision: Ed25519 signatures over the manifest's id, and over references.
//!
//! A signature is detached, so any number of keys can vouch for the same manifest, and it covers
//! every byte of every file through the chain manifest, table, chunk. Invariant: a signature made
//! for a manifest cannot pass for one of a reference, since each begins with its own words. Not
//! promised: that a key is anybody's; the list of trusted keys says so.

use std::fmt;
use std::str::FromStr;

use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::name::{ManifestId, NameFault, RepoName, RevisionId, TagName, from_hex};

/// Most signatures that are kept for one manifest.
pub const SIGNATURES_MAX: usize = 16;

/// Bytes of one signature in a file of them: the key's 32 and the signature's 64.
pub const SIGNATURE_BYTES: usize = 96;

/// How the text of a public key begins.
const KEY_START: &str = "ed25519:";

const MANIFEST_WORDS: &[u8] = b"towline manifest 1\0";
const REFERENCE_WORDS: &[u8] = b"towline reference 1\0";

/// A public key.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PublicKey(pub [u8; 32]);

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(KEY_START)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for PublicKey {
    type Err = NameFault;

    /// `ed25519:` and sixty-four hex digits.
    fn from_str(text: &str) -> Result<Self, NameFault> {
        let digits = text.strip_prefix(KEY_START).unwrap_or("");
        crate::name::Sha256::from_str(digits).map(|bytes| Self(bytes.0))
    }
}

/// One key's word for something.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Signature {
    /// Whose.
    pub key: PublicKey,
    /// The 64 bytes of RFC 8032.
    pub bytes: [u8; 64],
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({})", self.key)
    }
}

/// What a tag says: which revision, and that no later word was given before.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reference {
    /// The repository.
    pub repo: RepoName,
    /// The tag.
    pub tag: TagName,
    /// The revision that it points to.
    pub rev: RevisionId,
    /// The content of that revision.
    pub manifest: ManifestId,
    /// Grows by one with every move of the tag, so that an old word cannot pass for a new one.
    pub seq: u64,
    /// When it was moved, in seconds since 1970-01-01 UTC.
    pub time: u64,
}

impl Reference {
    fn words(&self) -> Vec<u8> {
        let mut words = REFERENCE_WORDS.to_vec();
        for text in [self.repo.as_str(), self.tag.as_str()] {
            words.extend_from_slice(text.as_bytes());
            words.push(0);
        }
        words.extend_from_slice(&self.rev.0);
        words.extend_from_slice(&self.manifest.0);
        words.extend_from_slice(&self.seq.to_be_bytes());
        words.extend_from_slice(&self.time.to_be_bytes());
        words
    }
}

/// A key that signs.
pub struct Signer(Ed25519KeyPair);

/// Bytes that are no key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an Ed25519 key: 32 secret bytes are")]
pub struct KeyFault;

impl Signer {
    /// The key with these 32 secret bytes (RFC 8032).
    ///
    /// # Errors
    /// [`KeyFault`] if they are not 32.
    pub fn from_seed(seed: &[u8]) -> Result<Self, KeyFault> {
        Ed25519KeyPair::from_seed_unchecked(seed)
            .map(Self)
            .map_err(|_| KeyFault)
    }

    /// Thirty-two new secret bytes.
    ///
    /// # Errors
    /// [`KeyFault`] when the system has no randomness.
    pub fn new_seed() -> Result<[u8; 32], KeyFault> {
        ring::rand::generate(&SystemRandom::new())
            .map(|seed| seed.expose())
            .map_err(|_| KeyFault)
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        let mut key = [0; 32];
        for (to, from) in key.iter_mut().zip(self.0.public_key().as_ref()) {
            *to = *from;
        }
        PublicKey(key)
    }

    fn sign(&self, words: &[u8]) -> Signature {
        let mut bytes = [0; 64];
        for (to, from) in bytes.iter_mut().zip(self.0.sign(words).as_ref()) {
            *to = *from;
        }
        Signature {
            key: self.public_key(),
            bytes,
        }
    }

    /// Vouches for a manifest.
    #[must_use]
    pub fn sign_manifest(&self, id: &ManifestId) -> Signature {
        self.sign(&[MANIFEST_WORDS, &id.0].concat())
    }

    /// Vouches for a move of a tag.
    #[must_use]
    pub fn sign_reference(&self, reference: &Reference) -> Signature {
        self.sign(&reference.words())
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.public_key())
    }
}

impl Signature {
    /// A signature from the texts of its key and of its bytes, 128 hex digits.
    ///
    /// # Errors
    /// [`NameFault::Identity`] if one of them is none.
    pub fn parse(key: &str, bytes: &str) -> Result<Self, NameFault> {
        let fault = || NameFault::Identity(bytes.chars().take(160).collect());
        Ok(Self {
            key: key.parse()?,
            bytes: from_hex(bytes).ok_or_else(fault)?,
        })
    }

    /// Its bytes as 128 hex digits.
    #[must_use]
    pub fn hex(&self) -> String {
        let bytes = self.bytes.iter();
        bytes.map(|byte| format!("{byte:02x}")).collect()
    }

    fn holds(&self, words: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.key.0)
            .verify(words, &self.bytes)
            .is_ok()
    }

    /// Whether this is the key's word for the manifest.
    #[must_use]
    pub fn vouches_for(&self, id: &ManifestId) -> bool {
        self.holds(&[MANIFEST_WORDS, &id.0].concat())
    }

    /// Whether this is the key's word for the move of a tag.
    #[must_use]
    pub fn vouches_for_reference(&self, reference: &Reference) -> bool {
        self.holds(&reference.words())
    }
}

/// The bytes of a file of signatures: 96 for each.
#[must_use]
pub fn encode(signatures: &[Signature]) -> Vec<u8> {
    let parts = signatures
        .iter()
        .flat_map(|one| one.key.0.into_iter().chain(one.bytes));
    parts.collect()
}

/// Reads a file of signatures; those past [`SIGNATURES_MAX`] and broken ends are left out.
#[must_use]
pub fn decode(bytes: &[u8]) -> Vec<Signature> {
    let (records, _) = bytes.as_chunks::<SIGNATURE_BYTES>();
    let one = |record: &[u8; SIGNATURE_BYTES]| {
        let (key, rest) = record.split_first_chunk::<32>()?;
        Some(Signature {
            key: PublicKey(*key),
            bytes: *rest.first_chunk::<64>()?,
        })
    };
    records
        .iter()
        .take(SIGNATURES_MAX)
        .filter_map(one)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_what_was_signed_only() {
        let signer = Signer::from_seed(&[7; 32]).unwrap();
        let id = ManifestId([1; 32]);
        let signature = signer.sign_manifest(&id);
        assert!(signature.vouches_for(&id));
        assert!(!signature.vouches_for(&ManifestId([2; 32])));
        let stranger = Signature {
            key: Signer::from_seed(&[8; 32]).unwrap().public_key(),
            ..signature
        };
        assert!(!stranger.vouches_for(&id));
        let (key, bytes) = (signature.key.to_string(), signature.hex());
        assert_eq!(Signature::parse(&key, &bytes), Ok(signature));
        assert!(Signature::parse(&key, bytes.split_at(126).0).is_err());
        assert_eq!(
            decode(&encode(&[signature, stranger])),
            [signature, stranger]
        );
    }

    /// RFC 8032 section 7.1, test 1: the public key of a known secret.
    #[test]
    fn keys_are_those_of_the_standard() {
        let seed: crate::name::Sha256 =
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
                .parse()
                .unwrap();
        assert_eq!(
            Signer::from_seed(&seed.0).unwrap().public_key().to_string(),
            "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
    }

    #[test]
    fn a_reference_with_another_number_is_another_word() {
        let signer = Signer::from_seed(&[7; 32]).unwrap();
        let mut reference = Reference {
            repo: "a/b".parse().unwrap(),
            tag: TagName::main(),
            rev: RevisionId([1; 20]),
            manifest: ManifestId([2; 32]),
            seq: 4,
            time: 5,
        };
        let signature = signer.sign_reference(&reference);
        assert!(signature.vouches_for_reference(&reference));
        reference.seq = 5;
        assert!(!signature.vouches_for_reference(&reference));
    }
}
