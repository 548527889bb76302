//! What of a fleet's figures an owner is to look at, the worst first.

use super::look::Fleet;
use super::sizing::Advice;
use super::state::State;
use super::text::{deaths, share};

/// How soon something is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Jobs wait, or will.
    High,
    /// Jobs waited, or were lost.
    Medium,
    /// It costs more than it has to.
    Low,
}

/// Something to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// How soon.
    pub weight: Weight,
    /// What, in a sentence.
    pub says: String,
}

/// All there is of a fleet.
#[must_use]
pub fn of(fleet: &Fleet) -> Vec<Notice> {
    let mut all = Vec::new();
    let mut tell = |weight, says: String| all.push(Notice { weight, says });
    let figures = &fleet.figures;
    let spec = fleet.plan.as_ref().map(|plan| &plan.spec);
    let target = spec.and_then(|spec| spec.target).unwrap_or(0);
    if target > 0 && figures.members_in(State::Ready) == 0 {
        tell(Weight::High, format!("no member is ready, and the target is {target}"));
    }
    if let Some(deficit) = fleet.plan.as_ref().and_then(|plan| plan.deficit).filter(|deficit| deficit.deficit > 0) {
        let estimate = if deficit.load.is_estimate() || deficit.allocated.is_estimate() { " (estimate)" } else { "" };
        tell(Weight::High, format!("the warm deficit is {}{estimate}", deficit.deficit));
    }
    if let Some(roll) = &fleet.roll {
        if let Some(cap) = roll.cap.filter(|_| roll.is_breached()) {
            let estimate = if roll.rolling.is_estimate() { " (estimate)" } else { "" };
            let rolling = roll.rolling.value();
            tell(Weight::High, format!("the roll is over its cap: {rolling} members{estimate} of {cap} at most"));
        }
        if roll.is_stuck == Some(true) {
            tell(Weight::High, format!("the roll is stuck: {} members have another image still", roll.stale));
        }
    }
    let supply = &figures.supply;
    if supply.unmet > 0 {
        tell(Weight::Medium, format!("{} of {} claims found no ready member", supply.unmet, supply.told));
    }
    if supply.unmet_estimated > 0 {
        let (unmet, of) = (supply.unmet_estimated, supply.untold);
        tell(Weight::Medium, format!("{unmet} of {of} claims seem to have found no ready member (estimate)"));
    }
    if let Some(known) = figures.waits.known.as_ref().filter(|_| figures.waits.cold > 0) {
        let cold = figures.waits.cold;
        tell(
            Weight::Medium,
            format!("cold starts: {cold} of {} jobs waited over 10 s ({})", known.count, share(cold, known.count)),
        );
    }
    if figures.stuck > 0 {
        tell(Weight::Medium, format!("{} members have been warming for over 10 min", figures.stuck));
    }
    if !figures.deaths.is_empty() {
        let count: usize = figures.deaths.values().sum();
        tell(Weight::Medium, format!("{count} runners died: {}", deaths(figures)));
    }
    if let Some(plan) = &fleet.plan {
        match &plan.advice {
            Advice::Size(size) if target > 0 && size.target > i64::from(target) => {
                tell(Weight::Medium, format!("a target of {} is advised, it is {target}", size.target));
            }
            _ => {}
        }
        if let Some(idle) = plan.idle.filter(|idle| idle.saves > 0) {
            tell(Weight::Low, format!("a target of {} saves {} members", idle.enough, idle.saves));
        }
    }
    all
}
