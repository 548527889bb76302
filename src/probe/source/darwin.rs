//! The macOS counterparts of the kernel files: what its system calls write into memory, as bytes -> value. Pure, so that
//! it is tested on any platform; the calls themselves are made in `crate::probe::raw`.
//!
//! The layouts are those of 64-bit little-endian processes, the only ones there are, after the headers of XNU that each
//! module names. What is cut or out of range is absent.

pub mod host;
pub mod interfaces;
pub mod process;

/// What macOS does for want of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compression {
    /// Memory that holds what was compressed, in KiB.
    pub compressed_kb: Option<u64>,
    /// Pages written out since boot, to their files and to swap.
    pub pageouts: Option<u64>,
    /// Pages that were compressed and came back, since boot.
    pub decompressions: Option<u64>,
}

/// `MNT_RDONLY` in the flags of statfs(2) (`bsd/sys/mount.h`).
#[must_use]
pub const fn is_read_only(flags: u32) -> bool {
    flags & 1 != 0
}

/// A whole number of 32 bits, as the kernel writes a `kern.*` or `hw.*` of that size.
#[must_use]
pub fn parse_u32(bytes: &[u8]) -> Option<u64> {
    u32_at(bytes, 0).filter(|_| bytes.len() == 4).map(u64::from)
}

/// The same of 64 bits: `hw.memsize` in bytes.
#[must_use]
pub fn parse_u64(bytes: &[u8]) -> Option<u64> {
    u64_at(bytes, 0).filter(|_| bytes.len() == 8)
}

/// A text up to its NUL, `kern.bootsessionuuid`; `None` for an empty one.
#[must_use]
pub fn parse_text(bytes: &[u8]) -> Option<String> {
    let text = until_nul(bytes);
    (!text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned())
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array_at(bytes, at).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_its_own_size_or_is_none() {
        assert_eq!((parse_u32(&[1, 2, 0, 0]), parse_u64(&[1, 2, 0, 0, 0, 0, 0, 0])), (Some(513), Some(513)));
        for bytes in [&[][..], &[1], &[0; 3], &[0; 5], &[0; 9]] {
            assert_eq!((parse_u32(bytes), parse_u64(bytes)), (None, None), "{bytes:?}");
        }
    }

    #[test]
    fn a_text_ends_at_its_nul() {
        for (bytes, text) in [(&b"7E2A\0"[..], Some("7E2A")), (b"a\0b", Some("a")), (b"ab", Some("ab")), (b"\0x", None)]
        {
            assert_eq!(parse_text(bytes).as_deref(), text);
        }
        assert_eq!(parse_text(b"a\xff").as_deref(), Some("a\u{fffd}"));
    }

    #[test]
    fn only_one_flag_says_read_only() {
        assert!(is_read_only(0x0480_1001) && !is_read_only(0x0480_1000));
    }
}
