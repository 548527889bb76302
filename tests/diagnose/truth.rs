//! No sentence denies the figures beside it.

use runner_vitals::hub::diagnose::cause::Cause::*;
use runner_vitals::hub::diagnose::clock::Clock;
use runner_vitals::hub::diagnose::evidence::Ending;
use runner_vitals::hub::diagnose::verdict::{Confidence, Said, Verdict};

use crate::made::{Made, deaths, is};
use crate::support::{fixture, verdict, verdict_at};
use crate::trails::TRAILS;

/// All that is said of a runner.
fn sentences(verdict: &Verdict) -> Vec<&str> {
    let others = verdict.contributing.iter().chain(&verdict.ruled_out).flat_map(|other| &other.because);
    let said = verdict.because.iter().chain(&verdict.but).chain(others).map(|said| said.says.as_str());
    said.chain(verdict.change.iter().map(String::as_str)).chain([verdict.about()]).collect()
}

fn well() -> Made {
    Made::started("").samples(20)
}

/// Trails that are ill in every way, and each of them as it goes on, is stopped, or ends its job.
fn trails() -> Vec<String> {
    let mut all: Vec<Made> = deaths().into_iter().map(|(_, made, ..)| made).collect();
    for (key, value) in [
        ("cpu.busy.pct", "100.0"),
        ("cpu.stall.pct", "97.0"),
        ("vm.mem.avail.kb", "12288"),
        ("mem.anon", "5990000000"),
        ("mem.stall.pct", "12.0"),
        ("io.stall.pct", "55.0"),
        ("late.ms", "900.0"),
        ("agent.state", "Z"),
        ("agent.state", ""),
        ("cpu.steal.pct", "9.0"),
        ("load1", "80.00"),
    ] {
        all.push(well().with(key, value).samples(4));
        all.push(Made::started("").with(key, value).sample());
    }
    let averages = ["mem.psi.full.avg10", "io.psi.some.avg10"];
    let only = ["cpu.stall.pct", "io.stall.pct"].into_iter().fold(Made::started(""), |made, key| made.with(key, ""));
    all.push(averages.into_iter().fold(only, |made, key| made.with(key, "95.0")).sample());
    let kill = "scope=cgroup victim.comm=node victim.pid=7 victim.adj=0 cgroup=/runner kts=150 msg=x";
    let killed = || well().event("kmsg.oom", kill).with("oom", 1).with("oom_kill", 1).with("vm.oom_kill", 1);
    all.extend([
        killed(),
        killed().samples(3),
        killed().samples(60),
        killed().with("mem.stall.pct", "80.0").samples(30),
    ]);
    for event in ["gap kind=unknown ms=9000", "gap kind=paused ms=2000", "kmsg.hung comm=jbd2 kts=150 msg=x"] {
        let (event, fields) = event.split_once(' ').unwrap();
        all.push(well().event(event, fields).samples(2));
    }
    let ends = [
        "",
        "reason=sigterm",
        "reason=samples",
        "reason=moved_on",
        "reason=parent_exit",
        "reason=stdout_closed",
        "reason=job_exit",
        "reason=job_exit job.exit=0",
        "reason=job_exit job.exit=1",
        "reason=job_exit job.signal=9",
        "reason=job_exit job.exit=143 job.told=15",
    ];
    let with_ends = all.iter().flat_map(|made| {
        ends.map(|end| if end.is_empty() { made.text().to_owned() } else { made.clone().stop(end).text().to_owned() })
    });
    TRAILS.iter().map(|(name, ..)| fixture(name)).chain(with_ends).collect()
}

/// What is available in the lowest of the last samples of a text, of 100.
fn lowest_available(text: &str) -> u64 {
    let number = |line: &str, key: &str| line.split(key).nth(1)?.split(' ').next()?.parse::<u64>().ok();
    let last: Vec<&str> =
        text.lines().filter(|line| line.contains(" vm.mem.avail.kb=") && !line.contains(" event=")).collect();
    let of = |line: &&str| Some(number(line, " vm.mem.avail.kb=")? * 100 / number(line, " vm.mem.total.kb=")?);
    last.iter().rev().take(2).filter_map(of).min().unwrap_or(100)
}

