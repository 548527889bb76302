//! Loki as a source: pages without loss, and every way to fail with its own code.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use runner_vitals::hub::diagnose::cause::Cause;
use runner_vitals::hub::diagnose::text::Look;
use runner_vitals::hub::diagnose::verdict::judge;
use runner_vitals::hub::diagnose::{Args, Code, Format, LokiArgs, run};
use runner_vitals::hub::named::NamedFile;
use runner_vitals::hub::serve::out::loki::Credentials;
use runner_vitals::hub::trail::Book;
use runner_vitals::hub::trail::loki::question::since_1970_ns;
use runner_vitals::hub::trail::loki::{Fault, Loki, Question, Reading, Settings};
use runner_vitals::net::client::Matcher;
use runner_vitals::url::Url;
use serde_json::Value;

use crate::made::Made;
use crate::stand_in::{Entry, Instead, StandIn};
use crate::support::{fixture, later, over, verdict};

/// 2026-06-04T12:00:00Z.
const BEGAN_NS: u64 = 1_780_574_400_000_000_000;

/// Lines as a collector stores them, so many of them in each nanosecond.
fn entries(pod: &str, text: &str, in_each_ns: u64) -> Vec<Entry> {
    let at = |nth: usize| BEGAN_NS + nth as u64 / in_each_ns * 1_000_003;
    text.lines().enumerate().map(|(nth, line)| (at(nth), pod.to_owned(), line.to_owned())).collect()
}

/// Everything of the day of [`BEGAN_NS`].
fn question(query: &str) -> Question {
    Question { query: query.to_owned(), from_ns: BEGAN_NS - 1_000_000_000, to_ns: BEGAN_NS + 86_400_000_000_000 }
}

fn settings(loki: &StandIn) -> Settings {
    Settings {
        url: Url::parse(&loki.server.url).unwrap(),
        tenant: None,
        credentials: None,
        ca_file: None,
        proxies: Matcher::from_env(),
        within: Duration::from_secs(30),
    }
}

/// What reading gives, and what is told on the way.
fn read(settings: &Settings, query: &str) -> (Book, Reading, Vec<String>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut book, mut told) = (Book::default(), Vec::new());
    let mut loki = Loki::new(settings).unwrap();
    let reading = runtime.block_on(loki.read(&question(query), &mut book, &mut |says| told.push(says.to_owned())));
    (book, reading, told)
}

/// What the program says, asked with a query and these flags.
fn printed(loki: &StandIn, query: &str, more: impl FnOnce(&mut Args)) -> (String, String, Code) {
    let at = |text: &str| Some(humantime::parse_rfc3339(text).unwrap());
    let loki = LokiArgs {
        loki: Some(loki.server.url.clone()),
        query: Some(query.to_owned()),
        from: at("2026-06-04T11:00:00Z"),
        to: at("2026-06-05T12:00:00Z"),
        ..LokiArgs::default()
    };
    let mut args = Args { files: Vec::new(), loki, runner: None, all: false, format: Format::Text, html: None };
    more(&mut args);
    let (mut out, mut log) = (Vec::new(), Vec::new());
    let code = run(&args, later(), std::io::empty(), &mut out, &mut log, Look::Plain);
    (String::from_utf8(out).unwrap(), String::from_utf8(log).unwrap(), code)
}

fn file(text: &str) -> (tempfile::NamedTempFile, PathBuf) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let path = file.path().to_owned();
    (file, path)
}

/// Three Pods with some 13,000 lines, eleven in each nanosecond.
fn many() -> Vec<Entry> {
    let long = Made::started("").samples(12_950);
    let mut all = entries("runner-long", long.text(), 11);
    all.extend(entries("runner-oom", &fixture("oom-cgroup"), 11));
    all.extend(entries("runner-cut", &fixture("power-cut"), 11));
    all.extend(entries("other", "hello\nworld\n", 1));
    all
}

