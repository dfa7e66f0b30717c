//! The colours of rows: docker's, unless the user says otherwise.

/// The most a text of `BUILDKIT_COLORS` has to say.
const MAX_FIELDS: usize = 16;

/// Colours, as parameters of SGR (ECMA-48 8.3.117); `None` for no colour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Palette {
    /// What is done.
    pub(crate) done: Option<String>,
    /// What failed.
    pub(crate) error: Option<String>,
    /// What was stopped.
    pub(crate) cancel: Option<String>,
    /// What the user should know.
    pub(crate) warning: Option<String>,
    /// Output of processes.
    pub(crate) faint: Option<String>,
}

impl Palette {
    /// No colours.
    pub(crate) fn none() -> Self {
        Self {
            done: None,
            error: None,
            cancel: None,
            warning: None,
            faint: None,
        }
    }

    /// What the environment asks for: no colours with `NO_COLOR` (no-color.org) or `CLICOLOR=0` (bixense.com/clicolors), those
    /// of `BUILDKIT_COLORS` (`run=green:error=255,0,0`) in place of docker's.
    pub(crate) fn of(variable: impl Fn(&str) -> String) -> Self {
        if !variable("NO_COLOR").is_empty() || variable("CLICOLOR") == "0" {
            return Self::none();
        }
        let some = |code: &str| Some(code.to_owned());
        let mut palette = Self {
            done: some("34"),
            error: some("31"),
            cancel: some("33"),
            warning: some("33"),
            faint: some("2"),
        };
        for field in variable("BUILDKIT_COLORS").split(':').take(MAX_FIELDS) {
            let Some((what, color)) = field.split_once('=') else {
                continue;
            };
            // what is no colour changes nothing, as in docker
            let Some(code) = code(color) else { continue };
            match what {
                "run" => palette.done = Some(code),
                "error" => palette.error = Some(code),
                "cancel" => palette.cancel = Some(code),
                "warning" => palette.warning = Some(code),
                _ => {}
            }
        }
        palette
    }
}

fn code(color: &str) -> Option<String> {
    const NAMES: [(&str, &str); 15] = [
        ("black", "30"),
        ("red", "31"),
        ("green", "32"),
        ("yellow", "33"),
        ("blue", "34"),
        ("magenta", "35"),
        ("cyan", "36"),
        ("white", "37"),
        ("light-black", "90"),
        ("light-red", "91"),
        ("light-green", "92"),
        ("light-yellow", "93"),
        ("light-blue", "94"),
        ("light-magenta", "95"),
        ("light-cyan", "96"),
    ];
    if let Some((_, code)) = NAMES.iter().find(|(name, _)| *name == color) {
        return Some((*code).to_owned());
    }
    let parts: Option<Vec<u8>> = color.split(',').map(|part| part.trim().parse().ok()).collect();
    match parts?[..] {
        [red, green, blue] => Some(format!("38;2;{red};{green};{blue}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn palette(environment: &[(&str, &str)]) -> Palette {
        Palette::of(|name| {
            let found = environment.iter().find(|(own, _)| *own == name);
            found.map(|(_, value)| (*value).to_owned()).unwrap_or_default()
        })
    }

    #[test]
    fn colours_can_be_turned_off() {
        for environment in [("NO_COLOR", "1"), ("CLICOLOR", "0")] {
            let palette = palette(&[environment, ("BUILDKIT_COLORS", "run=red")]);
            assert_eq!((palette.done, palette.faint), (None, None), "{environment:?}");
        }
        assert!(palette(&[("NO_COLOR", ""), ("CLICOLOR", "1")]).done.is_some());
    }

    #[test]
    fn colours_can_be_chosen() {
        let palette = palette(&[(
            "BUILDKIT_COLORS",
            "run=green:error=1,2,3:cancel=nonsense:warning=1,2,300:x=red:nothing",
        )]);
        assert_eq!(palette.done.as_deref(), Some("32"));
        assert_eq!(palette.error.as_deref(), Some("38;2;1;2;3"));
        assert_eq!(
            (palette.cancel.as_deref(), palette.warning.as_deref()),
            (Some("33"), Some("33"))
        );
    }
}
