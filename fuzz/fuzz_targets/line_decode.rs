//! Any text as a line: an error points into it, and what decodes says the same when its values are written again.
#![no_main]

use std::collections::BTreeSet;
use std::time::SystemTime;

use libfuzzer_sys::fuzz_target;
use runner_vitals::line::field::{self, Field, Kind, Print, Unit};
use runner_vitals::line::{Encoder, Line, LineBuilder, Reading, RunId};

fuzz_target!(|text: &str| {
    let line = match Line::decode(text) {
        Ok(line) => line,
        Err(error) => return assert!(text.is_char_boundary(error.at), "{error}"),
    };
    assert_eq!(Line::decode(text.trim_end_matches('\n')).as_ref(), Ok(&line));
    let keys: BTreeSet<&str> = line.pairs().map(|(key, _)| key).collect();
    assert_eq!(keys.len(), line.pairs().count(), "a key twice");
    for (key, reading) in line.pairs() {
        let Some(field) = field::find(key) else { continue };
        match (reading, field.unit) {
            (Reading::Unread, _) => {}
            // As many bytes as an escape can make of each.
            (Reading::Value(text), Unit::Text(_)) if text.len() < 500 => {
                let roomy = Field { unit: Unit::Text(text.len() * 6 + 3), ..*field };
                again(
                    |line| _ = line.text(&roomy, Some(text.as_bytes())),
                    |line| assert_eq!(line.text(field), Some(&**text)),
                );
            }
            (Reading::Value(_), Unit::Text(_)) => {}
            (Reading::Value(_), _) => {
                let scaled = line.scaled(field);
                assert!(scaled.is_some(), "{key} decoded and is not a number");
                let known = Field { print: Print::Known, ..*field };
                again(|line| _ = line.number(&known, scaled), |line| assert_eq!(line.scaled(field), scaled));
            }
        }
    }
});

/// Writes a line, and reads it.
fn again(put: impl FnOnce(&mut LineBuilder<'_>), check: impl FnOnce(&Line<'_>)) {
    let mut encoder = Encoder::new(RunId::from_random(0));
    let mut line = encoder.begin(Kind::Sample, SystemTime::UNIX_EPOCH);
    put(&mut line);
    let bytes = line.finish();
    check(&Line::decode(str::from_utf8(bytes).expect("UTF-8")).expect("what is encoded decodes"));
}
