//! The files of the watched cgroup: which level each reading is of, chosen off the sample path, and those files open.

use std::path::{Path, PathBuf};

use super::kernel::{KernelFile, Root, Trouble};
use super::levels::{self, Chain, Layout, Level, Target, Version};
use super::source::cgroup::{self, Limit};

/// Which folders the readings are taken from, and what they say that does not change with every sample.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Which hierarchies there are.
    pub version: Version,
    /// The watched cgroup's path.
    pub path: Option<String>,
    /// The path of the level that the memory readings are of.
    pub mem_level: Option<String>,
    /// The memory limit of that level in bytes; `none`, `unknown`.
    pub mem_limit: String,
    /// The CPUs that the tightest quota allows, with two decimals; `none`, `unknown`.
    pub cpu_quota: String,
    /// `memory.oom.group` of the watched cgroup; `None` where there is no such file.
    pub oom_group: Option<u64>,
    /// What kept the hierarchies from being looked at.
    pub trouble: Option<Trouble>,
    /// Whether the watched cgroup's folder is not there any more, or not yet.
    pub is_gone: bool,
    is_v1: bool,
    mem_dir: PathBuf,
    own_dir: PathBuf,
    tree_dir: PathBuf,
    cpu_dirs: Vec<PathBuf>,
    pids_dir: PathBuf,
    /// That of the watched cgroup, where that is another.
    pids_own_dir: PathBuf,
}

/// Finds the watched cgroup and chooses its levels. Reads files, so it is not for the sample path.
#[must_use]
pub fn select(root: &Root, target: &Target) -> Selection {
    let whose = match target {
        Target::OfPid(pid) => format!("/proc/{pid}/cgroup"),
        _ => "/proc/self/cgroup".to_owned(),
    };
    let (cgroup, mountinfo) = (root.read(whose), root.read("/proc/self/mountinfo"));
    let trouble = cgroup.as_ref().err().or(mountinfo.as_ref().err()).copied();
    let (cgroup, mountinfo) = (cgroup.unwrap_or_default(), mountinfo.unwrap_or_default());
    let v2_has = |dir: &Path, controller: &str| {
        let controllers = root.read(dir.join("cgroup.controllers")).unwrap_or_default();
        controllers.split(u8::is_ascii_whitespace).any(|word| word == controller.as_bytes())
    };
    let find = |mount_point: &Path| {
        let pid = match target {
            Target::Own => std::process::id(),
            Target::OfPid(pid) => *pid,
            Target::Path(_) => return None,
        };
        let dir = cgroup_of_member(root, mount_point, pid)?;
        dir.strip_prefix(mount_point).ok().map(Path::to_owned)
    };
    let mut layout = levels::layout(&cgroup, &mountinfo, target, v2_has, find);
    let own = layout.memory.dirs.first();
    let is_gone = own.is_some_and(|own| !root.join(own).exists());
    if is_gone {
        // Its ancestors' readings are not its own.
        for chain in [&mut layout.memory, &mut layout.cpu, &mut layout.pids] {
            chain.dirs.truncate(1);
        }
    }
    Selection { trouble, ..chosen(root, layout, is_gone) }
}

/// The folder at or below `dir` whose `cgroup.procs` has this pid.
fn cgroup_of_member(root: &Root, dir: &Path, pid: u32) -> Option<PathBuf> {
    let members = root.read(dir.join("cgroup.procs")).unwrap_or_default();
    let mut members = members.split(|byte| *byte == b'\n').map(cgroup::parse_count);
    if members.any(|member| member == Some(u64::from(pid))) {
        return Some(dir.to_owned());
    }
    let entries = std::fs::read_dir(root.join(dir)).ok()?.flatten();
    let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    below.map(|entry| dir.join(entry.file_name())).find_map(|dir| cgroup_of_member(root, &dir, pid))
}

