//! `/proc/loadavg` (`Documentation/filesystems/proc.rst`).

use super::text::{hundredths, words};

/// Load averages in hundredths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loadavg {
    /// Over one minute.
    pub load1_x100: u64,
    /// Over five minutes.
    pub load5_x100: u64,
    /// Over fifteen minutes.
    pub load15_x100: u64,
}

/// Reads the first three words; all three or nothing.
#[must_use]
pub fn parse(text: &[u8]) -> Option<Loadavg> {
    let mut loads = words(text).map_while(hundredths);
    Some(Loadavg { load1_x100: loads.next()?, load5_x100: loads.next()?, load15_x100: loads.next()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_or_nothing() {
        let loads = Loadavg { load1_x100: 7, load5_x100: 1203, load15_x100: 0 };
        assert_eq!(parse(b"0.07 12.03 0.00 1/54 210\n"), Some(loads));
        for text in [&b""[..], b"0.07 0.02", b"a b c", b"0.07 -0.02 0.00"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
