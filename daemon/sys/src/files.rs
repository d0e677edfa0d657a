//! Files: kernel handles, access checks for the assumed identity, leases, clones, write-behind.
//!
//! Invariant: each function is safe to call with any arguments. Sources: open_by_handle_at(2),
//! faccessat2(2), fcntl(2), preadv2(2), ioctl_ficlonerange(2). Not promised: that a file system
//! supports a call (`Errno::OPNOTSUPP`).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use crate::last_errno;

/// Longest kernel handle that we keep, in bytes. ext4 and xfs use 8 to 20, btrfs 20 to 40.
pub const KERNEL_HANDLE_BYTES_MAX: usize = 38;

/// What the kernel calls a file: stable while the file exists, even over restarts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KernelHandle {
    /// Form of the bytes, chosen by the file system.
    pub kind: i32,
    bytes: [u8; KERNEL_HANDLE_BYTES_MAX],
    length: u8,
}

/// `struct file_handle` with room for the longest handle that we keep.
#[repr(C)]
struct RawHandle {
    handle_bytes: libc::c_uint,
    handle_type: libc::c_int,
    f_handle: [u8; KERNEL_HANDLE_BYTES_MAX],
}

impl KernelHandle {
    /// A handle of `kind` with these bytes; `None` if they are too many.
    #[must_use]
    pub fn new(kind: i32, from: &[u8]) -> Option<Self> {
        let mut bytes = [0; KERNEL_HANDLE_BYTES_MAX];
        bytes.get_mut(..from.len())?.copy_from_slice(from);
        Some(Self {
            kind,
            bytes,
            length: from.len() as u8,
        })
    }

    /// The opaque bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or(&[])
    }
}

/// The kernel's handle of an open file, or of `name` beneath an open directory.
///
/// # Errors
/// `OPNOTSUPP` if the file system has none, `OVERFLOW` if it is longer than we keep.
pub fn name_to_handle(dir: BorrowedFd<'_>, name: &std::ffi::CStr) -> Result<KernelHandle, Errno> {
    let mut raw = RawHandle {
        handle_bytes: KERNEL_HANDLE_BYTES_MAX as libc::c_uint,
        handle_type: 0,
        f_handle: [0; KERNEL_HANDLE_BYTES_MAX],
    };
    let mut mount_id = 0;
    let flags = if name.is_empty() {
        libc::AT_EMPTY_PATH
    } else {
        0
    };
    // SAFETY: `raw` has the layout of `struct file_handle` and says how many bytes of room
    // follow it; the kernel writes at most those, and one int to `mount_id`.
    let result = unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            dir.as_raw_fd(),
            name.as_ptr(),
            &raw mut raw,
            &raw mut mount_id,
            flags,
        )
    };
    if result != 0 {
        return Err(last_errno());
    }
    let bytes = raw
        .f_handle
        .get(..raw.handle_bytes as usize)
        .ok_or(Errno::OVERFLOW)?;
    KernelHandle::new(raw.handle_type, bytes).ok_or(Errno::OVERFLOW)
}

/// Opens the file behind a kernel handle as an `O_PATH` descriptor. Needs
/// `CAP_DAC_READ_SEARCH`.
///
/// # Errors
/// `STALE` if the file is gone, `PERM` without the capability.
pub fn open_by_handle(mount: BorrowedFd<'_>, handle: &KernelHandle) -> Result<OwnedFd, Errno> {
    let mut raw = RawHandle {
        handle_bytes: libc::c_uint::from(handle.length),
        handle_type: handle.kind,
        f_handle: handle.bytes,
    };
    let flags = libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    // SAFETY: the kernel reads `raw`, whose length field covers its bytes, and nothing else.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_open_by_handle_at,
            mount.as_raw_fd(),
            &raw mut raw,
            flags,
        )
    };
    if fd < 0 {
        return Err(last_errno());
    }
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Which mount `name` beneath an open directory lies in, or the directory itself if it is empty:
/// statx(2) `STATX_MNT_ID`. `None` if the kernel does not tell, or the name is gone.
#[must_use]
pub fn mount_of(dir: BorrowedFd<'_>, name: &[u8]) -> Option<u64> {
    use rustix::fs::{AtFlags, StatxFlags, statx};
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    let flags = if name.is_empty() {
        flags | AtFlags::EMPTY_PATH
    } else {
        flags
    };
    let seen = statx(dir, name, flags, StatxFlags::MNT_ID).ok()?;
    let is_told = seen.stx_mask & StatxFlags::MNT_ID.bits() != 0;
    is_told.then_some(seen.stx_mnt_id)
}

/// Asks the kernel whether the identity that this thread has assumed may use an open file.
/// `mode` is an OR of `R_OK`, `W_OK` and `X_OK`.
///
/// # Errors
/// `ACCESS` if not; `ROFS` for writing on a read-only file system.
pub fn access(file: impl AsFd, mode: i32) -> Result<(), Errno> {
    let flags = libc::AT_EACCESS | libc::AT_EMPTY_PATH;
    // SAFETY: the path is a static C string; the call touches no other memory.
    let result = unsafe {
        libc::syscall(
            libc::SYS_faccessat2,
            file.as_fd().as_raw_fd(),
            c"".as_ptr(),
            mode,
            flags,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(last_errno())
    }
}

/// Whether anybody but this descriptor has the file open, in any process: asked by taking a
/// write lease, which the kernel grants only to the single opener, and giving it back.
///
/// # Errors
/// What fcntl(2) reports other than "somebody has it open", for example where leases are not
/// supported.
pub fn is_open_elsewhere(file: BorrowedFd<'_>) -> Result<bool, Errno> {
    // SAFETY: F_SETLEASE takes an int and touches no memory.
    let taken = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) };
    if taken != 0 {
        return match last_errno() {
            Errno::AGAIN | Errno::BUSY => Ok(true),
            other => Err(other),
        };
    }
    // SAFETY: as above. Giving back a lease that we hold cannot fail in a way that matters.
    let _ = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK) };
    Ok(false)
}

