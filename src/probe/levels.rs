//! Which cgroups the readings are of: the watched one, and its visible ancestors.
//!
//! A path in `/proc/PID/cgroup` and the root of a mount in `mountinfo` are both seen from the probe's cgroup
//! namespace (cgroup_namespaces(7)); a cgroup is visible when its path lies below the root of a mount.

use std::path::{Path, PathBuf};

use procfs_core::process::MountInfo;
use procfs_core::{FromBufRead as _, ProcessCGroup, ProcessCGroups};

/// Which cgroup is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The probe's own.
    Own,
    /// That of another process.
    OfPid(u32),
    /// By its path in the hierarchy, or below the mount point.
    Path(PathBuf),
}

/// Which versions of the hierarchies are mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// Only the unified hierarchy.
    V2,
    /// Only v1 hierarchies.
    V1,
    /// Both.
    Hybrid,
    /// None in view.
    #[default]
    None,
}

impl Version {
    /// As the line names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V1 => "v1",
            Self::Hybrid => "hybrid",
            Self::None => "none",
        }
    }
}

/// The folders of one controller: the watched cgroup first, then its ancestors up to the topmost visible one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// Whether its files are v1's.
    pub is_v1: bool,
    /// The folders, as the guest names them; empty where the controller is not in view.
    pub dirs: Vec<PathBuf>,
    /// Where the hierarchy is mounted.
    pub mount_point: PathBuf,
    /// The cgroup that is mounted there.
    pub root: PathBuf,
}

impl Chain {
    /// The cgroup of a folder, as `/proc/PID/cgroup` names it.
    #[must_use]
    pub fn cgroup(&self, dir: &Path) -> String {
        let below = dir.strip_prefix(&self.mount_point).unwrap_or(dir);
        // Joining nothing would leave a slash behind.
        let path = if below.as_os_str().is_empty() { self.root.clone() } else { self.root.join(below) };
        path.display().to_string()
    }
}

/// Where the watched cgroup is, for each controller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Which hierarchies there are.
    pub version: Version,
    /// The watched cgroup's path as the kernel names it; `None` when none is in view.
    pub path: Option<String>,
    /// The memory controller.
    pub memory: Chain,
    /// The CPU controller.
    pub cpu: Chain,
    /// The pids controller.
    pub pids: Chain,
}

struct Hierarchy {
    mount_point: PathBuf,
    root: PathBuf,
    is_v1: bool,
    controllers: Vec<String>,
}

/// Works out the layout from the texts of `/proc/PID/cgroup` and `/proc/self/mountinfo`.
///
/// `v2_has` tells whether a folder of the unified hierarchy has a controller; `find` looks below a mount point for the
/// folder of the watched process, where its path is not below the root of the mount.
pub fn layout(
    cgroup: &[u8],
    mountinfo: &[u8],
    target: &Target,
    v2_has: impl Fn(&Path, &str) -> bool,
    find: impl Fn(&Path) -> Option<PathBuf>,
) -> Layout {
    let own = process_cgroups(cgroup);
    let hierarchies = hierarchies(mountinfo);
    let version = match (hierarchies.iter().any(|h| !h.is_v1), hierarchies.iter().any(|h| h.is_v1)) {
        (true, true) => Version::Hybrid,
        (true, false) => Version::V2,
        (false, true) => Version::V1,
        (false, false) => Version::None,
    };
    let of = |hierarchy: &Hierarchy, v1: Option<&str>| {
        let by_path = chain(hierarchy, &path_of(&own, v1, hierarchy, target)?);
        by_path.or_else(|| chain(hierarchy, &hierarchy.root.join(find(&hierarchy.mount_point)?)))
    };
    let chain = |controller: &str| {
        let v2 = hierarchies.iter().filter(|h| !h.is_v1).filter_map(|h| of(h, None));
        let v2 = v2.into_iter().find(|chain| chain.dirs.iter().any(|dir| v2_has(dir, controller)));
        let v1 = hierarchies.iter().filter(|h| h.is_v1 && h.controllers.iter().any(|name| name == controller));
        let mut v1 = v1.filter_map(|h| of(h, Some(controller)));
        v2.or_else(|| v1.next()).unwrap_or_default()
    };
    let (memory, cpu, pids) = (chain("memory"), chain("cpu"), chain("pids"));
    let path = match (target, memory.dirs.first()) {
        (Target::Path(_), Some(dir)) => Some(memory.cgroup(dir)),
        (Target::Path(path), None) => Some(path.display().to_string()),
        _ => own_path(&own, "memory"),
    };
    Layout { version, path, memory, cpu, pids }
}

/// The path in the v1 hierarchy of that controller, else in the unified one.
fn own_path(own: &[ProcessCGroup], controller: &str) -> Option<String> {
    let v1 = own.iter().find(|cgroup| cgroup.controllers.iter().any(|name| name == controller));
    v1.or_else(|| own.iter().find(|cgroup| cgroup.hierarchy == 0)).map(|cgroup| cgroup.pathname.clone())
}

