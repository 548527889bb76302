//! Nothing that tells a death is lost, or taken for another's, on the way from lines to a verdict.

use runner_vitals::hub::diagnose::cause::Cause::{self, *};
use runner_vitals::hub::diagnose::verdict::{Confidence, Verdict};

use crate::made::{Made, is};
use crate::support::verdict;

const SEGV: &str = "comm=cc1 kts=126 msg=\"segfault at 0\"";

fn panics(kts: u64) -> String {
    format!("kts={kts} msg=\"Kernel panic - not syncing\"")
}

/// Of a guest that was there before, of the same name, two hours earlier.
fn earlier(made: &Made) -> String {
    let text = made.text().replace("run=made", "run=aaaa").replace("boot.id=b ", "boot.id=a ");
    text.replace("ts=2026-05-28T20:", "ts=2026-05-28T18:")
}

#[test]
fn what_happens_all_the_time_does_not_drive_out_what_ends_a_runner() {
    let panic = Made::started("").samples(12).event("kmsg.panic", &panics(121));
    let lockup = Made::started("").samples(12).event("kmsg.lockup", "comm=kworker kts=121 msg=\"BUG: soft lockup\"");
    let segvs = |made: Made| made.event("kmsg.segv", SEGV).event("kmsg.segv", SEGV).event("kmsg.segv", SEGV);
    is(&segvs(panic), KernelFault, Confidence::High);
    is(&segvs(lockup.clone()), KernelFault, Confidence::Medium);
    let hung = "comm=jbd2 kts=122 msg=\"task jbd2 blocked\"";
    let io = "dev=vda kts=122 msg=x";
    is(&lockup.event("kmsg.hung", hung).event("kmsg.io", io).event("kmsg.io", io), KernelFault, Confidence::Medium);
    // A clock that is set after a pause, as it is.
    let paused = Made::started("").samples(12).wait(90_000).event("gap", "kind=paused ms=90000");
    let set = paused.event("gap", "kind=clock ms=90000").event("gap", "kind=clock ms=-200").sample();
    is(&set, Paused, Confidence::High);
}

#[test]
fn counts_that_move_in_one_pass_are_all_kept() {
    let made = Made::started("").samples(12).event("oom", "source=own delta=1 kmsg=unread");
    let made = made.event("oom", "source=tree delta=1 kmsg=unread").event("oom", "source=vm delta=1 kmsg=unread");
    is(&made, CgroupOom, Confidence::High);
}

#[test]
fn a_long_path_is_that_of_the_own_cgroup() {
    let pod =
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod12345678_1234_1234_1234_123456789012.slice";
    // Longer than any path that is told.
    let long = format!("{pod}/{}", "x".repeat(300));
    for path in [format!("{pod}/cri-containerd-{}.scope", "a1".repeat(32)), long] {
        let kill = |cgroup: &str| {
            let made = Made::started("").samples(12);
            let made =
                made.event("kmsg.oom", &format!("scope=cgroup victim.comm=node victim.adj=0 cgroup={cgroup} kts=121"));
            // As the probe writes it.
            verdict(
                &made
                    .text()
                    .replace("cgroup.path=/runner", &format!("cgroup.path={}", path.get(..256).unwrap_or(&path))),
            )
        };
        let says = |found: &Verdict| (found.cause, found.confidence);
        assert_eq!(says(&kill(&path)), (CgroupOom, Confidence::High), "{path}");
        assert_eq!(says(&kill(pod)), (CgroupOom, Confidence::High), "that of the Pod is one of its own");
        let other = format!("{pod}/cri-containerd-{}.scope", "b2".repeat(32));
        assert_eq!(says(&kill(&other)), (SidecarOom, Confidence::High), "{path}");
    }
}

#[test]
fn the_phases_of_another_guest_of_the_same_name_say_nothing() {
    let whole = |text: String, cause: Cause| {
        let found = verdict(&text);
        assert_eq!((found.cause, found.confidence), (cause, Confidence::High), "{found:#?}");
        assert_eq!(found.runs, 2);
    };
    // One that was there before ended well.
    let ended = Made::started("runner.name=r-1").samples(20).event("phase", "phase=ended job.exit=0 boot.id=a");
    let stopped = Made::started("runner.name=r-1").samples(20).stop("reason=sigterm samples=20");
    whole(earlier(&ended) + stopped.text(), Stopped);
    // One that came later.
    let silent = Made::started("runner.name=r-1").samples(20);
    let later = Made::new().wait(10_800_000).event("phase", "phase=ended job.exit=0 runner.name=r-1");
    whole(format!("{}{}", silent.text(), later.text().replace("run=made", "run=aaaa")), OutsideGuest);
    // Another boot at the same time: names are given twice.
    let beside = Made::new().wait(100_000).event("phase", "phase=ended job.exit=0 boot.id=a runner.name=r-1");
    whole(format!("{}{}", silent.text(), beside.text().replace("run=made", "run=aaaa")), OutsideGuest);
    let own = beside.text().replace("run=made", "run=aaaa").replace("boot.id=a", "boot.id=b");
    whole(silent.text().to_owned() + &own, Finished);
}

#[test]
fn a_clock_that_was_set_forward_makes_no_message_old() {
    let made = Made::started("").samples(24).event("kmsg.segv", &SEGV.replace("126", "180")).samples(2);
    let made = made.wait(3_600_000).event("gap", "kind=clock ms=3600000").samples(8);
    let whole = made.event("kmsg.panic", &panics(230));
    is(&whole, KernelFault, Confidence::High);
    // The beginning, which says when the guest booted, is lost.
    is(&whole.without_first(5), KernelFault, Confidence::High);
    // What is found in the ring is older than what comes next, set clock or not.
    let found = Made::new().sample().event("kmsg.lockup", "kts=1 msg=x").event("kmsg.segv", SEGV).samples(3);
    assert_ne!(found.without_first(1).verdict().cause, KernelFault);
}
