//! What changed between two samples: percentages of the span, and counts since the run began. Pure.

use std::time::Duration;

use super::sample::Sample;
use super::source::pressure::Stall;
use super::source::stat::CpuTimes;

/// Percentages of the span between two samples, in tenths. A counter that went back gives `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// CPU time that was not idle, in iowait or stolen.
    pub cpu_busy_pct_x10: Option<u64>,
    /// CPU time that the host took.
    pub cpu_steal_pct_x10: Option<u64>,
    /// CPU time idle with input or output under way.
    pub cpu_iowait_pct_x10: Option<u64>,
    /// Quota periods that were throttled, of the worst level.
    pub cpu_throttled_pct_x10: Option<u64>,
    /// Time in which some task waited for a CPU.
    pub cpu_stall_pct_x10: Option<u64>,
    /// Time in which all tasks waited for memory.
    pub mem_stall_pct_x10: Option<u64>,
    /// Time in which all tasks waited for input or output.
    pub io_stall_pct_x10: Option<u64>,
}

/// The rates from `before` to `now`; `span` is the time between them.
#[must_use]
pub fn rates(before: &Sample, now: &Sample, span: Duration) -> Rates {
    let cpu = before.stat.cpu.zip(now.stat.cpu).and_then(|(before, now)| cpu_shares(&before, &now));
    let stalled = |of: fn(&Sample) -> Option<Stall>| stalled_pct_x10(of(before)?, of(now)?, span);
    Rates {
        cpu_busy_pct_x10: cpu.map(|cpu| cpu.busy),
        cpu_steal_pct_x10: cpu.map(|cpu| cpu.steal),
        cpu_iowait_pct_x10: cpu.map(|cpu| cpu.iowait),
        cpu_throttled_pct_x10: throttled_pct_x10(before, now),
        cpu_stall_pct_x10: stalled(|sample| sample.cpu_pressure.some),
        mem_stall_pct_x10: stalled(|sample| sample.memory_pressure.full),
        io_stall_pct_x10: stalled(|sample| sample.io_pressure.full),
    }
}

/// The rates of a guest that stands still: zero wherever there is a reading to take a rate from.
#[must_use]
pub fn standstill(sample: &Sample) -> Rates {
    let cpu = sample.stat.cpu.map(|_| 0);
    // Most hosts do not tell of steal: only where there ever was some does none mean none.
    let steal = sample.stat.cpu.filter(|cpu| cpu.steal > 0).map(|_| 0);
    let of = |row: Option<Stall>| row.map(|_| 0);
    Rates {
        cpu_busy_pct_x10: cpu,
        cpu_steal_pct_x10: steal,
        cpu_iowait_pct_x10: cpu,
        cpu_throttled_pct_x10: throttled_pct_x10(sample, sample),
        cpu_stall_pct_x10: of(sample.cpu_pressure.some),
        mem_stall_pct_x10: of(sample.memory_pressure.full),
        io_stall_pct_x10: of(sample.io_pressure.full),
    }
}

/// Clock ticks of all CPUs below which a share of them says nothing: of 4 ms, one tick would be all of it.
const LEAST_TICKS: u64 = 8;

#[derive(Clone, Copy)]
struct CpuShares {
    busy: u64,
    steal: u64,
    iowait: u64,
}

/// Of all CPU time between two readings. A field that steps back (iowait does) counts as 0.
fn cpu_shares(before: &CpuTimes, now: &CpuTimes) -> Option<CpuShares> {
    let busy = now
        .busy
        .iter()
        .zip(before.busy)
        .fold(0_u64, |sum, (now, before)| sum.saturating_add(now.saturating_sub(before)));
    let idle = now.idle.saturating_sub(before.idle);
    let iowait = now.iowait.saturating_sub(before.iowait);
    let steal = now.steal.saturating_sub(before.steal);
    let all = busy.checked_add(idle)?.checked_add(iowait)?.checked_add(steal)?;
    if all < LEAST_TICKS {
        return None;
    }
    Some(CpuShares { busy: per_mille(busy, all)?, steal: per_mille(steal, all)?, iowait: per_mille(iowait, all)? })
}

fn throttled_pct_x10(before: &Sample, now: &Sample) -> Option<u64> {
    if before.cgroup.files_id != now.cgroup.files_id {
        return None;
    }
    let levels = before.cgroup.throttling.iter().zip(&now.cgroup.throttling);
    levels
        .filter_map(|(before, now)| {
            let (before, now) = ((*before)?, (*now)?);
            let periods = now.periods.checked_sub(before.periods)?;
            let throttled = now.throttled.checked_sub(before.throttled)?;
            if periods == 0 { Some(0) } else { per_mille(throttled, periods) }
        })
        .max()
}

