//! Secrets whose name stands apart from them: `{"name": "TOKEN", "value": "…"}`, `<password>…</password>`, `login … password …`
//! of a netrc, `##[add-mask]…`.

use std::ops::Range;

use super::named::{NAME, is_blank, is_name, is_quote, is_quote_or_escape, is_secret_name, value_at};
use super::run;

/// The value here, behind the `:` of `"value": `, of a pair whose name stands before it and is a secret's.
pub(super) fn paired(text: &[u8], at: usize) -> Option<Range<usize>> {
    let before = before_quoted(text.get(..at)?, |key| key.eq_ignore_ascii_case(b"value"))?;
    let before = before_quoted(trim_blanks(before).strip_suffix(b",")?, is_secret_name)?;
    let before = trim_blanks(before).strip_suffix(b":")?;
    before_quoted(before, |key| key.eq_ignore_ascii_case(b"name") || key.eq_ignore_ascii_case(b"key"))?;
    let start = at + 1 + run(text, at + 1, is_blank).min(16);
    value_at(text, start)
}

/// What the element holds whose first tag ends here, at its `>`.
pub(super) fn element(text: &[u8], at: usize) -> Option<Range<usize>> {
    let head = text.get(at.saturating_sub(NAME)..at)?;
    let name = head.rsplit(|byte| !is_name(*byte)).next().filter(|name| is_secret_name(name))?;
    let before = head.get(..head.len() - name.len())?;
    (before.ends_with(b"<") || before.ends_with(b":")).then_some(())?;
    secret(text, at + 1, |byte| byte != b'<')
}

/// The word behind the `password` that ends here, at a blank, of one who logs in.
pub(super) fn of_login(text: &[u8], at: usize) -> Option<Range<usize>> {
    let head = text.get(at.saturating_sub(NAME)..at)?.strip_suffix(b" password")?;
    let user = head.rsplit(|byte| is_blank(*byte)).next()?;
    head.get(..head.len() - user.len())?.strip_suffix(b" ")?.strip_suffix(b"login")?;
    secret(text, at + run(text, at, is_blank).min(16), |byte| byte > b' ')
}

/// All that comes behind the command that ends here, at its `]`.
pub(super) fn add_mask(text: &[u8], at: usize) -> Option<Range<usize>> {
    let is_command = text.get(..at)?.ends_with(b"##[add-mask");
    (is_command && at + 1 < text.len()).then_some(at + 1..text.len())
}

fn secret(text: &[u8], start: usize, is_of_it: impl Fn(u8) -> bool) -> Option<Range<usize>> {
    let len = run(text, start, is_of_it);
    (len > 0).then_some(start..start + len)
}

/// What stands before the quoted word that `head` ends in, where it is such a one.
fn before_quoted(head: &[u8], is_wanted: impl Fn(&[u8]) -> bool) -> Option<&[u8]> {
    let head = trim_blanks(head);
    let open = head.split_last().filter(|(quote, _)| is_quote(**quote))?.1;
    let word_end = open.len() - open.iter().rev().take(8).take_while(|byte| **byte == b'\\').count();
    let inner = open.get(..word_end)?;
    let len = inner.iter().rev().take(NAME).take_while(|byte| is_name(**byte)).count();
    let (before, word) = inner.split_at_checked(word_end - len)?;
    let quotes = before.iter().rev().take(8).take_while(|byte| is_quote_or_escape(**byte)).count();
    let before = before.get(..before.len() - quotes)?;
    (quotes > 0 && is_wanted(word)).then_some(before)
}

fn trim_blanks(head: &[u8]) -> &[u8] {
    let len = head.iter().rev().take(16).take_while(|byte| is_blank(**byte)).count();
    head.get(..head.len() - len).unwrap_or_default()
}
