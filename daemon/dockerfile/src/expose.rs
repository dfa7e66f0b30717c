//! Ports as EXPOSE takes them.

use thiserror::Error;

use crate::excerpt::of_word;

/// A word that is no port.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid port \"{word}\": {problem}")]
pub struct ExposeError {
    /// The word.
    pub word: String,
    /// What is wrong with it, and what was expected.
    pub problem: &'static str,
}

/// The ports of one expanded word, as `80/tcp`: a port or a range, with a protocol, and perhaps an address and
/// host port in front, which are checked and dropped.
///
/// # Errors
/// Anything else.
pub fn parse_expose(word: &str) -> Result<Vec<String>, ExposeError> {
    ports(word).map_err(|problem| ExposeError {
        word: of_word(word),
        problem,
    })
}

fn ports(word: &str) -> Result<Vec<String>, &'static str> {
    let (address, host, container) = split(word);
    let (container, protocol) = container.split_once('/').unwrap_or((container, "tcp"));
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "" | "tcp" => "tcp",
        "udp" => "udp",
        "sctp" => "sctp",
        _ => return Err("unknown protocol, expected tcp, udp or sctp"),
    };
    if container.is_empty() {
        return Err("no port specified, expected PORT[/PROTOCOL]");
    }
    let (first, last) = range(container)?;
    if !address.is_empty() && address.parse::<std::net::IpAddr>().is_err() {
        return Err("invalid address, expected ADDRESS:HOST_PORT:PORT");
    }
    if !host.is_empty() {
        let (host_first, host_last) = range(host)?;
        if first != last && host_last - host_first != last - first {
            return Err("ranges of host and container ports must be of the same length");
        }
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

/// Address, host port and container port; the first two may be empty.
fn split(word: &str) -> (&str, &str, &str) {
    let Some((front, container)) = word.rsplit_once(':') else {
        return ("", "", word);
    };
    let Some((address, host)) = front.rsplit_once(':') else {
        return ("", front, container);
    };
    let bare = address
        .strip_prefix('[')
        .and_then(|a| a.strip_suffix(']'))
        .unwrap_or(address);
    (bare, host, container)
}

fn range(text: &str) -> Result<(u16, u16), &'static str> {
    let port = |text: &str| -> Result<u16, &'static str> {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        text.parse()
            .ok()
            .filter(|_| digits)
            .ok_or("expected a port from 0 to 65535 or a range of ports")
    };
    let Some((first, last)) = text.split_once('-') else {
        return port(text).map(|p| (p, p));
    };
    let (first, last) = (port(first)?, port(last)?);
    if first > last {
        Err("the range is upside down, expected FIRST-LAST")
    } else {
        Ok((first, last))
    }
}

#[cfg(test)]
mod tests {
    use super::parse_expose;

    #[test]
    fn ports_ranges_and_protocols() {
        for (word, want) in [
            ("8080", vec!["8080/tcp"]),
            ("53/udp", vec!["53/udp"]),
            ("80/TCP", vec!["80/tcp"]),
            ("7/Sctp", vec!["7/sctp"]),
            ("0443", vec!["443/tcp"]),
            ("80/", vec!["80/tcp"]),
            ("9000-9002/tcp", vec!["9000/tcp", "9001/tcp", "9002/tcp"]),
            ("8080:80", vec!["80/tcp"]),
            ("127.0.0.1:91:90", vec!["90/tcp"]),
            ("127.0.0.1::90/udp", vec!["90/udp"]),
            ("[::1]:1:2", vec!["2/tcp"]),
            ("1-2:3-4", vec!["3/tcp", "4/tcp"]),
            ("8000-9000:80", vec!["80/tcp"]),
        ] {
            assert_eq!(parse_expose(word).unwrap(), want, "{word}");
        }
        for word in [
            "80/foo",
            "",
            "/tcp",
            "a",
            "65536",
            "-1",
            "+1",
            "2-1",
            "1-",
            "x:1:2",
            "1-3:1-2",
            ":",
            "a:80",
            "80/tcp/udp",
        ] {
            assert!(parse_expose(word).is_err(), "{word}");
        }
        assert_eq!(parse_expose("0-65535").unwrap().len(), 65536);
    }
}
