//! What is counted, and how it is told: Prometheus' text format, version 0.0.4.

mod exposition;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mica_engine::{Budget, Counted, DiskUsage, Info};

use crate::metrics::exposition::{Exposition, Histogram, Metric};
use crate::work::{Outcome, Task};

/// Upper ends of the times of requests, in seconds.
const REQUEST_SECONDS: [f64; 8] = [0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0, 600.0];
/// Upper ends of the times of work, in seconds.
const WORK_SECONDS: [f64; 8] = [0.1, 0.5, 2.5, 10.0, 60.0, 300.0, 1200.0, 3600.0];

/// What is counted.
pub(crate) struct Metrics {
    began: Instant,
    next_request: AtomicU64,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    /// By method, route and status.
    requests: BTreeMap<(&'static str, &'static str, u16), u64>,
    /// By route.
    request_times: BTreeMap<&'static str, Histogram>,
    /// By method and code of gRPC.
    calls: BTreeMap<(&'static str, String), u64>,
    /// By kind of what was told to clients.
    errors: BTreeMap<&'static str, u64>,
    running: BTreeMap<Task, u64>,
    work: BTreeMap<(Task, Outcome), u64>,
    work_times: BTreeMap<Task, Histogram>,
    /// By whether it was taken over.
    reloads: [u64; 2],
}

/// What the system says of this process.
#[derive(Debug, Default)]
struct Process {
    resident: u64,
    cpu_seconds: f64,
}

/// What is told beside the counts.
pub(crate) struct Seen {
    /// The store and this process.
    pub(crate) info: Info,
    /// What the engine counted.
    pub(crate) counted: Counted,
    /// Bytes that are free where the store is.
    pub(crate) free: u64,
    /// Bytes of records of the build cache that no image has too.
    pub(crate) cache_bytes: u64,
    /// What takes how much of the disk.
    pub(crate) on_disk: DiskUsage,
    /// What the build cache is kept within, if it is.
    pub(crate) budget: Option<Budget>,
    /// Listeners of events.
    pub(crate) listeners: u64,
}

impl Metrics {
    /// Nothing was counted.
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            next_request: AtomicU64::new(1),
            counts: Mutex::default(),
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for a request, which no other of this daemon has.
    pub(crate) fn request(&self) -> u64 {
        self.next_request.fetch_add(1, Ordering::Relaxed)
    }

    /// A request was answered.
    pub(crate) fn answered(&self, method: &'static str, route: &'static str, status: u16, took: Duration) {
        let mut counts = self.counts();
        *counts.requests.entry((method, route, status)).or_default() += 1;
        if let Some(error) = error_word(status) {
            *counts.errors.entry(error).or_default() += 1;
        }
        let times = counts.request_times.entry(route);
        times
            .or_insert_with(|| Histogram::new(&REQUEST_SECONDS))
            .add(took);
    }

    /// A call of gRPC was answered, at least begun to be.
    pub(crate) fn called(&self, method: &'static str, code: &str) {
        let mut counts = self.counts();
        *counts.calls.entry((method, code.to_owned())).or_default() += 1;
    }

    /// Work begins.
    pub(crate) fn begins(&self, task: Task) {
        *self.counts().running.entry(task).or_default() += 1;
    }

    /// Work ended.
    pub(crate) fn ends(&self, task: Task, outcome: Outcome, took: Duration, error: Option<&'static str>) {
        let mut counts = self.counts();
        if let Some(running) = counts.running.get_mut(&task) {
            *running = running.saturating_sub(1);
        }
        *counts.work.entry((task, outcome)).or_default() += 1;
        if let Some(error) = error {
            *counts.errors.entry(error).or_default() += 1;
        }
        let times = counts.work_times.entry(task);
        times.or_insert_with(|| Histogram::new(&WORK_SECONDS)).add(took);
    }

    /// The settings were read anew.
    pub(crate) fn reloaded(&self, is_taken: bool) {
        self.counts().reloads[usize::from(is_taken)] += 1;
    }

