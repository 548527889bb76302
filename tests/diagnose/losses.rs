//! What is left of a trail never makes a wrong cause sure.

use std::collections::HashSet;

use runner_vitals::hub::diagnose::cause::Cause;
use runner_vitals::hub::diagnose::verdict::{Confidence, Verdict};
use runner_vitals::line::field::{self, Print, Unit};

use crate::made::deaths;
use crate::support::{fixture, verdict, verdicts};
use crate::trails::TRAILS;

/// A trail, its cause, and what else is right to say of a part of it.
pub(crate) struct Trail {
    pub(crate) name: &'static str,
    pub(crate) text: String,
    cause: Cause,
    also: &'static [Cause],
    /// The lines that tell the cause: those that the verdict on the whole cites.
    telling: Vec<String>,
}

impl Trail {
    fn new(name: &'static str, text: String, cause: Cause, also: &'static [Cause]) -> Self {
        let verdict = verdict(&text);
        let cited = verdict.because.iter().flat_map(|said| &said.lines);
        let telling = cited.map(|line| text.lines().nth(line.place.line as usize - 1).unwrap().to_owned()).collect();
        Self { name, text, cause, also, telling }
    }

    /// Whether a line that tells the cause is gone, or what it tells is. Of a last line that nothing ends the last word does not count.
    fn has_lost(&self, left: &str) -> bool {
        let left: HashSet<&str> = left.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).collect();
        self.telling.iter().any(|line| !left.contains(line.as_str()))
    }
}

/// Those of real guests, and made ones.
pub(crate) fn trails() -> Vec<Trail> {
    let real = TRAILS.map(|(name, cause, also)| Trail::new(name, fixture(name), cause, also));
    let made =
        deaths().into_iter().map(|(name, made, cause, also)| Trail::new(name, made.text().to_owned(), cause, also));
    real.into_iter().chain(made).collect()
}

/// Sure verdicts on this text that are not of its scenario. That it points elsewhere is right only where a line that tells the cause is
/// gone, that there are no samples only where there are none.
fn wrong(trail: &Trail, how: &str, text: &str) -> Vec<String> {
    let is_right = |found: Cause| {
        let is_left = match found {
            Cause::Stopped => text.contains("event=stop"),
            Cause::OutsideGuest => trail.has_lost(text),
            Cause::NoVitals => text.lines().all(|line| line.contains(" event=")),
            _ => false,
        };
        found == trail.cause || trail.also.contains(&found) || is_left
    };
    let verdicts = verdicts(text.as_bytes()).into_iter();
    let wrong = verdicts.filter(|verdict| verdict.confidence == Confidence::High && !is_right(verdict.cause));
    let says = |verdict: Verdict| {
        format!("{} {how}: {} {}: {:?}", trail.name, verdict.cause.name(), verdict.score, verdict.because)
    };
    wrong.map(says).collect()
}

/// Applies a loss to each line of each trail, then cuts what is left after every so-manieth line and loses its first lines.
fn holds(how: &str, step: usize, line: impl Fn(&str) -> Option<String>) {
    let mut all = Vec::new();
    for trail in trails() {
        let lines: Vec<String> = trail.text.lines().filter_map(&line).collect();
        for kept in (0..=lines.len()).step_by(step) {
            let first = lines[..kept].join("\n");
            all.extend(wrong(&trail, &format!("{how}, first {kept} lines"), &first));
            all.extend(wrong(&trail, &format!("{how}, first {kept} whole lines"), &(first + "\n")));
            all.extend(wrong(
                &trail,
                &format!("{how}, without the first {kept} lines"),
                &(lines[kept..].join("\n") + "\n"),
            ));
        }
        // Both at once, in steps.
        for first in (0..lines.len()).step_by(7) {
            for last in (first..lines.len()).step_by(2 + 2 * step) {
                all.extend(wrong(
                    &trail,
                    &format!("{how}, lines {first} to {last}"),
                    &(lines[first..last].join("\n") + "\n"),
                ));
            }
        }
    }
    assert!(all.is_empty(), "{} wrong:\n{}", all.len(), all.join("\n"));
}

fn is_event(line: &str, event: &str) -> bool {
    line.contains(&format!(" event={event}"))
}

