//! Answers that are good for a while: no more than so many, whoever asks.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::hub::serve::auth::age;

/// What was answered to which question, and for how long that is good.
#[derive(Debug)]
pub(super) struct Bounded<K, V> {
    most: usize,
    answers: Mutex<HashMap<K, Answer<V>>>,
}

#[derive(Debug)]
struct Answer<V> {
    value: V,
    since: SystemTime,
    good_for: Duration,
}

impl<V> Answer<V> {
    /// Not even while the clock, put back, has not come to its time yet.
    fn is_good(&self, now: SystemTime) -> bool {
        age(self.since, now) < self.good_for
    }
}

impl<K: Clone + Eq + Hash, V: Clone> Bounded<K, V> {
    pub(super) fn new(most: usize) -> Self {
        Self { most, answers: Mutex::new(HashMap::new()) }
    }

    /// The answer to this question, while it is good.
    pub(super) fn get(&self, question: &K, now: SystemTime) -> Option<V> {
        self.answers().get(question).filter(|answer| answer.is_good(now)).map(|answer| answer.value.clone())
    }

    /// Keeps an answer, in place of the one that would be the first to go when there is no room.
    pub(super) fn put(&self, question: K, answer: V, until: SystemTime, now: SystemTime) {
        let Some(good_for) = until.duration_since(now).ok().filter(|left| !left.is_zero()) else { return };
        let mut answers = self.answers();
        if answers.len() >= self.most && !answers.contains_key(&question) {
            answers.retain(|_, answer| answer.is_good(now));
        }
        if answers.len() >= self.most && !answers.contains_key(&question) {
            let left = |answer: &Answer<V>| answer.good_for.saturating_sub(age(answer.since, now));
            let first = answers.iter().min_by_key(|(_, answer)| left(answer)).map(|(question, _)| question.clone());
            first.map(|first| answers.remove(&first));
        }
        answers.insert(question, Answer { value: answer, since: now, good_for });
    }

    /// The answer is not good any more.
    pub(super) fn forget(&self, question: &K) {
        self.answers().remove(question);
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<K, Answer<V>>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn an_answer_is_good_until_its_time() {
        let bounded = Bounded::new(2);
        bounded.put("a", 1, at(10), at(0));
        assert_eq!(
            (bounded.get(&"a", at(9)), bounded.get(&"a", at(10)), bounded.get(&"b", at(0))),
            (Some(1), None, None)
        );
        bounded.put("a", 2, at(20), at(10));
        assert_eq!(bounded.get(&"a", at(10)), Some(2));
        bounded.put("a", 3, at(10), at(10));
        assert_eq!(bounded.get(&"a", at(10)), Some(2), "what is never good takes no room");
        bounded.forget(&"a");
        assert_eq!(bounded.get(&"a", at(10)), None);
    }

    #[test]
    fn a_clock_that_is_put_back_makes_nothing_good_for_longer() {
        let bounded = Bounded::new(2);
        bounded.put("a", 1, at(1060), at(1000));
        assert_eq!(bounded.get(&"a", at(999)), Some(1), "a request that was overtaken");
        assert_eq!(bounded.get(&"a", at(500)), None, "an hour behind, it would be good for an hour more");
    }

    #[test]
    fn the_first_to_go_gives_way() {
        let bounded = Bounded::new(2);
        bounded.put("long", 1, at(30), at(0));
        bounded.put("short", 2, at(10), at(0));
        bounded.put("new", 3, at(20), at(1));
        let held = |question| bounded.get(&question, at(1));
        assert_eq!((held("long"), held("short"), held("new")), (Some(1), None, Some(3)));
    }

    proptest! {
        #[test]
        fn there_are_never_more_and_none_is_stale(puts in prop::collection::vec((0..40_u64, 0..30_u64), 0..200)) {
            let bounded = Bounded::new(8);
            for (now, (question, good_for)) in puts.into_iter().enumerate() {
                let now = at(now as u64);
                bounded.put(question, now, now + Duration::from_secs(good_for), now);
                prop_assert!(bounded.answers().len() <= 8);
                prop_assert_eq!(bounded.get(&question, now).is_some_and(|put| put == now), good_for > 0 );
            }
        }
    }
}
