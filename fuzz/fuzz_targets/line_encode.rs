//! Any values for any fields: one line of at most 4096 bytes that decodes to just what was put.
#![no_main]

use std::time::{Duration, SystemTime};

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use runner_vitals::line::field::{self, Field, Kind, Print, Unit};
use runner_vitals::line::{Encoder, Line, MAX_LINE_BYTES, Reading, RunId};

/// Fills the line, so that what follows meets its end.
const STUFFING: &Field = &Field { key: "stuffing", unit: Unit::Text(3800), ..*field::MSG };

enum Put {
    Number(Option<i64>),
    Text(Option<Vec<u8>>),
    /// So many keys of the table.
    List(usize),
}

type Puts = Vec<(&'static Field, Put)>;

/// What a number may be: the format has 64 bits with a sign, less the one that has no positive counterpart.
const LEAST: i64 = -i64::MAX;

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    let Ok((kind, now, puts)) = plan(&mut input) else { return };
    let mut encoder = Encoder::new(RunId::from_random(0));
    let mut line = encoder.begin(kind, now);
    for (field, put) in &puts {
        match put {
            Put::Number(number) => line.number(field, *number),
            Put::Text(text) => line.text(field, text.as_ref()),
            Put::List(count) => line.list(field, words(*count)),
        };
    }
    check(line.finish(), kind, &puts);
});

/// A few bytes, often many times over: wider than the field, and than the line.
fn text(input: &mut Unstructured<'_>) -> Result<Option<Vec<u8>>> {
    let Some(piece) = input.arbitrary::<Option<[u8; 5]>>()? else { return Ok(None) };
    let len = input.int_in_range(0..=piece.len())?;
    let times = *input.choose(&[1, 1, 7, 40, 300])?;
    Ok(Some(piece[..len].repeat(times)))
}

/// Which values for which fields; each field once, as the table has it.
fn plan(input: &mut Unstructured<'_>) -> Result<(Kind, SystemTime, Puts)> {
    let kind = *input.choose(&Kind::ALL)?;
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(u64::from(input.arbitrary::<u32>()?));
    let stuffing = vec![b'.'; input.int_in_range(0..=3800)?];
    let mut puts: Puts = vec![(STUFFING, Put::Text(Some(stuffing)))];
    while !input.is_empty() {
        let field = *input.choose(field::ALL)?;
        if puts.iter().any(|(seen, _)| seen.key == field.key) {
            continue;
        }
        let put = match field.unit {
            Unit::Text(_) if input.ratio(1, 4)? => Put::List(input.int_in_range(0..=field::ALL.len())?),
            Unit::Text(_) => Put::Text(text(input)?),
            _ if input.ratio(1, 4)? => Put::Number(Some(*input.choose(&[0, LEAST, i64::MAX, -1])?)),
            _ => Put::Number(input.arbitrary::<Option<i64>>()?.map(|number| number.max(LEAST))),
        };
        puts.push((field, put));
    }
    Ok((kind, now, puts))
}

fn words(count: usize) -> impl Iterator<Item = &'static str> + Clone {
    field::ALL.iter().take(count).map(|field| field.key)
}

fn check(bytes: &[u8], kind: Kind, puts: &[(&Field, Put)]) {
    assert!(bytes.len() <= MAX_LINE_BYTES);
    assert_eq!(bytes.iter().position(|byte| *byte == b'\n'), Some(bytes.len() - 1));
    let line = Line::decode(str::from_utf8(bytes).expect("UTF-8")).expect("what is encoded decodes");
    assert_eq!(line.event.as_deref(), kind.event());
    let mut pairs = line.pairs().peekable();
    for (field, put) in puts {
        match pairs.peek() {
            Some((key, reading)) if *key == field.key => assert!(is_told(field, put, reading), "{key}: {reading:?}"),
            // Left out, because it says nothing or because the line was full.
            _ => {
                let is_full = bytes.len() + widest(field) > MAX_LINE_BYTES;
                assert!(is_silent(field, put) || is_full, "{} is lost", field.key);
                continue;
            }
        }
        pairs.next();
    }
    assert_eq!(pairs.next(), None, "a key that was not put");
}

/// Bytes that a pair can take.
fn widest(field: &Field) -> usize {
    let value = if let Unit::Text(cap) = field.unit { cap } else { "-9223372036854775807.".len() };
    " =\"\"".len() + field.key.len() + value
}

fn is_silent(field: &Field, put: &Put) -> bool {
    match put {
        Put::Number(Some(0)) => field.print == Print::OverZero,
        Put::List(count) => *count == 0,
        Put::Number(None) | Put::Text(None) => field.print != Print::Contract,
        _ => false,
    }
}

fn is_told(field: &Field, put: &Put, reading: &Reading<'_>) -> bool {
    match (put, reading) {
        (Put::Number(None) | Put::Text(None), Reading::Unread) => field.print == Print::Contract,
        (Put::Number(Some(number)), Reading::Value(shown)) => {
            let digits = shown.replace('.', "");
            digits.parse() == Ok(*number)
        }
        (Put::Text(Some(text)), Reading::Value(shown)) => is_text(&String::from_utf8_lossy(text), shown, field.unit),
        (Put::List(count), Reading::Value(shown)) => {
            is_text(&words(*count).collect::<Vec<_>>().join(","), shown, field.unit)
        }
        _ => false,
    }
}

fn is_text(whole: &str, shown: &str, unit: Unit) -> bool {
    let is_whole_or_cut = shown == whole || shown.strip_suffix('…').is_some_and(|head| whole.starts_with(head));
    // Escapes only make it wider in the line.
    is_whole_or_cut && matches!(unit, Unit::Text(cap) if shown.len() <= cap)
}
