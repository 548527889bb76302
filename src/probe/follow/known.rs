//! Which files there are, and which of them need not be open: old ones, and those that cannot be read.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::io::Errno;

use super::glob::{Budget, Found, Id, Pattern, keep_newest};
use super::read::OpenError;
use super::say::{Note, Said};
use super::tail::Tail;

/// So many closed files are remembered, where more match than one look sees.
const MOST_CLOSED: usize = 4096;

/// A file that was written so shortly before the start has news in it.
const FRESH_S: i64 = 60;

/// Of that, so much.
const FRESH_BYTES: u64 = 32 * 1024;

/// What is known of the files that match.
#[derive(Debug)]
pub(super) struct Known {
    patterns: Vec<Watched>,
    /// Patterns that name no file; told once.
    wrong: Vec<PathBuf>,
    closed: HashMap<Id, Closed>,
    unfollowed: usize,
    /// Names that the last look left out.
    left_out: usize,
}

#[derive(Debug)]
struct Watched {
    pattern: Pattern,
    trouble: Option<Errno>,
    /// Whether every file that matched at the start is known, and any other is a new one.
    knows_all: bool,
    /// Whether the last look found all that match: else one that is missing need not be gone.
    is_whole: bool,
}

/// A file that is not open.
#[derive(Clone, Copy, Debug)]
struct Closed {
    /// Where to go on when it has changed.
    from: u64,
    /// Its size when it was looked at last.
    size: u64,
    /// It was told that it cannot be read.
    is_told: bool,
}

/// What a look found.
#[derive(Debug)]
pub(super) struct Looked {
    /// Each file once.
    pub(super) found: Vec<Found>,
    /// Those that a pattern would know if they had been there at the start.
    pub(super) new: HashSet<Id>,
}

impl Known {
    pub(super) fn new(patterns: &[PathBuf]) -> Self {
        let (mut watched, mut wrong) = (Vec::new(), Vec::new());
        for path in patterns {
            match Pattern::parse(path) {
                Ok(pattern) => watched.push(Watched { pattern, trouble: None, knows_all: false, is_whole: false }),
                Err(_) => wrong.push(path.clone()),
            }
        }
        Self { patterns: watched, wrong, closed: HashMap::new(), unfollowed: 0, left_out: 0 }
    }

