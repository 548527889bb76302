//! What the hub tells of itself: `/metrics`, in Prometheus' text format 0.0.4. Label values are bounded, and never a runner.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::fleets::Fleets;
use super::fleets::metrics::OfFleets;
use super::out::dir::DirMetrics;
use super::out::loki::LokiMetrics;

/// What a scrape's answer is.
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// Upper ends of the latency buckets, in seconds.
const SECONDS: [f64; 12] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// One label whose values stand in this code.
pub type Label = [(&'static str, &'static str); 1];

/// Everything that is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    lines: Family<Label, Counter>,
    requests: Family<Label, Counter>,
    seconds: Histogram,
    auth: Family<Label, Counter>,
    /// Open connections.
    pub connections: Gauge,
    cut: Family<Label, Counter>,
    queue_lines: Gauge,
    queue_bytes: Gauge,
    stuck: Family<Label, Gauge>,
    busy: Family<Label, Gauge>,
    failures: Family<Label, Counter>,
    /// Lines that were forgotten before their ten minutes were over.
    pub forgotten: Counter,
    reloads: Family<[(&'static str, &'static str); 2], Counter>,
    runners: Family<[(&'static str, String); 1], Gauge>,
    tail: Family<Label, Counter>,
    uptime: Gauge,
    scrape: Mutex<()>,
    /// Of the files by day and runner.
    pub dir: DirMetrics,
    /// Of pushes to Loki.
    pub loki: LokiMetrics,
}

/// What became of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineResult {
    /// They are out.
    Out,
    /// They were out already.
    Repeat,
    /// They are broken.
    Bad,
    /// They are not out: to be sent again.
    Stuck,
    /// Their runner sends too much: to be sent again.
    TooMuch,
}

/// What is looked up when somebody asks.
#[derive(Clone, Debug)]
pub struct Now {
    /// Runners seen lately, by fleet.
    pub runners: BTreeMap<String, i64>,
    /// Bytes that requests hold.
    pub held_bytes: usize,
    /// Since the start.
    pub uptime: Duration,
}

impl Metrics {
    /// The same with what is of fleets.
    #[must_use]
    pub fn of(fleets: Arc<Fleets>) -> Self {
        let mut metrics = Self::new();
        metrics.registry.register_collector(Box::new(OfFleets(fleets)));
        metrics
    }

