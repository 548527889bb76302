//! What holds for every input. Of the line: what is put is read back, and nothing put can pass for more. Of the parsers
//! of kernel text: no bytes make them panic, neither a cut nor a line of junk changes a reading, another parser
//! reads the same.
//!
//! The random numbers are the same each time, so that a change fails for what it changed. To look further, fuzz/, or:
//! `PROPTEST_RNG_SEED=7 PROPTEST_CASES=10000 cargo test --test properties`

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use procfs_core::net::{InterfaceDeviceStatus, Snmp};
use procfs_core::{CpuPressure, ExplicitSystemInfo, KernelStats, LoadAverage, Meminfo, VmStat};
use procfs_core::{FromBufRead as _, FromBufReadSI as _, FromRead as _};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use proptest::test_runner::RngSeed;
use runner_vitals::line::field::{self, Field, Kind, Print, Unit};
use runner_vitals::line::{Encoder, Line, LineBuilder, MAX_LINE_BYTES, Number, Problem, Reading, RunId};
use runner_vitals::probe::fixed::Fixed;
use runner_vitals::probe::kernel::whole_lines;
use runner_vitals::probe::largest::{Largest, Task};
use runner_vitals::probe::levels::{Level, Target, layout, tightest};
use runner_vitals::probe::processes::watched::{Age, MOST_THREADS, Waits};
use runner_vitals::probe::source::cgroup::{Limit, parse_count, parse_cpu_max, parse_limit, parse_memory_events};
use runner_vitals::probe::source::cgroup::{parse_memory_stat, parse_pids_events, parse_throttling};
use runner_vitals::probe::source::kmsg::{self, OomRecord, Scope};
use runner_vitals::probe::source::process::{self, Process, Stat};
use runner_vitals::probe::source::task_table::{Header, Row};
use runner_vitals::probe::source::{loadavg, meminfo, net, pressure, stat, vmstat};

/// `PROPTEST_CASES` and `PROPTEST_RNG_SEED` go before these.
fn config() -> ProptestConfig {
    let given = ProptestConfig::default();
    let is_set = |name| std::env::var_os(name).is_some();
    ProptestConfig {
        cases: if is_set("PROPTEST_CASES") { given.cases } else { 128 },
        rng_seed: if is_set("PROPTEST_RNG_SEED") { given.rng_seed } else { RngSeed::Fixed(20_260_604) },
        failure_persistence: None,
        ..given
    }
}

// The line.

/// A value that is put.
#[derive(Clone, Debug)]
enum Put {
    Number(Option<i64>),
    Text(Option<Vec<u8>>),
}

/// The format has 64 bits with a sign, less the one that has no positive counterpart.
const LEAST: i64 = -i64::MAX;

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![select(vec![0, 1, -1, 9, -10, i64::MAX, LEAST]), -2000_i64..2000, LEAST..=i64::MAX]
}

/// Bytes of any kind: random, of any Unicode, and of pieces that a forged line would need.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        "\"",
        "\" ",
        "=",
        "\n",
        "\r\n",
        " ",
        "\\",
        "\\\"",
        "\\n",
        "\\u0022",
        "…",
        "\u{2028}",
        "\u{85}",
        "\u{feff}",
        "é",
        "\0",
        "\x1b[2J",
        "\x7f",
        "\t",
        "oom_kill=9",
        " seq=1 ",
        "RUNNER_VITALS ts= run=0000 seq=1",
        "a",
        "node",
        "'",
    ];
    prop_oneof![
        vec(any::<u8>(), 0..40),
        vec(any::<char>(), 0..40).prop_map(|chars| chars.into_iter().collect::<String>().into_bytes()),
        vec(select(pieces.to_vec()), 0..20).prop_map(|pieces| pieces.concat().into_bytes()),
        vec(any::<u8>(), 0..2000),
        "[a-z]{0,1500}".prop_map(String::into_bytes),
    ]
}

fn value(field: &Field) -> BoxedStrategy<Put> {
    match field.unit {
        Unit::Text(_) => proptest::option::weighted(0.9, text()).prop_map(Put::Text).boxed(),
        _ => proptest::option::weighted(0.9, number()).prop_map(Put::Number).boxed(),
    }
}

/// Some fields, each once, in any order, with any values.
fn puts(most: usize) -> impl Strategy<Value = Vec<(&'static Field, Put)>> {
    let fields = subsequence(field::ALL.to_vec(), 0..=most.min(field::ALL.len())).prop_shuffle();
    fields.prop_flat_map(|fields| {
        let values: Vec<_> = fields.iter().map(|field| value(field)).collect();
        values.prop_map(move |values| fields.iter().copied().zip(values).collect())
    })
}

/// The end of the year 9999 in milliseconds since 1970: the last moment that RFC 3339 can name.
const LAST_MS: u64 = 253_402_300_799_999;

/// A moment that a clock can show, before 1970 too.
fn moment() -> impl Strategy<Value = SystemTime> {
    let far =
        prop_oneof![0_u64..4_000_000_000_000, 0..=2 * LAST_MS, select(vec![0, 1, 999, 1000, LAST_MS, LAST_MS + 1])];
    (any::<bool>(), far).prop_map(|(is_before, ms)| {
        let (epoch, far) = (SystemTime::UNIX_EPOCH, Duration::from_millis(ms));
        let moment = if is_before { epoch.checked_sub(far) } else { epoch.checked_add(far) };
        moment.unwrap_or(epoch)
    })
}

fn put(line: &mut LineBuilder<'_>, field: &Field, value: &Put) {
    match value {
        Put::Number(number) => line.number(field, *number),
        Put::Text(text) => line.text(field, text.as_ref()),
    };
}

