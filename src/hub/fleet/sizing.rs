//! How large a fleet is to be: advice from its figures, with the numbers put in, or why there is none.

use super::counts::so_many;
use super::figures::Figures;
use super::file::Spec;

/// No advice from fewer claims.
pub const CLAIMS: usize = 30;

/// Nor from fewer warm-ups.
pub const WARM_UPS: usize = 10;

/// Nor from a shorter span, ms.
pub const SPAN_MS: i64 = 1_800_000;

/// That members are idle is said of no shorter span, ms.
pub const IDLE_SPAN_MS: i64 = 6 * 3_600_000;

/// Of the target always idle, per cent: from more on something can be saved.
pub const IDLE_PCT: i64 = 90;

/// What is advised, or why nothing is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Too little is known: what, and how much of it is needed.
    TooLittle(Vec<String>),
    /// A size.
    Size(Size),
}

/// How large the target is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// C: jobs in a minute at most; those that were queued where that is known.
    pub peak: i64,
    /// W: warm-up, p95, from creation on where that is known, ms.
    pub warm_up_ms: i64,
    /// R: the reaper's interval, ms.
    pub reaper_ms: i64,
    /// `ceil(C * (W/60 + R/60))`.
    pub by_rate: i64,
    /// The largest burst in which a claim found no ready member; 0 where none did.
    pub burst: i64,
    /// Twice that.
    pub headroom: i64,
    /// Claims that found no ready member, estimates included.
    pub unmet: i64,
    /// Of so many.
    pub claims: i64,
    /// The target: the larger of both, within min and max.
    pub target: i64,
    /// More is needed than max allows.
    pub is_over_max: bool,
}

/// What could be saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Idle {
    /// Members that were ready all the time.
    pub idle: i64,
    /// Of the target, tenths of a per cent.
    pub share_tenths: i64,
    /// A target that is enough: twice what was ever taken or warming at once, and the size that is advised.
    pub enough: i64,
    /// Members that it saves: 0 unless the share is over [`IDLE_PCT`].
    pub saves: i64,
}

/// The size that is advised.
#[must_use]
pub fn advice(figures: &Figures, spec: &Spec) -> Advice {
    let mut lacks = Vec::new();
    let span = figures.to_ms.saturating_sub(figures.from_ms);
    if span < SPAN_MS {
        lacks.push(format!("{} min of {}", span / 60_000, SPAN_MS / 60_000));
    }
    if figures.claims.count < CLAIMS {
        lacks.push(format!("{} claims of {CLAIMS}", figures.claims.count));
    }
    // What a new one takes from the order on, where enough say that.
    let from_created = figures.warm_ups.from_created.as_ref().filter(|warm| warm.count >= WARM_UPS);
    let warm_ups = from_created.or(figures.warm_ups.whole.as_ref());
    let warm_up_count = warm_ups.map_or(0, |warm| warm.count);
    if warm_up_count < WARM_UPS {
        lacks.push(format!("{warm_up_count} warm-ups of {WARM_UPS}"));
    }
    let reaper_ms = spec.reaper_interval.and_then(|interval| i64::try_from(interval.as_millis()).ok());
    match (warm_ups, reaper_ms) {
        (Some(warm), Some(reaper_ms)) if lacks.is_empty() => {
            Advice::Size(size(figures, spec, i64::try_from(warm.p95_ms).unwrap_or(i64::MAX), reaper_ms))
        }
        (_, None) => {
            lacks.push("no reaper_interval in the fleet file".to_owned());
            Advice::TooLittle(lacks)
        }
        _ => Advice::TooLittle(lacks),
    }
}

fn size(figures: &Figures, spec: &Spec, warm_up_ms: i64, reaper_ms: i64) -> Size {
    let supply = &figures.supply;
    let peak = so_many(figures.claims.peak.max(figures.claims.asked_peak));
    let by_rate = ceil_minutes(peak.saturating_mul(warm_up_ms.saturating_add(reaper_ms)));
    let unmet = so_many(supply.unmet + supply.unmet_estimated);
    let burst = if unmet > 0 { so_many(supply.burst_unmet) } else { 0 };
    let headroom = burst.saturating_mul(2);
    let wanted = by_rate.max(headroom).max(spec.min.unwrap_or(0).into());
    let max = spec.max.map_or(i64::MAX, i64::from);
    Size {
        peak,
        warm_up_ms,
        reaper_ms,
        by_rate,
        burst,
        headroom,
        unmet,
        claims: so_many(figures.claims.count),
        target: wanted.min(max),
        is_over_max: wanted > max,
    }
}

fn ceil_minutes(ms: i64) -> i64 {
    ms.saturating_add(59_999) / 60_000
}

/// What is always idle; `None` where no target is told, or where the span is too short to say always.
#[must_use]
pub fn idle(figures: &Figures, spec: &Spec, advice: &Advice) -> Option<Idle> {
    let target = i64::from(spec.target?);
    let from_ms = figures.supply.from_ms?;
    if target == 0 || figures.to_ms.saturating_sub(from_ms) < IDLE_SPAN_MS {
        return None;
    }
    let idle = figures.supply.least.min(target);
    let share_tenths = idle * 1000 / target;
    let size = match advice {
        Advice::Size(size) => size.target,
        Advice::TooLittle(_) => 1,
    };
    let enough = ((target - idle) * 2).max(size).max(spec.min.unwrap_or(0).into()).min(target);
    let saves = if share_tenths > IDLE_PCT * 10 { target - enough } else { 0 };
    Some(Idle { idle, share_tenths, enough, saves })
}
