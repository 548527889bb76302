//! Whether a message of the kernel is of this run. A probe that starts can find older ones in the kernel's ring.

use crate::hub::trail::about::CLOCKS_MS;
use crate::hub::trail::happening::{Happening, What};

use super::evidence::Evidence;

/// Whether it was written while the run was there: by the kernel's own clock where the run's beginning says when the guest
/// booted. Else messages that are read at once from a backlog have kernel times that are far apart, and only the latest stay. What came
/// earlier in the trail says nothing against a message: a clock that was set forward makes every later one look older.
pub(super) fn is_of_this_run(evidence: &Evidence<'_>, one: &Happening) -> bool {
    let Some(kts) = kernel_ms(one) else { return true };
    if let Some(is_of_run) = evidence.about().and_then(|about| about.is_of_run(kts)) {
        return is_of_run;
    }
    let later = evidence.life.happenings.iter().filter(|other| other.mark.seq >= one.mark.seq);
    let earliest = later.filter_map(boot_ms).min();
    boot_ms(one).zip(earliest).is_none_or(|(own, earliest)| own.saturating_sub(earliest) <= CLOCKS_MS)
}

/// When the kernel wrote it, since boot.
fn kernel_ms(one: &Happening) -> Option<i64> {
    match &one.what {
        What::Kill { kts, .. } | What::Kernel { kts, .. } => Some((*kts)?.ms()),
        _ => None,
    }
}

/// When the guest booted, if the message was read as soon as it was written: never later than that.
fn boot_ms(one: &Happening) -> Option<i64> {
    one.mark.at_ms()?.checked_sub(kernel_ms(one)?)
}