fn encoded(kind: Kind, now: SystemTime, puts: &[(&'static Field, Put)]) -> String {
    let mut encoder = Encoder::new(RunId::from_random(0));
    let mut line = encoder.begin(kind, now);
    puts.iter().for_each(|(field, value)| put(&mut line, field, value));
    String::from_utf8(line.finish().to_vec()).expect("a line is UTF-8")
}

/// What a reader is to find of a value that was put; `None` when the key is to be left out.
fn expected(field: &Field, value: &Put) -> Option<Reading<'static>> {
    let unread = || (field.print == Print::Contract).then_some(Reading::Unread);
    match value {
        Put::Number(None) | Put::Text(None) => unread(),
        Put::Number(Some(0)) if field.print == Print::OverZero => None,
        Put::Number(Some(number)) => Some(Reading::Value(decimal(*number, field.unit).into())),
        Put::Text(Some(text)) => Some(Reading::Value(String::from_utf8_lossy(text).into_owned().into())),
    }
}

fn decimal(scaled: i64, unit: Unit) -> String {
    let (sign, scaled) = (if scaled < 0 { "-" } else { "" }, scaled.unsigned_abs());
    match unit.decimals().unwrap() {
        0 => format!("{sign}{scaled}"),
        1 => format!("{sign}{}.{}", scaled / 10, scaled % 10),
        _ => format!("{sign}{}.{:02}", scaled / 100, scaled % 100),
    }
}

/// Whether a text was read as it was put, or cut because it was too wide.
fn is_told(field: &Field, read: &Reading<'_>, put: &Reading<'_>) -> bool {
    let (Reading::Value(read), Reading::Value(put), Unit::Text(cap)) = (read, put, field.unit) else {
        return read == put;
    };
    // An escape makes at most six bytes of one.
    let may_be_cut = put.len() * 6 > cap;
    let is_cut = || may_be_cut && read.strip_suffix('…').is_some_and(|head| put.starts_with(head));
    read.len() <= cap && (read == put || is_cut())
}

/// Bytes that a pair can take.
fn widest(field: &Field) -> usize {
    let value = if let Unit::Text(cap) = field.unit { cap } else { "-9223372036854775807.".len() };
    " =\"\"".len() + field.key.len() + value
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_put_is_read_back_and_nothing_else(
        kind in select(Kind::ALL.to_vec()),
        now in moment(),
        puts in puts(12),
    ) {
        let text = encoded(kind, now, &puts);
        prop_assert!(text.len() <= MAX_LINE_BYTES);
        prop_assert_eq!(text.find('\n'), Some(text.len() - 1));
        let line = Line::decode(&text).expect("what is encoded decodes");
        prop_assert_eq!(line.event.as_deref(), kind.event());
        let mut pairs = line.pairs().peekable();
        for (field, value) in &puts {
            let Some(expected) = expected(field, value) else { continue };
            match pairs.next_if(|(key, _)| *key == field.key) {
                Some((_, read)) => prop_assert!(is_told(field, read, &expected), "{read:?} of {expected:?}"),
                None => prop_assert!(text.len() + widest(field) > MAX_LINE_BYTES, "{} is lost, there was room", field.key),
            }
        }
        prop_assert_eq!(pairs.next(), None);
        for (key, _) in line.pairs() {
            let twice = format!("{} {key}=", text.trim_end());
            prop_assert_eq!(Line::decode(&twice).map_err(|error| error.problem), Err(Problem::Repeated));
        }
    }

    #[test]
    fn a_line_stays_within_its_bound_however_much_is_put(puts in puts(usize::MAX), again in 1_usize..4) {
        let text = encoded(Kind::Start, SystemTime::UNIX_EPOCH, &vec![puts; again].concat());
        prop_assert!(text.len() <= MAX_LINE_BYTES);
        prop_assert_eq!(text.find('\n'), Some(text.len() - 1));
    }

    #[test]
    fn a_moment_is_read_back_to_the_millisecond(now in moment()) {
        let text = encoded(Kind::Sample, now, &[]);
        let ms = |time: SystemTime| Some(time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_millis());
        let read = Line::decode(&text).unwrap().ts.and_then(ms);
        prop_assert_eq!(read, ms(now).filter(|ms| *ms <= u128::from(LAST_MS)));
    }

    #[test]
    fn a_number_is_read_back_in_every_unit(number in number(), wide in any::<u64>()) {
        let clamped = Number::from(wide).scaled;
        prop_assert_eq!(u64::try_from(clamped), Ok(wide.min(i64::MAX.unsigned_abs())));
        for field in field::ALL.iter().filter(|field| field.unit.decimals().is_some()) {
            let known = Field { print: Print::Known, ..**field };
            for number in [number, clamped] {
                let mut encoder = Encoder::new(RunId::from_random(0));
                let mut line = encoder.begin(Kind::Sample, SystemTime::UNIX_EPOCH);
                line.number(&known, Some(number));
                let text = str::from_utf8(line.finish()).unwrap();
                prop_assert_eq!(Line::decode(text).unwrap().scaled(field), Some(number));
            }
        }
    }

    #[test]
    fn any_text_decodes_or_is_told_where_it_went_wrong(
        text in text(),
        puts in puts(8),
        at in any::<Index>(),
        len in 0_usize..3,
    ) {
        let line = encoded(Kind::KmsgOom, SystemTime::UNIX_EPOCH, &puts);
        let mut broken = line.clone().into_bytes();
        let at = at.index(broken.len());
        broken.splice(at..(at + len).min(line.len()), text.iter().copied().take(4));
        let cut = line.as_bytes().get(..at).unwrap();
        for text in [&text, &broken, cut].map(String::from_utf8_lossy) {
            match Line::decode(&text) {
                Ok(_) => prop_assert!(text.starts_with("RUNNER_VITALS ")),
                Err(error) => prop_assert!(text.is_char_boundary(error.at), "{} of {:?}", error, text),
            }
        }
    }
}

// Kernel messages.

/// As the kernel escapes a record: what does not print, and the backslash.
fn escaped(text: &[u8]) -> Vec<u8> {
    let escape = |byte: &u8| match byte {
        b' '..=b'~' if *byte != b'\\' => vec![*byte],
        _ => format!("\\x{byte:02x}").into_bytes(),
    };
    text.iter().flat_map(escape).collect()
}

/// A process's name, up to `TASK_COMM_LEN`, of bytes and of words that the kernel prints around it.
fn comm() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        ") ",
        "(",
        "), UID 0, ",
        "total-vm:",
        "1kB, ",
        ",pid=1",
        ",uid=0",
        ",task=",
        "\n",
        "\\x41",
        ",global_oom",
        "x",
    ];
    let words = vec(select(words.to_vec()), 0..4).prop_map(|words| words.concat().into_bytes());
    let bytes = vec(1_u8..=255, 0..16);
    prop_oneof![words, bytes].prop_map(|mut comm| {
        comm.truncate(15);
        comm
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn an_escaped_text_becomes_the_same_bytes(text in text(), has_newline in any::<bool>()) {
        let mut record = [b"6,1,2,-;", escaped(&text).as_slice()].concat();
        record.truncate(2000);
        let kept = record.len() - 8;
        record.extend_from_slice(if has_newline { b"\n SUBSYSTEM=x\n" } else { b"" });
        let mut into = b"left over".to_vec();
        kmsg::unescape(kmsg::parse(&record).unwrap().text, &mut into);
        let whole = escaped(&text).len() == kept;
        let is_right = if whole { into == text } else { into.len() <= kept };
        prop_assert!(is_right);
        kmsg::unescape(&text, &mut into);
        prop_assert!(into.len() <= text.len());
    }

    #[test]
    fn a_victim_can_name_itself_anything(comm in comm(), pid in any::<u64>()) {
        let killed = format!("Out of memory: Killed process {pid} (");
        for end in [
            ") total-vm:9kB, anon-rss:2kB, file-rss:3kB, shmem-rss:4kB, UID:0 pgtables:5kB oom_score_adj:-998",
            "), UID 0, total-vm:9kB, anon-rss:2kB, file-rss:3kB, shmem-rss:4kB",
            ") total-vm:9kB, anon-rss:2kB, file-rss:3kB, shmem-rss:4kB",
        ] {
            let text = [killed.as_bytes(), &comm, end.as_bytes()].concat();
            let Some(OomRecord::Killed(victim)) = kmsg::parse_oom(&text) else { panic!("{text:?}") };
            let read = (victim.scope, victim.pid, victim.comm, victim.rss_kb);
            prop_assert_eq!(read, (Some(Scope::Guest), pid, comm.as_slice(), Some(9)));
        }
        let head = b"oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,global_oom,task_memcg=/a,task=";
        let text = [head, comm.as_slice(), format!(",pid={pid},uid=0").as_bytes()].concat();
        let chosen = OomRecord::Chosen { scope: Scope::Guest, cgroup: b"/a", comm: &comm, pid };
        prop_assert_eq!(kmsg::parse_oom(&text), Some(chosen));
    }

    #[test]
    fn no_record_makes_the_parser_panic(bytes in text(), comm in comm(), at in any::<Index>(), head in 0_usize..6) {
        let heads = [
            "oom-kill:constraint=", "Task in ", "Tasks in ", "Out of memory: Killed process 1 (", "Kill process 1 (",
            "",
        ];
        let mut text = [heads[head].as_bytes(), &comm, &bytes].concat();
        _ = kmsg::parse_oom(&text);
        text.truncate(at.index(text.len() + 1));
        _ = kmsg::parse_oom(&text);
        _ = kmsg::parse(&text);
    }
}

// The OOM killer's table of tasks.

/// A row's numbers between the brackets and the name, in the order of a header.
type Numbers = [i64; 10];

/// What a kernel prints in each column, and the header over it: 4.14, 5.10 and 6.8.
const TABLES: [(&str, &[usize]); 3] = [
    ("[ pid ]   uid  tgid total_vm      rss nr_ptes nr_pmds swapents oom_score_adj name", &[0, 1, 2, 3, 4, 5, 8, 9]),
    ("[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name", &[0, 1, 2, 3, 7, 8, 9]),
    (
        "[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name",
        &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    ),
];

fn row_of(table: usize, pid: u32, numbers: &Numbers, comm: &[u8]) -> Vec<u8> {
    let columns: Vec<String> = TABLES[table].1.iter().map(|at| format!("{:>5}", numbers[*at])).collect();
    [format!("[{pid:>7}] {} ", columns.join(" ")).as_bytes(), comm].concat()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_row_of_tasks_is_read_whatever_its_name(
        table in 0..TABLES.len(),
        pid in 0_u32..4_194_304,
        uid in any::<i32>(),
        adj in -1000_i64..=1000,
        rest in any::<[u32; 8]>(),
        comm in comm(),
    ) {
        let [tgid, total_vm, rss, ..] = rest;
        let [.., anon, file, shmem, pgtables, swap] = rest;
        let numbers =
            [uid.into(), tgid.into(), total_vm.into(), rss.into(), anon.into(), file.into(), shmem.into(),
             pgtables.into(), swap.into(), adj];
        let header = Header::parse(TABLES[table].0.as_bytes()).unwrap();
        let text = row_of(table, pid, &numbers, &comm);
        let expected = Row { pid: tgid.into(), rss_kb: u64::from(rss) * 4, adj, comm: &comm };
        prop_assert_eq!(header.row(&text, 4), Some(expected));
        prop_assert_eq!(Header::parse(&text), None);
        // What comes in between is told from a row, but for one that was cut in its last number.
        let name_at = text.len() - comm.len();
        for end in 0..name_at {
            let cut = header.row(&text[..end], 4);
            prop_assert!(cut.is_none_or(|cut| (cut.pid, cut.rss_kb) == (expected.pid, expected.rss_kb)));
        }
    }

    #[test]
    fn no_text_makes_the_table_panic(bytes in text(), table in 0..TABLES.len(), page_kb in any::<u64>()) {
        let header = Header::parse(TABLES[table].0.as_bytes()).unwrap();
        for text in [bytes.clone(), [b"[    7]", bytes.as_slice()].concat(), [b"[ pid ] ", bytes.as_slice()].concat()] {
            _ = header.row(&text, page_kb);
            if let Some(other) = Header::parse(&text) {
                _ = other.row(&text, page_kb);
            }
        }
    }

    #[test]
    fn the_largest_are_those_of_a_sorted_list(sizes in vec(0_u64..9, 0..20)) {
        let mut largest = Largest::<5>::default();
        let mut all = Vec::new();
        for (pid, rss_kb) in (0..).zip(sizes) {
            largest.take(Task { pid, rss_kb, adj: None, comm: Fixed::of(b"") });
            all.push((pid, rss_kb));
        }
        all.sort_by_key(|(_, rss_kb)| std::cmp::Reverse(*rss_kb));
        all.truncate(5);
        prop_assert_eq!(largest.iter().map(|task| (task.pid, task.rss_kb)).collect::<Vec<_>>(), all);
    }
}

#[test]
fn a_captured_victim_stands_in_the_table_above_it() {
    let mut victims = 0;
    for capture in
        ["oom-guest/during", "oom-sidecar/during", "oom-cgroup/during", "oom-group/during", "cgroup-v1-oom/after"]
    {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/captures").join(capture).join("kmsg");
        let text = fs::read(&path).unwrap();
        let (mut header, mut largest) = (None, Largest::<5>::default());
        for record in text.split_inclusive(|byte| *byte == b'\n').filter_map(kmsg::parse) {
            if let Some(found) = Header::parse(record.text) {
                (header, largest) = (Some(found), Largest::default());
            } else if let Some(row) = header.and_then(|header| header.row(record.text, 4)) {
                largest.take(row.into());
            } else if let Some(OomRecord::Chosen { comm, pid, .. }) = kmsg::parse_oom(record.text) {
                let first = largest.iter().next().unwrap();
                assert_eq!((first.pid, first.comm.as_ref()), (pid, comm), "{capture}");
                victims += 1;
            }
        }
    }
    assert!(victims >= 5, "only {victims} victims");
}

// Processes.

/// As the kernel prints /proc/PID/stat.
fn printed_stat(stat: &Stat<'_>) -> Vec<u8> {
    let head = format!("{} (", stat.pid);
    let tail = format!(
        ") {} {} 7 7 -1 -1 4194304 9 0 0 0 1 2 -3 0 20 -19 {} 0 {} 3133440 {} 18446744073709551615 0\n",
        char::from(stat.state),
        stat.ppid,
        stat.num_threads,
        stat.starttime_ticks,
        stat.rss_pages
    );
    [head.as_bytes(), stat.comm, tail.as_bytes()].concat()
}

/// A few processes, some of them agents, with parents that may be missing or in a circle.
fn processes() -> impl Strategy<Value = Vec<Process>> {
    let comms = ["sh", "Runner.Listener", "Runner.Worker", "act_runner", "own-agent"];
    let one = (1_u32..12, 0_u32..12, select(vec![b'S', b'D', b'Z']), 0_u64..4, select(comms.to_vec()));
    vec(one, 0..12).prop_map(|all| {
        let process = |(pid, ppid, state, starttime_ticks, comm): (_, _, _, _, &str)| {
            let comm = Fixed::of(comm.as_bytes());
            Process { pid, ppid, state, starttime_ticks, comm }
        };
        let mut all: Vec<Process> = all.into_iter().map(process).collect();
        all.sort_by_key(|process| process.pid);
        all.dedup_by_key(|process| process.pid);
        all
    })
}

fn is_below(all: &[Process], pid: u32, ancestor: u32) -> bool {
    let parent = |pid: u32| all.iter().find(|process| process.pid == pid).map(|process| process.ppid);
    let (mut at, mut steps) = (Some(pid), 0);
    while let Some(pid) = at.filter(|_| steps < 100) {
        if pid == ancestor {
            return true;
        }
        (at, steps) = (parent(pid), steps + 1);
    }
    false
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_process_can_name_itself_anything(
        comm in comm(),
        pid in any::<u32>(),
        ppid in any::<u32>(),
        state in select(b"RSDZTtXxKWPI".to_vec()),
        numbers in any::<[u64; 3]>(),
        end in any::<Index>(),
    ) {
        let [num_threads, starttime_ticks, rss_pages] = numbers;
        let stat = Stat { pid, comm: &comm, state, ppid, num_threads, starttime_ticks, rss_pages };
        let text = printed_stat(&stat);
        prop_assert_eq!(process::parse_stat(&text), Some(stat));
        prop_assert_eq!(process::parse_stat(whole_lines(&text[..end.index(text.len())])), None);
    }

    #[test]
    fn no_bytes_make_a_file_of_a_process_panic(bytes in text(), comm in comm(), damages in damages()) {
        let stat = Stat { pid: 7, comm: &comm, state: b'S', ppid: 1, num_threads: 1, starttime_ticks: 2, rss_pages: 3 };
        let texts = [bytes, damaged(&printed_stat(&stat), &damages), damaged(b"1000940 30 1\n", &damages)];
        for text in &texts {
            _ = process::parse_stat(text);
            _ = process::parse_statm(text);
            _ = process::parse_oom_score_adj(text);
            prop_assert!(process::parse_schedstat(text).is_none_or(|read| read.run_ns | read.wait_ns | read.slices > 0));
        }
    }

    #[test]
    fn the_agent_is_alive_and_below_when_any_is(
        all in processes(),
        has_name in any::<bool>(),
        exit_with in proptest::option::of(0_u32..12),
    ) {
        let name: Option<&[u8]> = has_name.then_some(b"own-agent");
        let known: Vec<&[u8]> = [&b"Runner.Listener"[..], b"act_runner"].into_iter().chain(name).collect();
        let agents: Vec<&Process> = all
            .iter()
            .filter(|process| process.state != b'Z' && known.contains(&process.comm.as_ref()))
            .collect();
        let chosen = process::choose(&all, name, exit_with);
        prop_assert_eq!(chosen.is_some(), !agents.is_empty());
        let Some(chosen) = chosen else { return Ok(()) };
        prop_assert!(agents.iter().any(|agent| agent.pid == chosen));
        let is_near = |pid: u32| exit_with.is_some_and(|ancestor| is_below(&all, pid, ancestor));
        prop_assert!(is_near(chosen) || !agents.iter().any(|agent| is_near(agent.pid)));
        if let Some(worker) = process::worker(&all, chosen) {
            prop_assert!(worker != chosen && is_below(&all, worker, chosen));
        }
    }

    /// Threads that wait, end, come, and are listed anew: each span of waiting is counted once, or was before the first.
    #[test]
    fn waits_are_counted_once(rounds in vec((vec((0_u32..80, 0_u64..100), 0..30), any::<bool>()), 1..12)) {
        let (mut waits, mut waited) = (Waits::default(), std::collections::BTreeMap::new());
        let (mut old, mut expected) = (None, 0);
        for (grown, is_listed_anew) in rounds {
            for (tid, wait_ns) in grown {
                let is_new = !waited.contains_key(&tid);
                // Nobody watches more than there is room for.
                if is_new && waited.len() >= MOST_THREADS {
                    continue;
                }
                *waited.entry(tid).or_insert(0) += wait_ns;
                expected += if old.is_some() { wait_ns } else { 0 };
            }
            let before = old.get_or_insert_with(|| waited.clone());
            waits.keep(|tid| waited.contains_key(&tid));
            for (tid, wait_ns) in &waited {
                let age = if before.contains_key(tid) { Age::Old } else { Age::New };
                waits.advance(*tid, age, *wait_ns);
            }
            prop_assert_eq!(waits.total_ns(), expected);
            if is_listed_anew {
                *before = waited.clone();
            }
        }
    }
}

// Kernel files.

/// What one parser reads of one file, each by a name.
type Readings = Vec<(&'static str, Option<u64>)>;

/// Which file, and so which parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Meminfo,
    Vmstat,
    Stat,
    Loadavg,
    Pressure,
    NetDev,
    NetSnmp,
    MemoryStat,
    MemoryEvents,
    CpuStat,
    PidsEvents,
    OneValue,
}

impl Source {
    const ALL: [Self; 12] = [
        Self::Meminfo,
        Self::Vmstat,
        Self::Stat,
        Self::Loadavg,
        Self::Pressure,
        Self::NetDev,
        Self::NetSnmp,
        Self::MemoryStat,
        Self::MemoryEvents,
        Self::CpuStat,
        Self::PidsEvents,
        Self::OneValue,
    ];

    fn parse(self, text: &[u8]) -> Readings {
        match self {
            Self::Meminfo => of_meminfo(text),
            Self::Vmstat => of_vmstat(text),
            Self::Stat => of_stat(text),
            Self::Loadavg => of_loadavg(text),
            Self::Pressure => of_pressure(text),
            Self::NetDev => of_net_dev(text),
            Self::NetSnmp => of_net_snmp(text),
            Self::MemoryStat => of_memory_stat(text),
            Self::MemoryEvents => of_memory_events(text),
            Self::CpuStat => of_cpu_stat(text),
            Self::PidsEvents => of_pids_events(text),
            Self::OneValue => of_one_value(text),
        }
    }
}

/// Readings that are summed over lines: a file that is cut has lost a part of them.
const SUMS: [&str; 6] = ["refault", "allocstall", "pgscan", "cpus", "rx_bytes", "tx_bytes"];

fn of_meminfo(text: &[u8]) -> Readings {
    let read = meminfo::parse(text);
    let swap = [("swap_total", read.swap_total_kb), ("swap_free", read.swap_free_kb)];
    [("total", read.total_kb), ("avail", read.avail_kb)].into_iter().chain(swap).collect()
}

fn of_vmstat(text: &[u8]) -> Readings {
    let read = vmstat::parse(text);
    let sums = [("refault", read.refault), ("allocstall", read.allocstall), ("pgscan", read.pgscan)];
    [("oom_kill", read.oom_kill), ("majfault", read.majfault)].into_iter().chain(sums).collect()
}

fn of_stat(text: &[u8]) -> Readings {
    let read = stat::parse(text);
    let cpu = |get: fn(stat::CpuTimes) -> u64| read.cpu.map(get);
    vec![
        ("user", cpu(|cpu| cpu.busy[0])),
        ("nice", cpu(|cpu| cpu.busy[1])),
        ("system", cpu(|cpu| cpu.busy[2])),
        ("irq", cpu(|cpu| cpu.busy[3])),
        ("softirq", cpu(|cpu| cpu.busy[4])),
        ("idle", cpu(|cpu| cpu.idle)),
        ("iowait", cpu(|cpu| cpu.iowait)),
        ("steal", cpu(|cpu| cpu.steal)),
        ("cpus", Some(read.cpus)),
        ("procs_blocked", read.procs_blocked),
    ]
}

fn of_loadavg(text: &[u8]) -> Readings {
    let read = loadavg::parse(text);
    let load = |get: fn(loadavg::Loadavg) -> u64| read.map(get);
    vec![
        ("1", load(|read| read.load1_x100)),
        ("5", load(|read| read.load5_x100)),
        ("15", load(|read| read.load15_x100)),
    ]
}

fn of_pressure(text: &[u8]) -> Readings {
    let pressure::Pressure { some, full } = pressure::parse(text);
    vec![
        ("some avg10", some.map(|row| row.avg10_x100)),
        ("some total", some.map(|row| row.total_us)),
        ("full avg10", full.map(|row| row.avg10_x100)),
        ("full total", full.map(|row| row.total_us)),
    ]
}

fn of_net_dev(text: &[u8]) -> Readings {
    let read = net::parse_dev(text);
    vec![("rx_bytes", read.map(|net| net.rx_bytes)), ("tx_bytes", read.map(|net| net.tx_bytes))]
}

fn of_net_snmp(text: &[u8]) -> Readings {
    vec![("retrans", net::parse_tcp_retrans(text))]
}

fn of_memory_stat(text: &[u8]) -> Readings {
    let read = parse_memory_stat(text);
    vec![("anon", read.anon), ("shmem", read.shmem), ("inactive_file", read.inactive_file)]
}

fn of_memory_events(text: &[u8]) -> Readings {
    let read = parse_memory_events(text);
    vec![("oom", read.oom), ("oom_kill", read.oom_kill), ("oom_group_kill", read.oom_group_kill)]
}

fn of_cpu_stat(text: &[u8]) -> Readings {
    let read = parse_throttling(text);
    vec![("periods", read.map(|read| read.periods)), ("throttled", read.map(|read| read.throttled))]
}

fn of_pids_events(text: &[u8]) -> Readings {
    vec![("max", parse_pids_events(text))]
}

fn of_one_value(text: &[u8]) -> Readings {
    let limit = |limit: Option<Limit>| limit.map(|limit| limit.at().unwrap_or(u64::MAX));
    vec![("count", parse_count(text)), ("limit", limit(parse_limit(text))), ("cpu.max", limit(parse_cpu_max(text)))]
}

fn source_of(path: &Path) -> Option<Source> {
    let name = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let folder = path.parent().and_then(name).unwrap_or_default();
    Some(match (folder.as_str(), name(path)?.as_str()) {
        ("proc", "meminfo") => Source::Meminfo,
        ("proc", "vmstat") => Source::Vmstat,
        ("proc", "stat") => Source::Stat,
        ("proc", "loadavg") => Source::Loadavg,
        ("net", "dev") => Source::NetDev,
        ("net", "snmp") => Source::NetSnmp,
        ("pressure", _) => Source::Pressure,
        (_, name) if name.ends_with(".pressure") => Source::Pressure,
        (_, "memory.stat") => Source::MemoryStat,
        (_, "memory.events" | "memory.events.local" | "memory.oom_control") => Source::MemoryEvents,
        (_, "cpu.stat") => Source::CpuStat,
        (_, "pids.events") => Source::PidsEvents,
        (_, "memory.current" | "memory.peak" | "memory.max" | "memory.high" | "memory.swap.current") => {
            Source::OneValue
        }
        (_, "memory.usage_in_bytes" | "memory.limit_in_bytes" | "memory.memsw.usage_in_bytes") => Source::OneValue,
        (_, "cpu.max" | "pids.current" | "pids.max" | "memory.oom.group") => Source::OneValue,
        _ => return None,
    })
}

/// A captured file.
#[derive(Clone, Debug)]
struct Capture {
    path: PathBuf,
    text: Vec<u8>,
    source: Source,
}

fn captures() -> Vec<Capture> {
    let mut dirs = vec![PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/captures"))];
    let mut captures = Vec::new();
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if let Some(source) = source_of(&path) {
                captures.push(Capture { text: fs::read(&path).unwrap(), path, source });
            }
        }
    }
    captures.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(captures.len() > 100, "only {} captures", captures.len());
    captures
}

