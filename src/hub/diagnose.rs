//! `vitals-hub diagnose`: why did this runner die.
//!
//! Trails ([`super::trail`]) become evidence ([`evidence`]), each rule ([`rules`]) says how far that speaks for its cause, and the
//! strongest is the verdict ([`verdict`]), as text ([`text`]), JSON ([`json`]), a row of many ([`table`]) or a page (`page`). All of it is
//! pure: the same trail gives the same bytes, once it is over ([`clock`]). `docs/VERDICTS.md` has the causes, the thresholds and their reasons.

pub mod beside;
pub mod case;
pub mod cause;
pub mod clock;
pub mod ending;
pub mod evidence;
pub mod json;
pub mod rules;
pub mod table;
pub mod text;
pub mod verdict;

mod advice;
mod ailing;
mod averages;
mod confidence;
mod doubts;
pub mod inputs;
mod loki_args;
pub(crate) mod page;
mod ring;
mod signals;
pub(crate) mod units;

use std::io::{self, BufWriter, Read, Write};
use std::path::PathBuf;
use std::time::SystemTime;

use clap::ValueEnum;
use clap::builder::NonEmptyStringValueParser;

use super::trail::film::Film;
use super::trail::loki::question::{OF_ALL, of_runner};
use super::trail::loki::{Fault, Question, Settings};
use super::trail::{self, Book, Runner};
use clock::Clock;
use inputs::{Asked, Bounds, Part};
use page::sheet::{self, PageError};
use page::spool::Spool;
use page::{Page, Shape};
use text::Look;
use units::harmless;

pub use loki_args::LokiArgs;

/// What is diagnosed, and how that is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Trails: logs of Pods, `logcli` output, Loki's JSON, or folders of such; stdin for `-`, and where neither a file
    /// nor Loki is named
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Loki itself.
    #[command(flatten)]
    pub loki: LokiArgs,
    /// Only this runner
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    pub runner: Option<String>,
    /// One row a life, by time of death, and totals by cause; a name that is given to one guest after another has a row for each boot,
    /// and where a boot has one job after another, for each job
    #[arg(long)]
    pub all: bool,
    /// How it is told
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Also a page with charts: one file that needs nothing else; with --all the table alone
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

impl Args {
    /// What Loki is asked for where no query is given: all lines only where all are wanted.
    fn query_in_loki(&self) -> Option<String> {
        match &self.runner {
            Some(name) => Some(of_runner(OF_ALL, name)),
            None => self.all.then(|| OF_ALL.to_owned()),
        }
    }
}

/// How a verdict is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For a terminal.
    Text,
    /// An array of one object a runner; docs/verdict.schema.json
    Json,
}

/// How the program ends, after sysexits(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// It could say something.
    Said,
    /// Nothing in the input is ours, or it could not be read: EX_DATAERR.
    Unusable,
    /// Loki could not be reached: EX_UNAVAILABLE.
    Unavailable,
    /// What it says could not be written: EX_IOERR.
    Unwritten,
    /// A setting is wrong, or Loki does not let in who asks: EX_CONFIG.
    Setting,
}

impl From<Code> for u8 {
    fn from(code: Code) -> Self {
        match code {
            Code::Said => 0,
            Code::Unusable => 65,
            Code::Unavailable => 69,
            Code::Unwritten => 74,
            Code::Setting => 78,
        }
    }
}

impl From<Fault> for Code {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unavailable => Self::Unavailable,
            Fault::Query => Self::Unusable,
            Fault::Setting => Self::Setting,
        }
    }
}

/// Reads all trails and tells the verdicts on `out`; what is wrong with the input on `log`, with its place.
///
/// `now` says which runners can still live: those whose next lines are not due yet.
/// `stdin` is read where neither a file nor Loki is named, or for `-`.
pub fn run(
    args: &Args,
    now: SystemTime,
    stdin: impl Read + Send,
    out: &mut impl Write,
    log: &mut impl Write,
    look: Look,
) -> Code {
    let mut book = Book::default();
    let clock = Clock::new(now, args.loki.to);
    let question = match args.loki.question(now, args.query_in_loki()) {
        Ok(question) => question,
        Err(error) => {
            let _ = writeln!(log, "vitals-hub: {error}");
            return Code::Setting;
        }
    };
    if let Some(why) = args.html.as_deref().and_then(sheet::refusal) {
        let _ = writeln!(log, "vitals-hub: {why}");
        return Code::Setting;
    }
    let mut stdin = if args.html.is_some() { Spool::keeping(stdin) } else { Spool::passing(stdin) };
    let asked = read(args, question.as_ref(), &mut stdin, &mut book, log);
    let has_lines = book.counts.ours > 0;
    let (mut runners, read) = book.into_runners();
    // That the log cannot be written is no reason to say nothing.
    let _ = inputs::tell(&read, log);
    let names = names(&runners, args.runner.as_deref());
    if let Some(name) = &args.runner {
        runners.retain(|runner| runner.name == *name);
    }
    if args.all {
        let _ = tell_left_out(&runners, log);
        runners = runners.into_iter().flat_map(Runner::lives).collect();
    } else {
        runners = runners.into_iter().map(Runner::last_life).collect();
    }
    if runners.is_empty() {
        let why = if has_lines { "no runner of that name" } else { "no line of vitals" };
        let stretch = question.map_or_else(String::new, |(_, question)| format!("; Loki was asked for {question}"));
        // Who was not let in knows nothing of what is there, and that was told.
        if has_lines || !args.files.is_empty() || !matches!(asked, Asked::Nothing(_)) {
            let hint = args.loki.hint();
            let _ = writeln!(log, "vitals-hub: {why} in the input{stretch}{names}{hint}");
        }
        return match asked {
            Asked::Whole => Code::Unusable,
            Asked::Partly(fault) | Asked::Nothing(fault) => fault.into(),
        };
    }
    let page =
        args.html.as_ref().map(|_| Page::of(&runners, &clock, if args.all { Shape::Table } else { Shape::Runners }));
    let told = tell(args, &runners, &clock, &read, out, look);
    if let Some(error) = page.and_then(|page| draw(args, question.as_ref(), page, &read, stdin).err()) {
        let _ = writeln!(log, "vitals-hub: {}", harmless(error.to_string()));
        return Code::Unwritten;
    }
    match told {
        Ok(()) => match asked {
            Asked::Whole | Asked::Partly(_) => Code::Said,
            Asked::Nothing(fault) => fault.into(),
        },
        // Who reads has enough: `| head -1` is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Code::Said,
        Err(error) => {
            let _ = writeln!(log, "vitals-hub: stdout: {error}");
            Code::Unwritten
        }
    }
}

