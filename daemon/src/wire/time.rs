//! Points in time as docker's filters write them.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Reads a duration before `now` (`1h30m`), seconds since 1970 with a fraction or not, or a date and time, UTC unless it says
/// otherwise.
pub(crate) fn read(text: &str, now: Timestamp) -> Option<Timestamp> {
    let text = text.trim();
    if let Some(duration) = duration(text) {
        return now.checked_sub(duration).ok();
    }
    if let Some(time) = unix(text) {
        return Some(time);
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let utc = |civil: DateTime| civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    if let Ok(civil) = text.parse::<DateTime>() {
        return utc(civil);
    }
    let date: Date = text.trim_end_matches('Z').parse().ok()?;
    utc(date.at(0, 0, 0, 0))
}

/// Go's durations: numbers with a unit, one after the other; a bare number is none.
pub(crate) fn duration(text: &str) -> Option<SignedDuration> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest.is_empty() {
        return None;
    }
    let mut seconds = 0f64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        seconds += number
            * match &rest[..end] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" | "μs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = &rest[end..];
    }
    SignedDuration::try_from_secs_f64(if negative { -seconds } else { seconds }).ok()
}

fn unix(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if seconds.is_empty() || !digits(seconds) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let nanoseconds: i32 = format!("{fraction:0<9}").parse().ok()?;
    Timestamp::new(seconds.parse().ok()?, nanoseconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("24h", "2026-01-01T00:00:00Z"),
            ("1h30m", "2026-01-01T22:30:00Z"),
            ("1.5h", "2026-01-01T22:30:00Z"),
            ("500ms", "2026-01-01T23:59:59.5Z"),
            ("-1h", "2026-01-02T01:00:00Z"),
            ("0", "1970-01-01T00:00:00Z"),
            ("1735689600", "2025-01-01T00:00:00Z"),
            ("1735689600.25", "2025-01-01T00:00:00.25Z"),
            ("2025-01-01T00:00:00Z", "2025-01-01T00:00:00Z"),
            ("2025-01-01T02:00:00+02:00", "2025-01-01T00:00:00Z"),
            ("2025-01-01T00:00:00", "2025-01-01T00:00:00Z"),
            ("2025-01-01T00:00", "2025-01-01T00:00:00Z"),
            ("2025-01-01", "2025-01-01T00:00:00Z"),
        ] {
            let expected: Timestamp = expected.parse().unwrap();
            assert_eq!(read(text, now), Some(expected), "{text}");
        }
        for text in [
            "",
            "h",
            "1x",
            "soon",
            "1h2",
            "1e400h",
            "99999999999999999999",
            "-",
            "1.1234567891",
        ] {
            assert_eq!(read(text, now), None, "{text}");
        }
    }
}
