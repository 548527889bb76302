//! What lines and the moments of their arrival amount to: silences, gaps, latencies. Pure.

use std::time::Duration;

use runner_vitals::line::Line;

/// Loops of the bare probe that share its port, a quarter of a second apart.
const BARE_LOOPS: usize = 4;

/// A line and when it arrived, by the host's clock, since the guest was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) text: String,
    pub(crate) at: Duration,
}

/// A span of time that is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) begin: Duration,
    pub(crate) end: Duration,
}

/// The kernel's own words, on its console, that it killed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KernelKill {
    pub(crate) at: Duration,
    pub(crate) pid: i64,
    pub(crate) comm: String,
}

/// The longest time in the window without a line. What began before the window or has not ended in it counts from the
/// line before, and up to the window's end.
pub(crate) fn longest_silence(lines: &[Heard], window: Window) -> Duration {
    let before = lines.iter().rev().find(|line| line.at <= window.begin).map_or(window.begin, |line| line.at);
    let within = lines.iter().map(|line| line.at).filter(|at| (window.begin..window.end).contains(at));
    let (longest, last) = within.fold((Duration::ZERO, before), |(longest, last), at| (longest.max(at - last), at));
    longest.max(window.end.saturating_sub(last))
}

/// The longest silence of the worst of the bare probe's loops. A line that comes late stands for all that were due.
pub(crate) fn bare_silence(lines: &[Heard], window: Window) -> Duration {
    let mut of_loops = [const { Vec::new() }; BARE_LOOPS];
    let mut served = 0;
    for (line, count) in lines.iter().filter_map(|line| Some((line, bare_count(&line.text)?))) {
        for due in (served + 1..=count).rev().take(BARE_LOOPS) {
            of_loops[due % BARE_LOOPS].push(line.clone());
        }
        served = count;
    }
    of_loops.iter().map(|lines| longest_silence(lines, window)).max().unwrap_or_default()
}

fn bare_count(text: &str) -> Option<usize> {
    text.strip_prefix("BARE ")?.parse().ok()
}

/// How many lines are missing between the first and the last, by their `seq`.
pub(crate) fn lost(lines: &[Heard]) -> u64 {
    let seqs: Vec<u64> = lines.iter().filter_map(|line| Line::decode(&line.text).ok()).map(|line| line.seq).collect();
    seqs.windows(2).map(|pair| (pair[1]).saturating_sub(pair[0] + 1)).sum()
}

/// What the console says was killed, in its order.
pub(crate) fn kills(console: &[Heard]) -> Vec<KernelKill> {
    console.iter().filter_map(kill).collect()
}

fn kill(line: &Heard) -> Option<KernelKill> {
    let (_, told) = line.text.split_once("Killed process ")?;
    let (pid, rest) = told.split_once(" (")?;
    let (comm, _) = rest.rsplit_once(") total-vm:")?;
    Some(KernelKill { at: line.at, pid: pid.parse().ok()?, comm: comm.to_owned() })
}

/// How long after `since` the first of these lines came; one that was earlier counts as at once.
pub(crate) fn latency<'a>(lines: impl IntoIterator<Item = &'a Heard>, since: Duration) -> Option<Duration> {
    lines.into_iter().next().map(|line| line.at.saturating_sub(since))
}

/// How old the newest line was at a moment.
pub(crate) fn age_at(lines: &[Heard], moment: Duration) -> Option<Duration> {
    lines.iter().rev().find(|line| line.at <= moment).map(|line| moment - line.at)
}

/// What a probe at an interval of one second may be silent, next to the bare loop in the same guest: what the host or
/// the kernel does to both is not the probe's fault.
pub(crate) fn allowed_silence(bare: Duration) -> Duration {
    Duration::from_millis(1250).max(bare * 11 / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn heard(lines: &[(u64, &str)]) -> Vec<Heard> {
        lines.iter().map(|&(at, text)| Heard { text: text.to_owned(), at: ms(at) }).collect()
    }

    fn window(begin: u64, end: u64) -> Window {
        Window { begin: ms(begin), end: ms(end) }
    }

    #[test]
    fn a_silence_counts_at_both_ends_of_the_window() {
        let lines = heard(&[(500, ""), (1500, ""), (2400, ""), (4000, "")]);
        for (begin, end, expected) in [
            (600, 2500, 1000),
            (600, 3000, 1000),
            (600, 3900, 1500),
            (2000, 2400, 900),
            (0, 400, 400),
            (0, 500, 500),
            (4100, 9000, 5000),
        ] {
            assert_eq!(longest_silence(&lines, window(begin, end)), ms(expected), "{begin}..{end}");
        }
        assert_eq!(longest_silence(&[], window(100, 300)), ms(200));
    }

    #[test]
    fn the_worst_of_the_bare_loops_counts() {
        let lines = heard(&[
            (250, "BARE 1"),
            (500, "BARE 2"),
            (750, "BARE 3"),
            (1000, "BARE 4"),
            (1250, "BARE 5"),
            (1500, "BARE 6"),
            // A stall: one line for what was due at 1750 and at 2000.
            (2100, "BARE 8"),
            (2250, "BARE 9"),
            (2500, "BARE 10"),
            (2750, "BARE 11"),
            (2800, "BARE 12"),
        ]);
        assert_eq!(bare_silence(&lines, window(1000, 2800)), ms(1350));
        assert_eq!(bare_silence(&heard(&[(10, "login:")]), window(0, 300)), ms(300));
    }

    #[test]
    fn a_gap_in_seq_is_lost_lines() {
        let line = |seq: u64| format!("RUNNER_VITALS ts= run=k3x9 seq={seq}");
        let (one, two, five) = (line(1), line(2), line(5));
        assert_eq!(lost(&heard(&[(0, &one), (1, &two), (2, "noise"), (3, &five)])), 2);
        assert_eq!(lost(&heard(&[(0, &two)])), 0);
    }

    #[test]
    fn kills_are_read_from_the_console() {
        let console = heard(&[
            (
                1,
                "[   14.9] Out of memory: Killed process 172 (a) b (c)) total-vm:8388608kB, anon-rss:1kB, oom_score_adj:0",
            ),
            (2, "[   15.0] Memory cgroup out of memory: Killed process 9 (hog) total-vm:1kB"),
            (3, "[   15.1] oom_reaper: reaped process 9 (hog), now anon-rss:0kB"),
        ]);
        let kill = |at, pid, comm: &str| KernelKill { at: ms(at), pid, comm: comm.to_owned() };
        assert_eq!(kills(&console), [kill(1, 172, "a) b (c)"), kill(2, 9, "hog")]);
    }

    #[test]
    fn latency_and_age() {
        let lines = heard(&[(100, ""), (300, "")]);
        assert_eq!(latency(&lines, ms(40)), Some(ms(60)));
        assert_eq!(latency(&lines, ms(140)), Some(ms(0)));
        assert_eq!(latency(&[], ms(0)), None);
        assert_eq!(age_at(&lines, ms(350)), Some(ms(50)));
        assert_eq!(age_at(&lines, ms(299)), Some(ms(199)));
        assert_eq!(age_at(&lines, ms(50)), None);
    }

    #[test]
    fn what_slows_the_bare_loop_too_is_allowed() {
        assert_eq!(allowed_silence(ms(1000)), ms(1250));
        assert_eq!(allowed_silence(ms(2000)), ms(2200));
    }
}
