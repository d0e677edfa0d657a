//! File handles: what a client holds of a node, and what it cannot make up.
//!
//! Layout, at most [`HANDLE_BYTES_MAX`] bytes (RFC 1813 `NFS3_FHSIZE`): version (1), volume id
//! (4, big-endian), form of the key (1), key (0 to 42), keyed MAC over all before it (16). The
//! key is what the kernel calls the file (name_to_handle_at(2)), or inode number and birth time
//! where the file system has no such name. The MAC key lies in the node's data directory, so
//! handles survive restarts. Invariant: [`HandleKeys::open`] accepts exactly the bytes that
//! [`HandleKeys::seal`] made under the same key. Not promised: that the file still exists.

use std::fmt;
use std::hash::{Hash, Hasher};

use towline_base::mac::{MAC_BYTES, MacKey};

use crate::error::VolumeError;

/// Longest handle, in bytes (RFC 1813 section 2.4, `NFS3_FHSIZE`).
pub const HANDLE_BYTES_MAX: usize = 64;

/// Longest key within a handle, in bytes: what is left of 64 after head (6) and MAC (16).
pub const KEY_BYTES_MAX: usize = HANDLE_BYTES_MAX - HEAD_BYTES - MAC_BYTES;

const HEAD_BYTES: usize = 6;
const VERSION: u8 = 1;

/// The number of a volume on this node: derived from its name, so it stays over restarts.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct VolumeId(pub u32);

impl VolumeId {
    /// The id of the volume with this name.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        let hash = MacKey::new(*b"towline volume id, not a secret.").sign(name.as_bytes());
        let [a, b, c, d, ..] = hash.0;
        Self(u32::from_be_bytes([a, b, c, d]))
    }
}

/// The bytes of a handle, checked or not.
#[derive(Clone, Copy)]
pub struct FileHandle {
    bytes: [u8; HANDLE_BYTES_MAX],
    length: u8,
}

impl FileHandle {
    /// Takes bytes that a client sent. Nothing is checked but the length.
    #[must_use]
    pub fn from_bytes(from: &[u8]) -> Option<Self> {
        let mut bytes = [0; HANDLE_BYTES_MAX];
        bytes.get_mut(..from.len())?.copy_from_slice(from);
        Some(Self {
            bytes,
            length: u8::try_from(from.len()).ok()?,
        })
    }

    /// The bytes to send.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or(&[])
    }
}

impl PartialEq for FileHandle {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for FileHandle {}

impl Hash for FileHandle {
    /// The last eight bytes: the end of a MAC, so as good as random for every handle of ours.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let tail = self
            .as_bytes()
            .last_chunk::<8>()
            .copied()
            .unwrap_or_default();
        state.write_u64(u64::from_le_bytes(tail));
    }
}

impl fmt::Debug for FileHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileHandle({})", self.as_bytes().escape_ascii())
    }
}

/// How the key of a handle names its file.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum KeyForm {
    /// The kernel's file handle: type (4 bytes, little-endian) and opaque bytes.
    Kernel,
    /// Inode number (8 bytes) and birth time (8 bytes seconds, 4 bytes nanoseconds).
    Inode,
    /// The volume's root, whatever directory that is at the moment; no key bytes.
    Root,
}

/// A key: what a handle names, on one volume.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct FileKey {
    /// How to read the bytes.
    pub form: KeyForm,
    bytes: [u8; KEY_BYTES_MAX],
    length: u8,
}

impl FileKey {
    /// A key of these bytes; `None` if they are more than [`KEY_BYTES_MAX`].
    #[must_use]
    pub fn new(form: KeyForm, from: &[u8]) -> Option<Self> {
        let mut bytes = [0; KEY_BYTES_MAX];
        bytes.get_mut(..from.len())?.copy_from_slice(from);
        Some(Self {
            form,
            bytes,
            length: u8::try_from(from.len()).ok()?,
        })
    }

    /// The key of a volume's root.
    #[must_use]
    pub fn root() -> Self {
        Self {
            form: KeyForm::Root,
            bytes: [0; KEY_BYTES_MAX],
            length: 0,
        }
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or(&[])
    }
}

/// Makes and checks handles. One per node, shared by its volumes.
#[derive(Clone, Debug)]
pub struct HandleKeys {
    key: MacKey,
}

