//! What contradicts a verdict, or leaves it open, makes it less sure and is said.

use runner_vitals::hub::diagnose::cause::Cause::*;
use runner_vitals::hub::diagnose::evidence::Ending;
use runner_vitals::hub::diagnose::verdict::{Confidence, Said, Verdict};

use crate::made::{Made, contributes, is};

fn has(said: &[Said], text: &str) -> bool {
    said.iter().any(|said| said.says.contains(text))
}

/// Not sure, and it says why.
#[track_caller]
fn doubts(verdict: &Verdict, why: &str) {
    assert!(verdict.confidence < Confidence::High && has(&verdict.but, why), "{why}: {verdict:#?}");
}

fn well() -> Made {
    Made::started("").samples(20)
}

fn job(how: &str) -> String {
    format!("reason=job_exit {how} samples=20")
}

#[test]
fn a_job_that_ended_by_the_signal_it_was_told_was_stopped() {
    for (how, signal) in [
        ("job.signal=15 job.told=15", "15 (SIGTERM)"),
        ("job.exit=143 job.told=15", "15 (SIGTERM)"),
        ("job.exit=130 job.told=2", "2 (SIGINT)"),
    ] {
        let verdict = is(&well().stop(&job(how)), Stopped, Confidence::High);
        assert!(matches!(verdict.ending, Ending::Told(Some(_))), "{verdict:#?}");
        assert!(
            has(&verdict.because, &format!("the job was told to end, by signal {signal}, and did")),
            "{verdict:#?}"
        );
        assert!(verdict.change[0].starts_with(&format!("find who sent signal {signal}")), "{verdict:#?}");
    }
    // It ended, but not by that.
    for (how, ended) in [
        ("job.exit=1 job.told=15", "with code 1"),
        ("job.exit=0 job.told=15", "with code 0"),
        ("job.signal=9 job.told=15", "by signal 9 (SIGKILL)"),
        ("job.signal=11 job.told=1", "by signal 11 (SIGSEGV)"),
        ("job.told=15", "in a way that is not told"),
    ] {
        let verdict = is(&well().stop(&job(how)), Stopped, Confidence::Medium);
        doubts(&verdict, &format!("it ended {ended}, and not by that signal"));
    }
    // Who was told nothing was not.
    is(&well().stop(&job("job.signal=15")), Finished, Confidence::High);
}

#[test]
fn a_job_that_was_told_to_end_in_a_trouble_was_given_up_for_it() {
    let thrashing = || well().with("mem.stall.pct", "95.0").samples(5);
    let verdict = is(&thrashing().stop(&job("job.signal=15 job.told=15")), MemoryThrash, Confidence::Medium);
    contributes(&verdict, Stopped);
    let killed = || well().with("oom", 1).with("oom_kill", 1).with("vm.oom_kill", 1).sample();
    let verdict = is(&killed().stop(&job("job.signal=9 job.told=15")), CgroupOom, Confidence::Medium);
    contributes(&verdict, Stopped);
    // One that ended with code 0 was ended by none.
    is(&killed().stop(&job("job.exit=0 job.told=15")), Stopped, Confidence::Medium);
}

fn agent(made: Made, role: &str, state: &str) -> Made {
    let comm = if role == "agent" { "Runner.Listener" } else { "Runner.Worker" };
    made.event("agent", &format!("comm={comm} role={role} state={state} pid=9"))
}

fn in_its_job() -> Made {
    agent(agent(Made::started(""), "agent", "appeared").samples(2), "worker", "appeared").samples(12)
}

#[test]
fn an_agent_that_ended_before_the_silence_points_inside() {
    let over = || agent(agent(in_its_job(), "worker", "vanished").sample(), "agent", "vanished");
    let gone = || over().with("agent.state", "").with("agent.wait.ms", "").with("agent.rss.kb", "");
    for made in [gone(), gone().samples(2), gone().samples(60)] {
        let verdict = is(&made, Finished, Confidence::Medium);
        assert!(has(&verdict.because, "Runner.Listener ended 5.0 s after its job"), "{verdict:#?}");
        doubts(&verdict, "no line tells how the job ended");
        doubts(&verdict, "outside of the guest");
    }
    // Where the job's end is told, it is that.
    let told = |phase: &str| {
        let text = over().event("phase", phase).text().to_owned();
        crate::support::verdict(&text)
    };
    let verdict = told("phase=ended job.exit=0 boot.id=b");
    assert_eq!((verdict.cause, verdict.confidence), (Finished, Confidence::High), "{verdict:#?}");
    // Only its job has ended, and it will be removed for that.
    let verdict = is(&agent(in_its_job(), "worker", "vanished").samples(2), OutsideGuest, Confidence::Medium);
    doubts(&verdict, "its job had ended 10.0 s before");
    // No line tells that it went, but the samples no longer have it.
    let unseen = in_its_job().with("agent.state", "").with("agent.wait.ms", "").with("agent.rss.kb", "").samples(3);
    doubts(&is(&unseen, OutsideGuest, Confidence::Medium), "the agent is not in the last sample");
}

