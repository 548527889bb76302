//! The latest lines, handed on: events as they are, and of the samples of each runner the latest, which is its sign of life.

use std::collections::BTreeMap;

use super::book::at_ms;
use crate::line::scan::Head;
use crate::line::{Line, Tag};

/// Lines by runner: what its collector says of where they come from, a Pod, else how they call themselves.
#[derive(Debug, Default)]
pub struct Tail {
    runners: BTreeMap<String, Told>,
    /// Lines of nobody.
    pub unnamed: u64,
    /// Lines that a hub has received and written: it knows them.
    pub received: u64,
}

#[derive(Debug, Default)]
struct Told {
    events: Vec<String>,
    sample: Option<(String, Head)>,
}

/// Lines of a runner.
#[derive(Debug)]
pub struct OfRunner<'a> {
    /// What it is called.
    pub name: &'a str,
    /// Its event lines, by their times.
    pub events: Vec<&'a str>,
    /// Its latest sample.
    pub sample: Option<(&'a str, Head)>,
}

impl Tail {
    /// All runners.
    pub fn runners(&self) -> impl Iterator<Item = OfRunner<'_>> {
        self.runners.iter().map(|(name, told)| {
            let mut events: Vec<&str> = told.events.iter().map(String::as_str).collect();
            // A line begins with its time.
            events.sort_unstable();
            OfRunner { name, events, sample: told.sample.as_ref().map(|(text, head)| (text.as_str(), *head)) }
        })
    }

    /// Takes a line that is no plain sample: one of a log tells nothing.
    pub(super) fn line(&mut self, name: Option<&str>, text: &str, line: &Line<'_>) {
        match (line.tag, &line.event) {
            (Tag::Vitals, None) => self.sample(name, text, Head { at_ms: at_ms(line), run: line.run, seq: line.seq }),
            (Tag::Vitals, Some(_)) => {
                self.of(name, text).into_iter().for_each(|told| told.events.push(text.to_owned()));
            }
            (Tag::Log, _) => {}
        }
    }

    /// Takes a sample.
    pub(super) fn sample(&mut self, name: Option<&str>, text: &str, head: Head) {
        let Some(told) = self.of(name, text) else { return };
        if told.sample.as_ref().is_none_or(|(_, kept)| kept.at_ms < head.at_ms) {
            told.sample = Some((text.to_owned(), head));
        }
    }

    fn of(&mut self, name: Option<&str>, text: &str) -> Option<&mut Told> {
        // A hub writes when it received a line behind its number.
        if text.split(' ').nth(4).is_some_and(|pair| pair.starts_with("recv=")) {
            self.received += 1;
            return None;
        }
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            self.unnamed += 1;
            return None;
        };
        Some(self.runners.entry(name.to_owned()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::super::book::Book;
    use super::super::loki_json;

    #[test]
    fn events_and_the_latest_sample_of_each_runner_are_handed_on() {
        let stream = |label: &str, lines: &[&str]| {
            let values: Vec<_> = lines.iter().map(|line| serde_json::json!(["1780574400000000000", line])).collect();
            serde_json::json!({ "stream": { "pod": label }, "values": values })
        };
        let ready = "RUNNER_VITALS ts=2026-06-04T12:00:01.000Z run=aaaa seq=1 event=phase phase=ready";
        let start = "RUNNER_VITALS ts=2026-06-04T12:00:00.000Z run=k3x9 seq=1 event=start runner.name=other";
        let samples =
            [3, 2].map(|at| format!("RUNNER_VITALS ts=2026-06-04T12:00:0{at}.000Z run=k3x9 seq={at} load1=0.10"));
        let received = "RUNNER_VITALS ts= run=k3x9 seq=9 recv=2026-06-04T12:00:00.000Z runner.name=r event=stop";
        let named = "RUNNER_VITALS ts= run=k3x9 seq=9 runner.name=r event=stop";
        let answer = serde_json::json!({ "status": "success", "data": { "resultType": "streams", "result": [
            stream("pod-1", &[ready, start, &samples[0], &samples[1], received, "noise"]),
            { "stream": { "job": "x" }, "values": [["1", named], ["2", "RUNNER_VITALS ts= run=k3x9 seq=9 event=stop"]] },
        ] } });
        let mut book = Book::of_tail();
        loki_json::take(answer.to_string().as_bytes(), 0, &mut book).unwrap();
        let tail = book.into_tail();
        let told: Vec<_> =
            tail.runners().map(|one| (one.name, one.events, one.sample.map(|(_, head)| head.seq))).collect();
        assert_eq!(told, [("pod-1", vec![start, ready], Some(3)), ("r", vec![named], None)]);
        assert_eq!((tail.received, tail.unnamed), (1, 1));
    }
}
