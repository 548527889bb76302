//! The user and the password in a URL: RFC 3986, 3.2.1.

use std::ops::Range;

use super::Behind;

/// A scheme is no longer.
const SCHEME: usize = 16;

/// So much further an `@` is looked for, where a password was not encoded as it should be.
const FAR: usize = 256;

/// The login of the URL whose `://` stands here, its slashes escaped or not: JSON has `:\/\/` too (RFC 8259, 7).
pub(super) fn login(text: &[u8], at: usize, behind: Behind) -> Option<Range<usize>> {
    let start = behind_slash(text, behind_slash(text, at + 1)?)?;
    let before = text.get(at.saturating_sub(SCHEME)..at)?;
    let scheme_len =
        before.iter().rev().take_while(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(byte)).count();
    let scheme = before.get(before.len() - scheme_len..)?;
    let authority_len =
        word(text, start, |at| !matches!(text.get(at), Some(b'?' | b'#')) && behind_slash(text, at).is_none());
    let authority = text.get(start..start + authority_len)?;
    let len = match authority.iter().rposition(|byte| *byte == b'@') {
        Some(len) => len,
        None if start + authority_len == text.len() && behind == Behind::More => authority_len,
        None => misspelled(authority, text, start)?,
    };
    // `ssh://git@host` is nobody's secret; a token can be a user's name where there is HTTP.
    let is_secret = authority.contains(&b':') || [&b"http"[..], b"ws"].iter().any(|web| contains(scheme, web));
    (is_secret && len > 0).then_some(start..start + len)
}

/// A password with a `/` in it: what looks like a port is none, and an `@` follows in the same word.
fn misspelled(authority: &[u8], text: &[u8], start: usize) -> Option<usize> {
    let port = authority.iter().rposition(|byte| *byte == b':').and_then(|at| authority.get(at + 1..))?;
    if port.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let near = text.get(..text.len().min(start + FAR))?;
    text.get(start..start + word(near, start, |_| true))?.iter().rposition(|byte| *byte == b'@')
}

/// The place behind the slash that stands here, with the backslashes that escape it.
fn behind_slash(text: &[u8], at: usize) -> Option<usize> {
    let slash = at + escapes(text, at);
    (text.get(slash) == Some(&b'/')).then_some(slash + 1)
}

/// How many bytes from this place on are of one word, and such as are wanted: to a blank, a quote or an escape that stands
/// for one. Other escapes are letters (`\u002b`).
fn word(text: &[u8], from: usize, is_wanted: impl Fn(usize) -> bool) -> usize {
    let mut at = from;
    while let Some(byte) = text.get(at) {
        let len = if *byte == b'\\' { escapes(text, at) } else { 1 };
        let escaped = if *byte == b'\\' { text.get(at + len) } else { None };
        let is_end = matches!(escaped, Some(b'"' | b'\'' | b'`' | b'b' | b'f' | b'n' | b'r' | b't'));
        if is_end || !is_in_word(*byte) || !is_wanted(at) {
            break;
        }
        at += len;
    }
    at - from
}

/// How many backslashes stand here: JSON in JSON in JSON has seven.
fn escapes(text: &[u8], at: usize) -> usize {
    text.iter().skip(at).take(7).take_while(|byte| **byte == b'\\').count()
}

fn is_in_word(byte: u8) -> bool {
    byte > b' ' && !matches!(byte, b'"' | b'\'' | b'`' | b'<' | b'>' | 0x7f)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
}
