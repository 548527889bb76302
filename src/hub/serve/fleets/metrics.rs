//! What `/metrics` has of fleets, made when it is asked for: so the series of a fleet that is gone are gone.
//!
//! Labels are `env` and `fleet`, and words of this code; never a runner, and no more fleets than are kept.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, LabelSetEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;

use crate::hub::fleet::state::State;
use crate::hub::live::now::{FleetNow, Now, RollNow};
use crate::hub::live::tally::{CAUSES, SECONDS, STATUSES, Times};
use crate::hub::trail::stage::POLL_FIELDS;

use super::Fleets;

/// Of the fleets that are there when it is asked.
#[derive(Debug)]
pub struct OfFleets(pub Arc<Fleets>);

impl Collector for OfFleets {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        encode(&self.0.now(SystemTime::now()), encoder)
    }
}

/// A series' labels.
struct Labels<'a>(Vec<(&'a str, &'a str)>);

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        self.0.encode(encoder)
    }
}

/// Numbers that are now; a fleet without one has no series.
type OfNow = (&'static str, &'static str, fn(&FleetNow) -> Option<f64>);

const GAUGES: [OfNow; 11] = [
    ("fleet_warming_stuck", "Members that warm up for over ten minutes", |fleet| Some(number(fleet.stuck))),
    ("fleet_jobs_running", "Jobs that run", |fleet| Some(number(fleet.running))),
    ("fleet_capacity", "Members that take jobs: ready, or with one", |fleet| Some(number(fleet.capacity))),
    ("fleet_utilization_ratio", "Of the capacity the share that has a job", utilization),
    ("fleet_poll_max_seconds", "The longest poll of a dispatcher by a member that is there", |fleet| {
        Some(seconds(fleet.poll_max_ms))
    }),
    ("fleet_target", "Members that the controller aims at, by the fleet file", |fleet| fleet.target.map(f64::from)),
    ("fleet_warm_deficit", "Warm members that are missing, by the fleet file", |fleet| {
        fleet.deficit.map(|deficit| of_i64(deficit.deficit))
    }),
    ("fleet_image_current", "Members with the image that is to be", |fleet| {
        roll(fleet, |roll| Some(number(roll.current)))
    }),
    ("fleet_stale", "Members with another image", |fleet| roll(fleet, |roll| Some(number(roll.stale)))),
    ("fleet_rolling", "Members that are being rolled", |fleet| roll(fleet, |roll| Some(of_i64(roll.rolling.value())))),
    ("fleet_roll_cap", "Members that may be rolled at once, by the fleet file", |fleet| {
        roll(fleet, |roll| roll.cap.map(of_i64))
    }),
];

fn encode(now: &Now, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
    let mut members = encoder.encode_descriptor("fleet_members", "Members by state", None, MetricType::Gauge)?;
    for fleet in &now.fleets {
        for state in State::ALL {
            let count = fleet.members.get(&state).copied().unwrap_or(0);
            gauge(&mut members, &labels(fleet, Some(("state", state.name()))), number(count))?;
        }
    }
    for (name, help, of) in GAUGES {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for fleet in &now.fleets {
            if let Some(value) = of(fleet) {
                gauge(&mut metric, &labels(fleet, None), value)?;
            }
        }
    }
    encode_counters(now, &mut encoder)?;
    for (name, help, of) in TIMES {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for fleet in &now.fleets {
            histogram(&mut metric, &labels(fleet, None), of(fleet))?;
        }
    }
    let help = "Batches of lines of runners for which there was no room among the members";
    let mut left_out = encoder.encode_descriptor("fleets_left_out", help, None, MetricType::Counter)?;
    left_out.encode_counter::<[(&str, &str); 0], u64, u64>(&now.left_out, None)
}

/// Counts by a label of their own.
type Counted = (&'static str, &'static str, &'static str, fn(&FleetNow) -> Vec<(&'static str, u64)>);

const COUNTERS: [Counted; 3] = [
    ("fleet_jobs", "Jobs that ended, by how", "status", |fleet| STATUSES.into_iter().zip(fleet.tally.jobs).collect()),
    ("fleet_deaths", "Members that died, by what their last event lines told", "cause", |fleet| {
        CAUSES.into_iter().zip(fleet.tally.deaths).collect()
    }),
    ("fleet_polls", "Polls of dispatchers, by what came of them", "outcome", |fleet| {
        let outcomes = POLL_FIELDS.map(|field| field.key.trim_start_matches("poll."));
        outcomes.into_iter().zip(fleet.tally.polls).collect()
    }),
];

/// Times of a fleet.
type OfTimes = (&'static str, &'static str, fn(&FleetNow) -> &Times);

const TIMES: [OfTimes; 3] = [
    ("fleet_claim_wait_seconds", "From a job's place in the queue to its claim", |fleet| &fleet.tally.waits),
    ("fleet_warm_up_seconds", "From boot to ready", |fleet| &fleet.tally.warm_ups),
    ("fleet_job_seconds", "From a job's claim to its end", |fleet| &fleet.tally.took),
];

