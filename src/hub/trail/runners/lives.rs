//! The lives under one name: fleets give a name to one guest after another, and each boot is another.

use super::Runner;
use crate::hub::trail::life::Life;

impl Runner {
    /// Its lives, the earliest end first, each with the runs of one boot. A run that does not tell its boot is of the life that is nearest to
    /// it in time. Earlier runs that were left out are of none of them.
    #[must_use]
    pub fn lives(self) -> Vec<Self> {
        let boots: Vec<Option<Box<str>>> = self.runs.iter().map(|(_, life)| boot_id(life)).collect();
        let of: Vec<Option<Box<str>>> =
            (0..boots.len()).map(|at| boots.get(nearest(&self, &boots, at)).cloned().flatten()).collect();
        let mut lives: Vec<(Option<Box<str>>, Self)> = Vec::new();
        // They are by their last lines, so who comes last in a life orders it.
        for (run, boot) in self.runs.into_iter().zip(of) {
            let at = lives.iter().position(|(other, _)| *other == boot);
            let mut life = match at {
                Some(at) => lives.remove(at),
                None => {
                    let (name, broken) = (self.name.clone(), self.broken);
                    (boot, Self { name, broken, runs: Vec::new(), left_out: 0, is_cut: false })
                }
            };
            life.1.runs.push(run);
            lives.push(life);
        }
        let mut lives: Vec<Self> = lives.into_iter().map(|(_, life)| life).collect();
        if let Some(last) = lives.last_mut() {
            last.is_cut = self.is_cut;
        }
        lives
    }
}

fn boot_id(life: &Life) -> Option<Box<str>> {
    life.about.as_ref().and_then(|about| about.boot_id.clone())
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

    /// The runs of each life under the name `r`, given each run's begin and end in seconds and its boot.
    fn lives(runs: &[(&str, u64, u64, &str)]) -> Vec<Vec<String>> {
        let mut book = Book::default();
        let at = |s: u64| humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + std::time::Duration::from_secs(s));
        for (run, from, to, boot) in runs {
            let boot = if boot.is_empty() { String::new() } else { format!("boot.id={boot} ") };
            for (seq, s, rest) in [(1, from, format!("event=about {boot}")), (2, to, "load1=0.10 ".to_owned())] {
                // Second 0 is that of a guest without a clock.
                let ts = if *s == 0 { String::new() } else { at(*s).to_string() };
                let line = format!("RUNNER_VITALS ts={ts} run={run} seq={seq} {rest}runner.name=r");
                book.take(line.as_bytes(), Default::default(), Place::default());
            }
        }
        let runs = |runner: super::Runner| runner.runs.iter().map(|(run, _)| run.as_str().to_owned()).collect();
        book.into_runners().0.remove(0).lives().into_iter().map(runs).collect()
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
            let found: Vec<String> = lives(runs).iter().map(|runs| runs.join(" ")).collect();
            assert_eq!(found.join(";"), expected);
        }
    }
}
