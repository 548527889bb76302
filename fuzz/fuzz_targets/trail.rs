//! Any bytes as trails: every runner in them is judged, nothing that a terminal obeys is printed, and a page is whole.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::SystemTime;

use libfuzzer_sys::fuzz_target;
use runner_vitals::hub::diagnose::text::Look;
use runner_vitals::hub::diagnose::{Args, Code, Format, LokiArgs, run};

/// Where the page goes: a file of this process.
static PAGE: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("runner-vitals-fuzz-{}.html", std::process::id())));

fuzz_target!(|bytes: &[u8]| {
    // A page is written to the disk: a part of the inputs asks for one.
    let has_page = bytes.len() % 8 == 0;
    for (format, all) in [(Format::Text, false), (Format::Text, true), (Format::Json, false)] {
        let html = (has_page && format == Format::Text).then(|| PAGE.clone());
        let args = Args { files: Vec::new(), loki: LokiArgs::default(), runner: None, all, format, html };
        let (mut out, mut log) = (Vec::new(), Vec::new());
        let code = run(&args, SystemTime::UNIX_EPOCH, bytes, &mut out, &mut log, Look::Plain);
        for text in [&out, &log] {
            let text = str::from_utf8(text).expect("UTF-8");
            assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
        }
        if let (Code::Said, Some(path)) = (code, &args.html) {
            let page = std::fs::read_to_string(path).expect("a page");
            std::fs::remove_file(path).expect("a page of its own");
            assert!(page.ends_with("</html>\n") && !page.contains("<script"), "{page}");
            assert!(!page.contains(|c: char| c.is_control() && c != '\n'), "{page:?}");
        }
    }
});