fn encode_counters(now: &Now, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut claims = encoder.encode_descriptor("fleet_claims", "Jobs that were taken", None, MetricType::Counter)?;
    for fleet in &now.fleets {
        counter(&mut claims, &labels(fleet, None), &fleet.tally.claims)?;
    }
    for (name, help, label, of) in COUNTERS {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for fleet in &now.fleets {
            for (word, count) in of(fleet) {
                counter(&mut metric, &labels(fleet, Some((label, word))), &count)?;
            }
        }
    }
    let mut took =
        encoder.encode_descriptor("fleet_poll_seconds", "Time that polls took", None, MetricType::Counter)?;
    for fleet in &now.fleets {
        let labels = labels(fleet, None);
        let mut series = took.encode_family(&labels)?;
        series.encode_counter::<[(&str, &str); 0], f64, f64>(&seconds(fleet.tally.poll_sum_ms), None)?;
    }
    Ok(())
}

fn labels<'a>(fleet: &'a FleetNow, own: Option<(&'a str, &'a str)>) -> Labels<'a> {
    let text = |told: &'a Option<String>| told.as_deref().unwrap_or_default();
    let both = [("env", text(&fleet.key.env)), ("fleet", text(&fleet.key.fleet))];
    Labels(both.into_iter().chain(own).collect())
}

fn gauge(metric: &mut MetricEncoder<'_>, labels: &Labels<'_>, value: f64) -> fmt::Result {
    metric.encode_family(labels)?.encode_gauge(&value)
}

fn counter(metric: &mut MetricEncoder<'_>, labels: &Labels<'_>, value: &u64) -> fmt::Result {
    metric.encode_family(labels)?.encode_counter::<[(&str, &str); 0], u64, u64>(value, None)
}

fn histogram(metric: &mut MetricEncoder<'_>, labels: &Labels<'_>, times: &Times) -> fmt::Result {
    // What is longer than all of them is in the count, which is that of the bucket without an end.
    let buckets: Vec<(f64, u64)> = SECONDS.into_iter().zip(times.buckets).collect();
    let mut series = metric.encode_family(labels)?;
    series.encode_histogram::<[(&str, &str); 0]>(seconds(times.sum_ms), times.count(), &buckets, None)
}

fn utilization(fleet: &FleetNow) -> Option<f64> {
    fleet.utilisation_pct.map(|pct| f64::from(pct) / 100.0)
}

fn roll(fleet: &FleetNow, of: impl Fn(&RollNow) -> Option<f64>) -> Option<f64> {
    fleet.roll.as_ref().and_then(of)
}

/// Counts are exact as far as 2^32 goes, and no fleet is larger.
fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

fn of_i64(value: i64) -> f64 {
    let least = i32::try_from(value).unwrap_or(if value < 0 { i32::MIN } else { i32::MAX });
    f64::from(least)
}

