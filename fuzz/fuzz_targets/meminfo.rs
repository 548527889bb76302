//! `/proc/meminfo`: junk costs itself, a cut costs readings and changes none, what was read can be read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runner_vitals::probe::source::meminfo::{Meminfo, parse};
use runner_vitals_fuzz::{assert_same_or_none, behind_junk, head, row};

fuzz_target!(|text: &[u8]| {
    let whole = parse(text);
    let cut = parse(head(text));
    assert_same_or_none(cut.total_kb, whole.total_kb);
    assert_same_or_none(cut.avail_kb, whole.avail_kb);
    assert_same_or_none(cut.swap_total_kb, whole.swap_total_kb);
    assert_same_or_none(cut.swap_free_kb, whole.swap_free_kb);
    assert_eq!(parse(&behind_junk(text)), whole);
    assert_eq!(parse(printed(&whole).as_bytes()), whole);
    assert!(whole.swap_used_kb() <= whole.swap_total_kb);
});

fn printed(meminfo: &Meminfo) -> String {
    [
        row("MemTotal:       ", meminfo.total_kb, " kB"),
        row("MemAvailable:   ", meminfo.avail_kb, " kB"),
        row("SwapTotal: ", meminfo.swap_total_kb, " kB"),
        row("SwapFree: ", meminfo.swap_free_kb, " kB"),
    ]
    .concat()
}
