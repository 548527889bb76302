//! Loki: the stream of this runner, and what its answers mean.
//!
//! Loki refuses what is ten minutes ahead, and what is an hour behind the stream's newest. So the time of an entry is put right
//! by the server's clock ([`Times`]), and settled before the first try: a retry is the same to the nanosecond, and Loki keeps it
//! once. Only where Loki refuses a push, and its clock is found to be elsewhere, are they settled anew.

use std::time::{Duration, SystemTime};

use http::HeaderValue;

use super::Setup;
use super::http::{Prepared, Verdict};
use super::times::{ServerClock, Times};
use crate::net::loki::{self, Entry};

/// Labels, metadata, and the times of its entries.
#[derive(Debug)]
pub(super) struct Stream {
    labels: Vec<(String, String)>,
    metadata: Vec<(&'static str, String)>,
    tenant: Option<HeaderValue>,
    times: Times,
}

impl Stream {
    /// The stream of this runner. A label that was set replaces one that every runner has.
    pub(super) fn new(setup: &Setup) -> Self {
        let runner = &setup.runner;
        let usual = [
            ("job", Some("runner-vitals")),
            ("fleet", runner.fleet.as_deref()),
            ("env", runner.env.as_deref()),
            ("os", setup.os.as_deref()),
        ];
        let is_set = |key: &str| setup.sinks.labels.iter().any(|(set, _)| set == key);
        let usual = usual.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())));
        let mut labels: Vec<_> = usual.filter(|(key, value)| !is_set(key) && !value.is_empty()).collect();
        labels.extend(setup.sinks.labels.iter().cloned());
        let metadata = [("runner", &runner.name), ("boot", &setup.boot_id), ("image", &runner.image)];
        Self {
            labels,
            metadata: metadata.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))).collect(),
            tenant: setup.sinks.loki_tenant.as_deref().and_then(|tenant| HeaderValue::from_str(tenant).ok()),
            times: Times::default(),
        }
    }

    /// When each line of a batch was, for every try; `now` is for a line that does not say.
    pub(super) fn times<'l>(
        &mut self,
        lines: impl Iterator<Item = (Duration, &'l [u8])>,
        clock: ServerClock,
        now: SystemTime,
    ) -> Vec<u64> {
        self.times.of(lines, clock, now)
    }

    /// The same of lines that had times by a clock that has moved since.
    pub(super) fn times_anew<'l>(
        &mut self,
        lines: impl Iterator<Item = (Duration, &'l [u8])>,
        clock: ServerClock,
        now: SystemTime,
    ) -> Vec<u64> {
        self.times.begin_anew();
        self.times.of(lines, clock, now)
    }

    /// A push of these lines, each with its time.
    pub(super) fn prepare(&self, lines: &[&[u8]], times: &[u64]) -> Prepared {
        let metadata: Vec<(&str, &str)> = self.metadata.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let texts: Vec<_> = lines.iter().map(|line| String::from_utf8_lossy(line.trim_ascii_end())).collect();
        let entries = texts.iter().zip(times).map(|(line, at_ns)| Entry { at_ns: *at_ns, line, metadata: &metadata });
        let body = loki::body(&self.labels, &entries.collect::<Vec<_>>());
        let mut prepared = Prepared::of(body, HeaderValue::from_static("application/json"));
        if let Some(tenant) = &self.tenant {
            prepared.headers.insert("x-scope-orgid", tenant.clone());
        }
        prepared
    }
}

/// What an answer to a push means. `docs/LINE.md`, "To Loki".
pub(super) fn judge(status: u16) -> Verdict {
    match (status, loki::verdict(status)) {
        // A web page has a 200 too, and keeps nothing.
        (204, _) => Verdict::Out { bad: 0 },
        // The tenant is blocked, as an operator wants it.
        (260, _) => Verdict::Refused,
        (200..=399, _) => Verdict::Misrouted,
        (401, _) => Verdict::Unauthorized,
        // Whoever is not let in with a token that was read just now will not be with the same bytes.
        (403 | 407 | 425, _) => Verdict::Refused,
        (413, _) => Verdict::TooLarge,
        (_, loki::Verdict::Retry) => Verdict::Again,
        (_, loki::Verdict::Stored | loki::Verdict::Final) => Verdict::Refused,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::line::RunId;
    use crate::probe::config::{Args, Config};

    fn stream(flags: &[&str]) -> Stream {
        let config = Config::new(Args::try_parse_from(["x"].iter().chain(flags)).unwrap(), |_| None);
        let run = RunId::from_random(0);
        Stream::new(&Setup::new(&config, run, Some("linux".to_owned()), Some("b-1".to_owned())))
    }

    #[test]
    fn labels_are_those_of_every_runner_and_what_was_set() {
        let flags = ["--fleet", "f", "--env", "", "--runner", "r", "--label", "os=mine", "--label", "team=t"];
        let stream = stream(&flags);
        let labels: Vec<String> = stream.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(labels, ["job=runner-vitals", "fleet=f", "os=mine", "team=t"]);
        assert_eq!(stream.metadata, [("runner", "r".to_owned()), ("boot", "b-1".to_owned())]);
    }

    #[test]
    fn the_tenant_is_a_header() {
        assert_eq!(stream(&["--loki-tenant", "t-1"]).prepare(&[b"x\n"], &[1]).headers["x-scope-orgid"], "t-1");
        assert!(stream(&[]).prepare(&[b"x\n"], &[1]).headers.get("x-scope-orgid").is_none());
    }

    #[test]
    fn an_answer_means_one_thing() {
        for (status, verdict) in [
            (204, Verdict::Out { bad: 0 }),
            (200, Verdict::Misrouted),
            (201, Verdict::Misrouted),
            (202, Verdict::Misrouted),
            (260, Verdict::Refused),
            (299, Verdict::Misrouted),
            (302, Verdict::Misrouted),
            (400, Verdict::Refused),
            (401, Verdict::Unauthorized),
            (403, Verdict::Refused),
            (404, Verdict::Refused),
            (407, Verdict::Refused),
            (408, Verdict::Again),
            (413, Verdict::TooLarge),
            (422, Verdict::Refused),
            (425, Verdict::Refused),
            (429, Verdict::Again),
            (500, Verdict::Again),
            (503, Verdict::Again),
        ] {
            assert_eq!(judge(status), verdict, "{status}");
        }
    }
}
