//! `mica system check`: whether all that the daemon keeps is as it should be.

use clap::{Args, ValueEnum};
use hyper::Method;
use mica_api::{CheckFinding, CheckLine, CheckProgress, CheckRepair, CheckSummary};

use crate::client::{Body, Client, Query};
use crate::credentials::{Credentials, config_header};
use crate::error::Error;
use crate::interrupt::or_interrupted;
use crate::{size, ui};

/// How closely is looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Level {
    /// The database against the disk; manifests and configs are hashed
    Quick,
    /// Every blob is hashed, and what is compressed is inflated
    Full,
    /// Every unpacked layer is derived again and compared
    Trees,
}

/// How findings are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// Every line of the daemon's, as JSON
    Json,
}

#[derive(Debug, Args)]
pub(super) struct Options {
    /// How closely to look
    #[arg(long, value_name = "LEVEL", default_value = "quick", conflicts_with_all = ["full", "trees"])]
    level: Level,
    /// Hash every blob (--level full)
    #[arg(long, conflicts_with = "trees")]
    full: bool,
    /// Derive every unpacked layer again too (--level trees)
    #[arg(long)]
    trees: bool,
    /// Mend what is found: make it again, fetch it from where it came, or set it aside and name what is broken
    #[arg(long)]
    repair: bool,
    /// Format output: text or json
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

impl Options {
    fn level(&self) -> Level {
        match (self.full, self.trees) {
            (_, true) => Level::Trees,
            (true, false) => Level::Full,
            (false, false) => self.level,
        }
    }
}

pub(super) async fn run(options: Options, client: &Client, credentials: &Credentials) -> Result<(), Error> {
    let level = match options.level() {
        Level::Quick => "quick",
        Level::Full => "full",
        Level::Trees => "trees",
    };
    let mut query = Query::default();
    query.push("level", level);
    if options.repair {
        query.push("repair", "1");
    }
    let path = format!("/mica/check{}", query.as_str());
    let summary = or_interrupted(async {
        let header = match options.repair {
            true => Some(config_header(credentials.all().await)),
            false => None,
        };
        let answer = client.send_with(Method::POST, &path, header, Body::Empty).await?;
        let mut lines = answer.lines();
        let mut view = View::new(options.format);
        while let Some(line) = lines.next::<CheckLine>().await? {
            if let Some(detail) = line.error_detail {
                return Err(Error::Work {
                    message: detail.message,
                    code: None,
                });
            }
            view.show(&line)?;
            if line.summary.is_some() {
                return Ok(line.summary);
            }
        }
        Ok(None)
    })
    .await?;
    match summary {
        Some(summary) if summary.left == 0 => Ok(()),
        Some(_) => Err(Error::Found),
        None => Err(Error::Work {
            message: "the check ended before it was done".to_owned(),
            code: None,
        }),
    }
}

/// What is shown of a check.
struct View {
    format: Format,
    /// What was said of progress last, on a terminal.
    doing: String,
}

impl View {
    fn new(format: Format) -> Self {
        Self {
            format,
            doing: String::new(),
        }
    }

    fn show(&mut self, line: &CheckLine) -> Result<(), Error> {
        if self.format == Format::Json {
            let text = serde_json::to_string(line).map_err(|source| Error::Answer {
                path: "/mica/check".to_owned(),
                source,
            })?;
            return ui::result(text + "\n");
        }
        if let Some(progress) = &line.progress {
            self.progress(progress);
        }
        if let Some(finding) = &line.finding {
            ui::result(found(finding))?;
        }
        if let Some(repair) = &line.repair {
            ui::result(repaired(repair))?;
        }
        match &line.summary {
            Some(summary) => ui::result(summed_up(summary)),
            None => Ok(()),
        }
    }

    fn progress(&mut self, progress: &CheckProgress) {
        let text = match progress.total {
            0 => format!("checking {}", progress.doing),
            total => format!(
                "checking {}: {} of {}",
                progress.doing,
                human(progress.bytes),
                human(total)
            ),
        };
        if text != self.doing {
            ui::notice(ui::printable(&text));
            self.doing = text;
        }
    }
}

fn human(bytes: u64) -> String {
    size::human(i64::try_from(bytes).unwrap_or(i64::MAX), 3)
}

/// The most images that are named below a finding.
const IMAGES: usize = 10;

fn found(finding: &CheckFinding) -> String {
    let mut text = format!("{}. {}\n", finding.number, finding.text);
    text.push_str(&format!("   at {}\n", finding.place));
    for image in finding.images.iter().take(IMAGES) {
        let names = match image.names.is_empty() {
            true => "which has no name".to_owned(),
            false => image.names.join(", "),
        };
        text.push_str(&format!("   harms image {}: {names}\n", image.id));
    }
    if finding.images.len() > IMAGES {
        text.push_str(&format!("   and {} images more\n", finding.images.len() - IMAGES));
    }
    text.push_str(&format!("   {}\n", finding.advice));
    ui::printable(&text)
}

fn repaired(repair: &CheckRepair) -> String {
    let word = match repair.how.as_str() {
        "left" => "NOT mended",
        _ => "mended",
    };
    let mut text = format!("{word} {}. {}\n", repair.number, repair.text);
    if !repair.aside.is_empty() {
        text.push_str(&format!("   set aside at {}\n", repair.aside));
    }
    if !repair.advice.is_empty() {
        text.push_str(&format!("   {}\n", repair.advice));
    }
    ui::printable(&text)
}

fn summed_up(summary: &CheckSummary) -> String {
    let read = format!(
        "{} images, {} layers, {} files, {} read ({})",
        summary.images,
        summary.layers,
        summary.files,
        human(summary.bytes),
        summary.level
    );
    match (summary.findings, summary.left) {
        (0, _) => format!("Nothing found: {read}\n"),
        (findings, 0) => format!("{findings} found, all mended: {read}\n"),
        (findings, left) if findings == left => format!("{findings} found: {read}\n"),
        (findings, left) => format!("{findings} found, {left} not mended: {read}\n"),
    }
}