/// Of many captures of a file only those that differ.
fn distinct_captures() -> Vec<Capture> {
    let mut captures = captures();
    captures.sort_by(|a, b| a.text.cmp(&b.text));
    captures.dedup_by(|a, b| a.text == b.text);
    captures
}

#[test]
fn a_file_cut_anywhere_loses_readings_and_changes_none() {
    for Capture { path, text, source } in distinct_captures() {
        // v1 prints the subtree's sums behind the cgroup's own, which stand in for them where they are missing.
        if text.starts_with(b"cache ") {
            continue;
        }
        let whole = source.parse(&text);
        let mut heads: Vec<&[u8]> = (0..text.len()).map(|end| whole_lines(&text[..end])).collect();
        heads.dedup_by_key(|head| head.len());
        for head in heads {
            for ((name, cut), (_, whole)) in source.parse(head).into_iter().zip(&whole) {
                let is_same = cut.is_none() || cut == *whole || SUMS.contains(&name) && cut < *whole;
                assert!(is_same, "{name} is {cut:?}, not {whole:?}: {} bytes of {}", head.len(), path.display());
            }
        }
    }
}

#[test]
fn loads_cut_anywhere_are_the_same_or_absent() {
    for Capture { text, source, .. } in captures().into_iter().filter(|capture| capture.path.ends_with("loadavg")) {
        for end in 0..text.len() {
            assert!(
                source
                    .parse(&text[..end])
                    .iter()
                    .zip(source.parse(&text))
                    .all(|(cut, whole)| cut.1.is_none() || *cut == whole)
            );
        }
    }
}

