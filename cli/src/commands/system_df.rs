//! `mica system df`: how much of the disk is used by what, and how much of it could be had back.

use clap::Args;
use hyper::Method;
use mica_api::{CacheRecord, DiskUsage, ImageSummary};
use serde_json::Value;

use crate::client::Client;
use crate::commands::system_df_verbose::{self, own_size};
use crate::error::Error;
use crate::format::{Listing, Row};
use crate::{age, size, ui};

const TABLE: &str = "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";
const RAW: &str = "type: {{.Type}}\ntotal: {{.TotalCount}}\nactive: {{.Active}}\nsize: {{.Size}}\n\
                   reclaimable: {{.Reclaimable}}\n";
const HEADERS: [(&str, &str); 5] = [
    ("Type", "TYPE"),
    ("TotalCount", "TOTAL"),
    ("Active", "ACTIVE"),
    ("Size", "SIZE"),
    ("Reclaimable", "RECLAIMABLE"),
];

/// States of containers that are in use.
const ACTIVE_STATES: [&str; 3] = ["running", "paused", "restarting"];

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Format output: table, table TEMPLATE, json or a Go template
    #[arg(long, value_name = "FORMAT", default_value = "", hide_default_value = true)]
    format: String,
    /// Show detailed information on space usage
    #[arg(short, long)]
    verbose: bool,
}

pub(super) async fn run(options: Options, client: &Client) -> Result<(), Error> {
    let path = match options.verbose {
        // what docker's daemon does not know it passes over
        true => "/system/df?on-disk=1",
        false => "/system/df",
    };
    let usage: DiskUsage = client.ask(Method::GET, path).await?;
    ui::result(match options.verbose {
        true => system_df_verbose::show(&options.format, usage, age::now())?,
        false => show(&options.format, &usage)?,
    })
}

fn show(format: &str, usage: &DiskUsage) -> Result<String, Error> {
    let listing = Listing {
        format,
        table: TABLE,
        raw: Some(RAW),
        headers: &HEADERS,
    };
    listing.show(vec![
        images(&usage.images, usage.layers_size).row("Images", true),
        containers(&usage.containers).row("Containers", true),
        volumes(&usage.volumes).row("Local Volumes", true),
        cache(&usage.build_cache).row("Build Cache", false),
    ])
}

/// What one kind of thing uses.
#[derive(Debug, Default)]
struct Sum {
    count: usize,
    active: usize,
    /// Bytes.
    size: i64,
    /// Bytes that nothing in use needs.
    reclaimable: i64,
}

impl Sum {
    fn row(&self, kind: &str, with_share: bool) -> Row {
        let mut reclaimable = size::human(self.reclaimable, 4);
        if with_share && self.size > 0 {
            let share = i128::from(self.reclaimable) * 100 / i128::from(self.size);
            reclaimable.push_str(&format!(" ({share}%)"));
        }
        vec![
            ("Type", kind.to_owned()),
            ("TotalCount", self.count.to_string()),
            ("Active", self.active.to_string()),
            ("Size", size::human(self.size, 4)),
            ("Reclaimable", reclaimable),
        ]
    }

    fn add(&mut self, size: i64, is_active: bool) {
        self.size = self.size.saturating_add(size);
        match is_active {
            true => self.active += 1,
            false => self.reclaimable = self.reclaimable.saturating_add(size),
        }
    }
}

/// Layers are counted once; those that only images in use have are not to be had back.
fn images(images: &[ImageSummary], layers_size: i64) -> Sum {
    let active = || images.iter().filter(|image| image.containers > 0);
    let used = active().filter(|image| image.size != -1 && image.shared_size != -1);
    let used = used.fold(0_i64, |sum, image| {
        sum.saturating_add(image.size.saturating_sub(image.shared_size))
    });
    Sum {
        count: images.len(),
        active: active().count(),
        size: layers_size,
        reclaimable: layers_size.saturating_sub(used),
    }
}

fn containers(containers: &[Value]) -> Sum {
    let mut sum = Sum {
        count: containers.len(),
        ..Sum::default()
    };
    for container in containers {
        let state = container["State"].as_str().unwrap_or_default();
        sum.add(
            container["SizeRw"].as_i64().unwrap_or(0),
            ACTIVE_STATES.contains(&state),
        );
    }
    sum
}

fn volumes(volumes: &[Value]) -> Sum {
    let mut sum = Sum {
        count: volumes.len(),
        ..Sum::default()
    };
    for volume in volumes {
        let used = &volume["UsageData"];
        let size = used["Size"].as_i64().filter(|size| *size != -1).unwrap_or(0);
        sum.add(size, used["RefCount"].as_i64().is_some_and(|count| count > 0));
    }
    sum
}

/// What images have too is counted with them.
fn cache(records: &[CacheRecord]) -> Sum {
    let mut sum = Sum {
        count: records.len(),
        ..Sum::default()
    };
    for record in records {
        sum.add(own_size(record), record.in_use);
    }
    sum
}
