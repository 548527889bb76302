//! What a verdict says beside its cause: what is not known, when it was, what to do.

use runner_vitals::hub::diagnose::Format;
use runner_vitals::hub::diagnose::cause::Cause::*;
use runner_vitals::hub::diagnose::text::Look;
use runner_vitals::hub::diagnose::verdict::{Confidence, Said, Verdict};

use crate::made::{Made, is};
use crate::page::page;
use crate::support::{fixture, printed, verdict};
use crate::trails::TRAILS;

fn has(said: &[Said], text: &str) -> bool {
    said.iter().any(|said| said.says.contains(text))
}

/// A captured trail without its first lines.
fn tail(name: &str, lines: usize) -> Verdict {
    verdict(&fixture(name).split_inclusive('\n').skip(lines).collect::<String>())
}

#[test]
fn a_beginning_that_is_not_there_is_said_of_every_verdict() {
    for (name, ..) in TRAILS {
        assert!(!has(&verdict(&fixture(name)).but, "not there"), "{name}");
        let part = tail(name, 4);
        assert_eq!(part.missing_before, 4, "{name}");
        assert_eq!(
            part.but.iter().filter(|said| said.says.starts_with("the 4 lines before 2026-")).count(),
            1,
            "{name}"
        );
        let claims = part.ruled_out.iter().any(|other| has(&other.because, "did not move"));
        assert!(!claims, "{name}: {:#?}", part.ruled_out);
    }
    let out = tail("thrash-files", 4).ruled_out;
    assert!(has(&out[0].because, "was not seen to move since 2026-11-24T18:57:1"), "{:#?}", out[0]);
    // The kernel counts from its boot, and so says more.
    let out = Made::started("").samples(30).without_first(10).verdict().ruled_out;
    assert!(has(&out[0].because, "(vm.oom_kill) is 0: there was none since it booted"), "{:#?}", out[0]);
}

#[test]
fn a_beginning_that_is_not_there_makes_less_sure_where_it_matters() {
    let made = Made::started("").samples(40);
    is(&made.without_first(5), OutsideGuest, Confidence::High);
    // What ailed it a minute ago would be there, were there a minute.
    is(&made.without_first(35), OutsideGuest, Confidence::Medium);
    let failed = made.clone().stop("reason=job_exit job.exit=3 samples=40");
    is(&failed.without_first(5), Finished, Confidence::High);
    is(&failed.without_first(38), Finished, Confidence::Medium);
    is(&made.clone().stop("reason=job_exit job.exit=0 samples=40").without_first(38), Finished, Confidence::High);
    // A last line is not the first.
    let stopped = made.stop("reason=sigterm samples=40").without_first(41);
    assert_ne!(stopped.verdict().cause, NoVitals, "{:#?}", stopped.verdict());
}

#[test]
fn what_speaks_against_a_verdict_is_not_among_its_reasons() {
    let verdict = verdict(&fixture("panic-on-oom"));
    assert!(!has(&verdict.because, "did not move"), "{:#?}", verdict.because);
    assert!(has(&verdict.but, "(vm.oom_kill) did not move; a kernel that panics"), "{:#?}", verdict.but);
}

/// Where the kernel's messages are denied, the counts say between which samples a kill was.
#[test]
fn a_kill_that_only_samples_count_has_its_time() {
    let made = Made::started("").samples(12).with("oom", 1).with("oom_kill", 1).with("vm.oom_kill", 1).samples(3);
    // Two samples more show that the agent outlived it so far.
    let verdict = is(&made, CgroupOom, Confidence::Medium);
    let says = &verdict.because[0];
    assert!(
        says.says.contains("between 2026-05-28T20:27:40.000Z and 2026-05-28T20:27:45.000Z, 10.0 s before"),
        "{says:#?}"
    );
    assert_eq!(says.lines.iter().map(|line| line.seq).collect::<Vec<_>>(), [13, 14]);
    // The line that tells it is the one that is cited, behind the sample that does not count it.
    let told = Made::started("").samples(12).wait(1000).event("oom", "source=own delta=1 kmsg=unread");
    let told = told.with("oom", 1).with("oom_kill", 1).with("vm.oom_kill", 1).samples(2);
    let lines: Vec<u64> =
        is(&told, CgroupOom, Confidence::Medium).because[0].lines.iter().map(|line| line.seq).collect();
    assert_eq!(lines, [13, 14]);
    // Of a kill long ago too.
    let verdict = made.samples(100).verdict();
    let other = &verdict.contributing[0];
    assert!(other.because[0].says.contains("20:27:45.000Z, 8 min 30 s before the end"), "{other:#?}");
    assert_eq!((verdict.cause, other.cause), (OutsideGuest, CgroupOom));
}