#[test]
fn every_capture_has_what_its_parser_looks_for() {
    for Capture { path, text, source } in captures() {
        // The root cgroup has no quota.
        let may_be_empty = source == Source::CpuStat;
        assert!(may_be_empty || source.parse(&text).iter().any(|(_, value)| value.is_some()), "{}", path.display());
    }
}

/// Where, how and with what a text is damaged.
type Damage = (Index, u8, u8);

fn damages() -> impl Strategy<Value = Vec<Damage>> {
    vec(any::<Damage>(), 0..8)
}

/// Truncated, a byte changed, bytes that are not UTF-8, a number too wide or a line end put between.
fn damaged(text: &[u8], damages: &[Damage]) -> Vec<u8> {
    let mut text = text.to_vec();
    for (at, how, with) in damages {
        let at = at.index(text.len() + 1);
        match how % 5 {
            0 => text.truncate(at.max(1)),
            1 => text.splice(at..at, [0xff, 0xfe, *with]).for_each(drop),
            2 => text.splice(at..at, b"18446744073709551616".iter().copied()).for_each(drop),
            3 => text.splice(at..at, [b'\n', b' ', *with]).for_each(drop),
            _ => text.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= *with),
        }
    }
    text
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_bytes_make_a_parser_panic(
        bytes in text(),
        capture in select(distinct_captures()),
        damages in damages(),
    ) {
        let damaged = damaged(&capture.text, &damages);
        Source::ALL.iter().for_each(|source| {
            source.parse(&bytes);
            source.parse(&damaged);
        });
    }

    #[test]
    fn a_junk_line_costs_itself_only(
        capture in select(distinct_captures()),
        at in any::<Index>(),
        junk in vec(0x80_u8..=0xff, 1..40),
    ) {
        if capture.source == Source::Loadavg || capture.source == Source::OneValue {
            return Ok(());
        }
        let mut lines: Vec<&[u8]> = capture.text.split_inclusive(|byte| *byte == b'\n').collect();
        let junk = [junk.as_slice(), b" 1\n"].concat();
        lines.insert(at.index(lines.len() + 1), &junk);
        prop_assert_eq!(capture.source.parse(&lines.concat()), capture.source.parse(&capture.text));
    }

    #[test]
    fn no_mounts_make_the_layout_panic_or_lead_out(cgroup in text(), mounts in text(), damages in damages()) {
        let own = b"11:pids:/p\n4:memory:/m/n\n1:cpu,cpuacct:/c\n0::/u\n";
        let v1 = "35 31 0:32 / /sys/fs/cgroup/memory rw shared:5 - cgroup cgroup rw,memory\n";
        let both = format!("{v1}41 31 0:38 /a\\040b /sys/fs/cgroup/unified rw master:1 - cgroup2 none rw,nsdelegate\n");
        for (cgroup, mounts) in [
            (cgroup, mounts),
            (damaged(own, &damages), both.clone().into_bytes()),
            (own.to_vec(), damaged(both.as_bytes(), &damages)),
        ] {
            for target in [Target::Own, Target::Path("/a/../b".into()), Target::Path("/m".into())] {
                let layout = layout(&cgroup, &mounts, &target, |_, _| true, |_| Some("found/below".into()));
                let chains = [layout.memory, layout.cpu, layout.pids];
                prop_assert!(chains.iter().all(|chain| chain.dirs.last().is_none_or(|dir| *dir == chain.mount_point)));
                let mut parts = chains.iter().flat_map(|chain| &chain.dirs).flat_map(|dir| dir.components());
                prop_assert!(target == Target::Own || parts.all(|part| part != Component::ParentDir));
            }
        }
    }

    #[test]
    fn the_tightest_level_has_the_least_headroom(levels in vec((any::<Option<u8>>(), any::<Option<u8>>()), 0..6)) {
        let levels: Vec<Level> = levels
            .into_iter()
            .map(|(current, limit)| Level { current: current.map(u64::from), limit: limit.map(u64::from) })
            .collect();
        let headroom = |level: &Level| Some(level.limit?.saturating_sub(level.current?));
        let picked = tightest(&levels);
        let least = levels.iter().filter_map(headroom).min();
        prop_assert_eq!(picked.and_then(|at| headroom(&levels[at])), least);
        prop_assert_eq!(picked.is_some(), levels.iter().any(|level| level.current.is_some()));
    }
}

