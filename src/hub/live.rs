//! What fleets are now, from the lines of their runners as they come: pure, the clock given.
//!
//! Each runner is kept in little room ([`crate::hub::trail::heard`]) and made a member by the rules of
//! [`fleet`](crate::hub::fleet::member), whenever a line tells something new, and when it falls silent. What happened is counted once
//! ([`tally`]); what is now is looked up ([`now`]). Runners that ended or are lost go [`KEPT_MS`] later, and their fleet with the last of them.

pub mod now;
pub mod one;
pub mod page;
pub mod tally;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::hub::fleet::figures::Key;
use crate::hub::fleet::file::FleetFile;
use crate::hub::fleet::member::Member;
use crate::line::Line;

use now::{Deaf, FleetNow, Named, Now};
use one::{One, Sample};
use tally::Tally;

/// Members at once. One more takes the place of one that ended or is lost, or is left out.
pub const MEMBERS: usize = 20_000;

/// Fleets at once, beside those of the fleet file; members of any other are of [`OTHER`].
pub const FLEETS: usize = 50;

/// The fleet of members whose own would be one too many.
pub const OTHER: &str = "other";

/// For how long who ended, or is lost, is kept, ms: the hub remembers as long which lines it had.
pub const KEPT_MS: i64 = 600_000;

/// Who is lost for so long is dead, ms: until then it was perhaps the way to it that was.
pub const DEAD_MS: i64 = 300_000;

/// For how long who has no reason to write is taken to be what it said last, ms.
const FORGIVEN_MS: i64 = 6 * 3_600_000;

/// Silent members that are looked at in one go: whoever brings lines waits meanwhile.
const AT_ONCE: usize = 200;

/// By whose clock lines are of now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// They have just come: the latest of them was written now, whatever the guest's clock says.
    Received,
    /// They were written when they say.
    Theirs,
}

/// Lines of one runner.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    /// What it is called.
    pub name: &'a str,
    /// Event lines, in their order.
    pub events: Vec<&'a str>,
    /// The latest sample.
    pub sample: Option<Sample<'a>>,
    /// By whose clock they are of now.
    pub clock: Clock,
}

/// All fleets.
#[derive(Debug)]
pub struct Live {
    members: HashMap<Box<str>, One>,
    fleets: BTreeMap<Arc<Key>, Tally>,
    file: FleetFile,
    most: usize,
    left_out: u64,
    /// There was no room; until the next look nobody looks for it.
    is_full: bool,
    /// Logs cannot be read: that nothing is heard of those it is told by is not their silence.
    deaf: Option<Deaf>,
    /// What happened before is not counted: somebody else did.
    began_ms: i64,
}

impl Live {
    /// Nobody is there yet; `began_ms` is now, ms since 1970 as everywhere here.
    #[must_use]
    pub fn new(file: FleetFile, began_ms: i64) -> Self {
        let fleets = file.fleets.iter().map(|spec| (Arc::new(spec.key()), Tally::default())).collect();
        Self { members: HashMap::new(), fleets, file, most: MEMBERS, left_out: 0, is_full: false, deaf: None, began_ms }
    }

    /// Takes lines of a runner.
    pub fn take(&mut self, batch: &Batch<'_>, now_ms: i64) {
        let lines: Vec<Line<'_>> = batch.events.iter().filter_map(|text| Line::decode(text).ok()).collect();
        if lines.is_empty() && batch.sample.is_none() {
            return;
        }
        let Self { members, fleets, .. } = self;
        let is_new = !members.contains_key(batch.name);
        if is_new && members.len() >= self.most {
            self.is_full = self.is_full || !make_room(members);
            if self.is_full {
                self.left_out = self.left_out.saturating_add(1);
                return;
            }
        }
        let one = members.entry(batch.name.into()).or_insert_with(|| One::new(batch.name, now_ms));
        match batch.clock {
            Clock::Received if !one.has_token => one.with_token(now_ms),
            Clock::Theirs if one.has_token => return,
            Clock::Received | Clock::Theirs => {}
        }
        let has_news = one.hear(&lines, batch.sample.as_ref(), batch.clock, now_ms);
        if has_news {
            look(one, fleets, &self.file, (self.began_ms, now_ms));
        }
    }

    /// Looks at who is silent, and forgets who is over. To be called every few seconds, and again at once where more are to be looked at.
    pub fn tick(&mut self, now_ms: i64) -> bool {
        let Self { members, fleets, file, deaf, .. } = self;
        let can_hear = |one: &One| one.has_token || deaf.is_none();
        let mut due = members.values_mut().filter(|one| one.look_ms <= now_ms && can_hear(one));
        for one in due.by_ref().take(AT_ONCE) {
            look(one, fleets, file, (self.began_ms, now_ms));
        }
        let is_more = due.next().is_some();
        self.is_full = false;
        members.retain(|_, one| !one.is_over(now_ms) || !can_hear(one));
        let left: BTreeSet<&Key> = members.values().map(|one| &*one.key).collect();
        fleets.retain(|key, _| left.contains(&**key) || file.of(key).is_some());
        is_more
    }

