//! What the parsers of kernel files share: lines, words and numbers in bytes that may hold anything.

/// The lines of a file, without their newlines. Half of a sample's own time goes by in here.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let end = memchr::memchr(b'\n', text);
        rest = end.and_then(|end| text.get(end + 1..));
        text.get(..end.unwrap_or(text.len()))
    })
}

/// The words of a line: what stands between spaces, tabs and colons.
pub(crate) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| matches!(byte, b' ' | b'\t' | b':' | b'\r')).filter(|word| !word.is_empty())
}

/// A whole decimal number; `None` for anything else, overflow included.
pub(crate) fn number(word: &[u8]) -> Option<u64> {
    if word.is_empty() {
        return None;
    }
    word.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// A whole decimal number that may be below zero.
pub(crate) fn signed(word: &[u8]) -> Option<i64> {
    match word.strip_prefix(b"-") {
        Some(digits) => i64::try_from(number(digits)?).ok().map(|value| -value),
        None => i64::try_from(number(word)?).ok(),
    }
}

/// A number with exactly two decimals, in hundredths: `12.03` is 1203.
pub(crate) fn hundredths(word: &[u8]) -> Option<u64> {
    let (whole, fraction) = word.split_at_checked(word.len().checked_sub(3)?)?;
    let fraction = fraction.strip_prefix(b".")?;
    number(whole)?.checked_mul(100)?.checked_add(number(fraction)?)
}

/// The number behind `key ` (or `key:`) where a line begins with it.
pub(crate) fn keyed(line: &[u8], key: &[u8]) -> Option<u64> {
    let rest = line.strip_prefix(key)?;
    let rest = rest.strip_prefix(b" ").or_else(|| rest.strip_prefix(b":"))?;
    number(words(rest).next()?)
}

/// The place of `needle` in `text`.
pub(crate) fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len().max(1)).position(|window| window == needle)
}

/// What follows `needle` in `text`.
pub(crate) fn after<'a>(text: &'a [u8], needle: &[u8]) -> Option<&'a [u8]> {
    text.get(find(text, needle)? + needle.len()..)
}

/// What stands in `text` before `end`.
pub(crate) fn before<'a>(text: &'a [u8], end: &[u8]) -> Option<&'a [u8]> {
    text.get(..find(text, end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (word, value) in [
            (&b"0"[..], Some(0)),
            (b"18446744073709551615", Some(u64::MAX)),
            (b"18446744073709551616", None),
            (b"", None),
            (b"-1", None),
            (b"1x", None),
            (b"\xff", None),
        ] {
            assert_eq!(number(word), value, "{word:?}");
        }
        for (word, value) in [
            (&b"-998"[..], Some(-998)),
            (b"-0", Some(0)),
            (b"7", Some(7)),
            (b"9223372036854775807", Some(i64::MAX)),
            (b"9223372036854775808", None),
            (b"--1", None),
            (b"-", None),
            (b"", None),
        ] {
            assert_eq!(signed(word), value, "{word:?}");
        }
        for (word, value) in
            [(&b"12.03"[..], Some(1203)), (b"0.00", Some(0)), (b".00", None), (b"1.0", None), (b"", None)]
        {
            assert_eq!(hundredths(word), value, "{word:?}");
        }
    }

    #[test]
    fn lines_are_cut_at_newlines() {
        for (text, expected) in
            [(&b""[..], &[&b""[..]][..]), (b"a", &[b"a"]), (b"a\nb\n", &[b"a", b"b", b""]), (b"\n", &[b"", b""])]
        {
            assert_eq!(lines(text).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_key_is_matched_whole() {
        assert_eq!(keyed(b"oom 3", b"oom"), Some(3));
        assert_eq!(keyed(b"MemTotal:   7 kB", b"MemTotal"), Some(7));
        assert_eq!(keyed(b"oom_kill 3", b"oom"), None);
        assert_eq!(keyed(b"oom", b"oom"), None);
    }
}
