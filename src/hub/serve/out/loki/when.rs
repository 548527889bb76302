//! When an entry was, and what goes with it: the same on every retry of its line.
//!
//! A retry repeats the line and its sender, and nothing of when it came in. So an entry's time is the line's own `ts` (of a
//! line without one, when it first came in, which is remembered), and is moved only where Loki would refuse it otherwise (ten
//! minutes ahead; an hour behind the stream's newest): then by whole steps, so that a retry a moment later, also through
//! another hub or after a restart, is moved by the same. Only where a step begins between the two it is not. The nanoseconds
//! are the line's number: lines of one millisecond keep their order.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::hub::serve::out::Placed;

/// A guest's clock may be ahead by this: further, and it is surely wrong.
const AHEAD_MS: i64 = 60_000;

/// A line may be this old: it has waited for a network to come back. Loki has 15 more minutes for the retries.
const BEHIND_MS: i64 = 45 * 60_000;

/// By whole ones of these an entry is moved, and never to after it came in.
const STEP_MS: i64 = 5 * 60_000;

/// For so long at least it is remembered when a line came in that is not out.
const REMEMBERED: Duration = Duration::from_mins(10);

/// More lines than all runners can have on their way; a few MiB.
const MOST: usize = 64 * 1024;

/// A line as it is pushed, each time the same.
#[derive(Clone, Debug)]
pub(super) struct Settled {
    pub(super) at_ns: u64,
    /// When it first came in.
    pub(super) recv: String,
    pub(super) placed: Arc<Placed>,
}

/// When lines came in first that are not out: in two ages, the older of which is forgotten at once.
#[derive(Debug)]
pub(super) struct Firsts {
    names: RandomState,
    young: HashMap<u64, SystemTime>,
    old: HashMap<u64, SystemTime>,
    young_since: Option<SystemTime>,
}

/// What becomes of the memory of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    /// It is remembered.
    Kept,
    /// There is no room: a retry of it could be stored twice.
    Full,
}

impl Settled {
    pub(super) fn new(placed: &Arc<Placed>, first: SystemTime) -> Self {
        let at_ns = entry_ns(placed.at.unwrap_or(first), first, seq(&placed.line));
        Self { at_ns, recv: humantime::format_rfc3339_millis(first).to_string(), placed: Arc::clone(placed) }
    }

    /// What belongs to the line and is no label.
    pub(super) fn metadata(&self) -> [(&str, &str); 3] {
        let boot = boot(&self.placed.line).unwrap_or_default();
        [("runner", &self.placed.sender.name), ("boot", boot), ("recv", &self.recv)]
    }

    /// What it takes of a body and of the queue.
    pub(super) fn bytes(&self) -> usize {
        const TIME_AND_METADATA: usize = 160;
        self.placed.line.len() + TIME_AND_METADATA
    }
}

impl Firsts {
    pub(super) fn new() -> Self {
        Self { names: RandomState::new(), young: HashMap::new(), old: HashMap::new(), young_since: None }
    }

    /// When this line first came in, as far as is remembered; it is from now on, until it is out.
    pub(super) fn of(&mut self, placed: &Placed) -> (SystemTime, Memory) {
        let now = placed.received_at;
        let is_over = self.young_since.is_none_or(|since| now.duration_since(since).is_ok_and(|age| age >= REMEMBERED));
        if is_over {
            self.old = std::mem::take(&mut self.young);
            self.young_since = Some(now);
        }
        let name = self.name(placed);
        if let Some(first) = self.young.get(&name).or_else(|| self.old.get(&name)) {
            return (*first, Memory::Kept);
        }
        if self.young.len() + self.old.len() >= MOST {
            return (now, Memory::Full);
        }
        self.young.insert(name, now);
        (now, Memory::Kept)
    }

    /// It is out.
    pub(super) fn forget(&mut self, placed: &Placed) {
        let name = self.name(placed);
        if self.young.remove(&name).is_none() {
            self.old.remove(&name);
        }
    }

    fn name(&self, placed: &Placed) -> u64 {
        self.names.hash_one((&placed.sender.name, &placed.line))
    }
}

