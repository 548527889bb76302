//! A group that was killed at once: each of its processes has a line, and the last of them is a bystander.

use crate::hub::trail::happening::What;
use crate::hub::trail::slice::Mark;

use super::super::super::evidence::Evidence;
use super::Victim;
use super::counters::is_together;

/// The lines of one kill of a group.
#[derive(Debug)]
pub(super) struct Group<'e> {
    /// The first that is there.
    pub(super) first: Mark,
    largest: Option<(&'e str, u32)>,
}

/// Finds those around its last line. Of many kills only the latest are kept; the kernel's own table of processes, which is told with the
/// first, has the largest all the same.
pub(super) fn of<'e>(evidence: &Evidence<'e>, last: Mark, group: &str) -> Group<'e> {
    let around = || evidence.life.happenings.iter().filter(|one| is_together(one.mark, last));
    let is_kill = |what: &What| matches!(what, What::Kill { cgroup, .. } if cgroup.as_ref() == group);
    let largest = around().filter_map(|one| match &one.what {
        What::Kill { victim, rss_kb, cgroup, .. } if cgroup.as_ref() == group => Some((victim.as_ref(), (*rss_kb)?)),
        What::Largest { comm, rss_kb } => Some((comm.as_ref(), u32::try_from(*rss_kb).ok()?)),
        _ => None,
    });
    Group {
        first: around().find(|one| is_kill(&one.what)).map_or(last, |one| one.mark),
        largest: largest.max_by_key(|(_, rss_kb)| *rss_kb),
    }
}

impl<'e> Group<'e> {
    /// It, in the place of the one that was told last.
    pub(super) fn largest(&self, told: &Victim<'e>) -> Option<Victim<'e>> {
        let (comm, rss_kb) = self.largest?;
        Some(Victim { comm, rss_kb: Some(rss_kb), ..*told })
    }
}
