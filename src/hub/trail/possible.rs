//! Readings that no kernel can have given: a line with one says something else than it means, and none of it is believed.

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

use super::slice::{High, Last, Mark, Place, Slice};
use crate::line::Line;
use crate::line::field::{self, Field, Unit};

/// Why a line cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Impossible {
    /// The reading of this key is out of all bounds.
    Reading(&'static str),
    /// More memory is available than there is.
    Available,
    /// The cgroup holds more memory than there is.
    Current,
}

impl fmt::Display for Impossible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reading(key) => write!(f, "it cannot be: {key} is out of all bounds"),
            Self::Available => {
                write!(f, "it cannot be: {} is over {}", field::VM_MEM_AVAIL.key, field::VM_MEM_TOTAL.key)
            }
            Self::Current => write!(f, "it cannot be: {} is over {}", field::MEM_CURRENT.key, field::VM_MEM_TOTAL.key),
        }
    }
}

/// The lowest and the highest that a reading can be, in units of its last decimal.
pub(super) type Bounds = (i64, i64);

/// What 52 bits of physical addresses reach, KiB.
const MEMORY_KIB: i64 = 1 << 42;

/// Memory that the kernel counts in KiB; of other KiB, those of disks and networks, a disk can have as many as its 64 bits of bytes.
const MEMORY: [&Field; 8] = [
    field::VM_MEM_TOTAL,
    field::VM_MEM_AVAIL,
    field::VM_SWAP_USED,
    field::VM_COMPRESSED,
    field::AGENT_RSS,
    field::VICTIM_RSS,
    field::RSS,
    field::JOB_MAXRSS,
];

/// Memory in bytes. A limit can be any number.
const MEMORY_BYTES: [&Field; 6] =
    [field::MEM_CURRENT, field::MEM_PEAK, field::MEM_SWAP, field::MEM_ANON, field::MEM_WS, field::MEM_SHMEM];

/// Percentages that are over 100 where a limit was lowered below what was in use, or two counts were read a moment apart.
const OF_A_LIMIT: [&Field; 4] = [field::MEM_USED, field::PIDS_USED, field::VALUE, field::CPU_THROTTLED];

/// Numbers with a sign.
const SIGNED: [&Field; 4] = [field::MS, field::CLOCK_OFFSET, field::ADJ, field::VICTIM_ADJ];

/// By row of the table of fields.
static BOUNDS: LazyLock<Vec<Bounds>> = LazyLock::new(|| field::ALL.iter().map(|field| of_field(field)).collect());

/// What readings can be, by the row of their field in [`field::ALL`].
pub(super) fn bounds() -> &'static [Bounds] {
    &BOUNDS
}

fn of_field(field: &Field) -> Bounds {
    let is_in = |all: &[&Field]| all.iter().any(|one| one.key == field.key);
    let high = match field.unit {
        Unit::Percent if is_in(&OF_A_LIMIT) => 10_000,
        // Averages and rounding can be a little over.
        Unit::Percent => 1_100,
        Unit::Kib if is_in(&MEMORY) => MEMORY_KIB,
        Unit::Kib => 1 << 54,
        Unit::Bytes if is_in(&MEMORY_BYTES) => MEMORY_KIB << 10,
        // Some three hundred years.
        Unit::Ms | Unit::MsTenths | Unit::Seconds => 10_000_000_000_000,
        // A load of as many tasks as there can be pids.
        Unit::Hundredths => 100 << 22,
        Unit::Count | Unit::Bytes | Unit::Text(_) => i64::MAX,
    };
    (if is_in(&SIGNED) { -high } else { 0 }, high)
}

/// What is wrong between the readings of a sample. The guest's count of its memory and a cgroup's are not of one moment, nor of the
/// same pages.
pub(super) fn between(sample: &Slice) -> Option<Impossible> {
    let total = sample.high(High::MemTotal)?;
    if sample.last(Last::MemAvail).is_some_and(|avail| avail > total) {
        return Some(Impossible::Available);
    }
    let most = total.saturating_mul(2).saturating_add(1 << 20);
    sample.high(High::MemCurrent).filter(|current| *current > most).map(|_| Impossible::Current)
}

