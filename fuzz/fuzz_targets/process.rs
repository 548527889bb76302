//! The files of a process, and the choice of the agent: what was read of a stat is read back when it is printed, and of
//! any processes at most one is taken, never a dead one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runner_vitals::probe::source::process::{
    Process, Stat, choose, is_dead, parse_oom_score_adj, parse_schedstat, parse_stat, parse_statm, worker,
};
use runner_vitals_fuzz::{assert_same_or_none, head};

fuzz_target!(|text: &[u8]| {
    check_stat(text);
    assert!(parse_schedstat(text).is_none_or(|read| read.run_ns | read.wait_ns | read.slices != 0));
    assert_same_or_none(parse_schedstat(head(text)), parse_schedstat(text));
    assert_same_or_none(parse_statm(head(text)), parse_statm(text));
    if let Some(adj) = parse_oom_score_adj(text) {
        assert_eq!(parse_oom_score_adj(format!("{adj}\n").as_bytes()), Some(adj));
    }
    check_choice(text);
});

fn check_stat(text: &[u8]) {
    let Some(stat) = parse_stat(text) else { return };
    let Stat { pid, comm, state, ppid, num_threads, starttime_ticks, rss_pages } = stat;
    let tail = format!(
        ") {} {ppid} 7 7 0 -1 0 9 0 0 0 1 2 0 0 20 0 {num_threads} 0 {starttime_ticks} 9 {rss_pages} 0\n",
        char::from(state)
    );
    let printed = [format!("{pid} (").as_bytes(), comm, tail.as_bytes()].concat();
    assert_eq!(parse_stat(&printed), Some(stat));
}

/// A process a line, as `/proc/PID/stat` has it; a line that is none gives the name to look for.
fn check_choice(text: &[u8]) {
    let mut processes: Vec<Process> = Vec::new();
    let mut name = None;
    for line in text.split(|byte| *byte == b'\n').take(64) {
        match parse_stat(line) {
            Some(stat) => processes.push(stat.into()),
            None => name = Some(line),
        }
    }
    for exit_with in processes.iter().map(|process| Some(process.pid)).chain([None]) {
        let Some(agent) = choose(&processes, name, exit_with) else { continue };
        assert!(processes.iter().any(|process| process.pid == agent && !is_dead(process.state)));
        let worker = worker(&processes, agent);
        assert!(worker.is_none_or(|pid| processes.iter().any(|process| process.pid == pid)));
    }
}
