//! What is kept of samples: of one, or of many folded into one, in the same room and in any order.

use std::num::NonZeroI64;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::line::Line;
use crate::line::field::{self, Field};

/// No time, no reading.
const NO_TIME: i64 = i64::MIN;

/// Where a line stood in what was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Place {
    /// Which source, in the order in which they were read.
    pub source: u32,
    /// Its line, from 1; of a JSON document the entry. 0 where lines have no place but the source, as in Loki.
    pub line: u32,
}

/// What names a line within its run, and where and when it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Mark {
    /// The how-manieth line of its run.
    pub seq: u64,
    at: At,
    /// Where it stood.
    pub place: Place,
}

impl Mark {
    /// Of two lines the one with the higher number.
    #[must_use]
    pub(super) fn later(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        one.into_iter().chain(other).max_by_key(|mark| mark.seq)
    }

    /// A line's mark; `at_ms` in milliseconds since 1970, `None` where the guest's clock was unusable.
    #[must_use]
    pub fn new(seq: u64, at_ms: Option<i64>, place: Place) -> Self {
        Self { seq, at: At::new(at_ms), place }
    }

    /// When it was written, by the guest's clock.
    #[must_use]
    pub fn at_ms(&self) -> Option<i64> {
        self.at.ms()
    }
}

/// A time or none, so that no mark at all takes no more room than one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(from = "Option<i64>", into = "Option<i64>")]
struct At(NonZeroI64);

impl From<Option<i64>> for At {
    fn from(ms: Option<i64>) -> Self {
        Self::new(ms)
    }
}

impl From<At> for Option<i64> {
    fn from(at: At) -> Self {
        at.ms()
    }
}

impl At {
    /// The last of all milliseconds is no time of any line.
    fn new(ms: Option<i64>) -> Self {
        Self(NonZeroI64::new(ms.unwrap_or(NO_TIME) ^ i64::MAX).unwrap_or(NonZeroI64::MIN))
    }

    fn ms(self) -> Option<i64> {
        Some(self.0.get() ^ i64::MAX).filter(|ms| *ms != NO_TIME)
    }
}

