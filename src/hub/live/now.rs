//! What fleets are at a time: their members by state, and what follows from the fleet file.

use std::collections::BTreeMap;

use crate::hub::fleet::counts::so_many;
use crate::hub::fleet::figures::Key;
use crate::hub::fleet::file::Spec;
use crate::hub::fleet::roll::{self, Deficit, Figure};
use crate::hub::fleet::state::State;

use super::one::One;
use super::tally::Tally;

/// All fleets.
#[derive(Clone, Debug)]
pub struct Now {
    /// When, ms since 1970.
    pub at_ms: i64,
    /// Members of all fleets, those that ended or are lost included.
    pub members: usize,
    /// Batches of lines of runners for which there was no room.
    pub left_out: u64,
    /// Logs cannot be read.
    pub deaf: Option<Deaf>,
    /// Each.
    pub fleets: Vec<FleetNow>,
}

/// That logs cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deaf {
    /// Since when, ms since 1970.
    pub since_ms: i64,
    /// Why, as it was last.
    pub why: &'static str,
}

/// A member by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// What it is called.
    pub name: String,
    /// What it is.
    pub state: State,
    /// Since when, ms since 1970.
    pub since_ms: i64,
    /// It is lost, or warms up for over ten minutes.
    pub is_trouble: bool,
}

/// A fleet.
#[derive(Clone, Debug)]
pub struct FleetNow {
    /// Whose.
    pub key: Key,
    /// How many members are what.
    pub members: BTreeMap<State, usize>,
    /// Warming for longer than ten minutes.
    pub stuck: usize,
    /// Jobs that run.
    pub running: usize,
    /// Members that take jobs: ready, or with one.
    pub capacity: usize,
    /// Of these the share that has a job, per cent; `None` where there are none.
    pub utilisation_pct: Option<u32>,
    /// The slowest poll of those that are there, ms.
    pub poll_max_ms: u64,
    /// What happened.
    pub tally: Tally,
    /// How many members the controller aims at, as the fleet file says.
    pub target: Option<u32>,
    /// Where a roll of its image stands; `None` where no member says its image.
    pub roll: Option<RollNow>,
    /// The warm deficit, where the fleet file says enough.
    pub deficit: Option<Deficit>,
}

/// Which members have the image that they are to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollNow {
    /// The image: the fleet file's, else that of the member that came last.
    pub image: String,
    /// Members with it.
    pub current: usize,
    /// Members with another.
    pub stale: usize,
    /// Members that are being rolled.
    pub rolling: Figure,
    /// So many may be, where the fleet file says enough.
    pub cap: Option<i64>,
}

impl FleetNow {
    pub(super) fn of(key: Key, ones: &[&One], tally: Tally, spec: Option<&Spec>, now_ms: i64) -> Self {
        let mut members = BTreeMap::new();
        for one in ones {
            *members.entry(one.is.state).or_insert(0) += 1;
        }
        let count = |state| members.get(&state).copied().unwrap_or(0);
        let (ready, claimed) = (count(State::Ready), count(State::Claimed));
        let alive: Vec<&One> = ones.iter().filter(|one| one.is.state.is_alive()).copied().collect();
        let running = alive.iter().map(|one| one.is.running).sum();
        Self {
            stuck: alive.iter().filter(|one| one.is_stuck(now_ms)).count(),
            running,
            capacity: ready + claimed,
            utilisation_pct: (claimed * 100).checked_div(ready + claimed).and_then(|pct| u32::try_from(pct).ok()),
            poll_max_ms: alive.iter().map(|one| one.is.poll_max_ms).max().unwrap_or(0),
            tally,
            target: spec.and_then(|spec| spec.target),
            roll: roll_of(&alive, spec),
            deficit: spec.and_then(|spec| roll::deficit_of(alive.len(), running, spec)),
            members,
            key,
        }
    }
}

fn roll_of(alive: &[&One], spec: Option<&Spec>) -> Option<RollNow> {
    let newest = || {
        let told = alive.iter().filter(|one| one.is.image.is_some());
        told.max_by_key(|one| one.is.first_ms).and_then(|one| one.is.image.as_deref()).map(str::to_owned)
    };
    let image = spec.and_then(|spec| spec.image.clone()).or_else(newest)?;
    let has = |one: &One| one.is.image.as_deref().map(|own| own == image);
    let stale = alive.iter().filter(|one| has(one) == Some(false)).count();
    let warming = alive.iter().filter(|one| one.is.state == State::Warming && has(one) == Some(true)).count();
    let rolling = if stale > 0 { so_many(warming) } else { 0 };
    Some(RollNow {
        current: alive.iter().filter(|one| has(one) == Some(true)).count(),
        stale,
        rolling: Figure::of(spec.and_then(|spec| spec.rolling), rolling),
        cap: spec.and_then(roll::cap),
        image,
    })
}
