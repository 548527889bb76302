//! The real binary on captured kernel trees: nine cases, and the same trees after something went wrong with them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::probe::{Arrived, Probe};
use runner_vitals::line::Reading;
use runner_vitals::line::field::{self, Field, Kind, Print};
use tempfile::TempDir;

fn captures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/captures")
}

/// A root made of one moment of a case.
fn root(case: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    crate::fixture::lay_out(&captures().join(case), dir.path()).unwrap();
    dir
}

fn once(root: &Path, flags: &[&str]) -> Vec<Arrived> {
    let mut all = vec!["--root", root.to_str().unwrap(), "--once"];
    all.extend(flags);
    let (lines, status) = Probe::start(&all).finish();
    assert!(status.success(), "{status}");
    lines
}

fn sample(lines: &[Arrived]) -> &Arrived {
    lines.iter().find(|arrived| arrived.is(None)).expect("a sample")
}

fn start(lines: &[Arrived]) -> &Arrived {
    assert!(lines[0].is(Some("start")));
    &lines[0]
}

/// What a field reads: `-` is not there, an empty text is there and unread.
fn shown(arrived: &Arrived, field: &Field) -> String {
    match arrived.line().get(field) {
        None => "-".to_owned(),
        Some(Reading::Unread) => String::new(),
        Some(Reading::Value(text)) => text.clone().into_owned(),
    }
}

#[track_caller]
fn assert_shows(arrived: &Arrived, expected: &[(&Field, &str)]) {
    for (field, value) in expected {
        assert_eq!(shown(arrived, field), *value, "{} of {}", field.key, arrived.text);
    }
}

#[test]
fn a_limit_met_by_the_job() {
    let root = root("oom-cgroup/during");
    let lines = once(root.path(), &[]);
    assert_shows(
        start(&lines),
        &[(field::CGROUP, "v2"), (field::CGROUP_PATH, "/runner"), (field::MEM_LIMIT, "67108864")],
    );
    assert_shows(
        sample(&lines),
        &[
            (field::VM_MEM_TOTAL, "223608"),
            (field::VM_MEM_AVAIL, "197040"),
            (field::MEM_CURRENT, "749568"),
            (field::MEM_PEAK, "67108864"),
            (field::MEM_MAX, "67108864"),
            (field::MEM_SWAP, "0"),
            (field::OOM, "3"),
            (field::OOM_KILL, "1"),
            (field::CPU_PSI_SOME, "20.6"),
            (field::MEM_PSI_FULL, "0.5"),
            (field::LOAD1, "0.07"),
            (field::MEM_USED, "1.1"),
            (field::MEM_ANON, "258048"),
            (field::VM_OOM_KILL, "1"),
            // Nothing moves in a capture: no CPU time to take a share of, and zero is left out.
            (field::CPU_BUSY, ""),
            (field::VM_MAJFAULT, "-"),
            (field::NET_RX, "-"),
            (field::OOM_GROUP, "-"),
        ],
    );
    let kill = lines.iter().find(|arrived| arrived.is(Some("kmsg.oom"))).unwrap();
    assert_shows(
        kill,
        &[
            (field::SCOPE, "cgroup"),
            (field::VICTIM_COMM, "hog"),
            (field::VICTIM_PID, "172"),
            (field::VICTIM_RSS, "64556"),
            (field::VICTIM_ADJ, "0"),
            (field::CGROUP, "/runner"),
            (field::KTS, "14"),
            (field::OLD, "1"),
        ],
    );
}

#[test]
fn kills_of_each_case_are_one_line_a_victim() {
    for (case, kills) in [
        ("idle/after", &[][..]),
        ("oom-guest/during", &["guest hog /hogs"]),
        ("oom-cgroup/during", &["cgroup hog /runner"]),
        ("oom-sidecar/during", &["cgroup hog /dind"]),
        ("cgroup-v1-oom/during", &["cgroup hog /ci"]),
        ("thrash-high/during", &[]),
        ("cpu-starve/during", &[]),
        ("disk-full/during", &[]),
        (
            "oom-group/during",
            &[
                "cgroup hog /runner",
                "cgroup probe /runner",
                "cgroup probe /runner",
                "cgroup cat /runner",
                "cgroup probe /runner",
                "cgroup sleep /runner",
            ],
        ),
    ] {
        let root = root(case);
        let lines = once(root.path(), &[]);
        let of_kill = |kill: &Arrived| {
            [field::SCOPE, field::VICTIM_COMM, field::CGROUP].map(|field| shown(kill, field)).join(" ")
        };
        let told: Vec<String> = lines.iter().filter(|arrived| arrived.is(Some("kmsg.oom"))).map(of_kill).collect();
        assert_eq!(told, kills, "{case}");
    }
}

