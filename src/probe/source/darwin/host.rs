//! Memory, CPU time and load of the whole guest.
//!
//! `osfmk/mach/vm_statistics.h` and `osfmk/kern/host.c` (`HOST_VM_INFO64`), `osfmk/mach/host_info.h` and
//! `osfmk/mach/machine.h` (`HOST_CPU_LOAD_INFO`), `bsd/sys/sysctl.h` (`vm.swapusage`), `bsd/sys/resource.h` (`vm.loadavg`).

use super::{Compression, u32_at, u64_at};
use crate::probe::source::loadavg::Loadavg;
use crate::probe::source::stat::CpuTimes;

/// The bytes of `vm_statistics64` up to `total_uncompressed_pages_in_compressor`: its revision 1, of all systems since 10.9.
pub const VM_STATISTICS_BYTES: usize = 152;

/// How far a counter of 32 bits grows at most between two readings: what is over half of its range stepped back.
const MOST_TICKS: u32 = u32::MAX / 2;

/// Of `vm_statistics64`, in pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VmStatistics {
    /// What a program could get without anything being compressed or swapped: see [`parse_vm_statistics`].
    pub avail_pages: Option<u64>,
    /// `compressor_page_count`.
    pub compressor_pages: Option<u64>,
    /// `pageouts` and `swapouts`, since boot.
    pub pageouts: Option<u64>,
    /// `decompressions`, since boot.
    pub decompressions: Option<u64>,
}

/// Reads what `host_statistics64` wrote; an older kernel writes less.
///
/// Available is what is free, what caches files (the kernel drops it; it counts dirty and mapped pages too, which it has
/// to write or to read again) and what programs said may be purged: the counterpart of `MemAvailable`, and the "Memory
/// Used" of Activity Monitor taken from all. Pages that are inactive but anonymous are not in it: to take them is to
/// compress them. `free_count` and `external_page_count` both hold the speculative pages, so they are taken out once.
#[must_use]
pub fn parse_vm_statistics(bytes: &[u8]) -> VmStatistics {
    let count = |at| u32_at(bytes, at).map(u64::from);
    let avail = || {
        let (free, speculative) = (count(0)?, count(92)?);
        let (purgeable, external) = (count(88)?, count(136)?);
        Some(free.saturating_sub(speculative) + external + purgeable)
    };
    let pageouts = u64_at(bytes, 40).zip(u64_at(bytes, 120));
    VmStatistics {
        avail_pages: avail(),
        compressor_pages: count(128),
        pageouts: pageouts.and_then(|(files, swap)| files.checked_add(swap)),
        decompressions: u64_at(bytes, 96),
    }
}

impl VmStatistics {
    /// What is available in KiB, where a page has so many bytes and the guest so many KiB: pages can be counted twice
    /// while they change places.
    #[must_use]
    pub fn avail_kb(&self, page_bytes: u64, total_kb: Option<u64>) -> Option<u64> {
        let avail_kb = kib(self.avail_pages?, page_bytes)?;
        Some(total_kb.map_or(avail_kb, |total_kb| avail_kb.min(total_kb)))
    }

    /// What is done for want of memory.
    #[must_use]
    pub fn compression(&self, page_bytes: u64) -> Compression {
        Compression {
            compressed_kb: self.compressor_pages.and_then(|pages| kib(pages, page_bytes)),
            pageouts: self.pageouts,
            decompressions: self.decompressions,
        }
    }
}

fn kib(pages: u64, page_bytes: u64) -> Option<u64> {
    pages.checked_mul(page_bytes).map(|bytes| bytes / 1024)
}

/// Total and free swap in KiB. macOS makes its swap files when it needs them: a total of 0 is a guest that never did.
#[must_use]
pub fn parse_swap_kb(bytes: &[u8]) -> Option<(u64, u64)> {
    let (total, used) = (u64_at(bytes, 0)?, u64_at(bytes, 16)?);
    Some((total / 1024, total.checked_sub(used)? / 1024))
}

/// Load averages: numbers with a fixed point, and behind them what stands for 1.
#[must_use]
pub fn parse_loadavg(bytes: &[u8]) -> Option<Loadavg> {
    let scale = u64_at(bytes, 16).filter(|scale| *scale > 0)?;
    let load = |at| Some((u64::from(u32_at(bytes, at)?) * 100).saturating_add(scale / 2) / scale);
    Some(Loadavg { load1_x100: load(0)?, load5_x100: load(4)?, load15_x100: load(8)? })
}

/// The kernel's own level of memory pressure: 1 normal, 2 warn, 4 critical; `None` for what has no name.
#[must_use]
pub fn parse_pressure_level(bytes: &[u8]) -> Option<u64> {
    super::parse_u32(bytes).filter(|level| matches!(level, 1 | 2 | 4))
}

/// `HOST_CPU_LOAD_INFO`: ticks of all CPUs since boot, in 32 bits that wrap around (ten CPUs take 50 days for that).
pub type CpuTicks = [u32; 4];

/// Reads user, system, idle and nice (`CPU_STATE_*`).
#[must_use]
pub fn parse_cpu_ticks(bytes: &[u8]) -> Option<CpuTicks> {
    Some([u32_at(bytes, 0)?, u32_at(bytes, 4)?, u32_at(bytes, 8)?, u32_at(bytes, 12)?])
}

/// The same in 64 bits, put together from one reading to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuClock {
    last: Option<CpuTicks>,
    ticks: [u64; 4],
}

