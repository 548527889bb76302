//! Made trails, for what the guests of the tests cannot show. None of them was ever captured: each says what the field reports of
//! such deaths say.

use std::fmt::Write as _;

use runner_vitals::hub::diagnose::cause::Cause::{self, *};
use runner_vitals::hub::diagnose::verdict::{Confidence, Verdict};

use crate::support::verdict;

/// A trail in the making: a guest of 4 CPUs and 8 GiB with a limited runner in it, a sample each five seconds.
#[derive(Clone)]
pub(crate) struct Made {
    text: String,
    at_ms: u64,
    seq: u64,
    run: &'static str,
    usual: Vec<(&'static str, String)>,
}

const STARTED_MS: u64 = 1_780_000_000_000;

/// A guest that does little, in the order of the table of fields.
const CALM: &[(&str, &str)] = &[
    ("vm.mem.total.kb", "8000000"),
    ("vm.mem.avail.kb", "6000000"),
    ("mem.current", "1500000000"),
    ("mem.peak", "1900000000"),
    ("mem.max", "6000000000"),
    ("mem.swap", "0"),
    ("oom", "0"),
    ("oom_kill", "0"),
    ("cpu.busy.pct", "35.0"),
    ("cpu.psi.some.avg10", "3.0"),
    ("mem.psi.some.avg10", "0.0"),
    ("mem.psi.full.avg10", "0.0"),
    ("io.psi.some.avg10", "0.4"),
    ("load1", "1.40"),
    ("load5", "1.20"),
    ("load15", "0.80"),
    ("late.ms", "1.2"),
    ("mem.anon", "900000000"),
    ("vm.oom_kill", "0"),
    ("cpu.stall.pct", "4.0"),
    ("io.stall.pct", "0.3"),
    ("disk.avail.kb", "20000000"),
    ("disk.used.pct", "41.0"),
    ("inode.used.pct", "12.0"),
    ("net.tx.kb", "900"),
    ("tcp.retrans", "3"),
    ("agent.wait.ms", "40"),
    ("agent.rss.kb", "120000"),
    ("agent.state", "S"),
    ("disk.path", "/"),
];

impl Made {
    pub(crate) fn new() -> Self {
        let usual = CALM.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        Self { text: String::new(), at_ms: STARTED_MS, seq: 0, run: "made", usual }
    }

    /// With its `start` line, which says this too.
    pub(crate) fn started(more: &str) -> Self {
        Self::new().event(
            "start",
            &format!("probe.version=0.1.0 boot.id=b interval.ms=5000 guest.cpus=4 uptime.ms=60000 cgroup=v2 cgroup.path=/runner mem.limit=6000000000 psi=on kmsg=on supports=cpu.throttled.pct,tcp.retrans {more}"),
        )
    }

    fn line(mut self, rest: &str) -> Self {
        self.seq += 1;
        let at = humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + std::time::Duration::from_millis(self.at_ms));
        writeln!(self.text, "RUNNER_VITALS ts={at} run={} seq={} {}", self.run, self.seq, rest.trim_end()).unwrap();
        self
    }

    pub(crate) fn event(self, event: &str, fields: &str) -> Self {
        self.line(&format!("event={event} {fields}"))
    }

    /// From here on its samples have this.
    pub(crate) fn with(mut self, key: &'static str, value: impl std::fmt::Display) -> Self {
        match self.usual.iter_mut().find(|(own, _)| *own == key) {
            Some((_, own)) => *own = value.to_string(),
            None => self.usual.push((key, value.to_string())),
        }
        self
    }

    /// From here on no sample has what begins so.
    pub(crate) fn without(mut self, keys: &str) -> Self {
        self.usual.retain(|(key, _)| !key.starts_with(keys));
        self
    }

    pub(crate) fn wait(mut self, ms: u64) -> Self {
        self.at_ms += ms;
        self
    }

    /// Its clock is set.
    pub(crate) fn clock_set(self, ms: i64) -> Self {
        Self { at_ms: self.at_ms.checked_add_signed(ms).unwrap(), ..self }
    }

    /// So many lines that are not there come next.
    pub(crate) fn skip(mut self, lines: u64) -> Self {
        self.seq += lines;
        self
    }

