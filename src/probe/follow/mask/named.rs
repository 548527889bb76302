//! Secrets that are known by the name they are given: `password=…`, `"token": "…"`, `--token …`, `Authorization: …`.

use std::ops::Range;

use super::run;

/// A name is no longer.
pub(super) const NAME: usize = 64;

/// What a secret's name ends in, without its `_`, `-` and `.`, and without the digits that can follow.
const ENDINGS: [&[u8]; 19] = [
    b"password",
    b"passwd",
    b"passphrase",
    b"secret",
    b"secrets",
    b"token",
    b"apikey",
    b"accesskey",
    b"secretkey",
    b"privatekey",
    b"accountkey",
    b"encryptionkey",
    b"signingkey",
    b"masterkey",
    b"signature",
    b"credential",
    b"credentials",
    // The settings of a just-in-time runner of GitHub's: they hold its private key.
    b"jitconfig",
    b"pwd",
];

/// Whole names: Azure's SAS, npm's.
const NAMES: [&[u8]; 2] = [b"sig", b"auth"];

/// Names of headers, of which all is secret: their values have several words.
const HEADERS: [&[u8]; 3] = [b"authorization", b"cookie", b"xapikey"];

/// .NET's, in every name of an assembly, and what cancels its tasks.
const HARMLESS: [&[u8]; 2] = [b"publickeytoken", b"cancellationtoken"];

/// Values that are none.
const NO_SECRETS: [&[u8]; 6] = [b"true", b"false", b"null", b"none", b"nil", b"undefined"];

/// Words between a header's name and the secret.
const SCHEMES: [&[u8]; 3] = [b"bearer", b"basic", b"token"];

/// From here on a word behind `Bearer` is a token even without a digit.
const LONG_WORD: usize = 20;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Secrecy {
    /// One value.
    Value,
    /// A whole header.
    Header,
    /// A password or the working directory.
    Pwd,
}

/// The value that is assigned here, at a `=` or `:`, to a secret's name.
pub(super) fn assigned(text: &[u8], at: usize) -> Option<Range<usize>> {
    const ADD_MASK: &[u8] = b"::add-mask::";
    let (head, tail) = text.split_at_checked(at)?;
    if tail.starts_with(ADD_MASK) {
        return Some(at + ADD_MASK.len()..text.len()).filter(|value| !value.is_empty());
    }
    if tail.starts_with(b"::") || (tail.starts_with(b":") && head.ends_with(b":")) {
        return None;
    }
    let secrecy = secrecy(name_before(head)?)?;
    let operator = run(text, at, |byte| matches!(byte, b'=' | b':' | b'>')).min(3);
    let start = at + operator + run(text, at + operator, is_blank).min(16);
    let is_structure = tail.starts_with(b":") && matches!(text.get(start), Some(b'{' | b'['));
    if is_structure || (secrecy == Secrecy::Pwd && text.get(start) == Some(&b'/')) {
        return None;
    }
    value(text, start, secrecy)
}

/// The value behind a flag, at its first `-`: `--token …`, `"--token", "…"`.
pub(super) fn flag(text: &[u8], at: usize) -> Option<Range<usize>> {
    let before = at.checked_sub(1).and_then(|before| text.get(before));
    if before.is_some_and(|byte| is_name(*byte)) {
        return None;
    }
    let start = at + run(text, at, |byte| byte == b'-').min(2);
    let rest = text.get(start..)?;
    let name = rest.get(..run(rest.get(..rest.len().min(NAME))?, 0, is_name))?;
    let secrecy = secrecy(name).filter(|secrecy| *secrecy != Secrecy::Pwd)?;
    let closed = start + name.len() + run(text, start + name.len(), is_quote_or_escape).min(8);
    let gap = run(text, closed, |byte| is_blank(byte) || byte == b',').min(16);
    let start = closed + gap;
    if gap == 0 || text.get(start) == Some(&b'-') {
        return None;
    }
    value(text, start, secrecy)
}

/// The token behind the word `Bearer` or `Basic` that ends here, at a blank.
pub(super) fn bearer(text: &[u8], at: usize) -> Option<Range<usize>> {
    let head = text.get(..at)?;
    let ends = |word: &[u8]| {
        let from = at.checked_sub(word.len())?;
        head.get(from..)?.eq_ignore_ascii_case(word).then_some(from)
    };
    let from = ends(b"bearer").or_else(|| ends(b"basic"))?;
    if from.checked_sub(1).and_then(|before| text.get(before)).is_some_and(u8::is_ascii_alphanumeric) {
        return None;
    }
    let start = at + run(text, at, is_blank).min(16);
    let end = one_word_end(text, start);
    let token = text.get(start..end)?;
    // Stars do not count: what was masked in it does not make it longer when it is masked again.
    let len = token.iter().filter(|byte| **byte != b'*').count();
    let is_token = len >= LONG_WORD || (len >= 8 && token.iter().any(u8::is_ascii_digit));
    is_token.then_some(start..end)
}

