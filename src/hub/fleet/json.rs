//! The figures as JSON: `docs/fleet.schema.json` is its schema.

use serde_json::{Map, Value, json};

use crate::hub::diagnose::units::{at, harmless};
use crate::hub::trail::Read;
use crate::hub::trail::stage::JobResult;

use super::counts::Quantiles;
use super::figures::{Jobs, Supply};
use super::look::{Fleet, Plan, Seen};
use super::roll::{Figure, Roll};
use super::sizing::Advice;
use super::state::State;

/// The version of the schema. A key may be added to it; one that changes or goes is a new version.
pub const SCHEMA_VERSION: u32 = 1;

/// What polls can end with, in the order of `trail::stage::POLL_FIELDS`.
pub(super) const POLLS: [&str; 7] = ["served", "no_work", "empty", "lost_race", "pod_in_use", "drain", "error"];

/// All of it.
#[must_use]
pub fn document(seen: &Seen, read: &Read) -> Value {
    json!({
        "version": SCHEMA_VERSION,
        "at": at(seen.at_ms),
        "partial": read.partial.as_deref().map(harmless),
        "left_out": seen.left_out,
        "fleets": seen.fleets.iter().map(value).collect::<Vec<_>>(),
    })
}

/// A fleet.
#[must_use]
pub fn value(fleet: &Fleet) -> Value {
    let figures = &fleet.figures;
    let text = |text: &Option<String>| text.as_deref().map(harmless);
    let members = State::ALL.map(|state| (state.name(), figures.members_in(state)));
    json!({
        "env": text(&figures.key.env),
        "fleet": text(&figures.key.fleet),
        "from": at(figures.from_ms),
        "to": at(figures.to_ms),
        "runners": figures.runners,
        "unplaced": figures.unplaced,
        "members": counts(members),
        "warming_stuck": figures.stuck,
        "ready_long": figures.long_ready,
        "claims": {
            "count": figures.claims.count,
            "runners": figures.claims.runners,
            "per_minute_mean": figures.claims.mean_hundredths.map(hundredths),
            "per_minute_peak": figures.claims.peak,
            "peak_from": figures.claims.peak_ms.map(at),
            "queued_per_minute_peak": figures.claims.asked_peak,
        },
        "warm_up": {
            "runners": figures.warm_ups.runners,
            "whole": quantiles(figures.warm_ups.whole.as_ref()),
            "boot": quantiles(figures.warm_ups.boot.as_ref()),
            "agent": quantiles(figures.warm_ups.agent.as_ref()),
            "before": quantiles(figures.warm_ups.before.as_ref()),
            "from_created": quantiles(figures.warm_ups.from_created.as_ref()),
        },
        "waits": {
            "known": quantiles(figures.waits.known.as_ref()),
            "over_10s": figures.waits.cold,
            "unknown": figures.waits.untold,
        },
        "ready": supply(&figures.supply),
        "jobs": jobs(&figures.jobs),
        "deaths": counts(figures.deaths.iter().map(|(cause, count)| (cause.name(), *count))),
        "images": figures.images.iter().map(|(image, count)| json!({ "image": text(image), "members": count })).collect::<Vec<_>>(),
        "polls": {
            "runners": figures.polling,
            "outcomes": counts(POLLS.into_iter().zip(figures.polls.counts)),
            "sum_ms": figures.polls.sum_ms,
            "max_ms": figures.polls.max_ms,
        },
        "roll": fleet.roll.as_ref().map(roll),
        "plan": fleet.plan.as_ref().map(plan),
    })
}

fn roll(roll: &Roll) -> Value {
    json!({
        "image": harmless(&roll.image),
        "image_estimated": roll.is_image_estimated,
        "current": roll.current,
        "stale": roll.stale,
        "unknown": roll.untold,
        "rolling": from(roll.rolling),
        "cap": roll.cap,
        "cap_breached": roll.cap.map(|_| roll.is_breached()),
        "stuck": roll.is_stuck,
    })
}

fn plan(plan: &Plan) -> Value {
    let deficit = plan.deficit.map(|of| {
        json!({
            "members": of.deficit,
            "load": from(of.load),
            "allocated": from(of.allocated),
            "warm_floor": of.floor,
            "target": of.target,
        })
    });
    let (size, lacks) = match &plan.advice {
        Advice::TooLittle(lacks) => (Value::Null, Some(lacks)),
        Advice::Size(of) => {
            let size = json!({
                "target": of.target,
                "claims_per_minute": of.peak,
                "warm_up_ms": of.warm_up_ms,
                "reaper_ms": of.reaper_ms,
                "by_rate": of.by_rate,
                "burst_unmet": of.burst,
                "headroom": of.headroom,
                "unmet": of.unmet,
                "claims": of.claims,
                "over_max": of.is_over_max,
            });
            (size, None)
        }
    };
    let idle = plan.idle.map(|of| {
        json!({ "members": of.idle, "share_pct": tenths(of.share_tenths), "enough": of.enough, "saves": of.saves })
    });
    json!({ "target": plan.spec.target, "warm_deficit": deficit, "size": size, "too_little": lacks, "idle": idle })
}

fn from(figure: Figure) -> Value {
    json!({ "count": figure.value(), "estimated": figure.is_estimate() })
}

fn tenths(value: i64) -> f64 {
    f64::from(i32::try_from(value).unwrap_or(i32::MAX)) / 10.0
}

fn supply(supply: &Supply) -> Value {
    json!({
        "from": supply.from_ms.map(at),
        "least": supply.least,
        "mean": hundredths(supply.mean_hundredths),
        "most": supply.most,
        "free_mean": hundredths(supply.free_hundredths),
        "none": { "times": supply.dry, "sum_ms": supply.dry_ms, "max_ms": supply.dry_longest_ms },
        "burst": supply.burst,
        "burst_unmet": supply.burst_unmet,
        "unmet": { "claims": supply.unmet, "of": supply.told },
        "unmet_estimated": { "claims": supply.unmet_estimated, "of": supply.untold },
    })
}

fn jobs(jobs: &Jobs) -> Value {
    let mut outcomes = counts(JobResult::ALL.map(|one| (one.name(), jobs.told_as(one))));
    if let Value::Object(outcomes) = &mut outcomes {
        outcomes.insert("unknown".to_owned(), jobs.unknown.into());
        outcomes.insert("died".to_owned(), jobs.died().into());
    }
    json!({
        "running": jobs.running,
        "ended": jobs.ended,
        "outcomes": outcomes,
        "unknown_with_code": jobs.unknown_failing,
        "died_of": counts(jobs.died.iter().map(|(cause, count)| (cause.name(), *count))),
        "duration": quantiles(jobs.took.as_ref()),
    })
}

fn counts<T: Into<Value>>(all: impl IntoIterator<Item = (&'static str, T)>) -> Value {
    let counts: Map<String, Value> = all.into_iter().map(|(name, count)| (name.to_owned(), count.into())).collect();
    Value::Object(counts)
}

fn quantiles(of: Option<&Quantiles>) -> Value {
    of.map_or(
        Value::Null,
        |of| json!({ "count": of.count, "p50_ms": of.p50_ms, "p95_ms": of.p95_ms, "max_ms": of.max_ms }),
    )
}

/// Hundredths as a number with decimals.
pub(super) fn hundredths(value: i64) -> f64 {
    f64::from(i32::try_from(value).unwrap_or(i32::MAX)) / 100.0
}
