//! `/proc/stat`: junk costs itself, a cut costs readings and changes none, what was read can be read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runner_vitals::probe::source::stat::{CpuTimes, Stat, parse};
use runner_vitals_fuzz::{assert_same_or_none, behind_junk, head, row};

fuzz_target!(|text: &[u8]| {
    let whole = parse(text);
    let cut = parse(head(text));
    assert_same_or_none(cut.cpu, whole.cpu);
    assert_same_or_none(cut.procs_running, whole.procs_running);
    assert_same_or_none(cut.procs_blocked, whole.procs_blocked);
    assert!(cut.cpus <= whole.cpus);
    assert_eq!(parse(&behind_junk(text)), whole);
    let whole = Stat { cpus: whole.cpus.min(2), ..whole };
    assert_eq!(parse(printed(&whole).as_bytes()), whole);
});

fn printed(stat: &Stat) -> String {
    let cpu =
        stat.cpu.map_or(String::new(), |CpuTimes { busy: [user, nice, system, irq, softirq], idle, iowait, steal }| {
            format!("cpu  {user} {nice} {system} {idle} {iowait} {irq} {softirq} {steal} 0 0\n")
        });
    let cpus: String = (0..stat.cpus).map(|at| format!("cpu{at} 1 2 3 4 5 6 7 8 9 0\n")).collect();
    let running = row("procs_running ", stat.procs_running, "");
    format!("{cpu}{cpus}intr 1 2 3\n{running}{}", row("procs_blocked ", stat.procs_blocked, ""))
}
