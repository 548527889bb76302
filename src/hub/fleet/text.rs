//! The figures for a terminal.

use std::io::{self, Write};

use crate::hub::diagnose::cause::Cause;
use crate::hub::diagnose::text::{BOLD, Look};
use crate::hub::diagnose::units::{at, harmless, time};

use super::counts::Quantiles;
use super::figures::{Figures, Key};
use super::look::{Fleet, Plan};
use super::roll::{Deficit, Figure, Roll};
use super::sizing::{Advice, IDLE_PCT, Idle, Size};
use super::state::State;

/// Writes the figures of a fleet.
///
/// # Errors
/// What writing gave.
pub fn write(fleet: &Fleet, look: Look, out: &mut impl Write) -> io::Result<()> {
    let figures = &fleet.figures;
    let span = time(figures.to_ms.saturating_sub(figures.from_ms).max(0));
    writeln!(
        out,
        "{}: {} runners, {} to {} ({span})",
        look.paint(BOLD, &name(&figures.key)),
        figures.runners,
        at(figures.from_ms),
        at(figures.to_ms)
    )?;
    row(out, "members", &members(figures))?;
    row(out, "claims", &claims(figures))?;
    row(out, "warm-up", &warm_ups(figures))?;
    row(out, "waits", &waits(figures))?;
    row(out, "ready", &supply(figures))?;
    row(out, "jobs", &jobs(figures))?;
    if !figures.deaths.is_empty() {
        row(out, "deaths", &deaths(figures))?;
    }
    if figures.images.iter().any(|(image, _)| image.is_some()) {
        row(out, "images", &images(figures))?;
    }
    if let Some(roll) = &fleet.roll {
        row(out, "roll", &self::roll(roll))?;
    }
    if figures.polls.total() > 0 {
        row(out, "polls", &polls(figures))?;
    }
    if figures.unplaced > 0 {
        row(out, "left out", &format!("{} phase lines: without a time, or too many of one runner", figures.unplaced))?;
    }
    if let Some(plan) = &fleet.plan {
        write_plan(plan, out)?;
    }
    Ok(())
}

fn write_plan(plan: &Plan, out: &mut impl Write) -> io::Result<()> {
    if let Some(deficit) = &plan.deficit {
        row(out, "deficit", &self::deficit(deficit))?;
    }
    row(out, "advice", &advice(plan))?;
    if let Some(idle) = &plan.idle {
        row(out, "idle", &self::idle(idle))?;
    }
    Ok(())
}

/// The warm deficit with the numbers put in.
pub(super) fn deficit(of: &Deficit) -> String {
    let (load, allocated) = (from(of.load), from(of.allocated));
    format!("{} = max(0, min({load} + {}, {}) - max({allocated}, {load}))", of.deficit, of.floor, of.target)
}

/// The size that is advised with the numbers put in, or why there is none.
pub(super) fn advice(plan: &Plan) -> String {
    let target = plan.spec.target.map_or_else(String::new, |target| format!(" (now {target})"));
    match &plan.advice {
        Advice::TooLittle(lacks) => format!("none: there are {}", lacks.join(", ")),
        Advice::Size(of) => format!("target {}{target}: {}", of.target, size(of)),
    }
}

/// What is always idle, and what that could save.
pub(super) fn idle(of: &Idle) -> String {
    let saves = if of.saves > 0 {
        format!("; a target of {} saves {} members, {} member hours a day", of.enough, of.saves, of.saves * 24)
    } else {
        format!("; {IDLE_PCT} % or less, nothing to save")
    };
    let share = format!("{}.{} %", of.share_tenths / 10, of.share_tenths % 10);
    format!("{} always, {share} of the target{saves}", of.idle)
}

fn row(out: &mut impl Write, what: &str, says: &str) -> io::Result<()> {
    writeln!(out, "  {what:<9} {says}")
}

/// `ENV FLEET`.
#[must_use]
pub fn name(key: &Key) -> String {
    let fleet = key.fleet.as_deref().map_or_else(|| "no fleet".to_owned(), harmless);
    key.env.as_deref().map_or_else(|| fleet.clone(), |env| format!("{} {fleet}", harmless(env)))
}

fn members(figures: &Figures) -> String {
    let word = |state: &State| {
        let count = figures.members_in(*state);
        let more = match state {
            State::Warming if figures.stuck > 0 => format!(" ({} for over 10 min)", figures.stuck),
            State::Ready if figures.long_ready > 0 => format!(" ({} for long)", figures.long_ready),
            _ => String::new(),
        };
        let is_usual = matches!(state, State::Warming | State::Ready | State::Claimed | State::Ended);
        (is_usual || count > 0).then(|| format!("{} {count}{more}", state.name()))
    };
    list(State::ALL.iter().filter_map(word))
}

pub(super) fn claims(figures: &Figures) -> String {
    let claims = &figures.claims;
    let mean = claims.mean_hundredths.map_or_else(String::new, |mean| format!(", {} a minute", hundredths(mean)));
    let peak =
        claims.peak_ms.map_or_else(String::new, |from| format!(", at most {} in one (from {})", claims.peak, at(from)));
    format!("{}{mean}{peak}, by {} runners", claims.count, claims.runners)
}

fn warm_ups(figures: &Figures) -> String {
    let warm = &figures.warm_ups;
    let Some(whole) = &warm.whole else { return "not told".to_owned() };
    let part = |name: &str, of: &Option<Quantiles>| of.as_ref().map(|of| format!("; {name} {}", quantiles(of)));
    format!(
        "{}{}{}{}, {} times by {} runners",
        quantiles(whole),
        part("boot", &warm.boot).unwrap_or_default(),
        part("agent", &warm.agent).unwrap_or_default(),
        part("before boot", &warm.before).unwrap_or_default(),
        whole.count,
        warm.runners
    )
}

