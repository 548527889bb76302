//! A pool of single-shot runners, simulated event by event: jobs come at random and in bursts, a controller replaces what was taken,
//! guests warm up and tell their phases, some die. Seeded, so the same again each time; what is true of it is counted beside the lines.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use crate::support::Trail;

/// How a pool is made. Times in ms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pool {
    pub(crate) seed: u64,
    pub(crate) target: usize,
    pub(crate) reaper_ms: i64,
    /// Warm-up: at least so long, and so much more on average.
    pub(crate) warm_up_ms: (i64, i64),
    /// Between two jobs on average.
    pub(crate) between_ms: i64,
    /// Every so often so many jobs come at once.
    pub(crate) bursts: Option<(i64, usize)>,
    pub(crate) job_ms: i64,
    /// Of 1000 jobs so many die with their guests.
    pub(crate) dying: u64,
    /// From this time on guests are started from another image.
    pub(crate) new_image_at: Option<i64>,
    pub(crate) until_ms: i64,
}

/// What is true.
#[derive(Clone, Debug, Default)]
pub(crate) struct Truth {
    /// When each job was claimed, and how long it had waited.
    pub(crate) claims: Vec<(i64, i64)>,
    /// When each came, and whether it found no ready runner then.
    pub(crate) arrivals: Vec<(i64, bool)>,
    /// Those of them that were claimed.
    pub(crate) unmet: usize,
    pub(crate) warm_ups: Vec<u64>,
    pub(crate) took: Vec<u64>,
    pub(crate) results: BTreeMap<&'static str, usize>,
    pub(crate) died: usize,
    /// By phase at the end.
    pub(crate) members: BTreeMap<&'static str, usize>,
    /// Those that are there at the end and have the old image, and all.
    pub(crate) stale: usize,
    pub(crate) alive: usize,
    /// Ready ones by time, summed up, of the time since the first was.
    pub(crate) ready_area: i128,
    pub(crate) first_ready: Option<i64>,
    pub(crate) least_ready: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive { burst: usize },
    Burst,
    Reap,
    Up(usize),
    Ready(usize),
    Beat(usize),
    End(usize),
}

#[derive(Clone, Debug)]
struct Runner {
    who: String,
    booted: i64,
    ready: i64,
    phase: &'static str,
    is_new: bool,
    claimed: i64,
    is_dying: bool,
}

/// A pool that runs.
pub(crate) struct Simulator {
    pool: Pool,
    random: u64,
    now: i64,
    events: BinaryHeap<Reverse<(i64, usize, Event)>>,
    count: usize,
    runners: Vec<Runner>,
    ready: VecDeque<usize>,
    free: usize,
    waiting: VecDeque<(i64, bool)>,
    pub(crate) trail: Trail,
    pub(crate) truth: Truth,
}

impl Simulator {
    pub(crate) fn run(pool: Pool) -> Self {
        let mut sim = Self {
            pool,
            random: pool.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            now: 0,
            events: BinaryHeap::new(),
            count: 0,
            runners: Vec::new(),
            ready: VecDeque::new(),
            free: 0,
            waiting: VecDeque::new(),
            trail: Trail::default(),
            truth: Truth::default(),
        };
        sim.at(0, Event::Reap);
        // Jobs come once the pool is warm.
        sim.at(600_000, Event::Arrive { burst: 0 });
        if let Some((every, _)) = pool.bursts {
            sim.at(600_000 + every, Event::Burst);
        }
        while let Some(Reverse((at, _, event))) = sim.events.pop() {
            if at > pool.until_ms {
                break;
            }
            sim.pass(at);
            sim.happen(event);
        }
        sim.pass(pool.until_ms);
        sim.finish();
        sim
    }

    fn at(&mut self, at: i64, event: Event) {
        self.count += 1;
        self.events.push(Reverse((at, self.count, event)));
    }

    /// xorshift64*: the high bits.
    fn random(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    }

    /// A time that is so long on average, exponential.
    fn about(&mut self, mean_ms: i64) -> i64 {
        let unit = (self.random() + 1) as f64 / (u64::from(u32::MAX) + 1) as f64;
        (-unit.ln() * mean_ms as f64) as i64
    }