impl CpuClock {
    /// What the CPUs did once the counters read so, since the first reading.
    pub fn advance(&mut self, now: CpuTicks) -> CpuTimes {
        let before = self.last.replace(now).unwrap_or(now);
        for (sum, (now, before)) in self.ticks.iter_mut().zip(now.into_iter().zip(before)) {
            let grown = now.wrapping_sub(before);
            *sum += if grown <= MOST_TICKS { u64::from(grown) } else { 0 };
        }
        let [user, system, idle, nice] = self.ticks;
        CpuTimes { busy: [user, nice, system, 0, 0], idle, iowait: 0, steal: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `vm_statistics64` with these at their places.
    fn vm(counts: &[(usize, u32)], sums: &[(usize, u64)]) -> Vec<u8> {
        let mut bytes = vec![0; VM_STATISTICS_BYTES];
        for (at, count) in counts {
            bytes[*at..at + 4].copy_from_slice(&count.to_le_bytes());
        }
        for (at, sum) in sums {
            bytes[*at..at + 8].copy_from_slice(&sum.to_le_bytes());
        }
        bytes
    }

    /// free, purgeable, speculative, compressor and external pages; pageouts, decompressions and swapouts.
    fn captured() -> Vec<u8> {
        let counts = [(0, 5000), (4, 90_000), (8, 80_000), (88, 300), (92, 1000), (128, 7000), (136, 60_000), (140, 9)];
        vm(&counts, &[(40, 11), (96, 500), (104, 900), (112, 3), (120, 31)])
    }

    #[test]
    fn available_is_free_and_what_can_be_dropped() {
        let vm = parse_vm_statistics(&captured());
        assert_eq!(vm.avail_pages, Some(5000 - 1000 + 60_000 + 300));
        assert_eq!(vm.avail_kb(16_384, None), Some(64_300 * 16));
        assert_eq!(vm.avail_kb(4096, Some(200_000)), Some(200_000), "never over all of it");
        let compression = Compression { compressed_kb: Some(7000 * 16), pageouts: Some(42), decompressions: Some(500) };
        assert_eq!(vm.compression(16_384), compression);
    }

    #[test]
    fn an_older_kernel_costs_what_it_does_not_tell() {
        let vm = parse_vm_statistics(&captured()[..96]);
        assert_eq!(vm, VmStatistics::default());
        assert_eq!(parse_vm_statistics(&captured()[..128]).decompressions, Some(500));
        assert_eq!(parse_vm_statistics(&[]), VmStatistics::default());
    }

    #[test]
    fn nothing_overflows() {
        let vm = parse_vm_statistics(&[0xff; VM_STATISTICS_BYTES]);
        assert_eq!((vm.pageouts, vm.avail_pages), (None, Some(2 * u64::from(u32::MAX))));
        assert_eq!((vm.avail_kb(u64::MAX, None), vm.compression(u64::MAX).compressed_kb), (None, None));
    }

    #[test]
    fn swap_is_what_its_files_hold() {
        // xsu_total, xsu_avail, xsu_used, xsu_pagesize and xsu_encrypted.
        let swap = |total: u64, used: u64| {
            [total.to_le_bytes(), (total.wrapping_sub(used)).to_le_bytes(), used.to_le_bytes(), [0; 8]].concat()
        };
        assert_eq!(parse_swap_kb(&swap(2 << 30, 3 << 20)), Some((2 << 20, (2 << 20) - (3 << 10))));
        assert_eq!(parse_swap_kb(&swap(0, 0)), Some((0, 0)));
        assert_eq!(parse_swap_kb(&swap(1, 2)), None);
        assert_eq!(parse_swap_kb(&swap(0, 0)[..20]), None);
    }

    #[test]
    fn loads_have_a_fixed_point() {
        let loads = |loads: [u32; 3], scale: u64| {
            let loads = loads.map(u32::to_le_bytes).concat();
            parse_loadavg(&[loads, vec![0; 4], scale.to_le_bytes().to_vec()].concat())
        };
        let expected = Loadavg { load1_x100: 150, load5_x100: 1203, load15_x100: 0 };
        assert_eq!(loads([3072, 24_637, 9], 2048), Some(expected));
        assert_eq!(loads([1, 1, 1], 0), None);
        assert!(loads([u32::MAX; 3], u64::MAX).is_some());
        assert_eq!(parse_loadavg(&[1; 20]), None);
    }

    #[test]
    fn a_level_without_a_name_is_none() {
        for (level, parsed) in [(1_u32, Some(1)), (2, Some(2)), (4, Some(4)), (0, None), (3, None), (u32::MAX, None)] {
            assert_eq!(parse_pressure_level(&level.to_le_bytes()), parsed);
        }
        assert_eq!(parse_pressure_level(&[1]), None);
    }

    #[test]
    fn ticks_wrap_around() {
        let bytes = [7_u32, 8, 9, 10].map(u32::to_le_bytes).concat();
        assert_eq!(parse_cpu_ticks(&bytes), Some([7, 8, 9, 10]));
        assert_eq!(parse_cpu_ticks(&bytes[..15]), None);
        let mut clock = CpuClock::default();
        let idle = |clock: &mut CpuClock, idle| clock.advance([100, 50, idle, 1]).idle;
        assert_eq!(idle(&mut clock, u32::MAX - 9), 0, "from the first reading on");
        assert_eq!(idle(&mut clock, 10), 20);
        assert_eq!(idle(&mut clock, 5), 20, "a step back is no round");
        let times = clock.advance([101, 52, 9, 5]);
        assert_eq!(times, CpuTimes { busy: [1, 4, 2, 0, 0], idle: 24, iowait: 0, steal: 0 });
    }
}
