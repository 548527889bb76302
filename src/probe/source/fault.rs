//! Kernel messages, besides those of an OOM, that explain a death.
//!
//! A text counts only where it begins as the kernel begins it: a process can name itself anything, but no name is longer
//! than 15 bytes. The wording is that of `kernel/hung_task.c`, `kernel/watchdog.c`, `kernel/rcu/tree_stall.h`,
//! `block/blk-core.c`, `fs/buffer.c`, the file systems, `mm/page_alloc.c`, `arch/*/mm/fault.c`, `arch/*/kernel/traps.c`,
//! `drivers/virtio/virtio_balloon.c` and `kernel/panic.c`, 4.19 to 6.18.

use super::text::{after, before, find};

/// What kind of fault a message tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A task has waited for input, output or a lock for two minutes.
    Hung,
    /// A CPU has not scheduled, or not taken interrupts, for many seconds.
    Lockup,
    /// RCU waits for a CPU that does not come.
    Rcu,
    /// A disk failed a request.
    Io,
    /// A file system found an error, or went read-only.
    Fs,
    /// The kernel could not get memory for itself.
    Alloc,
    /// A process crashed.
    Segv,
    /// The balloon took memory and could get no more.
    Balloon,
    /// The kernel itself crashed.
    Panic,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 9] =
        [Self::Hung, Self::Lockup, Self::Rcu, Self::Io, Self::Fs, Self::Alloc, Self::Segv, Self::Balloon, Self::Panic];
}

/// A fault as a message tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault<'a> {
    /// What it is.
    pub kind: Kind,
    /// The process that it is about, where it names one.
    pub comm: Option<&'a [u8]>,
    /// The device that it is about, where it names one.
    pub dev: Option<&'a [u8]>,
}

/// Longest name of a process, and of a file system or status before a marker.
const NAME_BYTES: usize = 15;

/// What a text of the kernel says of a fault; `None` when it is about something else.
#[must_use]
pub fn parse(text: &[u8]) -> Option<Fault<'_>> {
    // Texts that begin with a process's name come first, so that no name passes for one of the others.
    crash(text).or_else(|| allocation(text)).or_else(|| task(text)).or_else(|| disk(text)).or_else(|| kernel(text))
}

/// `C[P]: segfault at …`, `traps: C[P] general protection fault ip:…`, `traps: C[P] trap invalid opcode ip:…`.
fn crash(text: &[u8]) -> Option<Fault<'_>> {
    let of = |comm| Fault { kind: Kind::Segv, comm: Some(comm), dev: None };
    if let Some(rest) = text.strip_prefix(b"traps: ") {
        let what = find(rest, b"] general protection fault ip:").or_else(|| find(rest, b"] trap "))?;
        return name_before_pid(rest.get(..what)?).map(of);
    }
    name_before_pid(before(text, b"]: segfault at ")?).map(of)
}

/// `C[P`, the name as long as a name can be.
fn name_before_pid(text: &[u8]) -> Option<&[u8]> {
    let bracket = text.iter().rposition(|byte| *byte == b'[')?;
    let (name, pid) = (text.get(..bracket)?, text.get(bracket + 1..)?);
    let is_pid = !pid.is_empty() && pid.iter().all(u8::is_ascii_digit);
    (is_pid && name.len() <= NAME_BYTES).then_some(name)
}

/// `C: page allocation failure: order:…`.
fn allocation(text: &[u8]) -> Option<Fault<'_>> {
    let comm = before(text, b": page allocation failure: order:").filter(|comm| comm.len() <= NAME_BYTES)?;
    Some(Fault { kind: Kind::Alloc, comm: Some(comm), dev: None })
}

/// `INFO: task C:P blocked for more than N seconds.`, `watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [C:P]`.
fn task(text: &[u8]) -> Option<Fault<'_>> {
    if let Some(rest) = text.strip_prefix(b"INFO: task ") {
        let task = before(rest, b" blocked for more than ")?;
        let colon = task.iter().rposition(|byte| *byte == b':')?;
        return Some(Fault { kind: Kind::Hung, comm: task.get(..colon), dev: None });
    }
    let rest = text.strip_prefix(b"NMI ").unwrap_or(text);
    let rest = rest.strip_prefix(b"watchdog: ").unwrap_or(rest);
    let said = rest.strip_prefix(b"CPU").and_then(|rest| after(rest, b": ")).unwrap_or(rest);
    if said.starts_with(b"Watchdog detected hard LOCKUP on cpu") {
        return Some(Fault { kind: Kind::Lockup, comm: None, dev: None });
    }
    let task = after(rest.strip_prefix(b"BUG: soft lockup - CPU#")?, b"s! [")?;
    let colon = task.iter().rposition(|byte| *byte == b':')?;
    Some(Fault { kind: Kind::Lockup, comm: task.get(..colon), dev: None })
}

