//! The OOM killer's table of tasks: any header and rows, and a row that is printed as the kernel prints it is read back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runner_vitals::probe::largest::Largest;
use runner_vitals::probe::source::task_table::{Header, Row};

const HEADERS: [&str; 3] = [
    "[ pid ]   uid  tgid total_vm      rss nr_ptes nr_pmds swapents oom_score_adj name",
    "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name",
    "[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name",
];

fuzz_target!(|table: &[u8]| {
    let mut header = None;
    let mut largest = Largest::<5>::default();
    let mut sizes = Vec::new();
    for line in table.split(|byte| *byte == b'\n') {
        if let Some(found) = Header::parse(line) {
            header = Some(found);
        } else if let Some(row) = header.and_then(|header| header.row(line, 4)) {
            assert!(line.ends_with(row.comm));
            sizes.push(row.rss_kb);
            largest.take(row.into());
            HEADERS.iter().for_each(|header| check_printed(header, row));
        }
    }
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    sizes.truncate(5);
    assert_eq!(largest.iter().map(|task| task.rss_kb).collect::<Vec<_>>(), sizes);
});

/// The same task below another header.
fn check_printed(header: &str, row: Row<'_>) {
    let numbers = header.split_whitespace().skip_while(|word| *word != "uid").map(|word| match word {
        "tgid" => format!(" {:5}", row.pid),
        "rss" => format!(" {:8}", row.rss_kb / 4),
        "oom_score_adj" => format!("         {:5}", row.adj),
        "name" => " ".to_owned(),
        _ => "       -7".to_owned(),
    });
    let text = [format!("[{:7}]", row.pid).as_bytes(), numbers.collect::<String>().as_bytes(), row.comm].concat();
    let header = Header::parse(header.as_bytes()).expect("a header");
    assert_eq!(header.row(&text, 4), Some(row), "{}", String::from_utf8_lossy(&text));
}
