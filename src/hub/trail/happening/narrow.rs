//! Numbers whose absence takes no room.

use std::num::{NonZeroI16, NonZeroU32};

use serde::{Deserialize, Serialize};

/// Seconds of the kernel's clock since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct KernelSeconds(NonZeroU32);

impl KernelSeconds {
    pub(super) fn of(seconds: i64) -> Option<Self> {
        u32::try_from(seconds).ok()?.checked_add(1).and_then(NonZeroU32::new).map(Self)
    }

    /// Milliseconds since boot.
    #[must_use]
    pub fn ms(self) -> i64 {
        (i64::from(self.0.get()) - 1) * 1000
    }
}

/// An `oom_score_adj`: -1000 to 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Adj(NonZeroI16);

impl Adj {
    const ABOVE_ZERO: i16 = 1001;

    pub(super) fn of(adj: i64) -> Option<Self> {
        let adj = i16::try_from(adj).ok().filter(|adj| (-1000..=1000).contains(adj))?;
        NonZeroI16::new(adj + Self::ABOVE_ZERO).map(Self)
    }

    /// As the kernel has it.
    #[must_use]
    pub fn get(self) -> i16 {
        self.0.get() - Self::ABOVE_ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_what_it_was_and_takes_no_more_room_for_being_absent() {
        for seconds in [0, 1, 9_999_999, i64::from(u32::MAX) - 1] {
            assert_eq!(KernelSeconds::of(seconds).map(KernelSeconds::ms), Some(seconds * 1000));
        }
        assert!(KernelSeconds::of(-1).is_none() && KernelSeconds::of(i64::MAX).is_none());
        for adj in [-1000, -1, 0, 1, 1000] {
            assert_eq!(Adj::of(adj).map(|adj| i64::from(adj.get())), Some(adj));
        }
        assert!(Adj::of(1001).is_none() && Adj::of(-1001).is_none());
        assert_eq!((size_of::<Option<KernelSeconds>>(), size_of::<Option<Adj>>()), (4, 2));
    }
}