fn chosen(root: &Root, layout: Layout, is_gone: bool) -> Selection {
    let Layout { version, path, memory, cpu, pids } = layout;
    let memory_names = if memory.is_v1 { V1_MEMORY } else { V2_MEMORY };
    let mem_dir = tightest_dir(root, &memory, memory_names.current, memory_names.max);
    let pids_dir = tightest_dir(root, &pids, "pids.current", "pids.max");
    let quotas = cpu.dirs.iter().map(|dir| (dir, cpu_quota(root, dir, cpu.is_v1)));
    let quotas: Vec<(&PathBuf, Option<Limit>)> = quotas.collect();
    let is_limited = |quota: &Option<Limit>| matches!(quota, Some(Limit::At(_)));
    let has_cpu_stat =
        |dir: &Path| root.join(dir.join(if cpu.is_v1 { "cpu.cfs_quota_us" } else { "cpu.max" })).exists();
    let cpu_dirs =
        quotas.iter().enumerate().filter(|(at, (dir, quota))| is_limited(quota) || (*at == 0 && has_cpu_stat(dir)));
    let cpu_dirs = cpu_dirs.map(|(_, (dir, _))| (*dir).clone()).collect();
    let tightest_quota = quotas.iter().filter_map(|(_, quota)| quota.and_then(Limit::at)).min();
    let any_unlimited = quotas.iter().find_map(|(_, quota)| *quota).filter(|_| !is_gone);
    let own_dir = memory.dirs.first().cloned().unwrap_or_default();
    let level = mem_dir.as_ref().or(memory.dirs.first()).filter(|_| !is_gone);
    let mem_limit = level.and_then(|dir| limit(root, dir, memory_names.max));
    // v1 counts each cgroup's own kills only: there is no sum over the tree.
    let topmost = memory.dirs.iter().rev().find(|dir| root.join(dir.join("memory.events")).exists());
    let tree_dir = topmost.filter(|dir| !memory.is_v1 && **dir != own_dir).cloned().unwrap_or_default();
    Selection {
        version,
        path,
        mem_level: mem_dir.as_ref().map(|dir| memory.cgroup(dir)),
        mem_limit: limit_word(mem_limit, |bytes| bytes.to_string()),
        cpu_quota: limit_word(tightest_quota.map(Limit::At).or(any_unlimited), hundredths_word),
        is_gone,
        trouble: None,
        oom_group: root.read(own_dir.join("memory.oom.group")).ok().and_then(|text| cgroup::parse_count(&text)),
        is_v1: memory.is_v1,
        mem_dir: mem_dir.unwrap_or_else(|| own_dir.clone()),
        own_dir,
        tree_dir,
        cpu_dirs,
        pids_own_dir: pids.dirs.first().filter(|own| pids_dir.as_ref() != Some(own)).cloned().unwrap_or_default(),
        pids_dir: pids_dir.unwrap_or_default(),
    }
}

fn tightest_dir(root: &Root, chain: &Chain, current: &str, max: &str) -> Option<PathBuf> {
    let level = |dir: &PathBuf| Level {
        current: root.read(dir.join(current)).ok().and_then(|text| cgroup::parse_count(&text)),
        limit: limit(root, dir, max).and_then(Limit::at),
    };
    let levels: Vec<Level> = chain.dirs.iter().map(level).collect();
    chain.dirs.get(levels::tightest(&levels)?).cloned()
}

/// The limit of a level; one without the file, as a root cgroup is, has none. `None` when it cannot be read.
fn limit(root: &Root, dir: &Path, name: &str) -> Option<Limit> {
    match root.read(dir.join(name)) {
        Err(Trouble::Absent(_)) => Some(Limit::None),
        text => cgroup::parse_limit(&text.ok()?),
    }
}

fn limit_word(limit: Option<Limit>, print: impl Fn(u64) -> String) -> String {
    match limit {
        Some(Limit::At(limit)) => print(limit),
        Some(Limit::None) => "none".to_owned(),
        None => "unknown".to_owned(),
    }
}

fn hundredths_word(x100: u64) -> String {
    format!("{}.{:02}", x100 / 100, x100 % 100)
}

fn cpu_quota(root: &Root, dir: &Path, is_v1: bool) -> Option<Limit> {
    let quota = match root.read(dir.join(if is_v1 { "cpu.cfs_quota_us" } else { "cpu.max" })) {
        Err(Trouble::Absent(_)) => return Some(Limit::None),
        text => text.ok()?,
    };
    match quota.trim_ascii() {
        quota if !is_v1 => cgroup::parse_cpu_max(quota),
        b"-1" => Some(Limit::None),
        quota => {
            let period = root.read(dir.join("cpu.cfs_period_us")).ok()?;
            cgroup::cpu_quota(cgroup::parse_count(quota)?, cgroup::parse_count(&period)?)
        }
    }
}