/// Events right before silence: each is said, and `outside_guest` is not sure.
#[test]
fn what_ailed_a_guest_right_before_its_silence_is_said() {
    for (event, fields, says) in [
        ("pressure", "resource=memory kind=psi value=20.0", "memory ran short"),
        ("pressure", "resource=memory kind=events value=20.0", "memory ran short"),
        ("pressure", "resource=memory kind=slope value=4.8", "memory ran short"),
        ("pressure", "resource=io kind=psi value=30.0", "disks ran short"),
        ("pressure", "resource=cpu kind=psi value=99.0", "CPUs ran short"),
        ("kmsg.hung", "comm=jbd2 kts=150 msg=x", "kmsg.hung about jbd2"),
        ("kmsg.io", "dev=vda kts=150 msg=x", "kmsg.io about vda"),
        ("kmsg.fs", "dev=vda kts=150 msg=x", "kmsg.fs about vda"),
        ("kmsg.alloc", "comm=cc1 kts=150 msg=x", "kmsg.alloc about cc1"),
        ("kmsg.balloon", "kts=150 msg=x", "kmsg.balloon"),
        ("kmsg.rcu", "kts=150 msg=x", "kmsg.rcu"),
        ("kmsg.segv", "comm=node kts=150 msg=x", "kmsg.segv about node"),
        ("kmsg.oom", "scope=guest victim.comm=node victim.adj=900 kts=150 msg=x", "killed node"),
        ("oom", "source=vm delta=1 kmsg=unread", "killed"),
        ("gap", "kind=unknown ms=1500", "the probe did not run for 1.5 s"),
        ("degraded", "what=sink.http error=timeout", "a network sink failed"),
        ("disk", "path=/data avail.kb=90000 used.pct=99.2 inode.used.pct=3.0", "/data"),
        ("agent", "comm=Runner.Listener role=agent state=waited pid=9 wait.ms=1300", "the agent waited over a second"),
    ] {
        let verdict = well().event(event, fields).samples(2).verdict();
        let told = verdict.because.iter().chain(&verdict.but).any(|said| said.says.contains(says));
        assert!(told && verdict.confidence < Confidence::High, "{event} {fields}: {verdict:#?}");
        // Of long ago it is nothing.
        let later = well().event(event, fields).samples(60).verdict();
        assert_eq!((later.cause, later.confidence), (OutsideGuest, Confidence::High), "{event}: {later:#?}");
    }
}

/// Readings of the last sample alone, which a mean over the last ones would hide.
#[test]
fn a_last_sample_that_was_ill_is_said() {
    for (readings, says) in [
        (&[("vm.mem.avail.kb", "600000")][..], "585 MiB of 7.6 GiB were available"),
        (&[("mem.anon", "5500000000")], "cannot be dropped"),
        (&[("mem.stall.pct", "60.0")], "all tasks waited for memory 60.0 %"),
        (&[("mem.psi.full.avg10", "15.0")], "all tasks waited for memory 15.0 %"),
        (&[("io.stall.pct", "95.0")], "all tasks waited for disks 95.0 %"),
        (&[("cpu.steal.pct", "35.0")], "the host took 35.0 %"),
        (&[("late.ms", "2100.0")], "the probe itself was 2.1 s late"),
        (&[("agent.state", "D")], "the agent waits uninterruptibly"),
        (&[("agent.state", "Z")], "the agent is dead (state Z)"),
        (&[("pids.used.pct", "99.5")], "99.5 % of the processes"),
        (&[("disk.used.pct", "99.8"), ("disk.avail.kb", "9000")], "99.8 %"),
    ] {
        let made = readings.iter().fold(well(), |made, (key, value)| made.with(key, *value)).sample();
        let verdict = made.verdict();
        let told = verdict.because.iter().chain(&verdict.but).any(|said| said.says.contains(says));
        assert!(told && verdict.confidence < Confidence::High, "{readings:?}: {verdict:#?}");
        assert!(!has(&verdict.because, "was well"), "{verdict:#?}");
    }
}

