//! `vitals-hub fleet`: what the lines of many runners say of their fleets.
//!
//! The stages of a runner's life ([`super::trail::stage`]) are placed in time (`place`), walked through ([`walk`]) and make it a member of
//! its fleet ([`member`]), which is in one [`state`] after another. Members make figures ([`figures`]), and with what a person says of the
//! fleet ([`mod@file`]) there is more to be said: [`roll`], [`sizing`], and what of all of it an owner is to look at, [`notice`]. All of it
//! is pure, the clock given; `docs/FLEET.md` has every figure with its formula. Why a runner died is the diagnosis's word.

pub mod counts;
pub mod course;
pub mod figures;
pub mod file;
pub mod json;
pub mod look;
pub mod member;
pub mod notice;
pub mod roll;
pub mod sizing;
pub mod state;
pub mod text;
pub mod walk;

mod page;
mod place;

use std::io::{self, BufWriter, Read, Write};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::diagnose::inputs::{self, Asked, Bounds};
use super::diagnose::page::sheet;
use super::diagnose::text::Look;
use super::diagnose::units::harmless;
use super::diagnose::{Code, Format, LokiArgs};
use super::trail::loki::question::{OF_ALL, parse_time};
use super::trail::loki::{self, Question};
use super::trail::{self, Book};
use file::FleetFile;
use look::{Seen, Settings};

/// What is looked at, and how that is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Trails: logs of Pods, `logcli` output, Loki's JSON, or folders of such; stdin for `-`, and where neither a file
    /// nor Loki is named
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Loki itself.
    #[command(flatten)]
    pub loki: LokiArgs,
    /// What guests cannot know, a TOML file: targets, floors, images; docs/FLEET.md
    #[arg(long, value_name = "FILE")]
    pub fleets: Option<PathBuf>,
    /// The time that is now, RFC 3339; later lines are not there yet [default: that of the last line]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub at: Option<SystemTime>,
    /// How far back from there figures go
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = humantime::parse_duration)]
    pub window: Duration,
    /// Who is ready for longer is told
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = humantime::parse_duration)]
    pub long_ready: Duration,
    /// A runner that has no reason to write (no probe, no heartbeat) is taken to be what it said last, for so long
    #[arg(long, value_name = "DURATION", default_value = "6h", value_parser = humantime::parse_duration)]
    pub forgive: Duration,
    /// How it is told
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Also a page with charts: one file that needs nothing else
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

impl Args {
    /// What Loki is asked, and the fleet file; or what is wrong with a setting.
    fn given(&self, now: SystemTime) -> Result<(Option<(loki::Settings, Question)>, FleetFile), String> {
        let question = self.loki.question(now, Some(OF_ALL.to_owned()))?;
        let file = self.fleets.as_deref().map(FleetFile::read).transpose();
        let file = file.map_err(|error| format!("--fleets {}", harmless(error.to_string())))?;
        match self.html.as_deref().and_then(sheet::refusal) {
            Some(why) => Err(why),
            None => Ok((question, file.unwrap_or_default())),
        }
    }

    fn settings(&self) -> Settings {
        Settings {
            at_ms: self.at.map(since_1970_ms),
            window_ms: ms(self.window),
            long_ready_ms: ms(self.long_ready),
            forgiven_ms: ms(self.forgive),
        }
    }
}

/// Reads all trails and tells the figures on `out`; what is wrong with the input on `log`, with its place.
///
/// `stdin` is read where neither a file nor Loki is named, or for `-`; `now` is the clock.
pub fn run(
    args: &Args,
    stdin: impl Read + Send,
    out: &mut impl Write,
    log: &mut impl Write,
    (now, look): (SystemTime, Look),
) -> Code {
    let (question, file) = match args.given(now) {
        Ok(given) => given,
        Err(why) => {
            let _ = writeln!(log, "vitals-hub: {why}");
            return Code::Setting;
        }
    };
    let mut book = Book::of_stages();
    if question.is_none() || !args.files.is_empty() {
        inputs::read(&args.files, stdin, &mut book, log);
    }
    let asked = question
        .as_ref()
        .map_or(Asked::Whole, |(settings, question)| inputs::ask(settings, question, Bounds::NONE, &mut book, log));
    let (runners, read) = book.into_closed();
    // That the log cannot be written is no reason to say nothing.
    let _ = inputs::tell(&read, log);
    let has_runners = !runners.is_empty();
    let seen = look::look_at(runners, &file, args.settings(), since_1970_ms(now));
    if seen.fleets.iter().all(|fleet| fleet.figures.runners == 0) {
        let why = if has_runners { "no line with a time in the window" } else { "no line of vitals" };
        let stretch = question.map_or_else(String::new, |(_, question)| format!("; Loki was asked for {question}"));
        let _ = writeln!(log, "vitals-hub: {why} in the input{stretch}{}", args.loki.hint());
        return match asked {
            Asked::Whole => Code::Unusable,
            Asked::Partly(fault) | Asked::Nothing(fault) => fault.into(),
        };
    }
    let told = tell(args, &seen, &read, out, look);
    if let Some(Err(error)) = args.html.as_deref().map(|path| page::write(&seen, &read, path)) {
        let _ = writeln!(log, "vitals-hub: {}", harmless(error.to_string()));
        return Code::Unwritten;
    }
    match told {
        Ok(()) => match asked {
            Asked::Whole | Asked::Partly(_) => Code::Said,
            Asked::Nothing(fault) => fault.into(),
        },
        // Who reads has enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Code::Said,
        Err(_) => Code::Unwritten,
    }
}

fn tell(args: &Args, seen: &Seen, read: &trail::Read, out: &mut impl Write, look: Look) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    match args.format {
        Format::Json => {
            serde_json::to_writer_pretty(&mut out, &json::document(seen, read))?;
            writeln!(out)?;
        }
        Format::Text => {
            for (nth, fleet) in seen.fleets.iter().enumerate() {
                if nth > 0 {
                    writeln!(out)?;
                }
                text::write(fleet, look, &mut out)?;
            }
            if seen.left_out > 0 {
                writeln!(out, "\n{} runners left out: their lines have no time, or none in this span", seen.left_out)?;
            }
            if let Some(partial) = &read.partial {
                writeln!(out, "PARTIAL: {}", harmless(partial))?;
            }
        }
    }
    out.flush()
}

fn ms(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn since_1970_ms(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, ms)
}