macro_rules! readings {
    ($(#[$doc:meta])* $name:ident: $($(#[$row:meta])* $row_name:ident),+ $(,)?) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$row])* $row_name),+ }
        impl $name {
            const COUNT: usize = [$($name::$row_name),+].len();
        }
    };
}

readings! {
    /// Readings of which the highest is kept: levels, and counts that only rise.
    High:
    /// `late.ms`, tenths.
    Late,
    /// `mem.current`, KiB.
    MemCurrent,
    /// `mem.max`, KiB.
    MemMax,
    /// `mem.high`, KiB.
    MemHigh,
    /// `mem.peak`, KiB.
    MemPeak,
    /// `mem.anon`, KiB.
    MemAnon,
    /// `mem.shmem`, KiB.
    MemShmem,
    /// `oom`.
    Oom,
    /// `oom_kill`.
    OomKill,
    /// `oom_group`.
    OomGroup,
    /// `tree.oom_kill`.
    TreeOomKill,
    /// `vm.oom_kill`.
    VmOomKill,
    /// `vm.refault`.
    Refault,
    /// `vm.allocstall`.
    AllocStall,
    /// `procs.blocked`.
    Blocked,
    /// `pids.used.pct`, tenths.
    PidsUsed,
    /// `pids.fail`.
    PidsFail,
    /// `disk.used.pct`, tenths.
    DiskUsed,
    /// `inode.used.pct`, tenths.
    InodeUsed,
    /// `tcp.retrans`.
    Retrans,
    /// `agent.wait.ms`.
    AgentWait,
    /// `sink.http.dropped`.
    HttpDropped,
    /// `sink.loki.dropped`.
    LokiDropped,
    /// `vm.mem.total.kb`.
    MemTotal,
}

readings! {
    /// Readings of which the lowest is kept.
    Low:
    /// `vm.mem.avail.kb`.
    MemAvail,
    /// `disk.avail.kb`.
    DiskAvail,
    /// `disk.used.pct`, tenths.
    DiskUsed,
    /// `inode.used.pct`, tenths.
    InodeUsed,
    /// `oom`.
    Oom,
    /// `oom_kill`.
    OomKill,
    /// `oom_group`.
    OomGroup,
    /// `vm.oom_kill`.
    VmOomKill,
}

readings! {
    /// Percentages of which the mean over the samples is kept, tenths.
    Mean:
    /// `cpu.busy.pct`.
    CpuBusy,
    /// `cpu.stall.pct`.
    CpuStall,
    /// `mem.stall.pct`.
    MemStall,
    /// `io.stall.pct`.
    IoStall,
    /// `cpu.steal.pct`.
    CpuSteal,
    /// `cpu.throttled.pct`.
    CpuThrottled,
    /// `cpu.iowait.pct`.
    CpuIowait,
}

readings! {
    /// Readings of which the last is kept.
    Last:
    /// `vm.mem.avail.kb`.
    MemAvail,
    /// `load1`, hundredths.
    Load1,
    /// `cpu.psi.some.avg10`, tenths.
    CpuPsi,
    /// `mem.psi.full.avg10`, tenths.
    MemPsiFull,
    /// `io.psi.some.avg10`, tenths.
    IoPsi,
    /// `agent.state`: its letter.
    AgentState,
}

/// Where a reading of the table goes.
#[derive(Clone, Copy, Debug)]
enum Goes {
    High(High),
    Low(Low),
    Mean(Mean),
    Last(Last),
    Burst,
}

/// Which readings are kept, and how. Bytes are kept as KiB: no verdict turns on less.
const KEPT: &[(&Field, &[Goes])] = &[
    (field::LATE, &[Goes::High(High::Late)]),
    (field::MEM_CURRENT, &[Goes::High(High::MemCurrent)]),
    (field::MEM_MAX, &[Goes::High(High::MemMax)]),
    (field::MEM_HIGH, &[Goes::High(High::MemHigh)]),
    (field::MEM_PEAK, &[Goes::High(High::MemPeak)]),
    (field::MEM_ANON, &[Goes::High(High::MemAnon)]),
    (field::MEM_SHMEM, &[Goes::High(High::MemShmem)]),
    (field::OOM, &[Goes::High(High::Oom), Goes::Low(Low::Oom)]),
    (field::OOM_KILL, &[Goes::High(High::OomKill), Goes::Low(Low::OomKill)]),
    (field::OOM_GROUP, &[Goes::High(High::OomGroup), Goes::Low(Low::OomGroup)]),
    (field::TREE_OOM_KILL, &[Goes::High(High::TreeOomKill)]),
    (field::VM_OOM_KILL, &[Goes::High(High::VmOomKill), Goes::Low(Low::VmOomKill)]),
    (field::VM_REFAULT, &[Goes::High(High::Refault)]),
    (field::VM_ALLOCSTALL, &[Goes::High(High::AllocStall)]),
    (field::PROCS_BLOCKED, &[Goes::High(High::Blocked)]),
    (field::PIDS_USED, &[Goes::High(High::PidsUsed)]),
    (field::PIDS_FAIL, &[Goes::High(High::PidsFail)]),
    (field::DISK_USED, &[Goes::High(High::DiskUsed), Goes::Low(Low::DiskUsed)]),
    (field::DISK_AVAIL, &[Goes::Low(Low::DiskAvail)]),
    (field::INODE_USED, &[Goes::High(High::InodeUsed), Goes::Low(Low::InodeUsed)]),
    (field::TCP_RETRANS, &[Goes::High(High::Retrans)]),
    (field::AGENT_WAIT, &[Goes::High(High::AgentWait)]),
    (field::SINK_HTTP_DROPPED, &[Goes::High(High::HttpDropped)]),
    (field::SINK_LOKI_DROPPED, &[Goes::High(High::LokiDropped)]),
    (field::VM_MEM_TOTAL, &[Goes::High(High::MemTotal)]),
    (field::VM_MEM_AVAIL, &[Goes::Low(Low::MemAvail), Goes::Last(Last::MemAvail)]),
    (field::CPU_BUSY, &[Goes::Mean(Mean::CpuBusy)]),
    (field::CPU_STALL, &[Goes::Mean(Mean::CpuStall)]),
    (field::MEM_STALL, &[Goes::Mean(Mean::MemStall)]),
    (field::IO_STALL, &[Goes::Mean(Mean::IoStall)]),
    (field::CPU_STEAL, &[Goes::Mean(Mean::CpuSteal)]),
    (field::CPU_THROTTLED, &[Goes::Mean(Mean::CpuThrottled)]),
    (field::CPU_IOWAIT, &[Goes::Mean(Mean::CpuIowait)]),
    (field::LOAD1, &[Goes::Last(Last::Load1)]),
    (field::CPU_PSI_SOME, &[Goes::Last(Last::CpuPsi)]),
    (field::MEM_PSI_FULL, &[Goes::Last(Last::MemPsiFull)]),
    (field::IO_PSI_SOME, &[Goes::Last(Last::IoPsi)]),
    (field::BURST, &[Goes::Burst]),
];

/// How the readings of a field are kept.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    goes: &'static [Goes],
    /// Bytes become KiB.
    shift: u32,
}

