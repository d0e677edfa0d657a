//! Octets of the type of service: as numbers in any base, or as names of code points.
//!
//! Governed by iperf3(1), `-S` and `--dscp`; names are those of RFC 2474 (`cs`), RFC 2597 (`af`)
//! and RFC 3246 (`ef`). Invariant: a code point is the upper six bits of the octet that is sent.

/// A type of service, 0 to 255: decimal, `0x` and hexadecimal, or `0` and octal.
pub(super) fn tos(text: &str) -> Result<u8, String> {
    let number = number(text).and_then(|number| u8::try_from(number).ok());
    number.ok_or_else(|| "write 0 to 255, such as 52, 064 or 0x34".to_owned())
}

/// The octet of a code point: `ef`, `af41`, `cs5`, or 0 to 63.
pub(super) fn dscp(text: &str) -> Result<u8, String> {
    let point = match text.chars().next() {
        Some(first) if first.is_ascii_digit() => number(text).filter(|point| *point < 64),
        _ => named(&text.to_ascii_lowercase()),
    };
    let octet = point.and_then(|point| u8::try_from(point << 2).ok());
    octet.ok_or_else(|| "write 0 to 63, ef, cs0 to cs7, or af11 to af43".to_owned())
}

/// The code point of a name: `afXY` is 8 X + 2 Y, `csX` is 8 X.
fn named(name: &str) -> Option<u32> {
    if name == "ef" {
        return Some(46);
    }
    let (kind, digits) = name.split_at_checked(2)?;
    let mut digits = digits.chars().map(|digit| digit.to_digit(10));
    let found = (digits.next().flatten(), digits.next(), digits.next());
    match (kind, found) {
        ("cs", (Some(class @ 0..=7), None, None)) => Some(8 * class),
        ("af", (Some(class @ 1..=4), Some(Some(drop @ 1..=3)), None)) => Some(8 * class + 2 * drop),
        _ => None,
    }
}

fn number(text: &str) -> Option<u32> {
    let lower = text.to_ascii_lowercase();
    match (lower.strip_prefix("0x"), lower.strip_prefix('0')) {
        (Some(digits), _) => u32::from_str_radix(digits, 16).ok(),
        (None, Some(digits)) if !digits.is_empty() => u32::from_str_radix(digits, 8).ok(),
        _ => lower.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_code_points() {
        for (text, octet) in [
            ("ef", 184),
            ("AF11", 40),
            ("af43", 152),
            ("cs0", 0),
            ("cs7", 224),
            ("46", 184),
            ("0x2e", 184),
            ("056", 184),
            ("0", 0),
            ("63", 252),
        ] {
            assert_eq!(dscp(text), Ok(octet), "{text}");
        }
        for wrong in [
            "64", "-1", "", "af", "af44", "af51", "cs8", "cs12", "e", "0x40", "é",
        ] {
            assert!(dscp(wrong).is_err(), "{wrong}");
        }
        assert_eq!(tos("0x34"), Ok(52));
        assert_eq!(tos("064"), Ok(52));
        assert!(tos("256").is_err() && tos("ef").is_err());
    }
}
