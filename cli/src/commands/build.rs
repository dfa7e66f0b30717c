//! `mica build`: a folder and its Dockerfile become an image.

use std::fs;
use std::io;
use std::path::Path;

use hyper::Method;
use serde_json::Value;

use crate::client::{Body, Client, Query};
use crate::commands::build_check;
use crate::commands::build_options::{Options, build_args, extra_host, labels, ulimits};
use crate::context::{self, Source};
use crate::credentials::{Credentials, config_header};
use crate::display::Display;
use crate::error::Error;
use crate::interrupt::or_interrupted;
use crate::secret::Secret;
use crate::stream::{Progress, plain};
use crate::{platform, ui};

/// The build argument that makes builds reproducible; taken from the environment if it is set there.
const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";

pub(super) async fn run(
    options: Options,
    client: impl FnOnce() -> Result<Client, Error>,
    credentials: &Credentials,
) -> Result<(), Error> {
    options.check()?;
    if let Some(call) = options.call()? {
        return build_check::run(&options, call);
    }
    for name in options.idle() {
        ui::warn(format!("{name} has no effect"));
    }
    if let Some(file) = &options.iidfile {
        remove_old(file)?;
    }
    let source = Source::prepare(&options.context, options.file.as_deref())?;
    let path = format!("/build{}", query(&options, source.dockerfile())?.as_str());
    let client = client()?;
    let mut display = match options.progress.as_deref() {
        Some("plain") => Display::plain(),
        _ => Display::new(options.is_quiet()),
    };
    let id = or_interrupted(async {
        let header = config_header(credentials.all().await?);
        build(&client, &path, header, source, &mut display).await
    })
    .await;
    drop(display);
    let id = id?;
    let missing = || Error::Work {
        message: "the daemon did not say which image it built".to_owned(),
        code: None,
    };
    if options.is_quiet() {
        ui::result(format!("{}\n", id.as_deref().ok_or_else(missing)?))?;
    }
    match &options.iidfile {
        Some(file) => fs::write(file, id.ok_or_else(missing)?).map_err(|source| Error::File {
            action: "cannot write",
            path: file.clone(),
            source,
        }),
        None => Ok(()),
    }
}

/// An ID from an earlier build must not be taken for this one's.
fn remove_old(file: &Path) -> Result<(), Error> {
    match fs::remove_file(file) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::File {
            action: "cannot remove",
            path: file.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

fn query(options: &Options, dockerfile: &str) -> Result<Query, Error> {
    let variable = |name: &str| std::env::var(name).ok();
    let mut query = Query::default();
    query.push("dockerfile", dockerfile);
    for tag in &options.tag {
        query.push("t", tag);
    }
    query.flag("q", options.is_quiet());
    query.flag("nocache", options.no_cache);
    query.flag("pull", options.pull);
    query.push("rm", "1");
    if let Some(target) = &options.target {
        query.push("target", target);
    }
    let mut args = build_args(&options.build_arg, variable)?;
    if let Some(epoch) = variable(SOURCE_DATE_EPOCH).filter(|epoch| !epoch.is_empty()) {
        args.entry(SOURCE_DATE_EPOCH).or_insert(Value::String(epoch));
    }
    if !args.is_empty() {
        query.push("buildargs", Value::Object(args).to_string());
    }
    if !options.label.is_empty() {
        query.push("labels", Value::Object(labels(&options.label)).to_string());
    }
    let platform = options.platforms().first().map(|platform| (*platform).to_owned());
    if let Some(platform) = platform::or_default(platform) {
        query.push("platform", platform);
    }
    if let Some(network) = &options.network {
        query.push("networkmode", network);
    }
    for host in &options.add_host {
        query.push("extrahosts", extra_host(host)?);
    }
    if !options.ulimit.is_empty() {
        query.push("ulimits", ulimits(&options.ulimit)?.to_string());
    }
    if !options.cache_from.is_empty() {
        query.push("cachefrom", Value::from(options.cache_from.clone()).to_string());
    }
    if let Some(size) = options.shm_size {
        query.push("shmsize", size.to_string());
    }
    Ok(query)
}

/// Sends the context and shows what comes back; the image's ID if it was told.
async fn build(
    client: &Client,
    path: &str,
    credentials: (&'static str, Secret),
    source: Source,
    display: &mut Display,
) -> Result<Option<String>, Error> {
    let (sending, pieces) = context::send(source, ui::warn)?;
    let body = Body::Pieces(pieces);
    let result = match client
        .send_with(Method::POST, path, Some(credentials), body)
        .await
    {
        Ok(answer) => follow(Progress::of(answer), display).await,
        Err(error) => Err(error),
    };
    // If the context failed, all else failed because of it.
    match sending.failure() {
        Some(failure) => Err(failure),
        None => result,
    }
}

async fn follow(mut progress: Progress, display: &mut Display) -> Result<Option<String>, Error> {
    let mut id = None;
    let mut held = String::new();
    loop {
        match progress.next_on(display).await {
            Ok(Some(message)) => {
                id = message.aux_id().or(id);
                display.show(&message);
                let text = plain(&message).filter(|_| display.is_quiet()).unwrap_or_default();
                if let Some(told) = image_id(text.trim()) {
                    id = Some(told.to_owned());
                } else {
                    held.push_str(&text);
                }
            }
            Ok(None) => return Ok(id),
            Err(error) => {
                // What a quiet build kept to itself says why it failed.
                display.settle();
                ui::progress(held);
                return Err(error);
            }
        }
    }
}

/// The text if it is an image's ID and nothing else.
fn image_id(text: &str) -> Option<&str> {
    let digits = text.strip_prefix("sha256:")?;
    (digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(text)
}
