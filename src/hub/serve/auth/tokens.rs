//! A file of hashed tokens: `sha256:<hex> <name> [<fleet>]` a line. A comment is `#` at a line's beginning or behind a
//! space, for a name may have one. The name is a runner's, or a reader's.
//!
//! A token is looked up by a part of its hash and then compared whole in constant time. Whoever tries tokens can see at
//! most how the hash of his own guess fares, and cannot choose that hash: nothing leads him from there to a token. A token
//! has to be random (32 bytes): then a plain SHA-256 of it is as good as a slow one, and can be read by anybody.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{Refusal, Sender};
use crate::line::field::{Field, RUNNER_FLEET, RUNNER_NAME, Unit};

/// What is kept of a token.
type Digest = [u8; 32];

/// What stands before a digest.
const SCHEME: &str = "sha256:";

/// Who may send, replaceable while it is asked.
#[derive(Debug)]
pub struct Tokens {
    table: RwLock<Arc<Table>>,
}

/// One reading of a tokens file.
#[derive(Default)]
pub struct Table {
    /// By the first bytes of the digest.
    senders: HashMap<[u8; 8], Vec<(Digest, Sender)>>,
    count: usize,
}

/// Why a tokens file is not taken. It names the line, never what stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokensError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl fmt::Display for TokensError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.problem)
    }
}

impl std::error::Error for TokensError {}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("count", &self.count).finish_non_exhaustive()
    }
}

impl Tokens {
    /// Tokens as a first reading has them.
    #[must_use]
    pub fn new(table: Table) -> Self {
        Self { table: RwLock::new(Arc::new(table)) }
    }

    /// Takes a newer reading: from now on only its tokens are good.
    pub fn replace(&self, table: Table) {
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(table);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.table.read().unwrap_or_else(PoisonError::into_inner).count()
    }

    /// Whether there are some, and each of them is among these others too.
    #[must_use]
    pub fn are_all_among(&self, others: &Self) -> bool {
        let [these, others] =
            [self, others].map(|tokens| Arc::clone(&tokens.table.read().unwrap_or_else(PoisonError::into_inner)));
        these.count > 0 && these.senders.values().flatten().all(|(digest, _)| others.find(digest).is_some())
    }

    /// Who this token belongs to.
    ///
    /// # Errors
    /// `unknown_token` when it stands in no line.
    pub fn sender(&self, token: &str) -> Result<Sender, Refusal> {
        let table = Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner));
        table.find(&digest(token)).cloned().ok_or(Refusal::Unauthenticated("unknown_token"))
    }
}

impl Table {
    /// Reads a file's text.
    ///
    /// # Errors
    /// Names the first line that is not of the form; nothing of such a file is taken.
    pub fn parse(text: &str) -> Result<Self, TokensError> {
        let mut table = Self::default();
        // What an editor puts before a text.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (at, line) in text.lines().enumerate() {
            let wrong = |problem| TokensError { line: at + 1, problem };
            let line = without_comment(line).trim();
            if line.is_empty() {
                continue;
            }
            let (digest, sender) = entry(line).map_err(wrong)?;
            if table.find(&digest).is_some() {
                return Err(wrong("a token twice"));
            }
            table.senders.entry(head(&digest)).or_default().push((digest, sender));
            table.count += 1;
        }
        Ok(table)
    }

    /// How many tokens it holds.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    fn find(&self, digest: &Digest) -> Option<&Sender> {
        let candidates = self.senders.get(&head(digest))?;
        candidates.iter().find(|(known, _)| bool::from(known.ct_eq(digest))).map(|(_, sender)| sender)
    }
}

/// A line up to its comment.
fn without_comment(line: &str) -> &str {
    let mut before = line.match_indices('#').filter_map(|(at, _)| line.get(..at));
    let is_end = |before: &&str| before.is_empty() || before.ends_with(|c: char| c.is_ascii_whitespace());
    before.find(is_end).unwrap_or(line)
}

/// A token as a tokens file has it.
#[must_use]
pub fn hashed(token: &str) -> String {
    use std::fmt::Write as _;
    let mut text = SCHEME.to_owned();
    for byte in digest(token) {
        // A string takes all that is written.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn digest(token: &str) -> Digest {
    Sha256::digest(token.as_bytes()).into()
}

fn head(digest: &Digest) -> [u8; 8] {
    digest.first_chunk().copied().unwrap_or_default()
}

fn entry(line: &str) -> Result<(Digest, Sender), &'static str> {
    let mut words = line.split_ascii_whitespace();
    let hash = words.next().and_then(|word| word.strip_prefix(SCHEME)).ok_or("it does not begin with sha256:")?;
    let digest = from_hex(hash).ok_or("a SHA-256 has 64 hexadecimal digits")?;
    let name = words.next().ok_or("the name is missing")?;
    let fleet = words.next();
    if words.next().is_some() {
        return Err("more than a hash, a name and a fleet");
    }
    // A longer one would be cut in the line, and two runners could become one.
    if !fits(name, RUNNER_NAME) {
        return Err("the name is longer than 253 bytes, or has quotes or control characters");
    }
    if fleet.is_some_and(|fleet| !fits(fleet, RUNNER_FLEET)) {
        return Err("the fleet's name is longer than 128 bytes, or has quotes or control characters");
    }
    Ok((digest, Sender { name: name.to_owned(), fleet: fleet.map(str::to_owned) }))
}

