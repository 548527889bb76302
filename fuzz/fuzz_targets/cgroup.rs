//! The files of a cgroup, each by every parser of them: junk costs itself, what was read can be read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runner_vitals::probe::source::cgroup::{
    Limit, parse_count, parse_cpu_max, parse_limit, parse_memory_events, parse_memory_stat, parse_pids_events,
    parse_throttling,
};
use runner_vitals_fuzz::{assert_same_or_none, behind_junk, head, row};

fuzz_target!(|text: &[u8]| {
    one_value(text);
    keyed(text);
    memory_stat(text);
});

fn one_value(text: &[u8]) {
    let count = parse_count(text);
    match parse_limit(text) {
        Some(Limit::At(limit)) => assert_eq!(count, Some(limit)),
        // v1 has no word for it, only a large number.
        Some(Limit::None) => assert!(count.is_none_or(|count| count > 1 << 59)),
        None => assert_eq!(count, None),
    }
    if let Some(count) = count {
        assert_eq!(parse_count(format!("{count}\n").as_bytes()), Some(count));
    }
    if let Some(Limit::At(quota_x100)) = parse_cpu_max(text) {
        assert_eq!(
            parse_cpu_max(format!("{quota_x100} 100\n").as_bytes()),
            quota_x100.checked_mul(100).map(|_| Limit::At(quota_x100))
        );
    }
}

fn keyed(text: &[u8]) {
    let events = parse_memory_events(text);
    let printed = [
        row("max ", events.max, ""),
        row("oom ", events.oom, ""),
        row("oom_kill ", events.oom_kill, ""),
        row("oom_group_kill ", events.oom_group_kill, ""),
    ];
    assert_eq!(parse_memory_events(printed.concat().as_bytes()), events);
    assert_eq!(parse_memory_events(&behind_junk(text)), events);
    assert_same_or_none(parse_memory_events(head(text)).oom_kill, events.oom_kill);
    assert_eq!(parse_throttling(&behind_junk(text)), parse_throttling(text));
    assert_same_or_none(parse_throttling(head(text)), parse_throttling(text));
    assert_eq!(parse_pids_events(&behind_junk(text)), parse_pids_events(text));
    assert_same_or_none(parse_pids_events(head(text)), parse_pids_events(text));
}

fn memory_stat(text: &[u8]) {
    let stat = parse_memory_stat(text);
    assert_eq!(parse_memory_stat(&behind_junk(text)), stat);
    let rows = |prefix: &str, anon: &str| {
        [
            row(&format!("{prefix}{anon} "), stat.anon, ""),
            row(&format!("{prefix}shmem "), stat.shmem, ""),
            row(&format!("{prefix}inactive_file "), stat.inactive_file, ""),
            row(&format!("{prefix}active_file "), stat.active_file, ""),
        ]
        .concat()
    };
    let (v2, v1) = (rows("", "anon"), rows("total_", "rss"));
    assert_eq!(parse_memory_stat(v2.as_bytes()), stat);
    assert_eq!(parse_memory_stat(v1.as_bytes()), stat);
    let own = "rss 1\nshmem 1\ninactive_file 1\n";
    let both = parse_memory_stat(format!("{own}{v1}").as_bytes());
    assert_eq!((both.anon, both.shmem), (stat.anon.or(Some(1)), stat.shmem.or(Some(1))));
}