/// Reads up to `length` bytes of a file at `offset` behind the end of `buffer`, into memory that
/// nobody has written to: zeroing it first took a tenth of a short READ. Unless it may wait, only
/// what is in memory is read (preadv2(2), RWF_NOWAIT). Returns how many bytes were added.
///
/// # Errors
/// `AGAIN` if nothing is in memory, `OPNOTSUPP` if the file system cannot tell, and what the
/// storage reports.
pub fn append(
    file: BorrowedFd<'_>,
    buffer: &mut Vec<u8>,
    length: usize,
    offset: u64,
    may_wait: bool,
) -> Result<usize, Errno> {
    buffer.reserve(length);
    let room = buffer.spare_capacity_mut();
    let room_bytes = length.min(room.len());
    let place = libc::iovec {
        iov_base: room.as_mut_ptr().cast(),
        iov_len: room_bytes,
    };
    let flags = if may_wait { 0 } else { libc::RWF_NOWAIT };
    let offset = libc::off64_t::try_from(offset).map_err(|_| Errno::INVAL)?;
    // SAFETY: `place` names spare capacity of `buffer`, which nothing else touches meanwhile; the
    // kernel writes at most `iov_len` bytes there.
    let count = unsafe { libc::preadv64v2(file.as_raw_fd(), &raw const place, 1, offset, flags) };
    let Ok(count) = usize::try_from(count) else {
        return Err(last_errno());
    };
    assert!(count <= room_bytes, "the kernel wrote past the buffer");
    // SAFETY: the kernel has just written `count` bytes behind the old length, inside capacity.
    unsafe { buffer.set_len(buffer.len() + count) };
    Ok(count)
}

/// Lets `length` bytes of `to` at `to_offset` share the blocks of `from` at `from_offset`
/// (ioctl_ficlonerange(2)). A length of 0 means: up to the end of `from`.
///
/// # Errors
/// `OPNOTSUPP` where the file system cannot, `INVAL` when not aligned to its blocks.
pub fn clone_range(
    to: BorrowedFd<'_>,
    from: BorrowedFd<'_>,
    from_offset: u64,
    to_offset: u64,
    length: u64,
) -> Result<(), Errno> {
    let range = libc::file_clone_range {
        src_fd: i64::from(from.as_raw_fd()),
        src_offset: from_offset,
        src_length: length,
        dest_offset: to_offset,
    };
    // SAFETY: FICLONERANGE reads one `file_clone_range` from the pointer and writes no memory.
    let result = unsafe { libc::ioctl(to.as_raw_fd(), libc::FICLONERANGE, &raw const range) };
    if result == 0 {
        Ok(())
    } else {
        Err(last_errno())
    }
}

/// Starts writing a range of a file to the disk, without waiting for its end.
///
/// # Errors
/// What sync_file_range(2) reports; nothing is known of the bytes then.
pub fn start_writing(file: BorrowedFd<'_>, offset: u64, length: u64) -> Result<(), Errno> {
    let at = |number: u64| libc::off64_t::try_from(number).map_err(|_| Errno::INVAL);
    let (offset, length) = (at(offset)?, at(length)?);
    let flags = libc::SYNC_FILE_RANGE_WRITE;
    // SAFETY: sync_file_range takes numbers only; it neither reads nor writes our memory.
    let result = unsafe { libc::sync_file_range(file.as_raw_fd(), offset, length, flags) };
    if result == 0 {
        Ok(())
    } else {
        Err(last_errno())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_lease_tells_whether_a_file_is_open_elsewhere() {
        let path = std::env::temp_dir().join(format!("towline-lease-{}", std::process::id()));
        std::fs::write(&path, b"x").unwrap();
        let file = std::fs::File::open(&path).unwrap();
        assert_eq!(is_open_elsewhere(file.as_fd()), Ok(false));
        let other = std::fs::File::open(&path).unwrap();
        assert_eq!(is_open_elsewhere(file.as_fd()), Ok(true));
        drop(other);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_kernel_handle_finds_its_file_again_until_it_is_deleted() {
        let path = std::env::temp_dir().join(format!("towline-handle-{}", std::process::id()));
        std::fs::write(&path, b"x").unwrap();
        let dir = std::fs::File::open(std::env::temp_dir()).unwrap();
        let file = std::fs::File::open(&path).unwrap();
        let Ok(handle) = name_to_handle(file.as_fd(), c"") else {
            return;
        };
        drop(file);
        match open_by_handle(dir.as_fd(), &handle).map(drop) {
            Ok(()) => {
                std::fs::remove_file(&path).unwrap();
                assert_eq!(
                    open_by_handle(dir.as_fd(), &handle).err(),
                    Some(Errno::STALE)
                );
            }
            Err(error) => assert_eq!(error, Errno::PERM, "only root may open by handle"),
        }
    }
}
