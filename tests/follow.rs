//! The log sidecar over real files and a clock of the test's own: files that appear, rotate, shrink, vanish, and whatever
//! else a runner or its jobs may do to them.
//!
//! Hostile inputs come from what others met: <https://github.com/fluent/fluent-bit/issues> and
//! <https://github.com/vectordotdev/vector/issues> on rotation and copytruncate, logrotate(8) on both,
//! open(2) on FIFOs, and `man 7 symlink`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![cfg(feature = "tls")]

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use runner_vitals::line::field::{self, Field};
use runner_vitals::line::{Line, MAX_LINE_BYTES, RunId, Tag};
use runner_vitals::probe::follow::{Follower, MOST_OPEN, STEP, Settings};

/// Files, a follower of them, and a clock.
struct Bench {
    dir: tempfile::TempDir,
    follower: Follower,
    now: Duration,
    seq: i64,
}

impl Bench {
    fn new(patterns: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let patterns = patterns.iter().map(|pattern| dir.path().join(pattern)).collect();
        let follower = Follower::new(&Settings { patterns }, RunId::from_random(7));
        Self { dir, follower, now: Duration::ZERO, seq: 0 }
    }

    /// One that has looked already: what appears from now on is new.
    fn started(patterns: &[&str]) -> Self {
        let mut bench = Self::new(patterns);
        assert_eq!(bench.run(STEP), [""; 0]);
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn append(&self, name: &str, text: impl AsRef<[u8]>) {
        let mut file = File::options().append(true).create(true).open(self.path(name)).unwrap();
        file.write_all(text.as_ref()).unwrap();
    }

    /// The lines of so much time, as `file note line` and what else stands there.
    fn run(&mut self, time: Duration) -> Vec<String> {
        let until = self.now + time;
        let mut lines = Vec::new();
        while self.now < until {
            let seq = &mut self.seq;
            self.follower.step(self.now, SystemTime::now(), &mut |line| lines.push(told(line, seq)));
            self.now += STEP;
        }
        lines
    }

    /// As at the end of a run.
    fn last_look(&mut self) -> Vec<String> {
        self.follower.look_again();
        self.run(STEP)
    }

    fn finish(&mut self) -> Vec<String> {
        let (seq, mut lines) = (&mut self.seq, Vec::new());
        self.follower.finish(self.now, SystemTime::now(), &mut |line| lines.push(told(line, seq)));
        lines
    }
}

fn told(bytes: &[u8], seq: &mut i64) -> String {
    assert!(bytes.len() <= MAX_LINE_BYTES && bytes.ends_with(b"\n"));
    let line = Line::decode(str::from_utf8(bytes).unwrap()).unwrap();
    *seq += 1;
    assert_eq!((line.tag, i64::try_from(line.seq).unwrap()), (Tag::Log, *seq), "no line is lost on the way");
    let text = |field: &Field| line.text(field).map(str::to_owned);
    let counts = [
        (field::REPEATS, "repeats"),
        (field::REPEATS_LINES, "of"),
        (field::CUT, "cut"),
        (field::SKIPPED, "skipped"),
        (field::UNFOLLOWED, "unfollowed"),
        (field::SUPPRESSED, "suppressed"),
    ];
    let counts = counts.iter().filter_map(|(field, name)| Some(format!("{name}={}", line.text(field)?)));
    let texts = [field::FILE, field::NOTE, field::ERROR].iter().filter_map(|field| text(field));
    texts.chain(counts).chain(text(field::LINE).map(|line| format!("| {line}"))).collect::<Vec<_>>().join(" ")
}

const SECOND: Duration = Duration::from_secs(1);

/// Long enough for a look and all that waits.
const LONG: Duration = Duration::from_secs(8);

#[test]
fn a_file_that_appears_is_read_from_its_beginning() {
    let mut bench = Bench::started(&["_diag/Worker_*.log", "_diag/Runner_*.log"]);
    fs::create_dir(bench.path("_diag")).unwrap();
    bench.append("_diag/Worker_1.log", "one\r\ntwo\n");
    bench.append("_diag/other.log", "nothing\n");
    assert_eq!(bench.run(LONG), ["Worker_1.log | one", "Worker_1.log | two"]);
    bench.append("_diag/Worker_1.log", "three\nfo");
    assert_eq!(bench.run(STEP), ["Worker_1.log | three"]);
    bench.append("_diag/Worker_1.log", "ur\n");
    bench.append("_diag/Runner_1.log", "r\n");
    assert_eq!(bench.run(3 * SECOND), ["Worker_1.log | four", "Runner_1.log | r"]);
}

#[test]
fn of_what_was_there_at_the_start_only_fresh_lines_are_news() {
    let mut bench = Bench::new(&["*.log"]);
    bench.append("old.log", "old\n");
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    File::options().append(true).open(bench.path("old.log")).unwrap().set_modified(hour_ago).unwrap();
    bench.append("fresh.log", "fresh\n");
    bench.append("large.log", format!("old{}\nnew\n", "\nold".repeat(20_000)));
    let lines = bench.run(LONG);
    assert!(lines.contains(&"fresh.log | fresh".to_owned()) && lines.contains(&"large.log | new".to_owned()));
    let repeats = lines.iter().find(|line| line.contains("repeats")).unwrap();
    // 32 KiB of lines of four bytes, less the last one and the first.
    assert_eq!(repeats, "large.log repeats=8190 | old");
    bench.append("old.log", "new\n");
    assert_eq!(bench.run(LONG), ["old.log | new"]);
}

#[test]
fn a_file_that_is_renamed_is_read_to_its_end_before_it_is_left() {
    let mut bench = Bench::started(&["a.log"]);
    bench.append("a.log", "1\n");
    assert_eq!(bench.run(3 * SECOND), ["a.log | 1"]);
    let mut old = File::options().append(true).open(bench.path("a.log")).unwrap();
    old.write_all(b"2\n").unwrap();
    fs::rename(bench.path("a.log"), bench.path("a.log.1")).unwrap();
    bench.append("a.log", "new 1\n");
    old.write_all(b"3\n").unwrap();
    let lines = bench.run(3 * SECOND);
    assert_eq!(lines, ["a.log | 2", "a.log | 3", "a.log replaced", "a.log | new 1"]);
    // The writer has not noticed yet.
    old.write_all(b"4\nunfini").unwrap();
    assert_eq!(bench.run(LONG), ["a.log | 4", "a.log unfinished | unfini"]);
    old.write_all(b"nobody reads this\n").unwrap();
    assert_eq!(bench.run(LONG), [""; 0]);
}

#[test]
fn a_name_that_still_matches_is_the_same_file() {
    let mut bench = Bench::started(&["a.log*"]);
    bench.append("a.log", "1\n");
    assert_eq!(bench.run(3 * SECOND), ["a.log | 1"]);
    fs::rename(bench.path("a.log"), bench.path("a.log.1")).unwrap();
    bench.append("a.log", "2\n");
    bench.append("a.log.1", "1b\n");
    let lines = bench.run(3 * SECOND);
    assert!(lines.contains(&"a.log | 2".to_owned()) && lines.iter().any(|line| line.ends_with("| 1b")), "{lines:?}");
    assert_eq!(lines.len(), 2);
}

#[test]
fn a_file_that_shrinks_is_read_anew() {
    let mut bench = Bench::started(&["a.log"]);
    bench.append("a.log", "one\ntwo\nthr");
    assert_eq!(bench.run(SECOND + SECOND), ["a.log | one", "a.log | two"]);
    fs::write(bench.path("a.log"), "new\n").unwrap();
    assert_eq!(bench.run(SECOND), ["a.log unfinished | thr", "a.log truncated", "a.log | new"]);
    // As copytruncate does, and then more than there was before.
    fs::write(bench.path("a.log"), "another text that is longer\n").unwrap();
    assert_eq!(bench.run(SECOND), ["a.log truncated", "a.log | another text that is longer"]);
}

#[test]
fn the_hole_of_a_truncated_file_is_no_text() {
    let mut bench = Bench::started(&["a.log"]);
    let mut file = File::create(bench.path("a.log")).unwrap();
    file.write_all(b"one\n".repeat(100).as_slice()).unwrap();
    bench.run(3 * SECOND);
    // The writer goes on at its own offset: not in append mode.
    file.set_len(0).unwrap();
    file.write_all(b"two\n").unwrap();
    assert_eq!(bench.run(SECOND), ["a.log truncated", "a.log cut=400 | two"]);
}

#[test]
fn a_file_that_is_removed_is_read_to_its_end() {
    let mut bench = Bench::started(&["*.log"]);
    bench.append("a.log", "one\n");
    bench.run(3 * SECOND);
    bench.append("a.log", "two\nlast words");
    fs::remove_file(bench.path("a.log")).unwrap();
    assert_eq!(bench.run(LONG), ["a.log | two", "a.log removed", "a.log unfinished | last words"]);
    bench.append("a.log", "again\n");
    assert_eq!(bench.run(3 * SECOND), ["a.log | again"]);
}

#[test]
fn a_line_without_an_end_is_told_and_comes_again_whole() {
    let mut bench = Bench::started(&["a.log"]);
    bench.append("a.log", "token=abc");
    assert_eq!(bench.run(5 * SECOND), ["a.log unfinished | token=***"]);
    assert_eq!(bench.run(LONG * 10), [""; 0]);
    bench.append("a.log", "def more\n");
    assert_eq!(bench.run(STEP), ["a.log | token=*** more"]);
    bench.append("a.log", "the end");
    bench.run(STEP);
    assert_eq!(bench.finish(), ["a.log unfinished | the end"]);
}

#[test]
fn a_last_look_finds_what_has_come_since_the_one_before() {
    let mut bench = Bench::started(&["*.log"]);
    bench.append("a.log", "one\n");
    assert_eq!(bench.run(STEP), [""; 0], "it is not time yet");
    assert_eq!(bench.last_look(), ["a.log | one"]);
    bench.append("a.log", "x".repeat(300_000));
    bench.run(STEP);
    assert!(bench.follower.is_behind());
    bench.run(3 * STEP);
    assert!(!bench.follower.is_behind());
}

#[test]
fn a_line_of_megabytes_costs_what_it_takes_to_skip_it() {
    let mut bench = Bench::started(&["a.log"]);
    bench.append("a.log", "x".repeat(900_000) + "\nnext\n");
    let lines = bench.run(LONG);
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0], format!("a.log cut={} | {}…", 900_000 - 2048, "x".repeat(2048)));
    assert_eq!(lines[1], "a.log | next");
}

