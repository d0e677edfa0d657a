//! The path of a request below `/files/`: decoded once, into names that cannot escape.
//!
//! Governed by RFC 3986 sections 2.1, 3.3 and 4.2. Segments that are empty or a plain `.` are
//! dropped: clients write `./12:30.log`, since `12:30.log` would be another scheme. Every other
//! one is percent-decoded and then must be a [`Name`], so `..`, `%2e%2e`, an encoded slash and a
//! NUL are refused whatever way they are written (threat F1). A backslash is an ordinary byte of a
//! name here, as it is for the kernel.
//! Invariant: decoding happens once; a decoded `%` is never decoded again.

use towline_base::Name;

/// Most names in one path, the volume not counted: what fits in the kernel's `PATH_MAX` of
/// 4,096 bytes with names of a few bytes.
pub const NAMES_MAX: usize = 512;

/// Longest decoded path below a volume, in bytes: `PATH_MAX` less its NUL.
pub const PATH_BYTES_MAX: usize = 4095;

/// The prefix of everything that this crate serves.
pub const PREFIX: &[u8] = b"/files/";

/// A path that cannot be: answer 400.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PathFault {
    /// `%` without two hexadecimal digits behind it.
    #[error("a '%' in the path must be followed by two hexadecimal digits")]
    BadEscape,
    /// A segment that is no name: `..`, an encoded `.`, too long, with `/` or NUL.
    #[error("the path has a part that is no name: '..', '%2E', too long, or with '/' or NUL")]
    BadName,
    /// More than [`NAMES_MAX`] names or [`PATH_BYTES_MAX`] bytes.
    #[error("the path is too long")]
    TooLong,
}

/// A place below `/files/`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// The volume's name, decoded; `None` is the index of volumes.
    pub volume: Option<Vec<u8>>,
    /// The names below the volume's root.
    pub names: Vec<Name>,
    /// Whether the path ends in a slash: a directory is meant.
    pub is_directory: bool,
}

impl Place {
    /// Reads what follows [`PREFIX`].
    ///
    /// # Errors
    /// [`PathFault`].
    pub fn parse(below: &[u8]) -> Result<Self, PathFault> {
        let mut place = Self {
            volume: None,
            names: Vec::new(),
            is_directory: true,
        };
        if below.is_empty() {
            return Ok(place);
        }
        place.is_directory = below.ends_with(b"/") || below.ends_with(b"/.") || below == b".";
        let mut bytes = 0;
        for segment in below.split(|byte| *byte == b'/') {
            if matches!(segment, b"" | b".") {
                continue;
            }
            let name = decode(segment)?;
            Name::check(&name).map_err(|_| PathFault::BadName)?;
            if place.volume.is_none() {
                place.volume = Some(name);
                continue;
            }
            bytes += name.len() + 1;
            if place.names.len() == NAMES_MAX || bytes > PATH_BYTES_MAX {
                return Err(PathFault::TooLong);
            }
            place
                .names
                .push(Name::new(&name).map_err(|_| PathFault::BadName)?);
        }
        Ok(place)
    }

    /// Writes the path in its one canonical form, beginning with [`PREFIX`] and with a slash at
    /// the end: where a directory lives.
    #[must_use]
    pub fn directory_url(&self) -> Vec<u8> {
        let mut url = PREFIX.to_vec();
        let names = self.names.iter().map(Name::as_bytes);
        for name in self.volume.as_deref().into_iter().chain(names) {
            encode(name, &mut url);
            url.push(b'/');
        }
        url
    }
}

/// Percent-decodes; `+` is a plus.
///
/// # Errors
/// [`PathFault::BadEscape`].
pub fn decode(text: &[u8]) -> Result<Vec<u8>, PathFault> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| (*byte as char).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(PathFault::BadEscape);
        };
        decoded.push((high * 16 + low) as u8);
    }
    Ok(decoded)
}

