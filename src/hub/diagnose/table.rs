//! `--all`: a row a life, by the time of its end, and how many ended how.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::num::NonZero;
use std::thread;

use crate::hub::trail::{Read, Runner};

use super::cause::Cause;
use super::clock::Clock;
use super::text::{BOLD, Look, colour};
use super::units::{at, count, harmless};
use super::verdict::{self, Confidence, Hue, Verdict};

/// Runners that are worth a thread.
const SHARE: usize = 1000;

/// What is kept of a verdict for its row.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) last_ms: Option<i64>,
    pub(super) runner: String,
    pub(super) cause: Cause,
    pub(super) word: &'static str,
    pub(super) about: &'static str,
    pub(super) is_alive: bool,
    pub(super) confidence: Confidence,
    pub(super) hue: Hue,
    pub(super) score: i64,
    pub(super) says: String,
}

/// The rows.
#[derive(Clone, Debug, Default)]
pub struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// Judges them all, many on several CPUs.
    #[must_use]
    pub fn of(runners: &[Runner], clock: &Clock) -> Self {
        let cpus = thread::available_parallelism().map_or(1, NonZero::get);
        let share = runners.len().div_ceil(cpus).max(SHARE);
        let rows = |share: &[Runner]| -> Vec<Row> {
            share.iter().filter_map(|runner| verdict::judge(runner, clock)).map(|verdict| Row::of(&verdict)).collect()
        };
        let mut shares = runners.chunks(share);
        let own = shares.next().unwrap_or_default();
        thread::scope(|scope| {
            let start = |share| thread::Builder::new().spawn_scoped(scope, move || rows(share)).map_err(|_| share);
            let others: Vec<_> = shares.map(start).collect();
            let mut all = rows(own);
            for other in others {
                all.extend(match other {
                    Ok(other) => other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                    // There was no thread to be had.
                    Err(share) => rows(share),
                });
            }
            Self { rows: all }
        })
    }

    /// Takes a verdict.
    pub fn push(&mut self, verdict: &Verdict) {
        self.rows.push(Row::of(verdict));
    }

    /// The rows, by the time of death.
    pub(super) fn rows(&mut self) -> &[Row] {
        self.rows.sort_by(|a, b| (a.last_ms, &a.runner).cmp(&(b.last_ms, &b.runner)));
        &self.rows
    }

    /// Writes the rows and the totals.
    ///
    /// # Errors
    /// What writing gave.
    pub fn write(mut self, read: &Read, look: Look, out: &mut impl Write) -> io::Result<()> {
        let rows = self.rows();
        let longest = rows.iter().map(|row| row.runner.chars().count()).max().unwrap_or(0).min(60);
        for row in rows {
            let time = row.last_ms.map_or_else(|| "-".to_owned(), at);
            let cause = look.paint(colour(row.hue), &format!("{:<14}", row.word));
            let confidence = row.confidence.name();
            writeln!(
                out,
                "{time:<24}  {:<longest$}  {cause}  {confidence:<6} {:>3}  {}",
                row.runner, row.score, row.says
            )?;
        }
        writeln!(out, "\n{}", look.paint(BOLD, &heading(rows)))?;
        for (word, about, count) in totals(rows) {
            writeln!(out, "{count:>7}  {word:<14}  {about}")?;
        }
        if let Some(partial) = &read.partial {
            writeln!(out, "{}", look.paint(BOLD, &format!("PARTIAL: {}", harmless(partial))))?;
        }
        Ok(())
    }
}

impl Row {
    fn of(verdict: &Verdict) -> Self {
        Self {
            last_ms: verdict.ended_ms(),
            runner: verdict.runner.clone(),
            cause: verdict.cause,
            word: verdict.word(),
            about: verdict.about(),
            is_alive: verdict.is_alive(),
            confidence: verdict.confidence,
            hue: verdict.hue(),
            score: verdict.score,
            says: verdict.because.first().map_or_else(String::new, |said| said.says.clone()),
        }
    }
}

/// How many runners there are, how many lives they had, and how many of these did not end.
pub(super) fn heading(rows: &[Row]) -> String {
    let alive = rows.iter().filter(|row| row.is_alive).count();
    let names: BTreeSet<&str> = rows.iter().map(|row| row.runner.as_str()).collect();
    let mut says = count(names.len() as u64, "runner");
    if names.len() < rows.len() {
        says = format!("{} lives of {says}", rows.len());
    }
    if alive == 0 { says } else { format!("{says}, {alive} of them alive") }
}

/// How many died of what, the most first: the word, what it means, the count. A job that failed is another end than one that did not.
pub(super) fn totals(rows: &[Row]) -> Vec<(&'static str, &'static str, usize)> {
    let mut totals: BTreeMap<(Cause, &'static str, &'static str), usize> = BTreeMap::new();
    for row in rows {
        *totals.entry((row.cause, row.word, row.about)).or_default() += 1;
    }
    let mut totals: Vec<_> = totals.into_iter().collect();
    totals.sort_by(|(a, a_count), (b, b_count)| b_count.cmp(a_count).then(a.cmp(b)));
    totals.into_iter().map(|((_, word, about), count)| (word, about, count)).collect()
}