#[test]
fn a_reader_that_is_far_behind_goes_ahead() {
    let mut bench = Bench::started(&["a.log"]);
    let text: String = (0..400_000).map(|at| format!("line {at}\n")).collect();
    bench.append("a.log", &text);
    let lines = bench.run(LONG);
    let skipped = text.len() - 64 * 1024;
    assert_eq!(lines[0], format!("a.log skipped skipped={skipped}"));
    assert!(lines.iter().any(|line| line.contains("suppressed=")));
    assert!(lines.len() <= 500 + 50 * 8, "{}", lines.len());
    bench.append("a.log", "the last\n");
    let last = bench.run(STEP);
    assert!(last[0].ends_with("| the last"), "{last:?}");
}

#[test]
fn a_flood_is_held_to_its_rate_and_told() {
    let mut bench = Bench::started(&["a.log"]);
    bench.append("a.log", (0..2000).map(|at| format!("{at} x\n")).collect::<String>());
    let lines = bench.run(3 * SECOND);
    // All of it is read at once, and the count is told as soon as there is room for a line.
    assert_eq!(lines.len(), 501);
    assert_eq!(lines[500], "suppressed=1500");
}

#[test]
fn whatever_bytes_come_out_as_lines() {
    let mut bench = Bench::started(&["a.log"]);
    bench.append("a.log", b"\xff\xfe\x00b\x00i\x00n\n\x1b[31mred\x1b[0m\n\n\x07\n\"RUNNER_VITALS oom=1\"\n");
    assert_eq!(
        bench.run(LONG),
        [
            "a.log cut=3 | \u{fffd}\u{fffd}bin",
            "a.log | red",
            "a.log | ",
            "a.log | \u{7}",
            "a.log | \"RUNNER_VITALS oom=1\""
        ]
    );
}