/// That memory is short takes from starvation, and gives nothing to what is outside.
#[test]
fn short_memory_makes_nothing_outside_of_the_guest() {
    let starved = || well().with("cpu.busy.pct", "99.0").with("cpu.stall.pct", "97.0");
    let plain = is(&starved().rising(4, "agent.wait.ms", 40, 4000), CpuStarved, Confidence::Medium);
    let short = starved().with("mem.current", "5900000000").rising(4, "agent.wait.ms", 40, 4000).verdict();
    assert!(short.confidence < Confidence::High && short.score <= plain.score, "{short:#?}");
}

#[test]
fn few_samples_make_nothing_sure() {
    let lonely = |key, value| Made::started("").with(key, value).sample().verdict();
    for (key, value) in [("mem.stall.pct", "99.0"), ("cpu.steal.pct", "99.0"), ("io.stall.pct", "100.0")] {
        doubts(&lonely(key, value), "there is 1 sample");
        let two = Made::started("").with(key, value).samples(2).verdict();
        doubts(&two, "there are 2 samples");
    }
    let burst = |made: Made| made.wait(250).wait_back(5000).sample();
    let short = |key, value| burst(burst(burst(Made::started("").with(key, value).sample()))).verdict();
    for (key, value) in [("mem.stall.pct", "99.0"), ("cpu.steal.pct", "99.0"), ("load1", "0.10")] {
        doubts(&short(key, value), "all samples are of 750 ms");
    }
    // Few that end well, or were told to, are no proof that nothing ailed them.
    let stopped = Made::started("").sample().stop("reason=sigterm").verdict();
    assert_eq!((stopped.cause, stopped.confidence), (Stopped, Confidence::Medium), "{stopped:#?}");
    doubts(&stopped, "there is 1 sample");
    is(&Made::started("").sample().stop(&job("job.exit=0")), Finished, Confidence::High);
}

#[test]
fn samples_that_may_be_missing_are_not_none() {
    let made = Made::started("").skip(30).event("about", "interval.ms=5000");
    let verdict = is(&made, Inconclusive, Confidence::Low);
    assert!(!has(&verdict.because, "there is no sample"), "{verdict:#?}");
    let out = verdict.ruled_out.iter().chain(&verdict.contributing).find(|other| other.cause == NoVitals);
    assert!(out.is_none_or(|out| out.score <= 30), "{verdict:#?}");
}

#[test]
fn an_interval_that_nobody_tells_is_not_said_as_one() {
    use runner_vitals::hub::diagnose::{Format, text::Look};
    let text = |made: &Made| crate::support::printed(Format::Text, false, made.text().as_bytes(), Look::Plain).0;
    let untold = text(&Made::new().sample());
    assert!(untold.contains("(when the next was due if the interval is 5.0 s, which no line tells)"), "{untold}");
    let guessed = text(&Made::new().samples(30));
    assert!(guessed.contains("(when the next was due by the interval of the others, 5.0 s)"), "{guessed}");
    let told = text(&Made::started("").samples(30));
    assert!(told.contains("(when the next was due)"), "{told}");
    let verdict = Made::new().samples(30).without_first(29).verdict();
    assert!(verdict.change.iter().all(|change| !change.contains(" and 2026")), "{:?}", verdict.change);
}

