//! Points in time: how long ago, and as dates of this machine's time zone.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;

/// Now, in unix seconds.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// A time span as docker puts it: `About an hour`, `3 weeks`.
pub(crate) fn human(seconds: i64) -> String {
    let hours = seconds.saturating_add(HOUR / 2) / HOUR;
    match seconds {
        ..1 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..MINUTE => format!("{seconds} seconds"),
        MINUTE..120 => "About a minute".to_owned(),
        120..HOUR => format!("{} minutes", seconds / MINUTE),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", seconds / HOUR / 24 / 365),
    }
}

/// `2024-01-31 12:00:00 +0100 CET`
pub(crate) fn go_date(unix: i64) -> String {
    local(unix).map_or_else(
        || unix.to_string(),
        |time| time.strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string(),
    )
}

/// `2024-01-31T12:00:00+01:00`
pub(crate) fn rfc3339(unix: i64) -> String {
    match local(unix) {
        Some(time) if time.offset().is_zero() => time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Some(time) => time.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        None => unix.to_string(),
    }
}

/// `2024-01-31T12:00:00.000000000+01:00`, of nanoseconds since 1970.
pub(crate) fn rfc3339_nano(nanoseconds: i64) -> String {
    let Ok(time) = Timestamp::from_nanosecond(nanoseconds.into()) else {
        return nanoseconds.to_string();
    };
    let time = time.to_zoned(TimeZone::system());
    match time.offset().is_zero() {
        true => time.strftime("%Y-%m-%dT%H:%M:%S.%9fZ").to_string(),
        false => time.strftime("%Y-%m-%dT%H:%M:%S.%9f%:z").to_string(),
    }
}

/// A time of a daemon's answer as Go writes it, `2024-01-31 12:00:00.5 +0000 UTC`; nothing if it is none.
pub(crate) fn go_time(text: &str) -> String {
    let Ok(time) = text.parse::<Timestamp>() else {
        return String::new();
    };
    let time = time.to_zoned(TimeZone::UTC);
    time.strftime("%Y-%m-%d %H:%M:%S%.f +0000 UTC").to_string()
}

/// `3 weeks ago`, of a time of a daemon's answer; nothing if it is none.
pub(crate) fn ago(text: &str, now: i64) -> String {
    match text.parse::<Timestamp>() {
        Ok(time) => format!("{} ago", human(now.saturating_sub(time.as_second()))),
        Err(_) => String::new(),
    }
}

/// `Wed Jan 31 12:00:00 2024`; texts that are no time stay as they are.
pub(crate) fn ansi_c(text: &str) -> String {
    match text.parse::<Timestamp>() {
        Ok(time) => time
            .to_zoned(TimeZone::UTC)
            .strftime("%a %b %e %H:%M:%S %Y")
            .to_string(),
        Err(_) => text.to_owned(),
    }
}

fn local(unix: i64) -> Option<Zoned> {
    Timestamp::from_second(unix)
        .ok()
        .map(|time| time.to_zoned(TimeZone::system()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_put_as_docker_puts_them() {
        const DAY: i64 = 24 * HOUR;
        for (seconds, text) in [
            (-5, "Less than a second"),
            (0, "Less than a second"),
            (1, "1 second"),
            (45, "45 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (46 * MINUTE, "46 minutes"),
            (59 * MINUTE + 59, "59 minutes"),
            (HOUR, "About an hour"),
            (89 * MINUTE, "About an hour"),
            (90 * MINUTE, "2 hours"),
            (47 * HOUR, "47 hours"),
            (48 * HOUR, "2 days"),
            (13 * DAY, "13 days"),
            (14 * DAY, "2 weeks"),
            (59 * DAY, "8 weeks"),
            (60 * DAY, "2 months"),
            (23 * 30 * DAY, "23 months"),
            (2 * 365 * DAY, "2 years"),
            (54 * 365 * DAY, "54 years"),
        ] {
            assert_eq!(human(seconds), text, "{seconds}");
        }
        assert_eq!(human(i64::MAX), "292471208677 years");
    }

    #[test]
    fn dates_out_of_range_stay_numbers() {
        assert_eq!(go_date(i64::MAX), i64::MAX.to_string());
        assert_eq!(rfc3339(i64::MIN), i64::MIN.to_string());
        assert_eq!(
            ansi_c("2025-05-30T12:09:15.000000000+00:00"),
            "Fri May 30 12:09:15 2025"
        );
        assert_eq!(ansi_c("0001-01-01T00:00:00Z"), "Mon Jan  1 00:00:00 0001");
        assert_eq!(ansi_c("never"), "never");
        assert_eq!(go_time("2023-11-14T22:13:20Z"), "2023-11-14 22:13:20 +0000 UTC");
        assert_eq!(
            go_time("2023-11-14T22:13:20.120Z"),
            "2023-11-14 22:13:20.12 +0000 UTC"
        );
        assert_eq!(go_time(""), "");
        assert_eq!(ago("1970-01-01T00:00:10Z", 70), "About a minute ago");
        assert_eq!(ago("never", 70), "");
    }
}
