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

/// All of them, a row each: its name, its outcomes, what docker does with it, and the first reason.
pub(crate) struct Table {
    head: String,
    rows: Vec<Row>,
}

struct Row {
    name: String,
    outcomes: String,
    docker: Outcome,
    reason: String,
}

impl Table {
    pub(crate) fn new(places: &[&str]) -> Self {
        let head = format!(
            "| entry | {} | docker | the first reason | judgement |\n|---{}|---|---|---|\n",
            places.join(" | "),
            "|---".repeat(places.len())
        );
        let rows = Vec::new();
        Self { head, rows }
    }

    pub(crate) fn add(&mut self, name: &str, outcomes: &[Outcome], docker: Outcome) {
        let words: Vec<&str> = outcomes.iter().map(Outcome::word).collect();
        let reason = outcomes.iter().find_map(|outcome| match &outcome.0 {
            Some(Err(reason)) => Some(shown(reason)),
            _ => None,
        });
        self.rows.push(Row {
            name: name.to_owned(),
            outcomes: words.join(" | "),
            docker,
            reason: reason.unwrap_or_default(),
        });
    }

    /// The table, with what somebody judged, and what docker did where it was not asked this time, from `recorded`.
    fn text(&self, recorded: &str) -> String {
        let mut text = self.head.clone();
        for row in &self.rows {
            let begin = format!("| {} | ", row.name);
            let before: Vec<&str> = recorded
                .lines()
                .find(|line| line.starts_with(&begin))
                .map_or(vec![], |line| line.trim_end_matches(" |").split(" | ").collect());
            let from_end = |at: usize| before.len().checked_sub(at).map_or("", |at| before[at].trim());
            let docker = match row.docker.word() {
                "" => from_end(3),
                "harmless" => "taken",
                word => word,
            };
            let Row {
                name,
                outcomes,
                reason,
                ..
            } = row;
            writeln!(
                text,
                "| {name} | {outcomes} | {docker} | {reason} | {} |",
                from_end(1)
            )
            .unwrap();
        }
        text
    }

    /// Compares with the table of this name in README.md, or writes it there if `MICA_ZOO_RECORD` is set; each row there must have been
    /// judged.
    #[track_caller]
    pub(crate) fn compare(&self, name: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("zoo/README.md");
        let whole = fs_err::read_to_string(&path).unwrap();
        let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
        let start = whole.find(&begin).unwrap() + begin.len();
        let stop = whole.find(&end).unwrap();
        let recorded = &whole[start..stop];
        let text = self.text(recorded);
        if std::env::var_os("MICA_ZOO_RECORD").is_some() {
            let whole = format!("{}{text}{}", &whole[..start], &whole[stop..]);
            fs_err::write(&path, whole).unwrap();
            return;
        }
        let differing: Vec<String> = recorded
            .lines()
            .zip(text.lines())
            .filter(|(recorded, now)| recorded != now)
            .map(|(recorded, now)| format!("- {recorded}\n+ {now}"))
            .collect();
        assert!(differing.is_empty(), "{}", differing.join("\n"));
        assert_eq!(recorded.lines().count(), text.lines().count());
        let unjudged: Vec<&str> = text.lines().filter(|line| line.ends_with("|  |")).collect();
        assert!(unjudged.is_empty(), "nobody judged {}", unjudged.join("\n"));
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
            word if word.ends_with("/store,") => "STORE,".to_owned(),
            word => word,
        });
    }
    let mut text = words.join(" ");
    // how much of the disk is free is another matter
    if let Some((before, _)) = text.split_once(", with ") {
        text = before.to_owned();
    }
    match text.char_indices().nth(REASON) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
