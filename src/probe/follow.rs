//! The log sidecar: new lines of a runner's own log files as `RUNNER_LOG` lines.
//!
//! [`Follower`] has no thread and no clock: who sends the lines calls [`Follower::step`] every [`STEP`], which takes a
//! bounded number of bytes and files and never waits for a file that can be had later. Files are looked for by
//! patterns ([`glob`]) and read as they grow ([`tail`]); of a line secrets are masked ([`mask`]), repeats are counted
//! ([`collapse`]), the rest is held to a rate ([`bucket`]). What was left out anywhere is told. Where the lines go, and
//! that vitals go first, is the caller's.

pub mod bucket;
pub mod collapse;
pub mod glob;
pub mod key;
mod known;
pub mod mask;
pub mod read;
pub mod say;
pub mod split;
pub mod tail;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::line::RunId;

use self::known::Known;
use self::say::{Moment, Note, Said, Voice};
use self::tail::{CHUNK_BYTES, CONTEXT_BYTES, Presence, Tail};

/// How often to call [`Follower::step`].
pub const STEP: Duration = Duration::from_millis(250);

/// How often files are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// So much is read at one step.
const STEP_BYTES: usize = 128 * 1024;

/// So many files are open at once.
pub const MOST_OPEN: usize = 16;

/// A file that is gone is read until it has been quiet for so long.
const QUIET_WHEN_GONE: Duration = Duration::from_secs(3);

/// But no longer than this.
const LONGEST_WHEN_GONE: Duration = Duration::from_secs(30);

/// What is followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Patterns of files: see [`glob`].
    pub patterns: Vec<PathBuf>,
}

/// Follows files.
#[derive(Debug)]
pub struct Follower {
    known: Known,
    tails: Vec<Tail>,
    voice: Voice,
    room: Vec<u8>,
    next_look: Duration,
    /// The file that was read last: the others come first.
    turn: usize,
}

impl Follower {
    /// Follows what the settings name, in the lines of this run. Nothing is opened yet.
    #[must_use]
    pub fn new(settings: &Settings, run: RunId) -> Self {
        Self {
            known: Known::new(&settings.patterns),
            tails: Vec::new(),
            voice: Voice::new(run),
            room: vec![0; CHUNK_BYTES + CONTEXT_BYTES],
            next_look: Duration::ZERO,
            turn: 0,
        }
    }

    /// Reads what is new, and gives a line at a time to `emit`, its newline included.
    ///
    /// `now` is of a clock that never steps back, `wall` is what the lines say.
    pub fn step(&mut self, now: Duration, wall: SystemTime, emit: &mut dyn FnMut(&[u8])) {
        let at = Moment { now, wall };
        let voice = &mut self.voice;
        let mut is_quiet = true;
        let mut say = |said: &Said<'_>| {
            is_quiet = false;
            voice.say(said, at, emit);
        };
        if now >= self.next_look {
            self.next_look = now + LOOK_EVERY;
            look(&mut self.known, &mut self.tails, at, &mut say);
        }
        read(&mut self.tails, &mut self.known, &mut self.room, &mut self.turn, now, &mut say);
        self.tails.iter_mut().for_each(|tail| tail.rest(now, &mut say));
        self.tails.retain_mut(|tail| !is_over(tail, now, &mut say));
        if is_quiet {
            self.voice.rest(at, emit);
        }
    }

    /// The next step looks for files, however short ago the last look was.
    pub fn look_again(&mut self) {
        self.next_look = Duration::ZERO;
    }

    /// Whether a file has bytes that were not read yet: more than a step takes, or not in memory.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.tails.iter().any(Tail::is_behind)
    }

    /// Reads what is there, within a step's bounds, and tells all that waits: it was the last time.
    pub fn finish(&mut self, now: Duration, wall: SystemTime, emit: &mut dyn FnMut(&[u8])) {
        let at = Moment { now, wall };
        self.step(now, wall, emit);
        let mut say = |said: &Said<'_>| self.voice.say(said, at, emit);
        for tail in &mut self.tails {
            tail.finish(&mut say);
            tail.give_up(&mut say);
        }
        self.tails.clear();
        self.voice.finish(at, emit);
    }
}

