//! The figures of simulated pools against what is true of them, and the advice put to the test.

use runner_vitals::hub::diagnose::cause::Cause;
use runner_vitals::hub::fleet::counts::{Quantiles, most_within};
use runner_vitals::hub::fleet::look::Fleet;
use runner_vitals::hub::fleet::sizing::{Advice, Size};
use runner_vitals::hub::fleet::state::State;
use runner_vitals::hub::trail::stage::JobResult;

use crate::simulator::{Pool, Simulator};
use crate::support::{HOUR, fleet};

const POOL: Pool = Pool {
    seed: 1,
    target: 4,
    reaper_ms: 30_000,
    warm_up_ms: (20_000, 15_000),
    between_ms: 20_000,
    bursts: Some((1_200_000, 8)),
    job_ms: 120_000,
    dying: 20,
    new_image_at: None,
    until_ms: 3 * HOUR,
};

const FILE: &str =
    "[[fleet]]\nenv = \"prod\"\nfleet = \"f\"\ntarget = 4\nmax = 100\nreaper_interval = \"30s\"\nwarm_floor = 4\n";

fn looked_at(sim: &Simulator, pool: Pool) -> Fleet {
    fleet(&sim.trail.text, FILE, pool.until_ms)
}

#[test]
fn figures_are_what_is_true_of_the_pool() {
    for seed in 1..=4 {
        let pool = Pool { seed, ..POOL };
        let sim = Simulator::run(pool);
        let (fleet, truth) = (looked_at(&sim, pool), &sim.truth);
        let figures = &fleet.figures;

        // Exact: what lines say.
        let times: Vec<i64> = truth.claims.iter().map(|(at, _)| *at).collect();
        assert_eq!(figures.claims.count, times.len());
        assert_eq!(figures.claims.peak, most_within(&times, 60_000).unwrap().0);
        let mut asked: Vec<i64> = truth.claims.iter().map(|(at, waited)| at - waited).collect();
        asked.sort_unstable();
        assert_eq!(figures.claims.asked_peak, most_within(&asked, 60_000).unwrap().0);
        let waits: Vec<u64> = truth.claims.iter().map(|(_, waited)| *waited as u64).collect();
        assert_eq!(figures.waits.cold, waits.iter().filter(|ms| **ms > 10_000).count());
        assert_eq!(figures.waits.known, Quantiles::of(waits));
        assert_eq!(figures.warm_ups.whole, Quantiles::of(truth.warm_ups.clone()));
        assert_eq!(figures.jobs.took, Quantiles::of(truth.took.clone()));
        for (result, name) in
            [(JobResult::Success, "success"), (JobResult::Failure, "failure"), (JobResult::Cancelled, "cancelled")]
        {
            assert_eq!(figures.jobs.told.get(&result), truth.results.get(name), "{name}");
        }

        // Silence is seen a minute or five samples late: those that died since then still count as claimed.
        let count = |state: State| figures.members.get(&state).copied().unwrap_or(0);
        let true_count = |phase: &str| truth.members.get(phase).copied().unwrap_or(0);
        for state in [State::Warming, State::Ready, State::Ended] {
            assert_eq!(count(state), true_count(state.name()), "{state:?}");
        }
        let unseen = truth.died - figures.jobs.died();
        assert!(truth.died > 0 && unseen <= 1, "{unseen} of {}", truth.died);
        assert_eq!(count(State::Claimed), true_count("claimed") + unseen);
        assert_eq!(figures.deaths.values().sum::<usize>(), figures.jobs.died());
        assert!(
            figures.deaths.keys().all(|cause| matches!(cause, Cause::OutsideGuest | Cause::NoVitals)),
            "{:?}",
            figures.deaths
        );

        // How many were ready when: exact but for what is shorter than a millisecond.
        let span = i128::from(pool.until_ms - truth.first_ready.unwrap());
        let mean = (truth.ready_area * 100 / span) as i64;
        assert!((figures.supply.mean_hundredths - mean).abs() <= 1, "{} {mean}", figures.supply.mean_hundredths);
        assert_eq!(figures.supply.least, truth.least_ready.unwrap() as i64);

        // Which jobs found no ready runner: 2 of 100 may be told otherwise, where another took the runner that was there.
        let (unmet, true_unmet) = (figures.supply.unmet, truth.unmet);
        assert!(true_unmet > 20 && unmet.abs_diff(true_unmet) * 50 <= truth.claims.len(), "{unmet} {true_unmet}");
    }
}

fn size(fleet: &Fleet) -> Size {
    match &fleet.plan.as_ref().unwrap().advice {
        Advice::Size(size) => *size,
        Advice::TooLittle(lacks) => panic!("{lacks:?}"),
    }
}

/// Of 1000 jobs so many find no ready runner: of all, and of those in the half hour with the most.
fn unmet(sim: &Simulator) -> [usize; 2] {
    let all = &sim.truth.arrivals;
    let times: Vec<i64> = all.iter().map(|(at, _)| *at).collect();
    let (_, from) = most_within(&times, HOUR / 2).unwrap();
    let peak = all.iter().filter(|(at, _)| (from..from + HOUR / 2).contains(at));
    let share = |of: Vec<&(i64, bool)>| of.iter().filter(|(_, is_unmet)| *is_unmet).count() * 1000 / of.len();
    [share(all.iter().collect()), share(peak.collect())]
}

#[test]
fn the_advised_size_has_a_ready_runner_for_99_of_100_jobs() {
    let few_bursts = Pool { bursts: None, between_ms: 6000, ..POOL };
    let slow = Pool { warm_up_ms: (120_000, 60_000), reaper_ms: 60_000, ..POOL };
    let large_bursts = Pool { bursts: Some((900_000, 25)), between_ms: 60_000, ..POOL };
    // What the rate asks for is less than one burst: it is the headroom that does it.
    let fast =
        Pool { warm_up_ms: (2000, 2000), reaper_ms: 5000, bursts: Some((600_000, 12)), between_ms: 60_000, ..POOL };
    for (what, pool) in
        [("fast", fast), ("usual", POOL), ("few bursts", few_bursts), ("slow", slow), ("large bursts", large_bursts)]
    {
        for seed in [11, 12, 13] {
            let starved = Pool { seed, dying: 0, ..pool };
            let sim = Simulator::run(starved);
            assert!(unmet(&sim)[0] > 50, "{what}: {:?} of 1000", unmet(&sim));
            let file = FILE.replace("30s", &format!("{}s", pool.reaper_ms / 1000));
            let advised = size(&fleet(&sim.trail.text, &file, pool.until_ms));
            let sized = Simulator::run(Pool { target: advised.target as usize, ..starved });
            let found_none = unmet(&sized);
            assert!(
                found_none.iter().all(|share| *share < 10),
                "{what} {seed}: {found_none:?} of 1000 with {advised:?}"
            );
            // It is no waste either.
            let few = Simulator::run(Pool { target: advised.target as usize / 5, ..starved });
            assert!(unmet(&few)[1] >= 10, "{what} {seed}: a fifth of {} is enough", advised.target);
        }
    }
}

#[test]
fn a_roll_is_counted_as_it_is() {
    for minutes in [61, 63, 70] {
        let pool = Pool { new_image_at: Some(HOUR), until_ms: minutes * 60_000, dying: 0, ..POOL };
        let sim = Simulator::run(pool);
        let file = format!("{FILE}image = \"img-2\"\n");
        let roll = fleet(&sim.trail.text, &file, pool.until_ms).roll.unwrap();
        assert_eq!((roll.stale, roll.current), (sim.truth.stale, sim.truth.alive - sim.truth.stale), "{minutes}");
    }
}
