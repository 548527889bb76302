//! What stands around lines in logs changes no verdict, and who is told from whom.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use runner_vitals::hub::diagnose::cause::Cause::{self, *};
use runner_vitals::hub::diagnose::text::Look;
use runner_vitals::hub::diagnose::verdict::{Confidence, Verdict, judge};
use runner_vitals::hub::diagnose::{Args, Code, Format, LokiArgs, run};
use runner_vitals::hub::trail::{Book, read};

use crate::made::Made;
use crate::support::{fixture, folder, later, over, verdict};
use crate::trails::TRAILS;

/// All of a verdict but where its lines stand.
fn told(verdict: &Verdict) -> impl PartialEq + std::fmt::Debug + use<> {
    let because: Vec<String> = verdict.because.iter().map(|said| said.says.clone()).collect();
    (verdict.cause, verdict.score, because, verdict.lines, verdict.missing, verdict.last_ms, verdict.change.clone())
}

/// As a runtime logs a text that it reads in parts of so many bytes, the job's own output in the other stream between them.
fn in_parts(text: &str, bytes: usize, part: impl Fn(&str, &str, bool) -> String) -> String {
    let mut log = String::new();
    for line in text.lines() {
        let mut rest = line;
        while rest.len() > bytes {
            let (first, behind) = rest.split_at(bytes);
            log += &part("stdout", first, false);
            log += &part("stderr", "RUNNER_VITALS says the job", rest.len() % 2 == 0);
            rest = behind;
        }
        log += &part("stdout", rest, true);
    }
    log
}

#[test]
fn lines_in_parts_are_whole_again() {
    let cri = |stream: &str, text: &str, is_end: bool| {
        format!("2026-11-24T18:42:53.123456789Z {stream} {} {text}\n", if is_end { "F" } else { "P" })
    };
    let docker = |stream: &str, text: &str, is_end: bool| {
        let text = if is_end { format!("{text}\n") } else { text.to_owned() };
        serde_json::json!({ "log": text, "stream": stream, "time": "2026-11-24T18:42:53.1Z" }).to_string() + "\n"
    };
    for (name, ..) in TRAILS {
        let text = fixture(name);
        if !text.is_ascii() {
            continue;
        }
        let plain = told(&verdict(&text));
        for bytes in [7, 64, 1000] {
            assert_eq!(told(&verdict(&in_parts(&text, bytes, cri))), plain, "{name} {bytes}");
            assert_eq!(told(&verdict(&in_parts(&text, bytes, docker))), plain, "{name} {bytes}");
        }
    }
}

/// What the program prints of files, and on stderr.
fn printed(files: &[&Path]) -> (String, String, Code) {
    let files = files.iter().map(|path| path.to_path_buf()).collect();
    let args = Args { files, loki: LokiArgs::default(), runner: None, all: true, format: Format::Text, html: None };
    let (mut out, mut log) = (Vec::new(), Vec::new());
    let code = run(&args, later(), io::empty(), &mut out, &mut log, Look::Plain);
    (String::from_utf8(out).unwrap(), String::from_utf8(log).unwrap(), code)
}

#[test]
fn logs_of_one_name_in_two_folders_are_two_runners() {
    let dir = tempfile::tempdir().unwrap();
    for (folder, name) in [("ns_a_1/runner", "oom-guest"), ("ns_b_2/runner", "power-cut")] {
        let folder = dir.path().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("0.log"), fixture(name)).unwrap();
    }
    let (out, ..) = printed(&[dir.path()]);
    assert!(
        out.contains("  ns_a_1/runner/0  guest_oom ") && out.contains("  ns_b_2/runner/0  outside_guest "),
        "{out}"
    );
}

/// A probe of its own, in the same runner.
fn sidecar(made: &Made) -> String {
    made.text().replace("run=made", "run=side").replace(" agent.state=S", "").replace(" agent.wait.ms=40", "")
}

fn killed(made: Made) -> Made {
    let made = made.event("kmsg.oom", "scope=cgroup victim.comm=node victim.adj=0 cgroup=/runner kts=125");
    made.with("oom_kill", 1).with("vm.oom_kill", 1).event("oom", "source=own delta=1 kmsg=agrees")
}