impl HandleKeys {
    /// Handles under `key`.
    #[must_use]
    pub fn new(key: MacKey) -> Self {
        Self { key }
    }

    /// The handle of `key` on `volume`.
    #[must_use]
    pub fn seal(&self, volume: VolumeId, key: &FileKey) -> FileHandle {
        let mut bytes = [0; HANDLE_BYTES_MAX];
        let form = match key.form {
            KeyForm::Root => 0,
            KeyForm::Kernel => 1,
            KeyForm::Inode => 2,
        };
        let [a, b, c, d] = volume.0.to_be_bytes();
        let head = [VERSION, a, b, c, d, form];
        let signed = HEAD_BYTES + key.as_bytes().len();
        for (to, from) in bytes.iter_mut().zip(head.iter().chain(key.as_bytes())) {
            *to = *from;
        }
        let mac = self.key.sign(bytes.get(..signed).unwrap_or(&[]));
        for (to, from) in bytes.iter_mut().skip(signed).zip(mac.0) {
            *to = from;
        }
        let length = signed + MAC_BYTES;
        assert!(
            length <= HANDLE_BYTES_MAX,
            "KEY_BYTES_MAX leaves room for head and MAC"
        );
        FileHandle {
            bytes,
            length: length as u8,
        }
    }

    /// What a client's handle names.
    ///
    /// # Errors
    /// [`VolumeError::BadHandle`] unless [`HandleKeys::seal`] made exactly these bytes.
    pub fn open(&self, handle: &FileHandle) -> Result<(VolumeId, FileKey), VolumeError> {
        let bad = VolumeError::BadHandle;
        let (signed, mac) = handle
            .as_bytes()
            .split_last_chunk::<MAC_BYTES>()
            .ok_or(bad)?;
        let (head, key) = signed.split_first_chunk::<HEAD_BYTES>().ok_or(bad)?;
        if !self.key.sign(signed).matches(mac) {
            return Err(bad);
        }
        let [version, a, b, c, d, form] = *head;
        let form = match (version, form) {
            (VERSION, 0) => KeyForm::Root,
            (VERSION, 1) => KeyForm::Kernel,
            (VERSION, 2) => KeyForm::Inode,
            _ => return Err(bad),
        };
        let key = FileKey::new(form, key).ok_or(bad)?;
        Ok((VolumeId(u32::from_be_bytes([a, b, c, d])), key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> HandleKeys {
        HandleKeys::new(MacKey::new([3; 32]))
    }

    #[test]
    fn a_handle_opens_to_what_was_sealed() {
        for length in [0, 1, 12, KEY_BYTES_MAX] {
            let key = FileKey::new(KeyForm::Kernel, &vec![9; length]).unwrap();
            let handle = keys().seal(VolumeId(7), &key);
            assert_eq!(keys().open(&handle), Ok((VolumeId(7), key)));
        }
        assert_eq!(FileKey::new(KeyForm::Kernel, &[9; KEY_BYTES_MAX + 1]), None);
    }

    /// Threat N9: no flipped bit, cut or extension of a real handle may open.
    #[test]
    fn no_flip_cut_or_extension_of_a_handle_opens() {
        let key = FileKey::new(KeyForm::Kernel, b"kernel-handle").unwrap();
        let sealed = keys().seal(VolumeId(7), &key);
        let good = sealed.as_bytes().to_vec();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let handle = FileHandle::from_bytes(&bad).unwrap();
            assert_eq!(
                keys().open(&handle),
                Err(VolumeError::BadHandle),
                "bit {bit}"
            );
        }
        for length in 0..good.len() {
            let handle = FileHandle::from_bytes(&good[..length]).unwrap();
            assert_eq!(keys().open(&handle), Err(VolumeError::BadHandle));
        }
        let longer = [&good[..], &[0]].concat();
        let handle = FileHandle::from_bytes(&longer).unwrap();
        assert_eq!(keys().open(&handle), Err(VolumeError::BadHandle));
        assert!(FileHandle::from_bytes(&[0; HANDLE_BYTES_MAX + 1]).is_none());
    }

    #[test]
    fn a_handle_of_another_node_does_not_open() {
        let other = HandleKeys::new(MacKey::new([4; 32]));
        let handle = other.seal(VolumeId(7), &FileKey::root());
        assert_eq!(keys().open(&handle), Err(VolumeError::BadHandle));
    }
}
