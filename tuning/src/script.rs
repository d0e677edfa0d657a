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
    Ok(template.replace(PLACE, peer))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts what must be balanced, outside of strings and comments. Not a parser: it finds a lost
    /// bracket or quote, and nothing else.
    fn is_balanced(script: &str) -> bool {
        let mut depth: Vec<char> = Vec::new();
        for line in script.lines() {
            let mut quote: Option<char> = None;
            for letter in line.chars() {
                match (quote, letter) {
                    (Some(open), _) if letter == open => quote = None,
                    (Some(_), _) => {}
                    (None, '\'' | '"') => quote = Some(letter),
                    (None, '#') => break,
                    (None, '(' | '{' | '[') => depth.push(letter),
                    (None, ')' | '}' | ']') => {
                        let open = depth.pop();
                        let fits = matches!(
                            (open, letter),
                            (Some('('), ')') | (Some('{'), '}') | (Some('['), ']')
                        );
                        if !fits {
                            return false;
                        }
                    }
                    (None, _) => {}
                }
            }
            if quote.is_some() {
                return false;
            }
        }
        depth.is_empty()
    }

    #[test]
    fn the_powershell_script_has_no_lost_bracket_or_quote() {
        let script = text(System::Windows, Some("10.0.0.1")).unwrap();
        assert!(is_balanced(&script));
        assert!(!is_balanced(&script.replacen('}', "", 1)));
        for word in [
            "*JumboPacket",
            "*RscIPv4",
            "*LsoV2IPv4",
            "*FlowControl",
            "10.0.0.1",
        ] {
            assert!(script.contains(word), "{word}");
        }
    }

    #[test]
    fn a_peer_cannot_bring_commands_into_a_script() {
        for peer in ["x'; reboot; '", "$(reboot)", "-rf", "a b"] {
            assert!(text(System::Linux, Some(peer)).is_err(), "{peer}");
        }
        let script = text(System::Macos, Some("fe80::1")).unwrap();
        assert!(script.contains("PEER='fe80::1'") && !script.contains(PLACE));
    }
}
