//! Which of the ways to show a build is taken.

use crate::error::Error;

/// A way to show a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Rows that change.
    Tty,
    /// A line for each thing that happens.
    Plain,
    /// The objects that tell it, one on a line.
    RawJson,
    /// The lines of docker's classic builder.
    Classic,
    /// Nothing.
    Quiet,
}

impl Kind {
    /// Whether the daemon is to tell of the build as statuses.
    pub(crate) fn wants_status(self) -> bool {
        matches!(self, Self::Tty | Self::Plain | Self::RawJson)
    }

    /// What `--progress` asks for, or else the environment. `can_draw` says whether there is a terminal that rows can change
    /// on; `variable` gives a variable of the environment, empty if it is not set.
    ///
    /// # Errors
    /// A word that is none of docker's and not `classic`.
    pub(crate) fn choose(
        flag: Option<&str>,
        variable: impl Fn(&str) -> String,
        can_draw: bool,
    ) -> Result<Self, Error> {
        let flag = flag.filter(|kind| !kind.is_empty());
        let asked = match flag {
            Some(kind) => kind.to_owned(),
            None => variable("BUILDKIT_PROGRESS"),
        };
        Ok(match asked.as_str() {
            // who turns BuildKit off wants the builder before it
            "" | "auto" if is_off(&variable("DOCKER_BUILDKIT")) => Self::Classic,
            "" | "auto" if can_draw => Self::Tty,
            "" | "auto" | "plain" => Self::Plain,
            "tty" if can_draw => Self::Tty,
            // an environment is for many builds, and not all of them have a terminal
            "tty" if flag.is_none() => Self::Plain,
            "tty" => {
                return Err(Error::Usage {
                    message: "--progress=tty needs a terminal on standard error".to_owned(),
                });
            }
            "rawjson" => Self::RawJson,
            "classic" => Self::Classic,
            "quiet" | "none" => Self::Quiet,
            other => {
                return Err(Error::Usage {
                    message: format!("invalid progress type \"{other}\""),
                });
            }
        })
    }
}

/// Whether a switch of the environment is off, as docker reads it.
fn is_off(value: &str) -> bool {
    matches!(value, "0" | "f" | "F" | "false" | "False" | "FALSE")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(flag: Option<&str>, environment: &[(&str, &str)], can_draw: bool) -> Result<Kind, String> {
        let variable = |name: &str| {
            let found = environment.iter().find(|(own, _)| *own == name);
            found.map(|(_, value)| (*value).to_owned()).unwrap_or_default()
        };
        Kind::choose(flag, variable, can_draw).map_err(|error| error.to_string())
    }

    #[test]
    fn the_flag_goes_before_the_environment_and_that_before_the_terminal() {
        let plain = [("BUILDKIT_PROGRESS", "plain")];
        let off = [("DOCKER_BUILDKIT", "0")];
        for (flag, environment, can_draw, expected) in [
            (None, &[][..], true, Kind::Tty),
            (None, &[], false, Kind::Plain),
            (Some("auto"), &[], true, Kind::Tty),
            (Some("plain"), &[], true, Kind::Plain),
            (Some("tty"), &plain, true, Kind::Tty),
            (None, &plain, true, Kind::Plain),
            (None, &[("BUILDKIT_PROGRESS", "tty")], false, Kind::Plain),
            (None, &off, true, Kind::Classic),
            (Some("plain"), &off, true, Kind::Plain),
            (None, &[("BUILDKIT_PROGRESS", "classic")], true, Kind::Classic),
            (Some("rawjson"), &[], true, Kind::RawJson),
            (Some("quiet"), &[], true, Kind::Quiet),
            (Some("none"), &[], true, Kind::Quiet),
        ] {
            assert_eq!(
                choose(flag, environment, can_draw),
                Ok(expected),
                "{flag:?} {environment:?}"
            );
        }
        assert!(
            choose(Some("tty"), &[], false)
                .unwrap_err()
                .contains("needs a terminal")
        );
        assert_eq!(
            choose(None, &[("BUILDKIT_PROGRESS", "loud")], true),
            Err("invalid progress type \"loud\"".to_owned())
        );
    }
}