/// Looks which files there are, and opens those that are to be read.
fn look(known: &mut Known, tails: &mut Vec<Tail>, at: Moment, say: &mut dyn FnMut(&Said<'_>)) {
    let looked = known.look(say);
    for tail in tails.iter_mut() {
        match looked.found.iter().find(|found| found.id == tail.id) {
            Some(found) => {
                tail.path.clone_from(&found.path);
                tail.name.clone_from(&found.name);
                tail.presence = Presence::Here;
            }
            None if tail.presence == Presence::Here && known.would_see(&tail.path) => {
                tail.presence = Presence::Gone(at.now);
                let is_replaced = looked.found.iter().any(|found| found.path == tail.path);
                tail.note(if is_replaced { Note::Replaced } else { Note::Removed }, say);
            }
            None => {}
        }
    }
    let mut wanted = known.wanted(looked, at.wall, |id| tails.iter().any(|tail| tail.id == id), say);
    // The newest matter most.
    wanted.sort_by_key(|(found, _)| std::cmp::Reverse(found.written_s));
    let mut unfollowed = 0;
    for (found, from) in wanted {
        if tails.len() >= MOST_OPEN && !close_idle(known, tails, at.now, say) {
            unfollowed += 1;
            continue;
        }
        match Tail::open(&found, from, at.now) {
            Ok(tail) => tails.push(tail),
            Err(error) => known.failed(&found, error, say),
        }
    }
    known.tell_unfollowed(unfollowed, say);
}

/// Makes room for another file. Gives whether there was one to close.
fn close_idle(known: &mut Known, tails: &mut Vec<Tail>, now: Duration, say: &mut dyn FnMut(&Said<'_>)) -> bool {
    let idle = tails.iter().enumerate().filter(|(_, tail)| tail.idle(now) >= LONGEST_WHEN_GONE);
    let Some((at, _)) = idle.max_by_key(|(_, tail)| tail.idle(now)) else { return false };
    let mut tail = tails.swap_remove(at);
    tail.finish(say);
    known.closed(&tail);
    true
}

/// Reads by turns until nothing is left or a step's bytes are used up.
fn read(
    tails: &mut Vec<Tail>,
    known: &mut Known,
    room: &mut [u8],
    turn: &mut usize,
    now: Duration,
    say: &mut dyn FnMut(&Said<'_>),
) {
    let (mut left, mut idle) = (STEP_BYTES, 0);
    while left > 0 && idle < tails.len() {
        *turn = if *turn + 1 < tails.len() { *turn + 1 } else { 0 };
        let Some(tail) = tails.get_mut(*turn) else { return };
        match tail.step(room, now, say) {
            Ok(0) => idle += 1,
            Ok(count) => {
                left = left.saturating_sub(count);
                idle = 0;
            }
            Err(errno) => {
                let mut tail = tails.swap_remove(*turn);
                tail.finish(say);
                known.closed(&tail);
                known.unreadable(tail.id, &tail.name, errno, say);
            }
        }
    }
}

/// Whether a file that is gone was read to its end; what waits of it is told then.
fn is_over(tail: &mut Tail, now: Duration, say: &mut dyn FnMut(&Said<'_>)) -> bool {
    let Presence::Gone(since) = tail.presence else { return false };
    let gone = now.saturating_sub(since);
    let is_over = gone >= LONGEST_WHEN_GONE || (gone >= QUIET_WHEN_GONE && tail.idle(now) >= QUIET_WHEN_GONE);
    if is_over {
        tail.finish(say);
        tail.give_up(say);
    }
    is_over
}
