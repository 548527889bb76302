//! The page: whole, inert and the same for the same trail; tests of what a browser makes of it are in `chromium`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use runner_vitals::hub::diagnose::text::Look;
use runner_vitals::hub::diagnose::{Args, Code, Format, LokiArgs, run};

use crate::made::Made;
use crate::skeleton::skeleton;
use crate::support::{fixture, folder, later, verdict};
use crate::trails::TRAILS;

/// The page on what a text holds, as it is given on stdin.
pub(crate) fn page(input: &str) -> String {
    page_with(input, false)
}

fn page_with(input: &str, all: bool) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("page.html");
    let args = Args { html: Some(path.clone()), all, ..args(&[]) };
    let (mut out, mut log) = (Vec::new(), Vec::new());
    let code = run(&args, later(), input.as_bytes(), &mut out, &mut log, Look::Plain);
    assert_eq!(code, Code::Said, "{}", String::from_utf8_lossy(&log));
    assert!(!out.is_empty(), "the verdict is told too");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
    std::fs::read_to_string(path).unwrap()
}

fn args(files: &[&Path]) -> Args {
    let files = files.iter().map(|path| path.to_path_buf()).collect();
    Args { files, loki: LokiArgs::default(), runner: None, all: false, format: Format::Text, html: None }
}

#[test]
fn every_captured_trail_has_a_whole_page() {
    for (name, cause, _) in TRAILS {
        let text = fixture(name);
        let page = page(&text);
        let verdict = verdict(&text);
        skeleton(&page);
        let about = cause.about().replace('\'', "&#39;");
        assert!(page.contains(&format!(">{about}</h2>")) && page.contains(cause.name()), "{name}");
        assert!(page.contains(&format!("<strong>{} confidence</strong>", verdict.confidence.name())), "{name}");
        assert_eq!(
            page.matches("<figcaption>").count(),
            6 + usize::from(page.contains("<figcaption>Events")),
            "{name}"
        );
        let labels = page.matches("class=\"beside curve").count();
        assert_eq!(page.matches("class=\"curve").count(), labels, "{name}: each curve has its label");
        assert_eq!(page.matches("class=\"death\"").count(), page.matches("<svg").count(), "{name}");
        for said in &verdict.because {
            for line in &said.lines {
                assert!(page.contains(&format!("href=\"#line-1-{}\"", line.seq)), "{name}: {said:?}");
                assert!(page.contains(&format!("id=\"line-1-{}\"", line.seq)), "{name}: {said:?}");
            }
        }
        assert_eq!(page, self::page(&text), "{name}: the same bytes");
    }
}

/// Its probe found kills of earlier runs in the kernel's ring.
#[test]
fn what_the_kernel_said_before_the_run_is_not_marked() {
    let text = fixture("thrash-high");
    assert!(text.contains("event=kmsg.oom old=1") && text.contains("event=kmsg.oom scope"));
    assert!(!page(&text).contains(">oom</text>"));
    assert!(page(&fixture("oom-cgroup")).contains(">oom</text>"));
}

#[test]
fn a_page_needs_nothing_from_elsewhere() {
    let page = page(&fixture("oom-cgroup"));
    for banned in ["http:", "https:", "//", "<script", "src=", "url(", "@import", "<link", "javascript:"] {
        assert!(!page.contains(banned), "{banned}");
    }
    assert!(
        page.contains("content=\"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\"")
    );
}

/// What the lines hold stands in the page, from files as from a pipe.
#[test]
fn a_file_is_read_once_more_as_a_pipe_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("page.html");
    let file = folder().join("thrash-high.log");
    let args = Args { html: Some(path.clone()), ..args(&[&file]) };
    assert_eq!(run(&args, later(), io::empty(), &mut io::sink(), &mut io::sink(), Look::Plain), Code::Said);
    let of_file = std::fs::read_to_string(&path).unwrap();
    let of_pipe = page(&fixture("thrash-high"));
    let named = of_file.replace(&file.display().to_string(), "stdin").replace(">thrash-high<", ">stdin<");
    assert_eq!(named.replace("<title>thrash-high", "<title>stdin"), of_pipe);
}