#[test]
fn pages_lose_nothing_and_repeat_nothing() {
    let loki = StandIn::plain(many());
    let (book, reading, told) = read(&settings(&loki), "{namespace=\"runners\"}");
    assert!(reading.failure.is_none() && reading.crowded == 0 && told.is_empty(), "{reading:?} {told:?}");
    assert_eq!(reading.pages, 3);
    assert!(loki.asked().iter().all(|asked| asked["direction"] == "backward" && asked["limit"] == "5000"));
    let (runners, counts) = book.into_runners();
    assert_eq!(counts.counts.passed_over, 2);
    let long = Made::started("").samples(12_950);
    for (name, text) in [
        ("runner-long", long.text().to_owned()),
        ("runner-oom", fixture("oom-cgroup")),
        ("runner-cut", fixture("power-cut")),
    ] {
        let found = judge(runners.iter().find(|runner| runner.name == name).unwrap(), &over()).unwrap();
        let of_file = verdict(&text);
        assert_eq!(
            (found.cause, found.score, found.lines, found.missing, found.last_ms, &found.change),
            (of_file.cause, of_file.score, of_file.lines, 0, of_file.last_ms, &of_file.change),
            "{name}"
        );
        assert!(found.repeats < 30, "{name}: {}", found.repeats);
    }
    let repeats: u32 = runners.iter().map(|runner| runner.runs[0].1.repeats).sum();
    assert!(repeats > 0, "the edges of the pages overlap");
}

/// The pages end within a nanosecond of three lines each.
#[test]
fn of_so_many_pages_the_newest_lines_are_read_without_a_hole_at_an_edge() {
    let made = Made::started("").samples(15_000);
    let loki = StandIn::plain(entries("r", made.text(), 3));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut book = Book::default();
    let mut asks = Loki::new(&settings(&loki)).unwrap();
    let reading = runtime.block_on(asks.read_pages(&question("{pod=\"r\"}"), 2, &mut book, &mut |_| ()));
    assert!(
        reading.failure.is_none() && reading.is_cut && (reading.pages, reading.entries) == (2, 10_000),
        "{reading:?}"
    );
    let (runners, _) = book.into_runners();
    let life = &runners[0].runs[0].1;
    assert_eq!((life.last.seq, life.lines + u64::from(life.repeats)), (15_001, 10_000));
    assert!(life.missing() < 3, "only of the oldest nanosecond: {}", life.missing());
    assert!((1..3).contains(&life.repeats), "what is of the edge came twice: {}", life.repeats);
}

#[test]
fn a_pod_is_asked_for_and_its_lines_are_found_again() {
    let loki = StandIn::plain(many());
    let (out, log, code) = printed(&loki, "", |args| {
        (args.loki.query, args.loki.pod) = (None, Some("runner-oom".to_owned()));
    });
    assert_eq!((log.as_str(), code), ("", Code::Said));
    assert!(out.starts_with("runner-oom: cgroup_oom (medium confidence, 72 of 100)"), "{out}");
    assert!(out.contains(&format!("[{} seq=21]", loki.server.url)), "{out}");
    assert!(!out.contains("PARTIAL"), "{out}");
    assert_eq!(loki.asked()[0]["query"], "{pod=\"runner-oom\"} |= \"RUNNER_VITALS\"");
    let (out, log, code) = printed(&loki, "{pod=\"nobody\"}", |_| {});
    assert_eq!((out.as_str(), code), ("", Code::Unusable));
    assert!(
        log.contains("no line of vitals in the input; Loki was asked for {pod=\"nobody\"} from 2026-06-04T11:00"),
        "{log}"
    );
}

/// Text and page name the same lines.
#[test]
fn a_page_cites_lines_of_loki_by_their_numbers() {
    let loki = StandIn::plain(entries("r", &fixture("cpu-starve"), 1));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("page.html");
    let (out, log, code) = printed(&loki, "{pod=\"r\"}", |args| args.html = Some(path.clone()));
    assert_eq!((log.as_str(), code), ("", Code::Said));
    let page = std::fs::read_to_string(path).unwrap();
    let url = &loki.server.url;
    let mut ranges = 0;
    for cited in out.lines().filter_map(|line| line.split_once(&format!("[{url} seq="))?.1.strip_suffix(']')) {
        let (first, last) = cited.split_once('-').map_or((cited, None), |(first, last)| (first, Some(last)));
        assert!(page.contains(&format!("<a href=\"#line-1-{first}\">{url} seq={first}</a>")), "{cited}: {page}");
        if let Some(last) = last {
            ranges += 1;
            assert!(page.contains(&format!("<a href=\"#line-1-{last}\">to {last}</a>")), "{cited}: {page}");
        }
    }
    assert!(ranges > 0, "{out}");
    assert!(page.contains(&format!("<span class=\"place\">{url} seq=2 cited</span>")), "{page}");
    assert!(!page.contains(&format!("<span class=\"place\">{url}</span>")), "{page}");
}