    /// The next has the number of one of the last.
    pub(crate) fn again(mut self, lines: u64) -> Self {
        self.seq -= lines;
        self
    }

    /// The next comes so much earlier.
    pub(crate) fn wait_back(mut self, ms: u64) -> Self {
        self.at_ms -= ms;
        self
    }

    /// A sample, five seconds after what came before.
    pub(crate) fn sample(self) -> Self {
        let pairs: Vec<String> = self.usual.iter().map(|(key, value)| format!("{key}={value}")).collect();
        self.wait(5000).line(&pairs.join(" "))
    }

    pub(crate) fn samples(self, count: u64) -> Self {
        (0..count).fold(self, |made, _| made.sample())
    }

    /// Samples in which a count rises by so much each.
    pub(crate) fn rising(self, count: u64, key: &'static str, from: u64, by: u64) -> Self {
        (1..=count).fold(self, |made, nth| made.with(key, from + nth * by).sample())
    }

    pub(crate) fn stop(self, fields: &str) -> Self {
        self.event("stop", fields)
    }

    /// What is left without the first lines.
    pub(crate) fn without_first(&self, lines: usize) -> Self {
        Self { text: self.text.split_inclusive('\n').skip(lines).collect(), ..self.clone() }
    }

    /// With another text in the lines so far.
    pub(crate) fn replacing(&self, from: &str, to: &str) -> Self {
        Self { text: self.text.replace(from, to), ..self.clone() }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn verdict(&self) -> Verdict {
        verdict(&self.text)
    }
}

#[track_caller]
pub(crate) fn is(made: &Made, cause: Cause, confidence: Confidence) -> Verdict {
    let verdict = made.verdict();
    assert_eq!((verdict.cause, verdict.confidence), (cause, confidence), "{verdict:#?}");
    verdict
}

#[track_caller]
pub(crate) fn contributes(verdict: &Verdict, cause: Cause) {
    assert!(verdict.contributing.iter().any(|other| other.cause == cause), "{verdict:#?}");
}

fn starved(made: Made) -> Made {
    made.with("cpu.busy.pct", "99.0").with("cpu.stall.pct", "97.0")
}

fn killed(made: Made, adj: i64, kts: u64) -> Made {
    made.event(
        "kmsg.oom",
        &format!("scope=guest victim.comm=node victim.pid=7 victim.rss.kb=5000000 victim.adj={adj} cgroup=/runner kts={kts} msg=\"Out of memory: Killed process 7 (node)\""),
    )
    .with("vm.oom_kill", 1)
    .event("oom", "source=vm delta=1 kmsg=agrees")
}

#[test]
fn well_until_silence() {
    let verdict = is(&Made::started("").samples(200), OutsideGuest, Confidence::High);
    assert_eq!(verdict.next_due_ms.unwrap() - verdict.last_ms.unwrap(), 5000);
    assert!(verdict.change[0].contains("2026-05-28T"), "{:?}", verdict.change);
}

#[test]
fn the_guest_may_use_more_than_the_platform_lets_it() {
    let verdict = is(&Made::started("runner.mem.limit=4294967296").samples(20), OutsideGuest, Confidence::High);
    assert!(
        verdict.change[1].contains("7.6 GiB of memory and the platform's limit for the runner is 4.0 GiB"),
        "{:?}",
        verdict.change
    );
}

/// Deaths that no guest of the tests can die: each its cause, and what else a part of it can surely be.
pub(crate) fn deaths() -> Vec<(&'static str, Made, Cause, &'static [Cause])> {
    vec![
        ("stolen", stolen(), CpuStolen, &[]),
        ("throttled", throttled(), CpuThrottled, &[]),
        ("starved", starving(), CpuStarved, &[]),
        ("disks", stuck_disks(), IoStall, &[]),
        ("network", lost_network(), NetworkLost, &[]),
        ("crash", crash(), AgentCrashed, &[]),
        ("panic", panics(), KernelFault, &[]),
        ("lockup", lockup().sample(), KernelFault, &[]),
        ("oom", killed(short_of_memory(), 0, 125).sample(), GuestOom, &[]),
        ("ended", after_its_job().samples(2), Finished, &[]),
        ("limit", met_its_limit().sample(), CgroupOom, &[]),
        (
            "pause",
            Made::started("").samples(12).wait(90_000).event("gap", "kind=paused ms=90000").sample(),
            Paused,
            &[],
        ),
    ]
}

#[test]
fn every_made_death_has_its_cause() {
    for (name, made, cause, _) in deaths() {
        let verdict = made.verdict();
        assert_eq!(verdict.cause, cause, "{name}: {verdict:#?}");
        assert!(verdict.confidence >= Confidence::Medium, "{name}");
    }
}

fn stolen() -> Made {
    starved(Made::started("").samples(20)).with("cpu.steal.pct", "45.0").with("late.ms", "3200.0").samples(5)
}

#[test]
fn the_host_takes_the_cpus() {
    let verdict = is(&stolen(), CpuStolen, Confidence::High);
    assert!(!verdict.contributing.iter().any(|other| other.cause == CpuStarved && other.score > 60), "{verdict:#?}");
}

fn throttled() -> Made {
    let made = Made::started("cpu.quota=1.00").samples(20);
    made.with("cpu.stall.pct", "95.0").with("cpu.throttled.pct", "98.0").samples(5)
}

#[test]
fn the_quota_takes_the_cpus() {
    let verdict = is(&throttled(), CpuThrottled, Confidence::Medium);
    assert!(verdict.because[0].says.contains("the quota is 1.00 CPUs"));
    // A quota that is met now and then, while little waits, is no death.
    is(&Made::started("").with("cpu.throttled.pct", "60.0").samples(30), OutsideGuest, Confidence::High);
}

fn starving() -> Made {
    let made = starved(Made::started("").samples(12)).with("load1", "9.00").rising(4, "agent.wait.ms", 40, 4000);
    made.event("pressure", "resource=cpu kind=psi value=99.0")
}

/// The one death that a shell probe's vitals solved: pressure 3 to 66, load 3.6 on 2 CPUs, memory flat, silence after 4 s.
#[test]
fn the_workload_takes_the_cpus() {
    let made = Made::started("").with("cpu.stall.pct", "").with("io.stall.pct", "").samples(12);
    let made = Made { text: made.text.replace("guest.cpus=4", "guest.cpus=2"), ..made };
    let made = made.with("cpu.busy.pct", "100.0").with("cpu.psi.some.avg10", "31.0").with("load1", "1.90").sample();
    let made = made.with("cpu.psi.some.avg10", "66.0").with("load1", "3.60").sample();
    is(&made, CpuStarved, Confidence::Medium);
    is(&starving(), CpuStarved, Confidence::High);
    // A build that uses all of four CPUs and makes nobody wait that matters.
    let build = starved(Made::started("").samples(12)).with("load1", "5.00").rising(12, "agent.wait.ms", 40, 100);
    is(&build, OutsideGuest, Confidence::High);
}

fn stuck_disks() -> Made {
    let made = Made::started("").samples(12).with("io.stall.pct", "92.0").with("agent.state", "D");
    let hung = "comm=jbd2 kts=200 msg=\"task jbd2 blocked for more than 120 seconds\"";
    made.with("procs.blocked", 9).samples(6).event("kmsg.hung", hung)
}

#[test]
fn disks_do_not_answer() {
    is(&stuck_disks(), IoStall, Confidence::High);
}

#[test]
fn a_disk_fills_up() {
    let made = Made::started("").samples(12).with("disk.used.pct", "100.0").with("disk.avail.kb", 0);
    let made = made.event("disk", "path=/data avail.kb=0 used.pct=100.0 inode.used.pct=12.0").samples(3);
    let verdict = is(&made, DiskFull, Confidence::Medium);
    assert!(verdict.because[0].says.ends_with("0 KiB available: /data"), "{verdict:#?}");
    // A read-only image is full from its first day.
    let image = Made::started("").with("disk.used.pct", "100.0").with("disk.avail.kb", 0).samples(30);
    assert_ne!(image.verdict().cause, DiskFull);
    // It was cleaned up.
    is(&made.with("disk.used.pct", "60.0").with("disk.avail.kb", 9_000_000).samples(6), OutsideGuest, Confidence::High);
}

fn lost_network() -> Made {
    let made = Made::started("").samples(30).event("degraded", "what=sink.http error=\"connect: timed out\"");
    let lose = |made: Made, nth| made.with("tcp.retrans", 3 + nth * 60).with("sink.http.dropped", nth).sample();
    (1..=4_u64).fold(made, lose)
}

#[test]
fn the_network_is_lost() {
    is(&lost_network(), NetworkLost, Confidence::High);
}

fn agent(state: &str) -> String {
    format!("comm=Runner.Listener role=agent state={state} pid=9")
}

fn worker(state: &str) -> String {
    format!("comm=Runner.Worker role=worker state={state} pid=10")
}

fn mid_job() -> Made {
    let made = Made::started("").event("agent", &agent("appeared")).samples(12);
    made.event("agent", &worker("appeared")).samples(12)
}

fn crash() -> Made {
    let segv = "comm=Runner.Listener kts=180 msg=\"segfault at 0\"";
    mid_job().event("kmsg.segv", segv).event("agent", &agent("vanished")).samples(4)
}

#[test]
fn the_agent_crashes() {
    is(&crash(), AgentCrashed, Confidence::High);
    is(&mid_job().event("agent", &agent("vanished")).samples(4), AgentCrashed, Confidence::High);
    // Its worker ends with its job, then the agent, then the rest is told to stop: the normal end.
    is(&after_its_job().stop("reason=sigterm samples=26"), Stopped, Confidence::High);
    // Or is not told anything.
    let verdict = is(&after_its_job().samples(2), Finished, Confidence::Medium);
    let out = verdict.ruled_out.iter().find(|other| other.cause == AgentCrashed).unwrap();
    assert!(out.because[0].says.starts_with("Runner.Listener ended 5.0 s after its job"), "{out:?}");
    // One that goes on to wait for the next job and ends there has crashed.
    let idle = mid_job().event("agent", &worker("vanished")).samples(60).event("agent", &agent("vanished"));
    is(&idle.samples(2), AgentCrashed, Confidence::Medium);
    // Where the line of its worker's end can be lost, nothing is sure.
    let text: String =
        after_its_job().samples(2).text().lines().filter(|line| !is_end_of_worker(line)).map(whole).collect();
    let verdict = self::verdict(&text);
    assert_eq!((verdict.cause, verdict.confidence), (AgentCrashed, Confidence::Medium), "{verdict:#?}");
    // A worker that waits for a CPU is there.
    let waits = mid_job().event("agent", "comm=Runner.Worker role=worker state=waited pid=10 wait.ms=1200").sample();
    is(&waits.event("agent", &agent("vanished")).samples(4), AgentCrashed, Confidence::High);
}

fn after_its_job() -> Made {
    mid_job().event("agent", &worker("vanished")).sample().event("agent", &agent("vanished"))
}

fn is_end_of_worker(line: &str) -> bool {
    line.contains("role=worker state=vanished")
}

fn whole(line: &str) -> String {
    format!("{line}\n")
}

/// The own limit is met where the kernel's messages are denied and no event line comes through: only samples count it.
fn met_its_limit() -> Made {
    Made::started("").samples(12).with("oom", 1).with("oom_kill", 1).with("vm.oom_kill", 1).sample()
}

#[test]
fn a_count_that_rose_long_ago_is_not_the_death() {
    is(&met_its_limit(), CgroupOom, Confidence::High);
    let verdict = is(&met_its_limit().samples(60), OutsideGuest, Confidence::High);
    contributes(&verdict, CgroupOom);
    is(&met_its_limit().samples(7), CgroupOom, Confidence::Medium);
}

#[test]
fn what_was_survived_says_nothing_of_what_was_not() {
    let early = || met_its_limit().event("oom", "source=own delta=1 kmsg=unread").samples(60);
    // The guest runs out and takes what is outside of the runner's cgroup; no message of the kernel.
    let made = early().with("vm.mem.avail.kb", 90_000).sample().with("vm.oom_kill", 2).sample();
    is(&made.event("oom", "source=vm delta=1 kmsg=unread"), GuestOom, Confidence::High);
    // It takes a member of the cgroup: its count of limits met does not rise with that.
    let made = early().with("vm.mem.avail.kb", 90_000).sample().with("oom_kill", 2).with("vm.oom_kill", 2).sample();
    is(&made.event("oom", "source=own delta=1 kmsg=unread"), GuestOom, Confidence::High);
    // A sidecar's limit is met, as the kernel says.
    let kill =
        "scope=cgroup victim.comm=dockerd victim.pid=7 victim.rss.kb=500000 victim.adj=0 cgroup=/dind kts=600 msg=x";
    let verdict = is(&early().event("kmsg.oom", kill).with("vm.oom_kill", 2).sample(), SidecarOom, Confidence::High);
    assert!(verdict.change[0].contains("raise that of /dind") && verdict.change[0].contains("488 MiB"), "{verdict:#?}");
    // The message of the last kill is lost; that of an earlier one is not it.
    let kill = kill.replace("kts=600", "kts=100").replace("/dind", "/runner");
    let made = Made::started("").samples(6).event("kmsg.oom", &kill).with("oom", 1).with("oom_kill", 1).samples(60);
    is(&made.with("oom", 2).with("oom_kill", 2).sample(), CgroupOom, Confidence::High);
}

#[test]
fn a_neighbours_kill_right_behind_does_not_hide_the_own_one() {
    let kill = |cgroup: &str, comm: &str| {
        format!("scope=cgroup victim.comm={comm} victim.pid=7 victim.adj=0 cgroup={cgroup} kts=100 msg=x")
    };
    let dies = |first: &str, apart_ms: u64| {
        let made = Made::started("").samples(12).event("kmsg.oom", &kill(first, "cc1plus")).wait(apart_ms);
        let made = made.event("kmsg.oom", &kill("/neighbour", "tail")).wait(20);
        made.event("oom", "source=own delta=1 kmsg=agrees").event("oom", "source=vm delta=2 kmsg=agrees")
    };
    for own in ["/runner", "/"] {
        let verdict = is(&dies(own, 900).stop("reason=job_exit job.signal=9"), CgroupOom, Confidence::High);
        assert!(verdict.because[0].says.contains(&format!("cc1plus in {own} ")), "{own}: {verdict:#?}");
    }
    // With a sample in between, which counts the first alone.
    for apart_ms in [900, 4000, 14_000] {
        let made = Made::started("").samples(12).event("kmsg.oom", &kill("/runner", "cc1plus")).wait(50);
        let made = made.event("oom", "source=own delta=1 kmsg=agrees").with("oom", 1).with("oom_kill", 1);
        let made = made
            .with("vm.oom_kill", 1)
            .wait_back(4750)
            .sample()
            .wait(apart_ms)
            .event("kmsg.oom", &kill("/neighbour", "tail"));
        let made = made.event("oom", "source=vm delta=1 kmsg=agrees").with("vm.oom_kill", 2).wait_back(4750).sample();
        let verdict = is(&made.stop("reason=job_exit job.signal=9"), CgroupOom, Confidence::High);
        assert!(verdict.because[0].says.contains("cc1plus in /runner "), "{apart_ms}: {verdict:#?}");
    }
    // Behind a clock that was set back it is long before too.
    let made = Made::started("").samples(12).event("kmsg.oom", &kill("/runner", "cc1plus")).with("oom_kill", 1);
    let made = made.with("vm.oom_kill", 1).samples(2).event("gap", "kind=clock ms=-3600000").wait_back(3_600_000);
    let made = made.samples(600).event("kmsg.oom", &kill("/neighbour", "tail")).with("vm.oom_kill", 2);
    is(&made.event("oom", "source=vm delta=1 kmsg=agrees"), SidecarOom, Confidence::High);
    // Long before, it was survived; a cgroup below the own one has a limit of its own.
    for (first, apart_ms) in [("/runner", 20_000), ("/runner/docker/7", 900)] {
        let verdict = dies(first, apart_ms).verdict();
        assert!(verdict.because[0].says.contains("tail in /neighbour "), "{first}: {verdict:#?}");
    }
}

#[test]
fn in_a_namespace_paths_say_nothing() {
    let kill = "scope=cgroup victim.comm=node victim.pid=7 victim.adj=0 cgroup=/kubepods/pod1/c1 kts=100 msg=x";
    let inside = |made: Made| Made { text: made.text.replace("cgroup.path=/runner", "cgroup.path=/"), ..made };
    // Silence at once: whose limit it was is not known.
    let verdict = inside(Made::started("").samples(12)).event("kmsg.oom", kill).verdict();
    assert!(verdict.cause == CgroupOom && verdict.confidence < Confidence::High, "{verdict:#?}");
    let own = inside(Made::started("").samples(12)).event("kmsg.oom", kill).with("oom", 1).with("oom_kill", 1);
    is(&own.sample(), CgroupOom, Confidence::High);
    is(&inside(Made::started("").samples(12)).event("kmsg.oom", kill).sample(), SidecarOom, Confidence::High);
    // That of a container in the runner's own.
    let nested = kill.replace("/kubepods/pod1/c1", "/runner/docker/7");
    let made = Made::started("").samples(12).event("kmsg.oom", &nested).with("oom", 1).with("oom_kill", 1).sample();
    is(&made, SidecarOom, Confidence::High);
}

#[test]
fn the_end_of_an_earlier_job_is_not_this_ones() {
    let made = Made::started("").samples(20);
    let phase = |made: Made, run, phase: &str| {
        let (own, seq) = (made.run, made.seq);
        let said = Made { seq: 0, run, ..made }.event("phase", &format!("phase={phase} boot.id=b")).wait(300);
        Made { seq, run: own, ..said }
    };
    let made = phase(phase(made, "pha1", "ended job.exit=0"), "pha2", "claimed").samples(20);
    is(&made.stop("reason=sigterm samples=40"), Stopped, Confidence::High);
}

#[test]
fn what_the_guest_cannot_tell_is_not_zero() {
    let says = |made: Made, cause: Cause| {
        let verdict = made.samples(12).verdict();
        verdict.ruled_out.iter().find(|other| other.cause == cause).unwrap().because[0].says.clone()
    };
    let without = || {
        let made = Made::started("");
        Made { text: made.text.replace("supports=cpu.throttled.pct,tcp.retrans", "supports=io.stall.pct"), ..made }
    };
    assert!(says(Made::started(""), CpuThrottled).starts_with("the quota throttled 0.0 %"));
    assert!(says(without(), CpuThrottled).starts_with("the guest does not tell"));
    assert!(says(without(), NetworkLost).starts_with("the guest does not tell"));
    assert!(says(Made::started(""), AgentCrashed).ends_with("in state S"));
    assert!(says(Made::started(""), NoVitals).contains("12 samples"));
}

#[test]
fn advice_is_for_what_ran_out() {
    // A cgroup that thrashes in a guest with room.
    let verdict = Made::started("").samples(12).with("mem.stall.pct", "70.0").samples(4).verdict();
    assert!(
        verdict.cause == MemoryThrash && verdict.change[0].starts_with("raise the runner's memory limit"),
        "{verdict:#?}"
    );
    let guest = Made::started("").with("vm.mem.avail.kb", 90_000).with("mem.stall.pct", "70.0").samples(16).verdict();
    assert!(guest.change[0].starts_with("give the guest more memory"), "{guest:#?}");
    // What had the memory was beside the runner.
    let made = killed(short_of_memory(), 0, 125).verdict();
    assert!(
        made.change[1].contains("a sidecar: the runner's own cgroup used 1.3 GiB of those 7.5 GiB"),
        "{:?}",
        made.change
    );
}

fn panics() -> Made {
    let says = "kts=120 msg=\"Kernel panic - not syncing: Attempted to kill init!\"";
    Made::started("").samples(12).event("kmsg.panic", says)
}

fn lockup() -> Made {
    let says = "comm=kworker kts=120 msg=\"watchdog: BUG: soft lockup - CPU#1 stuck for 26s!\"";
    Made::started("").samples(12).event("kmsg.lockup", says)
}

#[test]
fn the_kernel_fails() {
    is(&panics(), KernelFault, Confidence::High);
    is(&lockup().sample(), KernelFault, Confidence::Medium);
    // It goes on for minutes.
    is(&lockup().samples(60), OutsideGuest, Confidence::High);
    // What it finds in the ring when it starts is of another time, whether or not it says so.
    is(
        &Made::started("").samples(12).event("kmsg.panic", "old=1 kts=1 msg=x").samples(2),
        OutsideGuest,
        Confidence::High,
    );
    is(&Made::started("").event("kmsg.lockup", "kts=5 msg=x").samples(3), OutsideGuest, Confidence::High);
}

fn short_of_memory() -> Made {
    Made::started("").samples(12).with("vm.mem.avail.kb", 90_000).sample()
}

#[test]
fn a_kill_that_was_survived_is_not_the_death() {
    let made = killed(short_of_memory(), 0, 125);
    is(&made, GuestOom, Confidence::High);
    let survived = made.with("vm.mem.avail.kb", 6_000_000).samples(60);
    let verdict = is(&survived, OutsideGuest, Confidence::High);
    contributes(&verdict, GuestOom);
    let verdict = is(&survived.clone().stop("reason=sigterm samples=73"), Stopped, Confidence::High);
    contributes(&verdict, GuestOom);
    is(&survived.stop("reason=job_exit job.exit=0 samples=73"), Finished, Confidence::High);
}

#[test]
fn a_kill_is_of_this_run_or_of_none() {
    // The kernel's clock says 5 s, the probe began at 60 s.
    let found = killed(Made::started(""), 0, 5).with("vm.oom_kill", 1).samples(2);
    let found = Made {
        text: found
            .text()
            .lines()
            .filter(|line| !line.contains("event=oom "))
            .map(|line| format!("{line}\n"))
            .collect(),
        ..found
    };
    assert_ne!(found.samples(10).verdict().cause, GuestOom);
}

#[test]
fn a_limit_is_met_where_the_kernels_messages_are_denied() {
    let made = Made::started("").samples(12).with("mem.current", "5990000000").with("mem.anon", "5900000000").sample();
    let made = made.with("oom", 1).with("oom_kill", 1).with("vm.oom_kill", 1).sample();
    let made = made.event("oom", "source=own delta=1 kmsg=unread").event("oom", "source=vm delta=1 kmsg=unread");
    is(&made, CgroupOom, Confidence::High);
    let job = made.clone().stop("reason=job_exit job.signal=9 samples=14");
    let verdict = is(&job, CgroupOom, Confidence::High);
    assert!(verdict.change[0].starts_with("raise the runner's memory limit"));
    // A guest that ran out takes a member of the cgroup: its count of kills rises, that of limits met does not.
    let made = Made::started("")
        .samples(12)
        .with("vm.mem.avail.kb", 100_000)
        .sample()
        .with("oom_kill", 1)
        .with("vm.oom_kill", 1)
        .sample();
    is(&made, GuestOom, Confidence::High);
}

#[test]
fn the_job_ends() {
    let made = Made::started("").samples(20);
    is(&made.clone().stop("reason=job_exit job.exit=0 samples=20"), Finished, Confidence::High);
    let verdict = is(&made.clone().stop("reason=job_exit job.exit=3 samples=20"), Finished, Confidence::High);
    assert!(verdict.because[0].says.contains("code 3"));
    is(&made.clone().stop("reason=sigterm samples=20"), Stopped, Confidence::High);
    is(&made.clone().stop("reason=stdout_closed samples=20"), OutsideGuest, Confidence::Medium);
    // The launcher tells the end of the job, in a run of its own, and then tells the probe to stop.
    let phase = Made { seq: 0, run: "phas", ..made }.event("phase", "phase=ended job.exit=2 boot.id=b").wait(300);
    let stopped = Made { seq: 21, run: "made", ..phase }.stop("reason=sigterm samples=20");
    let verdict = is(&stopped, Finished, Confidence::High);
    assert!(verdict.runs == 2 && verdict.because[0].says.contains("code 2"), "{verdict:#?}");
}

#[test]
fn the_host_stops_the_guest() {
    let made = Made::started("").samples(12).wait(90_000).event("gap", "kind=paused ms=90000").sample();
    is(&made, Paused, Confidence::High);
    is(&made.samples(40), OutsideGuest, Confidence::High);
    // Nothing ran because all wanted to.
    let made = starved(Made::started("").samples(12)).with("load1", "40.00").samples(3);
    let made = made.wait(40_000).event("gap", "kind=unknown ms=40000").with("late.ms", "40000.0").samples(2);
    assert_ne!(made.verdict().cause, Paused);
}

#[test]
fn there_are_no_vitals() {
    is(&Made::started(""), NoVitals, Confidence::High);
    is(&Made::started("").sample(), NoVitals, Confidence::Medium);
    // Where lines are broken, its samples can be among them.
    let broken = Made { text: format!("{}RUNNER_VITALS ts= run=made\n", Made::started("").text), ..Made::started("") };
    let verdict = is(&broken, NoVitals, Confidence::Low);
    assert!(verdict.but[0].says.starts_with("broken lines stand beside them, 1 of them"), "{verdict:?}");
}

#[test]
fn clocks_jump() {
    let made = Made::started("").samples(12);
    let back = Made { at_ms: made.at_ms - 3_600_000, ..made.clone() }.event("gap", "kind=clock ms=-3600000");
    let verdict = is(&back.samples(12), OutsideGuest, Confidence::High);
    assert!(verdict.last_ms.unwrap() < i64::try_from(STARTED_MS).unwrap(), "lines are ordered by their numbers");
    let kill = killed(Made { at_ms: made.at_ms + 31_536_000_000, ..made }.samples(3), 0, 140);
    is(&kill, GuestOom, Confidence::High);
}

/// Lines that no kernel can have written make nothing sure, and are told.
#[test]
fn what_cannot_be_is_not_believed() {
    for (key, value) in [
        ("vm.mem.avail.kb", "9000000"),
        ("vm.mem.total.kb", "1000000000000000000"),
        ("mem.used.pct", "4000.0"),
        ("cpu.busy.pct", "4000.0"),
        ("disk.used.pct", "400.0"),
        ("mem.current", "1000000000000000000"),
        ("mem.current", "-5"),
    ] {
        let well = Made::started("").samples(30);
        let usual = well.clone();
        let made = well.with(key, value).samples(3);
        let found = made.verdict();
        assert_eq!((found.cause, found.confidence), (OutsideGuest, Confidence::Low), "{key}: {found:#?}");
        let says = &found.but.last().unwrap().says;
        assert!(says.starts_with("lines with readings that cannot be: 3,"), "{says}");
        assert_eq!(found.last_ms, usual.clone().samples(3).verdict().last_ms, "when it was is believed");
        // Long before the end they are told, and nothing more.
        let later = Made { usual: usual.usual.clone(), ..made }.samples(60);
        is(&later, OutsideGuest, Confidence::High);
        // All of them.
        let all = Made::started("").with(key, value).samples(30);
        assert!(all.verdict().confidence == Confidence::Low, "{:#?}", all.verdict());
    }
    let huge = Made::started("").samples(20).event("top", "rank=1 comm=x pid=1 rss.kb=1000000000000000000").samples(2);
    assert_eq!(huge.verdict().confidence, Confidence::Low);
}

/// Where nothing in the guest ended a job that failed, something else did.
#[test]
fn a_job_that_failed_is_told_where_to_look() {
    for (how, says) in [
        ("job.signal=9", "find who sent signal 9 (SIGKILL)"),
        ("job.exit=137", "find who sent signal 9 (SIGKILL)"),
        ("job.signal=15", "find who sent signal 15 (SIGTERM)"),
        ("job.exit=143", "find who sent signal 15 (SIGTERM)"),
        ("job.signal=11", "a program of the job crashed, signal 11 (SIGSEGV)"),
        ("job.exit=127", "a command was not found or could not be run"),
        ("job.exit=3", "the job failed by itself"),
    ] {
        let made = Made::started("").samples(30).stop(&format!("reason=job_exit {how}"));
        let found = is(&made, Finished, Confidence::High);
        assert!(found.change[0].starts_with(says), "{how}: {:?}", found.change);
    }
    let well = Made::started("").samples(30).stop("reason=job_exit job.exit=0");
    assert!(is(&well, Finished, Confidence::High).change.is_empty());
}
