//! What is known of each runner that sent something: what of it is out, how much it sends, when it was last seen.
//!
//! Requests of one runner are brought out one after another, by each way: so a line that comes twice at once is still written
//! once, and acknowledged only when it is out. Runners do not wait for each other, nor one way for another.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;

use super::auth::Sender;
use super::pace::{Bucket, millis};
use super::seen::{Blocks, REMEMBERED, Seen, WAYS};

pub use super::pace::{Pace, TooMuch};

/// Requests of one runner that may wait for one another.
const WAITING: usize = 8;

/// For how long a runner counts as seen.
const RECENT: Duration = Duration::from_mins(5);

/// Fleets that are counted by name; runners of any other are counted as [`OTHER_FLEETS`].
const FLEETS: usize = 50;

/// What the fleets beyond the first are counted as.
pub const OTHER_FLEETS: &str = "other";

/// Every runner that sent something lately.
#[derive(Debug)]
pub struct Runners {
    by_name: Mutex<HashMap<String, Arc<Runner>>>,
    blocks: Blocks,
    pace: Pace,
}

/// One runner.
#[derive(Debug)]
pub struct Runner {
    seen: Mutex<Seen>,
    /// By way: whoever holds it brings lines out there.
    turns: [Arc<tokio::sync::Mutex<()>>; WAYS],
    waiting: AtomicUsize,
    last_ms: AtomicU64,
    bucket: Mutex<Bucket>,
    fleet: Mutex<Option<String>>,
}

/// A request's place among those of its runner; given back when dropped.
#[derive(Debug)]
pub struct Turn(Arc<Runner>);

impl Runners {
    /// Nobody was seen yet.
    #[must_use]
    pub fn new(pace: Pace) -> Self {
        Self { by_name: Mutex::default(), blocks: Blocks::default(), pace }
    }

    /// The runner that this sender is, seen at `now` (from any fixed moment on, as everywhere here).
    pub fn of(&self, sender: &Sender, now: Duration) -> Arc<Runner> {
        let mut by_name = lock(&self.by_name);
        let runner = match by_name.get(&sender.name) {
            Some(runner) => Arc::clone(runner),
            None => {
                let runner = Arc::new(Runner::new(Seen::new(self.blocks.clone()), self.pace, now));
                by_name.insert(sender.name.clone(), Arc::clone(&runner));
                runner
            }
        };
        runner.last_ms.store(millis(now), Ordering::Relaxed);
        let mut fleet = lock(&runner.fleet);
        if *fleet != sender.fleet {
            fleet.clone_from(&sender.fleet);
        }
        drop(fleet);
        runner
    }

    /// Forgets whom nobody has to remember any more.
    pub fn forget_old(&self, now: Duration) {
        let mut by_name = lock(&self.by_name);
        by_name.retain(|_, runner| {
            // What is being served has a second owner, and a new request would need this lock.
            Arc::strong_count(runner) > 1 || runner.age(now) <= REMEMBERED
        });
        for runner in by_name.values() {
            runner.seen().forget_old(now);
        }
    }

    /// How many runners of each fleet sent something in the last five minutes; the fleet that is not known is `""`.
    #[must_use]
    pub fn by_fleet(&self, now: Duration) -> BTreeMap<String, i64> {
        let by_name = lock(&self.by_name);
        let mut counts: BTreeMap<String, i64> = BTreeMap::new();
        for runner in by_name.values().filter(|runner| runner.age(now) <= RECENT) {
            let fleet = lock(&runner.fleet).clone().unwrap_or_default();
            *counts.entry(fleet).or_default() += 1;
        }
        bounded(counts)
    }
}

/// The largest fleets by name, the rest as one.
fn bounded(counts: BTreeMap<String, i64>) -> BTreeMap<String, i64> {
    if counts.len() <= FLEETS {
        return counts;
    }
    let mut by_size: Vec<(String, i64)> = counts.into_iter().collect();
    by_size.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let rest = by_size.split_off(FLEETS).into_iter().map(|(_, count)| count).sum::<i64>();
    let mut named: BTreeMap<String, i64> = by_size.into_iter().collect();
    *named.entry(OTHER_FLEETS.to_owned()).or_default() += rest;
    named
}

impl Runner {
    fn new(seen: Seen, pace: Pace, now: Duration) -> Self {
        Self {
            seen: Mutex::new(seen),
            turns: Default::default(),
            waiting: AtomicUsize::new(0),
            last_ms: AtomicU64::new(millis(now)),
            bucket: Mutex::new(Bucket::full(pace, now)),
            fleet: Mutex::new(None),
        }
    }

