//! A real browser: Debian's chromium, headless. Without it tests are skipped, loudly, and fail in CI.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const CHROMIUM: &str = "/usr/bin/chromium";

/// How long a browser may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A browser with a profile of its own, and a page.
pub(crate) struct Browser {
    dir: tempfile::TempDir,
    url: String,
}

impl Browser {
    /// `None` where there is no browser, which is told.
    pub(crate) fn with(html: &str) -> Option<Self> {
        let mut browser = Self::at("")?;
        let path = browser.path("page.html");
        std::fs::write(&path, html).unwrap();
        browser.url = format!("file://{}", path.display());
        Some(browser)
    }

    /// The page that a server of this machine has.
    pub(crate) fn at(url: &str) -> Option<Self> {
        if !Path::new(CHROMIUM).exists() {
            crate::skip::skipped(
                "the page in a browser",
                &format!("{CHROMIUM} is not there: apt-get install chromium"),
            );
            return None;
        }
        Some(Self { dir: tempfile::tempdir().unwrap(), url: url.to_owned() })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Opens the page and gives what the browser wrote on stdout and stderr.
    pub(crate) fn open(&self, what: &[&str]) -> (String, String) {
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
            .args(["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--enable-logging=stderr"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args(what)
            .arg(&self.url)
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
    pub(crate) fn dom(&self) -> String {
        self.open(&["--dump-dom"]).0
    }

    /// The colour of its upper left corner.
    pub(crate) fn corner(&self, how: &str) -> [u8; 3] {
        let path = self.path("page.png");
        self.open(&[how, "--window-size=1200,1600", &format!("--screenshot={}", path.display())]);
        first_pixel(&std::fs::read(path).unwrap())
    }

    /// What the page itself asked of the network or of other files, and what the browser's console said.
    pub(crate) fn asked(&self) -> (Vec<String>, Vec<String>) {
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
