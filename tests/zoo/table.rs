//! What became of each, as a table that is kept beside the tests and compared with.

use std::fmt::Write as _;
use std::path::Path;

use mica_tests::Ran;

/// The longest reason in the table, in characters.
const REASON: usize = 110;

/// What became of one.
#[derive(Debug)]
pub(crate) struct Outcome(Option<Result<(), String>>);

impl Outcome {
    /// What a command ended with: 0, or 1 and a reason.
    #[track_caller]
    pub(crate) fn of(ran: &Ran) -> Self {
        match ran.code {
            0 => Self::from(Ok(())),
            1 => {
                let line = ran.stderr.lines().rev().find(|line| !line.trim().is_empty());
                Self::from(Err(line.unwrap_or_default().to_owned()))
            }
            code => panic!("{code}: {}", ran.stderr),
        }
    }

    #[track_caller]
    pub(crate) fn from(result: Result<(), String>) -> Self {
        if let Err(reason) = &result {
            assert!(!reason.is_empty(), "refused without a reason");
            assert!(reason.len() < 8192, "{reason}");
        }
        Self(Some(result))
    }

    pub(crate) fn untried() -> Self {
        Self(None)
    }

    pub(crate) fn is_refused(&self) -> bool {
        matches!(self.0, Some(Err(_)))
    }

    fn word(&self) -> &'static str {
        match &self.0 {
            Some(Ok(())) => "harmless",
            Some(Err(_)) => "refused",
            None => "",
        }
    }
}

/// All of them.
pub(crate) struct Table {
    text: String,
}

impl Table {
    pub(crate) fn new(places: &[&str]) -> Self {
        let text = format!(
            "| entry | {} | the first reason |\n|---{}|---|\n",
            places.join(" | "),
            "|---".repeat(places.len())
        );
        Self { text }
    }

    pub(crate) fn add(&mut self, name: &str, outcomes: Vec<Outcome>) {
        let words: Vec<&str> = outcomes.iter().map(Outcome::word).collect();
        let reason = outcomes.iter().find_map(|outcome| match &outcome.0 {
            Some(Err(reason)) => Some(shown(reason)),
            _ => None,
        });
        writeln!(
            self.text,
            "| {name} | {} | {} |",
            words.join(" | "),
            reason.unwrap_or_default()
        )
        .unwrap();
    }

    /// Compares with the table of this name in README.md, or writes it there if `MICA_ZOO_RECORD` is set.
    #[track_caller]
    pub(crate) fn compare(&self, name: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("zoo/README.md");
        let whole = fs_err::read_to_string(&path).unwrap();
        let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
        let start = whole.find(&begin).unwrap() + begin.len();
        let stop = whole.find(&end).unwrap();
        if std::env::var_os("MICA_ZOO_RECORD").is_some() {
            let whole = format!("{}{}{}", &whole[..start], self.text, &whole[stop..]);
            fs_err::write(&path, whole).unwrap();
            return;
        }
        let differing: Vec<String> = whole[start..stop]
            .lines()
            .zip(self.text.lines())
            .filter(|(recorded, now)| recorded != now)
            .map(|(recorded, now)| format!("- {recorded}\n+ {now}"))
            .collect();
        assert!(differing.is_empty(), "{}", differing.join("\n"));
        assert_eq!(whole[start..stop].lines().count(), self.text.lines().count());
    }
}

/// A reason without what differs from run to run, and without what would end a table.
fn shown(reason: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in reason.split_whitespace() {
        let word: String = word
            .chars()
            .map(|c| if c.is_control() || c == '|' { '?' } else { c })
            .collect();
        words.push(match word {
            word if word.contains("/tree/root") => "TREE".to_owned(),
            word if word.contains("127.0.0.1:") => "REGISTRY".to_owned(),
            word => word,
        });
    }
    let text = words.join(" ");
    match text.char_indices().nth(REASON) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
