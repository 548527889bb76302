//! Holds what was heard of a play against what has to hold. Pure.

use std::time::Duration;

use runner_vitals::line::field::{self, Field};
use runner_vitals::line::{Line, Reading};

use crate::figures::{self, Heard, KernelKill};
use crate::play::Trail;
use crate::scenario::{Bound, Form, Oom, Output, Privilege, Scenario};

/// A kill is told within this time of the kernel's own word on its console.
const TOLD_WITHIN: Duration = Duration::from_millis(250);

/// What a line may take from the probe to the host, next to another that was written at the same moment.
const ON_THE_WAY: Duration = Duration::from_millis(50);

/// How much later than the probe's line the kernel's own word of a kill can be on its console: a console is slow, and the
/// whole table of tasks comes before it.
const CONSOLE_LAG: Duration = Duration::from_millis(500);

/// How old the last line of a probe may be that the OOM killer took.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// What is wrong with a play, one sentence each; none, and all holds.
pub(crate) fn faults(scenario: &Scenario, form: Form, trail: &Trail) -> Vec<String> {
    let mut faults = undecodable(trail);
    match figures::lost(&trail.probe) {
        0 => {}
        lost => faults.push(format!("{lost} lines are lost")),
    }
    for bound in scenario.holds {
        faults.extend(fault(*bound, form, trail).err());
    }
    faults
}

fn undecodable(trail: &Trail) -> Vec<String> {
    let wrong = |line: &Heard| Line::decode(&line.text).err().map(|error| format!("{error}: {}", line.text));
    trail.probe.iter().filter_map(wrong).collect()
}

fn fault(bound: Bound, form: Form, trail: &Trail) -> Result<(), String> {
    match bound {
        Bound::Silence if form == Form::ROOT => silence(trail),
        // Without privileges, or behind a process that has none, it can be starved: the tables show how far.
        Bound::Silence => Ok(()),
        Bound::Told(oom) if form.privilege == Privilege::Root => told(oom, form, trail),
        Bound::Told(oom) => counted(oom, form, trail),
        Bound::Outlives => outlives(form, trail),
        Bound::Shows(field, value) => shows(field, value, trail),
        Bound::OverZero(field) if form.privilege == Privilege::Container && *field == *field::AGENT_WAIT => Ok(()),
        Bound::OverZero(field) => over_zero(field, trail),
        // In a PID namespace of its own a probe sees none of the others' processes.
        Bound::Says("top" | "agent", ..) if form.privilege == Privilege::Container => Ok(()),
        Bound::Says(event, field, value) => match says(event, field, value, trail) {
            true => Ok(()),
            false => Err(format!("no {event} line has {}={value}", field.key)),
        },
        Bound::NeverSays(event, field, value) => match says(event, field, value, trail) {
            true => Err(format!("a {event} line has {}={value}", field.key)),
            false => Ok(()),
        },
        Bound::StartIsNot(field, value) => start_is_not(field, value, trail),
        Bound::Absent(fields) => absent(fields, trail),
        Bound::LastLine => last_line(trail),
        Bound::Resumes(within) => resumes(within, trail),
        Bound::Stops(within) => stops(within, trail),
    }
}

fn silence(trail: &Trail) -> Result<(), String> {
    let silence = figures::longest_silence(&trail.probe, trail.window);
    let bare = figures::bare_silence(&trail.bare, trail.window);
    at_most(silence, figures::allowed_silence(bare), &format!("silence (the bare loop's was {bare:.3?})"))
}

fn at_most(was: Duration, bound: Duration, what: &str) -> Result<(), String> {
    if was <= bound { Ok(()) } else { Err(format!("{what}: {was:.3?}, over {bound:.3?}")) }
}

/// A probe that reads the kernel's messages names each victim at once, and its counter line comes with it.
fn told(oom: Oom, form: Form, trail: &Trail) -> Result<(), String> {
    for kill in kills_of(oom, trail)? {
        let named = kmsg_line(trail, kill.pid).ok_or(format!("the kill of {} is not told", kill.pid))?;
        let line = decoded(named);
        let told = [field::VICTIM_COMM, field::SCOPE].map(|field| line.text(field).unwrap_or_default());
        if told != [oom.victim, oom.scope] {
            return Err(format!("told as {told:?}: {}", named.text));
        }
        let counter = oom_line(trail, kill.at).ok_or("no oom line follows the kill")?;
        if decoded(counter).text(field::SOURCE) != Some(oom.source) {
            return Err(format!("the counter is not {}: {}", oom.source, counter.text));
        }
        if form.output == Output::Direct {
            at_most(named.at.saturating_sub(kill.at), TOLD_WITHIN, "kmsg.oom after the kill")?;
            at_most(counter.at.saturating_sub(kill.at), TOLD_WITHIN, "oom after the kill")?;
        }
    }
    Ok(())
}

