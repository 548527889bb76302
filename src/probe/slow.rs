//! The calls that can hang or take long, on a thread of their own: `statvfs`, and the choice of the cgroup's files.
//!
//! The sampler never waits for this thread: it looks at the board when the board is free, else takes what it saw last.
//! A path that hangs holds up the others behind it and the choice of files; the sampler names it and goes on.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::Thread;
use std::time::{Duration, Instant};

use super::agents::{Agents, Asked, Lookout};
use super::cgroup_files::{self, CgroupFiles, Ids};
use super::kernel::{Root, Trouble, page_kb};
use super::levels::Target;
use super::processes::{Look, Processes};
#[cfg(target_os = "macos")]
use super::source::darwin;
use super::source::disk::{self, Counts, Fullest, Room};

/// How often the levels of the cgroup are chosen anew.
const LEVELS_EVERY: Duration = Duration::from_secs(60);

/// How much older than its pace a disk reading may be before the call counts as hung.
const HUNG_AFTER: Duration = Duration::from_secs(5);

/// How long a look for the largest processes may take.
const LARGEST_WITHIN: Duration = Duration::from_millis(20);

/// Enough for path handling and system calls; a locked stack is resident.
const STACK_BYTES: usize = 256 * 1024;

/// How many paths are watched at most when none is set.
pub const MOST_USUAL_PATHS: usize = 4;

/// No path is being asked about.
const NO_PATH: usize = usize::MAX;

/// What is done on the thread.
#[derive(Clone, Debug)]
pub struct Work {
    /// Where the cgroup is looked for.
    pub root: Root,
    /// Which cgroup is watched.
    pub target: Target,
    /// Whether the paths that every guest has are watched.
    pub usual_paths: UsualPaths,
    /// Paths to watch besides.
    pub watch: Vec<PathBuf>,
    /// How often the paths are asked about.
    pub pace: Duration,
    /// The name of the agent's process, besides the known ones.
    pub agent: Option<String>,
    /// The process below which it is looked for first.
    pub below: Option<u32>,
}

/// `/`, the working directory, `/tmp` and `/dev/shm`, each file system once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsualPaths {
    /// They are watched.
    Watched,
    /// A captured tree has no disks.
    LeftOut,
}

/// What the thread shows and the sampler takes. What the sampler is done with goes back, so that this thread frees it.
#[derive(Debug, Default)]
struct Board {
    files: Option<Box<CgroupFiles>>,
    used_files: Option<Box<CgroupFiles>>,
    disks: Disks,
    disks_are_new: bool,
    agents: Option<Box<Agents>>,
    used_agents: Option<Box<Agents>>,
    largest: Option<Look>,
}

/// One look at the watched paths.
#[derive(Clone, Debug, Default)]
pub struct Disks {
    /// When it was finished.
    at: Option<Instant>,
    /// The fullest of them.
    pub fullest: Fullest,
    /// The watched paths, as lines show them.
    pub paths: Vec<String>,
    /// The room of each path; `None` where there is none to tell.
    pub rooms: Vec<Option<Room>>,
    /// What is wrong with each path.
    pub troubles: Vec<Option<Trouble>>,
}

/// The sampler's end of the thread.
#[derive(Debug)]
pub struct Slow {
    board: Arc<Mutex<Board>>,
    shared: Arc<Shared>,
    thread: Thread,
    started: Instant,
    pace: Duration,
    disks: Disks,
}

/// What is told without a lock.
#[derive(Debug, Default)]
struct Shared {
    /// The sampler misses a file of the cgroup.
    reopen: AtomicBool,
    /// Which of the paths is being asked about.
    asking: AtomicUsize,
    /// The sampler wants to know the largest processes.
    largest: AtomicBool,
    /// Whether the agents shown are not right any more ([`Asked`]).
    agents: AtomicU8,
}