// Another parser's readings.

/// What procfs-core reads of the same file, by the same names; `None` where it does not know the file or gives up.
fn by_procfs(source: Source, text: &[u8]) -> Option<Readings> {
    if source == Source::Meminfo {
        let read = Meminfo::from_buf_read(text).ok()?;
        let kb = |bytes: Option<u64>| bytes.map(|bytes| bytes / 1024);
        let swap = [("swap_total", kb(Some(read.swap_total))), ("swap_free", kb(Some(read.swap_free)))];
        let all = [("total", kb(Some(read.mem_total))), ("avail", kb(read.mem_available))].into_iter().chain(swap);
        return Some(all.collect());
    }
    if source == Source::Vmstat {
        return Some(vmstat_by_procfs(&VmStat::from_buf_read(text).ok()?));
    }
    if source == Source::Stat {
        return stat_by_procfs(text);
    }
    if source == Source::Loadavg {
        let read = LoadAverage::from_read(text).ok()?;
        return Some(vec![("1", x100(read.one)), ("5", x100(read.five)), ("15", x100(read.fifteen))]);
    }
    if source == Source::Pressure {
        let CpuPressure { some, full } = CpuPressure::from_buf_read(text).ok()?;
        let some = [("some avg10", x100(some.avg10)), ("some total", Some(some.total))];
        let full = [("full avg10", x100(full.avg10)), ("full total", Some(full.total))];
        return Some(some.into_iter().chain(full).collect());
    }
    if source == Source::NetDev {
        let rows = InterfaceDeviceStatus::from_buf_read(text).ok()?.0;
        let rows = || rows.values().filter(|row| row.name != "lo");
        let (rx, tx) = (rows().map(|row| row.recv_bytes).sum(), rows().map(|row| row.sent_bytes).sum());
        return Some(vec![("rx_bytes", Some(rx)), ("tx_bytes", Some(tx))]);
    }
    if source == Source::NetSnmp {
        return Some(vec![("retrans", Some(Snmp::from_buf_read(text).ok()?.tcp_retrans_segs))]);
    }
    None
}