/// A probe that may not read them has the counter, and tells it at the latest right behind the first sample that counts
/// the kill.
fn counted(oom: Oom, form: Form, trail: &Trail) -> Result<(), String> {
    let before =
        samples(trail).find_map(|sample| decoded(sample).scaled(field::VM_OOM_KILL)).ok_or("no count at all")?;
    for (kill, nth) in kills_of(oom, trail)?.iter().zip(1..) {
        let counter = oom_line(trail, kill.at).ok_or("no oom line follows the kill")?;
        let line = decoded(counter);
        let told = [field::KMSG, field::SOURCE].map(|field| line.text(field).unwrap_or_default());
        if told != ["unread", oom.source] {
            return Err(format!("told as {told:?}: {}", counter.text));
        }
        let counts = |sample: &&Heard| decoded(sample).scaled(field::VM_OOM_KILL) >= Some(before + nth);
        let mut counting = samples(trail).filter(counts);
        let first = counting.next().ok_or("no sample counts the kill")?;
        if counting.next().is_some_and(|second| decoded(second).seq < line.seq) {
            return Err(format!("a second sample comes before it: {}", counter.text));
        }
        if form.output == Output::Direct {
            at_most(
                counter.at.saturating_sub(first.at),
                TOLD_WITHIN,
                "oom line behind the sample that counts the kill",
            )?;
        }
    }
    Ok(())
}

/// The kernel's kills, of which there has to be one, and none of another.
fn kills_of(oom: Oom, trail: &Trail) -> Result<Vec<KernelKill>, String> {
    let kills = figures::kills(&trail.console);
    match kills.iter().find(|kill| kill.comm != oom.victim) {
        Some(other) => Err(format!("the kernel killed {}", other.comm)),
        None if kills.is_empty() => Err("the kernel killed nothing".to_owned()),
        None => Ok(kills),
    }
}

/// The line that names this victim.
pub(crate) fn kmsg_line(trail: &Trail, pid: i64) -> Option<&Heard> {
    trail.probe.iter().find(|line| is(line, Some("kmsg.oom")) && decoded(line).scaled(field::VICTIM_PID) == Some(pid))
}

/// The first line of this kill by the counters. It can be earlier than the console, which is slow; a limit that was met
/// without a kill has a line too.
pub(crate) fn oom_line(trail: &Trail, kill: Duration) -> Option<&Heard> {
    let counts = |line: &Heard| is(line, Some("oom")) && decoded(line).scaled(field::DELTA) >= Some(1);
    trail.probe.iter().find(|line| line.at + CONSOLE_LAG > kill && counts(line))
}

fn outlives(form: Form, trail: &Trail) -> Result<(), String> {
    let kills = figures::kills(&trail.console);
    let of_probe = kills.iter().find(|kill| kill.comm == "runner-vitals");
    let Some(kill) = of_probe.or(kills.first()) else { return Err("the kernel killed nothing".to_owned()) };
    let goes_on = samples(trail).any(|sample| sample.at > kill.at + ON_THE_WAY) && of_probe.is_none();
    match (goes_on, form.privilege) {
        (true, _) => Ok(()),
        (false, Privilege::Root) => Err(format!("the probe does not outlive the kill of {}", kill.comm)),
        (false, _) => {
            let age = figures::age_at(&trail.probe, kill.at).ok_or("no line before the kill")?;
            at_most(age, LAST_WORDS, "age of the last line when the probe was killed")
        }
    }
}

fn shows(field: &Field, value: &str, trail: &Trail) -> Result<(), String> {
    let last = samples(trail).last().ok_or("no sample")?;
    match decoded(last).text(field) {
        Some(text) if text == value => Ok(()),
        other => Err(format!("{} is {other:?} in the last sample, not {value}", field.key)),
    }
}

fn over_zero(field: &Field, trail: &Trail) -> Result<(), String> {
    match samples(trail).any(|sample| decoded(sample).scaled(field) > Some(0)) {
        true => Ok(()),
        false => Err(format!("{} is never over 0", field.key)),
    }
}

