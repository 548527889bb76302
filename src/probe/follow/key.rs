//! What makes two lines the same: all but their times. Pure.

use std::hash::{BuildHasher, Hasher as _};

/// The key of a line: dates and times of day in it, wherever they stand, are taken as one and the same.
#[must_use]
pub fn key(line: &str, hasher: &impl BuildHasher) -> u64 {
    let mut hasher = hasher.build_hasher();
    let mut rest = line.as_bytes();
    let mut plain = 0;
    while let Some(byte) = rest.get(plain) {
        let time = if byte.is_ascii_digit() { time_len(rest.get(plain..).unwrap_or_default()) } else { 0 };
        if time == 0 {
            // The rest of a number is no time.
            let digits = rest.iter().skip(plain).take_while(|byte| byte.is_ascii_digit()).count();
            plain += digits.max(1);
            continue;
        }
        hasher.write(rest.get(..plain).unwrap_or_default());
        hasher.write_u8(0);
        rest = rest.get(plain + time..).unwrap_or_default();
        plain = 0;
    }
    hasher.write(rest);
    hasher.finish()
}

/// Bytes of the date, the time of day or both at the start; 0 where there is none.
fn time_len(text: &[u8]) -> usize {
    let date = shape(text, b"0000-00-00");
    let behind = match (date, text.get(date)) {
        (0, _) => 0,
        (date, Some(b'T' | b' ')) => date + 1,
        (date, _) => return date,
    };
    let time = text.get(behind..).unwrap_or_default();
    match shape(time, b"00:00:00") {
        0 => date,
        clock => behind + clock + fraction(time.get(clock..).unwrap_or_default()),
    }
}

/// As long as the shape, when the text has it: a digit for each 0.
fn shape(text: &[u8], shape: &[u8]) -> usize {
    let has_it = text.len() >= shape.len()
        && text.iter().zip(shape).all(|(byte, like)| if *like == b'0' { byte.is_ascii_digit() } else { byte == like });
    if has_it { shape.len() } else { 0 }
}

/// `.123Z`, `,123`, `+00:00` and so on.
fn fraction(text: &[u8]) -> usize {
    let digits = |from: usize| text.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
    let fraction = match text.first() {
        Some(b'.' | b',') if digits(1) > 0 => 1 + digits(1),
        _ => 0,
    };
    let zone = text.get(fraction..).unwrap_or_default();
    fraction
        + match zone.first() {
            Some(b'Z') => 1,
            Some(b'+' | b'-') => {
                shape(zone.get(1..).unwrap_or_default(), b"00:00").checked_add(1).filter(|len| *len > 1).unwrap_or(0)
            }
            _ => 0,
        }
}

#[cfg(test)]
mod tests {
    use std::hash::RandomState;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_times_do_not_matter() {
        let hasher = RandomState::new();
        let same = |a: &str, b: &str| key(a, &hasher) == key(b, &hasher);
        for (a, b) in [
            ("[2026-06-04 12:00:00Z INFO Listener] poll", "[2026-06-05 00:11:22Z INFO Listener] poll"),
            ("2026-06-04T12:00:00.123Z a", "2026-06-04T12:00:01.9Z a"),
            ("2026-06-04T12:00:00+00:00 a", "2026-06-04T12:00:00,123+02:00 a"),
            ("at 12:00:00 x", "at 12:00:01 x"),
            ("on 2026-06-04 x", "on 2026-06-05 x"),
        ] {
            assert!(same(a, b), "{a} {b}");
        }
        for (a, b) in [
            ("exit 1", "exit 2"),
            ("[2026-06-04 12:00:00Z INFO A] x", "[2026-06-04 12:00:00Z INFO B] x"),
            ("12:00", "12:01"),
            ("1112:00:00", "1212:00:00"),
            ("a12:00:00", "b12:00:00"),
            ("", "2026-06-04"),
        ] {
            assert!(!same(a, b), "{a} {b}");
        }
    }

    proptest! {
        #[test]
        fn a_line_is_itself(line in ".{0,60}", digits in "[0-9:. TZ+-]{0,60}") {
            let hasher = RandomState::new();
            prop_assert_eq!(key(&line, &hasher), key(&line, &hasher));
            prop_assert_eq!(key(&digits, &hasher), key(&digits, &hasher));
        }
    }
}
