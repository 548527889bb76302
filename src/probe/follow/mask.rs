//! Secrets to `***`: in one line, and in blocks of lines. Pure, in linear time, by hand: a table of what tokens look
//! like (`tokens`), the names that secrets are given (`named`, `apart`), URLs (`url`) and private keys (`pem`).
//!
//! When in doubt it masks: a word too many lost is a nuisance, a secret that got out is not to be called back. What has
//! neither a form nor a name of its own it cannot know.

mod apart;
mod named;
mod pem;
mod tokens;
mod url;

use std::ops::Range;

use super::split::Raw;

/// What stands in place of a secret.
pub const MASK: &[u8] = b"***";

/// So many of a secret's last bytes are looked at for another.
const OVERLAP: usize = 128;

/// What comes behind the text that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// Nothing: the line is whole.
    Nothing,
    /// Perhaps more: what could be the beginning of a secret is one.
    More,
}

/// What came of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Masked {
    /// NULs that were left out.
    pub nuls: u64,
    /// A block that was being masked had no end: it was given up before this line.
    pub was_unclosed: bool,
}

/// Masks the lines of one file, one after the other.
#[derive(Debug, Default)]
pub struct Masker {
    place: pem::Place,
    clean: Vec<u8>,
}

impl Masker {
    /// Adds the line to `out`, without its secrets.
    pub fn line(&mut self, raw: Raw<'_>, out: &mut Vec<u8>) -> Masked {
        let behind = if raw.end.is_empty() { Behind::Nothing } else { Behind::More };
        let nuls = self.clean_up(raw);
        let keys = self.place.keys(&self.clean);
        let fate = self.place.take(&self.clean);
        let keys = if fate == pem::Fate::GivenUp { 0 } else { keys };
        let keys = pem::line(&self.clean, keys, behind, out);
        self.place.leave(pem::at_end(raw.end, keys));
        Masked { nuls, was_unclosed: fate == pem::Fate::GivenUp }
    }

    /// The same of a line that has only begun: it comes again, and changes nothing yet.
    pub fn begun(&mut self, raw: Raw<'_>, out: &mut Vec<u8>) -> Masked {
        let nuls = self.clean_up(raw);
        pem::line(&self.clean, self.place.keys(&self.clean), Behind::More, out);
        Masked { nuls, was_unclosed: false }
    }

    /// What comes next may or may not go on with what was before: a key that is open stays so.
    pub fn interrupted(&mut self) {
        if !matches!(self.place, pem::Place::Within(_)) {
            self.place = pem::Place::Unknown;
        }
    }

    /// The lines that come next have nothing to do with those before.
    pub fn forget(&mut self) {
        self.place = pem::Place::Unknown;
    }

    /// What could stand between the letters of a secret without being seen is left out: NULs and colours.
    fn clean_up(&mut self, raw: Raw<'_>) -> u64 {
        self.clean.clear();
        let text = raw.head.strip_suffix(b"\r").filter(|_| raw.end.is_empty()).unwrap_or(raw.head);
        let mut rest = text;
        let mut nuls = 0;
        while let Some(at) = memchr::memchr2(0, 0x1b, rest) {
            let (plain, from) = rest.split_at_checked(at).unwrap_or_default();
            self.clean.extend_from_slice(plain);
            let len = match from.first() {
                Some(0) => 1,
                _ => control_len(from),
            };
            nuls += u64::from(from.first() == Some(&0));
            if len == 0 {
                self.clean.push(0x1b);
            }
            rest = from.get(len.max(1)..).unwrap_or_default();
        }
        self.clean.extend_from_slice(rest);
        nuls
    }
}

/// Adds the text to `out`, without its secrets; blocks of several lines are not looked for.
pub fn scan(text: &[u8], behind: Behind, out: &mut Vec<u8>) {
    let mut plain_from = 0;
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        at += 1;
        let Some(Range { start, end }) = secret(text, at - 1, *byte, behind) else { continue };
        if end <= plain_from {
            continue;
        }
        out.extend_from_slice(text.get(plain_from..start).unwrap_or_default());
        if !out.ends_with(MASK) || start > plain_from {
            out.extend_from_slice(MASK);
        }
        plain_from = end;
        // Its last bytes can give away another that goes on behind it: `Bearer TOKEN='…'`.
        at = at.max(end.saturating_sub(OVERLAP));
    }
    out.extend_from_slice(text.get(plain_from..).unwrap_or_default());
}

/// The secret that this byte gives away. Most bytes give none away, and cost a comparison.
fn secret(text: &[u8], at: usize, byte: u8, behind: Behind) -> Option<Range<usize>> {
    match byte {
        b'=' => named::assigned(text, at),
        b':' => url::login(text, at, behind).or_else(|| named::assigned(text, at)).or_else(|| apart::paired(text, at)),
        b' ' => named::bearer(text, at).or_else(|| apart::of_login(text, at)),
        b'>' => apart::element(text, at),
        b']' => apart::add_mask(text, at),
        b'-' => named::flag(text, at).or_else(|| tokens::token(text, at, behind)),
        b'_' | b'.' | b'6' | b'A' | b'a' | b'I' | b'J' => tokens::token(text, at, behind),
        _ => None,
    }
}

/// Bytes of the terminal's control sequence at the start: ECMA-48, CSI.
fn control_len(text: &[u8]) -> usize {
    if text.get(1) != Some(&b'[') {
        return 0;
    }
    let parameters = text.iter().skip(2).take(32).take_while(|byte| matches!(byte, 0x20..=0x3f)).count();
    match text.get(2 + parameters) {
        Some(0x40..=0x7e) => 3 + parameters,
        _ => 0,
    }
}

/// How many bytes from this place on are of a kind.
fn run(text: &[u8], from: usize, is_of_kind: impl Fn(u8) -> bool) -> usize {
    text.iter().skip(from).take_while(|byte| is_of_kind(**byte)).count()
}

#[cfg(test)]
mod tests;
