//! All fleets at a time: who is a member of which, and what follows for each.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::hub::trail::Closed;

use super::figures::{self, Figures, Key, Window};
use super::file::{FleetFile, Spec};
use super::member::{Clock, Member};
use super::roll::{self, Deficit, Roll};
use super::sizing::{self, Advice, Idle};

/// How far ahead of all others few clocks can be and not be believed, ms.
const AHEAD_MS: i64 = 3_600_000;

/// All fleets.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The time that is now, ms since 1970.
    pub at_ms: i64,
    /// Each.
    pub fleets: Vec<Fleet>,
    /// Runners whose lines have no time, or one that is not yet, or one before the window.
    pub left_out: usize,
}

/// A fleet.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// What its members' lines say.
    pub figures: Figures,
    /// Where a roll of its image stands.
    pub roll: Option<Roll>,
    /// What follows from the fleet file.
    pub plan: Option<Plan>,
}

/// What follows from the fleet file.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the file says.
    pub spec: Spec,
    /// The warm deficit.
    pub deficit: Option<Deficit>,
    /// How large the target is to be.
    pub advice: Advice,
    /// What is always idle.
    pub idle: Option<Idle>,
}

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The time that is now; `None`: that of the last line. ms since 1970.
    pub at_ms: Option<i64>,
    /// How far back figures go, ms.
    pub window_ms: i64,
    /// Who is ready for longer is told, ms.
    pub long_ready_ms: i64,
    /// For how long who has no reason to write is taken to be what it said last, ms.
    pub forgiven_ms: i64,
}

/// Looks at all runners; `now_ms` is the clock. Each goes when it is seen. Fleets of the file are there also without a runner.
#[must_use]
pub fn look_at(runners: Vec<Closed>, file: &FleetFile, settings: Settings, now_ms: i64) -> Seen {
    let count = runners.len();
    let last = || latest(runners.iter().filter_map(|runner| runner.last_ms).collect(), now_ms);
    let at_ms = settings.at_ms.or_else(last).unwrap_or(now_ms);
    let clock = Clock { at_ms, forgiven_ms: settings.forgiven_ms, silent_ms: None };
    let window = Window {
        from_ms: at_ms.saturating_sub(settings.window_ms),
        to_ms: at_ms,
        long_ready_ms: settings.long_ready_ms,
    };
    let mut by_key: BTreeMap<Key, Vec<Rc<Member>>> = BTreeMap::new();
    let members = runners.into_iter().filter_map(|runner| Member::of(&runner.open(), clock));
    for mut member in members.filter(|member| member.heard_ms >= window.from_ms) {
        let key = Key { env: member.env.take(), fleet: member.fleet.take() };
        // Each by itself has room where runners were that are gone.
        by_key.entry(key).or_default().push(Rc::new(member));
    }
    let seen: usize = by_key.values().map(Vec::len).sum();
    for spec in &file.fleets {
        by_key.entry(spec.key()).or_default();
    }
    let fleet = |(key, members): (Key, Vec<Rc<Member>>)| {
        fleet(key, &members.iter().map(AsRef::as_ref).collect::<Vec<_>>(), file, window)
    };
    let fleets = by_key.into_iter().map(fleet).collect();
    Seen { at_ms, fleets, left_out: count.saturating_sub(seen) }
}

fn fleet(key: Key, members: &[&Member], file: &FleetFile, window: Window) -> Fleet {
    let spec = file.of(&key);
    let figures = figures::of_fleet(key, members, window);
    let roll = roll::roll(members, &figures, spec);
    let plan = spec.map(|spec| {
        let advice = sizing::advice(&figures, spec);
        Plan {
            deficit: roll::deficit(members, &figures, spec),
            idle: sizing::idle(&figures, spec, &advice),
            advice,
            spec: spec.clone(),
        }
    });
    Fleet { figures, roll, plan }
}

/// The time of the last line, but for those of a few runners whose clocks are far ahead of all others.
fn latest(mut lasts: Vec<i64>, now_ms: i64) -> Option<i64> {
    lasts.sort_unstable();
    let mut few = if lasts.len() < 3 { 0 } else { (lasts.len() / 20).max(1) };
    let mut rest = lasts.as_slice();
    while let [before @ .., second, last] = rest {
        let is_ahead = *last > now_ms || last.saturating_sub(*second) > AHEAD_MS;
        if few == 0 || !is_ahead {
            break;
        }
        few -= 1;
        rest = rest.get(..=before.len()).unwrap_or_default();
    }
    // Where all are later than now it is the clock here that is wrong.
    let is_here_wrong = lasts.first().is_some_and(|first| *first > now_ms);
    rest.last().map(|last| if is_here_wrong { *last } else { (*last).min(now_ms) })
}
