//! A roll from one image to another, and the warm deficit: what is, against what the fleet file says.

use super::counts::so_many;
use super::figures::{Figures, Window};
use super::file::Spec;
use super::member::{Member, over_time};
use super::state::State;

/// A roll that has gone nowhere for so long is stuck, ms.
pub const STUCK_MS: i64 = 900_000;

/// A figure of the controller, or one made from what guests say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// It is in the fleet file.
    Given(i64),
    /// It is an estimate.
    Estimated(i64),
}

impl Figure {
    /// Given, else estimated.
    #[must_use]
    pub fn of(given: Option<u32>, estimate: i64) -> Self {
        given.map_or(Self::Estimated(estimate), |given| Self::Given(given.into()))
    }

    /// The figure.
    #[must_use]
    pub const fn value(self) -> i64 {
        match self {
            Self::Given(value) | Self::Estimated(value) => value,
        }
    }

    /// Whether it is an estimate.
    #[must_use]
    pub const fn is_estimate(self) -> bool {
        matches!(self, Self::Estimated(_))
    }
}

/// Which of a fleet's members have the image that they are to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roll {
    /// The image.
    pub image: String,
    /// It is that of the newest member, and not of the fleet file.
    pub is_image_estimated: bool,
    /// Members with it.
    pub current: usize,
    /// Members with another.
    pub stale: usize,
    /// Members that do not say theirs.
    pub untold: usize,
    /// Members that are being rolled.
    pub rolling: Figure,
    /// So many may be, where the fleet file says enough.
    pub cap: Option<i64>,
    /// It goes nowhere; `None` where that cannot be said.
    pub is_stuck: Option<bool>,
}

impl Roll {
    /// Whether more members are rolled than may be.
    #[must_use]
    pub fn is_breached(&self) -> bool {
        self.cap.is_some_and(|cap| self.rolling.value() > cap)
    }
}

/// Where a roll stands; `None` where no member says its image.
#[must_use]
pub fn roll(members: &[&Member], figures: &Figures, spec: Option<&Spec>) -> Option<Roll> {
    let given = spec.and_then(|spec| spec.image.clone());
    let is_image_estimated = given.is_none();
    let image = given.or_else(|| figures.newest_image.clone())?;
    let alive = || members.iter().filter(|member| member.state.is_alive());
    let is_stale = |member: &Member| member.image.as_ref().is_some_and(|own| *own != image);
    let is_current = |member: &Member| member.image.as_ref() == Some(&image);
    let all = || members.iter().copied();
    let stale_then = over_time(all().filter(|member| is_stale(member)), &State::ALIVE);
    let rolling_then = over_time(all().filter(|member| is_current(member)), &[State::Warming]);
    let stale = alive().filter(|member| is_stale(member)).count();
    let warming = alive().filter(|member| member.state == State::Warming && is_current(member)).count();
    let rolling = Figure::of(spec.and_then(|spec| spec.rolling), if stale > 0 { so_many(warming) } else { 0 });
    let cap = spec.and_then(cap);
    let window = Window { from_ms: figures.to_ms.saturating_sub(STUCK_MS), to_ms: figures.to_ms, long_ready_ms: 0 };
    let is_stuck = cap.filter(|_| figures.from_ms <= window.from_ms).map(|cap| {
        let at_cap = match rolling {
            Figure::Given(rolling) => rolling >= cap,
            Figure::Estimated(_) => rolling_then.min(window.from_ms, window.to_ms).is_some_and(|least| least >= cap),
        };
        stale > 0 && at_cap && so_many(stale) >= stale_then.at(window.from_ms)
    });
    Some(Roll {
        current: alive().filter(|member| is_current(member)).count(),
        stale,
        untold: alive().filter(|member| member.image.is_none()).count(),
        image,
        is_image_estimated,
        rolling,
        cap,
        is_stuck,
    })
}

/// `max(1, floor(percent / 100 * replicas))`.
#[must_use]
pub fn cap(spec: &Spec) -> Option<i64> {
    let (percent, replicas) = spec.max_concurrent_percent.zip(spec.replicas)?;
    Some((i64::from(percent) * i64::from(replicas) / 100).max(1))
}

/// How many warm members are missing, and of what that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deficit {
    /// `max(0, min(load + floor, target) - max(allocated, load))`.
    pub deficit: i64,
    /// Jobs that run or wait; estimated: those that run.
    pub load: Figure,
    /// Members that were granted; estimated: those that are there.
    pub allocated: Figure,
    /// How many are to be warm.
    pub floor: i64,
    /// How many there are to be.
    pub target: i64,
}

/// The warm deficit; `None` where the fleet file says no target or floor.
#[must_use]
pub fn deficit(members: &[&Member], figures: &Figures, spec: &Spec) -> Option<Deficit> {
    deficit_of(members.iter().filter(|member| member.state.is_alive()).count(), figures.jobs.running, spec)
}

/// The same, where so many members are there and so many jobs run.
#[must_use]
pub fn deficit_of(alive: usize, running: usize, spec: &Spec) -> Option<Deficit> {
    let (target, floor) = (i64::from(spec.target?), i64::from(spec.warm_floor?));
    let load = Figure::of(spec.load, so_many(running));
    let allocated = Figure::of(spec.allocated, so_many(alive));
    let wanted = load.value().saturating_add(floor).min(target);
    let deficit = wanted.saturating_sub(allocated.value().max(load.value())).max(0);
    Some(Deficit { deficit, load, allocated, floor, target })
}