/// A line without the pairs of some keys.
fn without(line: &str, drop: impl Fn(&str) -> bool) -> String {
    let keep = |word: &&str| !word.split_once('=').is_some_and(|(key, _)| drop(key));
    line.split(' ').filter(keep).collect::<Vec<_>>().join(" ")
}

fn without_kmsg(line: &str) -> Option<String> {
    if is_event(line, "kmsg.") || line.contains(" from=kmsg") {
        return None;
    }
    Some(line.replace(" kmsg=on", " kmsg=denied").replace(" kmsg=agrees", " kmsg=unread"))
}

fn without_psi(line: &str) -> Option<String> {
    if is_event(line, "pressure") && line.contains(" kind=psi") {
        return None;
    }
    let mut line = without(line, |key| key.ends_with(".stall.pct"));
    for key in [field::CPU_PSI_SOME, field::MEM_PSI_SOME, field::MEM_PSI_FULL, field::IO_PSI_SOME] {
        line = line
            .split(' ')
            .map(|word| if word.starts_with(key.key) { format!("{}=", key.key) } else { word.to_owned() })
            .collect::<Vec<_>>()
            .join(" ");
    }
    Some(line.replace(" psi=on", " psi=off"))
}

/// What v1 does not have: the count of limits met, groups, and a limit of its own for what is high.
fn as_cgroup_v1(line: &str) -> Option<String> {
    let line = without(line, |key| ["oom_group", "mem.high", "mem.oom.group", "tree.oom_kill"].contains(&key));
    Some(line.split(' ').map(|word| if word.starts_with("oom=") { "oom=" } else { word }).collect::<Vec<_>>().join(" "))
}

fn contract(line: &str) -> Option<String> {
    let is_kept = |key: &str| {
        let of_envelope = ["ts", "run", "seq", "event", "late.ms"].contains(&key);
        of_envelope
            || field::find(key)
                .is_none_or(|field| field.print == Print::Contract || matches!(field.unit, Unit::Text(0)))
    };
    if line.contains(" event=") { Some(line.to_owned()) } else { Some(without(line, |key| !is_kept(key))) }
}

#[test]
fn cut_after_every_line_or_without_the_first() {
    holds("whole", 1, |line| Some(line.to_owned()));
}

#[test]
fn without_the_kernels_messages() {
    holds("no kmsg", 3, without_kmsg);
}

#[test]
fn without_pressure() {
    holds("no psi", 3, without_psi);
    holds("no psi, no kmsg", 3, |line| without_psi(&without_kmsg(line)?));
}

#[test]
fn with_cgroup_v1() {
    holds("v1", 3, as_cgroup_v1);
    holds("v1, no kmsg", 3, |line| as_cgroup_v1(&without_kmsg(line)?));
}

#[test]
fn with_the_contracts_fields_only() {
    holds("contract", 3, contract);
    holds("contract, no kmsg", 3, |line| contract(&without_kmsg(line)?));
    holds("contract, no events", 3, |line| contract(line).filter(|line| !line.contains(" event=")));
    holds("contract, no events, no psi", 3, |line| {
        without_psi(&contract(line)?).filter(|line| !line.contains(" event="))
    });
}

#[test]
fn with_every_third_line_lost() {
    for lost in 0..3 {
        let seq = move |line: &str| line.split(" seq=").nth(1)?.split(' ').next()?.parse::<u64>().ok();
        holds("every third lost", 3, |line| (seq(line)? % 3 != lost).then(|| line.to_owned()));
    }
}

/// Some platforms keep the last 200 lines of a dead Pod, and of those the first so many bytes.
#[test]
fn the_beginning_of_the_last_lines() {
    for bytes in [64 << 10, 32 << 10, 16 << 10, 4 << 10] {
        for trail in trails() {
            let lines: Vec<&str> = trail.text.lines().collect();
            let last = lines[lines.len().saturating_sub(200)..].join("\n");
            let kept = &last.as_bytes()[..bytes.min(last.len())];
            let found = wrong(&trail, &format!("first {bytes} bytes"), std::str::from_utf8(kept).unwrap());
            assert!(found.is_empty(), "{found:#?}");
        }
    }
}