/// The share of the span from `before` to `now` that tasks waited, in tenths of a per cent.
#[must_use]
pub fn stalled_pct_x10(before: Stall, now: Stall, span: Duration) -> Option<u64> {
    let stalled_us = now.total_us.checked_sub(before.total_us)?;
    // The kernel's clock and ours are read at two moments: a little over is all of it.
    per_mille(stalled_us, u64::try_from(span.as_micros()).ok()?).map(|pct_x10| pct_x10.min(1000))
}

/// The span of the percentages, where it is more than 5 % off the interval.
#[must_use]
pub fn told_span_ms(span: Duration, interval: Duration) -> Option<u64> {
    let off = span.abs_diff(interval);
    if off > interval / 20 { u64::try_from(span.as_millis()).ok() } else { None }
}

/// Tenths of a per cent, rounded to the nearest; `None` of nothing.
fn per_mille(part: u64, all: u64) -> Option<u64> {
    part.checked_mul(1000)?.checked_add(all / 2)?.checked_div(all)
}

/// `used` of `limit` in tenths of a per cent; over 100 % where a limit was lowered.
#[must_use]
pub fn used_pct_x10(used: Option<u64>, limit: Option<u64>) -> Option<u64> {
    per_mille(used?, limit?)
}

/// Hundredths of a per cent, as PSI has them, as tenths.
#[must_use]
pub fn avg10_pct_x10(row: Option<Stall>) -> Option<u64> {
    row.map(|stall| stall.avg10_x100.saturating_add(5) / 10)
}

/// One counter since the run began. One that went back starts again from there; what it grew by while it could not be
/// read is counted once it can be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    last: Option<u64>,
    sum: u64,
    is_read: bool,
}

impl Total {
    /// The total once the counter reads so.
    #[must_use]
    pub fn advanced(self, reading: Option<u64>) -> Self {
        let Some(now) = reading else { return Self { is_read: false, ..self } };
        let grown = self.last.and_then(|last| now.checked_sub(last)).unwrap_or(0);
        Self { last: Some(now), sum: self.sum.saturating_add(grown), is_read: true }
    }

    /// The same total, to go on from another counter's reading.
    #[must_use]
    pub fn of_another(self) -> Self {
        Self { last: None, ..self }
    }

    /// What came together since the run began; `None` when the counter could not be read this time.
    #[must_use]
    pub fn sum(self) -> Option<u64> {
        self.is_read.then_some(self.sum)
    }
}

/// The counters that lines give since the run began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Major faults.
    pub majfault: Total,
    /// Pages that were evicted and came back.
    pub refault: Total,
    /// Allocations that had to reclaim.
    pub allocstall: Total,
    /// Pages scanned for reclaim.
    pub pgscan: Total,
    /// Forks refused in the watched cgroup, and at the level whose limit is the tightest.
    pub pids_fail: [Total; 2],
    /// Which set of files the cgroup's counters are from.
    pub files_id: u32,
    /// Pages that macOS wrote out.
    pub pageout: Total,
    /// Pages that macOS decompressed.
    pub decompress: Total,
    /// Bytes received.
    pub net_rx_bytes: Total,
    /// Bytes sent.
    pub net_tx_bytes: Total,
    /// TCP segments sent again.
    pub tcp_retrans: Total,
}