    /// All of it.
    pub(crate) fn expose(&self, seen: &Seen) -> String {
        let mut out = Exposition::default();
        self.expose_requests(&mut out);
        self.expose_work(&mut out);
        expose_seen(&mut out, seen);
        expose_space(&mut out, seen);
        let process = Process::read();
        let whole = |number: u64| number as f64;
        for (name, kind, about, value) in [
            (
                "mica_uptime_seconds",
                "gauge",
                "Seconds since the daemon started.",
                self.began.elapsed().as_secs_f64(),
            ),
            (
                "process_resident_memory_bytes",
                "gauge",
                "Resident memory of the daemon.",
                whole(process.resident),
            ),
            (
                "process_cpu_seconds_total",
                "counter",
                "Processor time of the daemon.",
                process.cpu_seconds,
            ),
            (
                "process_open_fds",
                "gauge",
                "Open file descriptors of the daemon.",
                whole(seen.info.open_files),
            ),
            (
                "process_threads",
                "gauge",
                "Threads of the daemon.",
                whole(seen.info.threads),
            ),
        ] {
            out.metric(&Metric { name, kind, about });
            out.sample(name, &[], value);
        }
        let version = mica_engine::version().version;
        out.metric(&Metric::gauge(
            "mica_build_info",
            "Always 1; the label is the version.",
        ));
        out.sample("mica_build_info", &[("version", version)], 1.0);
        out.text()
    }

    fn expose_requests(&self, out: &mut Exposition) {
        let counts = self.counts();
        let name = "mica_http_requests_total";
        out.metric(&Metric::counter(
            name,
            "Requests that were answered, by method, route and status.",
        ));
        for ((method, route, status), count) in &counts.requests {
            let labels = [
                ("method", *method),
                ("route", *route),
                ("status", &status.to_string()),
            ];
            out.sample(name, &labels, *count as f64);
        }
        let name = "mica_http_request_duration_seconds";
        out.metric(&Metric::histogram(
            name,
            "Time from a request to the end of its answer, by route.",
        ));
        for (route, times) in &counts.request_times {
            out.histogram(name, ("route", route), times);
        }
        let name = "mica_grpc_calls_total";
        out.metric(&Metric::counter(
            name,
            "Calls of gRPC by method, and code where it was known at once.",
        ));
        for ((method, code), count) in &counts.calls {
            out.sample(name, &[("method", method), ("code", code)], *count as f64);
        }
        let name = "mica_errors_total";
        out.metric(&Metric::counter(name, "Requests and work that failed, by kind."));
        for (kind, count) in &counts.errors {
            out.sample(name, &[("kind", kind)], *count as f64);
        }
    }

    fn expose_work(&self, out: &mut Exposition) {
        let counts = self.counts();
        let name = "mica_work_running";
        out.metric(&Metric::gauge(name, "Builds, transfers and prunes that go on."));
        for task in Task::ALL {
            let count = counts.running.get(&task).copied().unwrap_or_default();
            out.sample(name, &[("work", task.word())], count as f64);
        }
        let name = "mica_work_total";
        out.metric(&Metric::counter(
            name,
            "Builds, transfers and prunes that ended, by outcome.",
        ));
        for ((task, outcome), count) in &counts.work {
            let labels = [("work", task.word()), ("outcome", outcome.word())];
            out.sample(name, &labels, *count as f64);
        }
        let name = "mica_work_duration_seconds";
        out.metric(&Metric::histogram(
            name,
            "How long builds, transfers and prunes took.",
        ));
        for (task, times) in &counts.work_times {
            out.histogram(name, ("work", task.word()), times);
        }
        let name = "mica_config_reloads_total";
        out.metric(&Metric::counter(
            name,
            "Times the settings were read anew, by whether they were taken over.",
        ));
        for (at, result) in ["refused", "taken"].into_iter().enumerate() {
            out.sample(name, &[("result", result)], counts.reloads[at] as f64);
        }
    }
}

fn expose_seen(out: &mut Exposition, seen: &Seen) {
    let Seen { info, counted, .. } = seen;
    for (name, kind, about, value) in [
        (
            "mica_pulled_bytes_total",
            "counter",
            "Bytes of blobs that came from registries.",
            counted.pulled_bytes,
        ),
        (
            "mica_pushed_bytes_total",
            "counter",
            "Bytes of blobs that were sent to registries.",
            counted.pushed_bytes,
        ),
        (
            "mica_built_bytes_total",
            "counter",
            "Bytes of the layers of images that were built.",
            counted.built_bytes,
        ),
        (
            "mica_build_cache_hits_total",
            "counter",
            "Steps whose result was taken from the cache.",
            counted.cache_hits,
        ),
        (
            "mica_build_cache_misses_total",
            "counter",
            "Steps that were carried out.",
            counted.cache_misses,
        ),
        (
            "mica_gc_runs_total",
            "counter",
            "Prunes of images or the build cache, by hand or by themselves.",
            counted.prunes,
        ),
        (
            "mica_gc_reclaimed_bytes_total",
            "counter",
            "Bytes that prunes gave back.",
            counted.reclaimed_bytes,
        ),
        ("mica_store_images", "gauge", "Images in the store.", info.images),
        ("mica_store_layers", "gauge", "Layers in the store.", info.layers),
        (
            "mica_store_layer_bytes",
            "gauge",
            "Bytes of the layers in the store.",
            info.layer_bytes,
        ),
        (
            "mica_store_cache_records",
            "gauge",
            "Records of the build cache.",
            info.cache_records,
        ),
        (
            "mica_store_cache_bytes",
            "gauge",
            "Bytes of the build cache that no image has too.",
            seen.cache_bytes,
        ),
        (
            "mica_store_free_bytes",
            "gauge",
            "Bytes that are free on the store's file system.",
            seen.free,
        ),
        (
            "mica_store_troubles",
            "gauge",
            "What went wrong in the store's background work and is not right yet.",
            info.troubles.len() as u64,
        ),
        (
            "mica_event_listeners",
            "gauge",
            "Clients that follow events.",
            seen.listeners,
        ),
    ] {
        out.metric(&Metric { name, kind, about });
        out.sample(name, &[], value as f64);
    }
}

fn expose_space(out: &mut Exposition, seen: &Seen) {
    let name = "mica_store_disk_bytes";
    out.metric(&Metric::gauge(
        name,
        "Bytes on disk as du counts them, by what takes them.",
    ));
    let disk = &seen.on_disk;
    for (kind, bytes) in [
        ("images", disk.images),
        ("build-cache", disk.cache),
        ("cache-mounts", disk.mounts),
        ("unfinished", disk.unfinished),
        ("logs", disk.notes),
        ("store", disk.own),
    ] {
        out.sample(name, &[("kind", kind)], bytes as f64);
    }
    let Some(budget) = seen.budget else { return };
    let name = "mica_gc_budget_bytes";
    out.metric(&Metric::gauge(
        name,
        "Bytes the build cache is kept within: what always stays, what stays at most, what is to be free.",
    ));
    for (kind, bytes) in [
        ("reserved", budget.reserved),
        ("max-used", budget.most),
        ("min-free", budget.free),
    ] {
        if let Some(bytes) = bytes {
            out.sample(name, &[("kind", kind)], bytes as f64);
        }
    }
}

/// The kind of a failure that is answered with a status.
fn error_word(status: u16) -> Option<&'static str> {
    Some(match status {
        ..400 => return None,
        401 => "unauthorized",
        403 => "forbidden",
        404 => "not-found",
        409 => "conflict",
        499 => "cancelled",
        501 => "unsupported",
        503 => "unavailable",
        400..=499 => "invalid",
        _ => "internal",
    })
}