/// By the row of [`field::ALL`]: how its readings are kept.
static KEPT_BY_ROW: LazyLock<Vec<Kept>> = LazyLock::new(|| {
    let kept = |field: &&Field| Kept {
        goes: KEPT.iter().find(|(kept, _)| kept.key == field.key).map_or(&[][..], |(_, goes)| *goes),
        shift: if field.unit == field::Unit::Bytes { 10 } else { 0 },
    };
    field::ALL.iter().map(kept).collect()
});

/// How the readings of each field are kept, by its row in [`field::ALL`].
#[must_use]
pub fn kept() -> &'static [Kept] {
    &KEPT_BY_ROW
}

/// One sample, or several folded: extremes, sums and last values. Folding gives the same in any order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Slice {
    /// The last of its samples.
    pub mark: Mark,
    /// The first of its samples.
    pub first: Mark,
    /// How many samples it is of.
    pub samples: u32,
    /// How many of them were taken because of an event.
    pub bursts: u32,
    high: [i32; High::COUNT],
    low: [i32; Low::COUNT],
    /// Sums, by whole tenths.
    mean: [u32; Mean::COUNT],
    /// How many samples had `cpu.busy.pct`: the first of a run has not.
    busy_samples: u32,
    last: [i32; Last::COUNT],
}

/// What the highest, the lowest and the last of no reading are.
const UNREAD_HIGH: i32 = i32::MIN;
const UNREAD_LOW: i32 = i32::MAX;

impl Slice {
    /// A sample without readings.
    #[must_use]
    pub fn new(mark: Mark) -> Self {
        Self {
            mark,
            first: mark,
            samples: 1,
            bursts: 0,
            high: [UNREAD_HIGH; High::COUNT],
            low: [UNREAD_LOW; Low::COUNT],
            mean: [0; Mean::COUNT],
            busy_samples: 0,
            last: [UNREAD_HIGH; Last::COUNT],
        }
    }

    /// The readings of a sample that was decoded.
    #[must_use]
    pub fn of(mark: Mark, line: &Line<'_>) -> Self {
        let mut slice = Self::new(mark);
        for (field, kept) in field::ALL.iter().zip(kept()) {
            if let Some(value) = line.scaled(field) {
                slice.keep(*kept, value);
            }
        }
        slice.keep_agent_state(line.text(field::AGENT_STATE).unwrap_or_default());
        slice
    }

    /// Says which line it is, where that was not known before its readings.
    pub fn is_at(&mut self, mark: Mark) {
        self.mark = mark;
        self.first = mark;
    }

    /// Keeps a reading, in units of its last decimal.
    pub fn keep(&mut self, kept: Kept, value: i64) {
        let value = clamped(value >> kept.shift);
        for goes in kept.goes {
            match *goes {
                Goes::High(at) => put(&mut self.high, at as usize, value),
                Goes::Low(at) => put(&mut self.low, at as usize, value),
                Goes::Last(at) => put(&mut self.last, at as usize, value),
                Goes::Burst => self.bursts = 1,
                Goes::Mean(at) => {
                    put(&mut self.mean, at as usize, u32::try_from(value).unwrap_or(0));
                    self.busy_samples |= u32::from(at == Mean::CpuBusy);
                }
            }
        }
    }

    /// Keeps the letter of `agent.state`.
    pub fn keep_agent_state(&mut self, state: &str) {
        put(&mut self.last, Last::AgentState as usize, state.bytes().next().map_or(UNREAD_HIGH, i32::from));
    }

    /// Takes another slice of the same run into this one.
    pub fn fold(&mut self, other: &Self) {
        if other.mark.seq >= self.mark.seq {
            self.mark = other.mark;
            self.last = other.last;
        }
        if other.first.seq < self.first.seq {
            self.first = other.first;
        }
        self.samples = self.samples.saturating_add(other.samples);
        self.bursts = self.bursts.saturating_add(other.bursts);
        self.busy_samples = self.busy_samples.saturating_add(other.busy_samples);
        merge(&mut self.high, &other.high, i32::max);
        merge(&mut self.low, &other.low, i32::min);
        merge(&mut self.mean, &other.mean, u32::saturating_add);
    }