#[test]
fn a_page_that_cannot_be_written_is_told_and_the_verdict_too() {
    let dir = tempfile::tempdir().unwrap();
    let file = folder().join("idle.log");
    for path in [dir.path().join("none/page.html"), dir.path().to_owned()] {
        let args = Args { html: Some(path.clone()), ..args(&[&file]) };
        let (mut out, mut log) = (Vec::new(), Vec::new());
        let code = run(&args, later(), io::empty(), &mut out, &mut log, Look::Plain);
        assert_eq!(u8::from(code), 74);
        let log = String::from_utf8(log).unwrap();
        assert!(log.contains(&format!("--html {}: could not be written: ", path.display())), "{log}");
        assert!(String::from_utf8(out).unwrap().starts_with("idle: stopped"));
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_page_takes_the_place_of_a_page_and_of_no_trail() {
    let dir = tempfile::tempdir().unwrap();
    let trail = dir.path().join("idle.log");
    std::fs::write(&trail, fixture("idle")).unwrap();
    let run = |path: &Path| {
        let args = Args { html: Some(path.to_owned()), ..args(&[&trail]) };
        let mut log = Vec::new();
        let code = run(&args, later(), io::empty(), &mut io::sink(), &mut log, Look::Plain);
        (u8::from(code), String::from_utf8(log).unwrap())
    };
    let told = format!("vitals-hub: --html {}: there is a file that is no page\n", trail.display());
    assert_eq!(run(&trail), (78, told));
    assert_eq!(std::fs::read_to_string(&trail).unwrap(), fixture("idle"));
    let page = dir.path().join("page.html");
    std::fs::write(&page, "").unwrap();
    for _ in 0..2 {
        assert_eq!(run(&page), (0, String::new()));
    }
}

/// Cuts a file short as soon as the verdict on it is told.
struct Cutting(PathBuf);

impl Write for Cutting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = std::fs::read_to_string(&self.0)?;
        let half: Vec<&str> = text.lines().take(10).collect();
        std::fs::write(&self.0, half.join("\n"))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn that_the_input_changed_in_between_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (file, path) = (dir.path().join("trail.log"), dir.path().join("page.html"));
    std::fs::write(&file, fixture("oom-guest")).unwrap();
    let args = Args { html: Some(path.clone()), ..args(&[&file]) };
    assert_eq!(run(&args, later(), io::empty(), &mut Cutting(file.clone()), &mut io::sink(), Look::Plain), Code::Said);
    let page = std::fs::read_to_string(path).unwrap();
    assert!(page.contains("The input had changed when it was read again for this page: 10 lines were there then."));
}

#[test]
fn a_reader_that_has_enough_of_the_text_takes_nothing_from_the_page() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("page.html");
    let args = Args { html: Some(path.clone()), ..args(&[]) };
    let text = many(2);
    assert_eq!(run(&args, later(), text.as_bytes(), &mut Closed, &mut io::sink(), Look::Plain), Code::Said);
    assert!(std::fs::read_to_string(path).unwrap().contains("<h1>2 runners</h1>"));
}

/// The readings of a day, one of them out of line.
#[test]
fn a_long_trail_keeps_its_extremes() {
    let made = Made::started("").samples(9000).with("cpu.busy.pct", "98.7").sample().with("cpu.busy.pct", "35.0");
    let page = page(made.samples(8279).text());
    assert!(
        page.contains("The last ten minutes")
            && page.contains("The whole run, 24 h 0 min")
            && !page.contains("not drawn"),
        "both"
    );
    assert!(page.contains("busy: lowest 35.0 %, highest 98.7 %, last 35.0 %"), "in the whole run");
    assert!(page.contains("busy: lowest 35.0 %, highest 35.0 %, last 35.0 %"), "not in its end");
    assert!(page.contains("40 of the 17281 lines of run"), "said, and not silently cut");
    assert!(page.len() < 1 << 20, "{}", page.len());
}

#[test]
fn what_is_not_told_is_said_and_not_drawn() {
    let contract = "vm.mem.total.kb=8000000 vm.mem.avail.kb=6000000 mem.current= mem.peak= mem.max= mem.swap= oom= oom_kill= cpu.busy.pct=10.0 cpu.psi.some.avg10= mem.psi.some.avg10= mem.psi.full.avg10= io.psi.some.avg10= load1=0.10 load5=0.10 load15=0.10 late.ms=1.0";
    let line = |nth: u32| format!("RUNNER_VITALS ts=2026-06-04T12:00:{nth:02}.000Z run=made seq={nth} {contract}\n");
    let page = page(&(1..40).map(line).collect::<String>());
    for said in [
        "not told: this guest has no pressure readings",
        "room: not told",
        "throttling: not told",
        "stolen by the host: nothing told",
        "the agent&#39;s wait: not told",
        "not told: mem.current is not there",
    ] {
        assert!(page.contains(said), "{said}");
    }
    assert_eq!(page.matches("<svg").count(), 3, "guest memory, CPU, and how late the probe was");
    assert!(page.contains("Events: none."));
}

