//! Puts what the hub knows of a runner in place of what its line says. Pure.
//!
//! A guest's line may be as long as a line can be, and the hub's pairs come on top: then the longest texts are cut as an
//! encoder cuts them, at a character, with `…` at the end. A line that is still too long is refused, and that is told.

use std::time::SystemTime;

use super::ours::Envelope;
use crate::hub::serve::auth::Sender;
use crate::hub::serve::out::RECV_BYTES;
use crate::line::field::{self, Kind, Unit};
use crate::line::{Encoder, MAX_LINE_BYTES, RunId};

/// Keys that only the hub writes, as Loki folds them: any key of a guest that folds to one goes.
const OWN_KEYS: [&str; 4] = ["runner_name", "runner_fleet", "runner_env", "recv"];

/// What stands at the end of a text that was cut.
const CUT: &str = "…";

/// The pairs that say whose a line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity(String);

impl Identity {
    /// The pairs of a sender; `env` is the hub's own setting.
    #[must_use]
    pub fn new(sender: &Sender, env: Option<&str>) -> Self {
        let mut encoder = Encoder::new(RunId::from_random(0));
        let bare = encoder.begin(Kind::Sample, SystemTime::UNIX_EPOCH).finish().len() - 1;
        let mut encoder = Encoder::new(RunId::from_random(0));
        let mut line = encoder.begin(Kind::Sample, SystemTime::UNIX_EPOCH);
        line.text(field::RUNNER_NAME, Some(&sender.name));
        line.text(field::RUNNER_FLEET, sender.fleet.as_ref());
        line.text(field::RUNNER_ENV, env);
        let pairs = line.finish().get(bare..).unwrap_or_default();
        Self(String::from_utf8_lossy(pairs).trim_end().to_owned())
    }
}

/// The line with the hub's identity behind `seq`; `text` is a line that decoded to this envelope.
///
/// # Errors
/// When it is too long even with its texts cut.
pub fn rewritten(text: &str, envelope: &Envelope, identity: &Identity) -> Result<String, &'static str> {
    let ts = envelope.ts.map(|ts| humantime::format_rfc3339_millis(ts).to_string()).unwrap_or_default();
    let Envelope { tag, run, seq, .. } = envelope;
    let mut line = format!("{} ts={ts} run={} seq={seq}{}", tag.as_str(), run.as_str(), identity.0);
    line.reserve(text.len());
    let mut pairs: Vec<(&str, Cut<'_>)> = pairs(text).filter(|(key, _)| !is_own(key)).collect();
    let room = (MAX_LINE_BYTES - RECV_BYTES).checked_sub(line.len()).ok_or("no room beside the runner's identity")?;
    fit(&mut pairs, room)?;
    for (key, value) in pairs {
        line.push(' ');
        line.push_str(key);
        line.push('=');
        value.write_to(&mut line);
    }
    Ok(line)
}

/// A value as it stands in a line, perhaps cut.
#[derive(Clone, Copy, Debug)]
struct Cut<'a> {
    /// Without its quotes.
    inner: &'a str,
    is_quoted: bool,
    is_cut: bool,
}

impl Cut<'_> {
    fn len(&self) -> usize {
        self.inner.len() + 2 * usize::from(self.is_quoted) + if self.is_cut { CUT.len() } else { 0 }
    }

    fn write_to(&self, line: &mut String) {
        let quote = if self.is_quoted { "\"" } else { "" };
        for part in [quote, self.inner, if self.is_cut { CUT } else { "" }, quote] {
            line.push_str(part);
        }
    }

    /// Shorter by `over` bytes or more, or as short as it gets.
    fn shorten(&mut self, over: usize) {
        let keep = self.inner.len().saturating_sub(over + if self.is_cut { 0 } else { CUT.len() });
        let mut end = 0;
        for unit in units(self.inner) {
            if end + unit > keep {
                break;
            }
            end += unit;
        }
        self.inner = self.inner.get(..end).unwrap_or_default();
        self.is_cut = true;
    }
}

/// Bytes of each character or escape.
fn units(inner: &str) -> impl Iterator<Item = usize> {
    let mut rest = inner;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let wanted = match (first, rest.as_bytes().get(1)) {
            ('\\', Some(b'u')) => 6,
            ('\\', Some(_)) => 2,
            _ => first.len_utf8(),
        };
        let (unit, behind) = rest.split_at_checked(wanted).unwrap_or((rest, ""));
        rest = behind;
        Some(unit.len())
    })
}

