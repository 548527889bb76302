//! Private keys: from `-----BEGIN … PRIVATE KEY-----` to its `END`, within a line or over many. RFC 7468.
//!
//! Certificates and public keys pass: they are no secret, and say which one it was; nor do they end a key. Two writers can
//! have their keys mixed in one file, so a key is over when as many have ended as began. A key can have begun in a file that
//! was rotated away: where nothing is known of what was before, bare lines of base64 are taken for its rest, and so is what
//! stands before an `END` in a line.

use memchr::memmem;

use super::{Behind, MASK, scan};

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";
const PRIVATE: &[u8] = b"PRIVATE KEY";

/// A label is no longer than this.
const LABEL: usize = 48;

/// A block of more lines is none: the key of 16384 bits has 196.
const MOST_LINES: usize = 512;

/// Likewise bytes.
const MOST_BYTES: usize = 64 * 1024;

/// After so many lines that are not of a key it was only mentioned that one begins.
const MOST_STRANGE: usize = 8;

/// A line of a key has so much base64 at least, but for the last of them, or is of nothing else.
const BODY: usize = 40;

/// A line of a key and nothing else is no longer: RFC 7468 has 64, OpenPGP 76.
const LONGEST: usize = 128;

/// Where a line stands.
#[derive(Debug, Default)]
pub(super) enum Place {
    /// Nobody knows: the file begins here, or what was before was passed over.
    #[default]
    Unknown,
    /// In the rest of a key, as far as that can be told without its beginning.
    Rest(Block),
    /// In no key.
    Outside,
    /// In a key whose end has not come yet.
    Within(Block),
}

/// A block whose end has not come yet.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// Keys that began and have not ended.
    keys: usize,
    lines: usize,
    bytes: usize,
    strange: usize,
}

/// What becomes of a block with one more line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It goes on, or there is none.
    Kept,
    /// It had no end, and is given up.
    GivenUp,
}

impl Place {
    /// How many keys are open where this line begins.
    pub(super) fn keys(&self, line: &[u8]) -> usize {
        match self {
            Self::Unknown => usize::from(is_bare(line) && line.len() >= BODY),
            Self::Rest(_) => usize::from(is_bare(line)),
            Self::Outside => 0,
            Self::Within(block) => block.keys,
        }
    }

    /// Counts this line, which is the next.
    pub(super) fn take(&mut self, line: &[u8]) -> Fate {
        let keys = self.keys(line);
        if keys == 0 {
            *self = Self::Outside;
            return Fate::Kept;
        }
        if matches!(self, Self::Unknown) {
            *self = Self::Rest(Block::default());
        }
        let is_over = match self {
            Self::Rest(block) | Self::Within(block) => block.is_over(line),
            Self::Unknown | Self::Outside => false,
        };
        if !is_over {
            return Fate::Kept;
        }
        *self = Self::Outside;
        Fate::GivenUp
    }

    /// So many keys are open behind the line that was taken.
    pub(super) fn leave(&mut self, keys: usize) {
        *self = match (std::mem::replace(self, Self::Outside), keys) {
            (_, 0) => Self::Outside,
            (Self::Rest(block), 1) => Self::Rest(block),
            (Self::Within(block), keys) => Self::Within(Block { keys, ..block }),
            (_, keys) => Self::Within(Block { keys, ..Block::default() }),
        };
    }
}

impl Block {
    /// Counts one more line; whether it is none of the block any more.
    fn is_over(&mut self, line: &[u8]) -> bool {
        self.lines += 1;
        self.bytes += line.len();
        let has_body = is_bare(line) || line.split(|byte| !is_base64(*byte)).any(|run| run.len() >= BODY);
        self.strange = if has_body { 0 } else { self.strange + 1 };
        self.lines > MOST_LINES || self.bytes > MOST_BYTES || self.strange > MOST_STRANGE
    }
}

/// Adds a line to `out` without its secrets, before which so many keys are open; gives how many are behind it.
pub(super) fn line(text: &[u8], open: usize, behind: Behind, out: &mut Vec<u8>) -> usize {
    // Of those that are open, `older` began before this line.
    let (mut older, mut keys) = (open, open);
    let mut plain_from = 0;
    if keys > 0 {
        out.extend_from_slice(MASK);
    }
    for marker in markers(text, behind) {
        match marker.what {
            What::Begin if keys == 0 => {
                scan(text.get(plain_from..marker.at).unwrap_or_default(), Behind::Nothing, out);
                out.extend_from_slice(MASK);
                keys = 1;
            }
            What::Begin => keys += 1,
            What::End => {
                if keys == 0 {
                    // Its beginning was not seen: all before it may be of the key.
                    out.extend_from_slice(MASK);
                }
                keys = keys.saturating_sub(1);
                older = older.min(keys);
                plain_from = marker.behind;
            }
        }
    }
    if keys == 0 {
        scan(text.get(plain_from..).unwrap_or_default(), behind, out);
    }
    // A key that begins in a line whose rest was cut off is in this very line; the end of the line tells if not.
    if behind == Behind::More { older } else { keys }
}

/// How many keys are open behind a long line, by its last bytes, when what was read of it leaves so many open.
pub(super) fn at_end(end: &[u8], keys: usize) -> usize {
    match markers(end, Behind::Nothing).last().map(|marker| marker.what) {
        None => keys,
        Some(What::Begin) => keys.max(1),
        Some(What::End) => 0,
    }
}

/// What begins or ends a private key, from where to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Marker {
    what: What,
    at: usize,
    behind: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Begin,
    End,
}

/// Those of a text, in their order.
fn markers(text: &[u8], behind: Behind) -> impl Iterator<Item = Marker> {
    let mut begins = markers_of(text, What::Begin, behind).peekable();
    let mut ends = markers_of(text, What::End, Behind::Nothing).peekable();
    std::iter::from_fn(move || match (begins.peek(), ends.peek()) {
        (Some(begin), Some(end)) if begin.at < end.at => begins.next(),
        (Some(_), None) => begins.next(),
        _ => ends.next(),
    })
}

fn markers_of(text: &[u8], what: What, behind: Behind) -> impl Iterator<Item = Marker> {
    let word = if what == What::Begin { BEGIN } else { END };
    memmem::find_iter(text, word).filter_map(move |at| {
        let behind = behind_label(text, at + word.len(), behind)?;
        Some(Marker { what, at, behind })
    })
}

/// The place behind the label that begins here, when it is that of a private key.
fn behind_label(text: &[u8], from: usize, behind: Behind) -> Option<usize> {
    let rest = text.get(from..).unwrap_or_default();
    let label = rest.get(..LABEL.min(rest.len())).unwrap_or_default();
    let dashes = memmem::find(label, DASHES);
    let name = label.get(..dashes.unwrap_or(label.len())).unwrap_or_default();
    match (memmem::find(name, PRIVATE), dashes) {
        (Some(_), Some(dashes)) => Some(from + dashes + DASHES.len()),
        // Torn off: behind the words that say it.
        (Some(at), None) => Some(from + at + PRIVATE.len()),
        (None, None) if behind == Behind::More && label.len() < LABEL => Some(text.len()),
        (None, _) => None,
    }
}

/// Whether the line is of base64 and nothing else, and as long as a key's can be.
fn is_bare(line: &[u8]) -> bool {
    let text = line.trim_ascii();
    !text.is_empty() && text.len() <= LONGEST && text.iter().all(|byte| is_base64(*byte))
}

/// The alphabet of PEM, which has neither the `-` nor the `_` of names and rules.
const fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}
