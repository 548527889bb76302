//! The latest samples of a run, some seconds a slice.

use crate::hub::trail::slice::{Counted, Slice};

/// Samples of so long are folded into one slice.
const SLICE_MS: i64 = 12_000;

/// How many slices are kept, the latest: a minute where samples are close, else as many samples.
pub(super) const SLICES: usize = 5;

/// Folds a sample, or what is already folded, into the slice of its time; the oldest slice gives way: says what that had.
///
/// Slices are in the order of the lines and not of the clock, which can jump.
pub(super) fn keep(recent: &mut Vec<Slice>, new: &Slice) -> Counted {
    let time = |slice: &Slice| match slice.mark.at_ms() {
        Some(at) => (true, at.div_euclid(SLICE_MS)),
        // Without a clock some lines are a slice.
        None => (false, i64::try_from(slice.mark.seq / 8).unwrap_or(i64::MAX)),
    };
    // The usual: it is the next of the latest.
    if let Some(last) = recent.last_mut().filter(|last| time(last) == time(new) && last.mark.seq < new.mark.seq) {
        last.fold(new);
        return Counted::default();
    }
    match recent.iter().position(|slice| time(slice) == time(new)) {
        Some(at) => {
            if let Some(slice) = recent.get_mut(at) {
                slice.fold(new);
            }
        }
        None => {
            recent.reserve_exact(1);
            recent.push(*new);
        }
    }
    recent.sort_by_key(|slice| slice.mark.seq);
    if recent.len() > SLICES { recent.remove(0).counted() } else { Counted::default() }
}