fn says(event: &str, field: &Field, value: &str, trail: &Trail) -> bool {
    let mut of_event = trail.probe.iter().filter(|line| is(line, Some(event)));
    of_event.any(|line| match (field.unit.decimals(), decoded(line)) {
        (None, line) => line.text(field) == Some(value),
        (Some(_), line) => {
            line.get(field).is_some_and(|reading| matches!(reading, Reading::Value(text) if text == value))
        }
    })
}

fn start_is_not(field: &Field, value: &str, trail: &Trail) -> Result<(), String> {
    let start = trail.probe.iter().find(|line| is(line, Some("start"))).ok_or("no start line")?;
    match decoded(start).text(field) {
        Some(text) if text != value => Ok(()),
        other => Err(format!("{} of the start line is {other:?}", field.key)),
    }
}

fn absent(fields: &[&Field], trail: &Trail) -> Result<(), String> {
    for sample in samples(trail) {
        if let Some(field) = fields.iter().find(|field| decoded(sample).text(field).is_some()) {
            return Err(format!("{} has a value: {}", field.key, sample.text));
        }
    }
    Ok(())
}

fn last_line(trail: &Trail) -> Result<(), String> {
    if !trail.rest.is_empty() {
        return Err(format!("the last line is not whole: {}", String::from_utf8_lossy(&trail.rest)));
    }
    let age = figures::age_at(&trail.probe, trail.window.end).ok_or("no line")?;
    let bare = figures::bare_silence(&trail.bare, trail.window);
    at_most(age, figures::allowed_silence(bare), "age of the last line at the guest's death")
}

fn resumes(within: Duration, trail: &Trail) -> Result<(), String> {
    let held_until = trail.acted.ok_or("it was not held")?;
    let next = trail.probe.iter().find(|line| line.at > held_until).ok_or("no line after it was held")?;
    at_most(next.at - held_until, within, "first line after the guest was held")
}

fn stops(within: Duration, trail: &Trail) -> Result<(), String> {
    let signalled = trail.acted.ok_or("no signal was sent")?;
    let stop = trail.probe.iter().find(|line| is(line, Some("stop"))).ok_or("no stop line")?;
    at_most(stop.at.saturating_sub(signalled), within, "stop line after the signal")
}

fn samples(trail: &Trail) -> impl Iterator<Item = &Heard> {
    trail.probe.iter().filter(|line| is(line, None))
}

fn is(line: &Heard, event: Option<&str>) -> bool {
    Line::decode(&line.text).is_ok_and(|line| line.event.as_deref() == event)
}