/// `[blk_update_request: ]I/O error, dev D, sector …`, `Buffer I/O error on dev D, …`, `EXT4-fs error (device D): …`,
/// `EXT4-fs (D): Remounting filesystem read-only`, and what XFS and Btrfs say in their place.
fn disk(text: &[u8]) -> Option<Fault<'_>> {
    let fault = |kind, dev| Some(Fault { kind, comm: None, dev: Some(dev) });
    // 5.2 to 5.17, and 4.19 to 5.1.
    let request = text.strip_prefix(b"blk_update_request: ").or_else(|| text.strip_prefix(b"print_req_error: "));
    let request = request.unwrap_or(text);
    if let Some(status) = before(request, b" error, dev ")
        && REQUEST_ERRORS.contains(&status)
    {
        return fault(Kind::Io, before(after(request, b" error, dev ")?, b", sector ")?);
    }
    if let Some(rest) = text.strip_prefix(b"Buffer I/O error on dev ") {
        return fault(Kind::Io, before(rest, b",")?);
    }
    // Btrfs can have ` state EA` behind the name.
    let device = |marker: &[u8]| before(after(text, marker)?, b")")?.split(|byte| *byte == b' ').next();
    if text.starts_with(b"EXT4-fs error (device ") || text.starts_with(b"BTRFS error (device ") {
        return fault(Kind::Fs, device(b"(device ")?);
    }
    let said = after(text, b"): ")?;
    let is_down = FS_DOWN.iter().any(|words| find(said, words).is_some());
    let is_fs = [&b"EXT4-fs ("[..], b"XFS (", b"BTRFS info (device "].iter().any(|words| text.starts_with(words));
    (is_fs && is_down).then(|| fault(Kind::Fs, device(b"(device ").or_else(|| device(b"("))?))?
}

/// What `blk_status_to_str` has before ` error` (5.2 on; before, `I/O` and a few of the others).
const REQUEST_ERRORS: [&[u8]; 11] = [
    b"I/O",
    b"timeout",
    b"critical target",
    b"critical space allocation",
    b"critical nexus",
    b"critical medium",
    b"device offline",
    b"recoverable transport",
    b"protection",
    b"kernel resource",
    b"device resource",
];

/// What a file system says when it gives up.
const FS_DOWN: [&[u8]; 6] = [
    b"Remounting filesystem read-only",
    b"forced readonly",
    b"hutting down filesystem",
    b"Filesystem has been shut down",
    b"Metadata corruption detected",
    b"metadata I/O error",
];

