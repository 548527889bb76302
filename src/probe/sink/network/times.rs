//! When each entry in Loki was: what its line says, or the server's time where this guest's clock is off.
//!
//! Somebody may set the guest's clock at any moment, so a line's own time is held against when the line came by a clock that
//! nobody sets, and that against one moment at which both this and the server's clock are known. Then a line from before the
//! clock was set is put right, and one from behind it is left as it is, whenever they are sent. Pure.
//!
//! The clock that nobody sets stands still while a guest is paused. So the server's, as it is known from before, is behind by that
//! until the server answers again, and the first push gets times of before the pause though its lines say the right ones. Where
//! that is refused it is settled anew with what the answer told, once. A line's own time is then right when it is so by what was
//! known before the pause, or by what is known behind it. Of a guest whose clock was wrong, or stood still too, nobody can tell on
//! which side of the pause a line came: it is put behind it. What a server has taken of a push that it refused comes twice then.

use std::time::{Duration, SystemTime};

/// A clock that is off by less is left as it is: `Date` has whole seconds, and is as old as its way was long.
const TOLERATED: Duration = Duration::from_secs(5);

/// A clock that steps back by more than this takes the stream along.
const STEP_BACK_NS: u64 = 60_000_000_000;

/// A line's time goes no further: below it the entry is numbered.
const MS_NS: u64 = 1_000_000;

/// The last moment that Loki knows: it has nanoseconds in 63 bits.
const LAST_NS: u64 = i64::MAX as u64;

/// The server's clock at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ServerTime {
    /// Its time.
    pub(super) wall: SystemTime,
    /// The same moment by the clock that tells when lines came.
    pub(super) at: Duration,
}

/// What is known of the server's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ServerClock {
    latest: Option<ServerTime>,
    /// The last one from which the latest was off, this guest having been paused between them; and until when lines came of
    /// which it is not known on which side they are.
    before: Option<(ServerTime, Duration)>,
}

/// The times of a stream's entries.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    newest_ns: Option<u64>,
    entries: u64,
}

impl ServerTime {
    /// The server's time at another moment of that clock.
    fn at(self, moment: Duration) -> SystemTime {
        let time = match moment.checked_sub(self.at) {
            Some(since) => self.wall.checked_add(since),
            None => self.wall.checked_sub(self.at.saturating_sub(moment)),
        };
        time.unwrap_or(self.wall)
    }

    fn is_off(self, other: Self) -> bool {
        apart(self.at(other.at), other.wall) > TOLERATED
    }
}

impl ServerClock {
    pub(super) const fn is_known(self) -> bool {
        self.latest.is_some()
    }

    /// Takes what the server told, and what the guest's own clock was then.
    pub(super) fn learn(&mut self, told: ServerTime, own: SystemTime) {
        if let Some(before) = self.latest.replace(told).filter(|before| before.is_off(told)) {
            // Where the guest's own clock stood still too, what was right before the pause is said behind it as well.
            self.before = (apart(own, told.wall) <= TOLERATED).then_some((before, told.at));
        }
    }

    /// Whether what was settled when this much was known would be settled otherwise now.
    pub(super) fn has_moved_since(self, then: Self) -> bool {
        self.latest.zip(then.latest).is_some_and(|(latest, then)| then.is_off(latest))
    }

    /// When a line was that came at this moment, and says that.
    fn time(self, came: Duration, said: Option<SystemTime>, now: SystemTime) -> SystemTime {
        let is_right = |server: ServerTime| said.is_some_and(|said| apart(said, server.at(came)) <= TOLERATED);
        let was_right = self.before.is_some_and(|(before, until)| came <= until && is_right(before));
        match self.latest {
            Some(latest) if !is_right(latest) && !was_right => latest.at(came),
            latest => said.or(latest.map(|latest| latest.at(came))).unwrap_or(now),
        }
    }
}

impl Times {
    /// When each line of a batch was, once and for all, in nanoseconds since 1970: distinct, and ascending unless a clock was
    /// set back. With each line comes the moment at which it came. `now` is for one that nobody knows the time of.
    pub(super) fn of<'l>(
        &mut self,
        lines: impl Iterator<Item = (Duration, &'l [u8])>,
        clock: ServerClock,
        now: SystemTime,
    ) -> Vec<u64> {
        lines.map(|(came, line)| self.next(clock.time(came, time_of(line), now))).collect()
    }

    /// What comes from now on need not be behind what was: the server's clock has moved.
    pub(super) const fn begin_anew(&mut self) {
        self.newest_ns = None;
    }

