//! `mica events`: what happens to images and the build cache, as it happens.

use clap::Args;
use hyper::Method;
use mica_api::EventMessage;
use serde_json::json;

use crate::client::{Body, Client, Query};
use crate::error::Error;
use crate::format::told;
use crate::interrupt::or_interrupted;
use crate::template::{Nils, Tags, Template, TemplateError};
use crate::{age, filter, moment, ui};

/// Docker's exit code for a template that cannot be used here.
const BAD_FORMAT: u8 = 64;

/// Fields that may be left out, and what Go prints for them then.
const NILS: Nils = &[("Status", ""), ("ID", ""), ("From", ""), ("Attributes", "map[]")];

/// Fields that are spelled otherwise in JSON.
const TAGS: Tags = &[
    ("Status", "status"),
    ("ID", "id"),
    ("From", "from"),
    ("Scope", "scope"),
    ("Time", "time"),
    ("TimeNano", "timeNano"),
];

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Format output: json or a Go template
    #[arg(long, value_name = "FORMAT", default_value = "", hide_default_value = true)]
    format: String,
    /// Show all events created since timestamp
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// Stream events until this timestamp
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<String>,
}

pub(super) async fn run(options: Options, client: &Client) -> Result<(), Error> {
    let template = template(&options.format)?;
    let mut query = Query::default();
    if let Some(filters) = filter::to_json(&options.filter)? {
        query.push("filters", filters);
    }
    for (name, time) in [("since", &options.since), ("until", &options.until)] {
        if let Some(time) = time.as_deref().filter(|time| !time.is_empty()) {
            query.push(name, moment::to_unix(time, age::now())?);
        }
    }
    let path = format!("/events{}", query.as_str());
    or_interrupted(async {
        let answer = client.send(Method::GET, &path, Body::Empty).await?;
        let mut lines = answer.lines();
        while let Some(event) = lines.next().await? {
            ui::result(shown(&event, template.as_ref())?)?;
        }
        Ok(())
    })
    .await
}

/// The template, tried on an event without anything.
fn template(format: &str) -> Result<Option<Template>, Error> {
    let text = match format {
        "" => return Ok(None),
        "json" => "{{json .}}",
        text => text,
    };
    let refused = |error: TemplateError| Error::Elsewhere {
        message: format!(
            "Error parsing format: {}",
            error.to_string().trim_start_matches("template parsing error: ")
        ),
        code: BAD_FORMAT,
    };
    let template = Template::parse(text).map_err(refused)?;
    let template = template.with_nils(NILS).with_tags(TAGS);
    template
        .execute(&json!(EventMessage::default()))
        .map_err(refused)?;
    Ok(Some(template))
}

/// An event as a line.
fn shown(event: &EventMessage, template: Option<&Template>) -> Result<String, Error> {
    if let Some(template) = template {
        let text = template.execute(&json!(event)).map_err(|error| told(&error))?;
        return Ok(text + "\n");
    }
    let nanoseconds = match event.time_nano {
        0 => event.time.saturating_mul(1_000_000_000),
        nanoseconds => nanoseconds,
    };
    let time = match nanoseconds {
        0 => String::new(),
        nanoseconds => age::rfc3339_nano(nanoseconds) + " ",
    };
    let attributes = event.actor.attributes.iter();
    let attributes: Vec<String> = attributes.map(|(key, value)| format!("{key}={value}")).collect();
    let attributes = match attributes.is_empty() {
        true => String::new(),
        false => format!(" ({})", attributes.join(", ")),
    };
    let line = format!(
        "{time}{} {} {}{attributes}",
        event.kind, event.action, event.actor.id
    );
    // Labels are whatever somebody put into an image.
    Ok(ui::printable(&line).replace('\n', " ") + "\n")
}