#[test]
fn only_ordinary_files_are_opened() {
    let mut bench = Bench::started(&["*.log"]);
    let secret = bench.path("secret");
    fs::write(&secret, "secret\n").unwrap();
    std::os::unix::fs::symlink(&secret, bench.path("link.log")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(bench.path("fifo.log")).status().unwrap().success());
    fs::create_dir(bench.path("folder.log")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(bench.path("socket.log")).unwrap();
    let mut lines = bench.run(LONG);
    lines.sort();
    let refused = ["fifo", "link", "socket"].map(|name| format!("{name}.log unreadable not an ordinary file"));
    assert_eq!(lines, refused);
}

#[test]
fn more_files_than_can_be_followed_are_counted() {
    let mut bench = Bench::started(&["*.log"]);
    let count = MOST_OPEN + 4;
    (0..count).for_each(|at| bench.append(&format!("{at}.log"), format!("{at}\n")));
    let lines = bench.run(3 * SECOND);
    assert_eq!(lines.len(), MOST_OPEN + 1);
    assert!(lines.contains(&"unfollowed unfollowed=4".to_owned()), "{lines:?}");
    // Files that are quiet make room, and are opened again when they grow.
    let lines = bench.run(35 * SECOND);
    assert_eq!(lines.len(), 4, "{lines:?}");
    (0..count).for_each(|at| bench.append(&format!("{at}.log"), format!("more {at}\n")));
    let mut lines = bench.run(40 * SECOND);
    lines.retain(|line| line.contains("more"));
    assert_eq!(lines.len(), count, "{lines:?}");
}

/// A job can fill a folder with names.
#[test]
fn a_pattern_with_very_many_names_leaves_the_others_their_share() {
    let mut bench = Bench::new(&["tmp/*", "diag/Worker_*.log"]);
    ["tmp", "diag"].into_iter().for_each(|folder| fs::create_dir(bench.path(folder)).unwrap());
    (0..8_192).for_each(|number| fs::create_dir(bench.path(&format!("tmp/{number}"))).unwrap());
    assert_eq!(bench.run(STEP).len(), 1, "what was left out is told");
    bench.append("diag/Worker_1.log", "a line\n");
    assert_eq!(bench.run(LONG), ["Worker_1.log | a line"]);
}

/// One pattern that cannot be looked at, a link to itself, says nothing of the files of another.
#[test]
fn a_pattern_in_trouble_costs_the_others_nothing() {
    let mut bench = Bench::new(&["loop/*.log", "*.log"]);
    std::os::unix::fs::symlink("loop", bench.path("loop")).unwrap();
    let trouble = bench.run(STEP);
    assert!(trouble.len() == 1 && trouble[0].contains("/loop unreadable"), "{trouble:?}");
    bench.append("a.log", format!("first\n{}last\n", "more\n".repeat(10_000)));
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    File::options().append(true).open(bench.path("a.log")).unwrap().set_modified(hour_ago).unwrap();
    let lines = bench.run(LONG);
    assert!(lines[0] == "a.log | first" && lines.last().unwrap() == "a.log | last", "it is a new one: {lines:?}");
    fs::remove_file(bench.path("a.log")).unwrap();
    assert_eq!(bench.run(LONG), ["a.log removed"]);
    // And one that can be looked at again: what was there by then is as what was there at the start.
    fs::remove_file(bench.path("loop")).unwrap();
    fs::create_dir(bench.path("loop")).unwrap();
    bench.append("loop/old.log", "old\n");
    File::options().append(true).open(bench.path("loop/old.log")).unwrap().set_modified(hour_ago).unwrap();
    assert_eq!(bench.run(LONG), [""; 0]);
    bench.append("loop/new.log", "new\n");
    assert_eq!(bench.run(LONG), ["new.log | new"]);
}

/// More files match than one look takes: those that are written to are among those that are followed.
#[test]
fn of_too_many_files_the_newest_are_followed() {
    let mut bench = Bench::started(&["*.log"]);
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    for at in 0..600 {
        bench.append(&format!("{at:03}.log"), "");
        File::options().append(true).open(bench.path(&format!("{at:03}.log"))).unwrap().set_modified(hour_ago).unwrap();
    }
    bench.append("999.log", "the newest\n");
    let lines = bench.run(3 * SECOND);
    assert!(lines.contains(&"999.log | the newest".to_owned()), "{lines:?}");
    let unfollowed = 601 - MOST_OPEN;
    assert!(lines.contains(&format!("unfollowed unfollowed={unfollowed}")), "{lines:?}");
}

#[test]
fn what_cannot_be_looked_at_is_told_once() {
    let mut bench = Bench::new(&["/", "a.log"]);
    bench.append("a.log", "x\n");
    assert_eq!(bench.run(LONG), ["/ unreadable the pattern names no file", "a.log | x"]);
}

#[test]
fn a_private_key_is_masked_wherever_reading_begins() {
    let mut bench = Bench::new(&["a.log"]);
    let body = "QUJD".repeat(16);
    // It begins before the 32 KiB that are news, and goes on into them.
    let filler = "filler\n".repeat(3000);
    let key = format!("-----BEGIN RSA PRIVATE KEY-----\n{}", format!("{body}\n").repeat(100));
    let end = "-----END RSA PRIVATE KEY-----\n";
    bench.append("a.log", format!("{filler}{key}{end}{}", format!("{}\n", "tail ".repeat(80)).repeat(75)));
    let lines = bench.run(LONG);
    assert!(lines.iter().all(|line| !line.contains("QUJD")), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("***")), "{lines:?}");
}

