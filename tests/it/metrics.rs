//! What is counted, read by Prometheus' own reader.

use std::path::Path;
use std::process::Command;

use mica_tests::registry::Options as RegistryOptions;
use mica_tests::{Context, Daemon, FakeRegistry, run, run_fed};
use serde_json::Value;

/// The exit code of the reader where it could not be had.
const SKIPPED: i32 = 3;

fn value(samples: &[Value], name: &str, label: Option<(&str, &str)>) -> f64 {
    let found = samples.iter().filter(|sample| sample["name"] == name);
    let found = found.filter(|sample| label.is_none_or(|(key, value)| sample["labels"][key] == value));
    found.map(|sample| sample["value"].as_f64().unwrap()).sum()
}

#[test]
fn counts_are_read_by_prometheus() {
    let registry = FakeRegistry::with(RegistryOptions::default());
    let daemon = Daemon::start();
    let context = Context::with_shell("FROM base\nRUN echo hello > /hello\n");
    let image = format!("{}/some/image:1", registry.host());
    daemon.mica(["build", "-t", &image, context.arg()]).ok();
    daemon.mica(["build", "-t", &image, context.arg()]).ok();
    daemon.mica(["push", &image]).ok();
    daemon.mica(["rmi", &image]).ok();
    daemon.mica(["pull", &image]).ok();
    let text = run(Command::new("curl")
        .args(["-sSf", "--unix-socket"])
        .arg(daemon.socket())
        .arg("http://mica/mica/metrics"))
    .ok();
    let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("metrics/parse");
    let read = run_fed(&mut Command::new(reader), &text.stdout);
    if read.code == SKIPPED {
        println!("{}", read.stdout.trim_end());
        return;
    }
    let samples: Vec<Value> = read
        .ok()
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let sum = |name: &str, label| value(&samples, name, label);
    assert_eq!(sum("mica_work_total", Some(("work", "build"))), 2.0);
    assert_eq!(sum("mica_work_total", Some(("work", "push"))), 1.0);
    assert_eq!(sum("mica_work_total", Some(("work", "pull"))), 1.0);
    assert!(sum("mica_pushed_bytes_total", None) > 0.0);
    assert!(sum("mica_built_bytes_total", None) > 0.0);
    assert!(sum("mica_build_cache_hits_total", None) >= 1.0);
    assert!(sum("mica_build_cache_misses_total", None) >= 1.0);
    assert!(sum("mica_http_requests_total", Some(("route", "/images/create"))) >= 1.0);
    assert_eq!(
        sum(
            "mica_http_request_duration_seconds_count",
            Some(("route", "/images/create"))
        ),
        sum("mica_http_requests_total", Some(("route", "/images/create")))
    );
    for sample in &samples {
        assert_ne!(sample["type"], "unknown", "{sample}");
    }
}
