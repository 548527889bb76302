//! The calls that can hang or take long, on a thread of their own: `statvfs`, and the choice of the cgroup's files.
//!
//! The sampler never waits for this thread: it looks at the board when the board is free, else takes what it saw last.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rustix::fs::StatVfs;

use super::cgroup_files::{self, CgroupFiles};
use super::kernel::{Root, Trouble};
use super::levels::Target;
use super::source::disk::{self, Counts, Fullest, Room};

/// How often the levels of the cgroup are chosen anew.
const LEVELS_EVERY: Duration = Duration::from_secs(60);

/// How much older than its pace a disk reading may be before the call counts as hung.
const HUNG_AFTER: Duration = Duration::from_secs(5);

/// Enough for path handling and system calls; a locked stack is resident.
const STACK_BYTES: usize = 256 * 1024;

/// What is done on the thread.
#[derive(Clone, Debug)]
pub struct Work {
    /// Where the cgroup is looked for.
    pub root: Root,
    /// Which cgroup is watched.
    pub target: Target,
    /// Paths to ask `statvfs` about.
    pub watched: Vec<PathBuf>,
    /// How often they are asked about.
    pub pace: Duration,
}

/// What the thread has found and the sampler has not yet taken.
#[derive(Debug, Default)]
struct Board {
    files: Option<Box<CgroupFiles>>,
    disks: Option<Disks>,
}

/// One look at the watched paths.
#[derive(Clone, Debug)]
pub struct Disks {
    /// When it was finished.
    pub at: Instant,
    /// The fullest of them.
    pub fullest: Fullest,
    /// What is wrong with each path.
    pub troubles: Vec<Option<Trouble>>,
}

/// The sampler's end of the thread.
#[derive(Debug)]
pub struct Slow {
    board: Arc<Mutex<Board>>,
    reopen: Arc<AtomicBool>,
    thread: Thread,
    started: Instant,
    pace: Duration,
    disks: Option<Disks>,
}

impl Slow {
    /// Starts the thread; `first` is the set of files that the sampler begins with.
    ///
    /// # Errors
    /// When no thread can be had.
    pub fn start(work: Work, first: &CgroupFiles) -> std::io::Result<Self> {
        let board = Arc::new(Mutex::new(Board::default()));
        let reopen = Arc::new(AtomicBool::new(false));
        let (pace, started) = (work.pace, Instant::now());
        let worker = Worker {
            selection: first.selection.clone(),
            id: first.id,
            work,
            board: Arc::clone(&board),
            reopen: Arc::clone(&reopen),
            kept: None,
        };
        let builder = std::thread::Builder::new().name("slow".to_owned()).stack_size(STACK_BYTES);
        let thread = builder.spawn(move || worker.run())?.thread().clone();
        Ok(Self { board, reopen, thread, started, pace, disks: None })
    }

    /// A new set of files, when there is one.
    pub fn new_files(&mut self) -> Option<Box<CgroupFiles>> {
        self.board.try_lock().ok()?.files.take()
    }

    /// Asks for a new set of files, since one of them is gone.
    pub fn ask_for_files(&self) {
        self.reopen.store(true, Ordering::Release);
        self.thread.unpark();
    }

    /// The latest look at the disks; `Ok(None)` before the first one.
    ///
    /// # Errors
    /// [`Trouble::Hung`] when none has come for too long.
    pub fn disks(&mut self) -> Result<Option<&Disks>, Trouble> {
        if let Some(disks) = self.board.try_lock().ok().and_then(|mut board| board.disks.take()) {
            self.disks = Some(disks);
        }
        let last = self.disks.as_ref().map_or(self.started, |disks| disks.at);
        match last.elapsed() > 2 * self.pace + HUNG_AFTER {
            true => Err(Trouble::Hung),
            false => Ok(self.disks.as_ref()),
        }
    }
}

struct Worker {
    work: Work,
    selection: cgroup_files::Selection,
    id: u32,
    board: Arc<Mutex<Board>>,
    reopen: Arc<AtomicBool>,
    kept: Option<usize>,
}