/// Some of the names that there are, where none of them is the one that was asked for.
fn names(runners: &[Runner], asked: Option<&str>) -> String {
    if runners.is_empty() || asked.is_none_or(|asked| runners.iter().any(|runner| runner.name == asked)) {
        return String::new();
    }
    let first: Vec<String> = runners.iter().take(NAMES).map(|runner| harmless(runner.name.as_str())).collect();
    let more = match runners.len().saturating_sub(NAMES) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    format!("; there are {}{more}", first.join(", "))
}

/// How many names are told.
const NAMES: usize = 10;

/// Tells how many lives have no row.
fn tell_left_out(runners: &[Runner], log: &mut impl Write) -> io::Result<()> {
    for runner in runners.iter().filter(|runner| runner.left_out > 0).take(NAMES) {
        let (name, left_out) = (harmless(runner.name.as_str()), runner.left_out);
        writeln!(log, "vitals-hub: {name}: {left_out} earlier runs of this name are not kept and have no row")?;
    }
    let more = runners.iter().filter(|runner| runner.left_out > 0).skip(NAMES).count();
    if more > 0 { writeln!(log, "vitals-hub: so it is with {more} more names") } else { Ok(()) }
}

/// Whom of Loki to ask for what.
type Asking = (Settings, Question);

/// Reads what was named: files or stdin, and Loki.
fn read(args: &Args, asking: Option<&Asking>, stdin: impl Read + Send, book: &mut Book, log: &mut impl Write) -> Asked {
    if asking.is_none() || !args.files.is_empty() {
        inputs::read(&args.files, stdin, book, log);
    }
    asking.map_or(Asked::Whole, |(settings, question)| inputs::ask(settings, question, Bounds::NONE, book, log))
}

/// What came of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reported {
    /// It is written.
    Written,
    /// There is no line of that runner.
    Nobody,
    /// No line of it was found, and not all could be read: why, with paths and addresses.
    Unread(String),
}

/// The page of one runner, from parts of its files and what Loki has of it. What cannot be read, or is more than is read, is told on the
/// page. It blocks, and asks Loki with a runtime of its own.
///
/// # Errors
/// The page could not be written.
pub fn report(
    files: &[Part],
    asking: Option<&(Settings, Question, Bounds)>,
    name: &str,
    now: SystemTime,
    out: &mut impl Write,
) -> io::Result<Reported> {
    let read = |book: &mut Book| {
        inputs::read_parts(files, book);
        if let Some((settings, question, bounds)) = asking {
            inputs::ask(settings, question, *bounds, book, &mut io::sink());
        }
    };
    let mut book = Book::default();
    read(&mut book);
    let (mut runners, mut before) = book.into_runners();
    runners.retain(|runner| runner.name == name);
    if runners.is_empty() {
        return Ok(before.partial.map_or(Reported::Nobody, Reported::Unread));
    }
    let page = Page::of(&runners, &Clock::new(now, None), Shape::Runners);
    let film = page.film().map_or_else(Film::default, |film| {
        let mut book = Book::again(&before, film);
        read(&mut book);
        before.partial = before.partial.take().or(book.partial.take());
        book.into_film()
    });
    page.html(film, &before, out).map(|()| Reported::Written)
}

/// Reads once more what the page shows of its runners, and writes it.
fn draw(
    args: &Args,
    asking: Option<&Asking>,
    page: Page,
    before: &trail::Read,
    stdin: Spool<impl Read>,
) -> Result<(), PageError> {
    let Some(path) = &args.html else { return Ok(()) };
    let film = match page.film() {
        None => Film::default(),
        Some(film) => {
            let mut book = Book::again(before, film);
            // What is wrong with the input was told the first time.
            read(args, asking, stdin.again()?, &mut book, &mut io::sink());
            book.into_film()
        }
    };
    page.write(film, before, path)
}

/// Judges runner by runner, so that few verdicts are there at a time.
fn tell(
    args: &Args,
    runners: &[Runner],
    clock: &Clock,
    read: &trail::Read,
    out: &mut impl Write,
    look: Look,
) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    let verdict_of = |runner| verdict::judge(runner, clock);
    match (args.format, args.all) {
        (Format::Json, _) => {
            let mut array = json::Array::open(&mut out)?;
            for verdict in runners.iter().filter_map(verdict_of) {
                array.push(&verdict, read)?;
            }
            array.close()?;
        }
        (Format::Text, true) => table::Table::of(runners, clock).write(read, look, &mut out)?,
        (Format::Text, false) => {
            for (nth, verdict) in runners.iter().filter_map(verdict_of).enumerate() {
                if nth > 0 {
                    writeln!(out)?;
                }
                text::write(&verdict, read, look, &mut out)?;
            }
        }
    }
    out.flush()
}
