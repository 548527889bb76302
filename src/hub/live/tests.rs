use super::*;
use crate::hub::fleet::roll;
use crate::hub::fleet::state::State;
use crate::line::RunId;

mod odd;

/// The clock at the start, ms since 1970.
const T0: i64 = 1_780_574_400_000;

fn at(ms: i64) -> String {
    let since = std::time::Duration::from_millis(u64::try_from(ms).unwrap());
    humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + since).to_string()
}

fn spec(text: &str) -> FleetFile {
    toml::from_str(text).unwrap()
}

/// Fleets and a clock.
struct Stage {
    live: Live,
    now_ms: i64,
    /// What the guests' clocks are off by.
    off_ms: i64,
    lines: u64,
}

impl Stage {
    fn new(file: FleetFile) -> Self {
        Self { live: Live::new(file, T0), now_ms: T0, off_ms: 0, lines: 0 }
    }

    fn pass(&mut self, seconds: i64) {
        for _ in 0..seconds.div_euclid(5) {
            self.now_ms += 5000;
            while self.live.tick(self.now_ms) {}
        }
        self.now_ms += seconds.rem_euclid(5) * 1000;
    }

    fn line(&mut self, run: &str, rest: &str) -> String {
        self.lines += 1;
        format!(
            "RUNNER_VITALS ts={} run={run} seq={} runner.env=prod runner.fleet=linux {rest}",
            at(self.now_ms + self.off_ms),
            self.lines
        )
    }

    /// An event line of the probe, or what a script says, each a run of its own.
    fn says(&mut self, name: &str, rest: &str) -> String {
        let run = if rest.starts_with("phase=") {
            RunId::from_random(self.lines * 7).as_str().to_owned()
        } else {
            "k3x9".to_owned()
        };
        let line = self.line(&run, &rest.replacen("phase=", "event=phase phase=", 1));
        self.again(name, &line);
        line
    }

    fn again(&mut self, name: &str, line: &str) {
        let batch = Batch { name, events: vec![line], sample: None, clock: Clock::Received };
        self.live.take(&batch, self.now_ms);
    }

    fn sample(&mut self, name: &str) {
        let text = self.line("k3x9", "load1=0.10");
        let at_ms = Some(self.now_ms + self.off_ms);
        let sample = Sample { text: &text, run: RunId::parse("k3x9").unwrap(), seq: self.lines, at_ms };
        let batch = Batch { name, events: Vec::new(), sample: Some(sample), clock: Clock::Received };
        self.live.take(&batch, self.now_ms);
    }

    /// A line that a tail finds.
    fn is_found(&mut self, name: &str, run: &str, rest: &str) -> String {
        let line = self.line(run, rest).replace("runner.fleet=linux runner.fleet=", "runner.fleet=");
        self.is_found_again(name, &line);
        line
    }

    fn is_found_again(&mut self, name: &str, line: &str) {
        let batch = Batch { name, events: vec![line], sample: None, clock: Clock::Theirs };
        self.live.take(&batch, self.now_ms);
    }

    fn fleet(&self) -> FleetNow {
        let now = self.live.now(self.now_ms);
        let [fleet] = &now.fleets[..] else { panic!("{now:?}") };
        fleet.clone()
    }

    fn is(&self, states: &[(State, usize)]) {
        assert_eq!(self.fleet().members, states.iter().copied().collect());
    }
}

const LINUX: &str = "[[fleet]]\nenv = \"prod\"\nfleet = \"linux\"\n";

#[test]
fn a_life_is_followed_and_counted_once() {
    let mut stage = Stage::new(FleetFile::default());
    // The clock of a guest does not matter.
    stage.off_ms = -7_200_000;
    let mut lines = vec![stage.says("a", "phase=warming boot.id=b uptime.ms=4000")];
    stage.is(&[(State::Warming, 1)]);
    stage.pass(20);
    lines.push(stage.says("a", "phase=ready boot.id=b uptime.ms=24000"));
    stage.is(&[(State::Ready, 1)]);
    stage.pass(30);
    lines.push(stage.says(
        "a",
        "phase=claimed boot.id=b uptime.ms=54000 waited.ms=11000 waited.from=queued poll.no_work=3 poll.served=1 poll.sum.ms=800 poll.max.ms=300",
    ));
    assert_eq!((stage.fleet().running, stage.fleet().utilisation_pct), (1, Some(100)));
    stage.pass(90);
    lines.push(stage.says("a", "phase=ended boot.id=b uptime.ms=144000 job.exit=0 job.result=failure"));
    // Whoever sends again, and in whatever order, is not counted twice.
    for line in lines.iter().rev().chain(&lines) {
        stage.again("a", line);
    }
    stage.is(&[(State::Ended, 1)]);
    let FleetNow { tally, running, capacity, utilisation_pct, .. } = stage.fleet();
    assert_eq!((running, capacity, utilisation_pct), (0, 0, None));
    assert_eq!((tally.claims, tally.jobs), (1, [0, 1, 0, 0, 0, 0]));
    assert_eq!((tally.waits.count(), tally.waits.sum_ms), (1, 11_000));
    assert_eq!((tally.warm_ups.count(), tally.warm_ups.sum_ms), (1, 24_000));
    assert_eq!((tally.took.count(), tally.took.sum_ms), (1, 90_000));
    assert_eq!((tally.polls[0], tally.polls[1], tally.poll_sum_ms), (1, 3, 800));
    assert_eq!(tally.deaths, [0; 4]);
    stage.pass(595);
    stage.is(&[(State::Ended, 1)]);
    stage.pass(10);
    assert!(stage.live.now(stage.now_ms).fleets.is_empty(), "a fleet goes with the last of its members");
}

