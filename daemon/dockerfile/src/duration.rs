//! Durations as Go writes them: `1m30s`, `1.5h`, `100ms`.

use thiserror::Error;

use crate::excerpt::of_word;

/// A text that is no duration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid duration \"{text}\", expected numbers with units as 1h, 1m30s or 100ms")]
pub struct DurationError {
    /// The text.
    pub text: String,
}

/// Units with their nanoseconds; longer names before the ones they begin with.
const UNITS: [(&str, i128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Most digits after the point that count; nanoseconds of an hour need no more.
const MAX_FRACTION: usize = 18;

/// The nanoseconds of a duration in the grammar of Go's `time.ParseDuration`.
///
/// # Errors
/// Any other text, and durations that do not fit into 64 bits.
pub fn parse_duration(text: &str) -> Result<i64, DurationError> {
    read(text).ok_or_else(|| DurationError { text: of_word(text) })
}

fn read(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total: i128 = 0;
    loop {
        let (whole, after) = digits(rest);
        let (fraction, after) = after.strip_prefix('.').map_or(("", after), digits);
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let (unit, after) = UNITS
            .iter()
            .find_map(|(name, size)| after.strip_prefix(name).map(|after| (*size, after)))?;
        let whole: i128 = if whole.is_empty() {
            0
        } else {
            whole.parse::<i64>().ok()?.into()
        };
        let fraction = &fraction[..fraction.len().min(MAX_FRACTION)];
        let part: i128 = if fraction.is_empty() {
            0
        } else {
            unit * i128::from(fraction.parse::<i64>().ok()?)
                / 10_i128.pow(u32::try_from(fraction.len()).ok()?)
        };
        total = total.checked_add(unit * whole + part)?;
        if total > i128::from(i64::MAX) {
            return None;
        }
        if after.is_empty() {
            return i64::try_from(if negative { -total } else { total }).ok();
        }
        rest = after;
    }
}

/// The digits `text` begins with, and what follows them.
fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

#[cfg(test)]
mod tests {
    use super::parse_duration;

    #[test]
    fn durations_are_read_as_go_does() {
        for (text, want) in [
            ("0", 0),
            ("5s", 5_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("100ms", 100_000_000),
            ("10us", 10_000),
            ("10µs", 10_000),
            ("-2ms", -2_000_000),
            ("+3ns", 3),
            ("9223372036854775807ns", i64::MAX),
            ("0.100000000000000000000000000001s", 100_000_000),
        ] {
            assert_eq!(parse_duration(text), Ok(want), "{text}");
        }
        for text in [
            "",
            "5",
            "s",
            ".s",
            "1x",
            "1 s",
            "9223372036854775808ns",
            "2562048h",
            "1e3s",
            "-",
            "--1s",
            "1s2",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
