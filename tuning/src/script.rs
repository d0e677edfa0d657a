//! Scripts for machines without towline: check, apply and revert, with JSON that `import` reads.
//!
//! Invariant: a script stores the old values before its first change, never overwrites a store, and
//! holds nothing of the caller but a peer's address of harmless letters.

use crate::error::TuneError;

/// The system that a script is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum System {
    /// PowerShell 5.1 or newer.
    Windows,
    /// A POSIX shell with macOS' own tools.
    Macos,
    /// A POSIX shell with iproute2 and ethtool.
    Linux,
}

const PLACE: &str = "@PEER@";

/// Where both shell scripts have what they share: the report, the store of old values, the modes.
const SHARED: &str = "@SHARED@";

/// Longest name of a host (RFC 1035).
const PEER_BYTES_MAX: usize = 253;

/// The script, with the peer's address where one is given.
///
/// # Errors
/// When the peer has letters that no host name or address has.
pub fn text(system: System, peer: Option<&str>) -> Result<String, TuneError> {
    let peer = peer.unwrap_or("");
    let harmless = |letter: char| letter.is_ascii_alphanumeric() || ".:-".contains(letter);
    if peer.len() > PEER_BYTES_MAX || !peer.chars().all(harmless) || peer.starts_with('-') {
        return Err(TuneError::usage(format!(
            "{peer:?} is neither a host name nor an address"
        )));
    }
    let template = match system {
        System::Windows => include_str!("../scripts/windows.ps1"),
        System::Macos => include_str!("../scripts/macos.sh"),
        System::Linux => include_str!("../scripts/linux.sh"),
    };
    let shared = include_str!("../scripts/shared.sh").trim_end();
    Ok(template.replace(SHARED, shared).replace(PLACE, peer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_cannot_bring_commands_into_a_script() {
        for peer in ["x'; reboot; '", "$(reboot)", "-rf", "a b"] {
            assert!(text(System::Linux, Some(peer)).is_err(), "{peer}");
        }
        let script = text(System::Macos, Some("fe80::1")).unwrap();
        assert!(script.contains("PEER='fe80::1'") && !script.contains('@'));
    }
}