#[test]
fn the_sidecars_oom_is_seen_in_the_guest_and_not_in_the_runner() {
    let root = root("oom-sidecar/during");
    let lines = once(root.path(), &[]);
    assert_shows(sample(&lines), &[(field::OOM_KILL, "0"), (field::VM_OOM_KILL, "1"), (field::MEM_MAX, "")]);
    let lines = once(root.path(), &["--cgroup", "/dind"]);
    assert_shows(sample(&lines), &[(field::OOM_KILL, "1"), (field::MEM_MAX, "67108864")]);
    let lines = once(root.path(), &["--cgroup", "/sys/fs/cgroup/dind"]);
    assert_shows(sample(&lines), &[(field::OOM_KILL, "1")]);
}

#[test]
fn another_process_can_be_watched() {
    let root = root("oom-sidecar/during");
    fs::create_dir(root.path().join("proc/77")).unwrap();
    fs::write(root.path().join("proc/77/cgroup"), "0::/dind\n").unwrap();
    assert_shows(sample(&once(root.path(), &["--cgroup-of", "77"])), &[(field::OOM_KILL, "1")]);
}

#[test]
fn a_process_that_is_not_there_is_told() {
    let root = root("idle/after");
    let lines = once(root.path(), &["--cgroup-of", "78"]);
    let told = lines.iter().find(|arrived| arrived.is(Some("config"))).unwrap();
    assert_shows(
        told,
        &[(field::KEY, "--cgroup-of"), (field::GIVEN, "78"), (field::USED, "nothing, until it is in view")],
    );
    assert_shows(sample(&lines), &[(field::MEM_CURRENT, ""), (field::VM_MEM_TOTAL, "223608")]);
}

#[test]
fn the_tightest_level_is_read_and_named() {
    let root = root("oom-cgroup/during");
    let cgroups = root.path().join("sys/fs/cgroup");
    fs::create_dir(cgroups.join("runner/job")).unwrap();
    for file in fs::read_dir(cgroups.join("dind")).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), cgroups.join("runner/job").join(file.file_name())).unwrap();
    }
    fs::write(cgroups.join("runner/cpu.max"), "150000 100000\n").unwrap();
    fs::write(root.path().join("proc/self/cgroup"), "0::/runner/job\n").unwrap();
    let lines = once(root.path(), &[]);
    let expected = [
        (field::CGROUP_PATH, "/runner/job"),
        (field::MEM_LEVEL, "/runner"),
        (field::MEM_LIMIT, "67108864"),
        (field::CPU_QUOTA, "1.50"),
    ];
    assert_shows(start(&lines), &expected);
    // memory of the limited parent, kills of the own cgroup, and of the topmost one those of all.
    let expected = [(field::MEM_MAX, "67108864"), (field::OOM_KILL, "0"), (field::TREE_OOM_KILL, "1")];
    assert_shows(sample(&lines), &expected);
}

#[test]
fn version_1_has_the_same_fields() {
    let root = root("cgroup-v1-oom/during");
    let lines = once(root.path(), &[]);
    let expected = [(field::CGROUP, "v1"), (field::CGROUP_PATH, "/ci"), (field::MEM_LIMIT, "52428800")];
    assert_shows(start(&lines), &expected);
    let expected = [
        (field::MEM_CURRENT, "47710208"),
        (field::MEM_MAX, "52428800"),
        (field::MEM_USED, "91.0"),
        (field::MEM_ANON, "47235072"),
        (field::OOM, ""),
        (field::OOM_KILL, "0"),
    ];
    assert_shows(sample(&lines), &expected);
}

