//! The page: whole, inert, the same for the same lines; and in a real browser.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use runner_vitals::hub::diagnose::text::Look;
use runner_vitals::hub::diagnose::{Code, Format, LokiArgs};
use runner_vitals::hub::fleet::{Args, run};

use crate::browser::Browser;
use crate::documents::{FILE, POOL};
use crate::simulator::Simulator;
use crate::skeleton::skeleton;
use crate::support::{NOON, Trail};

/// What closes every quote and element that a text could stand in.
const EVIL: &str = "</td></title></style>'<script>alert(1)</script><img src=x onerror=alert(2)>&lt;";

fn args(html: &Path, fleets: Option<&Path>) -> Args {
    Args {
        files: Vec::new(),
        loki: LokiArgs::default(),
        fleets: fleets.map(Path::to_path_buf),
        at: None,
        window: Duration::from_secs(86_400),
        long_ready: Duration::from_secs(3600),
        forgive: Duration::from_secs(21_600),
        format: Format::Text,
        html: Some(html.to_owned()),
    }
}

/// How it ended, and what went to stdout and to stderr.
fn told(args: &Args, input: &str) -> (Code, String, String) {
    let now = UNIX_EPOCH + Duration::from_millis(NOON as u64 + 86_400_000);
    let (mut out, mut log) = (Vec::new(), Vec::new());
    let code = run(args, input.as_bytes(), &mut out, &mut log, (now, Look::Plain));
    (code, String::from_utf8(out).unwrap(), String::from_utf8(log).unwrap())
}

fn page(input: &str, file: Option<&str>) -> String {
    let dir = tempfile::tempdir().unwrap();
    let (path, fleets) = (dir.path().join("page.html"), dir.path().join("fleets.toml"));
    let fleets = file.map(|text| {
        fs::write(&fleets, text).unwrap();
        fleets.as_path()
    });
    let (code, out, log) = told(&args(&path, fleets), input);
    assert_eq!((code, log.as_str()), (Code::Said, ""));
    assert!(!out.is_empty(), "the figures are told too");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1 + usize::from(file.is_some()), "nothing else is left");
    fs::read_to_string(path).unwrap()
}

/// A pool with a roll, bursts and deaths, and another fleet without any.
fn pools() -> String {
    let mut other = Trail::default();
    let who = "runner.name=q runner.fleet=quiet runner.env=prod boot.id=q";
    other.phase(&format!("{who} uptime.ms=5000"), 0, "warming").phase(&format!("{who} uptime.ms=9000"), 4000, "ready");
    Simulator::run(POOL).trail.text + &other.text
}

#[test]
fn a_page_has_every_figure_and_is_the_same_for_the_same_lines() {
    let page = page(&pools(), Some(FILE));
    skeleton(&page);
    assert_eq!(page, self::page(&pools(), Some(FILE)));
    assert!(page.contains("<title>2 fleets at 2026-"), "{page}");
    for heading in ["Members", "Over time", "Times", "Jobs", "Deaths", "Images", "With the fleet file"] {
        assert!(page.contains(&format!("<h3>{heading}</h3>")), "{heading}");
    }
    for says in [
        "claims found no ready member",
        "warm deficit</th><td>",
        "(now 5): ceil(",
        "W, warm-up, p95",
        "Roll </strong>to img-2",
    ] {
        assert!(page.contains(says), "{says}");
    }
    // Two drawings a fleet, and a bar in each row that has one.
    assert_eq!(page.matches("<figcaption>").count(), 4);
    assert!(page.matches("class=\"claims\"").count() > 20 && page.contains("class=\"unmet\""));
}

#[test]
fn what_stands_out_is_told_first() {
    let mut trail = Trail::default();
    let who = |name: &str| format!("runner.name={name} runner.fleet=f runner.env=prod boot.id={name}");
    trail.phase(&who("a"), 0, "ready").phase(&who("a"), 60_000, "claimed waited.ms=70000 waited.from=queued");
    let none = page(&trail.text, Some(FILE));
    assert!(none.contains("<header class=\"high\">") && none.contains(">no member is ready, and the target is 5</h2>"));
    assert!(none.contains("<li>cold starts: 1 of 1 jobs waited over 10 s (100.0 %)</li>"), "{none}");
    let mut calm = Trail::default();
    calm.phase(&who("a"), 0, "ready");
    let calm = page(&calm.text, None);
    assert!(calm.contains("<header class=\"calm\">") && calm.contains(">nothing stands out</h2>"), "{calm}");
}

