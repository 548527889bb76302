//! The lives under one name: fleets give a name to one guest after another, and each boot is another. So is each job on a machine that
//! stays up.

mod jobs;

use std::collections::HashMap;

use super::Runner;
use crate::hub::trail::life::Life;
use jobs::Cuts;

/// Which life a run is of: that of a boot, and the how-manieth of it.
type Which<'b> = (Option<&'b str>, usize);

impl Runner {
    /// Its lives, the earliest end first: each has the runs of one boot, up to a job that ended and behind which another run began. A run
    /// that does not tell its boot is of the one that is nearest to it in time. Earlier runs that were left out are of none of them.
    #[must_use]
    pub fn lives(self) -> Vec<Self> {
        let boots: Vec<Option<Box<str>>> = self.runs.iter().map(|(_, life)| boot_id(life)).collect();
        let of = which(&self, &boots);
        let mut lives: Vec<(usize, Self)> = Vec::new();
        let mut known: HashMap<Which<'_>, usize> = HashMap::new();
        // They are by their last lines, so who comes last in a life orders it.
        for (nth, (mut run, (which, began_ms))) in self.runs.into_iter().zip(of).enumerate() {
            if let Some(began_ms) = began_ms {
                run.1.forget_before(began_ms);
            }
            let at = *known.entry(which).or_insert(lives.len());
            if at == lives.len() {
                let (name, broken) = (self.name.clone(), self.broken);
                lives.push((nth, Self { name, broken, runs: Vec::new(), left_out: 0, is_cut: false }));
            }
            if let Some((last, life)) = lives.get_mut(at) {
                *last = nth;
                life.runs.push(run);
            }
        }
        lives.sort_by_key(|(last, _)| *last);
        let mut lives: Vec<Self> = lives.into_iter().map(|(_, life)| life).collect();
        if let Some(last) = lives.last_mut() {
            last.is_cut = self.is_cut;
        }
        lives
    }
}

impl Runner {
    /// Its last life; the runs of the others are only counted.
    #[must_use]
    pub fn last_life(self) -> Self {
        let in_all = self.runs_in_all();
        let nobody = Self {
            name: self.name.clone(),
            broken: self.broken,
            runs: Vec::new(),
            left_out: self.left_out,
            is_cut: self.is_cut,
        };
        let last = self.lives().pop().unwrap_or(nobody);
        let left_out = in_all.saturating_sub(last.runs.len());
        Self { left_out: u64::try_from(left_out).unwrap_or(u64::MAX), ..last }
    }
}

fn boot_id(life: &Life) -> Option<Box<str>> {
    life.about.as_ref().and_then(|about| about.boot_id.clone())
}

/// Which life each run is of, and when that began, where another was before it.
fn which<'b>(runner: &Runner, boots: &'b [Option<Box<str>>]) -> Vec<(Which<'b>, Option<i64>)> {
    let of = (0..boots.len()).map(|at| boots.get(nearest(runner, boots, at)).and_then(Option::as_deref));
    let of: Vec<Option<&str>> = of.collect();
    let mut runs_of: HashMap<Option<&str>, Vec<&Life>> = HashMap::new();
    for (boot, (_, life)) in of.iter().zip(&runner.runs) {
        runs_of.entry(*boot).or_default().push(life);
    }
    let cuts: HashMap<Option<&str>, Cuts> = runs_of.iter().map(|(boot, runs)| (*boot, Cuts::between(runs))).collect();
    let nth = |boot, life| cuts.get(&boot).map_or((0, None), |cuts| cuts.before(life));
    let which = of.into_iter().zip(&runner.runs).map(|(boot, (_, life))| {
        let (nth, began_ms) = nth(boot, life);
        ((boot, nth), began_ms)
    });
    which.collect()
}

