//! Processes: `sysctl` `KERN_PROC`, which tells names, parents and starts of all of them to everybody, and `proc_pidinfo`
//! `PROC_PIDTASKINFO`, which tells the memory of one's own.
//!
//! `bsd/sys/sysctl.h` (`kinfo_proc`), `bsd/sys/proc.h` (`extern_proc`), `bsd/sys/proc_info.h` (`proc_taskinfo`). Never the
//! arguments (`KERN_PROCARGS2`): they hold secrets.

use super::{array_at, u32_at, u64_at, until_nul};
use crate::probe::fixed::Fixed;
use crate::probe::source::process::{COMM_BYTES, Process};

/// `sizeof(struct kinfo_proc)`: an `extern_proc` of 296 bytes and an `eproc`.
pub const KINFO_BYTES: usize = 648;

/// `sizeof(struct proc_taskinfo)`.
pub const TASK_INFO_BYTES: usize = 96;

/// `p_starttime`, `p_stat`, `p_pid` and `p_comm` of `kp_proc`, `e_ppid` of `kp_eproc`.
const START: usize = 0;
const STAT: usize = 36;
const PID: usize = 40;
const COMM: usize = 243;
const PPID: usize = 560;

/// `MAXCOMLEN` and its NUL.
const COMM_ROOM: usize = 17;

/// `SSTOP` and `SZOMB` of `p_stat`. All others are alive: whether one runs is told by its threads.
const STOPPED: u8 = 4;
const ZOMBIE: u8 = 5;

/// The processes of an answer of `KERN_PROC`; what is cut at its end is left out.
pub fn parse_all(bytes: &[u8]) -> impl Iterator<Item = Process> {
    bytes.chunks_exact(KINFO_BYTES).filter_map(parse)
}

/// One `kinfo_proc`. Its name is cut to what Linux keeps of one, by which agents are known.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<Process> {
    if bytes.len() != KINFO_BYTES {
        return None;
    }
    let pid = u32_at(bytes, PID).filter(|pid| *pid > 0)?;
    let room: [u8; COMM_ROOM] = array_at(bytes, COMM)?;
    let comm = until_nul(&room);
    Some(Process {
        pid,
        ppid: u32_at(bytes, PPID)?,
        state: match *bytes.get(STAT)? {
            STOPPED => b'T',
            ZOMBIE => b'Z',
            _ => b'S',
        },
        starttime_ticks: start_us(bytes)?,
        comm: Fixed::of(comm.get(..COMM_BYTES).unwrap_or(comm)),
    })
}

/// When it was started, in microseconds since 1970.
fn start_us(bytes: &[u8]) -> Option<u64> {
    u64_at(bytes, START)?.checked_mul(1_000_000)?.checked_add(u64::from(u32_at(bytes, START + 8)?))
}

/// What its task says of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskInfo {
    /// Its resident memory in KiB.
    pub rss_kb: u64,
    /// How many of its threads run or could.
    pub running: u32,
}

/// `pti_resident_size` and `pti_numrunning`; all of it or nothing.
#[must_use]
pub fn parse_task_info(bytes: &[u8]) -> Option<TaskInfo> {
    let rss_kb = u64_at(bytes, 8)? / 1024;
    let running = u32_at(bytes, 88)?;
    (bytes.len() == TASK_INFO_BYTES).then_some(TaskInfo { rss_kb, running })
}

/// The letter of a process: Z, T, else R while one of its threads runs, S while none does; `None` where its task is not
/// told.
#[must_use]
pub fn state(process: &Process, task: Option<TaskInfo>) -> Option<u8> {
    match (process.state, task) {
        (letter @ (b'Z' | b'T'), _) => Some(letter),
        (_, Some(task)) => Some(if task.running > 0 { b'R' } else { b'S' }),
        (_, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::probe::source::process::{choose, worker};

    /// As `fill_user64_proc` lays one out.
    fn kinfo(pid: u32, ppid: u32, stat: u8, start: (u64, u32), comm: &str) -> Vec<u8> {
        let mut bytes = vec![0; KINFO_BYTES];
        bytes[0..8].copy_from_slice(&start.0.to_le_bytes());
        bytes[8..12].copy_from_slice(&start.1.to_le_bytes());
        bytes[36] = stat;
        bytes[40..44].copy_from_slice(&pid.to_le_bytes());
        bytes[243..243 + comm.len()].copy_from_slice(comm.as_bytes());
        bytes[560..564].copy_from_slice(&ppid.to_le_bytes());
        bytes
    }

    #[test]
    fn a_process_is_read_from_its_places() {
        let bytes = kinfo(501, 1, 2, (1_780_574_400, 123_456), "Runner.Listener");
        let process = parse(&bytes).unwrap();
        assert_eq!((process.pid, process.ppid, process.state), (501, 1, b'S'));
        assert_eq!((process.starttime_ticks, process.comm.as_ref()), (1_780_574_400_123_456, &b"Runner.Listener"[..]));
        assert!(parse(&bytes[..KINFO_BYTES - 1]).is_none());
        assert!(parse(&kinfo(0, 0, 2, (1, 0), "kernel_task")).is_none(), "the kernel is no process");
        assert!(parse(&kinfo(1, 0, 2, (u64::MAX, 0), "x")).is_none());
    }

    #[test]
    fn a_long_name_is_cut_as_linux_does_it() {
        let name = |comm| parse(&kinfo(7, 1, 2, (1, 0), comm)).unwrap().comm.as_ref().to_vec();
        assert_eq!(name("com.apple.WebKit"), b"com.apple.WebKi");
        assert_eq!(name("12345678901234567"), b"123456789012345", "without its NUL");
        assert_eq!(name(""), b"");
    }

    #[test]
    fn the_agent_is_found_among_all() {
        let all = [
            kinfo(1, 0, 2, (1, 0), "launchd"),
            kinfo(300, 1, 2, (9, 5), "Runner.Listener"),
            kinfo(200, 1, 5, (8, 5), "Runner.Listener"),
            kinfo(310, 300, 2, (10, 0), "Runner.Worker"),
            vec![0xff; 100],
        ]
        .concat();
        let all: Vec<Process> = parse_all(&all).collect();
        assert_eq!(all.len(), 4);
        assert_eq!((choose(&all, None, None), worker(&all, 300)), (Some(300), Some(310)));
    }

    #[test]
    fn the_letter_is_that_of_its_threads() {
        let with = |stat, running| state(&parse(&kinfo(7, 1, stat, (1, 0), "x")).unwrap(), running);
        let task = |running| Some(TaskInfo { rss_kb: 1, running });
        assert_eq!([with(2, task(1)), with(2, task(0)), with(2, None)], [Some(b'R'), Some(b'S'), None]);
        assert_eq!([with(4, task(1)), with(5, None)], [Some(b'T'), Some(b'Z')]);
    }

    #[test]
    fn a_task_is_read_whole_or_not() {
        let mut bytes = vec![0; TASK_INFO_BYTES];
        bytes[8..16].copy_from_slice(&(700_u64 << 20).to_le_bytes());
        bytes[84..88].copy_from_slice(&33_u32.to_le_bytes());
        bytes[88..92].copy_from_slice(&2_u32.to_le_bytes());
        assert_eq!(parse_task_info(&bytes), Some(TaskInfo { rss_kb: 700 << 10, running: 2 }));
        assert_eq!(parse_task_info(&bytes[..92]), None);
        assert_eq!(parse_task_info(&[]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..3 * KINFO_BYTES)) {
            prop_assert!(parse_all(&bytes).count() <= bytes.len() / KINFO_BYTES);
            let _ = parse_task_info(&bytes);
        }
    }
}
