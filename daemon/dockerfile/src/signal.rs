//! Signals by name or number, as STOPSIGNAL takes them.

use thiserror::Error;

use crate::excerpt::of_word;

/// A word that is no signal.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid signal: \"{word}\", expected a name as SIGTERM or a number from 1 to 64")]
pub struct SignalError {
    /// The word.
    pub word: String,
}

/// Highest signal number of Linux (signal(7)); the last real-time one.
const LAST: u32 = 64;
/// First real-time signal a C library leaves to programs.
const FIRST_REAL_TIME: u32 = 34;

/// Names of signal(7) with their numbers on x86 and arm, the only machines with images in number.
const NAMES: [(&str, u32); 35] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
    ("UNUSED", 31),
];

/// The number of a signal: a number, or a name in any case, with or without SIG, `RTMIN+n` and `RTMAX-n` too.
///
/// # Errors
/// Any other word.
pub fn parse_signal(word: &str) -> Result<u32, SignalError> {
    number(word).ok_or_else(|| SignalError { word: of_word(word) })
}

fn number(word: &str) -> Option<u32> {
    if let Ok(number) = word.parse::<u32>() {
        return (1..=LAST).contains(&number).then_some(number);
    }
    let upper = word.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let steps = |text: &str, sign, most| match text {
        "" => Some(0),
        text => text
            .strip_prefix(sign)?
            .parse::<u32>()
            .ok()
            .filter(|n| (1..=most).contains(n)),
    };
    if let Some(rest) = name.strip_prefix("RTMIN") {
        return Some(FIRST_REAL_TIME + steps(rest, '+', 15)?);
    }
    if let Some(rest) = name.strip_prefix("RTMAX") {
        return Some(LAST - steps(rest, '-', 14)?);
    }
    NAMES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, number)| *number)
}

#[cfg(test)]
mod tests {
    use super::parse_signal;

    #[test]
    fn signals_are_numbers_or_names_with_or_without_sig() {
        for (word, want) in [
            ("9", 9),
            ("64", 64),
            ("SIGUSR1", 10),
            ("usr1", 10),
            ("SigTerm", 15),
            ("SIGRTMIN", 34),
            ("RTMIN+3", 37),
            ("SIGRTMIN+15", 49),
            ("SIGRTMAX-14", 50),
            ("rtmax", 64),
        ] {
            assert_eq!(parse_signal(word), Ok(want), "{word}");
        }
        for word in [
            "SIGFOO",
            "",
            "0",
            "65",
            "-1",
            "SIG",
            "SIGSIGTERM",
            "RTMIN+16",
            "RTMIN-1",
            "TERM ",
            "9x",
        ] {
            assert!(parse_signal(word).is_err(), "{word}");
        }
    }
}