#[test]
fn without_any_cgroup_the_guest_is_still_told() {
    let root = root("oom-guest/during");
    fs::remove_file(root.path().join("proc/self/cgroup")).unwrap();
    fs::remove_file(root.path().join("proc/self/mountinfo")).unwrap();
    let lines = once(root.path(), &[]);
    assert_shows(start(&lines), &[(field::CGROUP, "none"), (field::MEM_LIMIT, "unknown"), (field::MEM_LEVEL, "-")]);
    let expected =
        [(field::MEM_CURRENT, ""), (field::OOM, ""), (field::VM_OOM_KILL, "1"), (field::VM_MEM_AVAIL, "182300")];
    assert_shows(sample(&lines), &expected);
}

#[test]
fn thrashing_shows_in_pressure_and_in_the_soft_limit() {
    let root = root("thrash-high/during");
    let lines = once(root.path(), &[]);
    let expected =
        [(field::MEM_HIGH, "50331648"), (field::MEM_PSI_FULL, "55.5"), (field::MEM_MAX, ""), (field::OOM_KILL, "0")];
    assert_shows(sample(&lines), &expected);
}

#[test]
fn a_kernel_without_pressure_files_says_so() {
    let root = root("idle/after");
    fs::remove_dir_all(root.path().join("proc/pressure")).unwrap();
    let lines = once(root.path(), &[]);
    let expected = [(field::PSI, "unsupported"), (field::ABSENT, "psi.cpu,psi.memory,psi.io,tree.memory.events")];
    assert_shows(start(&lines), &expected);
    assert!(!shown(start(&lines), field::SUPPORTS).contains("cpu.stall"));
    assert_shows(sample(&lines), &[(field::CPU_PSI_SOME, ""), (field::MEM_PSI_FULL, "")]);
}

#[test]
fn an_old_kernel_loses_only_what_it_lacks() {
    let root = root("idle/after");
    // 5.10: no `full` row for the CPU, no memory.peak, no oom_group_kill, one refault counter.
    let proc = root.path().join("proc");
    fs::write(proc.join("pressure/cpu"), "some avg10=1.50 avg60=0.00 avg300=0.00 total=5\n").unwrap();
    let runner = root.path().join("sys/fs/cgroup/runner");
    fs::remove_file(runner.join("memory.peak")).unwrap();
    fs::write(runner.join("memory.events"), "low 0\nhigh 0\nmax 0\noom 2\noom_kill 1\n").unwrap();
    let lines = once(root.path(), &[]);
    let expected = [(field::CPU_PSI_SOME, "1.5"), (field::MEM_PEAK, ""), (field::OOM, "2"), (field::OOM_KILL, "1")];
    assert_shows(sample(&lines), &expected);
    assert_shows(start(&lines), &[(field::ABSENT, "memory.peak,tree.memory.events"), (field::PSI, "on")]);
    let supports = shown(start(&lines), field::SUPPORTS);
    assert!(!supports.contains("oom_group") && supports.contains("cpu.stall.pct"), "{supports}");
}

/// Every file of the tree, replaced in turn and together: the line goes out, whole, with all of its contract.
#[test]
fn foreign_content_never_stops_a_line() {
    let big = b"9".repeat(1 << 20);
    let lines = b"MemTotal: 1 kB\n".repeat(100_000);
    let contents: [&[u8]; 7] = [b"", b"\n\n\n", b"\xff\xfe\0\x01 \x80: 1", b"cpu", b"-1 -1 -1 -1\n", &big, &lines];
    for content in contents {
        let root = root("oom-cgroup/during");
        overwrite(&root.path().join("proc"), content);
        overwrite(&root.path().join("sys"), content);
        fs::write(root.path().join("dev/kmsg"), content).unwrap();
        let lines = once(root.path(), &[]);
        let sample = sample(&lines);
        let is_contract = |field: &&&Field| field.print == Print::Contract && field.kinds.contains(&Kind::Sample);
        for field in field::ALL.iter().filter(is_contract) {
            assert_ne!(shown(sample, field), "-", "{} of {}", field.key, sample.text);
        }
        assert!(lines.last().unwrap().is(Some("stop")));
    }
}

fn overwrite(dir: &Path, content: &[u8]) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => overwrite(&path, content),
            false => fs::write(path, content).unwrap(),
        }
    }
}

