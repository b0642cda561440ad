//! Sizes and durations as people write them: `256MiB`, `10MB`, `123`; `250ms`, `2s`, `10m`.
//!
//! One whole number and one unit; no fractions, no sums, so that every value has one obvious meaning. Printing picks
//! the largest unit that divides the value, so print and parse are inverse.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

/// Why a size or a duration could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// It does not begin with a whole number.
    #[error("not a whole number followed by a unit, such as {example}")]
    Form {
        /// A value that would be right.
        example: &'static str,
    },
    /// The unit is not known.
    #[error("unknown unit `{unit}`, allowed: {allowed}")]
    Unit {
        /// What was written.
        unit: String,
        /// What could have been.
        allowed: &'static str,
    },
    /// The value does not fit 64 bits.
    #[error("too large to be held in 64 bits")]
    Overflow,
}

const BYTE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("kB", 1_000),
];

const TIME_UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl ByteSize {
    /// So many bytes.
    pub const fn bytes(count: u64) -> Self {
        Self(count)
    }

    /// So many KiB.
    pub const fn kib(count: u64) -> Self {
        Self(count << 10)
    }

    /// So many MiB.
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    /// So many GiB.
    pub const fn gib(count: u64) -> Self {
        Self(count << 30)
    }

    /// The count of bytes.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = BYTE_UNITS.iter().take(4).find(|(_, size)| self.0 != 0 && self.0.is_multiple_of(*size));
        match unit {
            Some((name, size)) => write!(f, "{}{name}", self.0 / size),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl FromStr for ByteSize {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (number, unit) = split(text, "256MiB")?;
        let size = match unit {
            "" | "B" => 1,
            unit => lookup(&BYTE_UNITS, unit).ok_or_else(|| QuantityError::Unit {
                unit: unit.to_owned(),
                allowed: "B, KiB, MiB, GiB, TiB, KB, MB, GB, TB",
            })?,
        };
        number.checked_mul(size).map(Self).ok_or(QuantityError::Overflow)
    }
}

/// Reads `250ms`, `2s`, `10m`, `1h`. The unit must be there.
pub fn parse_duration(text: &str) -> Result<Duration, QuantityError> {
    let (number, unit) = split(text, "10m")?;
    if unit.is_empty() {
        return Err(QuantityError::Form { example: "10m" });
    }
    let millis = lookup(&TIME_UNITS, unit)
        .ok_or_else(|| QuantityError::Unit { unit: unit.to_owned(), allowed: "ms, s, m, h" })?;
    number.checked_mul(millis).map(Duration::from_millis).ok_or(QuantityError::Overflow)
}

/// Prints a duration with the largest unit that divides it. Less than a millisecond is dropped: none can be written.
pub fn format_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    TIME_UNITS
        .iter()
        .find(|(_, size)| millis != 0 && millis.is_multiple_of(*size))
        .map_or_else(|| "0s".to_owned(), |(name, size)| format!("{}{name}", millis / size))
}

fn lookup(units: &[(&str, u64)], unit: &str) -> Option<u64> {
    units.iter().find(|(name, _)| *name == unit).map(|(_, size)| *size)
}

fn split<'t>(text: &'t str, example: &'static str) -> Result<(u64, &'t str), QuantityError> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    if digits.is_empty() {
        return Err(QuantityError::Form { example });
    }
    let number = digits.parse().map_err(|_| QuantityError::Overflow)?;
    Ok((number, unit.trim_start_matches(' ')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_and_print_as_people_write_them() {
        for (text, bytes, printed) in [
            ("123", 123, "123B"),
            ("123B", 123, "123B"),
            ("64KiB", 65_536, "64KiB"),
            ("10MB", 10_000_000, "10000000B"),
            ("1 GiB", 1 << 30, "1GiB"),
            ("0", 0, "0B"),
            ("1024MiB", 1 << 30, "1GiB"),
        ] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!(size.get(), bytes, "{text}");
            assert_eq!(size.to_string(), printed, "{text}");
            assert_eq!(size.to_string().parse(), Ok(size), "{text}");
        }
    }

    #[test]
    fn durations_read_and_print_as_people_write_them() {
        for (text, millis, printed) in [
            ("10m", 600_000, "10m"),
            ("250ms", 250, "250ms"),
            ("2s", 2_000, "2s"),
            ("60s", 60_000, "1m"),
            ("90s", 90_000, "90s"),
            ("0s", 0, "0s"),
        ] {
            let duration = parse_duration(text).unwrap();
            assert_eq!(duration, Duration::from_millis(millis), "{text}");
            assert_eq!(format_duration(duration), printed, "{text}");
        }
    }

    #[test]
    fn what_has_no_obvious_meaning_is_refused() {
        for text in ["", "MiB", "-1", "1.5MiB", "1MiB2", "1mib", "18446744073709551616", "16777216TiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
        assert_eq!("18446744073709551615".parse(), Ok(ByteSize(u64::MAX)));
        for text in ["10", "", "1d", "1h30m", "5124095576030432h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