/// Cuts the longest texts until all pairs have room.
fn fit(pairs: &mut [(&str, Cut<'_>)], room: usize) -> Result<(), &'static str> {
    loop {
        let len: usize = pairs.iter().map(|(key, value)| 2 + key.len() + value.len()).sum();
        let Some(over) = len.checked_sub(room + 1) else { return Ok(()) };
        let texts = pairs.iter_mut().filter(|(key, value)| is_text(key, value) && value.inner.len() > CUT.len());
        let (_, longest) = texts.max_by_key(|(_, value)| value.len()).ok_or("too long beside the runner's identity")?;
        longest.shorten(over + 1);
    }
}

/// Numbers are never cut: a shorter one is another.
fn is_text(key: &str, value: &Cut<'_>) -> bool {
    match field::find(key) {
        Some(known) => matches!(known.unit, Unit::Text(_)),
        None => {
            value.is_quoted || !value.inner.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-'))
        }
    }
}

fn is_own(key: &str) -> bool {
    matches!(key, "ts" | "run" | "seq") || OWN_KEYS.iter().any(|own| folds_to(key, own))
}

/// Whether Loki makes this of a key.
fn folds_to(key: &str, folded: &str) -> bool {
    let same = |(a, b): (u8, u8)| a == b || (a == b'.' && b == b'_');
    key.len() == folded.len() && key.bytes().zip(folded.bytes()).all(same)
}

/// The pairs of a line that decodes, as they stand there.
fn pairs(text: &str) -> impl Iterator<Item = (&str, Cut<'_>)> {
    let mut rest = text.split_once(' ').map_or("", |(_, rest)| rest);
    std::iter::from_fn(move || {
        let (key, value) = rest.trim_start_matches(' ').split_once('=')?;
        let (value, behind) = match value.strip_prefix('"') {
            Some(quoted) => {
                let end = closing_quote(quoted);
                let (inner, behind) = quoted.split_at_checked(end)?;
                (Cut { inner, is_quoted: true, is_cut: false }, behind.strip_prefix('"').unwrap_or_default())
            }
            None => {
                let (inner, behind) = value.split_once(' ').unwrap_or((value, ""));
                (Cut { inner, is_quoted: false, is_cut: false }, behind)
            }
        };
        rest = behind;
        Some((key, value))
    })
}

fn closing_quote(quoted: &str) -> usize {
    let mut at = 0;
    for unit in units(quoted) {
        if unit == 1 && quoted.as_bytes().get(at) == Some(&b'"') {
            break;
        }
        at += unit;
    }
    at
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::ours::envelope;
    use super::*;
    use crate::line::{Line, Reading};

    const HEAD: &str = "RUNNER_VITALS ts=2026-06-04T12:00:00.123Z run=k3x9 seq=41";

    fn identity() -> Identity {
        Identity::new(&Sender { name: "r1".to_owned(), fleet: Some("linux".to_owned()) }, Some("prod"))
    }

    fn again(text: &str) -> String {
        rewritten(text, &envelope(text).unwrap(), &identity()).unwrap()
    }

    #[test]
    fn the_hub_says_whose_a_line_is() {
        const OURS: &str = "runner.name=r1 runner.fleet=linux runner.env=prod";
        for (pairs, left) in [
            ("", ""),
            (" load1=0.30 mem.peak=", " load1=0.30 mem.peak="),
            (" event=start runner.name=victim runner.fleet=x runner.env=y recv=z a=1", " event=start a=1"),
            (" runner_name=victim runner.name=victim runner_fleet=\"a b\" runner_env=\"\" recv= a=1", " a=1"),
            (
                " a=\"runner.name=x\" runner.names=1 xrunner.name=2",
                " a=\"runner.name=x\" runner.names=1 xrunner.name=2",
            ),
            (" a=\"\\\" runner.name=x\"   b=2  ", " a=\"\\\" runner.name=x\" b=2"),
            (" a=\"\\\\\" runner.name=x b=\"\\u0001\"", " a=\"\\\\\" b=\"\\u0001\""),
        ] {
            assert_eq!(again(&format!("{HEAD}{pairs}")), format!("{HEAD} {OURS}{left}"));
        }
    }

    #[test]
    fn the_envelope_is_written_anew() {
        let text = "RUNNER_LOG a=1 seq=041 run=\"k3x9\" ts=\"2026-06-04T12:00:00.123456Z\"";
        assert!(again(text).starts_with("RUNNER_LOG ts=2026-06-04T12:00:00.123Z run=k3x9 seq=41 runner.name=r1 "));
        assert!(
            again("RUNNER_VITALS ts= run=k3x9 seq=41").starts_with("RUNNER_VITALS ts= run=k3x9 seq=41 runner.name=")
        );
    }

    #[test]
    fn a_name_is_quoted_as_any_text() {
        let sender = Sender { name: "a b\" runner.env=x\n".to_owned(), fleet: None };
        assert_eq!(Identity::new(&sender, None).0, " runner.name=\"a b\\\" runner.env=x\\n\"");
    }

    #[test]
    fn a_line_that_grows_too_long_loses_the_end_of_its_longest_text() {
        let full = |value: &str| {
            let pad = MAX_LINE_BYTES - 1 - HEAD.len() - " a= b=".len();
            format!("{HEAD} a={} b={value}", "9".repeat(pad - value.len()))
        };
        let text = full(&format!("\"{} é\\u0001\"", "x".repeat(3000)));
        let line = again(&text);
        assert!(
            line.len() + RECV_BYTES <= MAX_LINE_BYTES && line.len() + RECV_BYTES > MAX_LINE_BYTES - 8,
            "{}",
            line.len()
        );
        assert!(line.ends_with("x…\""));
        Line::decode(&line).unwrap();
        let numbers = full("1");
        assert_eq!(
            rewritten(&numbers, &envelope(&numbers).unwrap(), &identity()),
            Err("too long beside the runner's identity")
        );
    }

    #[test]
    fn escapes_are_cut_whole() {
        let mut value = Cut { inner: "ab\\\"\\u0001é", is_quoted: true, is_cut: false };
        value.shorten(1);
        assert_eq!((value.inner, value.is_cut), ("ab\\\"", true));
    }

    proptest! {
        #[test]
        fn what_decodes_is_rewritten_to_what_decodes(
            pairs in proptest::collection::vec(
                (
                    "(runner[._](name|env|x)|recv|a|b|c[a-z0-9._]{0,9})",
                    "([0-9]{0,40}|\"([ -!#-\\[\\]-~é]|\\\\[n\\\\\"]|\\\\u00[01][0-9]){0,40}\")",
                ),
                0..12,
            ),
            times in 1_usize..40,
        ) {
            let text = pairs.iter().fold(HEAD.to_owned(), |line, (key, value)| match value.strip_prefix('"') {
                // Long ones of short ones: to make them takes a while.
                Some(inner) => format!("{line} {key}=\"{}\"", inner.strip_suffix('"').unwrap().repeat(times)),
                None => format!("{line} {key}={value}"),
            });
            let Ok(head) = envelope(&text) else { return Ok(()) };
            let Ok(line) = rewritten(&text, &head, &identity()) else { return Ok(()) };
            prop_assert!(line.len() + RECV_BYTES <= MAX_LINE_BYTES);
            let (before, after) = (Line::decode(&text).unwrap(), Line::decode(&line).unwrap());
            prop_assert_eq!((after.ts, after.run, after.seq), (before.ts, before.run, before.seq));
            prop_assert_eq!(after.text(field::RUNNER_NAME), Some("r1"));
            let kept: Vec<_> = before.pairs().filter(|(key, _)| !is_own(key)).collect();
            let ours: Vec<_> = after.pairs().skip(3).collect();
            prop_assert_eq!(kept.len(), ours.len());
            for ((key, old), (same_key, new)) in kept.into_iter().zip(ours) {
                prop_assert_eq!(key, same_key);
                match (old, new) {
                    (Reading::Value(old), Reading::Value(new)) if old != new => {
                        prop_assert!(old.starts_with(new.strip_suffix(CUT).unwrap()));
                    }
                    (old, new) => prop_assert_eq!(old, new),
                }
            }
        }
    }
}