#[test]
fn two_probes_of_one_runner_are_one_death() {
    let begun = || Made::started("runner.name=r").samples(12);
    let dies = killed(begun());
    let lives_on = begun().samples(8).stop("reason=sigterm");
    let is = |text: &str, runner: (Cause, &str), other: Option<(Cause, &str)>| {
        let found = verdict(text);
        assert_eq!((found.runner.as_str(), found.cause, found.run.as_str()), ("r", runner.0, runner.1), "{found:#?}");
        let beside: Vec<(Cause, &str)> = found.beside.iter().map(|one| (one.cause, one.run.as_str())).collect();
        assert_eq!(beside, other.into_iter().collect::<Vec<_>>(), "{found:#?}");
        found
    };
    // Both see the agent: what ended one of them ended the runner, however long the other goes on.
    let both = |one: &str, other: &str| format!("{one}{}", other.replace("run=made", "run=side"));
    is(&both(dies.text(), lives_on.text()), (CgroupOom, "made"), Some((Stopped, "side")));
    let found = is(&both(lives_on.text(), dies.text()), (CgroupOom, "side"), Some((Stopped, "made")));
    assert!(found.beside[0].says().starts_with("run made of another probe: stopped ("), "{found:?}");
    // Of two that were well the last to speak is told.
    is(&both(begun().text(), lives_on.text()), (Stopped, "side"), Some((OutsideGuest, "made")));
    // Only one sees the agent: the other's end is not the runner's.
    is(&format!("{}{}", lives_on.text(), sidecar(&dies)), (Stopped, "made"), None);
    is(&format!("{}{}", dies.text(), sidecar(&lives_on)), (CgroupOom, "made"), None);
    // A probe that begins again where another ended is a later run of the same.
    let found = is(&behind(&dies), (OutsideGuest, "more"), None);
    assert_eq!(found.runs, 2);
}

/// The same trail, and another run behind it.
fn behind(made: &Made) -> String {
    let later =
        Made::new().wait(200_000).event("start", "runner.name=r interval.ms=5000 uptime.ms=260000 psi=on").samples(12);
    format!("{}{}", made.text(), later.text().replace("run=made", "run=more"))
}

#[test]
fn a_reader_that_goes_away_is_no_failure_and_a_full_disk_is() {
    let mut hub = Command::new(env!("CARGO_BIN_EXE_vitals-hub"));
    hub.arg("diagnose").arg(folder()).stdin(Stdio::null()).stderr(Stdio::piped());
    let mut left = hub.stdout(Stdio::piped()).spawn().unwrap();
    // Before it has read anything: what it says then meets a closed pipe.
    drop(left.stdout.take());
    let output = left.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
    if let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") {
        let output = hub.stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(74));
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("vitals-hub: stdout: "), "{output:?}");
    }
}

#[test]
fn what_tools_put_before_lines_is_no_part_of_them() {
    let plain = told(&verdict(&fixture("oom-cgroup")));
    for (head, name) in [
        ("runner-1  | ", "runner-1"),
        ("runner-1-abc main ", "runner-1-abc"),
        ("Nov 28 12:00:00 host runner.service[7]: ", "trail"),
    ] {
        let text: String = fixture("oom-cgroup").lines().map(|line| format!("{head}{line}\n")).collect();
        let found = verdict(&text);
        assert!(told(&found) == plain && found.runner == name, "{head}: {found:#?}");
    }
    let marked = verdict(&format!("\u{feff}{}", fixture("oom-cgroup")));
    assert_eq!(told(&marked), plain);
}

