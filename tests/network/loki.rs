//! Loki's push: one stream, its times put right, the same on every retry.

use std::collections::BTreeSet;
use std::io::{BufReader, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, SystemTime};

use runner_vitals::line::field;

use crate::probe::{PATIENCE, Probe, command};
use crate::server::{Reply, Request, Server, listen, read_request, seq_of};

fn loki(server: &Server) -> String {
    format!("loki+http://{}", server.address)
}

/// The one stream of a push: its labels, and its entries as time, line and metadata.
fn stream_of(push: &Request) -> (String, Vec<(u64, String, String)>) {
    let body: serde_json::Value = serde_json::from_str(&push.text()).unwrap();
    let streams = body["streams"].as_array().unwrap();
    assert_eq!(streams.len(), 1, "{body}");
    let entries = streams[0]["values"].as_array().unwrap().iter().map(|entry| {
        let text = |at: usize| entry[at].as_str().unwrap().to_owned();
        (text(0).parse().unwrap(), text(1), entry[2].to_string())
    });
    (streams[0]["stream"].to_string(), entries.collect())
}

#[test]
fn a_push_is_asked_for_the_time_first_and_retried_as_it_was() {
    // Years behind any guest's clock.
    let date = "Thu, 04 Jun 2020 12:00:00 GMT";
    let server = Server::start(move |request, before| {
        let status = if request.method == "HEAD" { 405 } else { [204, 503, 429, 204][before.min(3)] };
        Reply::of(status).with("date", date)
    });
    let flags = ["--interval", "1", "--samples", "2", "--sink", &loki(&server), "--loki-tenant", "t-1"];
    let labels = ["--label", "team=t", "--fleet", "f", "--runner", "r"];
    assert!(command(&[&flags[..], &labels].concat()).status().unwrap().success());
    let requests = server.rest(Duration::from_millis(500));
    assert_eq!(requests[0].method, "HEAD");
    let pushes = &requests[1..];
    assert!(pushes.len() >= 4 && pushes[0].body == pushes[1].body && pushes[1].body == pushes[2].body);
    let mut all = Vec::new();
    for push in &pushes[2..] {
        assert_eq!((push.method.as_str(), push.target.as_str()), ("POST", "/loki/api/v1/push"));
        assert_eq!(push.header("content-type"), Some("application/json"));
        assert_eq!(push.header("x-scope-orgid"), Some("t-1"));
        assert!(push.header("authorization").is_none());
        let (stream, entries) = stream_of(push);
        assert_eq!(stream, r#"{"fleet":"f","job":"runner-vitals","os":"linux","team":"t"}"#);
        all.extend(entries);
    }
    let seqs: Vec<u64> = all.iter().map(|(_, line, _)| seq_of(line)).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    assert!(all.is_sorted_by(|before, after| before.0 < after.0), "distinct and ascending");
    let noon_s = 1_591_272_000;
    assert!(
        all.iter().all(|(at_ns, ..)| (at_ns / 1_000_000_000).abs_diff(noon_s) < 60),
        "by the server's clock: {all:?}"
    );
    assert!(all.iter().all(|(_, _, metadata)| metadata.contains(r#""runner":"r""#) && metadata.contains(r#""boot":"#)));
}

/// A web page is no Loki, whatever it says.
#[test]
fn what_answers_200_has_taken_nothing() {
    let server = Server::start(|request, before| match request.method.as_str() {
        "HEAD" => Reply::of(405),
        _ if before < 6 => Reply::of(200).body("<html>welcome</html>"),
        _ => Reply::of(204),
    });
    let probe = Probe::start(&["--interval", "1", "--sink", "stdout", "--sink", &loki(&server)]);
    let told = [(); 2].map(|()| probe.next_of(Some("degraded")));
    let told = told.each_ref().map(|line| (line.text_of(field::WHAT).unwrap(), line.text_of(field::ERROR).unwrap()));
    assert_eq!(told[0], ("sink.loki".to_owned(), "broken: not an endpoint, status 200".to_owned()));
    assert_eq!(told[1], ("sink.loki".to_owned(), "ok".to_owned()));
    probe.signal(rustix::process::Signal::TERM);
    let stop = probe.finish().0.pop().unwrap();
    assert!(stop.is(Some("stop")) && stop.scaled(field::SINK_LOKI_DROPPED).is_none(), "{}", stop.text);
    let requests = server.rest(Duration::from_millis(500));
    let pushes: Vec<_> = requests.iter().filter(|request| request.method == "POST").collect();
    assert!(pushes[..5].iter().all(|push| push.body == pushes[5].body), "the same bytes");
    let all = pushes[5..].iter().flat_map(|push| stream_of(push).1);
    let seqs: Vec<u64> = all.map(|(_, line, _)| seq_of(&line)).collect();
    assert_eq!(seqs, (1..=stop.line().seq).collect::<Vec<_>>(), "nothing is lost");
}

/// Something before Loki that knows no HEAD is not to keep the lines: their answers tell the time too.
#[test]
fn lines_go_also_where_the_time_cannot_be_asked_for() {
    let (sender, pushes) = channel();
    let (address, _) = listen(move |stream| {
        let mut stream = BufReader::new(stream);
        while let Ok(Some(request)) = read_request(&mut stream) {
            if request.method == "HEAD" {
                return;
            }
            let _ = sender.send(request);
            let answer = b"HTTP/1.1 204 X\r\ndate: Thu, 04 Jun 2020 12:00:00 GMT\r\n\r\n";
            stream.get_mut().write_all(answer).unwrap();
        }
    });
    let probe = Probe::start(&["--interval", "1", "--sink", "stdout", "--sink", &format!("loki+http://{address}")]);
    let [first, second] = [(); 2].map(|()| stream_of(&pushes.recv_timeout(PATIENCE).unwrap()).1);
    let here_s = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert!(first.iter().all(|(at_ns, ..)| (at_ns / 1_000_000_000).abs_diff(here_s) < 60), "as they are: {first:?}");
    let noon_s = 1_591_272_000;
    assert!(
        second.iter().all(|(at_ns, ..)| (at_ns / 1_000_000_000).abs_diff(noon_s) < 60),
        "then put right: {second:?}"
    );
    drop(probe);
}

/// Loki says 429 for ever to what is over its burst; smaller it gets in, each entry with the time that it had.
#[test]
fn a_batch_that_is_always_too_much_comes_in_halves() {
    let server = Server::start(|request, before| match (request.method.as_str(), before) {
        ("HEAD", _) => {
            std::thread::sleep(Duration::from_millis(2500));
            Reply::of(405)
        }
        _ if stream_of(request).1.len() > 1 => Reply::of(429),
        _ => Reply::of(204),
    });
    let probe = Probe::start(&["--interval", "1", "--sink", "stdout", "--sink", &loki(&server)]);
    let deadline = std::time::Instant::now() + PATIENCE;
    let (mut refused, mut taken) = (BTreeSet::new(), BTreeSet::new());
    while refused.is_empty() || !refused.is_subset(&taken) {
        assert!(std::time::Instant::now() < deadline, "{refused:?} {taken:?}");
        let request = server.next();
        if request.method == "POST" {
            let (_, entries) = stream_of(&request);
            let of = if entries.len() > 1 { &mut refused } else { &mut taken };
            of.extend(entries.into_iter().map(|(at_ns, line, _)| (at_ns, line)));
        }
    }
    drop(probe);
}

/// The platform's token is for the platform's endpoint.
#[test]
fn only_a_token_that_was_set_goes_to_loki() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "a-token").unwrap();
    let path = file.path().to_str().unwrap();
    let server = Server::start(|_, _| Reply::of(204));
    for (variable, expected) in
        [("TUIST_RUNNER_SA_TOKEN_PATH", None), ("RUNNER_VITALS_TOKEN_FILE", Some("Bearer a-token"))]
    {
        let status = command(&["--once", "--sink", &loki(&server)]).env(variable, path).status().unwrap();
        assert!(status.success());
        let requests = server.rest(Duration::from_millis(500));
        assert!(!requests.is_empty());
        assert!(requests.iter().all(|request| request.header("authorization") == expected), "{variable}");
    }
}

/// Log lines give way to vitals with all that they have a server asked.
#[test]
fn log_lines_ask_for_the_time_behind_the_vitals_too() {
    let is_well = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_well);
    let server = Server::start(move |request, _| match request.method.as_str() {
        "HEAD" => Reply::of(405),
        _ if seen.load(Ordering::SeqCst) => Reply::of(204),
        _ => Reply::of(503),
    });
    let dir = tempfile::tempdir().unwrap();
    let pattern = dir.path().join("*.log");
    let flags = ["--interval", "1", "--sink", &loki(&server), "--follow", pattern.to_str().unwrap()];
    let probe = Probe::silent(command(&flags).spawn().unwrap());
    let (head, push) = (server.next(), server.next());
    assert_eq!([head.method, push.method], ["HEAD", "POST"], "the vitals have begun");
    std::fs::write(dir.path().join("a.log"), "a line\n").unwrap();
    // The file is found within 2 s.
    let until = std::time::Instant::now() + Duration::from_secs(4);
    let mut methods = Vec::new();
    while let Some(left) = until.checked_duration_since(std::time::Instant::now()) {
        methods.extend(server.next_within(left).map(|request| request.method));
    }
    assert!(!methods.is_empty() && methods.iter().all(|method| method == "POST"), "{methods:?}");
    is_well.store(true, Ordering::SeqCst);
    while server.next().method != "HEAD" {}
    while !server.next().text().contains("a line") {}
    drop(probe);
}

/// As behind a pause: what the server told before it is behind by that, and the lines say the right time.
#[test]
fn what_is_refused_for_times_of_before_a_pause_is_sent_with_others() {
    let hour = Duration::from_secs(3600);
    let server = Server::start(move |request, before| {
        let (status, date) = match (request.method.as_str(), before) {
            ("HEAD", _) => (405, SystemTime::now() - hour),
            (_, 1) => (400, SystemTime::now()),
            _ => (204, SystemTime::now()),
        };
        Reply::of(status).with("date", &http_date(date))
    });
    let probe = Probe::start(&["--interval", "1", "--sink", "stdout", "--sink", &loki(&server)]);
    assert_eq!(server.next().method, "HEAD");
    let here_s = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let [refused, anew, behind] = [(); 3].map(|()| stream_of(&server.next()).1);
    let lines = |of: &[(u64, String, String)]| of.iter().map(|(_, line, _)| line.clone()).collect::<Vec<_>>();
    let off_s = |of: &[(u64, String, String)]| of.iter().map(|(ns, ..)| (ns / 1_000_000_000).abs_diff(here_s)).max();
    assert_eq!(lines(&refused), lines(&anew));
    assert!(off_s(&refused) > Some(3000) && off_s(&anew) < Some(60) && off_s(&behind) < Some(60));
    let (seqs, count) = (lines(&anew), lines(&anew).len());
    assert_eq!(seq_of(&lines(&behind)[0]), seq_of(&seqs[count - 1]) + 1, "and it goes on");
    let sample = probe.next_of(None);
    assert_eq!(sample.scaled(field::SINK_LOKI_DROPPED), None, "nothing was lost");
}

/// A server whose clock jumps with every answer gets a batch twice, and that is all.
#[test]
fn what_is_refused_with_other_times_too_is_refused_for_good() {
    let mut hours = 0;
    let server = Server::start(move |request, _| {
        hours += 1;
        let date = SystemTime::now() + Duration::from_secs(3600 * hours);
        Reply::of(if request.method == "HEAD" { 405 } else { 400 }).with("date", &http_date(date))
    });
    let probe = Probe::start(&["--interval", "1", "--sink", "stdout", "--sink", &loki(&server)]);
    assert_eq!(server.next().method, "HEAD");
    let mut seqs = Vec::new();
    loop {
        let of_batch: Vec<u64> = stream_of(&server.next()).1.iter().map(|(_, line, _)| seq_of(line)).collect();
        if of_batch[0] > 3 {
            break;
        }
        seqs.extend(of_batch);
    }
    for seq in 1..4 {
        assert_eq!(seqs.iter().filter(|seen| **seen == seq).count(), 2, "{seqs:?}");
    }
    while probe.next_of(None).scaled(field::SINK_LOKI_DROPPED).is_none() {}
}

/// As a header has it; the name of the day is not looked at.
fn http_date(time: SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(time).to_string();
    let words: Vec<&str> = text.split(['-', 'T', 'Z']).collect();
    let [year, month, day, time] = [words[0], words[1], words[2], words[3]];
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months[month.parse::<usize>().unwrap() - 1];
    format!("Thu, {day} {month} {year} {time} GMT")
}