    fn pass(&mut self, at: i64) {
        if self.truth.first_ready.is_some() && at > self.now {
            self.truth.ready_area += i128::from(at - self.now) * self.ready.len() as i128;
            let least = self.truth.least_ready.get_or_insert(usize::MAX);
            *least = self.ready.len().min(*least);
        }
        self.now = at;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive { burst } => {
                self.arrive();
                if burst == 0 {
                    let next = self.about(self.pool.between_ms);
                    self.at(self.now + next, Event::Arrive { burst: 0 });
                }
            }
            Event::Burst => {
                let (every, size) = self.pool.bursts.unwrap();
                for _ in 0..size {
                    let within = (self.random() % 4000) as i64;
                    self.at(self.now + within, Event::Arrive { burst: 1 });
                }
                self.at(self.now + every, Event::Burst);
            }
            Event::Reap => {
                while self.free < self.pool.target {
                    self.start();
                }
                self.at(self.now + self.pool.reaper_ms, Event::Reap);
            }
            Event::Up(runner) => self.tell(runner, "warming", ""),
            Event::Ready(runner) => {
                self.truth.warm_ups.push((self.now - self.runners[runner].booted) as u64);
                self.truth.first_ready.get_or_insert(self.now);
                self.runners[runner].ready = self.now;
                self.tell(runner, "ready", "");
                self.ready.push_back(runner);
                self.at(self.now + 60_000, Event::Beat(runner));
                self.give();
            }
            Event::Beat(runner) if self.runners[runner].phase == "ready" => {
                let waited = self.now - self.runners[runner].ready;
                self.tell(runner, "ready", &format!(" waited.ms={waited} waited.from=ready"));
                self.at(self.now + 60_000, Event::Beat(runner));
            }
            Event::Beat(_) => {}
            Event::End(runner) => self.end(runner),
        }
    }

    fn start(&mut self) {
        let nr = self.runners.len();
        let is_new = self.pool.new_image_at.is_some_and(|at| self.now >= at);
        let image = if is_new { "img-2" } else { "img-1" };
        let who = format!("runner.name=r{nr} runner.fleet=f runner.env=prod runner.image={image} boot.id=b{nr}");
        let (least, more) = self.pool.warm_up_ms;
        let (boot, agent) = (least / 2 + self.about(more / 4), least / 2 + self.about(more - more / 4));
        let runner = Runner { who, booted: self.now, ready: 0, phase: "warming", is_new, claimed: 0, is_dying: false };
        self.runners.push(runner);
        self.free += 1;
        self.at(self.now + boot, Event::Up(nr));
        self.at(self.now + boot + agent, Event::Ready(nr));
    }

    fn tell(&mut self, runner: usize, phase: &'static str, rest: &str) {
        let uptime = self.now - self.runners[runner].booted;
        let who = format!("{} uptime.ms={uptime}{rest}", self.runners[runner].who);
        self.runners[runner].phase = phase;
        self.trail.phase(&who, self.now, phase);
    }

    fn arrive(&mut self) {
        self.truth.arrivals.push((self.now, self.ready.is_empty()));
        self.waiting.push_back((self.now, self.ready.is_empty()));
        self.give();
    }

    /// The job that waits longest to a runner that is ready: as chance has it, as with polls.
    fn give(&mut self) {
        while !self.ready.is_empty() && !self.waiting.is_empty() {
            let at = self.random() as usize % self.ready.len();
            let runner = self.ready.remove(at).unwrap();
            let (came, is_unmet) = self.waiting.pop_front().unwrap();
            let waited = self.now - came;
            self.free -= 1;
            self.truth.claims.push((self.now, waited));
            self.truth.unmet += usize::from(is_unmet);
            self.tell(runner, "claimed", &format!(" job.nr=1 waited.ms={waited} waited.from=queued poll.served=1"));
            let takes = 1000 + self.about(self.pool.job_ms);
            self.runners[runner].claimed = self.now;
            self.runners[runner].is_dying = self.random() % 1000 < self.pool.dying;
            // Its probe, up to the end.
            let ends = (self.now + takes).min(self.pool.until_ms);
            let who = self.runners[runner].who.clone();
            self.trail.probe(&who, (self.now + 100, ends.max(self.now + 100)), 15_000);
            self.at(self.now + takes, Event::End(runner));
        }
    }

    fn end(&mut self, runner: usize) {
        if self.runners[runner].is_dying {
            self.truth.died += 1;
            self.runners[runner].phase = "lost";
            return;
        }
        let result = ["success", "success", "success", "failure", "cancelled"][self.random() as usize % 5];
        *self.truth.results.entry(result).or_insert(0) += 1;
        self.truth.took.push((self.now - self.runners[runner].claimed) as u64);
        self.tell(runner, "ended", &format!(" job.nr=1 job.result={result} poll.served=1"));
    }

    fn finish(&mut self) {
        for runner in &self.runners {
            // Who has not said a word is not there for anyone.
            let is_heard = runner.phase != "warming" || self.trail.text.contains(&format!("{} uptime", runner.who));
            if !is_heard {
                continue;
            }
            *self.truth.members.entry(runner.phase).or_insert(0) += 1;
            if matches!(runner.phase, "warming" | "ready" | "claimed") {
                self.truth.alive += 1;
                self.truth.stale += usize::from(self.pool.new_image_at.is_some() && !runner.is_new);
            }
        }
    }
}
