//! `/proc/vmstat`: event counters of the whole guest (`include/linux/vm_event_item.h`, `mm/vmstat.c`).

use super::text::{keyed, lines, number};

/// Counters since boot. A sum is absent only when none of its parts is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vmstat {
    /// `oom_kill` (4.13 on).
    pub oom_kill: Option<u64>,
    /// `pgmajfault`.
    pub majfault: Option<u64>,
    /// `workingset_refault`, split into `_anon` and `_file` since 5.9.
    pub refault: Option<u64>,
    /// `allocstall_*`, one a zone.
    pub allocstall: Option<u64>,
    /// `pgscan_kswapd`, `pgscan_direct`, `pgscan_khugepaged`, `pgscan_proactive`; not the `_anon` and `_file` split.
    pub pgscan: Option<u64>,
}

/// Reads the counters, wherever they stand.
#[must_use]
pub fn parse(text: &[u8]) -> Vmstat {
    let mut vmstat = Vmstat::default();
    for line in lines(text) {
        match line.first() {
            Some(b'o') => vmstat.oom_kill = vmstat.oom_kill.or_else(|| keyed(line, b"oom_kill")),
            Some(b'w') => add(&mut vmstat.refault, prefixed(line, b"workingset_refault")),
            Some(b'a') => add(&mut vmstat.allocstall, prefixed(line, b"allocstall")),
            Some(b'p') if line.starts_with(b"pgm") => {
                vmstat.majfault = vmstat.majfault.or_else(|| keyed(line, b"pgmajfault"));
            }
            Some(b'p') if line.starts_with(b"pgscan_") => {
                for key in [&b"pgscan_kswapd"[..], b"pgscan_direct", b"pgscan_khugepaged", b"pgscan_proactive"] {
                    add(&mut vmstat.pgscan, keyed(line, key));
                }
            }
            _ => {}
        }
    }
    vmstat
}

fn add(sum: &mut Option<u64>, part: Option<u64>) {
    if let Some(part) = part {
        *sum = Some(sum.unwrap_or(0).saturating_add(part));
    }
}

/// The number of a line whose key begins so.
fn prefixed(line: &[u8], prefix: &[u8]) -> Option<u64> {
    let rest = line.strip_prefix(prefix)?;
    number(rest.rsplit(|byte| *byte == b' ').next().filter(|word| word.len() < rest.len())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_new_spellings() {
        let old = b"allocstall_dma 1\nallocstall_normal 2\npgscan_kswapd 3\npgscan_direct 4\npgscan_direct_throttle 99\npgmajfault 5\nworkingset_refault 6\noom_kill 7\n";
        let expected =
            Vmstat { oom_kill: Some(7), majfault: Some(5), refault: Some(6), allocstall: Some(3), pgscan: Some(7) };
        assert_eq!(parse(old), expected);
        let new = b"workingset_refault_anon 2\nworkingset_refault_file 4\nallocstall_movable 3\npgscan_kswapd 3\npgscan_direct 2\npgscan_khugepaged 1\npgscan_proactive 1\npgscan_anon 99\npgscan_file 99\npgmajfault 5\noom_kill 7\n";
        assert_eq!(parse(new), expected);
    }

    #[test]
    fn a_bad_line_costs_itself_only() {
        let vmstat = parse(b"\xff\nallocstall_dma\nallocstall_normal x\npgmajfault 5\noom_kill -1");
        assert_eq!(vmstat, Vmstat { majfault: Some(5), ..Vmstat::default() });
    }
}
