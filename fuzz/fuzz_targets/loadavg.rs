//! `/proc/loadavg`: a cut anywhere changes no reading, what was read can be read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runner_vitals::probe::source::loadavg::{Loadavg, parse};
use runner_vitals_fuzz::assert_same_or_none;

fuzz_target!(|text: &[u8]| {
    let whole = parse(text);
    if let Some(loads) = whole {
        assert_eq!(parse(printed(loads).as_bytes()), whole);
    }
    // The kernel prints two decimals of each, so that one that is cut short shows.
    let is_of_the_kernel = whole.is_some_and(|loads| text.starts_with(printed(loads).as_bytes()));
    if is_of_the_kernel {
        (0..text.len()).for_each(|end| assert_same_or_none(parse(&text[..end]), whole));
    }
});

fn printed(loads: Loadavg) -> String {
    let words = [loads.load1_x100, loads.load5_x100, loads.load15_x100];
    words.map(|load| format!("{}.{:02} ", load / 100, load % 100)).concat()
}
