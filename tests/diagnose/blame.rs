//! What was there and was not the end: a trouble that the runner or its job outlived is not blamed, nor made surer than it is.

use runner_vitals::hub::diagnose::cause::Cause::{self, *};
use runner_vitals::hub::diagnose::verdict::Confidence;

use crate::made::{Made, contributes, deaths, is};

/// What the tail of a guest's samples is like where it is well.
fn well(count: u64) -> Made {
    Made::started("").samples(count)
}

fn agent(made: Made, role: &str, state: &str, comm: &str) -> Made {
    made.event("agent", &format!("comm={comm} role={role} state={state} pid=9"))
}

/// A runner for a single job, in the middle of it.
fn in_its_job() -> Made {
    let made = agent(Made::started(""), "agent", "appeared", "Runner.Listener").samples(2);
    agent(made, "worker", "appeared", "Runner.Worker").samples(12)
}

fn kill(made: Made, victim: &str, how: &str) -> Made {
    let kill = format!("{how} victim.comm={victim} victim.pid=70 victim.adj=0 victim.rss.kb=100000 kts=140 msg=x");
    made.event("kmsg.oom", &kill).with("vm.oom_kill", 1)
}

const SIDECARS: &str = "scope=cgroup cgroup=/system.slice/fluent.service";
const GUESTS: &str = "scope=guest cgroup=/system.slice/x";

#[test]
fn a_job_that_ended_well_was_ended_by_no_trouble() {
    for (name, made, cause, _) in deaths() {
        let verdict = is(&made.clone().stop("reason=job_exit job.exit=0"), Finished, Confidence::High);
        if cause != Finished {
            contributes(&verdict, cause);
            let says = &verdict.because[1].says;
            assert!(says.starts_with("what else there was did not keep the job from ending well ("), "{name}: {says}");
        }
    }
}

#[test]
fn a_job_that_failed_in_a_trouble_may_have_failed_by_itself() {
    for (name, made, cause, _) in deaths() {
        let verdict = made.clone().stop("reason=job_exit job.exit=3").verdict();
        let is_its = verdict.cause == cause && verdict.confidence == Confidence::Medium;
        assert!(is_its || verdict.cause == Finished, "{name}: {verdict:#?}");
        if cause == Finished {
            continue;
        }
        let killed = made.stop("reason=job_exit job.signal=9").verdict();
        let is_kill = matches!(cause, GuestOom | CgroupOom);
        assert_eq!(killed.cause == cause && killed.confidence == Confidence::High, is_kill, "{name}: {killed:#?}");
    }
}

#[test]
fn a_kill_of_something_else_did_not_take_the_agent() {
    // Its worker ends, a sidecar or a daemon is killed, the agent ends as it should.
    let killed = |how| kill(agent(in_its_job(), "worker", "vanished", "Runner.Worker"), "fluent-bit", how).sample();
    let over = |how| agent(killed(how), "agent", "vanished", "Runner.Listener");
    for (how, cause) in [(SIDECARS, SidecarOom), (GUESTS, GuestOom)] {
        let verdict = is(&over(how).sample(), Finished, Confidence::Medium);
        contributes(&verdict, cause);
        is(&over(how).stop("reason=job_exit job.exit=0"), Finished, Confidence::High);
        is(&over(how).stop("reason=sigterm"), Stopped, Confidence::High);
    }
    // In the middle of its job a kill of the guest can be what it did not outlive; a sidecar's is not.
    let taken = |how| agent(kill(in_its_job(), "fluent-bit", how).sample(), "agent", "vanished", "Runner.Listener");
    let says = |made: &Made, cause| {
        let verdict = is(made, cause, Confidence::High);
        verdict.because[0].says.clone()
    };
    assert!(says(&taken(GUESTS).sample(), GuestOom).ends_with("it took the agent"));
    assert!(says(&taken(SIDECARS).sample(), SidecarOom).ends_with("silence follows"));
    // The agent itself was killed, whatever became of its worker.
    let ended = agent(in_its_job(), "worker", "vanished", "Runner.Worker");
    let made = agent(kill(ended, "Runner.Listener", GUESTS).sample(), "agent", "vanished", "Runner.Listener");
    assert!(says(&made.sample(), GuestOom).ends_with("it took the agent"));
    // Its worker was, and the agent ended for that: it is the kill.
    let ended = agent(kill(in_its_job(), "Runner.Worker", GUESTS), "worker", "vanished", "Runner.Worker").sample();
    is(&agent(ended, "agent", "vanished", "Runner.Listener").sample(), GuestOom, Confidence::High);
}