fn path_of(own: &[ProcessCGroup], v1: Option<&str>, hierarchy: &Hierarchy, target: &Target) -> Option<PathBuf> {
    match target {
        // A folder below the mount point, or a path in the hierarchy.
        Target::Path(path) => Some(match path.strip_prefix(&hierarchy.mount_point) {
            Ok(below) => hierarchy.root.join(below),
            Err(_) => Path::new("/").join(path),
        }),
        _ => own
            .iter()
            .find(|cgroup| match v1 {
                Some(controller) => cgroup.controllers.iter().any(|name| name == controller),
                None => cgroup.hierarchy == 0,
            })
            .map(|cgroup| PathBuf::from(&cgroup.pathname)),
    }
}

/// The folders from that of `path` up to the mount point; `None` when `path` is not below the mount's root.
fn chain(hierarchy: &Hierarchy, path: &Path) -> Option<Chain> {
    let below = path.strip_prefix(&hierarchy.root).ok()?;
    if below.components().any(|part| part == std::path::Component::ParentDir) {
        return None;
    }
    let dirs = below.ancestors().map(|below| match below.as_os_str().is_empty() {
        true => hierarchy.mount_point.clone(),
        false => hierarchy.mount_point.join(below),
    });
    let (dirs, mount_point, root) = (dirs.collect(), hierarchy.mount_point.clone(), hierarchy.root.clone());
    Some(Chain { is_v1: hierarchy.is_v1, dirs, mount_point, root })
}

fn process_cgroups(text: &[u8]) -> Vec<ProcessCGroup> {
    let lines = text.split(|byte| *byte == b'\n');
    // Line by line: one that is not understood costs itself.
    lines.filter_map(|line| ProcessCGroups::from_buf_read(line).ok()).flatten().collect()
}

fn hierarchies(mountinfo: &[u8]) -> Vec<Hierarchy> {
    let text = String::from_utf8_lossy(mountinfo);
    text.lines().filter_map(|line| MountInfo::from_line(line).ok()).filter_map(hierarchy).collect()
}

fn hierarchy(mount: MountInfo) -> Option<Hierarchy> {
    let is_v1 = match mount.fs_type.as_str() {
        "cgroup" => true,
        "cgroup2" => false,
        _ => return None,
    };
    let mount_point = PathBuf::from(unescaped(&mount.mount_point.to_string_lossy()));
    let root = PathBuf::from(unescaped(&mount.root));
    if !root.is_absolute() || !mount_point.is_absolute() {
        return None;
    }
    Some(Hierarchy { mount_point, root, is_v1, controllers: mount.super_options.into_keys().collect() })
}

/// mountinfo writes space, tab, newline and backslash as `\NNN` in octal (proc_pid_mountinfo(5)).
fn unescaped(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
}

/// What one level says of a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// What it uses; `None` when it could not be read.
    pub current: Option<u64>,
    /// What it may use; `None` without a limit.
    pub limit: Option<u64>,
}