/// Of a sum in ms, whose seconds can be over 2^32: with many members they soon are.
fn seconds(ms: u64) -> f64 {
    let half = |number: u64| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    let whole = ms / 1000;
    half(whole >> 32) * 4_294_967_296.0 + half(whole & u64::from(u32::MAX)) + half(ms % 1000) / 1000.0
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use prometheus_client::encoding::prometheus_text;
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::hub::fleet::file::FleetFile;
    use crate::hub::serve::auth::Sender;
    use crate::hub::serve::ingest::rewrite::Identity;
    use crate::hub::serve::ingest::sort::{Origin, Sorted};

    /// A collector of what is at a time.
    #[derive(Debug)]
    struct At(Arc<Fleets>, SystemTime);

    impl Collector for At {
        fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
            encode(&self.0.now(self.1), encoder)
        }
    }

    fn scraped(fleets: &Arc<Fleets>, at: SystemTime) -> Vec<String> {
        let mut registry = Registry::with_prefix("vitals_hub");
        registry.register_collector(Box::new(At(Arc::clone(fleets), at)));
        let mut text = String::new();
        prometheus_text::encode(&mut text, &registry).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    fn post(fleets: &Fleets, at: SystemTime, runner: &str, rest: &[&str]) {
        let sender = Sender { name: runner.to_owned(), fleet: Some("a\"b".to_owned()) };
        let identity = Identity::new(&sender, Some("prod"));
        let origin = Origin { sender: Arc::new(sender), identity, received_at: at };
        let ts = humantime::format_rfc3339_millis(at);
        let head = |nth: usize| format!("RUNNER_VITALS ts={ts} run={runner}{nth:02} seq={nth}");
        let body: Vec<String> = rest.iter().enumerate().map(|(nth, rest)| format!("{} {rest}", head(nth))).collect();
        let sorted = Sorted::of(body.join("\n").as_bytes(), &origin);
        assert_eq!(sorted.bad, []);
        fleets.take(&sorted.good, &sorted.events, at);
    }

    #[test]
    fn a_sum_goes_on_behind_two_to_the_32() {
        let whole = [0, 1, 1500, 4_294_967_296_000, 4_294_967_297_500, 9_000_000_000_000_000];
        let of = whole.map(|ms| format!("{}", seconds(ms)));
        assert_eq!(of, ["0", "0.001", "1.5", "4294967296", "4294967297.5", "9000000000000"]);
    }

    #[test]
    fn what_no_line_can_tell_is_in_no_sum() {
        let t0 = UNIX_EPOCH + Duration::from_secs(1_780_574_400);
        let fleets = Arc::new(Fleets::new(FleetFile::default(), t0));
        post(&fleets, t0, "r1", &["event=phase phase=ready boot.id=x uptime.ms=9000"]);
        let most = i64::MAX;
        let claimed = format!(
            "event=phase phase=claimed boot.id=x waited.ms={most} waited.from=queued poll.served={most} poll.sum.ms={most} poll.max.ms={most}"
        );
        post(&fleets, t0 + Duration::from_secs(9), "r1", &["load1=0.10", &claimed]);
        let rows = scraped(&fleets, t0 + Duration::from_secs(9));
        let of = |name: &str| rows.iter().find(|row| row.starts_with(&format!("vitals_hub_fleet_{name}{{"))).unwrap();
        for (name, value) in [
            ("claims_total", "1"),
            ("claim_wait_seconds_sum", "0.0"),
            ("claim_wait_seconds_count", "0"),
            ("poll_seconds_total", "0.0"),
            ("poll_max_seconds", "0.0"),
        ] {
            assert!(of(name).ends_with(&format!("}} {value}")), "{}", of(name));
        }
    }

    #[test]
    fn every_series_has_its_fleet_and_goes_with_it() {
        let t0 = UNIX_EPOCH + Duration::from_secs(1_780_574_400);
        let fleets = Arc::new(Fleets::new(FleetFile::default(), t0));
        post(&fleets, t0, "r1", &["event=phase phase=ready uptime.ms=9000 boot.id=x", "load1=0.10"]);
        post(&fleets, t0, "r2", &["event=phase phase=ready uptime.ms=9000 boot.id=y runner.image=i"]);
        let later = t0 + Duration::from_secs(30);
        post(
            &fleets,
            later,
            "r2",
            &[
                "load1=0.10",
                "event=phase phase=claimed uptime.ms=39000 boot.id=y waited.ms=4000 waited.from=queued poll.served=1 poll.sum.ms=1500",
            ],
        );
        let rows = scraped(&fleets, later);
        for row in [
            "fleet_members{env=\"prod\",fleet=\"a\\\"b\",state=\"ready\"} 1.0",
            "fleet_members{env=\"prod\",fleet=\"a\\\"b\",state=\"claimed\"} 1.0",
            "fleet_members{env=\"prod\",fleet=\"a\\\"b\",state=\"lost\"} 0.0",
            "fleet_claims_total{env=\"prod\",fleet=\"a\\\"b\"} 1",
            "fleet_claim_wait_seconds_bucket{env=\"prod\",fleet=\"a\\\"b\",le=\"2\"} 0",
            "fleet_claim_wait_seconds_bucket{env=\"prod\",fleet=\"a\\\"b\",le=\"5\"} 1",
            "fleet_claim_wait_seconds_bucket{env=\"prod\",fleet=\"a\\\"b\",le=\"+Inf\"} 1",
            "fleet_warm_up_seconds_sum{env=\"prod\",fleet=\"a\\\"b\"} 18.0",
            "fleet_warm_up_seconds_count{env=\"prod\",fleet=\"a\\\"b\"} 2",
            "fleet_polls_total{env=\"prod\",fleet=\"a\\\"b\",outcome=\"served\"} 1",
            "fleet_poll_seconds_total{env=\"prod\",fleet=\"a\\\"b\"} 1.5",
            "fleet_jobs_running{env=\"prod\",fleet=\"a\\\"b\"} 1.0",
            "fleet_capacity{env=\"prod\",fleet=\"a\\\"b\"} 2.0",
            "fleet_utilization_ratio{env=\"prod\",fleet=\"a\\\"b\"} 0.5",
            "fleet_image_current{env=\"prod\",fleet=\"a\\\"b\"} 1.0",
            "fleet_deaths_total{env=\"prod\",fleet=\"a\\\"b\",cause=\"silent\"} 0",
            "fleets_left_out_total 0",
        ] {
            assert!(rows.contains(&format!("vitals_hub_{row}")), "{row} is not in {rows:#?}");
        }
        let of_fleets = rows.iter().filter(|row| !row.contains("left_out"));
        let is_labelled = |row: &String| row.contains("env=\"prod\",fleet=\"a\\\"b\"") && !row.contains("r1");
        assert!(of_fleets.clone().all(is_labelled), "{rows:#?}");
        // Both fall silent, are lost, and go.
        let mut at = later;
        for _ in 0..300 {
            at += Duration::from_secs(5);
            while fleets.tick(at) {}
        }
        assert_eq!(scraped(&fleets, at), ["vitals_hub_fleets_left_out_total 0"]);
    }
}