/// The time of the entry of a line that says `at`, has this number and came in at `received_at`.
fn entry_ns(at: SystemTime, received_at: SystemTime, seq: u64) -> u64 {
    let (at_ms, received_ms) = (unix_ms(at), unix_ms(received_at));
    let lag_ms = received_ms.saturating_sub(at_ms);
    let is_plausible = (-AHEAD_MS..=BEHIND_MS).contains(&lag_ms);
    let moved_ms = if is_plausible { 0 } else { lag_ms.div_euclid(STEP_MS) * STEP_MS };
    let entry_ms = u64::try_from(at_ms.saturating_add(moved_ms)).unwrap_or(0);
    entry_ms.saturating_mul(1_000_000).saturating_add(seq % 1_000_000)
}

/// Negative before 1970.
fn unix_ms(time: SystemTime) -> i64 {
    let ms = |since: Duration| i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => ms(since),
        Err(before) => -ms(before.duration()),
    }
}

/// The number of a line: the hub writes it fourth.
fn seq(line: &str) -> u64 {
    let word = line.split(' ').nth(3).and_then(|word| word.strip_prefix("seq="));
    word.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The boot that a line is of, where it says so; nothing that could not be one.
fn boot(line: &str) -> Option<&str> {
    const MOST_BYTES: usize = 64;
    let (_, rest) = line.split_once(" boot.id=")?;
    let id = rest.split(' ').next().unwrap_or_default();
    let is_id = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (id.len() <= MOST_BYTES && id.bytes().all(is_id)).then_some(id)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hub::serve::auth::Sender;

    const NOON_MS: u64 = 1_780_574_400_000;

    fn at(ms: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(ms)
    }

    fn placed(name: &str, line: &str, received_ms: u64) -> Placed {
        let sender = Arc::new(Sender { name: name.to_owned(), fleet: None });
        Placed { sender, received_at: at(received_ms), at: Some(at(NOON_MS)), line: line.to_owned() }
    }

    #[test]
    fn a_time_is_the_lines_own_unless_loki_would_not_have_it() {
        const SECOND: i64 = 1000;
        const MINUTE: i64 = 60 * SECOND;
        const HOUR: i64 = 60 * MINUTE;
        // How much later it came in than it says, and by how much it is moved.
        for (lag_ms, moved_ms) in [
            (0, 0),
            (5 * SECOND, 0),
            (-MINUTE, 0),
            (-MINUTE - 1, -5 * MINUTE),
            (-5 * MINUTE, -5 * MINUTE),
            (-5 * MINUTE - 1, -10 * MINUTE),
            (-2 * HOUR, -2 * HOUR),
            (45 * MINUTE, 0),
            (45 * MINUTE + 1, 45 * MINUTE),
            (2 * HOUR + 4 * MINUTE, 2 * HOUR),
        ] {
            let received_at = at(NOON_MS.checked_add_signed(lag_ms).unwrap());
            let expected = NOON_MS.checked_add_signed(moved_ms).unwrap() * 1_000_000 + 41;
            assert_eq!(entry_ns(at(NOON_MS), received_at, 1_000_041), expected, "{lag_ms}");
        }
    }

    #[test]
    fn a_retry_is_of_the_same_time_and_metadata_until_it_is_out() {
        let mut firsts = Firsts::new();
        let line = "RUNNER_VITALS ts=2026-06-04T12:00:00.000Z run=k3x9 seq=41 runner.name=a load1=0.30";
        let mut settled = |name, received_ms| {
            let placed = placed(name, line, received_ms);
            let (first, _) = firsts.of(&placed);
            let settled = Settled::new(&Arc::new(placed), first);
            (settled.at_ns, settled.recv)
        };
        let first = settled("a", NOON_MS + 1000);
        assert_eq!(first, (NOON_MS * 1_000_000 + 41, "2026-06-04T12:00:01.000Z".to_owned()));
        assert_eq!(settled("a", NOON_MS + 9000), first);
        assert_ne!(settled("b", NOON_MS + 9000), first, "another runner's");
        assert_eq!(settled("a", NOON_MS + 900_000), first, "ten minutes at least");
        assert_ne!(settled("a", NOON_MS + 2_400_000), first, "not for ever");
        let again = placed("a", line, NOON_MS + 2_500_000);
        firsts.forget(&again);
        assert_eq!(firsts.of(&again).0, again.received_at);
    }

    #[test]
    fn a_line_without_a_time_is_of_when_it_first_came_in() {
        let mut firsts = Firsts::new();
        let mut settled = |received_ms| {
            let placed = Placed { at: None, ..placed("a", "RUNNER_VITALS ts= run=k3x9 seq=41", received_ms) };
            let (first, _) = firsts.of(&placed);
            Settled::new(&Arc::new(placed), first).at_ns
        };
        assert_eq!(settled(NOON_MS + 1000), (NOON_MS + 1000) * 1_000_000 + 41);
        assert_eq!(settled(NOON_MS + 9000), (NOON_MS + 1000) * 1_000_000 + 41, "also on a retry");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut firsts = Firsts::new();
        for seq in 0..MOST {
            assert_eq!(firsts.of(&placed("a", &seq.to_string(), NOON_MS)).1, Memory::Kept);
        }
        assert_eq!(firsts.of(&placed("a", "one more", NOON_MS)).1, Memory::Full);
        assert_eq!(firsts.of(&placed("a", "7", NOON_MS + 1)), (at(NOON_MS), Memory::Kept));
        let later = NOON_MS + 1_200_000;
        firsts.of(&placed("a", "later", later - 600_000));
        assert_eq!(firsts.of(&placed("a", "one more", later)).1, Memory::Kept);
    }

    #[test]
    fn metadata_is_the_runner_the_boot_where_it_is_said_and_when_it_came() {
        for (line, boot) in [
            ("T ts= run=a seq=1 boot.id=6f1c-2 x=1", "6f1c-2"),
            ("T ts= run=a seq=1 boot.id=6f1c", "6f1c"),
            ("T ts= run=a seq=1 boot.id=", ""),
            ("T ts= run=a seq=1 boot.id=\"a b\"", ""),
            ("T ts= run=a seq=1 msg=x", ""),
        ] {
            let settled = Settled::new(&Arc::new(placed("pod-1", line, NOON_MS)), at(NOON_MS + 5));
            let expected = [("runner", "pod-1"), ("boot", boot), ("recv", "2026-06-04T12:00:00.005Z")];
            assert_eq!(settled.metadata(), expected, "{line}");
        }
    }

    proptest! {
        #[test]
        fn an_entry_is_where_loki_takes_it(at_ms in 0..4_102_444_800_000_u64, received_ms in 1..4_102_444_800_000_u64, seq: u64) {
            let entry_ms = entry_ns(at(at_ms), at(received_ms), seq) / 1_000_000;
            let lag_ms = received_ms.cast_signed() - entry_ms.cast_signed();
            prop_assert!((-AHEAD_MS..=BEHIND_MS).contains(&lag_ms), "{lag_ms}");
        }

        #[test]
        fn lines_of_a_run_are_distinct_and_in_order(ms in 0..4_102_444_800_000_u64, seq in 0..u64::MAX - 1) {
            let entry = |seq| entry_ns(at(ms), at(ms), seq);
            prop_assert!(entry(seq) != entry(seq + 1));
            prop_assert!(entry(seq) < entry(seq + 1) || (seq + 1) % 1_000_000 == 0);
        }

        #[test]
        fn a_retry_of_a_guest_whose_clock_is_right_is_of_the_same_time(
            first_s in 0..2700_u64, again_s in 0..2700_u64, seq: u64,
        ) {
            let received = |after_s: u64| at(NOON_MS + after_s * 1000);
            prop_assert_eq!(entry_ns(at(NOON_MS), received(first_s), seq), entry_ns(at(NOON_MS), received(again_s), seq));
        }

        #[test]
        fn any_line_has_a_number_and_perhaps_a_boot(line in "\\PC*|T ts= run=a seq=[0-9]{0,30}( boot.id=\\PC*)?") {
            let _ = (seq(&line), boot(&line));
        }

        #[test]
        fn no_time_is_too_far(secs in any::<i32>(), received in any::<i32>(), seq: u64) {
            let time = |secs: i32| {
                let since = Duration::from_secs(u64::from(secs.unsigned_abs()) * 100);
                if secs < 0 { SystemTime::UNIX_EPOCH - since } else { SystemTime::UNIX_EPOCH + since }
            };
            let _ = entry_ns(time(secs), time(received), seq);
        }
    }
}
