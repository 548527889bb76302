//! `/proc/meminfo`, as `Documentation/filesystems/proc.rst` describes it.

use super::text::{keyed, lines};

/// Memory of the whole guest, in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meminfo {
    /// `MemTotal`: what the kernel can use; it changes where memory is plugged or ballooned.
    pub total_kb: Option<u64>,
    /// `MemAvailable`: what a new program could get without swapping.
    pub avail_kb: Option<u64>,
    /// `SwapTotal`.
    pub swap_total_kb: Option<u64>,
    /// `SwapFree`.
    pub swap_free_kb: Option<u64>,
}

impl Meminfo {
    /// Used swap in KiB; `None` without swap.
    #[must_use]
    pub fn swap_used_kb(&self) -> Option<u64> {
        self.swap_total_kb.filter(|total| *total > 0)?.checked_sub(self.swap_free_kb?)
    }
}

/// Reads the four lines that matter, wherever they stand; each may be missing.
#[must_use]
pub fn parse(text: &[u8]) -> Meminfo {
    let mut meminfo = Meminfo::default();
    for line in lines(text) {
        match line.first() {
            Some(b'M') => {
                meminfo.total_kb = meminfo.total_kb.or_else(|| keyed(line, b"MemTotal"));
                meminfo.avail_kb = meminfo.avail_kb.or_else(|| keyed(line, b"MemAvailable"));
            }
            Some(b'S') => {
                meminfo.swap_total_kb = meminfo.swap_total_kb.or_else(|| keyed(line, b"SwapTotal"));
                meminfo.swap_free_kb = meminfo.swap_free_kb.or_else(|| keyed(line, b"SwapFree"));
                if meminfo.swap_free_kb.is_some() {
                    break;
                }
            }
            _ => {}
        }
    }
    meminfo
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_there() {
        let text = b"MemTotal:  8000 kB\nMemFree: 1 kB\nMemAvailable: 1234 kB\nSwapTotal: 100 kB\nSwapFree: 40 kB\nDirty: 0 kB\n";
        let meminfo = parse(text);
        assert_eq!((meminfo.total_kb, meminfo.avail_kb, meminfo.swap_used_kb()), (Some(8000), Some(1234), Some(60)));
    }

    #[test]
    fn what_is_missing_or_broken_is_absent() {
        for text in [&b""[..], b"MemTotal", b"MemTotal: lots kB\n", b"\xff\xfe\n\n", b"MemTotalX: 5 kB\n"] {
            assert_eq!(parse(text), Meminfo::default(), "{text:?}");
        }
        assert_eq!(parse(b"SwapTotal: 0 kB\nSwapFree: 0 kB\n").swap_used_kb(), None);
        assert_eq!(parse(b"SwapTotal: 1 kB\nSwapFree: 2 kB\n").swap_used_kb(), None);
    }
}