fn vmstat_by_procfs(read: &VmStat) -> Readings {
    let sum = |is_part: &dyn Fn(&str) -> bool| {
        let parts = read.0.iter().filter(|(key, _)| is_part(key)).map(|(_, value)| value.unsigned_abs());
        parts.reduce(|sum, part| sum + part)
    };
    let one = |key: &'static str| sum(&|other| other == key);
    let scans = ["pgscan_kswapd", "pgscan_direct", "pgscan_khugepaged", "pgscan_proactive"];
    vec![
        ("oom_kill", one("oom_kill")),
        ("majfault", one("pgmajfault")),
        ("refault", sum(&|key| key.starts_with("workingset_refault"))),
        ("allocstall", sum(&|key| key.starts_with("allocstall"))),
        ("pgscan", sum(&|key| scans.contains(&key))),
    ]
}

fn stat_by_procfs(text: &[u8]) -> Option<Readings> {
    let machine =
        ExplicitSystemInfo { boot_time_secs: 0, ticks_per_second: 100, page_size: 4096, is_little_endian: true };
    let read = KernelStats::from_buf_read(text, &machine).ok()?;
    let cpu = &read.total;
    Some(vec![
        ("user", Some(cpu.user)),
        ("nice", Some(cpu.nice)),
        ("system", Some(cpu.system)),
        ("irq", cpu.irq),
        ("softirq", cpu.softirq),
        ("idle", Some(cpu.idle)),
        ("iowait", cpu.iowait),
        ("steal", cpu.steal),
        ("cpus", u64::try_from(read.cpu_time.len()).ok()),
        ("procs_blocked", read.procs_blocked.map(u64::from)),
    ])
}

