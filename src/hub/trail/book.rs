//! The lines of many runners, told apart and kept, each run in bounded room.

mod handed;
mod met;
mod names;
mod times;

pub use met::{Broken, Counts, Read};
pub(super) use times::at_ms;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::line::scan::{Found, Scanner};
use crate::line::{Line, RunId, field};

use super::crowd::Crowds;
use super::done;
use super::film::Film;
use super::join::{self, Twins};
use super::kept::{self, Kept};
use super::life::Life;
use super::possible::{self, Impossible};
use super::rests::Rests;
use super::runners::{self, Closed, Runner};
use super::slice::{self, Mark, Place, Slice};
use super::tail::Tail;
use super::text;
use names::Names;
use times::received_ms;

/// How many broken lines are named; all are counted.
const BROKEN_NAMED: usize = 20;

/// What a collector says of where a line comes from: a Pod. It is the collector's word and not the guest's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
pub struct Origin(pub(super) u32);

/// Who wrote a line. A runner that names itself is kept apart from what others say under the same run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
pub(super) struct Writer {
    pub(super) origin: Origin,
    /// `runner.name` of the line, 0 where it has none.
    pub(super) name: u32,
    #[serde(with = "kept::run_id")]
    pub(super) run: RunId,
    /// Which of the runs of that name, where only their files tell them apart.
    pub(super) twin: u16,
}

/// All that was read.
#[derive(Debug, Default)]
pub struct Book {
    /// What was met.
    pub counts: Counts,
    /// The first broken lines.
    pub broken: Vec<Broken>,
    /// The first line that has our tag and is no line of ours.
    pub first_mention: Option<Place>,
    /// What could not be read, and why, where it is known that there is more.
    pub partial: Option<String>,
    pub(super) sources: Vec<String>,
    /// Broken lines of ours by their source.
    pub(super) broken_in: HashMap<u32, u64>,
    /// Sources that could not be read to their ends.
    pub(super) cut: HashSet<u32>,
    pub(super) lives: HashMap<Writer, Kept>,
    /// How many of them were opened since they were last looked through, and how many had to stay open then.
    pub(super) opened: usize,
    left_open: usize,
    pub(super) names: Names,
    twins: Twins,
    pub(super) crowds: Crowds,
    pub(super) rests: Rests,
    scanner: Scanner,
    /// Where lines go in place of the lives, when they are read once more.
    film: Option<Film>,
    /// Where lines go in place of the lives, when they are handed on.
    tail: Option<Tail>,
    /// Phase lines are kept together by runner.
    keeps_stages: bool,
}

/// The rows of the texts that a sample can hold.
static NAME_ROW: LazyLock<Option<usize>> = LazyLock::new(|| row(field::RUNNER_NAME));
static OFFSET_ROW: LazyLock<Option<usize>> = LazyLock::new(|| row(field::CLOCK_OFFSET));
static STATE_ROW: LazyLock<Option<usize>> = LazyLock::new(|| row(field::AGENT_STATE));

fn row(of: &field::Field) -> Option<usize> {
    field::ALL.iter().position(|field| field.key == of.key)
}

impl Book {
    /// A source by the name that a person knows it by; the places of its lines carry the number.
    pub fn source(&mut self, name: &str) -> u32 {
        self.sources.push(name.to_owned());
        u32::try_from(self.sources.len() - 1).unwrap_or(u32::MAX)
    }

    /// What a source is called.
    #[must_use]
    pub fn source_name(&self, source: u32) -> &str {
        usize::try_from(source).ok().and_then(|at| self.sources.get(at)).map_or("?", String::as_str)
    }

    /// A book that keeps the phase lines of a runner together, as the stages of its life, and not each as a run of its own.
    #[must_use]
    pub fn of_stages() -> Self {
        Self { keeps_stages: true, ..Self::default() }
    }

    /// The number of an origin. What is longer than any Pod's name is none.
    pub fn origin(&mut self, label: Option<&str>) -> Origin {
        let label = label.filter(|label| (1..=text::LABEL_BYTES).contains(&label.len()));
        Origin(label.map_or(0, |label| self.names.number(label)))
    }

    /// Takes a line of which nobody says when it came.
    pub fn take(&mut self, line: &[u8], origin: Origin, place: Place) {
        self.take_at(line, origin, place, None);
    }