impl Slow {
    /// Starts the thread; `first` is the set of files that the sampler begins with.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn start(work: Work, first: &CgroupFiles) -> std::io::Result<Self> {
        let board = Arc::new(Mutex::new(Board::default()));
        let shared = Arc::new(Shared::default());
        let (pace, started) = (work.pace, Instant::now());
        let name = work.agent.clone().map(String::into_bytes);
        let lookout = Lookout::new(Processes::new(work.root.clone(), page_kb()), name, work.below);
        let worker = Worker {
            selection: first.selection.clone(),
            ids: first.ids,
            is_hampered: first.are_hampered(),
            work,
            board: Arc::clone(&board),
            shared: Arc::clone(&shared),
            watched: Vec::new(),
            kept: None,
            lookout,
            started,
        };
        let builder = std::thread::Builder::new().name("slow".to_owned()).stack_size(STACK_BYTES);
        let thread = builder.spawn(move || worker.run())?.thread().clone();
        Ok(Self { board, shared, thread, started, pace, disks: Disks::default() })
    }

    /// Takes a new set of files in place of `files`, when there is one.
    pub fn exchange(&mut self, files: &mut Box<CgroupFiles>) -> Exchanged {
        let Ok(mut board) = self.board.try_lock() else { return Exchanged::No };
        match board.files.take() {
            Some(new) => {
                board.used_files = Some(std::mem::replace(files, new));
                Exchanged::Yes
            }
            None => Exchanged::No,
        }
    }

    /// Asks for a new set of files, since one of them is gone.
    pub fn ask_for_files(&self) {
        self.shared.reopen.store(true, Ordering::Release);
        self.thread.unpark();
    }

    /// Takes other agents to watch, when there are some.
    pub fn exchange_agents(&mut self, agents: &mut Box<Agents>) {
        if let Ok(mut board) = self.board.try_lock()
            && let Some(new) = board.agents.take()
        {
            board.used_agents = Some(std::mem::replace(agents, new));
        }
    }

    /// Says that the agents are not right any more.
    pub fn ask_for_agents(&self, asked: Asked) {
        self.shared.agents.fetch_max(asked as u8, Ordering::AcqRel);
        if asked >= Asked::WorkerHasEnded {
            self.thread.unpark();
        }
    }

    /// Asks for the largest processes; [`Slow::largest`] has them once they are found.
    pub fn ask_for_largest(&self) {
        self.shared.largest.store(true, Ordering::Release);
        self.thread.unpark();
    }

    /// The largest processes, when they were asked for and found.
    pub fn largest(&self) -> Option<Look> {
        self.board.try_lock().ok()?.largest.take()
    }

    /// The latest look at the disks; of no path before the first one.
    ///
    /// # Errors
    /// [`Trouble::Hung`] when none has come for too long.
    pub fn disks(&mut self) -> Result<&Disks, Trouble> {
        if let Ok(mut board) = self.board.try_lock()
            && board.disks_are_new
        {
            std::mem::swap(&mut board.disks, &mut self.disks);
            board.disks_are_new = false;
        }
        match self.disks.at.unwrap_or(self.started).elapsed() > 2 * self.pace + HUNG_AFTER {
            true => Err(Trouble::Hung),
            false => Ok(&self.disks),
        }
    }

    /// The path that hangs, once [`Slow::disks`] says that one does.
    #[must_use]
    pub fn hung_path(&self) -> Option<&str> {
        self.disks.paths.get(self.shared.asking.load(Ordering::Acquire)).map(String::as_str)
    }
}

/// Whether there was something new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchanged {
    /// The sampler has a new set.
    Yes,
    /// It has the one that it had.
    No,
}

struct Worker {
    work: Work,
    selection: cgroup_files::Selection,
    ids: Ids,
    /// Whether the files in use are not all that there could be.
    is_hampered: bool,
    board: Arc<Mutex<Board>>,
    shared: Arc<Shared>,
    watched: Vec<PathBuf>,
    kept: Option<usize>,
    lookout: Lookout,
    started: Instant,
}

impl Worker {
    fn run(mut self) {
        self.find_paths();
        let mut levels_at = Instant::now();
        loop {
            let asked = self.shared.reopen.swap(false, Ordering::AcqRel);
            if asked || levels_at.elapsed() >= LEVELS_EVERY {
                levels_at = Instant::now();
                self.look_at_levels(asked);
            }
            // First what is asked for in trouble, last what can hang.
            self.look_at_largest();
            self.look_at_agents();
            self.look_at_disks();
            std::thread::park_timeout(self.work.pace);
        }
    }

    /// Opens the files anew when another level is the tightest, a limit changed, or one was missing.
    fn look_at_levels(&mut self, asked: bool) {
        let selection = cgroup_files::select(&self.work.root, &self.work.target);
        let is_other = selection != self.selection;
        if !asked && !is_other {
            return;
        }
        let mut ids = self.ids;
        ids.selection = ids.selection.wrapping_add(u32::from(is_other));
        ids.counters = ids.counters.wrapping_add(u32::from(!selection.has_counters_of(&self.selection)));
        let files = Box::new(CgroupFiles::open(&self.work.root, selection, ids));
        // Whatever keeps them from being opened now (no descriptors, no memory, a process that ended): those that are
        // open are better.
        let is_hampered = files.are_hampered();
        if is_hampered && !self.is_hampered {
            self.shared.reopen.fetch_or(asked, Ordering::AcqRel);
            return;
        }
        self.is_hampered = is_hampered;
        self.ids = ids;
        self.selection = files.selection.clone();
        self.on_board(|board| board.files.replace(files));
    }