#[test]
fn a_run_without_a_clock_is_drawn_by_its_lines() {
    let page = page(&Made::started("").samples(30).text().replace("ts=2", "ts= was=2"));
    assert!(page.contains("By its lines") && page.contains("highest"), "{page}");
    skeleton(&page);
    // One whose clock was set by decades while it ran.
    let text = fixture("idle").replacen("ts=2026", "ts=1970", 5);
    skeleton(&self::page(&text));
}

fn many(count: u64) -> String {
    let one = |nth: u64| {
        let made = Made::started("").wait(nth * 1000).samples(3);
        made.text().replace("run=made", &format!("run=m{nth:03} runner.name=r-{nth:03}"))
    };
    (0..count).map(one).collect()
}

#[test]
fn of_many_runners_the_latest_have_a_section() {
    let page = page(&many(30));
    skeleton(&page);
    assert_eq!(page.matches("<section class=\"runner").count(), 12);
    assert_eq!(page.matches("href=\"#runner-").count(), 12);
    assert!(
        page.contains("<h1>30 runners</h1>")
            && page.contains("The 12 whose last lines are the latest have a section each below.")
    );
    assert!(page.contains("<p class=\"name\">r-018</p>") && page.contains("<p class=\"name\">r-029</p>"));
    assert!(!page.contains("<p class=\"name\">r-017</p>"));
    let few = self::page(&many(2));
    assert_eq!(few.matches("<section class=\"runner").count(), 2);
    assert!(!few.contains("have a section each below"));
}

#[test]
fn all_is_a_table_with_totals() {
    let page = page_with(&many(30), true);
    skeleton(&page);
    assert!(!page.contains("<svg") && !page.contains("class=\"runner\""));
    assert_eq!(page.matches("<tr>").count(), 30 + 1 + 2, "a row each, and the heads and totals");
    assert!(page.contains("<td class=\"figure\">30</td>"));
}

/// As the line quotes a value.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if u32::from(c) < 0x80 && c.is_control() => quoted += &format!("\\u{:04x}", u32::from(c)),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// A trail with this in every text that one can hold.
fn told(text: &str) -> String {
    let value = quoted(text);
    let made = Made::started(&format!(
        "runner.name={value} runner.fleet={value} mem.level={value} cgroup.path={value} psi={value}"
    ));
    made.samples(3)
        .with("disk.path", &value)
        .with("disk.used.pct", "100.0")
        .with("disk.avail.kb", 0)
        .samples(2)
        .event("kmsg.oom", &format!("scope=cgroup victim.comm={value} cgroup={value} kts=90 msg={value}"))
        .event("agent", &format!("role=agent state=vanished pid=1 comm={value}"))
        .event("kmsg.lockup", &format!("comm={value} kts=91 msg={value}"))
        .event("disk", &format!("path={value} used.pct=100.0"))
        .event("degraded", &format!("what={} error={value}", quoted(&format!("sink.http {text}"))))
        .event("phase", &format!("phase={value}"))
        .text()
        .to_owned()
}

#[test]
fn markup_in_a_trail_is_text_in_the_page() {
    let plain = skeleton(&page(&told("x")));
    for evil in [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' onmouseover='alert(1)",
        "</title></style></svg><svg onload=alert(1)>",
        "&lt;script&gt;&#60;b&#62;",
        "<!--",
        "]]><![CDATA[",
        "\u{202e}\u{1b}[2J\u{0}<",
        "javascript:alert(1)",
    ] {
        let html = page(&told(evil));
        assert_eq!(skeleton(&html), plain, "{evil}");
        assert!(!html.contains(|c: char| c.is_control() && c != '\n'), "{evil}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn no_text_of_a_trail_makes_an_element(text in "\\PC{0,20}[<>&\"'=/! -]{1,12}\\PC{1,20}") {
        prop_assert_eq!(skeleton(&page(&told(&text))), skeleton(&page(&told("x"))));
    }

    #[test]
    fn any_trail_has_a_page(text in crate::hostile::wild()) {
        let line = "RUNNER_VITALS ts= run=wild seq=77\n";
        skeleton(&page(&(text + line)));
    }
}
