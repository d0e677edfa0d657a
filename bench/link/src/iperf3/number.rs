//! Numbers as iperf3 writes them: doubles where integers are meant, and negative ones as unsigned.
//!
//! Version 3.12 prints -1 as 18446744073709551615 (iperf#1435); this reader maps values of 2^63
//! and above back. Invariant: what is no number, or no finite one, is `None`.

use serde_json::Value;

/// 2^64: what the unsigned form of a negative number is too large by.
const TWO_TO_64: i128 = 1 << 64;

/// A whole number; fractions are cut off.
pub(super) fn integer(value: &Value) -> Option<i64> {
    let number = value.as_number()?;
    let wide = match (number.as_i128(), number.as_f64()) {
        (Some(whole), _) => whole,
        // Rust's cast saturates, so a huge double stays out of range below.
        (None, Some(double)) if double.is_finite() => double as i128,
        (None, _) => return None,
    };
    let wide = match wide {
        wide if (TWO_TO_64 / 2..=TWO_TO_64).contains(&wide) => wide - TWO_TO_64,
        wide => wide,
    };
    i64::try_from(wide).ok()
}

/// A number with a fraction.
pub(super) fn real(value: &Value) -> Option<f64> {
    value.as_f64().filter(|double| double.is_finite())
}

/// The member called `key`, whatever its case: the C program compares so.
pub(super) fn member<'a>(object: &'a Value, key: &str) -> Option<&'a Value> {
    let object = object.as_object()?;
    let exact = object.get(key);
    exact.or_else(|| {
        let found = object
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(key));
        found.map(|(_, value)| value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn unsigned_minus_one_is_minus_one() {
        assert_eq!(integer(&json!(u64::MAX)), Some(-1));
        assert_eq!(integer(&json!(1.844_674_407_370_955_2e19)), Some(0));
        assert_eq!(integer(&json!(-1)), Some(-1));
        assert_eq!(integer(&json!(5.9)), Some(5));
        assert_eq!(integer(&json!(1e300)), None);
        assert_eq!(integer(&json!("5")), None);
    }

    #[test]
    fn keys_match_whatever_their_case() {
        assert_eq!(member(&json!({"mss": 5}), "MSS"), Some(&json!(5)));
        assert_eq!(member(&json!([1]), "MSS"), None);
    }
}