/// As logrotate(8) does it, both ways, while somebody writes a key.
#[test]
fn a_private_key_that_spans_a_rotation_is_masked() {
    let body = format!("{}\n", "QUJD".repeat(16));
    let key = format!("-----BEGIN PRIVATE KEY-----\n{}QQ==\n-----END PRIVATE KEY-----\n", body.repeat(6));
    let rotate: [fn(&Path); 2] = [
        |path| _ = fs::rename(path, path.with_extension("1")),
        |path| File::options().write(true).open(path).unwrap().set_len(0).unwrap(),
    ];
    for rotate in rotate {
        for at in [body.len() * 3, body.len() * 5] {
            let (first, second) = key.split_at(at + "-----BEGIN PRIVATE KEY-----\n".len());
            let mut bench = Bench::started(&["a.log"]);
            bench.append("a.log", format!("before\n{first}"));
            let mut lines = bench.run(3 * SECOND);
            rotate(&bench.path("a.log"));
            bench.append("a.log", format!("{second}after\n"));
            lines.extend(bench.run(LONG));
            assert!(lines.iter().all(|line| !line.contains("QUJD") && !line.contains("QQ==")), "{lines:?}");
            assert!(
                lines.iter().any(|line| line == "a.log | before") && lines.iter().any(|line| line == "a.log | after"),
                "{lines:?}"
            );
        }
    }
}

