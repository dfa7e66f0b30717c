//! When something is tried again, and after how long.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// How often a request that carries no blob is tried in all. Each costs next to nothing, and with one fault in ten
/// requests this leaves one failure in ten million.
pub(crate) const TRIES: u32 = 7;
/// How often a host is tried that never answered.
pub(crate) const FIRST_TRIES: u32 = 3;
/// How often a blob is tried again without getting anywhere.
pub(crate) const BLOB_TRIES: u32 = 5;
/// The pause after the first failure; it doubles with each one that follows.
const FIRST: Duration = Duration::from_secs(1);
/// The longest pause that is chosen here.
const LONGEST: Duration = Duration::from_secs(8);
/// The longest pause a registry can ask for.
const ASKED_LONGEST: Duration = Duration::from_secs(60);
/// The shortest pause after a registry asked for one: some ask for microseconds and mean it less than they say.
const ASKED_SHORTEST: Duration = Duration::from_secs(1);

/// How long to wait after the `failures`-th failure in a row, counted from 1. `asked` is what the registry asked for.
pub(crate) fn pause(failures: u32, asked: Option<Duration>) -> Duration {
    if let Some(asked) = asked {
        let asked = asked.clamp(ASKED_SHORTEST, ASKED_LONGEST);
        // never earlier than asked, and not all clients at the same moment
        return asked + asked.mul_f64(jitter() / 4.0);
    }
    let doubled = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(10));
    doubled.min(LONGEST).mul_f64(0.75 + jitter() / 2.0)
}

/// A number from 0 to 1 that is another one each time.
fn jitter() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new().hash_one(0_u8);
    (random >> 11) as f64 / (1_u64 << 53) as f64
}

/// Whether an answer with this status may be another one a moment later (distribution and proxies in front of it; 499 and
/// 522 are nginx's and Cloudflare's words for a connection that broke).
pub(crate) fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 499 | 500 | 502 | 503 | 504 | 522)
}

/// How long a registry asks to wait: seconds or a date (RFC 9110, section 10.2.3).
pub(crate) fn asked(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    static DATES: DateTimeParser = DateTimeParser::new();
    let date = DATES.parse_timestamp(text).ok()?;
    let left = date.duration_since(Timestamp::now());
    Some(Duration::try_from(left).unwrap_or_default())
}

/// The wait that ghcr writes into the text of a 429: `retry-after: 880.092µs, allowed: 44000/minute`.
pub(crate) fn asked_in_text(message: &str) -> Option<Duration> {
    let lower = message.to_ascii_lowercase();
    let rest = lower.split_once("retry-after:")?.1.trim_start();
    let digits = rest
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(rest.len());
    let number: f64 = rest[..digits].parse().ok()?;
    let unit: String = rest[digits..].chars().take_while(|c| c.is_alphabetic()).collect();
    let seconds = match unit.as_str() {
        "ns" => number / 1e9,
        "µs" | "μs" | "us" => number / 1e6,
        "ms" => number / 1e3,
        "m" => number * 60.0,
        _ => number,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    #[test]
    fn pauses_double_up_to_a_bound() {
        for (failures, least, most) in [
            (1, 0.75, 1.25),
            (2, 1.5, 2.5),
            (3, 3.0, 5.0),
            (4, 6.0, 10.0),
            (50, 6.0, 10.0),
        ] {
            for _ in 0..50 {
                let pause = pause(failures, None).as_secs_f64();
                assert!((least..=most).contains(&pause), "{failures}: {pause}");
            }
        }
    }

    #[test]
    fn a_registry_is_waited_for_as_it_asks_within_reason() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_str(text).unwrap());
            asked(&headers)
        };
        assert_eq!(of("7"), Some(Duration::from_secs(7)));
        assert_eq!(of("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert!(of("Tue, 31 Dec 2199 23:59:59 GMT").unwrap() > Duration::from_secs(1 << 30));
        assert_eq!(of("-1"), None);
        assert_eq!(of("soon"), None);
        let far = pause(1, Some(Duration::from_secs(1 << 40)));
        assert!(far <= Duration::from_secs(75), "{far:?}");
        assert!(pause(1, Some(Duration::ZERO)) >= Duration::from_secs(1));
    }

    #[test]
    fn waits_in_texts_are_found() {
        for (text, seconds) in [
            (
                "toomanyrequests: retry-after: 880.092µs, allowed: 44000/minute",
                Some(880.092e-6),
            ),
            ("Retry-After: 3", Some(3.0)),
            ("retry-after: 5ms", Some(0.005)),
            ("retry-after: x", None),
            ("no", None),
        ] {
            let found = asked_in_text(text).map(|wait| wait.as_secs_f64());
            match (found, seconds) {
                (Some(found), Some(seconds)) => assert!((found - seconds).abs() < 1e-6, "{text}: {found}"),
                (found, seconds) => assert_eq!(found, seconds, "{text}"),
            }
        }
    }
}
