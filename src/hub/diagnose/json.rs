//! A verdict as JSON: `docs/verdict.schema.json` is its schema.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::hub::trail::Read;

use super::beside::Beside;
use super::evidence::{Ending, Interval};
use super::units::{harmless, rfc_3339};
use super::verdict::{Other, Said, Verdict};

/// The version of the schema. A key may be added to it; one that changes or goes is a new version.
pub const SCHEMA_VERSION: u32 = 1;

/// Writes verdicts as one array, as they come.
#[derive(Debug)]
pub struct Array<W> {
    out: W,
    count: u64,
}

impl<W: Write> Array<W> {
    /// Opens it.
    ///
    /// # Errors
    /// What writing gave.
    pub fn open(mut out: W) -> io::Result<Self> {
        out.write_all(b"[")?;
        Ok(Self { out, count: 0 })
    }

    /// Writes a verdict.
    ///
    /// # Errors
    /// What writing gave.
    pub fn push(&mut self, verdict: &Verdict, read: &Read) -> io::Result<()> {
        self.out.write_all(if self.count == 0 { b"\n" } else { b",\n" })?;
        self.count += 1;
        serde_json::to_writer_pretty(&mut self.out, &value(verdict, read)).map_err(io::Error::from)
    }

    /// Closes it.
    ///
    /// # Errors
    /// What writing gave.
    pub fn close(mut self) -> io::Result<()> {
        self.out.write_all(b"\n]\n")
    }
}

/// A verdict.
#[must_use]
pub fn value(verdict: &Verdict, read: &Read) -> Value {
    let time = |ms: Option<i64>| ms.and_then(rfc_3339);
    json!({
        "version": SCHEMA_VERSION,
        "runner": verdict.runner,
        "fleet": verdict.fleet,
        "run": verdict.run,
        "runs": verdict.runs,
        "beside": beside(&verdict.beside),
        "verdict": verdict.cause.name(),
        "about": verdict.about(),
        "confidence": verdict.confidence.name(),
        "score": verdict.score,
        "ending": ending(verdict.ending),
        "job": job(verdict.ending),
        "first_line": time(verdict.first_ms),
        "last_line": time(verdict.last_ms),
        "next_due": time(verdict.next_due_ms),
        "interval": interval(verdict.interval),
        "last_logged": time(verdict.logged_ms.map(|(_, last)| last)),
        "clock_ahead_ms": verdict.clock_ahead_ms(),
        "clock_set_ms": verdict.set.total_ms,
        "lines": verdict.lines,
        "missing_before": verdict.missing_before,
        "missing": verdict.missing,
        "repeats": verdict.repeats,
        "partial": read.partial.as_deref().map(harmless),
        "because": said(&verdict.because, read),
        "but": said(&verdict.but, read),
        "contributing": others(&verdict.contributing, read),
        "ruled_out": others(&verdict.ruled_out, read),
        "change": verdict.change,
    })
}

const fn ending(ending: Ending) -> &'static str {
    match ending {
        Ending::Silence => "silence",
        Ending::Told(_) => "told",
        Ending::Finished { .. } => "finished",
        Ending::Orphaned => "orphaned",
        Ending::Unread => "unread",
        Ending::Alive => "alive",
    }
}

const fn interval(interval: Interval) -> &'static str {
    match interval {
        Interval::Told => "told",
        Interval::Guessed => "guessed",
        Interval::Assumed => "assumed",
    }
}

fn job(ending: Ending) -> Value {
    ending.job().map_or(Value::Null, |(exit, signal)| json!({ "exit": exit, "signal": signal }))
}

fn beside(all: &[Beside]) -> Vec<Value> {
    let one = |one: &Beside| json!({ "run": one.run, "verdict": one.cause.name(), "score": one.score, "last_line": one.last_ms.and_then(rfc_3339) });
    all.iter().map(one).collect()
}

fn said(said: &[Said], read: &Read) -> Vec<Value> {
    let one = |said: &Said| {
        let lines = said.lines.iter().map(
            |line| json!({ "seq": line.seq, "ts": line.at_ms.and_then(rfc_3339), "place": harmless(read.place(line.place)) }),
        );
        json!({ "says": said.says, "lines": lines.collect::<Vec<_>>() })
    };
    said.iter().map(one).collect()
}

fn others(others: &[Other], read: &Read) -> Vec<Value> {
    let one = |other: &Other| json!({ "verdict": other.cause.name(), "score": other.score, "because": said(&other.because, read) });
    others.iter().map(one).collect()
}
