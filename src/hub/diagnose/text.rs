//! A verdict for a terminal.

use std::io::{self, Write};

use crate::hub::trail::Read;
use crate::hub::trail::came::Set;
use crate::hub::trail::slice::Place;

use super::beside::Beside;
use super::evidence::{Ending, Interval};
use super::units::{at, count, harmless, time};
use super::verdict::{Cited, Confidence, Hue, Other, Said, Verdict};

/// Whether colours are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// None.
    Plain,
    /// ANSI colours.
    Coloured,
}

impl Look {
    /// That of a terminal: colours, unless `NO_COLOR` holds anything. Source: <https://no-color.org>.
    #[must_use]
    pub fn of_terminal(no_color: Option<&std::ffi::OsStr>) -> Self {
        if no_color.is_some_and(|value| !value.is_empty()) { Self::Plain } else { Self::Coloured }
    }

    pub(crate) fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Coloured => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        }
    }
}

pub(crate) const BOLD: &str = "1";
const DIM: &str = "2";

/// The colour of a verdict.
pub(super) const fn colour(hue: Hue) -> &'static str {
    match hue {
        Hue::Calm => "1;32",
        Hue::Trouble(Confidence::High) => "1;31",
        Hue::Trouble(Confidence::Medium) => "1;33",
        Hue::Trouble(Confidence::Low) | Hue::Neutral => "1;34",
    }
}

/// Writes a verdict.
///
/// # Errors
/// What writing gave.
pub fn write(verdict: &Verdict, read: &Read, look: Look, out: &mut impl Write) -> io::Result<()> {
    let cause = look.paint(colour(verdict.hue()), verdict.word());
    writeln!(
        out,
        "{}: {cause} ({} confidence, {} of 100)",
        look.paint(BOLD, &verdict.runner),
        verdict.confidence.name(),
        verdict.score
    )?;
    writeln!(out, "  {}", verdict.about())?;
    writeln!(out, "  {}", trail(verdict))?;
    if let Some(partial) = &read.partial {
        writeln!(out, "  {}", look.paint(BOLD, &format!("PARTIAL: {}", harmless(partial))))?;
    }
    writeln!(out, "  {}", death(verdict))?;
    section("because", &verdict.because, read, look, out)?;
    section("but", &verdict.but, read, look, out)?;
    contributing(&verdict.contributing, read, look, out)?;
    beside(&verdict.beside, look, out)?;
    ruled_out(&verdict.ruled_out, look, out)?;
    if !verdict.change.is_empty() {
        writeln!(out, "  {}", look.paint(BOLD, "change"))?;
        for change in &verdict.change {
            writeln!(out, "    {change}")?;
        }
    }
    Ok(())
}

pub(super) fn trail(verdict: &Verdict) -> String {
    let span = span_ms(verdict).map_or_else(String::new, |span| format!(" over {}", time(span)));
    let mut says = format!("run {}, {}{span}", verdict.run, count(verdict.lines, "line"));
    if verdict.missing_before > 0 {
        says += &format!(", {} before them not there", verdict.missing_before);
    }
    if verdict.missing > 0 {
        says += &format!(", {} between them missing", verdict.missing);
    }
    if verdict.repeats > 0 {
        says += &format!(", {} repeated", verdict.repeats);
    }
    says += &clock(verdict);
    let in_turn = verdict.runs.saturating_sub(verdict.beside.len());
    if in_turn > 1 {
        says += &format!("; the last of {in_turn} runs");
    }
    says
}

/// From its first line to its last. Where the clock was set on the way, the guest's times alone do not tell it.
fn span_ms(verdict: &Verdict) -> Option<i64> {
    let guests = || Some(verdict.last_ms?.saturating_sub(verdict.first_ms?).saturating_sub(verdict.set.total_ms));
    let span = verdict.logged_ms.map(|(first, last)| last.saturating_sub(first)).or_else(guests)?;
    (span >= 0).then_some(span)
}

/// What is to be known of the guest's clock.
fn clock(verdict: &Verdict) -> String {
    let mut says = String::new();
    match verdict.clock_ahead_ms() {
        Some(ahead) if ahead > 0 => says += &format!("; its clock was {} ahead of the log's", time(ahead)),
        // A collector that is late looks the same.
        Some(ahead) => says += &format!("; its clock was {} behind the log's, or its lines came so late", time(-ahead)),
        None => {}
    }
    let set = verdict.set;
    if set != Set::default() {
        let way = if set.total_ms < 0 { "back" } else { "forward" };
        let often = if set.total_ms == set.last_ms { "" } else { ", in all of several times" };
        says += &format!("; its clock was set {way} by {} on the way{often}", time(set.total_ms.saturating_abs()));
    } else if verdict.first_ms.zip(verdict.last_ms).is_some_and(|(first, last)| last < first) {
        says += "; its clock went back on the way";
    }
    says
}

