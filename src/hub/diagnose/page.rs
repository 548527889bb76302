//! `--html`: one self-contained page: the verdict, its evidence, charts on a shared axis of time, and the raw lines behind it.
//!
//! No script, nothing from elsewhere: the drawings are SVG made here, and a Content-Security-Policy keeps a browser from loading
//! or running anything, whatever a page holds. What stands in it of a trail is hostile and goes through one function ([`markup`]).
//!
//! # Memory
//! Verdicts are there one at a time, so runners are chosen as they are judged: the [`SECTIONS`] that died last have a section
//! each; of the others a row is kept. Then the input is read a second time for the chosen runs alone ([`crate::hub::trail::film`]),
//! each in at most [`crate::hub::trail::film::REEL_BYTES`] besides its verdict: under 20 MiB in all. Files are opened again; stdin, which
//! cannot be read twice, is copied into a nameless temporary file meanwhile ([`spool`]). With `--all` there is the table alone and one reading.
//! The same input gives the same bytes.

mod axes;
mod charts;
pub(crate) mod curve;
pub(crate) mod draft;
pub(crate) mod frame;
mod index;
pub(crate) mod markup;
mod raw;
mod section;
pub(crate) mod sheet;
pub(super) mod spool;
mod svg;
pub(crate) mod ticks;

use std::io::{self, Write};
use std::path::Path;

use crate::hub::trail::film::{Film, Reel};
use crate::hub::trail::{Read, Runner};

use super::clock::Clock;
use super::evidence::Ending;
use super::table::{self, Table};
use super::verdict::{self, Verdict};
use charts::Tells;
use frame::Numbers;
use markup::Markup;
use sheet::PageError;

/// How many runners have a section each.
pub(super) const SECTIONS: usize = 12;

/// What a page shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Runners with all about them.
    Runners,
    /// A row a runner, and nothing else.
    Table,
}

/// What becomes a page.
#[derive(Debug)]
pub(super) struct Page {
    table: Table,
    /// The runners that died last, by the time of that.
    parts: Vec<Part>,
    most: usize,
}

/// A runner with a section.
#[derive(Debug)]
struct Part {
    verdict: Verdict,
    tells: Tells,
    reel: Reel,
    deaths: Vec<svg::Death>,
}

impl Page {
    /// Judges runners and keeps of them what `shape` shows.
    pub(super) fn of(runners: &[Runner], clock: &Clock, shape: Shape) -> Self {
        let most = if shape == Shape::Table { 0 } else { SECTIONS };
        let mut page = Self { table: Table::default(), parts: Vec::new(), most };
        for runner in runners {
            if let Some(verdict) = verdict::judge(runner, clock) {
                page.push(runner, &verdict);
            }
        }
        page
    }

    fn push(&mut self, runner: &Runner, verdict: &Verdict) {
        self.table.push(verdict);
        if self.most == 0 {
            return;
        }
        let Some(part) = Part::of(runner, verdict) else { return };
        let order = |part: &Part| (part.verdict.ended_ms(), part.verdict.runner.clone());
        let at = self.parts.partition_point(|other| order(other) <= order(&part));
        if at == 0 && self.parts.len() >= self.most {
            return;
        }
        self.parts.insert(at, part);
        if self.parts.len() > self.most {
            self.parts.remove(0);
        }
    }

    /// What a second reading has to find; `None` when none is needed.
    pub(super) fn film(&self) -> Option<Film> {
        let reels: Vec<Reel> = self.parts.iter().map(|part| part.reel.clone()).collect();
        (!reels.is_empty()).then_some(Film { reels })
    }

    /// Writes the page into a file, whole or not at all.
    pub(super) fn write(self, film: Film, read: &Read, path: &Path) -> Result<(), PageError> {
        let written = draft::Draft::beside(path).and_then(|mut draft| {
            self.html(film, read, &mut draft)?;
            draft.keep()
        });
        written.map_err(|error| PageError::Written(path.to_owned(), error))
    }

    /// Writes the page.
    pub(super) fn html(mut self, film: Film, read: &Read, out: &mut impl Write) -> io::Result<()> {
        for (part, reel) in self.parts.iter_mut().zip(film.reels) {
            part.reel = reel;
        }
        let rows = self.table.rows();
        let mut page = Markup::default();
        let title = match self.parts.as_slice() {
            [only] if rows.len() == 1 => format!("{}: {}", only.verdict.runner, only.verdict.word()),
            _ => table::heading(rows),
        };
        sheet::head(&mut page, &title, "", read);
        out.write_all(page.take().as_bytes())?;
        if self.parts.len() == 1 && rows.len() == 1 {
            let lives = self.parts.first().is_some_and(|part| part.verdict.ending == Ending::Alive);
            page.tag("<h1 class=\"title\">");
            page.tag(if lives { "How this runner fares" } else { "What ended this runner" }).tag("</h1>\n");
            out.write_all(page.take().as_bytes())?;
        } else {
            index::write(rows, &self.parts, self.most, out)?;
        }
        let mut numbers = Numbers::default();
        for (nth, part) in (1..).zip(&self.parts) {
            out.write_all(section::section(part, nth, read, &mut numbers).take().as_bytes())?;
        }
        sheet::foot(&mut page, "diagnose", read);
        out.write_all(page.take().as_bytes())
    }
}

impl Part {
    fn of(runner: &Runner, verdict: &Verdict) -> Option<Self> {
        let (_, life) = runner.runs.get(verdict.at)?;
        let axes = axes::axes(life, verdict);
        let cited = verdict
            .because
            .iter()
            .chain(&verdict.but)
            .chain(verdict.contributing.iter().flat_map(|other| &other.because));
        let cited = cited.flat_map(|said| &said.lines).map(|line| line.seq);
        let about = life.about.as_deref();
        let text = |of: Option<&Option<Box<str>>>| of.and_then(Option::as_deref).map(str::to_owned);
        Some(Self {
            verdict: verdict.clone(),
            tells: Tells {
                psi: text(about.map(|about| &about.psi)),
                mem_level: text(about.map(|about| &about.mem_level)),
                throttling: about.is_some_and(|about| about.tells_throttling == Some(true)),
                interval_ms: life.interval_ms().unwrap_or(super::evidence::INTERVAL_MS),
            },
            reel: Reel::new(life, &axes, cited),
            deaths: axes.iter().map(|axis| axes::death(axis, life, verdict)).collect(),
        })
    }
}