struct MemoryNames {
    current: &'static str,
    peak: &'static str,
    max: &'static str,
    swap: &'static str,
    events: &'static str,
}

const V2_MEMORY: MemoryNames = MemoryNames {
    current: "memory.current",
    peak: "memory.peak",
    max: "memory.max",
    swap: "memory.swap.current",
    events: "memory.events",
};

const V1_MEMORY: MemoryNames = MemoryNames {
    current: "memory.usage_in_bytes",
    peak: "memory.max_usage_in_bytes",
    max: "memory.limit_in_bytes",
    swap: "memory.memsw.usage_in_bytes",
    events: "memory.oom_control",
};

impl Selection {
    /// Whether the OOM counters are of the same cgroups.
    #[must_use]
    pub fn has_counters_of(&self, other: &Self) -> bool {
        let of = |selection: &Self| (selection.is_gone, selection.own_dir.clone(), selection.tree_dir.clone());
        of(self) == of(other)
    }
}

/// Numbers that tell one set of files from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    /// Another for each other selection.
    pub selection: u32,
    /// Another when the OOM counters are of other cgroups.
    pub counters: u32,
}

/// The files of a selection, open.
#[derive(Debug)]
pub struct CgroupFiles {
    /// Which set this is.
    pub ids: Ids,
    /// What they were opened for.
    pub selection: Selection,
    pub(super) is_v1: bool,
    pub(super) mem_current: KernelFile,
    pub(super) mem_peak: KernelFile,
    pub(super) mem_max: KernelFile,
    pub(super) mem_high: KernelFile,
    pub(super) mem_swap: KernelFile,
    pub(super) mem_stat: KernelFile,
    pub(super) mem_events: KernelFile,
    pub(super) tree_events: KernelFile,
    pub(super) cpu_stat: Vec<KernelFile>,
    pub(super) pids_current: KernelFile,
    pub(super) pids_max: KernelFile,
    pub(super) pids_events: KernelFile,
    pub(super) pids_events_own: KernelFile,
}

impl CgroupFiles {
    /// Opens what a selection names. A folder that is not in view gives files that are absent.
    #[must_use]
    pub fn open(root: &Root, selection: Selection, ids: Ids) -> Self {
        let names = if selection.is_v1 { V1_MEMORY } else { V2_MEMORY };
        let open = |dir: &Path, name: &str| match dir.as_os_str().is_empty() {
            true => KernelFile::unavailable(selection.trouble),
            false => KernelFile::open(root, dir.join(name)),
        };
        let mem = |name| open(&selection.mem_dir, name);
        Self {
            ids,
            is_v1: selection.is_v1,
            mem_current: mem(names.current),
            mem_peak: mem(names.peak),
            mem_max: mem(names.max),
            mem_high: mem("memory.high"),
            mem_swap: mem(names.swap),
            mem_stat: mem("memory.stat"),
            mem_events: open(&selection.own_dir, names.events),
            tree_events: open(&selection.tree_dir, names.events),
            cpu_stat: selection.cpu_dirs.iter().map(|dir| open(dir, "cpu.stat")).collect(),
            pids_current: open(&selection.pids_dir, "pids.current"),
            pids_max: open(&selection.pids_dir, "pids.max"),
            pids_events: open(&selection.pids_dir, "pids.events"),
            pids_events_own: open(&selection.pids_own_dir, "pids.events"),
            selection,
        }
    }

    /// Whether something kept them from being found or opened, as too few descriptors or a process that ended do.
    #[must_use]
    pub fn are_hampered(&self) -> bool {
        self.selection.trouble.is_some() || self.files().any(KernelFile::is_broken)
    }

    /// All of them.
    pub fn files(&self) -> impl Iterator<Item = &KernelFile> {
        let memory = [&self.mem_current, &self.mem_peak, &self.mem_max, &self.mem_high, &self.mem_swap, &self.mem_stat];
        let pids = [&self.pids_current, &self.pids_max, &self.pids_events, &self.pids_events_own];
        memory.into_iter().chain([&self.mem_events, &self.tree_events]).chain(pids).chain(&self.cpu_stat)
    }
}
