//! Prometheus' text format: what each line looks like.

use std::fmt::Write as _;
use std::time::Duration;

/// A metric: its name, type, and what it counts.
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) about: &'static str,
}

impl Metric {
    pub(super) fn counter(name: &'static str, about: &'static str) -> Self {
        let kind = "counter";
        Self { name, kind, about }
    }

    pub(super) fn gauge(name: &'static str, about: &'static str) -> Self {
        let kind = "gauge";
        Self { name, kind, about }
    }

    pub(super) fn histogram(name: &'static str, about: &'static str) -> Self {
        let kind = "histogram";
        Self { name, kind, about }
    }
}

/// Times, counted by how long they were.
pub(super) struct Histogram {
    /// Upper ends in seconds, and how many were at most that long and longer than the one before.
    buckets: Vec<(f64, u64)>,
    count: u64,
    sum: Duration,
}

impl Histogram {
    /// Nothing was counted; `ends` in seconds, the shortest first.
    pub(super) fn new(ends: &[f64]) -> Self {
        Self {
            buckets: ends.iter().map(|end| (*end, 0)).collect(),
            count: 0,
            sum: Duration::ZERO,
        }
    }

    /// Counts one.
    pub(super) fn add(&mut self, time: Duration) {
        let seconds = time.as_secs_f64();
        if let Some((_, count)) = self.buckets.iter_mut().find(|(end, _)| seconds <= *end) {
            *count += 1;
        }
        self.count += 1;
        self.sum = self.sum.saturating_add(time);
    }
}

/// The text as far as it is written.
#[derive(Default)]
pub(super) struct Exposition(String);

impl Exposition {
    /// A metric begins; its samples follow.
    pub(super) fn metric(&mut self, metric: &Metric) {
        let Metric { name, kind, about } = metric;
        // a String takes all that is written to it
        let _ = writeln!(self.0, "# HELP {name} {about}\n# TYPE {name} {kind}");
    }

    /// One value.
    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        for (at, (key, value)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            // as above
            let _ = write!(self.0, "{before}{key}=\"{}\"", escaped(value));
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        // as above
        let _ = writeln!(self.0, " {value}");
    }

    /// All values of a histogram.
    pub(super) fn histogram(&mut self, name: &str, label: (&str, &str), times: &Histogram) {
        let bucket = format!("{name}_bucket");
        let mut below = 0;
        for (end, count) in &times.buckets {
            below += count;
            self.sample(&bucket, &[label, ("le", &end.to_string())], below as f64);
        }
        self.sample(&bucket, &[label, ("le", "+Inf")], times.count as f64);
        self.sample(&format!("{name}_sum"), &[label], times.sum.as_secs_f64());
        self.sample(&format!("{name}_count"), &[label], times.count as f64);
    }

    /// All of it.
    pub(super) fn text(self) -> String {
        self.0
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_prometheus() {
        let mut out = Exposition::default();
        out.metric(&Metric::gauge("a_b", "What it is."));
        out.sample("a_b", &[], 1.5);
        out.sample("a_b", &[("x", "a\"\\\nb"), ("y", "")], 3_000_000_000.0);
        assert_eq!(
            out.text(),
            "# HELP a_b What it is.\n# TYPE a_b gauge\na_b 1.5\na_b{x=\"a\\\"\\\\\\nb\",y=\"\"} 3000000000\n"
        );
    }

    #[test]
    fn buckets_hold_all_that_is_shorter() {
        let mut times = Histogram::new(&[1.0, 2.0]);
        for millis in [500, 1000, 1500, 5000] {
            times.add(Duration::from_millis(millis));
        }
        let mut out = Exposition::default();
        out.histogram("t", ("r", "x"), &times);
        assert_eq!(
            out.text(),
            "t_bucket{r=\"x\",le=\"1\"} 2\nt_bucket{r=\"x\",le=\"2\"} 3\nt_bucket{r=\"x\",le=\"+Inf\"} 4\n\
             t_sum{r=\"x\"} 8\nt_count{r=\"x\"} 4\n"
        );
    }
}
