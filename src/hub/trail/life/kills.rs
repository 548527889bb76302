//! When the counts of kills moved, as the samples tell that have them.

use super::Life;
use crate::hub::trail::moved::Moved;
use crate::hub::trail::slice::{High, Mark};

/// The counts of kills: of the own cgroup, of its topmost visible ancestor, of the guest.
pub const KILLS: [High; 3] = [High::OomKill, High::TreeOomKill, High::VmOomKill];

/// A sample for each of [`KILLS`].
pub(super) type PerKill = [Option<Mark>; KILLS.len()];

impl Life {
    /// Takes when the counts of kills moved in other samples; these and what it gives are the last samples that have them.
    pub(super) fn keep_kills(&mut self, others: [Option<Moved>; KILLS.len()], others_last: PerKill) -> PerKill {
        let mut last_of = self.last_of_kills();
        for (((own, other), last), others_last) in self.kills.iter_mut().zip(others).zip(&mut last_of).zip(others_last)
        {
            *own = match (*own, other, last.zip(others_last)) {
                (Some(own), Some(other), Some((last, others_last))) => Some(own.with(other, last, others_last)),
                (own, other, _) => own.or(other),
            };
            *last = Mark::later(*last, others_last);
        }
        last_of
    }

    /// The last samples that have the counts of kills.
    pub(super) fn last_of_kills(&self) -> PerKill {
        let unread = self.unread_kills();
        let last = self.last_sample.as_ref().map(|last| last.mark);
        let of = |(moved, unread): (&Option<Moved>, Option<Mark>)| moved.and(unread.or(last));
        let mut all = self.kills.iter().zip(unread).map(of);
        [(); KILLS.len()].map(|()| all.next().flatten())
    }

    /// Keeps those where they are not the last sample.
    pub(super) fn keep_last_of(&mut self, last_of: PerKill) {
        let last_seq = self.last_sample.as_ref().map(|last| last.mark.seq);
        let unread = last_of.map(|mark| mark.filter(|mark| Some(mark.seq) != last_seq));
        if self.unread_kills() != unread {
            self.odd.get_or_insert_default().last_of_kills = unread;
        }
    }

    fn unread_kills(&self) -> PerKill {
        self.odd.as_ref().map_or([None; KILLS.len()], |odd| odd.last_of_kills)
    }
}