/// `Kernel panic - …`, an oops, an RCU stall, the balloon.
fn kernel(text: &[u8]) -> Option<Fault<'_>> {
    let starts = |words: &[&[u8]]| words.iter().any(|words| text.starts_with(words));
    let holds = |words: &[&[u8]]| words.iter().any(|words| find(text, words).is_some());
    let kind = if starts(&[
        b"Kernel panic - not syncing: ",
        b"BUG: kernel NULL pointer dereference",
        b"BUG: unable to handle ",
        b"kernel BUG at ",
        b"Oops: ",
        b"Internal error: Oops",
    ]) {
        Kind::Panic
    } else if starts(&[b"rcu: ", b"INFO: rcu"])
        && holds(&[b"detected stall", b"detected expedited stall", b"kthread starved for"])
    {
        Kind::Rcu
    } else if starts(&[b"virtio_balloon ", b"virtio-balloon "]) && holds(&[b": Out of puff!"]) {
        Kind::Balloon
    } else {
        return None;
    };
    Some(Fault { kind, comm: None, dev: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_the_kernels_own_wording() {
        let cases = [
            ("INFO: task tar:12 blocked for more than 120 seconds.", Kind::Hung, "tar"),
            ("INFO: task a:b:12 blocked for more than 241 seconds.", Kind::Hung, "a:b"),
            ("watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [cc1plus:77]", Kind::Lockup, "cc1plus"),
            ("NMI watchdog: BUG: soft lockup - CPU#3 stuck for 23s! [a [b]:77]", Kind::Lockup, "a [b]"),
            ("NMI watchdog: Watchdog detected hard LOCKUP on cpu 1", Kind::Lockup, ""),
            ("watchdog: Watchdog detected hard LOCKUP on cpu 1", Kind::Lockup, ""),
            ("watchdog: CPU3: Watchdog detected hard LOCKUP on cpu 3", Kind::Lockup, ""),
            ("print_req_error: I/O error, dev sda, sector 1", Kind::Io, "sda"),
            ("BTRFS error (device vda1 state EA): Transaction aborted", Kind::Fs, "vda1"),
            ("rcu: INFO: rcu_preempt self-detected stall on CPU", Kind::Rcu, ""),
            ("rcu: INFO: rcu_sched detected stalls on CPUs/tasks:", Kind::Rcu, ""),
            ("rcu: rcu_preempt kthread starved for 5250 jiffies! g1 f0x0", Kind::Rcu, ""),
            ("blk_update_request: I/O error, dev vda, sector 2048 op 0x1:(WRITE) flags 0x0", Kind::Io, "vda"),
            ("I/O error, dev vda, sector 2048 op 0x1:(WRITE) flags 0x0 phys_seg 1 prio class 2", Kind::Io, "vda"),
            ("critical medium error, dev sda, sector 1 op 0x0:(READ) flags 0x0", Kind::Io, "sda"),
            ("Buffer I/O error on dev vda1, logical block 0, lost async page write", Kind::Io, "vda1"),
            ("EXT4-fs error (device vda1): ext4_find_entry:1455: inode #2: comm ls: reading", Kind::Fs, "vda1"),
            ("EXT4-fs (vda1): Remounting filesystem read-only", Kind::Fs, "vda1"),
            ("XFS (vda1): log I/O error -5. Shutting down filesystem", Kind::Fs, "vda1"),
            ("XFS (vda1): Metadata corruption detected at xfs_agf_read_verify+0x9a/0x150", Kind::Fs, "vda1"),
            ("BTRFS error (device vda1): bdev /dev/vda1 errs: wr 1, rd 0", Kind::Fs, "vda1"),
            ("BTRFS info (device vda1): forced readonly", Kind::Fs, "vda1"),
            ("kworker/u4:1: page allocation failure: order:0, mode:0x40a20(GFP_ATOMIC)", Kind::Alloc, "kworker/u4:1"),
            ("node[1234]: segfault at 0 ip 0000563a sp 00007ffd error 4 in node[1+2]", Kind::Segv, "node"),
            ("traps: node[1234] general protection fault ip:1 sp:2 error:0 in libc.so.6", Kind::Segv, "node"),
            ("traps: a[b[1234] trap invalid opcode ip:1 sp:2 error:0 in a", Kind::Segv, "a[b"),
            ("virtio_balloon virtio0: Out of puff! Can't get 256 pages", Kind::Balloon, ""),
            ("Kernel panic - not syncing: Out of memory: system-wide panic_on_oom is enabled", Kind::Panic, ""),
            ("BUG: kernel NULL pointer dereference, address: 0000000000000008", Kind::Panic, ""),
            ("BUG: unable to handle page fault for address: ffffc90000000000", Kind::Panic, ""),
        ];
        for (text, kind, name) in cases {
            let fault = parse(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
            let named = fault.comm.or(fault.dev).unwrap_or_default();
            assert_eq!((fault.kind, named), (kind, name.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_is_none() {
        for text in [
            "",
            "EXT4-fs (vda): mounted filesystem with ordered data mode",
            "EXT4-fs warning (device vda1): ext4_dx_add_entry: directory full",
            "XFS (vda1): Mounting V5 Filesystem",
            "oom_reaper: reaped process 1 (a)",
            "I/O error, dev [12]: other",
            "rcu: Hierarchical RCU implementation.",
            "BTRFS info (device vda1): using free space tree",
            "INFO: task tar",
            "virtio_balloon virtio0: something else",
            "sd 0:0:0:0: [sda] Attached SCSI disk",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_hostile_name_stays_a_name() {
        // The longest names there can be.
        for name in ["I/O error, dev ", "]: segfault at ", "Kernel panic - ", "rcu: INFO: rcu ", "XFS (x): forced"] {
            let text = format!("{name}[7]: segfault at 0 ip 1 sp 2 error 4");
            let fault = parse(text.as_bytes()).map(|fault| (fault.kind, fault.comm.unwrap_or_default()));
            assert!(fault.is_none_or(|(kind, _)| kind == Kind::Segv), "{text}");
            let text = format!("{name}: page allocation failure: order:1, mode:0x1");
            let expected = Fault { kind: Kind::Alloc, comm: Some(name.as_bytes()), dev: None };
            assert_eq!(parse(text.as_bytes()), Some(expected), "{text}");
        }
    }
}