pub(super) fn death(verdict: &Verdict) -> String {
    let last = verdict.ended_ms().map_or_else(|| "an unknown time".to_owned(), at);
    let by = if verdict.logged_ms.is_some() { ", by the log's clock" } else { "" };
    match (verdict.ending, verdict.due_ms()) {
        (Ending::Silence, Some(due)) => {
            let how = match verdict.interval {
                Interval::Told => "when the next was due".to_owned(),
                Interval::Guessed => {
                    format!("when the next was due by the interval of the others, {}", time(verdict.interval_ms))
                }
                Interval::Assumed => {
                    format!(
                        "when the next was due if the interval is {}, which no line tells",
                        time(verdict.interval_ms)
                    )
                }
            };
            format!("fell silent between {last} (the last line) and {} ({how}){by}", at(due))
        }
        (Ending::Silence, None) => format!("fell silent after {last}{by}"),
        (Ending::Alive, due) => {
            format!(
                "its lines go on: the last at {last}, the next is due at {}{by}",
                due.map_or_else(|| "an unknown time".to_owned(), at)
            )
        }
        (Ending::Told(Some(_)), _) => format!("its job, which was told to end, ended at {last}{by}"),
        (Ending::Told(None), _) => format!("was told to stop at {last}{by}"),
        (Ending::Finished { .. }, _) => format!("finished at {last}{by}"),
        (Ending::Orphaned, _) => format!("what started it was gone at {last}{by}"),
        (Ending::Unread, _) => format!("its lines were no longer read at {last}{by}"),
    }
}

fn section(title: &str, said: &[Said], read: &Read, look: Look, out: &mut impl Write) -> io::Result<()> {
    if said.is_empty() {
        return Ok(());
    }
    writeln!(out, "  {}", look.paint(BOLD, title))?;
    for said in said {
        writeln!(out, "    {}{}", said.says, cited(said, read, look))?;
    }
    Ok(())
}

fn contributing(others: &[Other], read: &Read, look: Look, out: &mut impl Write) -> io::Result<()> {
    if !others.is_empty() {
        writeln!(out, "  {}", look.paint(BOLD, "also"))?;
    }
    for other in others {
        write!(out, "    {} ({} of 100)", other.cause.name(), other.score)?;
        let before = if other.because.len() > 1 { "\n      " } else { ": " };
        for said in &other.because {
            write!(out, "{before}{}{}", said.says, cited(said, read, look))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn beside(all: &[Beside], look: Look, out: &mut impl Write) -> io::Result<()> {
    if !all.is_empty() {
        writeln!(out, "  {}", look.paint(BOLD, "beside it"))?;
    }
    for one in all {
        writeln!(out, "    {}", one.says())?;
    }
    Ok(())
}

fn ruled_out(others: &[Other], look: Look, out: &mut impl Write) -> io::Result<()> {
    if !others.is_empty() {
        writeln!(out, "  {}", look.paint(BOLD, "not"))?;
    }
    for (says, causes) in alike(others) {
        writeln!(out, "    {}: {says}", causes.join(", "))?;
    }
    Ok(())
}

/// What speaks against several causes alike is said once; JSON has the lines.
pub(super) fn alike(others: &[Other]) -> Vec<(String, Vec<&'static str>)> {
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    for other in others {
        let says: Vec<&str> = other.because.iter().map(|said| said.says.as_str()).collect();
        let says = says.join("; ");
        match groups.iter_mut().find(|(same, _)| *same == says) {
            Some((_, causes)) => causes.push(other.cause.name()),
            None => groups.push((says, vec![other.cause.name()])),
        }
    }
    groups
}

/// Where a line stood; by its number within its run where it has no place but the source.
pub(super) fn place(read: &Read, place: Place, seq: u64) -> String {
    let says = read.place(place);
    if place.line == 0 { format!("{says} seq={seq}") } else { says }
}

/// The how-manieth line it is where it stood.
pub(super) fn nth(place: Place, seq: u64) -> u64 {
    if place.line == 0 { seq } else { place.line.into() }
}

/// The lines that say so: `[FILE:12-17]`, or `[SERVER seq=12-17]` where they have no place but that.
fn cited(said: &Said, read: &Read, look: Look) -> String {
    let stands = |line: &Cited| harmless(place(read, line.place, line.seq));
    let lines = match said.lines.as_slice() {
        [] => return String::new(),
        [first, last] if first.place.source == last.place.source => {
            format!("{}-{}", stands(first), nth(last.place, last.seq))
        }
        lines => lines.iter().map(stands).collect::<Vec<_>>().join(" "),
    };
    look.paint(DIM, &format!("  [{lines}]"))
}
