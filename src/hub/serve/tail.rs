//! `--tail-loki`: what Pod logs bring to Loki, read every few seconds, makes members too.
//!
//! A reading overlaps the one before, for lines come to Loki late; what comes twice, also by a request, is counted once. What one
//! reading takes is bounded: the newest lines, so that it is not the present that is lost.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::hub::credentials::Credentials;
use crate::hub::trail::Book;
use crate::hub::trail::loki::question::since_1970_ns;
use crate::hub::trail::loki::{self, Fault, Loki, LokiError, Question, Reading};
use crate::net::client::Matcher;
use crate::url::Url;

use super::Hub;

/// How often Loki is asked.
const EVERY: Duration = Duration::from_secs(5);

/// How late a line may come to Loki.
const LATE: Duration = Duration::from_secs(15);

/// Loki takes entries that are so far ahead of its clock.
const AHEAD: Duration = Duration::from_secs(600);

/// How far back the first reading goes, for events alone.
const FIRST: Duration = Duration::from_hours(6);

/// Where none was for so long, no more is read of what came meanwhile than of so long.
const MOST: Duration = Duration::from_mins(15);

/// Pages of one reading, 5,000 lines each at most.
const PAGES: u64 = 4;

/// How long an answer may take.
const WITHIN: Duration = Duration::from_secs(20);

/// Which Loki is asked for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Loki.
    pub url: Url,
    /// A log query for the lines of runners.
    pub query: String,
    /// `X-Scope-OrgID`.
    pub tenant: Option<String>,
    /// Who asks.
    pub credentials: Option<Credentials>,
}

impl Settings {
    /// As what asks has it.
    #[must_use]
    pub fn asking(&self, ca_file: Option<PathBuf>) -> loki::Settings {
        loki::Settings {
            url: self.url.clone(),
            tenant: self.tenant.clone(),
            credentials: self.credentials.clone(),
            ca_file,
            proxies: Matcher::from_env(),
            within: WITHIN,
        }
    }
}

/// Reads until `stopped` says so, also in the middle of a reading; `settings` are those of `loki`.
pub async fn run(
    mut loki: Loki,
    settings: loki::Settings,
    query: String,
    hub: Arc<Hub>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut read_until: Option<SystemTime> = None;
    let mut told_of: Option<String> = None;
    loop {
        let now = SystemTime::now();
        let (question, of) = (question(&query, read_until, now), Arc::clone(&hub));
        let ends = stopped.clone();
        let asked = question.query.clone();
        let reading = once(loki, &settings, &hub, &asked, move |loki| take(loki, &question, &of, ends));
        let Some((next, failure)) = reading.await else { return };
        loki = next;
        match &failure {
            None => read_until = Some(now),
            Some(error) if told_of != failure => tracing::error!(error, "the latest lines cannot be read"),
            Some(_) => {}
        }
        if told_of.is_some() && failure.is_none() {
            tracing::info!("the latest lines can be read again");
        }
        told_of = failure;
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = told(&mut stopped) => return,
        }
    }
}

/// One reading, on a thread that may wait: what asks the next time, and why it failed where it did. `None` where the program ends.
async fn once(
    loki: Loki,
    settings: &loki::Settings,
    hub: &Hub,
    asked: &str,
    take: impl FnOnce(Loki) -> Option<(Loki, Reading)> + Send + 'static,
) -> Option<(Loki, Option<String>)> {
    match tokio::task::spawn_blocking(move || take(loki)).await {
        Ok(None) => None,
        Ok(Some((loki, reading))) => {
            hub.metrics.tail(result(&reading));
            Some((loki, reading.failure.map(|(error, _)| of_setting(&error, asked))))
        }
        Err(bug) if bug.is_panic() => {
            hub.fleets.tail_failed("a bug in the hub", SystemTime::now());
            hub.metrics.tail("failed");
            Some((anew(settings).await, Some(bug.to_string())))
        }
        Err(_) => None,
    }
}