/// Percent-encodes everything but the unreserved characters of RFC 3986 section 2.3, so the
/// result is safe in a URL, an HTML attribute, a field value and a JSON string.
pub fn encode(text: &[u8], to: &mut Vec<u8>) {
    for byte in text {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            to.push(*byte);
        } else {
            let digit = |value: u8| match value {
                0..=9 => b'0' + value,
                _ => b'A' + value - 10,
            };
            to.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(below: &str) -> Vec<Vec<u8>> {
        let place = Place::parse(below.as_bytes()).unwrap();
        place
            .names
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect()
    }

    #[test]
    fn a_path_becomes_a_volume_and_names() {
        let place = Place::parse(b"models/a%20b/c+d%25.txt").unwrap();
        assert_eq!(place.volume.as_deref(), Some(&b"models"[..]));
        assert_eq!(names("models/a%20b/c+d%25.txt"), [&b"a b"[..], b"c+d%.txt"]);
        assert!(!place.is_directory);
        assert!(Place::parse(b"models/").unwrap().is_directory);
        assert_eq!(Place::parse(b"").unwrap().volume, None);
    }

    /// Threat F1: no spelling of a step upwards passes.
    #[test]
    fn no_spelling_of_another_place_passes() {
        for below in [
            "m/..",
            "m/../x",
            "m/%2e%2e/x",
            "m/.%2E",
            "m/%2e",
            "m/a%2fb",
            "m/%2F",
            "m/a%00b",
            "../x",
            "%2e%2e",
            "m//..",
            "m/./../x",
            "m/%2E/x",
        ] {
            assert_eq!(
                Place::parse(below.as_bytes()),
                Err(PathFault::BadName),
                "{below}"
            );
        }
        for below in ["m/%", "m/%2", "m/%zz", "m/%+2"] {
            assert_eq!(
                Place::parse(below.as_bytes()),
                Err(PathFault::BadEscape),
                "{below}"
            );
        }
    }

    /// rclone writes a name with a colon as `./a:b`, and lost it.
    #[test]
    fn parts_that_say_nothing_are_dropped() {
        for below in ["m/./a:b", "m//a:b", "/m/a:b", "./m/a:b", "m/.//./a:b"] {
            assert_eq!(names(below), [b"a:b"], "{below}");
            assert!(!Place::parse(below.as_bytes()).unwrap().is_directory);
        }
        for below in ["m/x//", "m/x/.", "//", "m/.", "."] {
            assert!(
                Place::parse(below.as_bytes()).unwrap().is_directory,
                "{below}"
            );
        }
        assert_eq!(Place::parse(b"//").unwrap().volume, None);
        assert_eq!(names("m/.a"), [b".a"]);
        assert_eq!(names("m/..."), [b"..."]);
    }

    #[test]
    fn a_second_decoding_never_happens_and_a_backslash_is_a_byte() {
        assert_eq!(names("m/%252e%252e"), [b"%2e%2e"]);
        assert_eq!(names("m/..%5c.."), [b"..\\.."]);
    }

    #[test]
    fn the_deepest_path_passes_and_one_more_name_does_not() {
        let deep = |count: usize| format!("m/{}", vec!["a"; count].join("/"));
        assert_eq!(names(&deep(NAMES_MAX)).len(), NAMES_MAX);
        assert_eq!(
            Place::parse(deep(NAMES_MAX + 1).as_bytes()),
            Err(PathFault::TooLong)
        );
        let long = |count: usize| {
            format!(
                "m/{}{}",
                "a".repeat(255),
                "/".to_owned() + &vec!["b".repeat(255); count].join("/")
            )
        };
        assert!(Place::parse(long(14).as_bytes()).is_ok());
        assert_eq!(Place::parse(long(16).as_bytes()), Err(PathFault::TooLong));
    }

    #[test]
    fn an_encoded_path_decodes_to_itself() {
        let every: Vec<u8> = (1..=255).filter(|byte| *byte != b'/').collect();
        let mut encoded = Vec::new();
        encode(&every, &mut encoded);
        assert!(
            encoded
                .iter()
                .all(|byte| byte.is_ascii_graphic() && *byte != b'"')
        );
        assert_eq!(decode(&encoded), Ok(every));
    }
}