impl Process {
    /// By proc_pid_stat(5); what cannot be read is 0.
    fn read() -> Self {
        let stat = fs_err::read_to_string("/proc/self/stat").unwrap_or_default();
        // the second field may have anything in it, even spaces; it ends with the last parenthesis
        let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let field = |number: usize| -> u64 {
            let text = rest.split_ascii_whitespace().nth(number - 3);
            text.and_then(|text| text.parse().ok()).unwrap_or_default()
        };
        Self {
            resident: field(24) * rustix::param::page_size() as u64,
            cpu_seconds: (field(14) + field(15)) as f64 / rustix::param::clock_ticks_per_second() as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_told() {
        let metrics = Metrics::new();
        let took = Duration::from_millis(30);
        metrics.answered("GET", "/images/json", 200, took);
        metrics.answered("GET", "/images/json", 200, took);
        metrics.answered("POST", "/build", 403, took);
        metrics.begins(Task::Build);
        metrics.begins(Task::Build);
        metrics.ends(Task::Build, Outcome::Failed, took, Some("internal"));
        metrics.called("/a.B/C", "7");
        let mut out = Exposition::default();
        metrics.expose_requests(&mut out);
        metrics.expose_work(&mut out);
        let text = out.text();
        for line in [
            "mica_http_requests_total{method=\"GET\",route=\"/images/json\",status=\"200\"} 2",
            "mica_http_request_duration_seconds_bucket{route=\"/images/json\",le=\"0.025\"} 0",
            "mica_http_request_duration_seconds_bucket{route=\"/images/json\",le=\"0.1\"} 2",
            "mica_http_request_duration_seconds_count{route=\"/images/json\"} 2",
            "mica_grpc_calls_total{method=\"/a.B/C\",code=\"7\"} 1",
            "mica_errors_total{kind=\"forbidden\"} 1",
            "mica_errors_total{kind=\"internal\"} 1",
            "mica_work_running{work=\"build\"} 1",
            "mica_work_running{work=\"push\"} 0",
            "mica_work_total{work=\"build\",outcome=\"failed\"} 1",
        ] {
            assert!(text.lines().any(|own| own == line), "{line}\n{text}");
        }
    }

    #[test]
    fn this_process_has_memory() {
        assert!(Process::read().resident > 1 << 20);
    }
}
