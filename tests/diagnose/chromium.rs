//! The page in a real browser: Debian's chromium, headless. Without it these tests are skipped, loudly, and fail in CI.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::hostile::EVIL;
use crate::made::Made;
use crate::page::page;
use crate::support::fixture;

const CHROMIUM: &str = "/usr/bin/chromium";

/// How long a browser may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A browser with a profile of its own, and a page in a file.
struct Browser {
    dir: tempfile::TempDir,
}

impl Browser {
    /// `None` where there is no browser, which is told.
    fn with(html: &str) -> Option<Self> {
        if !Path::new(CHROMIUM).exists() {
            assert!(
                std::env::var_os("CI").is_none_or(|ci| ci != "true"),
                "{CHROMIUM} is not there: apt-get install chromium"
            );
            eprintln!("SKIPPED: the page in a browser: {CHROMIUM} is not there");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("page.html"), html).unwrap();
        Some(Self { dir })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Opens the page and gives what the browser wrote on stdout and stderr.
    fn open(&self, what: &[&str]) -> (String, String) {
        let profile = tempfile::tempdir().unwrap();
        let (out, err) = (self.path("out"), self.path("err"));
        let mut child = Command::new(CHROMIUM)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--hide-scrollbars",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--disable-dev-shm-usage",
            ])
            // What it would ask for itself gets no answer either.
            .args(["--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args(what)
            .arg(format!("file://{}", self.path("page.html").display()))
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(&out).unwrap())
            .stderr(std::fs::File::create(&err).unwrap())
            .spawn()
            .unwrap();
        let since = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if since.elapsed() > PATIENCE {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("the browser took over {PATIENCE:?}: {}", std::fs::read_to_string(err).unwrap());
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        let text = |path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
        assert!(status.success(), "{status}: {}", text(&err));
        (text(&out), text(&err))
    }

    /// The page as the browser understood it.
    fn dom(&self) -> String {
        self.open(&["--dump-dom"]).0
    }

    /// The colour of its upper left corner.
    fn corner(&self, how: &str) -> [u8; 3] {
        let path = self.path("page.png");
        self.open(&[how, "--window-size=1200,1600", &format!("--screenshot={}", path.display())]);
        first_pixel(&std::fs::read(path).unwrap())
    }

    /// What the page itself asked of the network or of other files, and what the browser's console said.
    fn asked(&self) -> (Vec<String>, Vec<String>) {
        let log = self.path("net.json");
        let (_, err) = self.open(&[&format!("--log-net-log={}", log.display()), "--dump-dom"]);
        let log: Value = serde_json::from_slice(&std::fs::read(log).unwrap()).unwrap();
        let events = log["events"].as_array().unwrap();
        // What the browser asks for its own ends has no origin.
        let by_page =
            events.iter().filter(|event| event["params"]["initiator"].as_str().is_some_and(|by| by != "not an origin"));
        let asked = by_page.map(|event| event["params"]["url"].as_str().unwrap_or("?").to_owned()).collect();
        (asked, err.lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned).collect())
    }
}

/// Of a PNG of eight bits a sample: its first scan line begins with the filter's number, and whichever that is, the first pixel
/// stands there as it is. Source: <https://www.w3.org/TR/png-3/#9Filters>.
fn first_pixel(png: &[u8]) -> [u8; 3] {
    let (mut at, mut packed) = (8, Vec::new());
    while at < png.len() {
        let len = usize::try_from(u32::from_be_bytes(png[at..at + 4].try_into().unwrap())).unwrap();
        if &png[at + 4..at + 8] == b"IDAT" {
            packed.extend_from_slice(&png[at + 8..at + 8 + len]);
        }
        at += 12 + len;
    }
    let mut line = [0; 4];
    flate2::read::ZlibDecoder::new(packed.as_slice()).read_exact(&mut line).unwrap();
    [line[1], line[2], line[3]]
}