#[test]
fn who_falls_silent_is_lost_and_then_dead() {
    let mut stage = Stage::new(spec(LINUX));
    for name in ["a", "b", "c"] {
        stage.says(name, "event=start interval.ms=5000");
        stage.says(name, "phase=ready");
        stage.says(name, "phase=claimed");
    }
    stage.says("b", "event=kmsg.oom scope=guest victim.comm=node victim.pid=7 kts=100.0 msg=x");
    for _ in 0..30 {
        stage.pass(5);
        ["a", "b", "c"].iter().for_each(|name| stage.sample(name));
    }
    stage.is(&[(State::Claimed, 3)]);
    stage.says("b", "event=oom source=vm delta=1 kmsg=agrees");
    for _ in 0..20 {
        stage.pass(5);
        stage.sample("c");
    }
    stage.is(&[(State::Claimed, 1), (State::Lost, 2)]);
    assert_eq!((stage.fleet().running, stage.fleet().tally.deaths), (1, [0; 4]), "they can come back");
    stage.sample("a");
    stage.is(&[(State::Claimed, 2), (State::Lost, 1)]);
    stage.pass(420);
    let tally = stage.fleet().tally;
    assert_eq!(tally.jobs, [0, 0, 0, 0, 0, 3]);
    assert_eq!(tally.deaths, [0, 1, 0, 2]);
    stage.pass(700);
    let fleet = stage.fleet();
    assert_eq!((fleet.members.len(), fleet.tally.claims), (0, 3), "a fleet of the file stays");
}

#[test]
fn who_says_that_it_ends_does_not_die() {
    let mut stage = Stage::new(spec(LINUX));
    stage.says("a", "event=start interval.ms=5000");
    stage.says("a", "phase=claimed");
    stage.pass(10);
    stage.says("a", "event=stop reason=sigterm");
    stage.is(&[(State::Ended, 1)]);
    stage.pass(900);
    let tally = stage.fleet().tally;
    assert_eq!((tally.jobs[4], tally.deaths), (1, [0; 4]));
}

#[test]
fn what_was_before_the_start_is_known_and_not_counted() {
    let mut stage = Stage::new(spec(LINUX));
    let old = |seq: u64, ms: i64, rest: &str| {
        format!(
            "RUNNER_VITALS ts={} run=a{seq:03} seq=1 runner.env=prod runner.fleet=linux event=phase {rest}",
            at(T0 + ms)
        )
    };
    let lines = [
        old(1, -90_000, "phase=ready boot.id=b uptime.ms=9000 poll.no_work=1"),
        old(2, -60_000, "phase=claimed boot.id=b uptime.ms=39000 poll.no_work=5"),
    ];
    let events = lines.iter().map(String::as_str).collect();
    stage.live.take(&Batch { name: "a", events, sample: None, clock: Clock::Theirs }, T0 + 5000);
    stage.is(&[(State::Claimed, 1)]);
    let tally = stage.fleet().tally;
    assert_eq!((tally.claims, tally.warm_ups.count(), tally.polls[1]), (0, 0, 0));
    stage.pass(60);
    stage.is_found("a", "a003", "event=phase phase=ended boot.id=b uptime.ms=159000 job.result=success poll.no_work=7");
    let tally = stage.fleet().tally;
    assert_eq!((tally.claims, tally.jobs[0], tally.polls[1]), (0, 1, 2));
}

#[test]
fn a_roll_and_a_deficit_follow_the_fleet_file() {
    let mut stage = Stage::new(spec(&format!(
        "{LINUX}target = 6\nwarm_floor = 2\nreplicas = 8\nimage = \"new\"\nmax_concurrent_percent = 25\n"
    )));
    for name in ["a", "b", "c"] {
        stage.says(name, "phase=ready runner.image=old");
    }
    stage.says("a", "phase=claimed");
    stage.says("d", "phase=warming runner.image=new");
    let FleetNow { roll, deficit, capacity, utilisation_pct, target, .. } = stage.fleet();
    let roll = roll.unwrap();
    assert_eq!((roll.current, roll.stale, roll.rolling, roll.cap), (1, 3, roll::Figure::Estimated(1), Some(2)));
    assert_eq!((deficit.unwrap().deficit, capacity, utilisation_pct, target), (0, 3, Some(33), Some(6)));
    ["b", "c"].iter().for_each(|name| drop(stage.says(name, "phase=claimed")));
    assert_eq!(stage.fleet().deficit.unwrap().deficit, 1, "three run, two more are to be warm, four are there");
    stage.pass(700);
    assert_eq!(stage.fleet().stuck, 1);
}

#[test]
fn members_and_fleets_are_bounded() {
    let mut stage = Stage::new(spec(LINUX));
    stage.live.most = 100;
    for nth in 0..100 {
        let text = format!("RUNNER_VITALS ts= run=k3x9 seq=1 runner.fleet=f{nth} event=phase phase=ready");
        stage.again(&format!("a{nth}"), &text);
    }
    let now = stage.live.now(stage.now_ms);
    assert_eq!((now.fleets.len(), now.members, now.left_out), (FLEETS + 2, 100, 0));
    let other = now.fleets.iter().find(|fleet| fleet.key.fleet.as_deref() == Some(OTHER)).unwrap();
    assert_eq!(other.members[&State::Ready], 50);
    stage.says("more", "phase=ready");
    assert_eq!((stage.live.now(stage.now_ms).left_out, stage.live.knows("more")), (1, false));
    stage.says("a7", "phase=ended");
    stage.pass(5);
    stage.says("more", "phase=ready");
    assert!(stage.live.knows("more") && !stage.live.knows("a7"), "who ended makes room");
}
