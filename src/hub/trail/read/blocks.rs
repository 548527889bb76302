//! A stream of bytes in blocks of whole lines, each of bounded length.

use std::io::{self, Read};
use std::sync::mpsc;

use memchr::{memchr, memrchr};

use super::LINE_BYTES;

/// How much is read at a time.
pub(super) const BLOCK_BYTES: usize = 1 << 20;

/// Whole lines, behind so many that were too long.
pub(super) struct Block {
    pub(super) skipped_lines: u32,
    pub(super) bytes: Vec<u8>,
}

/// Sends whole lines, many at a time, and says how many were too long to be looked at.
pub(super) fn blocks_of(mut from: impl Read, blocks: &mpsc::SyncSender<Block>) -> io::Result<u64> {
    let mut left: Vec<u8> = Vec::new();
    let (mut overlong, mut is_skipping) = (0, false);
    loop {
        let mut bytes = Vec::with_capacity(BLOCK_BYTES + left.len());
        bytes.append(&mut left);
        let read = from.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut bytes);
        // What came before it failed is there.
        let ended = !matches!(read, Ok(1..));
        let mut skipped_lines = 0;
        if is_skipping {
            let Some(end) = memchr(b'\n', &bytes) else {
                if ended {
                    return read.map(|_| overlong);
                }
                continue;
            };
            bytes.drain(..=end);
            (is_skipping, skipped_lines) = (false, 1);
        }
        if !ended {
            let whole = memrchr(b'\n', &bytes).map_or(0, |end| end + 1);
            left = bytes.split_off(whole);
            if left.len() > LINE_BYTES {
                (overlong, is_skipping) = (overlong + 1, true);
                left.clear();
            }
        }
        let is_sent = blocks.send(Block { skipped_lines, bytes }).is_ok();
        if ended || !is_sent {
            return read.map(|_| overlong);
        }
    }
}
