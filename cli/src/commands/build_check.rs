//! `mica build --check` and `--call`: what can be said of a Dockerfile without building it, or asking a daemon.

use mica_dockerfile::answer::{Answer, Examined, answer};
use mica_oci::Platform;
use serde_json::{Map, Value};

use crate::commands::build_call::Call;
use crate::commands::build_context::Place;
use crate::commands::build_options::{Options, build_args};
use crate::context::{Source, Wanted};
use crate::error::Error;
use crate::{platform, ui};

/// Answers `call`.
pub(super) fn run(options: &Options, call: Call) -> Result<(), Error> {
    let wanted = options.file.as_deref().map_or(Wanted::Default, Wanted::File);
    if Place::of(&options.context) != Place::Folder(options.context.clone())
        || options.file.as_deref() == Some(std::path::Path::new("-"))
    {
        return Err(Error::Unsupported {
            what: "checking a Dockerfile that is in no folder".to_owned(),
        });
    }
    let source = Source::prepare(&options.context, wanted)?;
    let given = options.file.as_deref().and_then(|file| file.to_str());
    let args = arguments(build_args(&options.build_arg, |name| std::env::var(name).ok())?);
    let host = Platform::host().to_string();
    let answered = answer(
        &Examined {
            name: given.unwrap_or(source.dockerfile()),
            bytes: &source.dockerfile_bytes()?,
            build_args: &args,
            target: options.target.as_deref().filter(|target| !target.is_empty()),
            target_platform: &wanted_platform(options)?.unwrap_or_else(|| host.clone()),
            build_platform: &host,
            ignore: Some(source.ignored()),
        },
        call.question,
    );
    match answered {
        Ok(answer) => tell(&answer, call),
        Err(unanswered) => match unanswered.json {
            Some(json) if call.as_json => {
                tell_json(&json)?;
                Err(Error::Found)
            }
            _ => Err(Error::Refused {
                message: unanswered.message,
            }),
        },
    }
}

/// Shows an answer; an error if the checks found anything, as docker's exit code says.
fn tell(answer: &Answer, call: Call) -> Result<(), Error> {
    match call.as_json {
        true => tell_json(&answer.json)?,
        false => ui::result(ui::printable(&answer.text))?,
    }
    match answer.is_clean {
        true => Ok(()),
        false => Err(Error::Found),
    }
}

fn tell_json(value: &Value) -> Result<(), Error> {
    ui::result(format!("{value:#}\n"))
}

fn arguments(map: Map<String, Value>) -> Vec<(String, Option<String>)> {
    let text = |value: Value| value.as_str().map(str::to_owned);
    map.into_iter().map(|(name, value)| (name, text(value))).collect()
}

/// `--platform` or its default, in Go's names.
fn wanted_platform(options: &Options) -> Result<Option<String>, Error> {
    let flag = options.platforms().first().map(|platform| (*platform).to_owned());
    let wanted = platform::or_default(flag).map(|text| text.parse::<Platform>());
    let wanted = wanted.transpose().map_err(|error| Error::Usage {
        message: error.to_string(),
    })?;
    Ok(wanted.map(|platform| platform.to_string()))
}