    /// Takes what stands in a line behind what runtimes and collectors put before it; `came_ms` is when they say that it came,
    /// milliseconds since 1970.
    pub fn take_at(&mut self, line: &[u8], origin: Origin, place: Place, came_ms: Option<i64>) {
        match std::str::from_utf8(line) {
            Ok(text) if self.tail.is_some() => self.tail_text(text, origin, place),
            Ok(text) if self.film.is_some() => self.film_text(text, origin, place),
            Ok(text) => self.take_text(text, origin, place, came_ms.or_else(|| received_ms(text))),
            Err(error) => {
                self.rests.take(line, origin, place);
                self.is_broken(place, format!("byte {}: not UTF-8", error.valid_up_to()));
            }
        }
    }

    /// Takes a line of a log that has the tag somewhere behind its beginning: somebody said it, or a line of ours is glued to what
    /// another wrote before.
    pub(super) fn mention(&mut self, line: &[u8], origin: Origin, place: Place) {
        self.counts.mentions += 1;
        self.counts.in_json += u64::from(line.first() == Some(&b'{'));
        self.first_mention.get_or_insert(place);
        self.counts.passed_over += 1;
        self.rests.take(line, origin, place);
    }

    fn take_text(&mut self, text: &str, origin: Origin, place: Place, came_ms: Option<i64>) {
        let mut slice = Slice::new(Mark::new(0, None, place));
        let mut name = "";
        let (mut impossible, mut offset_ms) = (None, None);
        let (kept, bounds) = (slice::kept(), possible::bounds());
        let head = self.scanner.sample(text, |row, found| match found {
            Found::Number(value) => {
                if Some(row) == *OFFSET_ROW {
                    offset_ms = Some(value);
                }
                if let Some((kept, (low, high))) = kept.get(row).zip(bounds.get(row)) {
                    slice.keep(*kept, value);
                    if value < *low || value > *high {
                        impossible = field::ALL.get(row).map(|field| Impossible::Reading(field.key));
                    }
                }
            }
            Found::Text(text) if Some(row) == *NAME_ROW => name = text,
            Found::Text(text) if Some(row) == *STATE_ROW => slice.keep_agent_state(text),
            Found::Text(_) => {}
        });
        let Some(head) = head else {
            return match Line::decode(text) {
                Ok(line) => self.take_line(&line, origin, place, came_ms),
                Err(error) => {
                    self.rests.take(text.as_bytes(), origin, place);
                    self.is_broken(place, error.to_string());
                }
            };
        };
        slice.is_at(Mark::new(head.seq, head.at_ms, place));
        let impossible = impossible.or_else(|| possible::between(&slice));
        let life = self.life(origin, name, head.run, slice.mark);
        if let Some(at_ms) = came_ms.or_else(|| slice.mark.at_ms()?.checked_sub(offset_ms?)) {
            life.came(slice.mark, at_ms);
        }
        match impossible {
            None => life.sample(&slice),
            Some(why) => {
                life.impossible(slice.mark);
                self.is_impossible(why, place);
            }
        }
    }

    /// A line that the scanner left to the decoder.
    fn take_line(&mut self, line: &Line<'_>, origin: Origin, place: Place, came_ms: Option<i64>) {
        let mark = Mark::new(line.seq, at_ms(line), place);
        let name = line.text(field::RUNNER_NAME).unwrap_or_default();
        if self.keeps_stages && line.event.as_deref() == Some("phase") {
            return self.stages(origin, name, line, mark).stage(mark, line);
        }
        let slice = line.event.is_none().then(|| Slice::of(mark, line));
        let impossible = possible::reading(line).or_else(|| slice.as_ref().and_then(possible::between));
        let life = self.life(origin, name, line.run, mark);
        if let Some(at_ms) = came_ms.or_else(|| mark.at_ms()?.checked_sub(line.scaled(field::CLOCK_OFFSET)?)) {
            life.came(mark, at_ms);
        }
        match (impossible, slice) {
            (Some(why), _) => {
                life.impossible(mark);
                self.is_impossible(why, place);
            }
            (None, Some(slice)) => life.sample(&slice),
            (None, None) => life.event(mark, line),
        }
    }

    /// It is one that no kernel can have given: its run and its time are all that is taken of it.
    fn is_impossible(&mut self, why: Impossible, place: Place) {
        self.counts.ours -= 1;
        self.is_broken(place, why.to_string());
    }