#[test]
fn a_kill_in_a_long_gap_is_not_surely_the_end() {
    let made = Made::started("").samples(12).wait(600_000).with("oom", 1).with("oom_kill", 1).with("vm.oom_kill", 1);
    let verdict = is(&made.sample(), CgroupOom, Confidence::Medium);
    assert!(has(&verdict.but, "the samples in between are not there"), "{verdict:#?}");
}

#[test]
fn who_ran_the_job_and_is_gone_is_not_the_end_of_the_job() {
    let gone = |made: Made| made.stop("reason=parent_exit samples=20");
    let verdict = is(&gone(Made::started("").with("agent.state", "").samples(20)), Inconclusive, Confidence::Low);
    assert!(has(&verdict.because, "no line tells whether the job ended with it"), "{verdict:#?}");
    assert!(
        verdict.change[0].contains("what became of the process that started the probe at 2026-05-28"),
        "{verdict:#?}"
    );
    // Where its worker had ended, the job had.
    let agent =
        |made: Made, state| made.event("agent", &format!("comm=Runner.Worker role=worker state={state} pid=10"));
    let ended = agent(agent(Made::started(""), "appeared").samples(20), "vanished").samples(1);
    let verdict = is(&gone(ended), Finished, Confidence::Medium);
    assert!(has(&verdict.but, "may have been killed"), "{verdict:#?}");
    // Where the agent is there still, it had not.
    let verdict = is(&gone(Made::started("").samples(20)), Inconclusive, Confidence::Low);
    let ended = verdict.contributing.iter().find(|other| other.cause == Finished).unwrap();
    assert_eq!(ended.score, 20, "{verdict:#?}");
    // A kill just then is why.
    let killed = Made::started("").samples(20).with("oom", 1).with("oom_kill", 1).with("vm.oom_kill", 1).sample();
    is(&gone(killed), CgroupOom, Confidence::Medium);
    // What ended of itself, as it was asked to, has told it so.
    let verdict = is(&Made::started("").samples(20).stop("reason=samples samples=20"), Stopped, Confidence::High);
    assert!(has(&verdict.because, "as many samples as it was to"), "{verdict:#?}");
}

#[test]
fn silence_is_told_as_what_it_is() {
    let verdict = verdict(&fixture("power-off"));
    assert!(has(&verdict.because, "silence, and before it the guest was well: at least 185 MiB"), "{verdict:#?}");
    assert!(has(&verdict.but, "a power-off, a reboot or a SIGKILL of the probe alone"), "{verdict:#?}");
    // Not well: that it was, is not said beside it.
    let busy = |made: Made| made.samples(12).with("cpu.busy.pct", "99.0").with("cpu.stall.pct", "97.0").samples(6);
    let verdict = is(&busy(Made::started("").with("agent.wait.ms", "")), OutsideGuest, Confidence::Medium);
    assert!(!has(&verdict.because, "was well") && has(&verdict.but, "not all was well: cpu_starved"), "{verdict:#?}");
}

#[test]
fn a_busy_guest_is_no_starved_one() {
    let verdict = verdict(&fixture("cpu-busy"));
    let out = verdict.ruled_out.iter().find(|other| other.cause == CpuStarved).unwrap();
    assert!(has(&out.because, "CPUs busy 90.4 %; and nobody who was the worse for it"), "{out:#?}");
    assert!(verdict.contributing.is_empty(), "{:#?}", verdict.contributing);
}

#[test]
fn a_runner_that_is_told_to_stop_right_after_a_kill_was_not_well() {
    let verdict = verdict(&fixture("sigterm"));
    let says =
        "what else there was is too weak to be its end (guest_oom has 30 of 100): at the lowest 6 MiB of 218 MiB";
    assert!(has(&verdict.because, says), "{verdict:#?}");
}

#[test]
fn a_job_that_failed_by_itself_has_advice() {
    let ends = |how: &str| Made::started("").samples(20).stop(&format!("reason=job_exit {how} samples=20")).verdict();
    for (how, because, change) in [
        ("job.signal=9", "by signal 9 (SIGKILL)", "find who sent signal 9 (SIGKILL)"),
        ("job.exit=137", "code 137, 128 and signal 9 (SIGKILL)", "find who sent signal 9 (SIGKILL)"),
        ("job.exit=3", "code 3", "the job failed by itself, with code 3"),
    ] {
        let verdict = ends(how);
        assert_eq!(verdict.cause, Finished);
        assert!(has(&verdict.because, because) && verdict.change[0].starts_with(change), "{verdict:#?}");
    }
    assert!(ends("job.exit=0").change.is_empty());
}

