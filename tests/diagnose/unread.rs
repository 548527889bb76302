//! A reading that a sample does not have is not zero, and makes and denies no cause.

use runner_vitals::hub::diagnose::cause::Cause::{self, *};
use runner_vitals::hub::diagnose::verdict::{Confidence, Verdict};

use crate::made::{Made, contributes, is};

const OWN: &str = "scope=cgroup victim.comm=node victim.pid=7 victim.adj=0 cgroup=/runner kts=120 msg=x";

fn without(made: Made, keys: &[&'static str]) -> Made {
    keys.iter().fold(made, |made, key| made.with(key, ""))
}

/// What is told of a cause that is ruled out; `None` where it is not.
fn against(found: &Verdict, cause: Cause) -> Option<&str> {
    found.ruled_out.iter().find(|other| other.cause == cause).map(|other| other.because[0].says.as_str())
}

#[test]
fn a_count_of_groups_that_was_not_read_before_a_kill_did_not_rise_with_it() {
    let counts = ["oom", "oom_kill", "oom_group"];
    let old = || Made::started("").with("oom", 4).with("oom_kill", 4).with("oom_group", 1).with("vm.oom_kill", 4);
    let killed = |made: Made| {
        let made = made.event("kmsg.oom", OWN).with("oom", 5).with("oom_kill", 5).with("vm.oom_kill", 5);
        made.with("oom_group", 1).sample()
    };
    is(&killed(without(old().samples(12), &counts).samples(3)), CgroupOom, Confidence::High);
    // Nor where it is not known of any sample before.
    let never = killed(without(old(), &counts).samples(12)).replacing("uptime.ms=60000 ", "");
    assert_eq!(never.verdict().cause, CgroupOom);
    contributes(&never.verdict(), OomGroup);
}

#[test]
fn a_count_of_kills_that_was_not_read_before_a_kill_does_not_deny_it() {
    let kill = "scope=guest victim.comm=node victim.pid=7 victim.adj=0 cgroup=/runner kts=125 msg=x";
    let end = Made::started("").with("vm.mem.avail.kb", 90_000).samples(12);
    for (before, behind) in [(true, false), (false, true)] {
        let read =
            |made: Made, is_read| if is_read { made.with("vm.oom_kill", 1) } else { made.with("vm.oom_kill", "") };
        let made = read(end.clone(), before).sample().event("kmsg.oom", kill);
        let made = read(made, behind).sample().without_first(13);
        assert_eq!(made.verdict().cause, GuestOom, "{:#?}", made.verdict());
        assert!(made.verdict().because[0].says.contains("the kernel killed node"), "{:#?}", made.verdict());
    }
}

#[test]
fn a_kill_can_have_been_since_a_count_was_read_last() {
    let made = Made::started("").samples(12);
    let made = without(made, &["oom", "oom_kill", "vm.oom_kill"]).samples(20);
    let made = made.with("oom", 1).with("oom_kill", 1).with("vm.oom_kill", 1).sample();
    let found = is(&made, CgroupOom, Confidence::Medium);
    assert!(
        found.because[0].says.contains("between 2026-05-28T20:27:40.000Z and 2026-05-28T20:29:25.000Z"),
        "{found:#?}"
    );
}

#[test]
fn a_count_that_is_read_again_did_not_rise_all_at_once() {
    let made = Made::started("").with("tcp.retrans", 900).samples(20).with("tcp.retrans", "").samples(12);
    let found = is(&made.with("tcp.retrans", 900).sample(), OutsideGuest, Confidence::High);
    assert_eq!(against(&found, NetworkLost), Some("no line tells how many TCP segments were sent again lately"));
    // One that was never there before began lately.
    let made = Made::started("").with("tcp.retrans", "").samples(32).with("tcp.retrans", 900).sample();
    contributes(&made.verdict(), NetworkLost);
}

#[test]
fn a_count_that_is_no_longer_read_is_not_none() {
    let made = Made::started("").samples(20).with("tcp.retrans", "").samples(12);
    assert_eq!(
        against(&made.verdict(), NetworkLost),
        Some("no line tells how many TCP segments were sent again lately")
    );
}

#[test]
fn forks_that_nothing_counts_may_have_been_refused() {
    let full = |supports: &str| {
        let made = Made::started("").with("pids.used.pct", "100.0").samples(12);
        made.replacing("supports=", &format!("supports={supports}"))
    };
    let found = full("").verdict();
    contributes(&found, PidsExhausted);
    // Where the guest counts them, there was none.
    let found = full("pids.fail,").verdict();
    assert!(against(&found, PidsExhausted).unwrap().ends_with("no refused fork told"), "{found:#?}");
    // Or it did.
    let made = Made::started("").with("pids.used.pct", "100.0").with("pids.fail", 7).samples(20);
    contributes(
        &made.with("pids.fail", "").samples(12).replacing("supports=", "supports=pids.fail,").verdict(),
        PidsExhausted,
    );
}

#[test]
fn a_full_disk_whose_room_is_not_told_may_be_full() {
    let made = Made::started("").samples(12).with("disk.used.pct", "100.0").with("disk.avail.kb", "").samples(3);
    let found = made.verdict();
    contributes(&found, DiskFull);
    assert!(found.contributing[0].score <= 49, "{found:#?}");
}

#[test]
fn waiting_that_is_no_longer_read_is_not_none() {
    let averages = ["cpu.psi.some.avg10", "mem.psi.some.avg10", "mem.psi.full.avg10", "io.psi.some.avg10"];
    let made = without(Made::started("").samples(20), &averages);
    let found = without(made, &["cpu.stall.pct", "io.stall.pct"]).samples(12).verdict();
    assert_eq!(against(&found, CpuStarved), Some("nothing tells how long tasks waited for a CPU"));
    assert!(against(&found, MemoryThrash).unwrap().ends_with("no line tells how tasks waited for it"), "{found:#?}");
    assert!(!found.because[0].says.contains("tasks waited"), "{found:#?}");
}

#[test]
fn nobody_is_well_of_whom_no_memory_is_told() {
    let found = without(Made::started(""), &["vm.mem.total.kb", "vm.mem.avail.kb"]).samples(12).verdict();
    assert!(found.because[0].says.starts_with("silence, and before it: "), "{found:#?}");
}

#[test]
fn cpus_of_which_nothing_is_told_are_not_idle() {
    let cpu = ["cpu.busy.pct", "agent.wait.ms"];
    let made = without(Made::started(""), &cpu).samples(12).with("cpu.stall.pct", "97.0").samples(4);
    let found = made.verdict();
    contributes(&found, CpuStarved);
    assert!(found.contributing[0].score <= 49, "{found:#?}");
    // Nor was nobody's CPU taken while it did not run.
    let made = without(Made::started("").samples(12), &["cpu.busy.pct"]).samples(3).wait(40_000);
    let made = made.event("gap", "kind=unknown ms=40000").samples(2);
    assert_ne!(made.verdict().cause, Paused);
}

#[test]
fn a_cgroup_of_which_nothing_is_told_does_not_have_room() {
    let kill = |made: Made| {
        let made = made.event("kmsg.oom", OWN).with("oom", 1).with("oom_kill", 1).with("vm.oom_kill", 1);
        made.samples(2)
    };
    let found = is(&kill(Made::started("").samples(12)), CgroupOom, Confidence::Medium);
    assert!(found.because[0].says.contains("memory to be had"), "{found:#?}");
    let full = Made::started("").with("mem.current", "5990000000").with("mem.anon", "").samples(12);
    is(&kill(full), CgroupOom, Confidence::High);
}

#[test]
fn a_figure_that_is_not_told_is_not_told_as_none() {
    let made = Made::started("").samples(12).with("io.stall.pct", "92.0").with("agent.state", "D").samples(4);
    let found = is(&made, IoStall, Confidence::High);
    assert!(found.because.iter().all(|said| !said.says.contains("at most 0")), "{found:#?}");
}

/// Samples of a guest whose disk hangs have no disk: none of their lines is torn.
#[test]
fn a_disk_that_is_not_told_for_a_while_is_no_torn_line() {
    let hangs = Made::started("").samples(12).without("disk.").samples(30);
    let verdict = hangs.without("agent.").samples(4).verdict();
    assert!(format!("{verdict:?}").contains("the agent is not in the last sample"), "{verdict:#?}");
}

/// What a line that is torn at the end of a log no longer says was so a moment before.
#[test]
fn the_rest_of_a_torn_line_is_not_none() {
    let torn = |made: Made, before: &str| {
        let whole = made.sample();
        crate::support::verdict(whole.text().rsplit_once(before).unwrap().0)
    };
    let says = |found: &Verdict| format!("{found:?}");
    let found = torn(Made::started("").samples(20), " disk.used.pct");
    assert!(!says(&found).contains("the agent is not in the last sample"), "{found:#?}");
    let found = torn(Made::started("").samples(20), " late.ms");
    assert!(!says(&found).contains("the agent is not in the last sample"), "{found:#?}");
    let full = Made::started("").samples(12).with("pids.used.pct", "100.0").rising(4, "pids.fail", 0, 9);
    assert_eq!(torn(full, " late.ms").cause, PidsExhausted);
    let full =
        Made::started("").samples(12).with("mem.current", "5990000000").with("mem.anon", "5900000000").samples(4);
    assert_eq!(torn(full, " mem.anon").cause, CgroupOom);
}
