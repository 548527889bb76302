//! What every page of the hub has: its head, its style, its foot, and where it may be written.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::hub::trail::Read;

use super::super::units::{count, harmless};
use super::markup::Markup;

pub(crate) const STYLE: &str = include_str!("page.css");

/// How a page begins.
pub(crate) const BEGIN: &str = "<!doctype html>\n";

/// Why there is no page.
#[derive(Debug)]
pub(crate) enum PageError {
    /// Stdin could not be kept for a second reading.
    Kept(io::Error),
    /// The page could not be written.
    Written(PathBuf, io::Error),
}

impl std::fmt::Display for PageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Kept(error) => write!(f, "--html: stdin could not be kept in a temporary file: {error}"),
            Self::Written(path, error) => write!(f, "--html {}: could not be written: {error}", path.display()),
        }
    }
}

/// Why no page is written there: it would go where the text goes, or something would be lost.
pub(crate) fn refusal(path: &Path) -> Option<String> {
    if path.as_os_str() == "-" {
        return Some("--html -: a page goes into a file, stdout has the text".to_owned());
    }
    let path_says = || harmless(path.to_string_lossy());
    (!may_be_replaced(path)).then(|| format!("--html {}: there is a file that is no page", path_says()))
}

/// Whether nothing is lost when a page is written there: there is none yet, an older one, or nothing that could be lost.
fn may_be_replaced(path: &Path) -> bool {
    let mut begin = Vec::new();
    match path.metadata() {
        Ok(meta) if meta.is_file() && meta.len() > 0 => {
            let read = File::open(path).and_then(|file| file.take(BEGIN.len() as u64).read_to_end(&mut begin));
            read.is_ok() && begin == BEGIN.as_bytes()
        }
        _ => true,
    }
}

/// The head of a page, its body open; `style` stands behind that of all pages.
pub(crate) fn head(page: &mut Markup, title: &str, style: &'static str, read: &Read) {
    page.tag(BEGIN);
    page.tag("<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.tag("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; ");
    page.tag("base-uri 'none'; form-action 'none'\">\n<meta name=\"referrer\" content=\"no-referrer\">\n");
    page.tag("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    page.tag("<meta name=\"color-scheme\" content=\"light dark\">\n<title>").text(title);
    page.tag("</title>\n<style>\n").tag(STYLE).tag(style).tag("</style>\n</head>\n<body>\n");
    if let Some(partial) = &read.partial {
        page.tag("<p><strong>Partial: ").text(partial).tag("</strong></p>\n");
    }
}

/// What the page is made of, by which command.
pub(crate) fn foot(page: &mut Markup, command: &'static str, read: &Read) {
    let counts = read.counts;
    page.tag("<footer>\n<p>Made by <code>vitals-hub ").tag(command).tag("</code> ");
    page.text(env!("CARGO_PKG_VERSION")).tag(" of ");
    page.text(&count(counts.ours, "line")).tag(" of vitals. Left out: ").number(counts.broken).tag(" broken, ");
    page.number(counts.overlong).tag(" too long; passed over: ").number(counts.passed_over);
    page.tag(" others. All times are the guest's clock, UTC.</p>\n</footer>\n</body>\n</html>\n");
}