#[test]
fn a_page_needs_nothing_from_elsewhere() {
    let page = page(&pools(), Some(FILE));
    for banned in ["http:", "https:", "//", "<script", "src=", "url(", "@import", "<link", "javascript:"] {
        assert!(!page.contains(banned), "{banned}");
    }
    assert!(page.contains("content=\"default-src 'none'; style-src 'unsafe-inline'; "));
}

/// Names, environments and images are a guest's.
fn named(text: &str) -> String {
    let mut trail = Trail::default();
    let who = format!(
        "runner.name=\"{text}\" runner.fleet=\"{text}\" runner.env=\"{text}\" runner.image=\"{text}\" boot.id=\"{text}\""
    );
    trail.phase(&who, 0, "ready").phase(&who, 60_000, "claimed").phase(&who, 90_000, "ended job.result=success");
    trail.phase("runner.name=b runner.fleet=b", 95_000, "ready");
    trail.text
}

#[test]
fn a_text_of_a_guest_is_text_on_the_page() {
    let hostile = page(&named(EVIL), None);
    assert_eq!(skeleton(&hostile), skeleton(&page(&named("x"), None)));
    assert!(hostile.contains("&lt;script&gt;alert(1)") && !hostile.contains("<script"));
}

#[test]
fn a_page_goes_over_nothing_but_a_page() {
    let dir = tempfile::tempdir().unwrap();
    let trail = dir.path().join("trail.log");
    fs::write(&trail, pools()).unwrap();
    let over = Args { files: vec![trail.clone()], ..args(&trail, None) };
    let (code, out, log) = told(&over, "");
    assert_eq!((code, out.as_str()), (Code::Setting, ""));
    assert!(log.contains("trail.log: there is a file that is no page"), "{log}");
    assert_eq!(fs::read_to_string(&trail).unwrap(), pools(), "it is as it was");
    let (code, _, log) = told(&args(Path::new("-"), None), &pools());
    assert_eq!(
        (code, log.as_str()),
        (Code::Setting, "vitals-hub: --html -: a page goes into a file, stdout has the text\n")
    );
    // An older page gives way; where none can be, that is told, and the figures are told all the same.
    let path = dir.path().join("page.html");
    for _ in 0..2 {
        assert_eq!(told(&args(&path, None), &pools()).0, Code::Said);
    }
    let (code, out, log) = told(&args(&dir.path().join("none/page.html"), None), &pools());
    assert!(code == Code::Unwritten && out.contains("prod f: ") && log.contains("could not be written"), "{log}");
}

#[test]
fn a_browser_draws_it_without_a_word_and_asks_for_nothing() {
    let Some(browser) = Browser::with(&page(&pools(), Some(FILE))) else { return };
    assert_eq!(browser.asked(), (vec![], vec![]));
    let dom = browser.dom();
    assert_eq!(dom.matches("<svg role=\"img\"").count(), 4);
    let elements = |dom: &str| dom.matches('<').count();
    let (hostile, plain) = (Browser::with(&page(&named(EVIL), None)), Browser::with(&page(&named("x"), None)));
    let (hostile, plain) = (hostile.unwrap(), plain.unwrap());
    assert_eq!(elements(&hostile.dom()), elements(&plain.dom()));
    assert_eq!(hostile.asked(), (vec![], vec![]));
}

#[test]
fn it_is_light_by_day_dark_by_night_and_can_be_printed() {
    let Some(browser) = Browser::with(&page(&pools(), Some(FILE))) else { return };
    // mojom PreferredColorScheme: 0 dark, 1 light.
    let corner = |scheme: u8| browser.corner(&format!("--blink-settings=preferredColorScheme={scheme}"));
    let (dark, light) = (corner(0), corner(1));
    assert!(light.iter().all(|part| *part > 240) && dark.iter().all(|part| *part < 60), "{light:?} {dark:?}");
    let path = browser.path("page.pdf");
    browser.open(&["--no-pdf-header-footer", &format!("--print-to-pdf={}", path.display())]);
    let pdf = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    let pages = pdf.matches("/Type /Page\n").count();
    assert!(pdf.starts_with("%PDF") && (2..=12).contains(&pages), "{pages} pages");
}

#[test]
fn no_lines_no_page() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("page.html");
    assert_eq!(
        run(&args(&path, None), io::empty(), &mut io::sink(), &mut io::sink(), (UNIX_EPOCH, Look::Plain)),
        Code::Unusable
    );
    assert!(!path.exists());
}