#[test]
fn a_brake_is_told_as_one() {
    let verdict = verdict(&fixture("thrash-high"));
    assert!(has(&verdict.because, "53 MiB and is slowed down from 48 MiB on (mem.high)"), "{:#?}", verdict.because);
    assert!(verdict.change[0].starts_with("raise memory.high of /runner") && verdict.change[0].contains("so 79 MiB"));
    // A limit below it is met first.
    let made = Made::started("").samples(12).with("mem.high", "7000000000").with("mem.current", "5990000000");
    let verdict = made.with("mem.stall.pct", "70.0").samples(4).verdict();
    assert!(verdict.change[0].starts_with("raise the runner's memory limit"), "{:?}", verdict.change);
}

#[test]
fn a_group_that_was_killed_is_named_and_not_its_last_process() {
    let verdict = verdict(&fixture("oom-group"));
    let says = &verdict.because[0];
    let group = "the kernel killed all of /runner, the largest of it hog (62 MiB resident), for memory at 2026-11-24T18:51:55.104Z";
    assert!(says.says.starts_with(group), "{says:?}");
    assert_eq!(says.lines.iter().map(|line| line.seq).collect::<Vec<_>>(), [59, 64]);
}

#[test]
fn advice_names_the_time_of_what_is_to_be_looked_at() {
    // Not that of the stop, three seconds later.
    let paused = verdict(&fixture("held"));
    let gap = "between 2026-11-24T18:54:45.989Z and 2026-11-24T18:55:05.602Z";
    assert!(paused.change[0].contains(gap), "{:?}", paused.change);
    let silent = verdict(&fixture("power-cut"));
    let silence = "between 2026-11-24T19:04:24.205Z and 2026-11-24T19:04:25.205Z";
    assert!(silent.change[0].contains(silence), "{:?}", silent.change);
}

fn text(trail: &str, look: Look) -> String {
    printed(Format::Text, false, trail.as_bytes(), look).0
}

/// Where some texts stand.
fn places(all: &str, texts: &[&str]) -> Vec<usize> {
    texts.iter().map(|text| all.find(text).unwrap_or_else(|| panic!("no {text}: {all}"))).collect()
}

#[test]
fn what_it_was_not_comes_before_what_to_change() {
    let trail = fixture("panic-on-oom");
    let told = places(&text(&trail, Look::Plain), &["\n  because", "\n  but", "\n  not", "\n  change"]);
    assert!(told.is_sorted(), "{told:?}");
    let drawn =
        places(&page(&trail), &["<h3>Why", "<h3>What leaves it open", "<h3>What it was not", "<h3>What to change"]);
    assert!(drawn.is_sorted(), "{drawn:?}");
}

#[test]
fn what_is_no_trouble_does_not_look_like_one() {
    let kill = "scope=cgroup victim.comm=node victim.adj=0 cgroup=/runner kts=165";
    let dies = Made::started("").samples(20).event("kmsg.oom", kill).with("oom_kill", 1).with("vm.oom_kill", 1);
    let dies = dies.event("oom", "source=own delta=1 kmsg=agrees");
    let ended = |how: &str| Made::started("").samples(20).stop(&format!("reason={how} samples=20")).text().to_owned();
    for (trail, colour, class) in [
        (ended("sigterm"), "1;32", "calm"),
        (ended("job_exit job.exit=0"), "1;32", "calm"),
        (ended("job_exit job.exit=3"), "1;34", "low"),
        // What came from outside of the guest is no fault of its.
        (fixture("power-cut"), "1;34", "low"),
        (dies.text().to_owned(), "1;31", "high"),
        (fixture("held"), "1;33", "medium"),
    ] {
        let told = text(&trail, Look::Coloured);
        assert!(told.lines().next().unwrap().contains(&format!("\u{1b}[{colour}m")), "{told:?}");
        assert!(page(&trail).contains(&format!("<header class=\"{class}\">")), "{class}");
    }
}

#[test]
fn one_is_one() {
    let one = Made::started("").event("start", "interval.ms=5000").without_first(1);
    let told = text(one.text(), Look::Plain);
    assert!(told.contains("run made, 1 line over") && told.contains("the line before 2026-"), "{told}");
    let all = printed(Format::Text, true, fixture("idle").as_bytes(), Look::Plain).0;
    assert!(all.contains("\n1 runner\n"), "{all}");
}

#[test]
fn a_gap_next_to_the_end_has_its_name() {
    let names = page(&fixture("held")).matches("<text class=\"named\"").count();
    assert!(names >= 6, "in each chart: {names}");
}
