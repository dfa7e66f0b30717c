//! `mica info`: what the daemon says of itself and its machine.

use clap::Args;
use hyper::Method;
use mica_api::Info;
use serde_json::{Value, json};

use crate::client::Client;
use crate::error::Error;
use crate::format::told;
use crate::template::Template;
use crate::ui;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Format output: json or a Go template
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        default_value = "",
        hide_default_value = true
    )]
    format: String,
}

pub(super) async fn run(options: Options, client: &Client) -> Result<(), Error> {
    let template = match options.format.as_str() {
        "" => None,
        "json" => Some("{{json .}}"),
        text => Some(text),
    };
    let template = template
        .map(Template::parse)
        .transpose()
        .map_err(|error| told(&error))?;
    let mut value: Value = client.ask(Method::GET, "/info").await?;
    if let Some(template) = template {
        value["ClientInfo"] =
            json!({"Context": "default", "Version": env!("CARGO_PKG_VERSION"), "Debug": false});
        return ui::result(template.execute(&value).map_err(|error| told(&error))? + "\n");
    }
    let info: Info = serde_json::from_value(value).map_err(|source| Error::Answer {
        path: "/info".to_owned(),
        source,
    })?;
    for warning in info.warnings.iter().flatten() {
        ui::notice(warning);
    }
    ui::result(show(&info))
}

fn show(info: &Info) -> String {
    let mut text = format!(
        "Client:\n Version:    {}\n Context:    default\n\nServer:\n",
        env!("CARGO_PKG_VERSION")
    );
    line(&mut text, 1, "Containers", &info.containers.to_string());
    line(&mut text, 1, "Images", &info.images.to_string());
    line(&mut text, 1, "Server Version", &info.server_version);
    line(&mut text, 1, "Storage Driver", &info.driver);
    for (key, value) in &info.driver_status {
        line(&mut text, 2, key, value);
    }
    for (name, value) in [
        ("Cgroup Driver", &info.cgroup_driver),
        ("Cgroup Version", &info.cgroup_version),
    ] {
        if !value.is_empty() {
            line(&mut text, 1, name, value);
        }
    }
    if !info.security_options.is_empty() {
        line(&mut text, 1, "Security Options", &info.security_options.join(" "));
    }
    line(&mut text, 1, "Kernel Version", &info.kernel_version);
    line(&mut text, 1, "Operating System", &info.operating_system);
    line(&mut text, 1, "OSType", &info.os_type);
    line(&mut text, 1, "Architecture", &info.architecture);
    line(&mut text, 1, "CPUs", &info.n_cpu.to_string());
    line(&mut text, 1, "Total Memory", &binary_size(info.mem_total));
    line(&mut text, 1, "Name", &info.name);
    line(&mut text, 1, "ID", &info.id);
    line(&mut text, 1, "Docker Root Dir", &info.docker_root_dir);
    line(&mut text, 1, "Debug Mode", &info.debug.to_string());
    for (name, value) in [
        ("HTTP Proxy", &info.http_proxy),
        ("HTTPS Proxy", &info.https_proxy),
        ("No Proxy", &info.no_proxy),
    ] {
        if !value.is_empty() {
            line(&mut text, 1, name, value);
        }
    }
    line(&mut text, 1, "Experimental", &info.experimental_build.to_string());
    let registry = &info.registry_config;
    for (name, list) in [
        ("Insecure Registries", &registry.insecure_registry_cidrs),
        ("Registry Mirrors", &registry.mirrors),
    ] {
        if !list.is_empty() {
            line(&mut text, 1, name, "");
            list.iter().for_each(|item| text.push_str(&format!("  {item}\n")));
        }
    }
    text
}

fn line(text: &mut String, indent: usize, name: &str, value: &str) {
    text.push_str(format!("{:indent$}{name}: {value}", "").trim_end());
    text.push('\n');
}

/// Units of 1024 with four digits, as docker shows memory: `15.51GiB`.
fn binary_size(bytes: u64) -> String {
    let mut size = bytes as f64;
    let mut unit = 0;
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    while size >= 1024.0 && unit + 1 < units.len() {
        size /= 1024.0;
        unit += 1;
    }
    let digits = if size >= 1000.0 {
        0
    } else if size >= 100.0 {
        1
    } else if size >= 10.0 {
        2
    } else {
        3
    };
    format!("{size:.digits$}{}", units[unit])
}