    /// What of it is out. Held for a moment only.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }

    /// Waits until nobody else brings lines of this runner out by this way, and lets nobody until it is dropped.
    pub async fn alone_at(&self, way: usize) -> Option<OwnedMutexGuard<()>> {
        Some(Arc::clone(self.turns.get(way)?).lock_owned().await)
    }

    /// A place among this runner's requests. To be had before anything is read of one: what a request costs until its lines
    /// are known is bounded by the places.
    ///
    /// # Errors
    /// When too many of its requests wait already, or the ones before have used up its pace.
    pub fn turn(self: Arc<Self>, pace: Pace, now: Duration) -> Result<Turn, TooMuch> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(TooMuch { wait: Duration::from_secs(1) });
        }
        let turn = Turn(self);
        turn.charge(0, pace, now)?;
        Ok(turn)
    }

    fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(Duration::from_millis(self.last_ms.load(Ordering::Relaxed)))
    }
}

impl Turn {
    /// Whose turn it is.
    #[must_use]
    pub fn runner(&self) -> &Arc<Runner> {
        &self.0
    }

    /// Lets this many lines come, good or bad, or says how long to wait.
    ///
    /// # Errors
    /// When the runner is over its pace.
    pub fn charge(&self, lines: usize, pace: Pace, now: Duration) -> Result<(), TooMuch> {
        lock(&self.0.bucket).take(lines, pace, now)
    }

    /// It was served until now: what is remembered of it is kept from now on.
    pub fn served(&self, now: Duration) {
        self.0.last_ms.fetch_max(millis(now), Ordering::Relaxed);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { a_second: 10, burst: 20 };
    const T0: Duration = Duration::from_secs(100);

    fn sender(name: &str, fleet: &str) -> Sender {
        Sender { name: name.to_owned(), fleet: Some(fleet.to_owned()) }
    }

    #[test]
    fn a_runner_has_a_burst_and_then_its_pace() {
        let runners = Runners::new(PACE);
        let of = |name, lines, at| runners.of(&sender(name, "f"), at).turn(PACE, at)?.charge(lines, PACE, at);
        let take = |lines, at| of("a", lines, at);
        let wait = |ms| Err(TooMuch { wait: Duration::from_millis(ms) });
        assert_eq!(take(20, T0), Ok(()));
        assert_eq!(take(1, T0), wait(100));
        assert_eq!(take(5, T0 + Duration::from_millis(200)), wait(300), "two have come");
        assert_eq!(take(5, T0 + Duration::from_millis(500)), Ok(()));
        assert_eq!(take(21, T0 + Duration::from_secs(900)), wait(100), "never more than the burst");
        assert_eq!(of("b", 20, T0), Ok(()), "another has its own");
    }

    #[test]
    fn only_some_requests_of_a_runner_wait() {
        let runners = Runners::new(PACE);
        let turn = || runners.of(&sender("a", "f"), T0).turn(PACE, T0);
        let mut turns: Vec<Turn> = (0..WAITING).map(|_| turn().unwrap()).collect();
        assert!(turn().is_err());
        turns.pop();
        assert!(turn().is_ok());
    }

    #[test]
    fn who_is_silent_is_forgotten_but_not_while_served() {
        let runners = Runners::new(PACE);
        let served = runners.of(&sender("a", "f"), T0);
        runners.of(&sender("b", "f"), T0);
        let count = || lock(&runners.by_name).len();
        runners.forget_old(T0 + REMEMBERED);
        assert_eq!(count(), 2);
        let later = T0 + REMEMBERED + Duration::from_secs(1);
        runners.forget_old(later);
        assert_eq!(count(), 1);
        drop(served);
        runners.forget_old(later);
        assert_eq!(count(), 0);
    }

    #[test]
    fn fleets_are_counted_and_bounded() {
        let runners = Runners::new(PACE);
        for i in 0..100 {
            runners.of(&sender(&format!("a{i}"), &format!("f{i}")), T0);
            runners.of(&sender(&format!("b{i}"), "big"), T0);
        }
        runners.of(&Sender { name: "c".to_owned(), fleet: None }, T0 + Duration::from_secs(1));
        let counts = runners.by_fleet(T0);
        assert!(counts.len() <= FLEETS + 1);
        assert_eq!((counts["big"], counts.values().sum::<i64>()), (100, 201));
        assert!(counts[OTHER_FLEETS] > 0);
        assert_eq!(runners.by_fleet(T0 + RECENT + Duration::from_secs(1)), BTreeMap::from([(String::new(), 1)]));
    }
}
