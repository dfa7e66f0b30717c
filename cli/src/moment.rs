//! Points in time of flags: dates, unix seconds and time spans before now, as the daemon wants them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::error::Error;

/// Nanoseconds of Go's units, longest names first.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("μs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
];

/// Unix seconds, with nine digits behind the point where the text was a date. Dates without an offset are those of
/// this machine's time zone; `10m` is ten minutes before `now`.
///
/// # Errors
/// A text that is neither date, number nor time span.
pub(crate) fn to_unix(text: &str, now: i64) -> Result<String, Error> {
    if let Some(nanoseconds) = span(text) {
        return Ok((now.saturating_sub((nanoseconds / 1e9).ceil() as i64)).to_string());
    }
    if let Some(time) = date(text) {
        let (seconds, nanoseconds) = (time.as_second(), time.subsec_nanosecond());
        return Ok(format!("{seconds}.{nanoseconds:09}"));
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number(seconds) && is_number(fraction) {
        return Ok(text.to_owned());
    }
    Err(Error::Refused {
        message: format!("failed to parse value as time or duration: {text:?}"),
    })
}

fn date(text: &str) -> Option<Timestamp> {
    if !text.contains('-') {
        return None;
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let local = text.parse::<DateTime>().ok()?;
    Some(local.to_zoned(TimeZone::system()).ok()?.timestamp())
}

/// A Go duration in nanoseconds: `1h30m`, `1.5h`, `-10s`.
fn span(text: &str) -> Option<f64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest.is_empty() {
        return None;
    }
    let mut sum = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let (_, length) = UNITS.iter().find(|(name, _)| *name == &rest[..unit])?;
        sum += number * length;
        rest = &rest[unit..];
    }
    Some(sign * sum)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    #[test]
    fn times_are_read_as_docker_reads_them() {
        for (text, expected) in [
            ("10m", "1699999400"),
            ("1.5h", "1699994600"),
            ("1h30m0.5s", "1699994599"),
            ("-10s", "1700000010"),
            ("5ms", "1699999999"),
            ("2µs", "1699999999"),
            ("1699920000", "1699920000"),
            ("1699920000.5", "1699920000.5"),
            ("0", "0"),
            ("2023-11-14T10:00:00.123456789Z", "1699956000.123456789"),
            ("2023-11-14T11:00:00+01:00", "1699956000.000000000"),
        ] {
            assert_eq!(to_unix(text, 1_700_000_000).unwrap(), expected, "{text}");
        }
        for text in ["", "abc", "-", "10x", "2023-13-45", "1.2.3", "h", "1e3s", "-1"] {
            let told = to_unix(text, 0).map_err(|error| error.to_string());
            let expected = format!("failed to parse value as time or duration: {text:?}");
            assert_eq!(told, Err(expected), "{text}");
        }
    }

    #[test]
    fn dates_without_an_offset_are_local() {
        let zone = TimeZone::system();
        for (text, date) in [
            ("2023-11-14", jiff::civil::date(2023, 11, 14).at(0, 0, 0, 0)),
            ("2023-11-14T10", jiff::civil::date(2023, 11, 14).at(10, 0, 0, 0)),
            (
                "2023-11-14T10:30",
                jiff::civil::date(2023, 11, 14).at(10, 30, 0, 0),
            ),
            (
                "2023-11-14T10:30:05",
                jiff::civil::date(2023, 11, 14).at(10, 30, 5, 0),
            ),
        ] {
            let seconds = date.to_zoned(zone.clone()).unwrap().timestamp().as_second();
            assert_eq!(
                to_unix(text, 0).unwrap(),
                format!("{seconds}.000000000"),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            let _ = to_unix(&text, 1_700_000_000);
        }

        #[test]
        fn pieces_are_read_or_refused(text in "[-+0-9.hmnsuµTZ:]{0,20}") {
            let _ = to_unix(&text, 1_700_000_000);
        }
    }
}