    fn look_at_largest(&mut self) {
        if self.shared.largest.swap(false, Ordering::AcqRel) {
            let now = || self.started.elapsed();
            let look = self.lookout.processes().largest(LARGEST_WITHIN, now);
            self.on_board(|board| board.largest = Some(look));
        }
    }

    fn look_at_agents(&mut self) {
        let asked = Asked::of(self.shared.agents.swap(Asked::No as u8, Ordering::AcqRel));
        if let Some(agents) = self.lookout.look(asked, self.started.elapsed()) {
            let agents = Box::new(agents);
            // Those that were never taken are freed without the lock, as those that were used.
            drop(self.on_board(|board| (board.agents.replace(agents), board.used_agents.take())));
        }
    }

    /// Tells the paths before the first of them is asked about, so that one that hangs has a name.
    fn find_paths(&mut self) {
        let usual = match self.work.usual_paths {
            UsualPaths::Watched => usual_paths(),
            UsualPaths::LeftOut => Vec::new(),
        };
        self.watched = usual.into_iter().chain(self.work.watch.iter().cloned()).collect();
        let disks = Disks { at: Some(Instant::now()), paths: self.names(), ..Disks::default() };
        self.post(disks);
    }

    fn look_at_disks(&mut self) {
        let rooms = self.watched.iter().enumerate().map(|(at, path)| {
            self.shared.asking.store(at, Ordering::Release);
            counts(path).map(disk::room).map_err(Trouble::of)
        });
        let rooms: Vec<Result<Option<Room>, Trouble>> = rooms.collect();
        self.shared.asking.store(NO_PATH, Ordering::Release);
        let known: Vec<Option<Room>> = rooms.iter().map(|room| room.ok().flatten()).collect();
        let fullest = disk::fullest(&known, self.kept);
        self.kept = fullest.disk.map(|(at, _)| at);
        let troubles = rooms.into_iter().map(Result::err).collect();
        self.post(Disks { at: Some(Instant::now()), fullest, paths: self.names(), rooms: known, troubles });
    }

    fn names(&self) -> Vec<String> {
        self.watched.iter().map(|path| path.display().to_string()).collect()
    }

    fn post(&self, disks: Disks) {
        let used = self.on_board(|board| {
            board.disks_are_new = true;
            (std::mem::replace(&mut board.disks, disks), board.used_files.take())
        });
        // Freed here, without the lock.
        drop(used);
    }