/// A logger that puts something before each line of it does not hide it.
#[test]
fn a_private_key_that_is_being_written_is_masked_behind_a_truncation() {
    let line = |text: &str| format!("[t INFO x] {text}\n");
    let body = line(&"QUJD".repeat(16));
    let mut bench = Bench::started(&["a.log"]);
    bench.append("a.log", line("-----BEGIN PRIVATE KEY-----") + &body.repeat(3));
    bench.run(3 * SECOND);
    File::options().write(true).open(bench.path("a.log")).unwrap().set_len(0).unwrap();
    bench.append("a.log", body + &line("-----END PRIVATE KEY-----") + "after\n");
    let lines = bench.run(LONG);
    assert!(lines.iter().all(|line| !line.contains("QUJD")), "{lines:?}");
    assert_eq!(lines.last().unwrap(), "a.log | after");
}

#[test]
fn two_patterns_that_match_a_file_follow_it_once() {
    let mut bench = Bench::started(&["*.log", "a.*"]);
    bench.append("a.log", "1\n");
    assert_eq!(bench.run(LONG), ["a.log | 1"]);
}

/// The same numbers each time, unless `PROPTEST_RNG_SEED` says otherwise.
fn config() -> ProptestConfig {
    let given = ProptestConfig::default();
    let rng_seed = if given.rng_seed == RngSeed::Random { RngSeed::Fixed(20_260_604) } else { given.rng_seed };
    ProptestConfig { cases: 64, rng_seed, failure_persistence: None, ..given }
}

