//! Sizes as docker writes and reads them.

const DECIMAL: [&str; 9] = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];

/// A size in units of 1000 with so many significant digits: `7.81MB`, `1.02kB`, `0B`.
pub(crate) fn human(bytes: i64, digits: usize) -> String {
    let mut size = bytes as f64;
    let mut unit = 0;
    while significant(size, digits).0 >= 1000.0 && unit + 1 < DECIMAL.len() {
        size /= 1000.0;
        unit += 1;
    }
    format!("{}{}", significant(size, digits).1, DECIMAL[unit])
}

/// The number cut to so many significant digits, as a number and as text without trailing zeros.
fn significant(size: f64, digits: usize) -> (f64, String) {
    let before = if size.abs() < 1.0 {
        1
    } else {
        size.abs().log10().floor() as usize + 1
    };
    let mut text = format!("{size:.*}", digits.saturating_sub(before));
    if text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    (text.parse().unwrap_or(size), text)
}

/// Reads `64m`, `1g`, `1.5GiB`, `512`: bytes, in units of 1024.
pub(crate) fn parse_binary(text: &str) -> Result<i64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let split = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number.parse().map_err(|_| invalid())?;
    let lower = unit.trim_start().to_ascii_lowercase();
    let power = match lower.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return Err(format!("invalid suffix: '{unit}'")),
    };
    let bytes = number * 1024_f64.powi(power);
    if !bytes.is_finite() || bytes >= 9.2e18 {
        return Err(invalid());
    }
    Ok(bytes as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_significant_digits() {
        for (bytes, text) in [
            (0, "0B"),
            (1, "1B"),
            (999, "999B"),
            (1000, "1kB"),
            (1024, "1.02kB"),
            (1_500, "1.5kB"),
            (10_240, "10.2kB"),
            (123_456, "123kB"),
            (999_499, "999kB"),
            (999_500, "1MB"),
            (7_805_123, "7.81MB"),
            (78_051_230, "78.1MB"),
            (1_130_000_000, "1.13GB"),
            (-1, "-1B"),
            (i64::MAX, "9.22EB"),
        ] {
            assert_eq!(human(bytes, 3), text, "{bytes}");
        }
        assert_eq!(human(1_234_567, 4), "1.235MB");
        assert_eq!(human(i64::MIN, 3), "-9223372036854775808B");
    }

    #[test]
    fn binary_sizes_are_read() {
        for (text, bytes) in [
            ("512", 512),
            ("64m", 64 << 20),
            ("1g", 1 << 30),
            ("1.5KiB", 1536),
            ("2 MB", 2 << 20),
            ("3b", 3),
        ] {
            assert_eq!(parse_binary(text), Ok(bytes), "{text}");
        }
        for text in ["", "m", "1x", "-1", "1..2m", "9999999999999p", "é"] {
            assert!(parse_binary(text).is_err(), "{text}");
        }
    }
}