/// Of a line that is known to decode.
fn decoded(heard: &Heard) -> Line<'_> {
    Line::decode(&heard.text).unwrap_or_else(|error| panic!("{error}: {}", heard.text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Window;
    use crate::scenario;

    const KILL: &str = "[ 9.0] Out of memory: Killed process 7 (hog) total-vm:1kB, anon-rss:1kB";
    const NAMED: &str = " event=kmsg.oom scope=guest victim.comm=hog victim.pid=7";
    const OOM: Oom = Oom { victim: "hog", scope: "guest", source: "vm" };

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A kill at 5000 ms, and the probe's lines: when, and what stands behind the envelope.
    fn trail(killed: &str, lines: &[(u64, &str)]) -> Trail {
        let line = |(seq, &(at, rest)): (usize, &(u64, &str))| Heard {
            text: format!("RUNNER_VITALS ts= run=k3x9 seq={seq}{rest}"),
            at: ms(at),
        };
        Trail {
            console: vec![Heard { text: killed.to_owned(), at: ms(5000) }],
            probe: lines.iter().enumerate().map(line).collect(),
            bare: Vec::new(),
            shell: Vec::new(),
            rest: Vec::new(),
            window: Window { begin: ms(1000), end: ms(9000) },
            acted: Some(ms(6000)),
        }
    }

    fn holds(bound: Bound, form: Form, trail: &Trail) -> bool {
        fault(bound, form, trail).is_ok()
    }

    #[test]
    fn a_kill_is_told_in_time_with_its_victim_and_scope() {
        let counter = " event=oom source=vm delta=1 kmsg=agrees";
        for (named, at, counter_at, expected) in [
            (NAMED, 4990, 4990, true),
            (NAMED, 5250, 5250, true),
            (NAMED, 5251, 5251, false),
            (NAMED, 5010, 5300, false),
            (" event=kmsg.oom scope=cgroup victim.comm=hog victim.pid=7", 5010, 5010, false),
            (" event=kmsg.oom scope=guest victim.comm=hog victim.pid=8", 5010, 5010, false),
        ] {
            let trail = trail(KILL, &[(at, named), (counter_at, counter)]);
            assert_eq!(holds(Bound::Told(OOM), Form::ROOT, &trail), expected, "{named} {at} {counter_at}");
        }
        assert!(!holds(Bound::Told(OOM), Form::ROOT, &trail(KILL, &[(5010, NAMED)])));
        assert!(!holds(Bound::Told(OOM), Form::ROOT, &trail("", &[])), "there has to be a kill");
    }

    #[test]
    fn a_kill_that_may_not_be_read_is_counted_by_the_next_sample() {
        const UNREAD: &str = " event=oom source=vm delta=1 kmsg=unread";
        const NONE: (u64, &str) = (4900, " vm.oom_kill=2");
        const ONE: &str = " vm.oom_kill=3";
        for (lines, expected) in [
            (&[NONE, (5900, ONE), (5901, UNREAD)][..], true),
            (&[NONE, (5100, UNREAD), (5900, ONE)], true),
            // On the way since before the kill.
            (&[NONE, (5500, NONE.1), (5501, NONE.1), (5502, ONE), (5503, UNREAD)], true),
            (&[NONE, (5900, ONE), (6140, ONE), (6145, UNREAD)], false),
            (&[NONE, (5900, ONE), (6200, UNREAD), (6201, ONE)], false),
            (&[NONE, (5900, ONE), (5901, " event=oom source=vm delta=1 kmsg=missing")], false),
            (&[NONE, (5900, ONE), (5901, " event=oom source=vm delta=0 kmsg=unread")], false),
            (&[NONE, (5900, ONE)], false),
        ] {
            assert_eq!(holds(Bound::Told(OOM), Form::USER, &trail(KILL, lines)), expected, "{lines:?}");
        }
    }

    #[test]
    fn root_outlives_a_kill_and_others_spoke_just_before() {
        let of_probe = KILL.replace("(hog)", "(runner-vitals)");
        for (killed, lines, form, expected) in [
            (KILL, &[(4500, ""), (5500, "")][..], Form::ROOT, true),
            (KILL, &[(4500, "")], Form::ROOT, false),
            (&of_probe, &[(4900, "")], Form::ROOT, false),
            (&of_probe, &[(4700, "")], Form::USER, true),
            (&of_probe, &[(4699, "")], Form::USER, false),
            (KILL, &[(4500, ""), (5500, "")], Form::USER, true),
        ] {
            assert_eq!(holds(Bound::Outlives, form, &trail(killed, lines)), expected, "{killed} {lines:?}");
        }
    }

    #[test]
    fn a_last_line_is_whole_and_young() {
        let mut trail = trail(KILL, &[(7751, "")]);
        assert!(holds(Bound::LastLine, Form::ROOT, &trail));
        trail.rest = b"RUNNER_VI".to_vec();
        assert!(!holds(Bound::LastLine, Form::ROOT, &trail));
    }

    #[test]
    fn what_follows_an_act_is_in_time() {
        let stop = trail(KILL, &[(6400, " event=stop reason=sigterm")]);
        assert!(holds(Bound::Stops(ms(400)), Form::ROOT, &stop) && !holds(Bound::Stops(ms(399)), Form::ROOT, &stop));
        assert!(
            holds(Bound::Resumes(ms(400)), Form::ROOT, &stop) && !holds(Bound::Resumes(ms(399)), Form::ROOT, &stop)
        );
    }

    #[test]
    fn a_reading_that_is_not_there_is_neither_empty_nor_zero() {
        let readings = |rest| trail(KILL, &[(1, rest)]);
        let absent = Bound::Absent(&[field::MEM_STALL, field::OOM]);
        assert!(holds(absent, Form::ROOT, &readings(" oom=")));
        assert!(!holds(absent, Form::ROOT, &readings(" oom=0")));
        assert!(holds(Bound::OverZero(field::PIDS_FAIL), Form::ROOT, &readings(" pids.fail=3")));
        assert!(!holds(Bound::OverZero(field::PIDS_FAIL), Form::ROOT, &readings(" pids.fail=0")));
    }

    #[test]
    fn scenarios_have_names_of_their_own() {
        for (at, scenario) in scenario::ALL.iter().enumerate() {
            assert!(scenario::ALL[..at].iter().all(|other| other.name != scenario.name), "{}", scenario.name);
        }
    }
}
