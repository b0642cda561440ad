//! A time on the command line: RFC 3339, or seconds since 1970.

use refrain_wire::Time;

const WRONG: &str = "is not like 2026-01-31T12:00:00Z, nor seconds since 1970";

/// Reads a time.
pub(super) fn parse(text: &str) -> Result<Time, String> {
    let micros = seconds(text).or_else(|| rfc3339(text)).ok_or_else(|| WRONG.to_owned())?;
    let micros = u64::try_from(micros).map_err(|_| "is before 1970".to_owned())?;
    if micros > Time::MAX.micros() {
        return Err("is too late: a time is stored in 56 bits of microseconds".to_owned());
    }
    Ok(Time::from_micros(micros))
}

/// `12` or `12.5`.
fn seconds(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    digits(whole, whole.len())?.checked_mul(1_000_000)?.checked_add(micros(fraction)?)
}

/// `YYYY-MM-DDTHH:MM:SS[.F](Z|+HH:MM|-HH:MM)`.
fn rfc3339(text: &str) -> Option<i64> {
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let [year, month, day] = parts(date, '-', [4, 2, 2])?;
    let zone = rest.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = rest.split_at(zone);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let [hour, minute, second] = parts(clock, ':', [2, 2, 2])?;
    let possible = hour < 24 && minute < 60 && second < 61 && (1..=12).contains(&month);
    if !possible || !(1..=days_of(year, month)).contains(&day) {
        return None;
    }
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset(zone)?;
    Some(seconds * 1_000_000 + micros(fraction)?)
}

/// Seconds that a zone is ahead.
fn offset(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, zone) = match zone.split_at_checked(1)? {
        ("+", zone) => (1, zone),
        ("-", zone) => (-1, zone),
        _ => return None,
    };
    let [hours, minutes] = parts(zone, ':', [2, 2])?;
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

fn parts<const N: usize>(text: &str, between: char, lengths: [usize; N]) -> Option<[i64; N]> {
    let mut numbers = [0; N];
    let mut given = text.split(between);
    for (number, length) in numbers.iter_mut().zip(lengths) {
        *number = digits(given.next()?, length)?;
    }
    given.next().is_none().then_some(numbers)
}

fn digits(text: &str, length: usize) -> Option<i64> {
    let plain = !text.is_empty() && text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// A fraction of a second; what is below a microsecond is dropped.
fn micros(fraction: &str) -> Option<i64> {
    digits(fraction, fraction.len().min(18))?;
    let padded: String = fraction.chars().chain("000000".chars()).take(6).collect();
    padded.parse().ok()
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // Leap days before the year, counted from year 0.
    let leaps = |year: i64| (year + 3) / 4 - (year + 99) / 100 + (year + 399) / 400;
    let years = (year - 1970) * 365 + leaps(year) - leaps(1970);
    years + (1..month).map(|month| days_of(year, month)).sum::<i64>() + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_to_the_microsecond() {
        for (text, micros) in [
            ("0", 0),
            ("1.5", 1_500_000),
            ("1700000000", 1_700_000_000_000_000),
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:34:56.789Z", 951_827_696_789_000),
            ("2026-11-26T15:00:00+01:00", 1_795_701_600_000_000),
            ("2026-11-26T12:30:00.0000019-01:30", 1_795_701_600_000_001),
            ("2100-03-01t00:00:00z", 4_107_542_400_000_000),
        ] {
            assert_eq!(parse(text), Ok(Time::from_micros(micros)), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "x",
            "-1",
            "1.",
            ".5",
            "2026-11-26",
            "2026-13-01T00:00:00Z",
            "2025-02-29T00:00:00Z",
            "2026-11-26T24:00:00Z",
            "2026-11-26T00:00:00",
            "1969-12-31T23:59:59Z",
            "9999-01-01T00:00:00Z",
            "2026-11-26T00:00Z",
            "99999999999999999999",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
