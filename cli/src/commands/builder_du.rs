//! `mica builder du`: what the build cache holds.

use clap::Args;
use hyper::Method;
use mica_api::CacheRecord;
use serde_json::{Value, json};

use crate::client::Client;
use crate::error::Error;
use crate::format::Listing;
use crate::{age, size, table, ui};

/// How much of an ID the table shows; the beginning of one is enough for `prune --filter id=`.
const SHORT: usize = 25;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Only records like this (e.g. "type=exec.cachemount", "shared=false"; id, type, description, inuse, mutable, shared)
    #[arg(long, value_name = "FILTER")]
    filter: Vec<String>,
    /// Format output: table, json or a Go template
    #[arg(long, value_name = "FORMAT", default_value = "", hide_default_value = true)]
    format: String,
    /// Show all that is known of every record
    #[arg(long)]
    verbose: bool,
}

pub(super) async fn run(options: Options, client: &Client) -> Result<(), Error> {
    let filters = options.filter.iter().map(|text| Filter::parse(text));
    let filters = filters.collect::<Result<Vec<_>, _>>()?;
    let mut records: Vec<CacheRecord> = client.ask(Method::GET, "/mica/cache").await?;
    records.retain(|record| filters.iter().all(|filter| filter.takes(record)));
    let source = match options.format.as_str() {
        "" | "table" | "pretty" => return ui::result(show(&options, &records, age::now())),
        "json" => "{{json .}}",
        text => text,
    };
    let listing = Listing {
        format: source,
        table: "",
        raw: None,
        headers: &[],
    };
    ui::result(listing.show_objects(records.iter().map(object).collect())?)
}

/// A condition on one field of a record.
#[derive(Debug)]
struct Filter {
    field: String,
    value: String,
    is_not: bool,
}

impl Filter {
    /// Reads `FIELD=VALUE`, `FIELD!=VALUE` and `FIELD`, which stands for `FIELD=true`.
    fn parse(text: &str) -> Result<Self, Error> {
        let (field, value) = text.split_once('=').unwrap_or((text, "true"));
        let filter = Self {
            field: field.trim_end_matches('!').trim().to_lowercase(),
            value: value.trim_start_matches('=').trim().to_owned(),
            is_not: field.ends_with('!'),
        };
        match filter.field(&CacheRecord::default()) {
            Some(_) => Ok(filter),
            None => Err(Error::Usage {
                message: format!("invalid argument {text:?} for \"--filter\" flag: no such field"),
            }),
        }
    }

    fn field(&self, record: &CacheRecord) -> Option<String> {
        Some(match self.field.as_str() {
            "id" => record.id.clone(),
            "type" => record.kind.clone(),
            "description" => record.description.clone(),
            "inuse" => record.in_use.to_string(),
            "mutable" => is_mutable(record).to_string(),
            "shared" => record.shared.to_string(),
            _ => return None,
        })
    }

    fn takes(&self, record: &CacheRecord) -> bool {
        let field = self.field(record).unwrap_or_default();
        // the beginning of an ID is enough, as everywhere
        let is_same = match self.field.as_str() {
            "id" => field.starts_with(&self.value),
            _ => field == self.value,
        };
        is_same != self.is_not
    }
}

fn show(options: &Options, records: &[CacheRecord], now: i64) -> String {
    let listed = match options.verbose {
        true => records.iter().map(|record| block(record, now)).collect(),
        false => rows(records, now),
    };
    let sum = |wanted: &dyn Fn(&CacheRecord) -> bool| {
        let sizes = records.iter().filter(|record| wanted(record));
        human(sizes.map(|record| record.size).sum())
    };
    let sums = [
        ("Shared", sum(&|record| record.shared)),
        ("Private", sum(&|record| !record.shared)),
        ("Reclaimable", sum(&is_reclaimable)),
        ("Total", sum(&|_| true)),
    ];
    let sums: String = sums
        .iter()
        .map(|(name, size)| format!("{name}:\t{size}\n"))
        .collect();
    format!("{listed}{}", table::align(&sums))
}

/// A record with buildx's names.
fn object(record: &CacheRecord) -> Value {
    json!({
        "CreatedAt": record.created_at,
        "Description": record.description,
        "ID": record.id,
        "InUse": record.in_use,
        "LastUsedAt": record.last_used_at,
        "Mutable": is_mutable(record),
        "Parents": null,
        "Reclaimable": is_reclaimable(record),
        "Shared": record.shared,
        "Size": human(record.size),
        "Type": record.kind,
        "UsageCount": record.usage_count,
    })
}

