//! `--chmod`: octal, or symbolic as chmod(1) takes it.

use crate::error::StepError;

/// A change of permission bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mode {
    /// These bits.
    Octal(u32),
    /// Clauses such as `u+x`, one after the other.
    Symbolic(Vec<Clause>),
}

/// One clause of a symbolic mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Clause {
    /// Bits of the classes it is about: of `0o7777`.
    who: u32,
    operator: char,
    permissions: String,
}

impl Mode {
    /// Reads the value of `--chmod`.
    pub(crate) fn parse(text: &str) -> Result<Self, StepError> {
        let invalid = || {
            StepError::Invalid(format!(
                "invalid --chmod {text:?}: expected octal digits up to 7777, or clauses such as u+x,go-w"
            ))
        };
        if text.bytes().next().is_some_and(|b| b.is_ascii_digit()) {
            let bits = u32::from_str_radix(text, 8).map_err(|_| invalid())?;
            return if bits <= 0o7777 {
                Ok(Self::Octal(bits))
            } else {
                Err(invalid())
            };
        }
        text.split(',')
            .map(|clause| Clause::parse(clause).ok_or_else(invalid))
            .collect::<Result<_, _>>()
            .map(Self::Symbolic)
    }

    /// The bits that directories made on the way get; symbolic modes leave those alone.
    pub(crate) fn for_new_directories(&self) -> Option<u32> {
        match self {
            Self::Octal(bits) => Some(*bits),
            Self::Symbolic(_) => None,
        }
    }

    /// What `bits` of a file become.
    pub(crate) fn apply(&self, bits: u32, directory: bool) -> u32 {
        match self {
            Self::Octal(new) => *new,
            Self::Symbolic(clauses) => clauses
                .iter()
                .fold(bits, |bits, clause| clause.apply(bits, directory)),
        }
    }
}

impl Clause {
    fn parse(text: &str) -> Option<Self> {
        let at = text.find(['+', '-', '='])?;
        let (classes, rest) = text.split_at(at);
        let operator = rest.chars().next()?;
        let permissions = &rest[1..];
        let mut who = 0;
        for class in classes.chars() {
            who |= match class {
                'u' => 0o4700,
                'g' => 0o2070,
                'o' => 0o1007,
                'a' => 0o7777,
                _ => return None,
            };
        }
        // without classes: all, as with umask 0
        if who == 0 {
            who = 0o7777;
        }
        let copies = matches!(permissions, "u" | "g" | "o");
        if !copies && !permissions.chars().all(|c| "rwxXst".contains(c)) {
            return None;
        }
        Some(Self {
            who,
            operator,
            permissions: permissions.to_owned(),
        })
    }

    fn apply(&self, bits: u32, directory: bool) -> u32 {
        let mut set = 0;
        for permission in self.permissions.chars() {
            let spread = |three: u32| three << 6 | three << 3 | three;
            set |= match permission {
                'r' => 0o444,
                'w' => 0o222,
                'x' => 0o111,
                'X' if directory || bits & 0o111 != 0 => 0o111,
                's' => 0o6000,
                't' => 0o1000,
                'u' => spread(bits >> 6 & 7),
                'g' => spread(bits >> 3 & 7),
                'o' => spread(bits & 7),
                _ => 0,
            };
        }
        // the sticky bit belongs to everyone
        let who = self.who | if set & 0o1000 != 0 { 0o1000 } else { 0 };
        match self.operator {
            '+' => bits | (set & who),
            '-' => bits & !(set & who),
            _ => bits & !(self.who & 0o777) | (set & who),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_applied_as_chmod_does() {
        for (text, before, directory, after) in [
            ("0640", 0o777, false, 0o640),
            ("4755", 0o644, false, 0o4755),
            ("u+x,go=", 0o644, false, 0o700),
            ("a+rX,go-w", 0o640, false, 0o644),
            ("a+rX,go-w", 0o750, true, 0o755),
            ("+x", 0o644, false, 0o755),
            ("u=g", 0o640, false, 0o440),
            ("u+s", 0o755, false, 0o4755),
            ("+t", 0o777, true, 0o1777),
        ] {
            assert_eq!(
                Mode::parse(text).unwrap().apply(before, directory),
                after,
                "{text} on {before:o}"
            );
        }
    }

    #[test]
    fn other_texts_are_no_modes() {
        for text in [
            "", "zzz", "8", "10000", "07777777", "u", "u+q", "q+x", "u+x,", "0x1",
        ] {
            assert!(Mode::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn only_octal_modes_reach_new_directories() {
        assert_eq!(Mode::parse("0640").unwrap().for_new_directories(), Some(0o640));
        assert_eq!(Mode::parse("u+x").unwrap().for_new_directories(), None);
    }
}
