//! As whom this thread touches files: the kernel decides every permission, we only say who asks.
//!
//! A node that root runs takes the file-system uid and gid and the supplementary groups of the
//! caller (setfsuid(2), setfsgid(2), setgroups(2) as raw system calls, which change one thread
//! and not the process). With a file-system uid other than 0 the kernel also drops the
//! capabilities that override file permissions (capabilities(7)). A node that an ordinary user
//! runs keeps being that user: [`assume`] changes nothing there.
//!
//! Invariant: after `assume(who)` every file operation of this thread is decided for `who` until
//! the next `assume`. So whoever touches files on a worker or pool thread says first as whom.
//! Not promised: anything about threads that never called it; they act as the process.

use std::cell::Cell;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::io::Errno;

use crate::last_errno;

/// Most supplementary groups of a caller (RFC 5531 appendix A: `gids<16>`).
pub const GROUPS_MAX: usize = 16;

/// Who asks: ids as the kernel of this node understands them.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    groups: [u32; GROUPS_MAX],
    groups_count: u8,
}

impl Identity {
    /// An identity with supplementary groups; those past [`GROUPS_MAX`] are dropped.
    #[must_use]
    pub fn new(uid: u32, gid: u32, groups: &[u32]) -> Self {
        let mut kept = [0; GROUPS_MAX];
        let mut groups_count = 0;
        for (to, from) in kept.iter_mut().zip(groups) {
            *to = *from;
            groups_count += 1;
        }
        Self {
            uid,
            gid,
            groups: kept,
            groups_count,
        }
    }

    /// The daemon itself: root where root runs it.
    pub const DAEMON: Self = Self {
        uid: 0,
        gid: 0,
        groups: [0; GROUPS_MAX],
        groups_count: 0,
    };

    /// The supplementary groups.
    #[must_use]
    pub fn groups(&self) -> &[u32] {
        self.groups
            .get(..usize::from(self.groups_count))
            .unwrap_or(&[])
    }
}

thread_local! {
    static ASSUMED: Cell<Option<Identity>> = const { Cell::new(None) };
}

/// 0 not asked yet, 1 this process cannot switch, 2 it can.
static SWITCHES: AtomicU8 = AtomicU8::new(0);

/// Whether this process can act as its callers: it runs as root with the right to change ids.
#[must_use]
pub fn can_switch() -> bool {
    match SWITCHES.load(Ordering::Relaxed) {
        0 => {
            let able = rustix::process::geteuid().is_root() && try_switch();
            SWITCHES.store(if able { 2 } else { 1 }, Ordering::Relaxed);
            able
        }
        able => able == 2,
    }
}

/// Makes this thread act as `who`. Cheap when it already does.
///
/// # Errors
/// The kernel's refusal, for example in a user namespace without that id. The thread then acts
/// as nobody in particular, so the caller must not touch files.
pub fn assume(who: &Identity) -> Result<(), Errno> {
    if !can_switch() || ASSUMED.get().as_ref() == Some(who) {
        return Ok(());
    }
    ASSUMED.set(None);
    // Groups need CAP_SETGID, which stays effective: setfsuid drops file capabilities only.
    set_groups(who.groups())?;
    set_fs_gid(who.gid)?;
    set_fs_uid(who.uid)?;
    ASSUMED.set(Some(*who));
    Ok(())
}

/// Makes this thread act as the daemon again.
///
/// # Errors
/// As [`assume`].
pub fn assume_daemon() -> Result<(), Errno> {
    assume(&Identity::DAEMON)
}

/// Whether the kernel takes `who` for the owner of a file that belongs to `uid`, or for somebody
/// who may do what only owners may (`CAP_FOWNER`, capabilities(7)). A node that cannot switch is
/// asked as its own user; as root without that right it gets the kernel's word only.
#[must_use]
pub fn is_owner(who: &Identity, uid: u32) -> bool {
    let acting = if can_switch() {
        who.uid
    } else {
        rustix::process::geteuid().as_raw()
    };
    acting == 0 || acting == uid
}

/// Makes this thread act as whoever writes, for bytes that go into a file that is already open:
/// the right was checked when it was opened. The kernel then clears the set-id bits that this
/// writer must not leave behind, and keeps the blocks that are reserved for root.
pub fn assume_writer(who: &Identity) {
    if assume(who).is_err() {
        assume_nobody();
    }
}

/// Makes this thread act as an unprivileged user for writing bytes into files that are already
/// open: the right was checked when they were opened, and the kernel then clears set-id bits and
/// keeps the blocks that are reserved for root, as it does for any user.
fn assume_nobody() {
    const NOBODY: u32 = 65_534;
    if let Err(error) = assume(&Identity::new(NOBODY, NOBODY, &[])) {
        tracing::warn!(%error, "payload is written as the daemon itself");
    }
}

/// Tries the whole switch on a thread of its own, so that no state is left on this one.
fn try_switch() -> bool {
    let probe =
        || set_groups(&[]).is_ok() && set_fs_gid(65_534).is_ok() && set_fs_uid(65_534).is_ok();
    std::thread::spawn(probe).join().unwrap_or(false)
}

fn set_groups(groups: &[u32]) -> Result<(), Errno> {
    // SAFETY: the kernel reads `groups.len()` ids of 32 bits from a live slice and nothing else.
    let result = unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) };
    if result == 0 {
        Ok(())
    } else {
        Err(last_errno())
    }
}

fn set_fs_uid(uid: u32) -> Result<(), Errno> {
    // SAFETY: takes an integer and returns the former id; touches no memory.
    unsafe { libc::syscall(libc::SYS_setfsuid, libc::c_long::from(uid)) };
    // It reports no errors: asking again with an invalid id shows what is in force.
    // SAFETY: as above; the id -1 is never valid, so this changes nothing.
    let now = unsafe { libc::syscall(libc::SYS_setfsuid, -1 as libc::c_long) };
    if now as u32 == uid {
        Ok(())
    } else {
        Err(Errno::PERM)
    }
}

fn set_fs_gid(gid: u32) -> Result<(), Errno> {
    // SAFETY: takes an integer and returns the former id; touches no memory.
    unsafe { libc::syscall(libc::SYS_setfsgid, libc::c_long::from(gid)) };
    // SAFETY: as above; the id -1 is never valid, so this changes nothing.
    let now = unsafe { libc::syscall(libc::SYS_setfsgid, -1 as libc::c_long) };
    if now as u32 == gid {
        Ok(())
    } else {
        Err(Errno::PERM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_past_the_limit_are_dropped() {
        let many: Vec<u32> = (0..20).collect();
        assert_eq!(Identity::new(1, 2, &many).groups(), &many[..GROUPS_MAX]);
    }

    #[test]
    fn the_kernel_decides_for_the_assumed_identity() {
        if !can_switch() {
            return;
        }
        let dir = std::env::temp_dir().join(format!("towline-identity-{}", std::process::id()));
        std::fs::write(&dir, b"secret").unwrap();
        std::fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assume(&Identity::new(1234, 1234, &[])).unwrap();
                assert!(std::fs::read(&dir).is_err());
                assume_daemon().unwrap();
                assert!(std::fs::read(&dir).is_ok());
            });
        });
        std::fs::remove_file(&dir).unwrap();
    }
}