    fn life(&mut self, origin: Origin, name: &str, run: RunId, mark: Mark) -> &mut Life {
        self.counts.ours += 1;
        let name = text::cut(name, field::RUNNER_NAME);
        let name = if name.is_empty() { 0 } else { self.names.number(name) };
        let mut writer = Writer { origin, name, run, twin: 0 };
        if origin == Origin::default() && name == 0 {
            let lives = &self.lives;
            let fits = |twin| lives.get(&Writer { twin, ..writer }).is_some_and(|kept| join::fits(&kept.life(), mark));
            writer.twin = self.twins.of(run, mark, fits);
        }
        if !self.lives.contains_key(&writer) {
            self.thin_out(Some(writer));
        }
        self.open(writer, mark)
    }

    /// The run that stands for all phase lines of a runner: one that no process drew where it has a name or a Pod, else one for each
    /// boot in each source.
    fn stages(&mut self, origin: Origin, name: &str, line: &Line<'_>, mark: Mark) -> &mut Life {
        self.counts.ours += 1;
        let name = if name.is_empty() { 0 } else { self.names.number(name) };
        let mut writer = Writer { origin, name, run: RunId::NONE, twin: 0 };
        if origin == Origin::default() && name == 0 {
            match line.text(field::BOOT_ID) {
                Some(boot_id) => writer.run = RunId::from_random(u64::from(self.names.number(boot_id)) << 16),
                None => writer.run = line.run,
            }
            writer.twin = u16::try_from(mark.place.source).unwrap_or(u16::MAX);
        }
        self.open(writer, mark)
    }

    /// A run that a line is of.
    fn open(&mut self, writer: Writer, mark: Mark) -> &mut Life {
        // As many as there are, so that those that stay open are not looked at again and again.
        if self.keeps_stages && self.opened >= self.left_open.max(kept::OPENED) {
            self.put_away();
        }
        let kept = match self.lives.entry(writer) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                self.opened += 1;
                new.insert(Kept::new(Life::new(writer, mark)))
            }
        };
        self.opened += usize::from(kept.is_packed());
        kept.open()
    }

    /// Keeps those runs in less room of which no line has come since the last time.
    fn put_away(&mut self) {
        done::let_go(&mut self.lives);
        self.lives.values_mut().for_each(Kept::put_away);
        self.opened = 0;
        self.left_open = self.lives.values().filter(|kept| !kept.is_packed()).count();
    }

    /// Lets runs go where too many have one name: when one more comes, or at the end.
    pub(super) fn thin_out(&mut self, one_more: Option<Writer>) {
        // A fleet's figures are of all runs, also where many guests have one name.
        if self.keeps_stages {
            if one_more.is_none() {
                done::let_go(&mut self.lives);
            }
            return;
        }
        let Self { lives, twins, crowds, .. } = self;
        let unnamed = |writer: Writer| {
            let twin = match writer.origin == Origin::default() {
                true => twins.known(writer.run, lives.get(&writer)?.life().first.place)?,
                false => 0,
            };
            Some(Writer { name: 0, twin, ..writer }).filter(|own| *own != writer && lives.contains_key(own))
        };
        let gone = match one_more {
            Some(writer) => crowds.take(writer, lives, unnamed),
            None => crowds.rest(lives, unnamed),
        };
        for writer in gone {
            lives.remove(&writer);
        }
    }

    /// A line of ours of which a part is there.
    pub(super) fn is_part(&mut self, text: &[u8], origin: Origin, place: Place) {
        self.rests.take(text, origin, place);
        self.is_broken(place, "it is a part of a line, and the rest does not follow".to_owned());
    }

    fn is_broken(&mut self, place: Place, error: String) {
        self.counts.broken += 1;
        *self.broken_in.entry(place.source).or_default() += 1;
        if self.broken.len() < BROKEN_NAMED {
            self.broken.push(Broken { place, error });
        }
    }

    /// All runners, in the order of their names.
    #[must_use]
    pub fn into_runners(self) -> (Vec<Runner>, Read) {
        let (closed, read) = self.into_closed();
        (closed.into_iter().map(Closed::open).collect(), read)
    }

    /// The same, each still to be opened.
    #[must_use]
    pub fn into_closed(mut self) -> (Vec<Closed>, Read) {
        let runners = runners::group(&mut self);
        if self.keeps_stages {
            // Nobody reads a fleet's lines again.
            (self.names, self.twins) = (Names::default(), Twins::default());
        }
        let Self { counts, broken, first_mention, partial, sources, names, twins, .. } = self;
        (runners, Read { counts, broken, first_mention, partial, sources, names, twins })
    }
}
