//! When lines were written and received.

use std::sync::LazyLock;
use std::time::SystemTime;

use memchr::memmem;

use crate::line::Line;

/// When a hub received a line, as it says behind the line's number.
pub(super) fn received_ms(text: &str) -> Option<i64> {
    let head = text.as_bytes().get(..RECV_WITHIN).unwrap_or(text.as_bytes());
    let at = RECV.find(head)? + RECV.needle().len();
    since_1970_ms(humantime::parse_rfc3339(text.get(at..)?.split(' ').next()?).ok()?)
}

/// A hub's own word, and what it puts before that at most: the line's head, and who sent it.
static RECV: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(" recv="));
const RECV_WITHIN: usize = 640;

fn since_1970_ms(at: SystemTime) -> Option<i64> {
    i64::try_from(at.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_millis()).ok()
}

/// When a line was written, milliseconds since 1970.
pub(in super::super) fn at_ms(line: &Line<'_>) -> Option<i64> {
    since_1970_ms(line.ts?)
}