/// The name that ends where `head` ends, but for blanks and what may close it.
fn name_before(head: &[u8]) -> Option<&[u8]> {
    let trimmed = trim_end(trim_end(head, 2, is_blank), 8, |byte| is_quote_or_escape(byte) || byte == b']');
    let near = trimmed.get(trimmed.len().saturating_sub(NAME)..)?;
    let len = near.iter().rev().take_while(|byte| is_name(**byte)).count();
    near.get(near.len() - len..).filter(|name| !name.is_empty())
}

/// Whether it is what secrets are called.
pub(super) fn is_secret_name(name: &[u8]) -> bool {
    secrecy(name).is_some()
}

/// The one value that begins here; `None` for one that is no secret.
pub(super) fn value_at(text: &[u8], at: usize) -> Option<Range<usize>> {
    value(text, at, Secrecy::Value)
}

fn trim_end(text: &[u8], most: usize, is_trimmed: impl Fn(u8) -> bool) -> &[u8] {
    let len = text.iter().rev().take(most).take_while(|byte| is_trimmed(**byte)).count();
    text.get(..text.len() - len).unwrap_or_default()
}

fn secrecy(name: &[u8]) -> Option<Secrecy> {
    let name = trim_end(name, NAME, |byte| byte.is_ascii_digit() || is_joint(byte));
    let is_any = |words: &[&[u8]], place: Place| words.iter().any(|word| ends(name, word, place));
    if is_any(&HEADERS, Place::End) {
        return Some(Secrecy::Header);
    }
    if !is_any(&NAMES, Place::Whole) && (!is_any(&ENDINGS, Place::End) || is_any(&HARMLESS, Place::End)) {
        return None;
    }
    Some(if ends(name, b"pwd", Place::End) { Secrecy::Pwd } else { Secrecy::Value })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    End,
    Whole,
}

fn ends(name: &[u8], word: &[u8], place: Place) -> bool {
    let mut letters = name.iter().rev().filter(|byte| !is_joint(**byte)).map(u8::to_ascii_lowercase);
    word.iter().rev().all(|letter| letters.next() == Some(*letter)) && (place == Place::End || letters.next().is_none())
}

/// The value that begins here; `None` for one that is no secret.
fn value(text: &[u8], at: usize, secrecy: Secrecy) -> Option<Range<usize>> {
    let escapes = run(text, at, |byte| byte == b'\\').min(7);
    let range = match text.get(at + escapes) {
        Some(quote) if is_quote(*quote) => {
            let start = at + escapes + 1;
            start..closing(text, start, *quote, escapes)
        }
        _ if secrecy == Secrecy::Header => at..header_end(text, at),
        _ => at..word_end(text, at),
    };
    let value = text.get(range.clone())?;
    let word = trim_end(value, 4, |byte| matches!(byte, b',' | b';' | b'.' | b')' | b'}' | b']'));
    let is_secret = !word.is_empty() && !NO_SECRETS.iter().any(|none| word.eq_ignore_ascii_case(none));
    is_secret.then_some(range)
}

/// Where a quoted text ends: at the same quote, behind as many backslashes as the first or fewer.
fn closing(text: &[u8], start: usize, quote: u8, escapes: usize) -> usize {
    let mut backslashes = 0;
    for (at, byte) in text.iter().enumerate().skip(start) {
        if *byte == b'\\' {
            backslashes += 1;
            continue;
        }
        let is_escaped = if escapes == 0 { backslashes % 2 == 1 } else { backslashes > escapes };
        if *byte == quote && !is_escaped {
            return at - backslashes.min(escapes);
        }
        backslashes = 0;
    }
    text.len()
}

/// To the next blank, or to a quote that closes what stands around; behind a scheme, one word more.
fn word_end(text: &[u8], start: usize) -> usize {
    let end = one_word_end(text, start);
    let is_scheme = text.get(start..end).is_some_and(|word| SCHEMES.iter().any(|it| word.eq_ignore_ascii_case(it)));
    let next = end + run(text, end, is_blank).min(16);
    if is_scheme { one_word_end(text, next) } else { end }
}

fn one_word_end(text: &[u8], start: usize) -> usize {
    let is_end = |(at, byte): &(usize, &u8)| {
        let is_last = text.get(at + 1).is_none_or(|next| !next.is_ascii_alphanumeric());
        **byte <= b' ' || (is_quote(**byte) && is_last)
    };
    text.iter().enumerate().skip(start).find(is_end).map_or(text.len(), |(at, _)| at)
}

/// To the end of the line, or to a quote that closes what stands around; one behind a `=` is of the header.
fn header_end(text: &[u8], start: usize) -> usize {
    let mut at = start;
    while let Some(byte) = text.get(at) {
        if is_quote(*byte) {
            if at == start || text.get(at - 1) != Some(&b'=') {
                return at;
            }
            at = closing(text, at + 1, *byte, 0);
        }
        at += 1;
    }
    text.len()
}

pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

pub(super) fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'`')
}

pub(super) fn is_quote_or_escape(byte: u8) -> bool {
    is_quote(byte) || byte == b'\\'
}

fn is_joint(byte: u8) -> bool {
    matches!(byte, b'_' | b'-' | b'.')
}

pub(super) fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || is_joint(byte)
}