    /// The highest of a reading; `None` when it was never there.
    #[must_use]
    pub fn high(&self, of: High) -> Option<i64> {
        self.high.get(of as usize).copied().filter(|value| *value != UNREAD_HIGH).map(i64::from)
    }

    /// The lowest of a reading; `None` when it was never there.
    #[must_use]
    pub fn low(&self, of: Low) -> Option<i64> {
        self.low.get(of as usize).copied().filter(|value| *value != UNREAD_LOW).map(i64::from)
    }

    /// The last of a reading; `None` when it was never there.
    #[must_use]
    pub fn last(&self, of: Last) -> Option<i64> {
        self.last.get(of as usize).copied().filter(|value| *value != UNREAD_HIGH).map(i64::from)
    }

    /// The mean of a percentage, tenths; `None` of `cpu.busy.pct` where no sample had it. Another that was never there is 0: it is
    /// printed over 0 only.
    #[must_use]
    pub fn mean(&self, of: Mean) -> Option<i64> {
        let samples = if of == Mean::CpuBusy { self.busy_samples } else { self.samples };
        i64::from(self.sum(of)).checked_div(i64::from(samples))
    }

    /// Whether any sample had a percentage over 0, however many had not.
    #[must_use]
    pub fn has(&self, of: Mean) -> bool {
        self.sum(of) > 0
    }

    fn sum(&self, of: Mean) -> u32 {
        self.mean.get(of as usize).copied().unwrap_or(0)
    }
}

fn clamped(value: i64) -> i32 {
    // The ends are what stands for no reading.
    i32::try_from(value.clamp(i64::from(UNREAD_HIGH) + 1, i64::from(UNREAD_LOW) - 1)).unwrap_or(0)
}

fn put<T>(values: &mut [T], at: usize, value: T) {
    if let Some(slot) = values.get_mut(at) {
        *slot = value;
    }
}

fn merge<T: Copy>(own: &mut [T], other: &[T], with: impl Fn(T, T) -> T) {
    for (own, other) in own.iter_mut().zip(other) {
        *own = with(*own, *other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(seq: u64, avail_kb: i64, late: i64) -> Slice {
        let mut slice = Slice::new(Mark::new(seq, Some(1000), Place::default()));
        let kept = |field: &Field| kept()[field::ALL.iter().position(|one| one.key == field.key).unwrap()];
        slice.keep(kept(field::VM_MEM_AVAIL), avail_kb);
        slice.keep(kept(field::LATE), late);
        slice.keep(kept(field::CPU_STALL), 500);
        slice
    }

    #[test]
    fn folding_is_the_same_in_any_order() {
        let samples = [sample(1, 10, 7), sample(2, 5, 9), sample(3, 8, 1)];
        let fold = |order: [usize; 3]| {
            let mut whole = samples[order[0]];
            whole.fold(&samples[order[1]]);
            whole.fold(&samples[order[2]]);
            whole
        };
        for order in [[0, 2, 1], [1, 0, 2], [2, 1, 0]] {
            assert_eq!(fold(order), fold([0, 1, 2]));
        }
        let whole = fold([0, 1, 2]);
        assert_eq!((whole.low(Low::MemAvail), whole.last(Last::MemAvail)), (Some(5), Some(8)));
        assert_eq!((whole.high(High::Late), whole.mean(Mean::CpuStall)), (Some(9), Some(500)));
        assert_eq!(
            (whole.mean(Mean::CpuBusy), whole.has(Mean::CpuStall), whole.has(Mean::MemStall)),
            (None, true, false)
        );
        assert_eq!(whole.high(High::Retrans), None);
    }

    #[test]
    fn a_mark_keeps_any_time_and_none_takes_no_room() {
        for at in [None, Some(0), Some(-1), Some(1), Some(1_780_000_000_000), Some(i64::MAX - 1), Some(i64::MIN + 1)] {
            assert_eq!(Mark::new(7, at, Place::default()).at_ms(), at);
        }
        assert_eq!(size_of::<Option<Mark>>(), size_of::<Mark>());
    }

    #[test]
    fn every_kept_field_is_in_the_table_once() {
        for (field, _) in KEPT {
            assert!(field::find(field.key).is_some());
            assert_eq!(KEPT.iter().filter(|(other, _)| other.key == field.key).count(), 1, "{}", field.key);
        }
    }
}