fn fits(name: &str, field: &Field) -> bool {
    matches!(field.unit, Unit::Text(cap) if name.len() <= cap)
        && !name.chars().any(|c| c.is_control() || matches!(c, '"' | '\\'))
}

fn from_hex(text: &str) -> Option<Digest> {
    let digits = text.as_bytes().chunks_exact(2);
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let bytes: Vec<u8> =
        digits.filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_its_lines_runner() {
        let text = format!(
            "# fleet of the day\n\n{} runner-1 linux # one\n  {}\trunner-2\r\n",
            hashed("first"),
            hashed("second").to_uppercase().replace("SHA256", "sha256"),
        );
        let tokens = Tokens::new(Table::parse(&text).unwrap());
        let sender = |name: &str, fleet: Option<&str>| Sender { name: name.into(), fleet: fleet.map(str::to_owned) };
        assert_eq!(tokens.sender("first"), Ok(sender("runner-1", Some("linux"))));
        assert_eq!(tokens.sender("second"), Ok(sender("runner-2", None)));
        for unknown in ["", "firs", "first ", "First", &hashed("first")] {
            assert_eq!(tokens.sender(unknown), Err(Refusal::Unauthenticated("unknown_token")), "{unknown}");
        }
        tokens.replace(Table::parse(&format!("{} runner-3", hashed("third"))).unwrap());
        assert!(tokens.sender("first").is_err());
        assert_eq!(tokens.sender("third"), Ok(sender("runner-3", None)));
    }

    #[test]
    fn a_comment_begins_a_line_or_follows_a_space() {
        let sender = |rest: &str| {
            let text = format!("\u{feff}#{}\n{} {rest}", hashed("other"), hashed("a"));
            Table::parse(&text).map(|table| Tokens::new(table).sender("a").map(|Sender { name, fleet }| (name, fleet)))
        };
        let is = |name: &str, fleet: Option<&str>| Ok(Ok((name.to_owned(), fleet.map(str::to_owned))));
        assert_eq!(sender("pool#1 linux"), is("pool#1", Some("linux")));
        assert_eq!(sender("pool#1 linux#2 # of pool#1"), is("pool#1", Some("linux#2")));
        assert_eq!(sender("pool\t#1 linux"), is("pool", None));
        assert_eq!(sender("# nobody").unwrap_err().problem, "the name is missing");
    }

    #[test]
    fn tokens_are_among_others_where_all_of_them_are() {
        let tokens = |of: &[&str]| {
            let text: String = of.iter().map(|token| format!("{} r\n", hashed(token))).collect();
            Tokens::new(Table::parse(&text).unwrap())
        };
        assert!(tokens(&["a"]).are_all_among(&tokens(&["a", "b"])));
        assert!(!tokens(&["a", "b"]).are_all_among(&tokens(&["a"])));
        assert!(!tokens(&[]).are_all_among(&tokens(&["a"])), "that is told by itself");
    }

    #[test]
    fn a_hash_is_that_of_sha256sum() {
        assert_eq!(hashed("abc"), "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn a_wrong_line_is_named_without_what_it_says() {
        let good = hashed("a");
        let cases = [
            ("secret runner", "it does not begin with sha256:"),
            ("sha256:secret runner", "a SHA-256 has 64 hexadecimal digits"),
            (&*format!("sha256:{} runner", "é".repeat(32)), "a SHA-256 has 64 hexadecimal digits"),
            (&good, "the name is missing"),
            (&format!("{good} a b c"), "more than a hash, a name and a fleet"),
            (&format!("{good} a\"b"), "the name is longer than 253 bytes, or has quotes or control characters"),
            (
                &format!("{good} {}", "r".repeat(254)),
                "the name is longer than 253 bytes, or has quotes or control characters",
            ),
            (
                &format!("{good} r {}", "f".repeat(129)),
                "the fleet's name is longer than 128 bytes, or has quotes or control characters",
            ),
            (&format!("{good} r\n{good} r"), "a token twice"),
        ];
        for (text, problem) in cases {
            let error = Table::parse(&format!("\n{text}\n")).unwrap_err();
            assert_eq!(error.problem, problem, "{text}");
            assert!(!error.to_string().contains("secret"));
        }
        assert_eq!(Table::parse(&format!("#\n{good} r\nx")).unwrap_err().line, 3);
        assert!(!format!("{:?}", Table::parse(&format!("{good} r")).unwrap()).contains("sha256"));
    }
}
