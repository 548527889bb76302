//! When to try again: exponential, with full jitter, so that a fleet whose endpoint comes back does not come back at once.
//!
//! Source: <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>.

use std::time::Duration;

/// The bound of the first wait.
pub const FIRST: Duration = Duration::from_millis(500);

/// The bound of every wait, when it has grown so far.
pub const LONGEST: Duration = Duration::from_secs(30);

/// A server may ask for no more patience than this: what waits gives way to what is newer meanwhile, and a slip of a
/// proxy is not to silence a guest for its life.
pub const LONGEST_ASKED: Duration = Duration::from_secs(300);

/// How often something failed in a row, and how long to wait for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// It went well: the next failure is the first again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// How long to wait after one more failure: anything up to the bound, which doubles each time.
    ///
    /// `random` is any number, all as likely. `asked` is what the server asked for, by `Retry-After`: no less is waited
    /// then, [`LONGEST_ASKED`] at most.
    pub fn next(&mut self, random: u64, asked: Option<Duration>) -> Duration {
        let bound = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let bound_us = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
        let jitter = Duration::from_micros(random % bound_us.saturating_add(1));
        asked.map_or(jitter, |asked| asked.min(LONGEST_ASKED).saturating_add(jitter.min(FIRST)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_bound_doubles_up_to_the_longest_and_begins_anew() {
        let mut backoff = Backoff::default();
        let bounds: Vec<u128> = (0..9)
            .map(|_| {
                let at_most = backoff.next(0, None);
                assert_eq!(at_most, Duration::ZERO, "full jitter goes down to nothing");
                let mut same = Backoff { failures: backoff.failures - 1 };
                (0..2000).map(|at| same_failures(&mut same, at * 15_013).as_millis()).max().unwrap()
            })
            .collect();
        for (bound, expected) in bounds.iter().zip([500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]) {
            assert!((expected * 9 / 10..=expected).contains(bound), "{bounds:?}");
        }
        backoff.reset();
        assert!(backoff.next(u64::MAX, None) <= FIRST);
    }

    fn same_failures(backoff: &mut Backoff, random: u64) -> Duration {
        let mut copy = *backoff;
        copy.next(random, None)
    }

    #[test]
    fn what_the_server_asks_for_is_waited_but_not_for_ever() {
        let mut backoff = Backoff::default();
        let second = Duration::from_secs;
        assert_eq!(backoff.next(0, Some(second(7))), second(7));
        assert_eq!(backoff.next(0, Some(Duration::MAX)), LONGEST_ASKED);
    }

    proptest! {
        #[test]
        fn a_wait_keeps_its_bounds(failures in any::<u32>(), random in any::<u64>(), asked_s in any::<Option<u64>>()) {
            let asked = asked_s.map(Duration::from_secs);
            let wait = Backoff { failures }.next(random, asked);
            match asked {
                None => prop_assert!(wait <= LONGEST),
                Some(asked) => prop_assert!(wait >= asked.min(LONGEST_ASKED) && wait <= LONGEST_ASKED + FIRST),
            }
        }
    }
}