    /// Every entry has a number in place of what a millisecond is divided into: so those that were once are never again,
    /// though a clock runs through the same time twice.
    fn next(&mut self, time: SystemTime) -> u64 {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let ns = u64::try_from(since.as_nanos()).unwrap_or(LAST_NS).min(LAST_NS);
        let ns = ns / MS_NS * MS_NS + self.entries % MS_NS;
        self.entries += 1;
        let newest = self.newest_ns.filter(|newest| ns.saturating_add(STEP_BACK_NS) >= *newest);
        *self.newest_ns.insert(newest.map_or(ns, |newest| ns.max(newest.saturating_add(1))))
    }
}

fn apart(one: SystemTime, other: SystemTime) -> Duration {
    one.duration_since(other).unwrap_or_else(|error| error.duration())
}

/// The time that a line begins with, behind its tag.
fn time_of(line: &[u8]) -> Option<SystemTime> {
    let word = line.split(|byte| *byte == b' ').nth(1)?;
    let text = std::str::from_utf8(word.strip_prefix(b"ts=")?).ok()?;
    humantime::parse_rfc3339(text).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Noon of a day in ns.
    const NOON_NS: u64 = 1_780_574_400_000_000_000;

    fn at_s(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    fn noon() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(NOON_NS)
    }

    fn clock(latest: Option<ServerTime>) -> ServerClock {
        ServerClock { latest, before: None }
    }

    fn line(time: &str) -> Vec<u8> {
        format!("RUNNER_VITALS ts=2026-06-04T{time}Z run=k3x9 seq=1\n").into_bytes()
    }

    /// The times of lines that came at these seconds and say these times; in seconds behind noon.
    fn seconds(lines: &[(u64, &str)], server: Option<ServerTime>) -> Vec<i64> {
        seconds_by(lines, clock(server))
    }

    fn seconds_by(lines: &[(u64, &str)], clock: ServerClock) -> Vec<i64> {
        let lines: Vec<(Duration, Vec<u8>)> = lines.iter().map(|(came, time)| (at_s(*came), line(time))).collect();
        let lines = lines.iter().map(|(came, line)| (*came, line.as_slice()));
        let times = Times::default().of(lines, clock, SystemTime::UNIX_EPOCH);
        let s = |ns: u64| i64::try_from(ns / 1_000_000_000).unwrap() - i64::try_from(NOON_NS / 1_000_000_000).unwrap();
        times.into_iter().map(s).collect()
    }

    #[test]
    fn times_are_the_lines_own_and_distinct() {
        let mut times = Times::default();
        let lines = ["12:00:00.000", "12:00:00.000", "12:00:00.001", "11:59:59.000"].map(line);
        let of = times.of(lines.iter().map(|line| (at_s(1), line.as_slice())), clock(None), SystemTime::UNIX_EPOCH);
        let behind_noon: Vec<u64> = of.iter().map(|at| at - NOON_NS).collect();
        assert_eq!(behind_noon, [0, 1, 1_000_002, 1_000_003], "ascending, and a clock is tolerated");
        let back = times.of([(at_s(1), &line("11:00:00.000")[..])].into_iter(), clock(None), SystemTime::UNIX_EPOCH);
        assert_eq!(NOON_NS - back[0], 3_600_000_000_000 - 4, "the clock was set back");
    }

    #[test]
    fn a_clock_that_is_off_is_put_right() {
        let server = Some(ServerTime { wall: noon(), at: at_s(100) });
        for (time, expected) in [("12:00:05.000", 5), ("11:59:55.000", -5), ("12:00:05.001", 0), ("11:00:00.000", 0)] {
            assert_eq!(seconds(&[(100, time)], server), [expected], "{time}");
        }
        assert_eq!(seconds(&[(70, "13:00:00.000"), (130, "13:01:00.000")], server), [-30, 30]);
    }

    /// Each is put right by what the clock was when it came, not by what it is when it is sent.
    #[test]
    fn a_clock_that_is_set_while_lines_wait_is_put_right_on_both_sides() {
        let server = |at| Some(ServerTime { wall: noon() + at_s(at), at: at_s(100 + at) });
        let lines = [(101, "13:00:01.000"), (102, "13:00:02.000"), (103, "12:00:03.000"), (104, "10:00:04.000")];
        for asked_at in [0, 2, 60] {
            assert_eq!(seconds(&lines, server(asked_at)), [1, 2, 3, 4], "asked {asked_at} s behind noon");
        }
    }

    /// An hour between the seconds 102 and 103 of the clock that nobody sets.
    #[test]
    fn behind_a_pause_lines_keep_the_times_that_were_right_before_or_behind_it() {
        let told = |wall_s, at| ServerTime { wall: noon() + at_s(wall_s), at: at_s(at) };
        let mut clock = ServerClock::default();
        clock.learn(told(0, 100), noon());
        let (before, mut stood_still) = (clock, clock);
        let lines =
            [(102, "12:00:02.000"), (103, "13:00:03.000"), (104, "15:00:04.000"), (105, "12:00:05.000"), (106, "")];
        assert_eq!(seconds_by(&lines[..2], clock), [2, 3], "nobody has told it yet");
        clock.learn(told(3604, 104), noon() + at_s(3603));
        assert!(clock.has_moved_since(before) && !clock.has_moved_since(clock));
        assert_eq!(seconds_by(&lines, clock), [2, 3603, 3604, 3605, 3606]);
        clock.learn(told(3607, 106), noon() + at_s(3607));
        assert_eq!(seconds_by(&lines, clock), [2, 3603, 3605, 3606, 3607], "a second off, as `Date` is");
        stood_still.learn(told(3604, 104), noon() + at_s(4));
        assert_eq!(seconds_by(&lines, stood_still), [3602, 3603, 3604, 3605, 3606], "what it says is no help");
    }

    #[test]
    fn a_clock_that_is_off_as_date_is_has_not_moved() {
        let told = |wall_s, at| ServerTime { wall: noon() + at_s(wall_s), at: at_s(at) };
        let mut clock = ServerClock::default();
        assert!(!clock.is_known());
        clock.learn(told(0, 100), noon());
        let then = clock;
        assert!(!then.has_moved_since(ServerClock::default()), "nothing was settled by it");
        for (wall_s, at, expected) in [(10, 110, false), (15, 110, false), (16, 110, true), (4, 110, true)] {
            let mut clock = clock;
            clock.learn(told(wall_s, at), noon() + at_s(wall_s));
            assert_eq!((clock.has_moved_since(then), clock.before.is_some()), (expected, expected));
        }
    }

    #[test]
    fn a_stream_that_begins_anew_may_go_back() {
        let mut times = Times::default();
        let mut of = |time: &str| {
            times.begin_anew();
            times.of([(at_s(1), &line(time)[..])].into_iter(), clock(None), SystemTime::UNIX_EPOCH)[0]
        };
        assert!(of("12:00:30.000") > of("12:00:01.000"));
    }

    #[test]
    fn a_line_without_a_time_is_of_when_it_came_else_of_now() {
        let server = Some(ServerTime { wall: noon(), at: at_s(100) });
        for text in ["RUNNER_VITALS ts= run=k3x9 seq=1\n", "", "x", "RUNNER_VITALS ts=é\n", "\n"] {
            let of = |server, now| Times::default().of([(at_s(99), text.as_bytes())].into_iter(), clock(server), now);
            assert_eq!(of(None, noon()), [NOON_NS], "{text:?}");
            assert_eq!(of(server, SystemTime::UNIX_EPOCH), [NOON_NS - 1_000_000_000], "{text:?}");
        }
        let before_1970 = SystemTime::UNIX_EPOCH - at_s(9);
        assert_eq!(Times::default().of([(at_s(0), &b"x"[..])].into_iter(), clock(None), before_1970), [0]);
    }

    /// A clock that is set back runs through the same milliseconds again.
    #[test]
    fn times_are_distinct_though_a_clock_is_set_back() {
        let mut times = Times::default();
        let day = ["12:00:00.000", "12:00:00.001", "11:00:00.000", "12:00:00.000", "11:00:00.000", "12:00:00.000"];
        let lines = day.map(line);
        let of = times.of(lines.iter().map(|line| (at_s(1), line.as_slice())), clock(None), SystemTime::UNIX_EPOCH);
        assert_eq!(of.iter().collect::<BTreeSet<_>>().len(), day.len(), "{of:?}");
    }

    proptest! {
        #[test]
        fn any_lines_have_distinct_times(
            lines in proptest::collection::vec((any::<u64>(), "(RUNNER_VITALS )?(ts=)?(\\PC{0,30}|[0-3][0-9]{3}-0[1-9]-[0-2][1-8]T00:00:0[0-9]Z)"), 0..40),
            server in proptest::option::of((0..u64::MAX, any::<u64>())),
        ) {
            let server = server.map(|(wall_ns, at_ns)| ServerTime {
                wall: SystemTime::UNIX_EPOCH + Duration::from_nanos(wall_ns), at: Duration::from_nanos(at_ns),
            });
            let of = lines.iter().map(|(came_ns, text)| (Duration::from_nanos(*came_ns), text.as_bytes()));
            let times = Times::default().of(of, clock(server), SystemTime::now());
            prop_assert_eq!(times.len(), lines.len());
            prop_assert_eq!(times.iter().collect::<BTreeSet<_>>().len(), lines.len());
        }
    }
}