fn rows(records: &[CacheRecord], now: i64) -> String {
    let mut text = "ID\tRECLAIMABLE\tSIZE\tLAST ACCESSED\n".to_owned();
    for record in records {
        // as buildx marks what can still change, and what something else keeps too
        let mutable = if is_mutable(record) { "*" } else { "" };
        let shared = if record.shared { "*" } else { "" };
        text.push_str(&format!(
            "{}{mutable}\t{}\t{}{shared}\t{}\n",
            ui::printable(record.id.get(..SHORT).unwrap_or(&record.id)),
            is_reclaimable(record),
            human(record.size),
            age::ago(&record.last_used_at, now),
        ));
    }
    table::align(&text)
}

fn block(record: &CacheRecord, now: i64) -> String {
    let fields = [
        ("ID", record.id.clone()),
        ("Type", record.kind.clone()),
        ("Description", record.description.clone()),
        ("Created at", record.created_at.clone()),
        ("Mutable", is_mutable(record).to_string()),
        ("Reclaimable", is_reclaimable(record).to_string()),
        ("Shared", record.shared.to_string()),
        ("In use", record.in_use.to_string()),
        ("Size", human(record.size)),
        ("Usage count", record.usage_count.to_string()),
        ("Last used", age::ago(&record.last_used_at, now)),
    ];
    let lines: String = fields
        .iter()
        .map(|(name, value)| format!("{name}:\t{}\n", ui::printable(value)))
        .collect();
    format!("{}\n", table::align(&lines))
}

fn is_mutable(record: &CacheRecord) -> bool {
    record.kind == "exec.cachemount"
}

fn is_reclaimable(record: &CacheRecord) -> bool {
    !record.in_use && !record.shared
}

fn human(bytes: u64) -> String {
    size::human(i64::try_from(bytes).unwrap_or(i64::MAX), 4)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn options(verbose: bool) -> Options {
        Options {
            filter: vec![],
            format: String::new(),
            verbose,
        }
    }

    #[test]
    fn filters_choose_records() {
        let one = record("a", "exec.cachemount", 1);
        for (filter, taken) in [
            ("type=exec.cachemount", true),
            ("type==regular", false),
            ("type!=regular", true),
            ("id=aaaa", true),
            ("id=b", false),
            ("mutable", true),
            ("inuse=true", false),
            ("shared=false", true),
        ] {
            assert_eq!(Filter::parse(filter).unwrap().takes(&one), taken, "{filter}");
        }
        for filter in ["x=y", "", "=", "x"] {
            assert!(Filter::parse(filter).is_err(), "{filter}");
        }
    }

    fn record(id: &str, kind: &str, size: u64) -> CacheRecord {
        CacheRecord {
            id: id.repeat(64),
            kind: kind.into(),
            description: "RUN \u{1b}[31mx".into(),
            size,
            created_at: "2026-01-01T00:00:00Z".into(),
            last_used_at: "2026-01-01T01:00:00Z".into(),
            ..CacheRecord::default()
        }
    }

    #[test]
    fn the_table_is_buildxs() {
        let mut shared = record("b", "regular", 5_000_000);
        shared.shared = true;
        let records = [record("a", "exec.cachemount", 1_500), shared];
        let now = "2026-01-01T03:00:00Z".parse::<Timestamp>().unwrap().as_second();
        let text = show(&options(false), &records, now);
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(lines[0], ["ID", "RECLAIMABLE", "SIZE", "LAST", "ACCESSED"]);
        let mutable = format!("{}*", "a".repeat(SHORT));
        assert_eq!(lines[1], [&mutable, "true", "1.5kB", "2", "hours", "ago"]);
        assert_eq!(lines[2][1..3], ["false", "5MB*"]);
        assert_eq!(lines[5], ["Reclaimable:", "1.5kB"]);
        assert_eq!(lines[6], ["Total:", "5.002MB"]);
    }

    #[test]
    fn verbose_shows_all_and_no_control_characters() {
        let text = show(&options(true), &[record("a", "regular", 1)], 0);
        for wanted in [&"a".repeat(64), "regular", "Usage count:", "Created at:"] {
            assert!(text.contains(wanted), "{text}");
        }
        assert!(!text.contains('\u{1b}'));
    }
}