#[test]
fn a_kill_that_the_agent_was_seen_to_outlive_is_not_surely_the_end() {
    for (how, cause) in [(SIDECARS, SidecarOom), (GUESTS, GuestOom)] {
        is(&kill(in_its_job(), "fluent-bit", how).sample(), cause, Confidence::High);
        let verdict = is(&kill(in_its_job(), "fluent-bit", how).samples(3), cause, Confidence::Medium);
        assert_eq!(verdict.score, 55);
        // Without memory, or without the agent, nobody has seen that.
        let short = kill(in_its_job(), "fluent-bit", how).with("vm.mem.avail.kb", 90_000).samples(3);
        is(&short, cause, Confidence::High);
        is(&kill(in_its_job(), "fluent-bit", how).with("agent.state", "").samples(3), cause, Confidence::High);
        is(&kill(in_its_job(), "fluent-bit", how).with("agent.state", "Z").samples(3), cause, Confidence::High);
    }
}

/// A build on all CPUs with tasks that pile up, a trigger and rising pressure.
fn build(made: Made) -> Made {
    let made = made.with("cpu.busy.pct", "99.0").with("cpu.stall.pct", "95.0").with("cpu.psi.some.avg10", "95.0");
    made.with("load1", "15.50").sample().event("pressure", "resource=cpu kind=psi value=95.0").with("load1", "25.50")
}

#[test]
fn a_build_beside_an_agent_that_had_its_cpu_starves_nobody() {
    let verdict = is(&build(well(12)).samples(2), OutsideGuest, Confidence::Medium);
    contributes(&verdict, CpuStarved);
    is(&build(well(12)).samples(2).stop("reason=sigterm"), Stopped, Confidence::Medium);
    // The probe was late, the agent is not watched, or it waited.
    is(&build(well(12)).with("late.ms", "4000.0").samples(2), CpuStarved, Confidence::High);
    is(&build(Made::started("").with("agent.wait.ms", "").samples(12)).samples(2), CpuStarved, Confidence::High);
    is(&build(well(12)).rising(2, "agent.wait.ms", 40, 4000), CpuStarved, Confidence::High);
}

#[test]
fn a_pause_that_was_gone_on_after_is_not_surely_the_end() {
    let paused = || well(12).wait(12_000).event("gap", "kind=paused ms=12000");
    is(&paused().samples(3), Paused, Confidence::High);
    let verdict = is(&paused().samples(11), Paused, Confidence::Medium);
    assert_eq!(verdict.score, 74);
}

#[test]
fn a_group_that_was_killed_before_the_run_says_nothing_of_a_later_kill() {
    let own = "scope=cgroup victim.comm=node victim.pid=7 victim.adj=0 cgroup=/runner kts=120 msg=x";
    let killed = |made: Made| made.event("kmsg.oom", own).with("oom", 5).with("oom_kill", 5).with("vm.oom_kill", 5);
    let old = Made::started("").with("oom", 4).with("oom_kill", 4).with("vm.oom_kill", 4);
    is(&killed(old.clone().with("oom_group", 1).samples(12)).sample(), CgroupOom, Confidence::High);
    is(&killed(old.samples(12)).with("oom_group", 1).sample(), OomGroup, Confidence::High);
}