#[test]
fn lines_that_are_not_all_of_one_run_make_nothing_sure() {
    let low = |made: &Made, why: &str| {
        let verdict = made.verdict();
        assert!(verdict.confidence == Confidence::Low && has(&verdict.but, why), "{why}: {verdict:#?}");
    };
    // Another line took the number of the next one, or that of a line that is kept.
    let twice = |made: Made| made.wait(700).again(1).event("pressure", "resource=memory kind=psi value=50.0");
    low(&twice(well()).sample(), "1 line denies another of the run");
    let killed = || well().event("kmsg.oom", "scope=guest victim.comm=node kts=150 msg=x");
    low(&killed().wait(700).again(1).sample(), "1 line denies another of the run");
    low(
        &well().stop("reason=sigterm").wait(9).again(1).stop("reason=job_exit job.exit=3"),
        "1 line denies another of the run",
    );
    // At the same time, with other words.
    low(&well().again(1).wait_back(5000).with("vm.mem.avail.kb", 12288).sample(), "1 line denies another of the run");
    low(&well().again(1).event("kmsg.panic", "kts=150 msg=x"), "1 line denies another of the run");
    low(
        &well().event("kmsg.segv", "comm=a kts=150 msg=x").again(1).sample().wait(1),
        "1 line denies another of the run",
    );
    // Two last words.
    low(&well().stop("reason=sigterm").stop("reason=job_exit job.exit=3"), "1 line denies another of the run");
    // The same line is the same, however often.
    let text = format!("{0}{0}", well().text());
    assert_eq!(crate::support::verdict(&text).confidence, Confidence::High);
    // It goes on behind its last word.
    low(&well().stop("reason=sigterm").samples(3), "a line says that it stopped, and lines of the run come behind it");
    // It jumps.
    low(&well().skip(400).samples(3), "its lines are numbered from 21 on to 422");
    low(&well().skip(400).stop("reason=sigterm"), "its lines are numbered from 21 on to 422");
    low(
        &Made::started("").samples(3).skip(90_000).samples(60),
        "which is more than a probe writes in the time between",
    );
    // In an hour without a collector it wrote as many.
    let missed = well().skip(720).wait(3_600_000).samples(20);
    assert_eq!(missed.verdict().confidence, Confidence::High, "{:#?}", missed.verdict());
}

#[test]
fn holes_before_a_last_word_cost() {
    for last in ["reason=sigterm", "reason=job_exit job.exit=3", "reason=job_exit job.exit=0"] {
        let whole = well().stop(last).verdict();
        for made in [well().skip(2).stop(last), well().skip(2).sample().stop(last)] {
            let verdict = made.verdict();
            assert_eq!((verdict.cause, verdict.score), (whole.cause, whole.score - 20), "{verdict:#?}");
            assert!(has(&verdict.but, "lines right before the last one are missing"), "{verdict:#?}");
        }
        let early = Made::started("").samples(5).skip(2).samples(20).stop(last).verdict();
        assert_eq!(early.score, whole.score, "{early:#?}");
    }
}

/// Without its `start` line nobody knows what the own cgroup is called.
#[test]
fn a_kill_of_the_own_cgroup_is_not_another_ones_for_a_lost_beginning() {
    let kill = "scope=cgroup victim.comm=node victim.pid=7 victim.adj=0 cgroup=/runner kts=150 msg=x";
    let full = || Made::started("").with("mem.current", "5990000000").with("mem.peak", "6000000000").samples(20);
    let counted = |made: Made| made.with("oom", 1).with("oom_kill", 1).with("vm.oom_kill", 1).samples(2);
    let told = || counted(full().event("kmsg.oom", kill).event("oom", "source=vm delta=1 kmsg=agrees"));
    // The limit was met, and the count of processes that were lost comes later.
    let met = full().event("kmsg.oom", kill).with("oom", 1).with("vm.oom_kill", 1).samples(2);
    for (made, lost) in [(told(), 22), (met.clone(), 1), (met.clone(), 5)] {
        let verdict = made.without_first(lost).verdict();
        assert_eq!((verdict.cause, verdict.confidence), (CgroupOom, Confidence::Medium), "{lost}: {verdict:#?}");
    }
    // No count of its own says that it was, but its peak is at its limit.
    let verdict = full().event("kmsg.oom", kill).sample().without_first(21).verdict();
    assert!(verdict.confidence == Confidence::Low && has(&verdict.but, "its own limit may be the one"), "{verdict:#?}");
    // Nothing at all is known of it.
    for name in ["oom-cgroup", "oom-group", "cgroup-v1", "cgroup-none"] {
        let text = crate::support::fixture(name);
        let at = text.lines().position(|line| line.contains("event=oom source=vm")).unwrap();
        let is_kept = |line: &&str| line.contains(" event=") && !line.contains("source=own");
        let tail: String = text.split_inclusive('\n').skip(at).filter(is_kept).collect();
        let verdict = crate::support::verdict(&tail);
        assert_eq!(verdict.confidence, Confidence::Low, "{name}: {verdict:#?}");
    }
}

#[test]
fn a_kill_that_the_counts_deny_is_said() {
    let kill = "scope=cgroup victim.comm=node victim.pid=7 victim.adj=0 cgroup=/runner kts=150 msg=x";
    let verdict = well().event("kmsg.oom", kill).sample().without_first(1).verdict();
    assert_eq!(verdict.cause, OutsideGuest, "{verdict:#?}");
    doubts(&verdict, "the kernel told that it killed node");
}
