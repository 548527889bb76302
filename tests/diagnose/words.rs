//! What a verdict says beside its cause: what is not known, when it was, what to do.

use runner_vitals::hub::diagnose::cause::Cause::*;
use runner_vitals::hub::diagnose::verdict::{Confidence, Said, Verdict};

use crate::made::{Made, is};
use crate::support::{fixture, verdict};
use crate::trails::TRAILS;

fn has(said: &[Said], text: &str) -> bool {
    said.iter().any(|said| said.says.contains(text))
}

/// A captured trail without its first lines.
fn tail(name: &str, lines: usize) -> Verdict {
    verdict(&fixture(name).split_inclusive('\n').skip(lines).collect::<String>())
}

#[test]
fn a_beginning_that_is_not_there_is_said_of_every_verdict() {
    for (name, ..) in TRAILS {
        assert!(!has(&verdict(&fixture(name)).but, "not there"), "{name}");
        let part = tail(name, 4);
        assert_eq!(part.missing_before, 4, "{name}");
        assert_eq!(
            part.but.iter().filter(|said| said.says.starts_with("the 4 lines before 2026-")).count(),
            1,
            "{name}"
        );
        let claims = part.ruled_out.iter().any(|other| has(&other.because, "did not move"));
        assert!(!claims, "{name}: {:#?}", part.ruled_out);
    }
    let out = tail("thrash-files", 4).ruled_out;
    assert!(has(&out[0].because, "was not seen to move since 2026-11-24T18:57:1"), "{:#?}", out[0]);
    // The kernel counts from its boot, and so says more.
    let out = Made::started("").samples(30).without_first(10).verdict().ruled_out;
    assert!(has(&out[0].because, "(vm.oom_kill) is 0: there was none since it booted"), "{:#?}", out[0]);
}

#[test]
fn a_beginning_that_is_not_there_makes_less_sure_where_it_matters() {
    let made = Made::started("").samples(40);
    is(&made.without_first(5), OutsideGuest, Confidence::High);
    // What ailed it a minute ago would be there, were there a minute.
    is(&made.without_first(35), OutsideGuest, Confidence::Medium);
    let failed = made.clone().stop("reason=job_exit job.exit=3 samples=40");
    is(&failed.without_first(5), Finished, Confidence::High);
    is(&failed.without_first(38), Finished, Confidence::Medium);
    is(&made.clone().stop("reason=job_exit job.exit=0 samples=40").without_first(38), Finished, Confidence::High);
    // A last line is not the first.
    let stopped = made.stop("reason=sigterm samples=40").without_first(41);
    assert_ne!(stopped.verdict().cause, NoVitals, "{:#?}", stopped.verdict());
}

#[test]
fn what_speaks_against_a_verdict_is_not_among_its_reasons() {
    let verdict = verdict(&fixture("panic-on-oom"));
    assert!(!has(&verdict.because, "did not move"), "{:#?}", verdict.because);
    assert!(has(&verdict.but, "(vm.oom_kill) did not move; a kernel that panics"), "{:#?}", verdict.but);
}
