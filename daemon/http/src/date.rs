//! Dates as HTTP writes them, read in their three forms and written in one.
//!
//! Governed by RFC 9110 section 5.6.7 (HTTP-date): `Sun, 06 Nov 1994 08:49:37 GMT` is written;
//! the obsolete RFC 850 and asctime forms are read too. Invariant: what [`format`] writes,
//! [`parse`] reads back. Not promised: leap seconds (60 is read as the next minute), years
//! before 1 or after 9999.

/// Length of a written date in bytes (RFC 9110 section 5.6.7, IMF-fixdate).
pub const DATE_BYTES: usize = 29;

const DAYS: [&[u8; 3]; 7] = [b"Sun", b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat"];
const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];
const DAY_SECONDS: i64 = 86_400;
/// 9999-12-31T23:59:59Z: the last second that four digits of year can write.
const LAST_SECOND: i64 = 253_402_300_799;

/// Writes `seconds` since 1970-01-01 UTC; what lies outside the years 1970 to 9999 is written
/// as the nearest end.
#[must_use]
pub fn format(seconds: i64) -> [u8; DATE_BYTES] {
    let seconds = seconds.clamp(0, LAST_SECOND);
    let (days, second) = (seconds / DAY_SECONDS, seconds % DAY_SECONDS);
    let (year, month, day) = civil_from_days(days);
    let weekday = DAYS.get(((days + 4) % 7) as usize).unwrap_or(&b"Sun");
    let month_name = MONTHS.get((month - 1) as usize).unwrap_or(&b"Jan");
    let [d1, d0] = two(day);
    let [[y3, y2], [y1, y0]] = [two(year / 100), two(year % 100)];
    let [h1, h0] = two(second / 3600);
    let [m1, m0] = two(second / 60 % 60);
    let [s1, s0] = two(second % 60);
    let [[w0, w1, w2], [n0, n1, n2]] = [**weekday, **month_name];
    [
        w0, w1, w2, b',', b' ', d1, d0, b' ', n0, n1, n2, b' ', y3, y2, y1, y0, b' ', h1, h0, b':',
        m1, m0, b':', s1, s0, b' ', b'G', b'M', b'T',
    ]
}

/// Writes `seconds` since 1970-01-01 UTC as `1994-11-06 08:49`, for people.
#[must_use]
pub fn format_short(seconds: i64) -> String {
    let seconds = seconds.clamp(0, LAST_SECOND);
    let (days, second) = (seconds / DAY_SECONDS, seconds % DAY_SECONDS);
    let (year, month, day) = civil_from_days(days);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}")
}

/// Writes `seconds` since 1970-01-01 UTC as `1994-11-06T08:49:37Z` (RFC 3339 section 5.6).
#[must_use]
pub fn format_rfc3339(seconds: i64) -> String {
    let short = format_short(seconds).replace(' ', "T");
    format!("{short}:{:02}Z", seconds.clamp(0, LAST_SECOND) % 60)
}

/// Reads a date in any of the three forms. Seconds since 1970-01-01 UTC, negative before it;
/// `None` if it is none of the forms or no day of the calendar. `now` (in the same seconds)
/// decides the century of a two-digit year.
#[must_use]
pub fn parse(text: &[u8], now: i64) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    if let Some((_, rest)) = text.split_once(", ") {
        return if rest.as_bytes().get(2) == Some(&b'-') {
            parse_850(rest, now)
        } else {
            parse_fixed(rest)
        };
    }
    parse_asctime(text)
}

/// Reads `19941106T084937Z` (ISO 8601, basic format), which signatures use.
#[must_use]
pub fn parse_basic(text: &str) -> Option<i64> {
    let (date, clock) = text.strip_suffix('Z')?.split_once('T')?;
    if date.len() != 8 || clock.len() != 6 || !text.is_ascii() {
        return None;
    }
    let part = |text: &str, from: usize, count: usize| number(text.get(from..from + count)?, count);
    let (hour, minute, second) = (part(clock, 0, 2)?, part(clock, 2, 2)?, part(clock, 4, 2)?);
    let is_time = hour < 24 && minute < 60 && second < 60;
    let second = is_time.then_some(hour * 3600 + minute * 60 + second)?;
    seconds(
        part(date, 0, 4)?,
        part(date, 4, 2)?,
        part(date, 6, 2)?,
        second,
    )
}