    fn on_board<T>(&self, act: impl FnOnce(&mut Board) -> T) -> T {
        // Poisoned only by a panic of the sampler, which ends the process.
        act(&mut self.board.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

#[cfg(target_os = "linux")]
fn counts(path: &Path) -> rustix::io::Result<Counts> {
    let found = rustix::fs::statvfs(path)?;
    Ok(Counts {
        fragment_bytes: found.f_frsize,
        blocks: [found.f_blocks, found.f_bfree, found.f_bavail],
        inodes: [found.f_files, found.f_ffree, found.f_favail],
        is_read_only: found.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY),
    })
}

/// By statfs(2): the counts of statvfs(3) have 32 bits there, and APFS counts more inodes than that.
#[cfg(target_os = "macos")]
fn counts(path: &Path) -> rustix::io::Result<Counts> {
    let found = rustix::fs::statfs(path)?;
    Ok(Counts {
        fragment_bytes: found.f_bsize.into(),
        blocks: [found.f_blocks, found.f_bfree, found.f_bavail],
        inodes: [found.f_files, found.f_ffree, found.f_ffree],
        is_read_only: darwin::is_read_only(found.f_flags),
    })
}

/// The first of the usual paths. On macOS `/` is the sealed system; what fills is the data volume.
fn main_volume() -> PathBuf {
    let data = Path::new("/System/Volumes/Data");
    if cfg!(target_os = "macos") && data.exists() { data.to_owned() } else { "/".into() }
}

fn usual_paths() -> Vec<PathBuf> {
    let paths: [Option<PathBuf>; MOST_USUAL_PATHS] =
        [Some(main_volume()), std::env::current_dir().ok(), Some("/tmp".into()), Some("/dev/shm".into())];
    let mut seen = Vec::new();
    let mut is_new = |path: &PathBuf| {
        let device = std::fs::metadata(path).map(|meta| std::os::unix::fs::MetadataExt::dev(&meta)).ok();
        let is_new = device.is_some() && !seen.contains(&device);
        seen.push(device);
        is_new
    };
    paths.into_iter().flatten().filter(|path| is_new(path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work_of(root: Root, watch: Vec<PathBuf>, pace: Duration) -> Work {
        let usual_paths = UsualPaths::LeftOut;
        Work { root, target: Target::Own, usual_paths, watch, pace, agent: None, below: None }
    }

    fn start(watch: Vec<PathBuf>) -> Slow {
        let root = Root::new("/nowhere".into());
        let first = CgroupFiles::open(&root, cgroup_files::Selection::default(), Ids::default());
        let work = work_of(root, watch, Duration::from_millis(1));
        Slow::start(work, &first).unwrap()
    }

    fn first_disks(slow: &mut Slow) -> Disks {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            let disks = slow.disks().unwrap();
            if !disks.troubles.is_empty() {
                return disks.clone();
            }
            std::thread::yield_now();
        }
        panic!("no look at the disks came");
    }

    #[test]
    fn the_fullest_path_is_told_and_a_missing_one_costs_itself() {
        let disks = first_disks(&mut start(vec!["/no/such/path".into(), "/".into()]));
        assert_eq!(disks.fullest.disk.map(|(at, _)| at), Some(1));
        assert_eq!(disks.paths, ["/no/such/path", "/"]);
        assert!(matches!(disks.troubles[..], [Some(Trouble::Absent(_)), None]));
    }

    #[test]
    fn a_call_that_does_not_come_back_is_hung_and_its_path_named() {
        let mut slow = start(vec!["/".into()]);
        first_disks(&mut slow);
        // Nothing newer can come while the board is held, as by a thread that was stopped in it.
        let board = Arc::clone(&slow.board);
        let _held = board.lock().unwrap();
        let Some(long_ago) = Instant::now().checked_sub(HUNG_AFTER * 2) else { return };
        slow.disks.at = Some(long_ago);
        slow.shared.asking.store(0, Ordering::Release);
        assert!(matches!(slow.disks(), Err(Trouble::Hung)));
        assert_eq!(slow.hung_path(), Some("/"));
    }

    /// A worker that is not running, in a root of its own with one cgroup.
    fn worker(root: &Path) -> Worker {
        for (path, text) in [
            ("proc/self/cgroup", "0::/runner\n"),
            ("proc/self/mountinfo", "29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"),
            ("sys/fs/cgroup/runner/cgroup.controllers", "memory\n"),
            ("sys/fs/cgroup/runner/memory.current", "1\n"),
        ] {
            std::fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            std::fs::write(root.join(path), text).unwrap();
        }
        let root = Root::new(root.to_owned());
        let selection = cgroup_files::select(&root, &Target::Own);
        Worker {
            lookout: Lookout::new(Processes::new(root.clone(), 4), None, None),
            started: Instant::now(),
            work: work_of(root, Vec::new(), Duration::from_secs(1)),
            selection,
            ids: Ids::default(),
            is_hampered: false,
            board: Arc::default(),
            shared: Arc::default(),
            watched: Vec::new(),
            kept: None,
        }
    }

    #[test]
    fn good_files_are_not_given_up_for_none() {
        let dir = tempfile::tempdir().unwrap();
        let mut worker = worker(dir.path());
        let posted = |worker: &mut Worker, asked| {
            worker.look_at_levels(asked);
            worker.on_board(|board| board.files.take()).map(|files| files.ids)
        };
        assert_eq!(posted(&mut worker, false), None, "nothing changed");
        assert_eq!(posted(&mut worker, true), Some(Ids::default()), "asked for");
        let limit = dir.path().join("sys/fs/cgroup/runner/memory.max");
        std::fs::write(&limit, "7\n").unwrap();
        assert_eq!(
            posted(&mut worker, false),
            Some(Ids { selection: 1, counters: 0 }),
            "another limit, the same counters"
        );
        std::fs::rename(dir.path().join("proc/self/cgroup"), dir.path().join("away")).unwrap();
        assert_eq!(posted(&mut worker, true), None, "the look failed");
        assert!(worker.shared.reopen.load(Ordering::Acquire), "and is made again");
        std::fs::rename(dir.path().join("away"), dir.path().join("proc/self/cgroup")).unwrap();
        assert_eq!(posted(&mut worker, true), Some(Ids { selection: 1, counters: 0 }));
    }

    #[test]
    fn each_file_system_is_watched_once() {
        let paths = usual_paths();
        assert_eq!(paths.first(), Some(&main_volume()));
        let mut devices: Vec<u64> =
            paths.iter().map(|path| std::os::unix::fs::MetadataExt::dev(&std::fs::metadata(path).unwrap())).collect();
        devices.sort_unstable();
        devices.dedup();
        assert_eq!(devices.len(), paths.len());
    }
}