/// The run that tells of which boot a run is: itself, or the nearest in time that does.
fn nearest(runner: &Runner, boots: &[Option<Box<str>>], at: usize) -> usize {
    let span = |at: usize| {
        let (_, life) = runner.runs.get(at)?;
        life.first.at_ms().zip(life.last.at_ms())
    };
    let tells = |at: &usize| boots.get(*at).is_some_and(Option::is_some);
    if tells(&at) {
        return at;
    }
    let apart = |other: &usize| {
        let times = span(at).zip(span(*other));
        let apart_ms = times.map(|((from, to), (others_from, others_to))| {
            others_from.saturating_sub(to).max(from.saturating_sub(others_to)).max(0)
        });
        // Without a clock they are in the order in which they were met, behind those that have one.
        (apart_ms.is_none(), apart_ms, at.abs_diff(*other))
    };
    (0..boots.len()).filter(tells).min_by_key(apart).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::super::super::Book;
    use super::super::super::slice::Place;

    /// The runs of each life under the name `r`, given the lines of each run: their seconds, and what they say.
    fn told(runs: &[(&str, Vec<(u64, String)>)]) -> String {
        let mut book = Book::default();
        let at = |s: u64| humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + std::time::Duration::from_secs(s));
        for (run, lines) in runs {
            // Of such a run the first lines are lost.
            let first = if run.starts_with("lost") { 50 } else { 1 };
            for (seq, (s, rest)) in (first..).zip(lines) {
                // Second 0 is that of a guest without a clock.
                let ts = if *s == 0 { String::new() } else { at(*s).to_string() };
                let line = format!("RUNNER_VITALS ts={ts} run={run} seq={seq} {rest} runner.name=r");
                book.take(line.as_bytes(), Default::default(), Place::default());
            }
        }
        let runs = |runner: super::Runner| {
            let runs: Vec<_> = runner.runs.iter().map(|(run, _)| run.as_str().to_owned()).collect();
            runs.join(" ")
        };
        book.into_runners().0.remove(0).lives().into_iter().map(runs).collect::<Vec<_>>().join(";")
    }

    /// The same, given each run's begin and end and its boot.
    fn booted(runs: &[(&str, u64, u64, &str)]) -> String {
        let about =
            |boot: &str| if boot.is_empty() { "event=about".to_owned() } else { format!("event=about boot.id={boot}") };
        let lines = |(run, from, to, boot): &(_, _, _, &str)| {
            (*run, vec![(*from, about(boot)), (*to, "load1=0.10".to_owned())])
        };
        told(&runs.iter().map(lines).collect::<Vec<_>>())
    }

    /// The same, given each run's begin and end and its last line; all of one boot.
    fn ended(runs: &[(&str, u64, u64, &str)]) -> String {
        let lines = |(run, from, to, last): &(_, _, _, &str)| {
            let start = [(*from, "event=start boot.id=x".to_owned()), (*from, "load1=0.10".to_owned())];
            let begin = if last.starts_with("event=phase") { vec![] } else { start.to_vec() };
            (*run, begin.into_iter().chain([(*to, format!("{last} boot.id=x"))]).collect())
        };
        told(&runs.iter().map(lines).collect::<Vec<_>>())
    }

    #[test]
    fn each_boot_is_a_life() {
        for (runs, expected) in [
            (&[("aaaa", 10, 20, "x"), ("bbbb", 30, 40, "y"), ("cccc", 50, 60, "x")][..], "bbbb;aaaa cccc"),
            (&[("aaaa", 10, 20, "x"), ("bbbb", 30, 40, "x")], "aaaa bbbb"),
            // Where none tells its boot they are one.
            (&[("aaaa", 10, 20, ""), ("bbbb", 30, 40, "")], "aaaa bbbb"),
            // That of the nearest.
            (&[("aaaa", 10, 20, "x"), ("bbbb", 22, 30, ""), ("cccc", 50, 60, "y")], "aaaa bbbb;cccc"),
            (&[("aaaa", 10, 20, "x"), ("bbbb", 40, 49, ""), ("cccc", 50, 60, "y")], "aaaa;bbbb cccc"),
            (&[("aaaa", 10, 20, "x"), ("bbbb", 52, 55, ""), ("cccc", 50, 60, "y")], "aaaa;bbbb cccc"),
            // That which has no clock is near to nothing.
            (&[("aaaa", 10, 20, "x"), ("bbbb", 40, 49, ""), ("cccc", 0, 0, "y")], "cccc;aaaa bbbb"),
        ] {
            assert_eq!(booted(runs), expected);
        }
    }

    const DONE: &str = "event=stop reason=job_exit job.exit=0";
    const KILLED: &str = "event=stop reason=job_exit job.signal=9";
    const TOLD: &str = "event=stop reason=sigterm";
    const SILENT: &str = "event=gap kind=unknown ms=1";

    #[test]
    fn each_job_that_ended_before_another_run_began_is_a_life() {
        for (runs, expected) in [
            (&[("aaaa", 10, 20, DONE), ("bbbb", 30, 40, KILLED), ("cccc", 41, 60, SILENT)][..], "aaaa;bbbb;cccc"),
            (&[("aaaa", 10, 20, DONE), ("bbbb", 20, 40, DONE)], "aaaa;bbbb"),
            // A probe that ended otherwise and began anew watches the same; whose job's end is lost is hidden by what follows.
            (&[("aaaa", 10, 20, SILENT), ("bbbb", 30, 40, TOLD), ("cccc", 41, 60, DONE)], "aaaa bbbb cccc"),
            (&[("aaaa", 10, 20, DONE), ("bbbb", 30, 40, SILENT), ("cccc", 41, 60, DONE)], "aaaa;bbbb cccc"),
            (&[("aaaa", 10, 20, "event=stop reason=parent_exit"), ("bbbb", 30, 40, DONE)], "aaaa bbbb"),
            // A job in whose time another began.
            (&[("aaaa", 10, 40, DONE), ("bbbb", 12, 41, DONE)], "aaaa bbbb"),
            (&[("aaaa", 10, 40, DONE), ("bbbb", 12, 41, DONE), ("cccc", 50, 90, DONE)], "aaaa bbbb;cccc"),
            // Without a clock nothing says which was first.
            (&[("aaaa", 0, 0, DONE), ("bbbb", 30, 40, DONE)], "aaaa bbbb"),
            (&[("aaaa", 0, 0, DONE), ("bbbb", 30, 40, DONE), ("cccc", 50, 60, DONE)], "bbbb;aaaa cccc"),
        ] {
            assert_eq!(ended(runs), expected);
        }
    }

    #[test]
    fn a_probe_beside_jobs_is_of_the_last_of_them() {
        let jobs = [("aaaa", 10, 40, DONE), ("bbbb", 50, 80, DONE), ("cccc", 90, 120, DONE)];
        for (beside, expected) in [
            (&[("ssss", 5, 130, SILENT)][..], "aaaa;bbbb;cccc ssss"),
            (&[("ssss", 5, 85, TOLD)], "aaaa;bbbb ssss;cccc"),
            (&[("ssss", 5, 100, TOLD)], "aaaa;bbbb;ssss cccc"),
            // Another `exec` around them.
            (&[("ssss", 5, 130, DONE)], "aaaa;bbbb;cccc ssss"),
            (
                &[("ssss", 5, 42, TOLD), ("tttt", 49, 82, TOLD), ("uuuu", 89, 121, TOLD)],
                "aaaa ssss;bbbb tttt;cccc uuuu",
            ),
            // Killed in between, it began anew: nobody died.
            (&[("ssss", 5, 85, SILENT), ("tttt", 86, 130, SILENT)], "aaaa;bbbb;ssss cccc tttt"),
            // Of which nothing tells that it began behind the last job.
            (&[("lost", 125, 200, SILENT)], "aaaa;bbbb;cccc lost"),
            // What is still there behind the last job.
            (&[("ssss", 125, 200, SILENT)], "aaaa;bbbb;cccc;ssss"),
        ] {
            assert_eq!(ended(&[&jobs[..], beside].concat()), expected);
        }
    }

    #[test]
    fn phases_are_of_the_job_that_they_are_about() {
        let phase = |run, at, phase| (run, at, at, phase);
        let runs = [
            phase("wwww", 5, "event=phase phase=ready"),
            ("aaaa", 10, 40, DONE),
            phase("eeee", 41, "event=phase phase=ended job.exit=0"),
            phase("cccc", 45, "event=phase phase=claimed"),
            ("bbbb", 50, 80, DONE),
            phase("ffff", 81, "event=phase phase=ended job.exit=0"),
            phase("gggg", 85, "event=phase phase=ready"),
        ];
        assert_eq!(ended(&runs), "wwww aaaa eeee;cccc bbbb ffff gggg");
    }
}
