//! Tokens that are known by how they begin, whatever stands around them.

use std::ops::Range;

use super::{Behind, run};

/// One kind of token. Its beginning ends in the byte at which it is looked for.
struct Kind {
    begins: &'static [u8],
    body: Body,
    /// So many bytes of body at least.
    least: usize,
    place: Place,
}

/// What stands behind the beginning.
#[derive(Clone, Copy)]
enum Body {
    /// Letters, digits, `_`, `-` and `.`: also that of tokens that have a JWT in them.
    Word,
    /// The same, with a digit among the first of them: names made of words have none.
    WordWithDigit,
    /// Base64 of either alphabet.
    Base64,
    /// Letters in upper case and digits.
    Upper,
}

/// Where such a token can begin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Anywhere,
    /// Not within a word: the beginning is too short.
    Word,
}

const fn kind(begins: &'static str, body: Body, least: usize, place: Place) -> Kind {
    Kind { begins: begins.as_bytes(), body, least, place }
}

/// GitHub <https://docs.github.com/en/authentication/keeping-your-account-and-data-secure/about-authentication-to-github>,
/// Stripe, npm, Docker, Shopify, DigitalOcean, Buildkite, Grafana, Hugging Face, Tuist.
const UNDERSCORE: &[Kind] = &[
    kind("ghs_", Body::Word, 10, Place::Anywhere),
    kind("ghp_", Body::Word, 10, Place::Anywhere),
    kind("gho_", Body::Word, 10, Place::Anywhere),
    kind("ghu_", Body::Word, 10, Place::Anywhere),
    kind("ghr_", Body::Word, 10, Place::Anywhere),
    kind("github_pat_", Body::Word, 10, Place::Anywhere),
    kind("npm_", Body::WordWithDigit, 20, Place::Word),
    kind("dckr_pat_", Body::Word, 10, Place::Anywhere),
    kind("sk_live_", Body::Word, 10, Place::Anywhere),
    kind("rk_live_", Body::Word, 10, Place::Anywhere),
    kind("sk_test_", Body::Word, 10, Place::Anywhere),
    kind("shpat_", Body::Word, 20, Place::Anywhere),
    kind("dop_v1_", Body::Word, 20, Place::Anywhere),
    kind("bkua_", Body::Word, 20, Place::Anywhere),
    kind("glsa_", Body::WordWithDigit, 20, Place::Anywhere),
    kind("glc_", Body::WordWithDigit, 20, Place::Word),
    kind("hf_", Body::WordWithDigit, 30, Place::Word),
    kind("tuist_", Body::WordWithDigit, 20, Place::Word),
];

/// GitLab <https://docs.gitlab.com/security/tokens/#token-prefixes>, Slack <https://docs.slack.dev/authentication/tokens>,
/// PyPI, OpenAI and Anthropic, Tailscale.
const DASH: &[Kind] = &[
    kind("glpat-", Body::Word, 10, Place::Anywhere),
    kind("gldt-", Body::Word, 10, Place::Anywhere),
    kind("glrt-", Body::Word, 10, Place::Anywhere),
    kind("glrtr-", Body::Word, 10, Place::Anywhere),
    kind("glcbt-", Body::Word, 10, Place::Anywhere),
    kind("glptt-", Body::Word, 10, Place::Anywhere),
    kind("glsoat-", Body::Word, 10, Place::Anywhere),
    kind("glagent-", Body::Word, 10, Place::Anywhere),
    kind("gloas-", Body::Word, 10, Place::Anywhere),
    kind("xoxb-", Body::Word, 10, Place::Anywhere),
    kind("xoxp-", Body::Word, 10, Place::Anywhere),
    kind("xoxa-", Body::Word, 10, Place::Anywhere),
    kind("xoxr-", Body::Word, 10, Place::Anywhere),
    kind("xoxs-", Body::Word, 10, Place::Anywhere),
    kind("xoxe-", Body::Word, 10, Place::Anywhere),
    kind("xapp-", Body::Word, 10, Place::Anywhere),
    kind("pypi-", Body::Word, 50, Place::Word),
    kind("sk-", Body::WordWithDigit, 20, Place::Word),
    kind("tskey-", Body::WordWithDigit, 10, Place::Word),
];