#[test]
fn a_runner_is_found_without_a_query() {
    let loki = StandIn::plain(many());
    let asked = |change: &dyn Fn(&mut Args)| {
        let (out, log, code) = printed(&loki, "", |args| {
            args.loki.query = None;
            change(args);
        });
        (out, log, code, loki.asked().last().cloned().unwrap_or_default())
    };
    let (out, log, code, request) = asked(&|args| args.runner = Some("runner-oom".to_owned()));
    assert_eq!((log.as_str(), code), ("", Code::Said));
    assert!(out.starts_with("runner-oom: cgroup_oom "), "{out}");
    let of_runner = r#"{job="runner-vitals"} |= "RUNNER_VITALS" | pod="runner-oom" or "#;
    assert!(request["query"].starts_with(of_runner), "{request:?}");
    let (out, _, code, request) = asked(&|args| args.all = true);
    assert_eq!((request["query"].as_str(), code), (r#"{job="runner-vitals"} |= "RUNNER_VITALS""#, Code::Said));
    assert!(out.contains("3 runners"), "{out}");
    // All lines of all runners are a lot to read for one verdict.
    let (_, log, code, _) = asked(&|_| ());
    assert!(log.contains("expected --runner, --pod, --query or --all") && code == Code::Setting, "{log}");

    let nobody = StandIn::plain(Vec::new());
    for (pod, runner, hint) in [(Some("p"), None, "ask without --pod"), (None, Some("r"), "by --query")] {
        let (_, log, code) = printed(&nobody, "", |args| {
            (args.loki.query, args.loki.pod) = (None, pod.map(str::to_owned));
            args.runner = runner.map(str::to_owned);
        });
        assert!(log.contains("no line of vitals") && log.contains(hint) && code == Code::Unusable, "{log}");
    }
}

#[test]
fn a_run_without_a_name_is_not_called_after_the_server() {
    let (mut book, text) = (Book::default(), fixture("idle"));
    let source = book.source("http://loki:3100");
    let values: Vec<Value> = text.lines().map(|line| serde_json::json!(["1", line])).collect();
    let page = serde_json::json!({ "data": { "result": [{ "stream": {}, "values": values }] } });
    runner_vitals::hub::trail::loki_json::take(page.to_string().as_bytes(), source, &mut book).unwrap();
    let (runners, _) = book.into_runners();
    assert!(runners[0].name.starts_with("boot "), "{}", runners[0].name);
}

#[test]
fn a_nanosecond_with_more_than_a_page_is_told_loudly() {
    let made = Made::started("").samples(30);
    let mut all = entries("r", made.text(), 1);
    let crowd: Vec<Entry> = (0..40).map(|nth| (BEGAN_NS + 5_000_000, "q".to_owned(), format!("line {nth}"))).collect();
    all.extend(crowd);
    let loki = StandIn::plain(all).with(|known| known.most = 20);
    let (book, reading, told) = read(&settings(&loki), "{namespace=\"runners\"}");
    assert!(reading.failure.is_none(), "{reading:?}");
    assert_eq!(reading.crowded, 1);
    let (runners, _) = book.into_runners();
    let behind = runners.iter().find(|runner| runner.name == "r").unwrap();
    assert_eq!((behind.runs[0].1.lines, behind.runs[0].1.missing()), (31, 0), "it goes on behind it");
    assert!(
        told.iter().any(|says| says.contains("of 2026-06-04T12:00:00.005000000Z alone") && says.contains("LOST")),
        "{told:?}"
    );
}

#[test]
fn loki_can_be_set_to_give_less() {
    let loki = StandIn::plain(entries("r", Made::started("").samples(3000).text(), 5)).with(|known| known.most = 1000);
    let (book, reading, told) = read(&settings(&loki), "{pod=\"r\"}");
    assert!(reading.failure.is_none() && told.is_empty(), "{reading:?} {told:?}");
    assert_eq!(book.into_runners().0[0].runs[0].1.lines, 3001);
    let asked: Vec<String> = loki.asked().iter().map(|asked| asked["limit"].clone()).collect();
    assert_eq!(asked, ["5000", "1000", "1000", "1000", "1000"], "it says how many, and that many are asked for");
    // So few that a page can be of one nanosecond.
    let few = StandIn::plain(entries("r", &fixture("idle"), 1)).with(|known| known.most = 15);
    let (_, log, code) = printed(&few, "{pod=\"r\"}", |_| {});
    assert!(code == Code::Setting && log.contains("set to give 15 lines at most at once"), "{log}");
}

#[test]
fn a_page_that_is_too_long_is_asked_for_in_parts() {
    let long = "x".repeat(8000);
    let text: String = (0..2500).map(|_| format!("{long}\n")).collect();
    let mut all = entries("noise", &text, 3);
    all.extend(entries("r", Made::started("").samples(100).text(), 1));
    let loki = StandIn::plain(all);
    let (book, reading, _) = read(&settings(&loki), "{namespace=\"runners\"}");
    assert!(reading.failure.is_none(), "{reading:?}");
    assert_eq!(book.counts.ours, 101);
    assert!(book.counts.passed_over >= 2500, "{:?}", book.counts);
    let longer = "x".repeat(1 << 20);
    let text: String = (0..40).map(|_| format!("{longer}\n")).collect();
    let (_, reading, _) = read(&settings(&StandIn::plain(entries("noise", &text, 1))), "{namespace=\"runners\"}");
    let (error, _) = reading.failure.unwrap();
    assert!(error.fault == Fault::Query && error.why.contains("over 8 MiB"), "{error}");
}

#[test]
fn who_asks_has_to_be_let_in() {
    let loki = StandIn::plain(entries("r", &fixture("oom-cgroup"), 1)).with(|known| {
        (known.tenant, known.authorization) = (Some("team-a"), Some("Bearer s3cr3t"));
    });
    let (_token, path) = file("s3cr3t\n");
    let (out, log, code) = printed(&loki, "{pod=\"r\"}", |args| {
        (args.loki.loki_tenant, args.loki.loki_token_file) = (Some("team-a".to_owned()), Some(path.clone()));
    });
    assert!(code == Code::Said && out.starts_with("r: cgroup_oom"), "{out} {log}");
    let (_basic, basic) = file("Aladdin:open sesame");
    let known = settings(&loki);
    loki.known.lock().unwrap().authorization = Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    let basic = Settings {
        tenant: Some("team-a".to_owned()),
        credentials: Some(Credentials::Basic(NamedFile::new("--basic", basic))),
        ..known
    };
    assert!(read(&basic, "{pod=\"r\"}").1.failure.is_none());
    for change in [
        &(|args: &mut Args| args.loki.loki_tenant = Some("team-a".to_owned())) as &dyn Fn(&mut Args),
        &|args: &mut Args| args.loki.loki_token_file = Some(path.clone()),
        &|args: &mut Args| args.loki.loki_token_file = Some("/no/such/file".into()),
    ] {
        let (out, log, code) = printed(&loki, "{pod=\"r\"}", change);
        assert_eq!((out.as_str(), code), ("", Code::Setting), "{log}");
        assert!(log.contains("answered 401: ") || log.contains("--loki-token-file /no/such/file: "), "{log}");
        assert!(log.contains(&loki.server.url) && !log.contains("s3cr3t"), "{log}");
        assert_eq!(log.lines().count(), 1, "{log}");
    }
}

#[test]
fn what_passes_is_tried_again() {
    let loki = StandIn::plain(entries("r", &fixture("oom-cgroup"), 1)).with(|known| {
        known.next.extend([Instead::Answer(503, "later", None), Instead::Answer(429, "slower", Some("1"))]);
    });
    let began = Instant::now();
    let (out, log, code) = printed(&loki, "{pod=\"r\"}", |_| {});
    assert!(code == Code::Said && out.starts_with("r: cgroup_oom"), "{out} {log}");
    assert!(log.contains("answered 503: later; trying again") && log.contains("answered 429: slower"), "{log}");
    assert!(began.elapsed() >= Duration::from_secs(1), "Retry-After is waited for");
    assert_eq!(loki.asked().len(), 3);
}

#[test]
fn loki_that_is_not_there_is_unavailable() {
    let loki =
        StandIn::plain(Vec::new()).with(|known| known.always = Some(Instead::Answer(502, "<html>bad</html>", None)));
    let (out, log, code) = printed(&loki, "{pod=\"r\"}", |_| {});
    assert_eq!((out.as_str(), code), ("", Code::Unavailable));
    assert!(log.contains(&loki.server.url) && log.contains("answered 502: <html>bad</html> (4 times)"), "{log}");
    // Files are diagnosed all the same.
    let (out, _, code) = printed(&loki, "{pod=\"r\"}", |args| {
        args.files = vec![crate::support::folder().join("power-cut.log")];
    });
    assert_eq!(code, Code::Unavailable);
    assert!(out.starts_with("power-cut: outside_guest") && out.contains("PARTIAL: http://"), "{out}");
    // Nobody listens.
    let url = loki.server.url.clone();
    drop(loki);
    let args = LokiArgs { loki: Some(url), pod: Some("r".to_owned()), ..LokiArgs::default() };
    let args = Args { files: Vec::new(), loki: args, runner: None, all: false, format: Format::Text, html: None };
    let mut log = Vec::new();
    assert_eq!(run(&args, later(), std::io::empty(), &mut Vec::new(), &mut log, Look::Plain), Code::Unavailable);
    assert!(String::from_utf8(log).unwrap().contains("(4 times)"));
}

#[test]
fn an_answer_that_does_not_come_is_unavailable() {
    // The kernel takes the connection, and nobody answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let within = Duration::from_millis(50);
    let settings =
        Settings { url, tenant: None, credentials: None, ca_file: None, proxies: Matcher::from_env(), within };
    let (_, reading, told) = read(&settings, "{pod=\"r\"}");
    let (error, _) = reading.failure.unwrap();
    assert!(error.fault == Fault::Unavailable && error.why.contains("no answer in time"), "{error}");
    assert_eq!(told.len(), 3, "{told:?}");
}

#[test]
fn what_was_read_before_a_failure_is_diagnosed_and_said_to_be_partial() {
    let made = Made::started("").samples(12_000).text().to_owned();
    let failing = || {
        StandIn::plain(entries("r", &made, 4)).with(|known| {
            known.next.extend([Instead::Entries, Instead::Entries]);
            known.always = Some(Instead::Answer(500, "boom", None));
        })
    };
    let loki = failing();
    let (out, log, code) = printed(&loki, "{pod=\"r\"}", |_| {});
    assert_eq!(code, Code::Said);
    // The end is what is there.
    assert!(out.starts_with("r: outside_guest (high confidence"), "{out}");
    assert!(
        out.contains("  PARTIAL: lines before 2026-06-04T12:00:00.") && log.contains("were not read: http://"),
        "{out} {log}"
    );
    let (out, ..) = printed(&failing(), "{pod=\"r\"}", |args| args.format = Format::Json);
    let json: Value = serde_json::from_str(&out).unwrap();
    assert!(json[0]["partial"].as_str().unwrap().contains("answered 500: boom"), "{out}");
    let (out, ..) = printed(&failing(), "{pod=\"r\"}", |args| args.all = true);
    assert!(out.lines().last().unwrap().starts_with("PARTIAL: lines before "), "{out}");
}

#[test]
fn a_bad_query_is_told_in_lokis_words() {
    let loki = StandIn::plain(many());
    for (query, code, says) in [
        ("nonsense", Code::Unusable, "answered 400: parse error at line 1, col 2"),
        (
            "rate({pod=\"r\"}[1m])",
            Code::Unusable,
            "the query gives figures, and lines are needed: leave out count_over_time",
        ),
    ] {
        let (out, log, found) = printed(&loki, query, |_| {});
        assert_eq!((out.as_str(), found), ("", code));
        assert!(log.contains(says), "{log}");
    }
    assert_eq!(loki.asked().len(), 2, "it is not tried again");
}

#[test]
fn what_is_no_loki_is_a_setting() {
    let page = Instead::Answer(200, "<html>please log in</html>", None);
    let loki = StandIn::plain(many()).with(|known| known.next.push_back(page));
    let (_, log, code) = printed(&loki, "{pod=\"r\"}", |_| {});
    assert!(code == Code::Setting && log.contains("the answer is not Loki's"), "{log}");
    let (_, log, code) = printed(&loki, "{pod=\"r\"}", |args| {
        args.loki.loki = Some(format!("{}/elsewhere", loki.server.url));
    });
    assert!(code == Code::Setting && log.contains("no Loki answers there"), "{log}");
    // One that would go on for ever.
    let loki = StandIn::plain(many()).with(|known| known.ignores_end = true);
    let (_, log, _) = printed(&loki, "{namespace=\"runners\"}", |_| {});
    assert!(log.contains("outside the time that was asked for"), "{log}");
}

#[test]
fn a_certificate_is_trusted_or_not() {
    let loki = StandIn::tls(entries("r", &fixture("oom-cgroup"), 1));
    let (_file, path) = file(loki.server.certificate.as_ref().unwrap());
    let (out, log, code) = printed(&loki, "{pod=\"r\"}", |args| args.loki.ca_file = Some(path));
    assert!(code == Code::Said && out.starts_with("r: cgroup_oom"), "{out} {log}");
    let other = StandIn::tls(Vec::new());
    let (_file, path) = file(other.server.certificate.as_ref().unwrap());
    let (_, log, code) = printed(&loki, "{pod=\"r\"}", |args| args.loki.ca_file = Some(path));
    assert!(code == Code::Unavailable && log.contains("TLS failed"), "{log}");
}

#[test]
fn a_cause_from_loki_is_that_of_a_file() {
    for name in ["oom-guest", "disk-full", "pids-full"] {
        let loki = StandIn::plain(entries("r", &fixture(name), 3));
        let (book, ..) = read(&settings(&loki), "{pod=\"r\"}");
        let found: Vec<Cause> = book
            .into_runners()
            .0
            .iter()
            .filter_map(|runner| judge(runner, &over()))
            .map(|verdict| verdict.cause)
            .collect();
        assert_eq!(found, [verdict(&fixture(name)).cause]);
    }
}

/// What was asked for only up to a time goes on behind it, as far as is known.
#[test]
fn a_runner_that_wrote_until_the_end_of_what_was_asked_for_lives_then() {
    let made = Made::started("").samples(100);
    let at = |line: &str| {
        let at = line.split(' ').nth(1).unwrap().strip_prefix("ts=").unwrap();
        since_1970_ns(humantime::parse_rfc3339(at).unwrap())
    };
    let entries: Vec<Entry> = made.text().lines().map(|line| (at(line), "r".to_owned(), line.to_owned())).collect();
    let loki = StandIn::plain(entries);
    let asked_to = |to: &str| {
        printed(&loki, "{pod=\"r\"}", |args| {
            args.loki.from = Some(humantime::parse_rfc3339("2026-05-28T20:00:00Z").unwrap());
            args.loki.to = Some(humantime::parse_rfc3339(to).unwrap());
        })
    };
    let (out, ..) = asked_to("2026-05-28T20:30:00Z");
    assert!(out.starts_with("r: alive (low confidence"), "{out}");
    assert!(
        out.contains("    lines were asked for up to 2026-05-28T20:30:00.000Z, when the next was not due yet"),
        "{out}"
    );
    assert!(out.contains("    ask for later lines (--to)"), "{out}");
    let (out, ..) = asked_to("2026-05-28T21:00:00Z");
    assert!(out.starts_with("r: outside_guest (high confidence"), "{out}");
}