impl Totals {
    /// The totals once these are the readings.
    #[must_use]
    pub fn advanced(self, now: &Sample) -> Self {
        let [own, level] = self.pids_fail;
        let (own, level) = match self.files_id == now.cgroup.files_id {
            true => (own, level),
            false => (own.of_another(), level.of_another()),
        };
        Self {
            files_id: now.cgroup.files_id,
            majfault: self.majfault.advanced(now.vmstat.majfault),
            refault: self.refault.advanced(now.vmstat.refault),
            allocstall: self.allocstall.advanced(now.vmstat.allocstall),
            pgscan: self.pgscan.advanced(now.vmstat.pgscan),
            pids_fail: [own.advanced(now.cgroup.pids_fail_own), level.advanced(now.cgroup.pids_fail)],
            pageout: self.pageout.advanced(now.compression.pageouts),
            decompress: self.decompress.advanced(now.compression.decompressions),
            net_rx_bytes: self.net_rx_bytes.advanced(now.net.map(|net| net.rx_bytes)),
            net_tx_bytes: self.net_tx_bytes.advanced(now.net.map(|net| net.tx_bytes)),
            tcp_retrans: self.tcp_retrans.advanced(now.tcp_retrans),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::cgroup::Throttling;
    use super::super::source::pressure::Pressure;
    use super::*;

    fn times(busy: u64, idle: u64, iowait: u64, steal: u64) -> Sample {
        let cpu = CpuTimes { busy: [busy, 0, 0, 0, 0], idle, iowait, steal };
        Sample { stat: super::super::source::stat::Stat { cpu: Some(cpu), ..Default::default() }, ..Sample::default() }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn cpu_shares_of_the_span() {
        let got = rates(&times(100, 100, 10, 0), &times(150, 130, 20, 10), SECOND);
        assert_eq!(
            (got.cpu_busy_pct_x10, got.cpu_iowait_pct_x10, got.cpu_steal_pct_x10),
            (Some(500), Some(100), Some(100))
        );
        // iowait stepped back: it counts as 0.
        let got = rates(&times(100, 100, 10, 0), &times(150, 150, 5, 0), SECOND);
        assert_eq!((got.cpu_busy_pct_x10, got.cpu_iowait_pct_x10), (Some(500), Some(0)));
        // No tick passed, no reading.
        assert_eq!(rates(&times(1, 1, 1, 1), &times(1, 1, 1, 1), SECOND).cpu_busy_pct_x10, None);
        assert_eq!(rates(&Sample::default(), &times(1, 1, 1, 1), SECOND).cpu_busy_pct_x10, None);
    }

    fn stalled(total_us: u64) -> Sample {
        let full = Some(Stall { avg10_x100: 0, total_us });
        Sample { memory_pressure: Pressure { some: None, full }, ..Sample::default() }
    }

    #[test]
    fn stalls_of_the_span() {
        assert_eq!(rates(&stalled(5), &stalled(250_005), SECOND).mem_stall_pct_x10, Some(250));
        assert_eq!(rates(&stalled(0), &stalled(1_000_300), SECOND).mem_stall_pct_x10, Some(1000));
        assert_eq!(rates(&stalled(5), &stalled(4), SECOND).mem_stall_pct_x10, None);
        assert_eq!(rates(&stalled(0), &stalled(0), Duration::ZERO).mem_stall_pct_x10, None);
    }

    fn throttled(files_id: u32, levels: &[Option<(u64, u64)>]) -> Sample {
        let mut sample = Sample::default();
        let level = |level: &Option<(u64, u64)>| level.map(|(periods, throttled)| Throttling { periods, throttled });
        sample.cgroup.throttling = levels.iter().map(level).collect();
        sample.cgroup.files_id = files_id;
        sample
    }

    #[test]
    fn the_worst_level_throttles() {
        let before = throttled(1, &[Some((10, 0)), Some((10, 5)), None]);
        let now = throttled(1, &[Some((20, 1)), Some((20, 10)), Some((9, 9))]);
        assert_eq!(rates(&before, &now, SECOND).cpu_throttled_pct_x10, Some(500));
        assert_eq!(rates(&before, &before, SECOND).cpu_throttled_pct_x10, Some(0));
        assert_eq!(rates(&before, &throttled(2, &[Some((20, 1))]), SECOND).cpu_throttled_pct_x10, None);
        assert_eq!(rates(&now, &before, SECOND).cpu_throttled_pct_x10, None);
    }

    #[test]
    fn totals_begin_at_the_first_reading_and_survive_a_step_back() {
        let readings = [Some(100), Some(103), None, Some(105), Some(2), Some(4)];
        let mut total = Total::default();
        let sums = readings.map(|reading| {
            total = total.advanced(reading);
            total.sum()
        });
        assert_eq!(sums, [Some(0), Some(3), None, Some(5), Some(5), Some(7)]);
        assert_eq!(Total::default().advanced(None).sum(), None);
        assert_eq!(total.of_another().advanced(Some(900)).sum(), Some(7));
    }

    #[test]
    fn hundredths_are_rounded() {
        for (avg10_x100, pct_x10) in [(2062, 206), (2065, 207), (4, 0), (5, 1), (10_000, 1000)] {
            assert_eq!(avg10_pct_x10(Some(Stall { avg10_x100, total_us: 0 })), Some(pct_x10));
        }
    }

    #[test]
    fn a_span_is_told_when_it_is_not_the_interval() {
        let ms = Duration::from_millis;
        assert_eq!(told_span_ms(ms(1050), ms(1000)), None);
        assert_eq!(told_span_ms(ms(1051), ms(1000)), Some(1051));
        assert_eq!(told_span_ms(ms(200), ms(3000)), Some(200));
    }
}