/// Another that asks, where the last one was lost.
async fn anew(settings: &loki::Settings) -> Loki {
    loop {
        match Loki::new(settings) {
            Ok(loki) => return loki,
            Err(error) => tracing::error!(%error, "the latest lines cannot be read"),
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Waits until it is told to end, or nobody can tell any more.
async fn told(stopped: &mut watch::Receiver<bool>) {
    // Either is an end.
    let _ = stopped.wait_for(|is_stopped| *is_stopped).await;
}

/// Reads, and takes what was read: a book stays on its thread, and lines are many. `None` where it was told to end meanwhile: a runtime
/// that shuts down lets nobody wait for a time.
fn take(mut loki: Loki, question: &Question, hub: &Hub, mut stopped: watch::Receiver<bool>) -> Option<(Loki, Reading)> {
    let mut book = Book::of_tail();
    let mut tell = |says: &str| tracing::debug!("{says}");
    let reading = Handle::current().block_on(async {
        tokio::select! {
            reading = loki.read_pages(question, PAGES, &mut book, &mut tell) => Some(reading),
            () = told(&mut stopped) => None,
        }
    })?;
    match &reading.failure {
        None => hub.fleets.tail_read(SystemTime::now()),
        Some((error, _)) => hub.fleets.tail_failed(plainly(error.fault), SystemTime::now()),
    }
    hub.fleets.take_tail(&book.into_tail(), SystemTime::now());
    Some((loki, reading))
}

/// An error with the setting that it is of: the query as it was sent, which can have a filter more than what was set.
fn of_setting(error: &LokiError, asked: &str) -> String {
    match error.fault {
        Fault::Query => format!("--tail-query, asked as {asked}: {error}"),
        Fault::Setting | Fault::Unavailable => format!("--tail-loki {error}"),
    }
}

/// The same on a page, which is shown to more than read the log: neither who was asked nor what was answered.
fn plainly(fault: Fault) -> &'static str {
    match fault {
        Fault::Query => "Loki refuses what --tail-query asks",
        Fault::Setting => "what stands at --tail-loki does not answer as Loki, or does not let the hub in",
        Fault::Unavailable => "Loki does not answer at --tail-loki",
    }
}

/// What is asked at `now` where everything was read up to a time.
fn question(query: &str, read_until: Option<SystemTime>, now: SystemTime) -> Question {
    let back = |from: SystemTime, by: Duration| from.checked_sub(by).unwrap_or(SystemTime::UNIX_EPOCH);
    let (query, from) = match read_until {
        None => (format!("{query} |= `event=`"), back(now, FIRST)),
        Some(until) => (query.to_owned(), back(until, LATE).max(back(now, MOST))),
    };
    let to = now.checked_add(AHEAD).unwrap_or(now);
    Question { query, from_ns: since_1970_ns(from), to_ns: since_1970_ns(to) }
}

fn result(reading: &Reading) -> &'static str {
    match reading {
        Reading { failure: Some(_), .. } => "failed",
        Reading { is_cut: true, .. } => "cut",
        _ => "read",
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use clap::{Args as _, Command, FromArgMatches as _};

    use super::super::config::{Args, Config};
    use super::super::metrics::Now;
    use super::super::start;
    use super::*;
    use crate::hub::serve::reload::Files;

    /// A hub without guests.
    async fn hub() -> Arc<Hub> {
        let command = Args::augment_args(Command::new("serve").no_binary_name(true));
        let args = Args::from_arg_matches(&command.try_get_matches_from(["--auth", "none"]).unwrap()).unwrap();
        start::hub(&Config::new(args).unwrap(), &mut Files::default()).await.unwrap().0
    }

    /// Who asks a server that takes connections and says nothing.
    fn asking(listener: &TcpListener) -> loki::Settings {
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let settings = Settings { url, query: String::new(), tenant: None, credentials: None };
        settings.asking(None)
    }

    fn failed(hub: &Hub) -> bool {
        let now = Now { runners: hub.runners.by_fleet(Duration::ZERO), held_bytes: 0, uptime: Duration::ZERO };
        hub.metrics.text(&now).contains("vitals_hub_tail_reads_total{result=\"failed\"} 1\n")
    }

    #[tokio::test]
    async fn a_bug_in_a_reading_is_told_and_lines_are_read_again() {
        let (hub, listener) = (hub().await, TcpListener::bind("127.0.0.1:0").unwrap());
        let settings = asking(&listener);
        let loki = Loki::new(&settings).unwrap();
        let (loki, failure) = once(loki, &settings, &hub, "", |_| panic!("one of the tail")).await.unwrap();
        assert!(failure.unwrap().contains("one of the tail"));
        assert!(failed(&hub) && hub.fleets.is_deaf(), "whom no line comes from is not taken to be silent");
        let of = Arc::clone(&hub);
        let well = move |loki| {
            of.fleets.tail_read(SystemTime::now());
            Some((loki, Reading::default()))
        };
        let (_, failure) = once(loki, &settings, &hub, "", well).await.unwrap();
        assert!(failure.is_none() && !hub.fleets.is_deaf());
    }

    #[tokio::test]
    async fn an_answer_that_does_not_come_ends_the_reading() {
        let (hub, listener) = (hub().await, TcpListener::bind("127.0.0.1:0").unwrap());
        assert_eq!(asking(&listener).within, Duration::from_secs(20));
        let settings = loki::Settings { within: Duration::from_millis(20), ..asking(&listener) };
        let (question, of) = (question("{a=\"b\"}", None, SystemTime::now()), Arc::clone(&hub));
        let loki = Loki::new(&settings).unwrap();
        let (_told, stopped) = watch::channel(false);
        let (_, failure) =
            once(loki, &settings, &hub, "", move |loki| take(loki, &question, &of, stopped)).await.unwrap();
        let failure = failure.unwrap();
        assert!(failure.starts_with("--tail-loki http") && failure.contains("no answer in time"), "{failure}");
        assert!(failed(&hub) && hub.fleets.is_deaf());
    }

    #[tokio::test]
    async fn who_waits_for_an_answer_is_told_to_end() {
        let (hub, listener) = (hub().await, TcpListener::bind("127.0.0.1:0").unwrap());
        let (settings, (tell, stopped)) = (asking(&listener), watch::channel(false));
        let loki = Loki::new(&settings).unwrap();
        let reading = tokio::spawn(run(loki, settings, "{a=\"b\"}".to_owned(), Arc::clone(&hub), stopped));
        let asked = tokio::task::spawn_blocking(move || listener.accept().unwrap()).await.unwrap();
        tell.send(true).unwrap();
        tokio::time::timeout(WITHIN / 2, reading).await.expect("an end before the answer").unwrap();
        assert!(!failed(&hub) && !hub.fleets.is_deaf());
        drop(asked);
    }

    #[test]
    fn a_reading_begins_before_the_end_of_the_last() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let span = |until: Option<u64>| {
            let asked = question("{a=\"b\"}", until.map(at), at(100_000));
            (asked.query, asked.from_ns / 1_000_000_000, asked.to_ns / 1_000_000_000)
        };
        let all = || "{a=\"b\"}".to_owned();
        assert_eq!(span(None), (format!("{} |= `event=`", all()), 100_000 - 6 * 3600, 100_600));
        assert_eq!(span(Some(99_995)), (all(), 99_980, 100_600));
        assert_eq!(span(Some(5)), (all(), 100_000 - 900, 100_600), "a long outage is not made up for");
    }
}