/// What somebody does to a file.
#[derive(Clone, Debug)]
enum Act {
    Append(Vec<u8>),
    Truncate(u64),
    Rotate,
    Remove,
    Pass(u8),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'a'), any::<u8>()], 0..200).prop_map(Act::Append),
        1 => (0_u64..300).prop_map(Act::Truncate),
        1 => Just(Act::Rotate),
        1 => Just(Act::Remove),
        3 => (1_u8..20).prop_map(Act::Pass),
    ]
}

fn act_on(path: &Path, act: &Act) {
    match act {
        Act::Append(bytes) => {
            File::options().append(true).create(true).open(path).unwrap().write_all(bytes).unwrap();
        }
        Act::Truncate(len) => {
            // There may be no file.
            let _ = File::options().write(true).open(path).map(|file| file.set_len(*len).unwrap());
        }
        Act::Rotate => _ = fs::rename(path, path.with_extension("1")),
        Act::Remove => _ = fs::remove_file(path),
        Act::Pass(_) => {}
    }
}

proptest! {
    #![proptest_config(config())]

    /// Whatever is done, each step makes whole lines, and what is there at the end is told.
    #[test]
    fn any_life_of_a_file_is_told_as_lines(acts in proptest::collection::vec(act(), 0..30)) {
        let mut bench = Bench::started(&["a.*"]);
        let path = bench.path("a.log");
        for act in &acts {
            act_on(&path, act);
            if let Act::Pass(steps) = act {
                bench.run(STEP * u32::from(*steps));
            }
        }
        bench.run(LONG);
        File::options().append(true).create(true).open(&path).unwrap().write_all(b"\nthe very end\n").unwrap();
        let lines = bench.run(LONG);
        prop_assert!(lines.iter().any(|line| line.ends_with("| the very end")), "{:?}", lines);
    }

    /// However the bytes of lines come in, each line is told once, in order.
    #[test]
    fn each_line_is_told_once(lines in proptest::collection::vec("[b-z]{1,12}", 1..60), cuts in proptest::collection::vec(0_usize..400, 0..6)) {
        let lines: Vec<String> = lines.iter().enumerate().map(|(at, line)| format!("{at} {line}")).collect();
        let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        let mut bench = Bench::started(&["a.log"]);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).chain([0, text.len()]).collect();
        cuts.sort_unstable();
        let mut told = Vec::new();
        for pair in cuts.windows(2) {
            bench.append("a.log", &text.as_bytes()[pair[0]..pair[1]]);
            told.extend(bench.run(STEP * 2));
        }
        told.extend(bench.run(LONG));
        told.retain(|line| !line.contains("unfinished"));
        prop_assert_eq!(told, lines.iter().map(|line| format!("a.log | {line}")).collect::<Vec<_>>());
    }
}
