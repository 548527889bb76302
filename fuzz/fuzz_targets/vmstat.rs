//! `/proc/vmstat`: junk costs itself, a cut makes no counter larger, what was read can be read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runner_vitals::probe::source::vmstat::{Vmstat, parse};
use runner_vitals_fuzz::{assert_same_or_none, behind_junk, head, row};

fuzz_target!(|text: &[u8]| {
    let whole = parse(text);
    let cut = parse(head(text));
    assert_same_or_none(cut.oom_kill, whole.oom_kill);
    assert_same_or_none(cut.majfault, whole.majfault);
    // Sums lose the parts that were cut off.
    assert!(cut.refault <= whole.refault && cut.allocstall <= whole.allocstall && cut.pgscan <= whole.pgscan);
    assert_eq!(parse(&behind_junk(text)), whole);
    assert_eq!(parse(printed(&whole).as_bytes()), whole);
});

fn printed(vmstat: &Vmstat) -> String {
    [
        row("allocstall_normal ", vmstat.allocstall, ""),
        row("pgscan_kswapd ", vmstat.pgscan, ""),
        row("pgmajfault ", vmstat.majfault, ""),
        row("workingset_refault ", vmstat.refault, ""),
        row("oom_kill ", vmstat.oom_kill, ""),
    ]
    .concat()
}