fn x100(number: f32) -> Option<u64> {
    format!("{number:.2}").replace('.', "").parse().ok()
}

#[test]
fn procfs_core_reads_the_same_of_every_capture() {
    let mut compared = 0;
    for Capture { path, text, source } in captures() {
        let is_known =
            [Source::Meminfo, Source::Vmstat, Source::Stat, Source::Loadavg, Source::Pressure].contains(&source);
        match by_procfs(source, &text) {
            Some(theirs) => assert_eq!(source.parse(&text), theirs, "{}", path.display()),
            None => assert!(!is_known, "{}: procfs-core gives up", path.display()),
        }
        compared += usize::from(is_known);
    }
    assert!(compared > 50, "only {compared} files");
}

#[test]
fn procfs_core_reads_the_same_of_this_machine() {
    let names = [
        "meminfo",
        "vmstat",
        "stat",
        "loadavg",
        "pressure/cpu",
        "pressure/memory",
        "pressure/io",
        "net/dev",
        "net/snmp",
    ];
    for path in names.map(|name| Path::new("/proc").join(name)) {
        // What this machine does not have, or procfs-core does not understand, is no matter here.
        let (Ok(text), Some(source)) = (fs::read(&path), source_of(&path)) else { continue };
        if let Some(theirs) = by_procfs(source, &text) {
            assert_eq!(source.parse(&text), theirs, "{}", path.display());
        }
    }
}

#[test]
fn procfs_core_reads_the_same_of_every_process_here() {
    let mut compared = 0;
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u32>().ok());
    for pid in pids {
        // One that has ended meanwhile is no matter here.
        let Ok(text) = fs::read(format!("/proc/{pid}/stat")) else { continue };
        let Ok(theirs) = procfs_core::process::Stat::from_read(text.as_slice()) else { continue };
        let read = process::parse_stat(&text).unwrap();
        assert_eq!(String::from_utf8_lossy(read.comm), theirs.comm);
        assert_eq!((i64::from(read.pid), i64::from(read.ppid)), (theirs.pid.into(), theirs.ppid.into()));
        assert_eq!((char::from(read.state), read.rss_pages), (theirs.state, theirs.rss));
        assert_eq!((i64::try_from(read.num_threads), read.starttime_ticks), (Ok(theirs.num_threads), theirs.starttime));
        compared += 1;
    }
    assert!(compared > 0);
}