/// Slack (rotated), Vault, Google, SendGrid.
const DOT: &[Kind] = &[
    kind("xoxe.", Body::Word, 10, Place::Anywhere),
    kind("hvs.", Body::Word, 20, Place::Word),
    kind("ya29.", Body::Word, 20, Place::Word),
    kind("SG.", Body::Word, 30, Place::Word),
];

/// Base64 of `x-access-token:`, which git sends as a password.
const SIX: &[Kind] = &[kind("eC1hY2Nlc3MtdG9rZW46", Body::Base64, 4, Place::Anywhere)];

/// AWS <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids>.
const UPPER_A: &[Kind] = &[
    kind("AKIA", Body::Upper, 16, Place::Word),
    kind("ASIA", Body::Upper, 16, Place::Word),
    kind("ABIA", Body::Upper, 16, Place::Word),
    kind("ACCA", Body::Upper, 16, Place::Word),
];

/// Google's API keys.
const LOWER_A: &[Kind] = &[kind("AIza", Body::Word, 30, Place::Anywhere)];

/// As base64 begins of `{"` and a letter: JSON, so a token of JWT's kind or a configuration.
const JSON: [&[u8]; 2] = [b"eyJ", b"eyI"];

/// Base64 of JSON that is as long as this is taken for a secret in any form.
const LONG_JSON: usize = 100;

/// A digit is looked for in so much of a body.
const DIGIT_WITHIN: usize = 64;

/// The token whose beginning ends here.
pub(super) fn token(text: &[u8], at: usize, behind: Behind) -> Option<Range<usize>> {
    let kinds = match text.get(at)? {
        b'_' => UNDERSCORE,
        b'-' => DASH,
        b'.' => DOT,
        b'6' => SIX,
        b'A' => UPPER_A,
        b'a' => LOWER_A,
        _ => return json(text, at, behind),
    };
    let head = text.get(..=at)?;
    kinds.iter().find_map(|kind| kind.find(text, head, behind))
}

impl Kind {
    fn find(&self, text: &[u8], head: &[u8], behind: Behind) -> Option<Range<usize>> {
        let before = head.strip_suffix(self.begins)?;
        let is_within_word = before.last().is_some_and(u8::is_ascii_alphanumeric);
        if self.place == Place::Word && is_within_word {
            return None;
        }
        let body = text.get(head.len()..)?;
        let near = body.get(..body.len().min(DIGIT_WITHIN))?;
        let near = near.get(..run(near, 0, |byte| self.body.has(byte)))?;
        let is_open = behind == Behind::More && near.len() == body.len();
        let is_token = near.len() >= self.least && self.body.is_likely(near);
        // What is no token is looked at no further: a line of beginnings is read in linear time.
        let len = || run(body, 0, |byte| self.body.has(byte));
        (is_token || is_open).then(|| before.len()..head.len() + len())
    }
}

impl Body {
    fn has(self, byte: u8) -> bool {
        match self {
            Self::Word | Self::WordWithDigit => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'),
            Self::Base64 => is_base64(byte),
            Self::Upper => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
        }
    }

    fn is_likely(self, body: &[u8]) -> bool {
        !matches!(self, Self::WordWithDigit) || body.iter().any(u8::is_ascii_digit)
    }
}

pub(super) fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'_' | b'-')
}

/// RFC 7519 (JWT), RFC 7516 (JWE), and a runner's `--jitconfig`, which holds its private key.
fn json(text: &[u8], at: usize, behind: Behind) -> Option<Range<usize>> {
    let before = JSON.iter().find_map(|begins| text.get(..=at)?.strip_suffix(*begins))?;
    let token = text.get(before.len()..)?;
    // What is too short to be a token for its length is looked at no further, so that a line of `eyJ` is read once.
    let len = run(token, 0, |byte| is_base64(byte) || byte == b'.');
    let mut parts = token.get(..len.min(LONG_JSON))?.split(|byte| *byte == b'.');
    let is_jwt = parts.next().is_some_and(|head| head.len() >= 8)
        && parts.next().is_some_and(|payload| payload.len() >= 2)
        && parts.next().is_some();
    let is_open = behind == Behind::More && len == token.len();
    (is_jwt || len >= LONG_JSON || is_open).then(|| before.len()..before.len() + len)
}
