//! Loki itself as a source: what a query finds there, page by page, the newest lines first.
//!
//! Newest first, for then a reading that fails half-way lacks beginnings and never an end, and a page is taken as a whole or not
//! at all, for the same reason. Pages overlap by the nanosecond at their edge, so that nothing of it is lost; what comes twice
//! is dropped by its run and number like any repeat. Asking and trying again is [`ask`]'s, what is asked [`question`]'s.
//!
//! Source: <https://grafana.com/docs/loki/latest/reference/loki-http-api/#query-logs-within-a-range-of-time>.

pub mod ask;
pub mod question;

use super::book::Book;
use super::loki_json::{self, Page, at_ns};
use ask::{Answered, Asker};

pub use ask::{Fault, LokiError, Settings};
pub use question::Question;

/// Lines that are asked for at once: as many as Loki gives, unless it is set otherwise.
const MOST_LINES: u64 = 5000;

/// With fewer a page could be of one nanosecond for no other reason.
const LEAST_LINES: u64 = 16;

/// A page this far below its bound in bytes can have more lines.
const ROOM: usize = 4;

/// Loki, and how it is asked.
#[derive(Debug)]
pub struct Loki {
    asker: Asker,
}

/// How a reading went.
#[derive(Debug, Default)]
pub struct Reading {
    /// Answers that were taken.
    pub pages: u64,
    /// Entries in them, those of the edges twice.
    pub entries: u64,
    /// Nanoseconds of which there may be more lines than Loki gives at once: those beyond are lost.
    pub crowded: u64,
    /// There is more, older, than was to be read.
    pub is_cut: bool,
    /// Why it ended before its time, and where: of what is older nothing was read.
    pub failure: Option<(LokiError, u64)>,
}

/// What is asked for next.
#[derive(Clone, Copy, Debug)]
struct Next {
    end_ns: u64,
    lines: u64,
    /// More than so many are not given.
    most_lines: u64,
}

impl Loki {
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// When a setting is wrong.
    pub fn new(settings: &Settings) -> Result<Self, LokiError> {
        Asker::new(settings).map(|asker| Self { asker })
    }

    /// Takes all lines that a query finds into the book. What a person should know while it goes on is told.
    ///
    /// To be called within tokio's runtime, with time and input and output enabled.
    pub async fn read(&mut self, question: &Question, book: &mut Book, tell: &mut dyn FnMut(&str)) -> Reading {
        self.read_pages(question, u64::MAX, book, tell).await
    }

    /// The same, the newest of them: no more than so many pages.
    pub async fn read_pages(
        &mut self,
        question: &Question,
        most_pages: u64,
        book: &mut Book,
        tell: &mut dyn FnMut(&str),
    ) -> Reading {
        let source = book.source(&self.asker.server());
        let mut reading = Reading::default();
        let mut next = Next { end_ns: question.to_ns, lines: MOST_LINES, most_lines: MOST_LINES };
        while next.end_ns > question.from_ns {
            if reading.pages >= most_pages {
                reading.is_cut = true;
                return reading;
            }
            let answered = self.asker.ask(&question.parameters(next.end_ns, next.lines), tell).await;
            let followed = answered.and_then(|answered| match answered {
                Answered::Page(body) => {
                    let page = loki_json::take(&body, source, book).map_err(|error| self.asker.garbled(&error))?;
                    reading.pages += 1;
                    reading.entries += page.entries;
                    self.behind(next, page, body.len(), &mut reading, tell)
                }
                Answered::TooLong => self.fewer(next, next.most_lines).map(Some),
                Answered::TooMany(Some(most)) if most < LEAST_LINES => Err(self.asker.too_few(most)),
                Answered::TooMany(Some(most)) if most < next.lines => {
                    Ok(Some(Next { lines: most, most_lines: most, ..next }))
                }
                Answered::TooMany(_) => self.fewer(next, next.lines / 2).map(Some),
            });
            match followed {
                Ok(Some(then)) => next = then,
                Ok(None) => return reading,
                Err(error) => {
                    reading.failure = Some((error, next.end_ns));
                    return reading;
                }
            }
        }
        reading
    }

    /// What is asked for behind a page; `None` when that was the last.
    fn behind(
        &self,
        next: Next,
        page: Page,
        bytes: usize,
        reading: &mut Reading,
        tell: &mut dyn FnMut(&str),
    ) -> Result<Option<Next>, LokiError> {
        let times = page.oldest_ns.zip(page.newest_ns);
        let Some((oldest, newest)) = times else {
            return if page.entries == 0 && !page.is_metric { Ok(None) } else { Err(self.asker.no_lines()) };
        };
        if page.entries < next.lines {
            return Ok(None);
        }
        // The rest of the oldest nanosecond comes with the next page.
        let mut end_ns = oldest.saturating_add(1);
        if oldest == newest {
            reading.crowded += 1;
            end_ns = oldest;
            tell(&format!(
                "{}: {} lines or more are of {} alone; Loki gives no more than that, and those beyond are LOST",
                self.asker.url(),
                page.entries,
                at_ns(oldest)
            ));
        }
        if end_ns >= next.end_ns {
            return Err(self.asker.outside());
        }
        let has_room = bytes < ask::MOST_PAGE_BYTES / ROOM;
        let lines = if has_room { (next.lines * 2).min(next.most_lines) } else { next.lines };
        Ok(Some(Next { end_ns, lines, ..next }))
    }

    /// The same with half the lines.
    fn fewer(&self, next: Next, most_lines: u64) -> Result<Next, LokiError> {
        if next.lines / 2 < LEAST_LINES {
            return Err(self.asker.too_long(next.lines));
        }
        Ok(Next { lines: next.lines / 2, most_lines, ..next })
    }
}