impl Worker {
    fn run(mut self) {
        let mut levels_at = Instant::now();
        loop {
            let asked = self.reopen.swap(false, Ordering::AcqRel);
            if asked || levels_at.elapsed() >= LEVELS_EVERY {
                levels_at = Instant::now();
                self.look_at_levels(asked);
            }
            self.look_at_disks();
            std::thread::park_timeout(self.work.pace);
        }
    }

    /// Opens the files anew when another level is the tightest, a limit changed, or one was missing.
    fn look_at_levels(&mut self, asked: bool) {
        let selection = cgroup_files::select(&self.work.root, &self.work.target);
        let is_other = selection != self.selection;
        if is_other {
            self.id = self.id.wrapping_add(1);
            self.selection = selection.clone();
        }
        if asked || is_other {
            let files = Box::new(CgroupFiles::open(&self.work.root, selection, self.id));
            self.post(|board| board.files = Some(files));
        }
    }

    fn look_at_disks(&mut self) {
        if self.work.watched.is_empty() {
            return self.post_disks(Fullest::default(), Vec::new());
        }
        let rooms = self.work.watched.iter().map(|path| match rustix::fs::statvfs(path) {
            Ok(found) => Ok(disk::room(counts(&found))),
            Err(errno) => Err(Trouble::of(errno)),
        });
        let rooms: Vec<Result<Option<Room>, Trouble>> = rooms.collect();
        let known: Vec<Option<Room>> = rooms.iter().map(|room| room.ok().flatten()).collect();
        let fullest = disk::fullest(&known, self.kept);
        self.kept = fullest.disk.map(|(at, _)| at);
        self.post_disks(fullest, rooms.into_iter().map(Result::err).collect());
    }

    fn post_disks(&self, fullest: Fullest, troubles: Vec<Option<Trouble>>) {
        let disks = Disks { at: Instant::now(), fullest, troubles };
        self.post(|board| board.disks = Some(disks));
    }

    fn post(&self, put: impl FnOnce(&mut Board)) {
        // The lock is poisoned only by a panic of the sampler, which ends the process.
        if let Ok(mut board) = self.board.lock() {
            put(&mut board);
        }
    }
}

fn counts(found: &StatVfs) -> Counts {
    Counts {
        fragment_bytes: found.f_frsize,
        blocks: [found.f_blocks, found.f_bfree, found.f_bavail],
        inodes: [found.f_files, found.f_ffree, found.f_favail],
    }
}

/// The paths that are always watched, each file system once.
#[must_use]
pub fn default_watched() -> Vec<PathBuf> {
    let cwd = std::env::current_dir().ok();
    let paths = [Some("/".into()), cwd, Some("/tmp".into()), Some("/dev/shm".into())];
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

    fn start(watched: Vec<PathBuf>) -> Slow {
        let root = Root::new("/nowhere".into());
        let first = CgroupFiles::open(&root, cgroup_files::Selection::default(), 0);
        let pace = Duration::from_millis(1);
        Slow::start(Work { root, target: Target::Own, watched, pace }, &first).unwrap()
    }

    fn first_disks(slow: &mut Slow) -> Disks {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if let Some(disks) = slow.disks().unwrap() {
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
        assert!(matches!(disks.troubles[..], [Some(Trouble::Absent(_)), None]));
    }

    #[test]
    fn a_call_that_does_not_come_back_is_hung() {
        let mut slow = start(Vec::new());
        first_disks(&mut slow);
        slow.disks = None;
        // Nothing newer can come while the board is held, as by a thread that was stopped in it.
        let board = Arc::clone(&slow.board);
        let _held = board.lock().unwrap();
        let Some(long_ago) = Instant::now().checked_sub(HUNG_AFTER * 2) else { return };
        slow.started = long_ago;
        assert!(matches!(slow.disks(), Err(Trouble::Hung)));
    }
}