#[test]
fn what_breaks_and_comes_back_is_told_once_each() {
    let root = root("idle/after");
    let file = root.path().join("proc/loadavg");
    let good = fs::read(&file).unwrap();
    let probe = Probe::start(&["--root", root.path().to_str().unwrap(), "--interval", "1"]);
    probe.next_of(None);
    // In place: the probe keeps it open.
    fs::write(&file, "not a load\n").unwrap();
    let told = probe.next_of(Some("degraded"));
    assert_shows(&told, &[(field::WHAT, "loadavg"), (field::ERROR, "broken: not understood")]);
    assert_shows(&probe.next_of(None), &[(field::LOAD1, "")]);
    fs::write(&file, good).unwrap();
    let told = probe.next_of(Some("degraded"));
    assert_shows(&told, &[(field::WHAT, "loadavg"), (field::ERROR, "ok")]);
    assert_shows(&probe.next_of(None), &[(field::LOAD1, "0.25")]);
}

#[test]
fn a_watched_path_that_is_not_there_is_told() {
    let root = root("idle/after");
    let probe = Probe::start(&[
        "--root",
        root.path().to_str().unwrap(),
        "--interval",
        "1",
        "--watch",
        "/no/such",
        "--watch",
        "/",
    ]);
    let told = probe.next_of(Some("degraded"));
    assert_shows(&told, &[(field::WHAT, "/no/such"), (field::ERROR, "absent: no such file")]);
    assert_shows(&probe.next_of(None), &[(field::DISK_PATH, "/")]);
}

#[test]
fn a_counter_that_moves_is_told_where_the_kernels_messages_are_not() {
    let root = root("oom-sidecar/before");
    fs::remove_file(root.path().join("dev/kmsg")).unwrap();
    let probe = Probe::start(&["--root", root.path().to_str().unwrap(), "--interval", "1"]);
    probe.next_of(None);
    // In place: the probe keeps it open.
    let after = fs::read(captures().join("oom-sidecar/during/proc/vmstat")).unwrap();
    fs::write(root.path().join("proc/vmstat"), after).unwrap();
    let told = probe.next_of(Some("oom"));
    assert_shows(&told, &[(field::SOURCE, "vm"), (field::DELTA, "1"), (field::KMSG, "unread")]);
    assert_shows(&probe.next_of(None), &[(field::OOM_KILL, "0"), (field::VM_OOM_KILL, "1")]);
}

#[test]
fn other_words_of_the_kernel_are_told_by_kind_and_each_kind_within_its_limit() {
    let root = root("idle/after");
    let words = [
        "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [cc1plus:77]",
        "EXT4-fs error (device vda1): ext4_find_entry:1455: inode #2: comm ls: reading",
        "an ordinary message",
    ];
    let segv = "node[7]: segfault at 0 ip 1 sp 2 error 4 in node[1+2]";
    let records = words.into_iter().chain(std::iter::repeat_n(segv, 9)).enumerate();
    let records: String = records.map(|(at, text)| format!("4,{at},99000000,-;{text}\n")).collect();
    fs::write(root.path().join("dev/kmsg"), records).unwrap();
    let lines = once(root.path(), &[]);
    let of = |event: &str| lines.iter().filter(|line| line.is(Some(event))).collect::<Vec<_>>();
    assert_shows(
        of("kmsg.lockup")[0],
        &[(field::COMM, "cc1plus"), (field::KTS, "99"), (field::MSG, words[0]), (field::OLD, "1")],
    );
    assert_shows(of("kmsg.fs")[0], &[(field::DEV, "vda1"), (field::COMM, "-")]);
    assert_eq!((of("kmsg.segv").len(), of("kmsg.lockup").len(), of("kmsg.fs").len()), (6, 1, 1));
    assert_shows(of("stop")[0], &[(field::SUPPRESSED_KMSG_SEGV, "3"), (field::SUPPRESSED_KMSG_FS, "-")]);
}

#[test]
fn a_hostile_process_name_forges_nothing() {
    let root = root("idle/after");
    let name = r#"a" run=evil b\x0aR"#;
    let kill =
        format!("Out of memory: Killed process 7 ({name}) total-vm:1kB, anon-rss:5kB, file-rss:0kB oom_score_adj:0");
    fs::write(root.path().join("dev/kmsg"), format!("3,1,99000000,-;{kill}\n")).unwrap();
    let lines = once(root.path(), &[]);
    let told = lines.iter().find(|arrived| arrived.is(Some("kmsg.oom"))).unwrap();
    assert_shows(told, &[(field::VICTIM_COMM, "a\" run=evil b\nR"), (field::SCOPE, "guest")]);
    assert_eq!(told.line().run, lines[0].line().run);
}