#[test]
fn silence_is_not_sure_in_a_file_that_could_not_be_read_to_its_end() {
    struct Failing<'t>(&'t [u8]);
    impl io::Read for Failing<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.read(buffer)?;
            if count == 0 { Err(io::Error::other("the disk is gone")) } else { Ok(count) }
        }
    }
    let judged = |name: &str| {
        let mut book = Book::default();
        let source = book.source("trail.log");
        read::read(Failing(fixture(name).as_bytes()), source, &mut book).unwrap_err();
        judge(&book.into_runners().0[0], &over()).unwrap()
    };
    let found = judged("power-cut");
    assert_eq!((found.cause, found.confidence), (OutsideGuest, Confidence::Low), "{found:#?}");
    assert!(found.but.last().unwrap().says.starts_with("its source could not be read to its end"), "{found:#?}");
    // A last word is the end, whatever stands behind it.
    assert_eq!(judged("idle").confidence, Confidence::High);
}

/// Guests that all have one name are no probes of one runner: some are told, and how many are not.
#[test]
fn a_name_that_many_share_is_told_in_bounded_room() {
    let of = |nth: u32| {
        let run = format!("{}{}", char::from(b'a' + u8::try_from(nth / 1000).unwrap()), nth % 1000 + 1000);
        Made::started("runner.name=r").samples(3).text().replace("run=made", &format!("run={run:.4}"))
    };
    let text: String = (0..2000).map(|nth| of(nth * 10 % 26_000)).collect();
    let found = verdict(&text);
    assert_eq!(found.beside.len(), 7, "{found:#?}");
    let says = &found.because.last().unwrap().says;
    assert!(
        says.ends_with(
            " more runs of this name were there at the same time and are not looked at: give each runner its own"
        ),
        "{says}"
    );
}

/// In whatever a log of a terminal or of a collector wraps its lines, they are found.
#[test]
fn colours_and_json_are_no_part_of_lines() {
    let text = fixture("oom-cgroup");
    let plain = told(&verdict(&text));
    let each = |form: &dyn Fn(&str) -> String| text.lines().map(|line| form(line) + "\n").collect::<String>();
    for wrapped in [
        each(&|line| format!("\u{1b}[36m{line}\u{1b}[0m")),
        each(&|line| format!("\u{1b}[0;32m\u{1b}[1m{line}\u{1b}[0m\u{1b}[K")),
        each(&|line| format!("2026-11-24T18:42:53.1Z stdout F \u{1b}[36m{line}\u{1b}[0m")),
        each(&|line| serde_json::json!({ "level": "info", "message": line }).to_string()),
        each(&|line| serde_json::json!({ "log": format!("\u{1b}[36m{line}\u{1b}[0m\n"), "tag": "x" }).to_string()),
        each(&|line| serde_json::json!({ "MESSAGE": line, "_PID": "7" }).to_string()),
    ] {
        assert_eq!(told(&verdict(&wrapped)), plain, "{}", wrapped.lines().next().unwrap());
    }
}

/// What has the tag and was not taken is told with its place, and what a file is that cannot be read.
#[test]
fn what_was_passed_over_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let line = fixture("idle").lines().next().unwrap().to_owned();
    let said = serde_json::json!({ "said": line }).to_string();
    std::fs::write(dir.path().join("a.log"), format!("{}hello\nsaid {line}\n{said}\n{said}\n", fixture("idle")))
        .unwrap();
    std::fs::write(dir.path().join("b.log"), line.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>())
        .unwrap();
    std::fs::write(dir.path().join("c.log"), b"\xfd7zXZ\0...").unwrap();
    let (_, log, code) = printed(&[dir.path()]);
    assert_eq!(code, Code::Said);
    let at = fixture("idle").lines().count() + 2;
    let first = dir.path().join("a.log");
    for says in [
        format!(
            "3 lines were not taken: RUNNER_VITALS stands behind other text in them, as in what a job printed; the first is {}:{at}. ",
            first.display()
        ),
        "vitals-hub: 2 of them are JSON: a line is looked for in line, log, message, msg, MESSAGE, body, and has to begin there\n".to_owned(),
        format!("{}: it is UTF-16: make it UTF-8 first", dir.path().join("b.log").display()),
        format!("{}: compressed by xz: unpack it first\n", dir.path().join("c.log").display()),
    ] {
        assert!(log.contains(&says), "{says}: {log}");
    }
}