#[test]
fn a_page_loads_without_a_word_and_asks_for_nothing() {
    let Some(browser) = Browser::with(&page(&fixture("oom-cgroup"))) else { return };
    assert_eq!(browser.asked(), (vec![], vec![]));
    // That a page which does would be seen.
    let bad = "<!doctype html><img src=\"http://127.0.0.1:9/x.png\"><script>console.error('no')</script>";
    let (asked, said) = Browser::with(bad).unwrap().asked();
    assert_eq!((asked.as_slice(), said.len()), (&["http://127.0.0.1:9/x.png".to_owned()][..], 1), "{said:?}");
    // And that the policy holds, whatever got into a page.
    let policy = page(&fixture("idle"));
    let forced =
        policy.replace("<body>", "<body><img src=\"http://127.0.0.1:9/x.png\"><script>document.title='owned'</script>");
    let forced = Browser::with(&forced).unwrap();
    let (asked, said) = forced.asked();
    assert!(asked.is_empty() && said.len() >= 2, "{asked:?} {said:?}");
    assert!(forced.dom().contains("<title>stdin: stopped</title>"));
}

#[test]
fn every_chart_is_drawn() {
    for name in ["cpu-quota", "cpu-starve", "disk-full", "oom-cgroup", "page-cache", "power-cut", "thrash-high"] {
        let Some(browser) = Browser::with(&page(&fixture(name))) else { return };
        let dom = browser.dom();
        let charts: Vec<&str> = dom.split("<svg").skip(1).map(|svg| svg.split("</svg>").next().unwrap()).collect();
        assert!(charts.len() >= 6, "{name}: {}", charts.len());
        for chart in charts.iter().filter(|chart| !chart.contains(">Events</title>")) {
            let drawn = chart.split("<path class=\"curve ").skip(1);
            let spots: Vec<usize> =
                drawn.map(|path| path.split("\"></path>").next().unwrap().matches(',').count()).collect();
            // Every second is the mark of a label.
            assert!(spots.iter().any(|spots| *spots >= 4), "{name}: {chart}");
        }
    }
}

#[test]
fn markup_in_a_trail_makes_no_element_in_a_browser() {
    let trail = |text: &str| {
        let made =
            Made::started(&format!("runner.name=\"{text}\" runner.fleet=\"{text}\" mem.level=\"{text}\"")).samples(3);
        let made = made.with("disk.path", format!("\"{text}\"")).samples(2);
        made.event("kmsg.oom", &format!("scope=cgroup victim.comm=\"{text}\" cgroup=\"{text}\" kts=80 msg=\"{text}\""))
            .text()
            .to_owned()
    };
    let Some(browser) = Browser::with(&page(&trail(EVIL))) else { return };
    let elements = |dom: &str| dom.matches('<').count();
    let dom = browser.dom();
    let plain = Browser::with(&page(&trail("x"))).unwrap().dom();
    assert_eq!(elements(&dom), elements(&plain));
    assert!(!dom.contains("<script") && dom.contains("&lt;script&gt;alert(1)"), "it is there as text");
    assert_eq!(browser.asked(), (vec![], vec![]));
}

#[test]
fn a_page_is_light_by_day_and_dark_by_night() {
    let Some(browser) = Browser::with(&page(&fixture("oom-cgroup"))) else { return };
    // mojom PreferredColorScheme: 0 dark, 1 light.
    let (dark, light) = (
        browser.corner("--blink-settings=preferredColorScheme=0"),
        browser.corner("--blink-settings=preferredColorScheme=1"),
    );
    assert!(light.iter().all(|part| *part > 240) && dark.iter().all(|part| *part < 60), "{light:?} {dark:?}");
}

#[test]
fn a_page_is_printed() {
    let Some(browser) = Browser::with(&page(&fixture("oom-cgroup"))) else { return };
    let path = browser.path("page.pdf");
    browser.open(&["--no-pdf-header-footer", &format!("--print-to-pdf={}", path.display())]);
    let pdf = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    let pages = pdf.matches("/Type /Page\n").count();
    assert!(pdf.starts_with("%PDF") && (2..=12).contains(&pages), "{pages} pages");
}