/// What is wrong with a line.
pub(super) fn of(line: &Line<'_>) -> Option<Impossible> {
    let of_sample = || line.event.is_none().then(|| Slice::of(Mark::new(line.seq, None, Place::default()), line));
    reading(line).or_else(|| between(&of_sample()?))
}

/// What is wrong with a line's readings, each by itself.
pub(super) fn reading(line: &Line<'_>) -> Option<Impossible> {
    static BY_KEY: LazyLock<HashMap<&str, (&Field, Bounds)>> =
        LazyLock::new(|| field::ALL.iter().map(|field| (field.key, (*field, of_field(field)))).collect());
    line.pairs().find_map(|(key, _)| {
        let (field, (low, high)) = BY_KEY.get(key)?;
        let value = line.scaled(field)?;
        (value < *low || value > *high).then_some(Impossible::Reading(field.key))
    })
}

#[cfg(test)]
mod tests {
    use super::super::slice;
    use super::*;

    fn sample(readings: &[(&Field, i64)]) -> Slice {
        let mut slice = Slice::new(Mark::new(1, None, Place::default()));
        for (field, value) in readings {
            slice.keep(slice::kept()[field::ALL.iter().position(|one| one.key == field.key).unwrap()], *value);
        }
        slice
    }

    #[test]
    fn what_cannot_be_is_told_from_what_is_rare() {
        let is = |pair: &str| {
            reading(&Line::decode(&format!("RUNNER_VITALS ts= run=k3x9 seq=1 {pair}")).unwrap())
                .map(|told| told.to_string())
        };
        for (pair, key) in [
            ("vm.mem.total.kb=1000000000000000000", "vm.mem.total.kb"),
            ("mem.current=-1", "mem.current"),
            ("cpu.busy.pct=4000.0", "cpu.busy.pct"),
            ("disk.used.pct=150.0", "disk.used.pct"),
            ("mem.used.pct=4000.0", "mem.used.pct"),
            ("load1=5000000.00", "load1"),
            ("oom_kill=-3", "oom_kill"),
            ("event=top rank=1 rss.kb=1000000000000000000", "rss.kb"),
        ] {
            assert_eq!(is(pair), Some(format!("it cannot be: {key} is out of all bounds")), "{pair}");
        }
        for rare in [
            "vm.mem.total.kb=67108864000",
            "mem.max=9223372036854771712",
            "mem.used.pct=250.0",
            "cpu.throttled.pct=150.0",
            "cpu.stall.pct=100.0",
            "event=gap kind=clock ms=-31536000000",
            "event=kmsg.oom victim.adj=-1000",
            "clock.offset.ms=-9999999999999",
            "newer.key=-5",
            "mem.current=",
        ] {
            assert_eq!(is(rare), None, "{rare}");
        }
    }

    #[test]
    fn no_more_memory_is_used_or_available_than_there_is() {
        let of = |total, avail, current: i64| {
            between(&sample(&[
                (field::VM_MEM_TOTAL, total),
                (field::VM_MEM_AVAIL, avail),
                (field::MEM_CURRENT, current << 10),
            ]))
        };
        assert_eq!(of(8_000_000, 8_000_001, 1), Some(Impossible::Available));
        assert_eq!(of(8_000_000, 8_000_000, 8_100_000), None);
        assert_eq!(of(8_000_000, 5_000_000, 20_000_000), Some(Impossible::Current));
        // Over 2 TiB nothing is told apart.
        assert_eq!(of(8 << 30, 7 << 30, 1 << 30), None);
        assert_eq!(between(&sample(&[(field::VM_MEM_AVAIL, 5)])), None);
    }

    #[test]
    fn what_is_written_at_most_is_possible() {
        for (field, (low, high)) in field::ALL.iter().zip(bounds()) {
            assert!(*low <= 0 && *high >= 100, "{}", field.key);
        }
    }
}
