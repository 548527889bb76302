//! `/proc/pressure/*`: junk costs itself, a cut costs rows and changes none, what was read can be read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runner_vitals::probe::source::pressure::{Stall, parse};
use runner_vitals_fuzz::{assert_same_or_none, behind_junk, head};

fuzz_target!(|text: &[u8]| {
    let whole = parse(text);
    let cut = parse(head(text));
    assert_same_or_none(cut.some, whole.some);
    assert_same_or_none(cut.full, whole.full);
    assert_eq!(parse(&behind_junk(text)), whole);
    let printed = [row("some", whole.some), row("full", whole.full)].concat();
    assert_eq!(parse(printed.as_bytes()), whole);
});

fn row(kind: &str, stall: Option<Stall>) -> String {
    stall.map_or(String::new(), |Stall { avg10_x100, total_us }| {
        let (whole, hundredths) = (avg10_x100 / 100, avg10_x100 % 100);
        format!("{kind} avg10={whole}.{hundredths:02} avg60=0.00 avg300=0.00 total={total_us}\n")
    })
}