    /// Logs could not be read, and why.
    pub fn tail_failed(&mut self, why: &'static str, now_ms: i64) {
        let since_ms = self.deaf.map_or(now_ms, |deaf| deaf.since_ms);
        self.deaf = Some(Deaf { since_ms, why });
    }

    /// Whether logs cannot be read.
    #[must_use]
    pub const fn is_deaf(&self) -> bool {
        self.deaf.is_some()
    }

    /// Logs were read: where they could not be before, silence begins now.
    pub fn tail_read(&mut self, now_ms: i64) {
        if self.deaf.take().is_some() {
            self.members.values_mut().filter(|one| !one.has_token).for_each(|one| one.is_silent_from(now_ms));
        }
    }

    /// Takes a changed fleet file.
    pub fn take_file(&mut self, file: FleetFile) {
        for spec in &file.fleets {
            self.fleets.entry(Arc::new(spec.key())).or_default();
        }
        self.file = file;
    }

    /// What is now.
    #[must_use]
    pub fn now(&self, now_ms: i64) -> Now {
        let mut by_key: BTreeMap<&Key, Vec<&One>> = self.fleets.keys().map(|key| (&**key, Vec::new())).collect();
        for one in self.members.values() {
            by_key.entry(&one.key).or_default().push(one);
        }
        let fleet = |(key, ones): (&Key, Vec<&One>)| {
            let tally = self.fleets.get(key).cloned().unwrap_or_default();
            FleetNow::of(key.clone(), &ones, tally, self.file.of(key), now_ms)
        };
        Now {
            at_ms: now_ms,
            members: self.members.len(),
            left_out: self.left_out,
            deaf: self.deaf,
            fleets: by_key.into_iter().map(fleet).collect(),
        }
    }

    /// Members of each fleet by name: those that are lost or warm up for too long first, then those that are what they are the longest;
    /// at most so many of each.
    #[must_use]
    pub fn named(&self, now_ms: i64, most: usize) -> BTreeMap<Key, Vec<Named>> {
        let mut by_key: BTreeMap<Key, Vec<&One>> = BTreeMap::new();
        for one in self.members.values() {
            by_key.entry((*one.key).clone()).or_default().push(one);
        }
        let named = |mut ones: Vec<&One>| {
            ones.sort_by_cached_key(|one| (!one.is_trouble(now_ms), one.is.since_ms, one.name().to_owned()));
            ones.truncate(most);
            let named = |one: &&One| Named {
                name: one.name().to_owned(),
                state: one.state(),
                since_ms: one.is.since_ms,
                is_trouble: one.is_trouble(now_ms),
            };
            ones.iter().map(named).collect()
        };
        by_key.into_iter().map(|(key, ones)| (key, named(ones))).collect()
    }

    /// Whether a runner is a member.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }
}

/// Makes a member of what was heard, and counts what is new of it.
fn look(one: &mut One, fleets: &mut BTreeMap<Arc<Key>, Tally>, file: &FleetFile, (began_ms, now_ms): (i64, i64)) {
    let Some(member) = one.member(FORGIVEN_MS, now_ms) else { return one.is_nothing(now_ms) };
    let key = key_of(one, &member);
    if *one.key != key {
        one.key = interned(fleets, key, file);
    }
    let tally = fleets.entry(Arc::clone(&one.key)).or_default();
    one.is_now(&member, now_ms);
    one.count(&member, tally, began_ms, now_ms);
}

/// The fleet that a member says. Whoever writes a log can say another with each line: what it said first holds, or series would have no end.
fn key_of(one: &One, member: &Member) -> Key {
    let known = &*one.key;
    let (env, fleet) = (member.env.clone(), member.fleet.clone());
    match known {
        _ if one.has_token => Key { env, fleet },
        Key { fleet: Some(_), .. } => known.clone(),
        Key { env: Some(_), fleet: None } => Key { env: known.env.clone(), fleet },
        Key { env: None, fleet: None } => Key { env, fleet },
    }
}

/// The key of a fleet that has room.
fn interned(fleets: &BTreeMap<Arc<Key>, Tally>, key: Key, file: &FleetFile) -> Arc<Key> {
    if let Some((known, _)) = fleets.get_key_value(&key) {
        return Arc::clone(known);
    }
    if fleets.len() < FLEETS + file.fleets.len() {
        return Arc::new(key);
    }
    let other = Key { env: None, fleet: Some(OTHER.to_owned()) };
    fleets.get_key_value(&other).map_or_else(|| Arc::new(other.clone()), |(known, _)| Arc::clone(known))
}

/// Whether some that are over could go: the half that was heard longest ago. What they told can come again, and who is lost come back.
fn make_room(members: &mut HashMap<Box<str>, One>) -> bool {
    let mut free: Vec<i64> = members.values().filter_map(One::free_ms).collect();
    let middle = free.len().saturating_sub(1) / 2;
    if free.is_empty() {
        return false;
    }
    let (_, until_ms, _) = free.select_nth_unstable(middle);
    members.retain(|_, one| one.free_ms().is_none_or(|came_ms| came_ms > *until_ms));
    true
}

#[cfg(test)]
mod tests;