    /// Nothing is counted yet.
    #[must_use]
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("vitals_hub"),
            lines: Family::default(),
            requests: Family::default(),
            seconds: Histogram::new(SECONDS),
            auth: Family::default(),
            connections: Gauge::default(),
            cut: Family::default(),
            queue_lines: Gauge::default(),
            queue_bytes: Gauge::default(),
            stuck: Family::default(),
            busy: Family::default(),
            failures: Family::default(),
            forgotten: Counter::default(),
            reloads: Family::default(),
            runners: Family::default(),
            tail: Family::default(),
            uptime: Gauge::default(),
            scrape: Mutex::default(),
            dir: DirMetrics::default(),
            loki: LokiMetrics::default(),
        };
        metrics.register();
        metrics.register_outs();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("lines", "Lines that came in, by what became of them", self.lines.clone());
        registry.register("requests", "Requests to the vitals endpoint, by status", self.requests.clone());
        registry.register("request_seconds", "From the head of a request to its answer", self.seconds.clone());
        registry.register("auth", "Requests by what was found out of their sender", self.auth.clone());
        registry.register("connections", "Open connections", self.connections.clone());
        registry.register("connections_cut", "Connections closed by the hub, by reason", self.cut.clone());
        registry.register("queue_lines", "Lines on their way out", self.queue_lines.clone());
        registry.register("queue_bytes", "Bytes that requests hold until they are answered", self.queue_bytes.clone());
        let help = "Lines that were forgotten before ten minutes: repeats of them would go out twice";
        registry.register("forgotten", help, self.forgotten.clone());
        registry.register("reloads", "Files that changed, by result", self.reloads.clone());
        registry.register("runners", "Runners that sent something in the last five minutes", self.runners.clone());
        registry.register("tail_reads", "Readings of Loki's latest lines, by result", self.tail.clone());
        registry.register("uptime_seconds", "Since the start", self.uptime.clone());
        let build: Family<Label, ConstGauge<i64>> = Family::new_with_constructor(|| ConstGauge::new(1));
        drop(build.get_or_create(&[("version", env!("CARGO_PKG_VERSION"))]));
        registry.register("build_info", "Always 1", build);
    }

    fn register_outs(&mut self) {
        let registry = &mut self.registry;
        registry.register("out_stuck", "Whether a way out is stuck", self.stuck.clone());
        registry.register("out_busy_seconds", "For how long a way out has been at one write", self.busy.clone());
        registry.register("out_failures", "Batches that a way out did not take", self.failures.clone());
        let dir = &self.dir;
        registry.register("dir_bytes", "Bytes of all files in the folder", dir.bytes.clone());
        registry.register("dir_deleted_files", "Files deleted for their age or the bound", dir.deleted_files.clone());
        registry.register("dir_deleted_bytes", "Bytes of the files deleted", dir.deleted_bytes.clone());
        registry.register("dir_repaired", "Half lines cut off before the next was written", dir.repaired.clone());
        let loki = &self.loki;
        registry.register("loki_stored_lines", "Lines that Loki has stored", loki.stored.clone());
        let help = "Lines of pushes that Loki has refused for good: the good ones among them are stored";
        registry.register("loki_refused_lines", help, loki.refused.clone());
        registry.register("loki_failed_pushes", "Pushes that are tried again", loki.failed_pushes.clone());
        let help = "Pushes that are tried again, for what answered has not shown itself to be a Loki";
        registry.register("loki_unrecognized_pushes", help, loki.unrecognized.clone());
        let help = "Lines whose retry Loki could store twice, for too many are on their way";
        registry.register("loki_unremembered_lines", help, loki.unremembered.clone());
        registry.register("loki_waiting_bytes", "Bytes on their way to Loki", loki.waiting_bytes.clone());
    }

    /// Counts lines by what became of them.
    pub fn lines(&self, result: LineResult, count: usize) {
        let name = match result {
            LineResult::Out => "out",
            LineResult::Repeat => "repeat",
            LineResult::Bad => "bad",
            LineResult::Stuck => "stuck",
            LineResult::TooMuch => "too_much",
        };
        if count > 0 {
            self.lines.get_or_create(&[("result", name)]).inc_by(u64::try_from(count).unwrap_or(u64::MAX));
        }
    }

    /// Counts a request by its answer.
    pub fn request(&self, status: u16, took: Duration) {
        self.requests.get_or_create(&[("status", status_name(status))]).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// Counts what was found out of a sender.
    pub fn auth(&self, result: &'static str) {
        self.auth.get_or_create(&[("result", result)]).inc();
    }

    /// Counts a connection that the hub closed.
    pub fn cut(&self, reason: &'static str) {
        self.cut.get_or_create(&[("reason", reason)]).inc();
    }

    /// Counts a file that changed.
    pub fn reload(&self, file: &'static str, result: &'static str) {
        self.reloads.get_or_create(&[("file", file), ("result", result)]).inc();
    }

    /// Counts a reading of Loki's latest lines.
    pub fn tail(&self, result: &'static str) {
        self.tail.get_or_create(&[("result", result)]).inc();
    }

    /// Lines that began, or ended, their way out.
    pub fn queue(&self, lines: i64) {
        self.queue_lines.inc_by(lines);
    }

    /// Whether a way out is stuck now.
    pub fn stuck(&self, out: &'static str, is_stuck: bool) {
        self.stuck.get_or_create(&[("out", out)]).set(i64::from(is_stuck));
    }

    /// For how long a way out has been at one write.
    pub fn busy(&self, out: &'static str, busy_for: Duration) {
        let seconds = i64::try_from(busy_for.as_secs()).unwrap_or(i64::MAX);
        self.busy.get_or_create(&[("out", out)]).set(seconds);
    }

    /// Counts a batch that a way out did not take.
    pub fn failure(&self, out: &'static str) {
        self.failures.get_or_create(&[("out", out)]).inc();
    }

    /// The text of a scrape.
    #[must_use]
    pub fn text(&self, now: &Now) -> String {
        let _one_at_a_time = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        self.runners.clear();
        for (fleet, count) in &now.runners {
            self.runners.get_or_create_owned(&[("fleet", fleet.clone())]).set(*count);
        }
        self.uptime.set(i64::try_from(now.uptime.as_secs()).unwrap_or(i64::MAX));
        self.queue_bytes.set(i64::try_from(now.held_bytes).unwrap_or(i64::MAX));
        let mut text = String::new();
        // A string takes all that is written.
        let _ = prometheus_text::encode(&mut text, &self.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// The statuses that the endpoint answers with.
fn status_name(status: u16) -> &'static str {
    match status {
        204 => "204",
        400 => "400",
        401 => "401",
        403 => "403",
        408 => "408",
        413 => "413",
        415 => "415",
        429 => "429",
        503 => "503",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_has_all_of_it() {
        let metrics = Metrics::new();
        metrics.lines(LineResult::Out, 3);
        metrics.lines(LineResult::Bad, 0);
        metrics.request(204, Duration::from_millis(3));
        metrics.request(777, Duration::ZERO);
        metrics.auth("accepted");
        metrics.stuck("dir", true);
        let now = |fleet: &str| Now {
            runners: BTreeMap::from([(fleet.to_owned(), 2)]),
            held_bytes: 7,
            uptime: Duration::from_secs(5),
        };
        let _ = metrics.text(&now("gone"));
        let text = metrics.text(&now("a\"b"));
        for row in [
            "vitals_hub_lines_total{result=\"out\"} 3",
            "vitals_hub_requests_total{status=\"204\"} 1",
            "vitals_hub_requests_total{status=\"other\"} 1",
            "vitals_hub_request_seconds_bucket{le=\"0.005\"} 2",
            "vitals_hub_auth_total{result=\"accepted\"} 1",
            "vitals_hub_out_stuck{out=\"dir\"} 1",
            "vitals_hub_runners{fleet=\"a\\\"b\"} 2",
            "vitals_hub_queue_bytes 7",
            "vitals_hub_uptime_seconds 5",
            concat!("vitals_hub_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            "vitals_hub_dir_deleted_files_total 0",
        ] {
            assert!(text.lines().any(|line| line == row), "{row} is not in:\n{text}");
        }
        assert!(!text.contains("gone") && !text.contains("\"bad\""));
    }
}