#[test]
fn a_guest_that_idled_for_long_still_tells_how_tasks_waited() {
    let made = well(0).with("cpu.stall.pct", "").with("io.stall.pct", "").samples(4000);
    is(&made.with("mem.stall.pct", "70.0").samples(4), MemoryThrash, Confidence::Medium);
}

fn against(made: &Made, cause: Cause) -> String {
    let verdict = made.verdict();
    let out = verdict.ruled_out.iter().find(|other| other.cause == cause);
    out.map_or_else(|| panic!("{verdict:#?}"), |out| out.because[0].says.clone())
}

#[test]
fn what_was_never_read_is_no_figure() {
    let bare = || {
        let keys = ["cpu.busy.pct", "cpu.stall.pct", "io.stall.pct", "late.ms", "tcp.retrans", "agent.wait.ms"];
        let averages = ["cpu.psi.some.avg10", "mem.psi.full.avg10", "io.psi.some.avg10", "load1"];
        let made = keys.into_iter().chain(averages).fold(Made::started(""), |made, key| made.with(key, ""));
        made.replacing("supports=cpu.throttled.pct,tcp.retrans", "")
    };
    let made = bare().samples(12);
    let verdict = made.verdict();
    assert!(!verdict.because[0].says.contains("CPU") && !verdict.because[0].says.contains("late"), "{verdict:#?}");
    for (cause, says) in [
        (MemoryThrash, "5.7 GiB of 7.6 GiB available; no line tells how tasks waited for it"),
        (CpuStarved, "nothing tells how long tasks waited for a CPU"),
        (IoStall, "nothing tells how long tasks waited for disks"),
        (CpuThrottled, "no line tells of a quota that throttles (cpu.throttled.pct)"),
        (NetworkLost, "no line tells how many TCP segments were sent again lately"),
        (Paused, "no line tells how late the probe was"),
    ] {
        assert_eq!(against(&made, cause), says);
    }
    // Where the guest says that it can tell, none is zero.
    let can = Made::started("").with("tcp.retrans", "").samples(12);
    assert_eq!(against(&can, NetworkLost), "0 TCP segments sent again in 15.0 s");
}

#[test]
fn a_count_that_was_not_read_for_a_while_did_not_rise_from_nothing() {
    // Its own figure is of the minutes before.
    let busy =
        Made::started("").with("cpu.busy.pct", "99.0").with("cpu.stall.pct", "95.0").with("agent.wait.ms", 90_000);
    let made = busy.samples(20).with("agent.wait.ms", "").samples(3).with("agent.wait.ms", 90_000).samples(3);
    is(&made, OutsideGuest, Confidence::High);
}

#[test]
fn the_worst_fault_of_the_kernel_counts_whole() {
    let panic = "kts=120 msg=\"Kernel panic\"";
    let made = well(12).event("kmsg.panic", panic).event("kmsg.alloc", "kts=121 comm=cc1 msg=x").sample();
    let verdict = is(&made, KernelFault, Confidence::High);
    assert!(verdict.because[0].says.starts_with("the kernel told kmsg.panic"), "{verdict:#?}");
}

#[test]
fn a_drive_that_nobody_waits_for_is_no_stall() {
    let failed = |made: Made, kts| made.event("kmsg.io", &format!("kts={kts} dev=sr0 msg=\"I/O error, dev sr0\""));
    let made = failed(failed(well(12), 120), 121).samples(10);
    let verdict = is(&made, OutsideGuest, Confidence::Medium);
    contributes(&verdict, IoStall);
    assert_eq!(verdict.contributing[0].score, 30, "{verdict:#?}");
    // With a hung task it is no more than open.
    let hung = made.event("kmsg.hung", "comm=jbd2 kts=170 msg=x").sample().verdict();
    assert_eq!(hung.cause, OutsideGuest);
    // The agent waits for it.
    let stuck = failed(well(12), 120).with("agent.state", "D").samples(3).event("kmsg.hung", "comm=jbd2 kts=130 msg=x");
    is(&stuck, IoStall, Confidence::Medium);
}