pub(super) fn waits(figures: &Figures) -> String {
    let waits = &figures.waits;
    match &waits.known {
        None if waits.untold == 0 => "none".to_owned(),
        None => format!("not told of {} claims", waits.untold),
        Some(known) => {
            let untold = if waits.untold > 0 { format!("; not told of {}", waits.untold) } else { String::new() };
            format!(
                "{}, over 10 s {} of {} ({}){untold}",
                quantiles(known),
                waits.cold,
                known.count,
                share(waits.cold, known.count)
            )
        }
    }
}

pub(super) fn supply(figures: &Figures) -> String {
    let supply = &figures.supply;
    if supply.from_ms.is_none() {
        return "none was".to_owned();
    }
    let mut says = format!("{} to {}, {} on average", supply.least, supply.most, hundredths(supply.mean_hundredths));
    if supply.dry > 0 {
        says += &format!(
            "; none {} times, {} in all, {} at most",
            supply.dry,
            time(supply.dry_ms),
            time(supply.dry_longest_ms)
        );
    }
    if supply.told > 0 {
        says += &format!("; {} of {} claims found none", supply.unmet, supply.told);
    }
    if supply.untold > 0 {
        says += &format!("; {} of {} seem to have found none (estimate)", supply.unmet_estimated, supply.untold);
    }
    says
}

fn jobs(figures: &Figures) -> String {
    let jobs = &figures.jobs;
    let mut words = vec![format!("running {}", jobs.running), format!("ended {}", jobs.ended)];
    words.extend(jobs.told.iter().map(|(result, count)| format!("{} {count}", result.name())));
    if jobs.unknown > 0 {
        words.push(format!("unknown {} ({} with a code other than 0)", jobs.unknown, jobs.unknown_failing));
    }
    words.extend(jobs.died.iter().map(|(cause, count)| format!("{} {count}", ended(*cause))));
    if jobs.died_untold > 0 {
        words.push(format!("died, nothing says of what {}", jobs.died_untold));
    }
    words.extend(jobs.took.as_ref().map(|took| format!("took {}", quantiles(took))));
    list(words.into_iter())
}

/// How a job ended whose runner did.
fn ended(cause: Cause) -> String {
    // Nobody dies of that there was no probe.
    let how = if cause == Cause::NoVitals { "fell silent with" } else { "died of" };
    format!("{how} {}", cause.name())
}

pub(super) fn deaths(figures: &Figures) -> String {
    list(figures.deaths.iter().map(|(cause, count)| format!("{} {count}", cause.name())))
}

fn images(figures: &Figures) -> String {
    let image = |(image, count): &(Option<String>, usize)| {
        format!("{} {count}", image.as_deref().map_or_else(|| "not told".to_owned(), harmless))
    };
    list(figures.images.iter().map(image))
}

pub(super) fn roll(roll: &Roll) -> String {
    let image = harmless(&roll.image);
    let which = if roll.is_image_estimated { " (that of the newest, an estimate)" } else { "" };
    let told = roll.current + roll.stale;
    let mut says = format!("to {image}{which}: stale {} of {told} ({})", roll.stale, share(roll.stale, told));
    if roll.untold > 0 {
        says += &format!(", not told {}", roll.untold);
    }
    says += &format!(", rolling {}", from(roll.rolling));
    if let Some(cap) = roll.cap {
        says += &format!(" of {cap} at most");
    }
    if roll.is_breached() {
        says += ": OVER THE CAP";
    }
    if roll.is_stuck == Some(true) {
        says += ": STUCK";
    }
    says
}

/// An estimate says so.
pub(super) fn from(figure: Figure) -> String {
    if figure.is_estimate() { format!("{} (estimate)", figure.value()) } else { figure.value().to_string() }
}

fn size(of: &Size) -> String {
    let minutes = |ms: i64| format!("{}.{}/60", ms / 1000, ms % 1000 / 100);
    let mut says =
        format!("ceil({} x ({} + {})) = {}", of.peak, minutes(of.warm_up_ms), minutes(of.reaper_ms), of.by_rate);
    if of.unmet > 0 {
        says += &format!(
            "; headroom 2 x {} = {}, since {} of {} claims found no ready member",
            of.burst, of.headroom, of.unmet, of.claims
        );
    }
    if of.is_over_max {
        says += "; more is needed than max allows";
    }
    says
}

pub(super) fn polls(figures: &Figures) -> String {
    let polls = &figures.polls;
    let names = super::json::POLLS.iter().zip(polls.counts).filter(|(_, count)| *count > 0);
    let mean = polls.sum_ms / polls.total().max(1);
    format!(
        "{}, {mean} ms on average, {} ms at most, by {} runners",
        list(names.map(|(name, count)| format!("{name} {count}"))),
        polls.max_ms,
        figures.polling
    )
}

fn list(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

fn quantiles(of: &Quantiles) -> String {
    let ms = |ms: u64| time(i64::try_from(ms).unwrap_or(i64::MAX));
    format!("p50 {}, p95 {}", ms(of.p50_ms), ms(of.p95_ms))
}

pub(super) fn hundredths(value: i64) -> String {
    format!("{}.{:02}", value / 100, value % 100)
}

/// `12.5 %`.
pub(super) fn share(part: usize, of: usize) -> String {
    let tenths = (part * 1000).checked_div(of).unwrap_or(0);
    format!("{}.{} %", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_dies_of_that_there_was_no_probe() {
        assert_eq!([Cause::NoVitals, Cause::GuestOom].map(ended), ["fell silent with no_vitals", "died of guest_oom"]);
    }
}