/// `06 Nov 1994 08:49:37 GMT`
fn parse_fixed(rest: &str) -> Option<i64> {
    let mut words = rest.split(' ');
    let day = number(words.next()?, 2)?;
    let month = month(words.next()?)?;
    let year = number(words.next()?, 4)?;
    let second = time(words.next()?)?;
    (words.next() == Some("GMT") && words.next().is_none())
        .then(|| seconds(year, month, day, second))?
}

/// `06-Nov-94 08:49:37 GMT`; a year more than 50 years ahead of `now` lies in the past.
fn parse_850(rest: &str, now: i64) -> Option<i64> {
    let (date, rest) = rest.split_once(' ')?;
    let mut words = date.split('-');
    let day = number(words.next()?, 2)?;
    let month = month(words.next()?)?;
    let short = number(words.next()?, 2)?;
    let (this_year, _, _) = civil_from_days(now.clamp(0, LAST_SECOND) / DAY_SECONDS);
    let mut year = this_year / 100 * 100 + short;
    if year > this_year + 50 {
        year -= 100;
    }
    let (clock, zone) = rest.split_once(' ')?;
    (words.next().is_none() && zone == "GMT").then(|| seconds(year, month, day, time(clock)?))?
}

/// `Sun Nov  6 08:49:37 1994`
fn parse_asctime(text: &str) -> Option<i64> {
    let mut words = text.split_ascii_whitespace();
    let weekday = words.next()?;
    let month = month(words.next()?)?;
    let day_word = words.next()?;
    let day = number(day_word, day_word.len().min(2))?;
    let second = time(words.next()?)?;
    let year = number(words.next()?, 4)?;
    let known = DAYS.iter().any(|day| **day == weekday.as_bytes());
    (known && words.next().is_none()).then(|| seconds(year, month, day, second))?
}

fn seconds(year: i64, month: i64, day: i64, second: i64) -> Option<i64> {
    let days = days_from_civil(year, month, day);
    // A day that the month does not have comes back as another one.
    (year >= 1 && civil_from_days(days) == (year, month, day)).then(|| days * DAY_SECONDS + second)
}

fn time(word: &str) -> Option<i64> {
    let mut parts = word.split(':');
    let hour = number(parts.next()?, 2)?;
    let minute = number(parts.next()?, 2)?;
    let second = number(parts.next()?, 2)?;
    let valid = hour < 24 && minute < 60 && second <= 60 && parts.next().is_none();
    valid.then_some(hour * 3600 + minute * 60 + second)
}

fn month(word: &str) -> Option<i64> {
    let place = MONTHS.iter().position(|name| **name == word.as_bytes())?;
    i64::try_from(place).ok().map(|place| place + 1)
}

/// Exactly `digits` decimal digits.
fn number(word: &str, digits: usize) -> Option<i64> {
    let valid = word.len() == digits && word.bytes().all(|byte| byte.is_ascii_digit());
    valid.then(|| word.parse().ok())?
}

fn two(value: i64) -> [u8; 2] {
    [b'0' + (value / 10 % 10) as u8, b'0' + (value % 10) as u8]
}

/// Days since 1970-01-01 of a day of the Gregorian calendar, counted from 1 March so that the
/// leap day is the last of its year.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_from_civil`]: year, month (1 to 12), day (1 to 31).
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = (shifted + 2) % 12 + 1;
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_780_000_000;
    const EXAMPLE: i64 = 784_111_777;

    #[test]
    fn the_three_forms_of_the_rfc_mean_the_same_second() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(parse(text.as_bytes(), NOW), Some(EXAMPLE), "{text}");
        }
        assert_eq!(&format(EXAMPLE), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(format_short(EXAMPLE), "1994-11-06 08:49");
        assert_eq!(format_rfc3339(EXAMPLE), "1994-11-06T08:49:37Z");
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut second = 0;
        while second < LAST_SECOND {
            assert_eq!(parse(&format(second), NOW), Some(second), "{second}");
            second += 86_399 * 7;
        }
        assert_eq!(parse(&format(LAST_SECOND), NOW), Some(LAST_SECOND));
        assert_eq!(format(-5), format(0));
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "yesterday",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT x",
            "Xxx Nov  6 08:49:37 1994",
            "Sun, \u{e9}6 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(parse(text.as_bytes(), NOW), None, "{text}");
        }
    }
}
