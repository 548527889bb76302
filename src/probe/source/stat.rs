//! `/proc/stat`: CPU time, running and blocked tasks (`Documentation/filesystems/proc.rst`).

use super::text::{keyed, lines, number, words};

/// CPU time since boot in clock ticks, summed over all CPUs; guest time is already in `user` and `nice`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTimes {
    /// user, nice, system, irq and softirq, each on its own since each may step back.
    pub busy: [u64; 5],
    /// Nothing to run.
    pub idle: u64,
    /// Nothing to run, input or output under way.
    pub iowait: u64,
    /// Taken by the host.
    pub steal: u64,
}

/// What this project reads of `/proc/stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// The `cpu` row.
    pub cpu: Option<CpuTimes>,
    /// How many `cpuN` rows there are: the CPUs online.
    pub cpus: u64,
    /// `procs_running`: tasks that run or are ready to.
    pub procs_running: Option<u64>,
    /// `procs_blocked`.
    pub procs_blocked: Option<u64>,
}

/// Reads the `cpu` rows, `procs_running` and `procs_blocked`.
#[must_use]
pub fn parse(text: &[u8]) -> Stat {
    let mut stat = Stat::default();
    for line in lines(text) {
        match line {
            [b'c', b'p', b'u', b' ', row @ ..] => stat.cpu = stat.cpu.or_else(|| cpu_times(row)),
            [b'c', b'p', b'u', b'0'..=b'9', ..] => stat.cpus += 1,
            [b'p', b'r', ..] => {
                stat.procs_running = stat.procs_running.or_else(|| keyed(line, b"procs_running"));
                stat.procs_blocked = stat.procs_blocked.or_else(|| keyed(line, b"procs_blocked"));
            }
            _ => {}
        }
    }
    stat
}

/// user nice system idle iowait irq softirq steal …; all eight or nothing.
fn cpu_times(row: &[u8]) -> Option<CpuTimes> {
    let mut row = words(row).map_while(number);
    let mut next = || row.next();
    let (user, nice, system, idle) = (next()?, next()?, next()?, next()?);
    let (iowait, irq, softirq, steal) = (next()?, next()?, next()?, next()?);
    Some(CpuTimes { busy: [user, nice, system, irq, softirq], idle, iowait, steal })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_rows() {
        let stat = parse(
            b"cpu  60 1 660 540 2 3 20 4 5 6\ncpu0 1 2\ncpu1 1 2\nintr 1 2 3\nprocs_running 1\nprocs_blocked 7\n",
        );
        let cpu = CpuTimes { busy: [60, 1, 660, 3, 20], idle: 540, iowait: 2, steal: 4 };
        assert_eq!(stat, Stat { cpu: Some(cpu), cpus: 2, procs_running: Some(1), procs_blocked: Some(7) });
    }

    #[test]
    fn a_broken_row_is_absent() {
        for text in [
            &b""[..],
            b"cpu",
            b"cpu  \n",
            b"cpu  1 2 3 4\n",
            b"cpu  1 2 x 4 5 6 7 8\n",
            b"cpu  1 2 3 4 5 6 7 x\n",
            b"procs_blocked \n",
        ] {
            assert_eq!(parse(text), Stat::default(), "{text:?}");
        }
    }
}