    /// Looks which files match now.
    pub(super) fn look(&mut self, say: &mut dyn FnMut(&Said<'_>)) -> Looked {
        for path in self.wrong.drain(..) {
            tell(path.as_os_str(), "the pattern names no file", say);
        }
        let (mut found, mut new, mut budget) = (Vec::new(), HashSet::new(), Budget::LOOK);
        let (mut seen, mut of_patterns) = (HashSet::new(), Vec::with_capacity(self.patterns.len()));
        let count = self.patterns.len();
        for (at, watched) in self.patterns.iter_mut().enumerate() {
            // Else one that a workload can fill, as of /tmp, would leave nothing for those behind it.
            let mut share = budget.share(count - at);
            let ids = watched.look(&mut share, &mut found, &mut seen, say);
            budget.take_back(share);
            if watched.knows_all {
                new.extend(&ids);
            }
            of_patterns.push(ids);
            keep_newest(&mut budget, &mut found);
        }
        self.left_out = budget.left_out;
        let kept: HashSet<Id> = found.iter().map(|found| found.id).collect();
        for (watched, ids) in self.patterns.iter_mut().zip(&of_patterns) {
            watched.is_whole &= ids.iter().all(|id| kept.contains(id));
        }
        self.remember(&kept);
        Looked { found, new }
    }

    /// Whether every pattern that would find a file at this place found all that match.
    pub(super) fn would_see(&self, path: &Path) -> bool {
        self.patterns.iter().all(|watched| watched.is_whole || !watched.pattern.names(path))
    }

    /// Forgets closed files that are gone, and notes of which patterns all files are known now.
    fn remember(&mut self, seen: &HashSet<Id>) {
        let is_whole = self.patterns.iter().all(|watched| watched.is_whole);
        // What is not seen may be beyond the budget of this look; but names can come and go for ever.
        let forgets = is_whole || self.closed.len() > MOST_CLOSED;
        if forgets {
            self.closed.retain(|id, _| seen.contains(id));
        }
        for watched in &mut self.patterns {
            watched.knows_all = watched.is_whole || (watched.knows_all && !forgets);
        }
    }

    /// The files of these that are to be read, and from where.
    pub(super) fn wanted(
        &mut self,
        Looked { found, new }: Looked,
        wall: SystemTime,
        is_open: impl Fn(Id) -> bool,
        say: &mut dyn FnMut(&Said<'_>),
    ) -> Vec<(Found, u64)> {
        let mut wanted = Vec::new();
        for found in found.into_iter().filter(|found| !is_open(found.id)) {
            match self.start(&found, &new, wall) {
                Some(from) if found.is_regular => wanted.push((found, from)),
                Some(_) => self.refuse(&found, "not an ordinary file", say),
                None => {}
            }
        }
        wanted
    }

    /// Where to begin with a file; `None` where there is nothing to read in it.
    fn start(&mut self, found: &Found, new: &HashSet<Id>, wall: SystemTime) -> Option<u64> {
        if let Some(closed) = self.closed.get(&found.id) {
            let is_same = closed.size == found.size || !found.is_regular;
            return (!is_same).then_some(if found.size < closed.size { 0 } else { closed.from });
        }
        if new.contains(&found.id) {
            return Some(0);
        }
        if !found.is_regular || is_fresh(found, wall) {
            return Some(found.size.saturating_sub(FRESH_BYTES));
        }
        self.closed.insert(found.id, Closed { from: found.size, size: found.size, is_told: false });
        None
    }

    /// A file was closed, and may grow again.
    pub(super) fn closed(&mut self, tail: &Tail) {
        let (from, size) = tail.place();
        let is_told = self.closed.get(&tail.id).is_some_and(|closed| closed.is_told);
        self.closed.insert(tail.id, Closed { from, size, is_told });
    }

    /// A file could not be opened.
    pub(super) fn failed(&mut self, found: &Found, error: OpenError, say: &mut dyn FnMut(&Said<'_>)) {
        match error {
            // The next look sees what there is.
            OpenError::Changed | OpenError::Open(Errno::NOENT) => {}
            OpenError::Open(errno) => self.refuse(found, &errno.to_string(), say),
        }
    }

    /// An open file could not be read any more.
    pub(super) fn unreadable(&mut self, id: Id, name: &OsStr, errno: Errno, say: &mut dyn FnMut(&Said<'_>)) {
        let is_told = self.closed.get_mut(&id).is_some_and(|closed| std::mem::replace(&mut closed.is_told, true));
        if !is_told {
            tell(name, &errno.to_string(), say);
        }
    }

    /// Tells how many files are not followed, when there are more than there were.
    pub(super) fn tell_unfollowed(&mut self, too_many: usize, say: &mut dyn FnMut(&Said<'_>)) {
        let unfollowed = too_many + self.left_out;
        if unfollowed > self.unfollowed {
            say(&Said { note: Some(Note::Unfollowed), unfollowed, ..Said::default() });
        }
        self.unfollowed = unfollowed;
    }

    fn refuse(&mut self, found: &Found, why: &str, say: &mut dyn FnMut(&Said<'_>)) {
        let from = self.closed.get(&found.id).map_or(0, |closed| closed.from);
        let was_told = self.closed.get(&found.id).is_some_and(|closed| closed.is_told);
        self.closed.insert(found.id, Closed { from, size: found.size, is_told: true });
        if !was_told {
            tell(&found.name, why, say);
        }
    }
}

impl Watched {
    /// Adds what matches now and was not seen yet. Gives all that matches.
    fn look(
        &mut self,
        budget: &mut Budget,
        found: &mut Vec<Found>,
        seen: &mut HashSet<Id>,
        say: &mut dyn FnMut(&Said<'_>),
    ) -> Vec<Id> {
        let (mut own, left_out_before) = (Vec::new(), budget.left_out);
        let trouble = self.pattern.find(budget, &mut own).err();
        if let (Some(errno), true) = (trouble, trouble != self.trouble) {
            tell(self.pattern.base().as_os_str(), &errno.to_string(), say);
        }
        self.trouble = trouble;
        self.is_whole = trouble.is_none() && budget.left_out == left_out_before;
        let ids = own.iter().map(|found| found.id).collect();
        found.extend(own.into_iter().filter(|found| seen.insert(found.id)));
        ids
    }
}

fn is_fresh(found: &Found, wall: SystemTime) -> bool {
    let now_s = wall.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    found.written_s >= i64::try_from(now_s).unwrap_or(i64::MAX).saturating_sub(FRESH_S)
}

fn tell(file: &OsStr, error: &str, say: &mut dyn FnMut(&Said<'_>)) {
    say(&Said { file: Some(file), note: Some(Note::Unreadable), error: Some(error.to_owned()), ..Said::default() });
}
