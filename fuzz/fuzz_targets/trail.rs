//! Any bytes as trails: every runner in them is judged, and nothing that a terminal obeys is printed.
#![no_main]

use std::time::SystemTime;

use libfuzzer_sys::fuzz_target;
use runner_vitals::hub::diagnose::text::Look;
use runner_vitals::hub::diagnose::{Args, Format, LokiArgs, run};

fuzz_target!(|bytes: &[u8]| {
    for (format, all) in [(Format::Text, false), (Format::Text, true), (Format::Json, false)] {
        let args = Args { files: Vec::new(), loki: LokiArgs::default(), runner: None, all, format, html: None };
        let (mut out, mut log) = (Vec::new(), Vec::new());
        run(&args, SystemTime::UNIX_EPOCH, bytes, &mut out, &mut log, Look::Plain);
        for text in [&out, &log] {
            let text = str::from_utf8(text).expect("UTF-8");
            assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
        }
    }
});