/// The limited level with the least headroom; without a limited one the first that has a reading.
#[must_use]
pub fn tightest(levels: &[Level]) -> Option<usize> {
    let headroom = |level: &Level| Some(level.limit?.saturating_sub(level.current?));
    let limited = levels.iter().enumerate().filter_map(|(at, level)| Some((headroom(level)?, at)));
    let unlimited = || levels.iter().position(|level| level.current.is_some());
    limited.min().map(|(_, at)| at).or_else(unlimited)
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &str = "29 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
    const V1: &str = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      35 31 0:32 / /sys/fs/cgroup/memory rw shared:5 - cgroup cgroup rw,memory\n";

    fn of(cgroup: &str, mountinfo: &str, target: &Target) -> Layout {
        layout(cgroup.as_bytes(), mountinfo.as_bytes(), target, |_, _| true, |_| None)
    }

    fn dirs(chain: &Chain) -> Vec<&str> {
        chain.dirs.iter().map(|dir| dir.to_str().unwrap()).collect()
    }

    #[test]
    fn a_nested_cgroup_and_its_ancestors() {
        let layout = of("0::/a/b\n", V2, &Target::Own);
        assert_eq!((layout.version, layout.path.as_deref()), (Version::V2, Some("/a/b")));
        assert_eq!(dirs(&layout.memory), ["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup"]);
        assert_eq!(layout.memory.cgroup(&layout.memory.dirs[1]), "/a");
        assert_eq!(layout.memory.cgroup(&layout.memory.dirs[2]), "/");
    }

    #[test]
    fn a_namespaced_cgroup_is_the_mount_itself() {
        let layout = of("0::/\n", V2, &Target::Own);
        assert_eq!(dirs(&layout.memory), ["/sys/fs/cgroup"]);
    }

    #[test]
    fn a_mount_of_a_part_of_the_tree() {
        // Docker on v1 without a namespace: the mount's root is the container's own cgroup.
        let mount = "35 31 0:32 /docker/a /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let layout = of("4:memory:/docker/a\n", mount, &Target::Own);
        assert!(layout.memory.is_v1);
        assert_eq!(dirs(&layout.memory), ["/sys/fs/cgroup/memory"]);
        assert_eq!(layout.memory.cgroup(&layout.memory.dirs[0]), "/docker/a");
        assert_eq!(
            dirs(&of("4:memory:/docker/a/b\n", mount, &Target::Own).memory),
            ["/sys/fs/cgroup/memory/b", "/sys/fs/cgroup/memory"]
        );
        // Another container's is not in view.
        assert!(of("4:memory:/docker/b\n", mount, &Target::Own).memory.dirs.is_empty());
        assert!(of("0::/../b\n", V2, &Target::Own).memory.dirs.is_empty());
    }

    #[test]
    fn another_namespaces_path_is_looked_for() {
        // Seen from a container: the host's tree mounted whole, and the process outside of the own cgroup.
        let mount = "29 23 0:26 /../../.. /host ro - cgroup2 cgroup2 rw\n";
        let found = |mount: &Path| (mount == Path::new("/host")).then(|| PathBuf::from("pods/job"));
        let layout = layout(b"0::/../job\n", mount.as_bytes(), &Target::OfPid(7), |_, _| true, found);
        assert_eq!(dirs(&layout.memory), ["/host/pods/job", "/host/pods", "/host"]);
    }

    #[test]
    fn v1_has_a_path_for_each_controller() {
        let layout = of("4:memory:/m\n1:cpu,cpuacct:/c\n0::/\n", V1, &Target::Own);
        assert_eq!((layout.version, layout.path.as_deref()), (Version::V1, Some("/m")));
        assert_eq!(dirs(&layout.memory), ["/sys/fs/cgroup/memory/m", "/sys/fs/cgroup/memory"]);
        assert_eq!(dirs(&layout.cpu), ["/sys/fs/cgroup/cpu,cpuacct/c", "/sys/fs/cgroup/cpu,cpuacct"]);
        assert!(layout.pids.dirs.is_empty());
    }

    #[test]
    fn hybrid_takes_a_controller_where_it_is() {
        let mounts = format!("{V1}41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
        let cgroup = b"4:memory:/m\n1:cpu,cpuacct:/c\n0::/u\n";
        let layout = layout(cgroup, mounts.as_bytes(), &Target::Own, |_, controller| controller == "pids", |_| None);
        assert_eq!(layout.version, Version::Hybrid);
        assert!(layout.memory.is_v1 && layout.cpu.is_v1 && !layout.pids.is_v1);
        assert_eq!(dirs(&layout.pids), ["/sys/fs/cgroup/unified/u", "/sys/fs/cgroup/unified"]);
    }

    #[test]
    fn a_path_can_be_given() {
        for path in ["/kubepods/x", "kubepods/x", "/sys/fs/cgroup/kubepods/x"] {
            let layout = of("0::/own\n", V2, &Target::Path(path.into()));
            assert_eq!(
                dirs(&layout.memory),
                ["/sys/fs/cgroup/kubepods/x", "/sys/fs/cgroup/kubepods", "/sys/fs/cgroup"]
            );
        }
    }

    #[test]
    fn nothing_in_view_and_nonsense() {
        assert_eq!(of("", "", &Target::Own), Layout::default());
        let layout = of(
            "garbage\n0::/a\n:::\n",
            &format!("garbage\n\n1 2 3\n36 31 0:33  /mnt rw - cgroup2 c rw\n{V2}"),
            &Target::Own,
        );
        assert_eq!(dirs(&layout.memory), ["/sys/fs/cgroup/a", "/sys/fs/cgroup"]);
        let spaced = "29 23 0:26 / /sys/fs/c\\040g rw - cgroup2 cgroup2 rw\n";
        assert_eq!(dirs(&of("0::/a b\n", spaced, &Target::Own).memory), ["/sys/fs/c g/a b", "/sys/fs/c g"]);
    }

    #[test]
    fn the_least_headroom_wins() {
        let level = |current, limit| Level { current, limit };
        let cases: [(&[Level], Option<usize>); 5] = [
            (&[level(Some(5), Some(10)), level(Some(8), Some(12))], Some(1)),
            (&[level(Some(5), None), level(Some(5), Some(100))], Some(1)),
            (&[level(Some(5), None), level(Some(8), None)], Some(0)),
            (&[level(Some(5), Some(10)), level(None, Some(1)), level(Some(9), Some(5))], Some(2)),
            (&[level(None, None)], None),
        ];
        for (levels, expected) in cases {
            assert_eq!(tightest(levels), expected, "{levels:?}");
        }
    }
}