#[test]
fn no_sentence_denies_the_figures_beside_it() {
    let mut wrong = Vec::new();
    for text in trails() {
        let dead = verdict(&text);
        let now = u64::try_from(dead.last_ms.unwrap()).unwrap() + 1000;
        let now = std::time::UNIX_EPOCH + std::time::Duration::from_millis(now);
        for found in [verdict_at(&text, &Clock::new(now, None)), dead] {
            let all = sentences(&found);
            let says = |part: &str| all.iter().find(|says| says.contains(part)).copied();
            let busy = all.iter().any(|says| says.contains("CPUs busy 9") || says.contains("CPUs busy 100"));
            let killed = text.contains("event=kmsg.oom") && !text.contains("old=1") || text.contains(" oom_kill=1 ");
            let checks = [
                (says("nothing ailed"), true),
                (says("look at the node and the platform"), found.ending == Ending::Unread),
                (says("nothing is seen that ailed it"), busy || killed || lowest_available(&text) < 10),
                (says("no line tells how tasks waited for it"), text.contains("mem.psi.full.avg10=9")),
                (says("nothing tells how long tasks waited for disks"), text.contains("io.psi.some.avg10=9")),
                (says("says that it was told to stop"), text.contains("reason=moved_on")),
                (says("the guest was well"), busy || killed || lowest_available(&text) < 10),
                (says("nothing was killed"), killed),
                (says("nothing ran"), !text.contains("kind=paused")),
                (says("the end"), found.ending == Ending::Alive),
                (says("; the runner survived it"), true),
                (says("silence follows"), found.ending != Ending::Silence),
                (says("no line tells of a kill"), killed),
                (
                    says("nothing here points at the machine"),
                    !found.contributing.is_empty() || lowest_available(&text) < 10,
                ),
                (says("no line says that"), text.contains("event=stop")),
                (says("was there until the end"), true),
                (says("and nobody who was the worse for it"), text.contains("state=waited")),
            ];
            for (says, is_false) in checks {
                if let Some(says) = says.filter(|_| is_false) {
                    let last = text.lines().last().unwrap();
                    wrong.push(format!("{says:?} of {}, {:?}, {last}", found.cause.name(), found.ending));
                }
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Where the end is of something that no sample shows, that is said, and advice does not deny it.
#[test]
fn a_peak_that_no_sample_shows_is_said() {
    let kill = |scope: &str, cgroup: &str| {
        format!(
            "scope={scope} victim.comm=node victim.pid=7 victim.rss.kb=5000000 victim.adj=0 cgroup={cgroup} kts=150 msg=x"
        )
    };
    let made = well().event("kmsg.oom", &kill("cgroup", "/runner")).with("oom", 1).with("oom_kill", 1);
    let behind = made.clone().with("vm.oom_kill", 1).sample();
    // Only counts tell it: the sample that has them has the peak too.
    let counted = well().with("oom", 1).with("oom_kill", 1).with("vm.oom_kill", 1).sample();
    for (made, why) in [
        (made, "the peak came between two of them"),
        (behind, "its peak is no higher behind the kill"),
        (counted, "its peak is no higher behind the kill"),
    ] {
        let own = is(&made, CgroupOom, Confidence::High);
        let says = &own.change[0];
        assert!(says.contains("no sample shows") && says.contains("between two of them"), "{says}");
        assert!(!says.contains("its peak was 1.7 GiB"), "{says}");
        let is_said = |said: &&Said| said.says.contains("1.7 GiB of 5.5 GiB at most in any sample");
        assert!(own.but.iter().find(is_said).is_some_and(|said| said.says.contains(why)), "{own:#?}");
    }
    let made = well().event("kmsg.oom", &kill("guest", "/x")).with("vm.oom_kill", 1).sample();
    let guest = is(&made, GuestOom, Confidence::High);
    let says = &guest.change[0];
    assert!(says.contains("no sample shows") && says.contains("between two of them"), "{says}");
    assert!(
        guest.but.iter().any(|said| said.says.contains("no sample has less than 5.7 GiB of 7.6 GiB available")),
        "{guest:#?}"
    );
}

#[test]
fn a_kill_is_in_the_headline_or_not_denied_there() {
    let made =
        well().with("vm.oom_kill", 1).event("oom", "source=vm delta=1 kmsg=unread").with("mem.stall.pct", "95.0");
    let verdict = is(&made.samples(60), MemoryThrash, Confidence::High);
    assert!(!verdict.about().contains("killed"), "{}", verdict.about());
}
