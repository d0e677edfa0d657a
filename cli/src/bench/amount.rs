//! Numbers with a letter behind them, as `iperf3` users write them: `-b 20M`, `-n 1G`, `-l 128K`.
//!
//! Rates count in thousands, sizes in 1024s, as there. Invariant: what does not fit is an error
//! that says what to write.

/// A rate in bits per second: `20M` is 20,000,000.
pub(crate) fn rate(text: &str) -> Result<u64, String> {
    parse(text, 1000.0).ok_or_else(|| "write a rate such as 20M or 9.4G (bits per second)".into())
}

/// A rate with blocks per burst: `20M/10`.
pub(crate) fn rate_and_burst(text: &str) -> Result<(u64, u32), String> {
    let Some((bits, burst)) = text.split_once('/') else {
        return Ok((rate(text)?, 0));
    };
    let burst = burst
        .parse()
        .ok()
        .filter(|burst| (1..=1000).contains(burst));
    let burst = burst.ok_or("write a rate and a burst such as 20M/10 (1 to 1000 blocks)")?;
    Ok((rate(bits)?, burst))
}

/// A size in bytes or a count: `128K` is 131,072.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    parse(text, 1024.0).ok_or_else(|| "write a size such as 128K or 5M (in 1024s)".into())
}

/// Bytes of a file that is measured: 1M to 1T.
pub(crate) fn file_size(text: &str) -> Result<u64, String> {
    let fits = size(text)?;
    match (1 << 20..=1 << 40).contains(&fits) {
        true => Ok(fits),
        false => Err("write a size from 1M to 1T".to_owned()),
    }
}

/// Bytes of a small file: 1 to 1M.
pub(crate) fn small_size(text: &str) -> Result<u32, String> {
    let fits = u32::try_from(size(text)?).ok();
    let fits = fits.filter(|bytes| (1..=1 << 20).contains(bytes));
    fits.ok_or_else(|| "write a size from 1 to 1M".to_owned())
}

/// Seconds, with a fraction.
pub(crate) fn seconds(text: &str) -> Result<std::time::Duration, String> {
    let wrong = || "write seconds from 0.1 to 60".to_owned();
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    match (0.1..=60.0).contains(&seconds) {
        true => Ok(std::time::Duration::from_secs_f64(seconds)),
        false => Err(wrong()),
    }
}

/// Seconds between samples, with a fraction; 0 is none between.
pub(crate) fn interval(text: &str) -> Result<std::time::Duration, String> {
    match text.parse() {
        Ok(0.0) => Ok(std::time::Duration::ZERO),
        _ => seconds(text).map_err(|why| format!("{why}, or 0")),
    }
}

fn parse(text: &str, step: f64) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
    let (number, letter) = text.split_at(end.unwrap_or(text.len()));
    let power = match letter {
        "" => 0,
        "k" | "K" => 1,
        "m" | "M" => 2,
        "g" | "G" => 3,
        "t" | "T" => 4,
        _ => return None,
    };
    let number: f64 = number.parse().ok()?;
    let value = number * step.powi(power);
    // Above 2^53 nobody needs it exact; above 2^63 nobody needs it.
    (value < 9e18).then_some(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_count_in_thousands_and_sizes_in_1024s() {
        assert_eq!(rate("20M"), Ok(20_000_000));
        assert_eq!(rate("9.4G"), Ok(9_400_000_000));
        assert_eq!(size("128K"), Ok(131_072));
        assert_eq!(size("5"), Ok(5));
        assert_eq!(rate_and_burst("1M/10"), Ok((1_000_000, 10)));
        for wrong in ["", "M", "5X", "-1", "1e3", "99999999T"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
        assert!(rate_and_burst("1M/1001").is_err());
        assert!(seconds("0").is_err() && seconds("0.5").is_ok());
        assert!(interval("0").is_ok_and(|length| length.is_zero()));
        assert!(interval("0.05").is_err() && interval("-1").is_err());
    }
}
