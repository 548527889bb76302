//! Plain files by day and runner: `DIR/2026-06-04/RUNNER.log`, with the lines as stdout has them.
//!
//! The day is that of the hub's clock when the line came in, in UTC. A line is out when the kernel has taken all of it: it
//! survives the death of the hub, not that of the machine. One hub a folder, held by a lock.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use super::queue::{Closing, Queue};
use super::{Placed, Stuck};
use crate::hub::diagnose::inputs::Part;

mod caps;
mod name;
mod store;

use caps::Kept;
use store::Store;

/// How often old files are looked for.
const TIDY_EVERY: Duration = Duration::from_mins(1);

/// How soon what was found is seen where no lines come.
const SEEN_AFTER: Duration = Duration::from_secs(1);

/// The files of a runner, those of the latest days and no more of them than have so many bytes: of one that has more, its end.
///
/// # Errors
/// The folder cannot be read.
pub fn files_of(dir: &Path, runner: &str, most_bytes: u64) -> io::Result<Vec<Part>> {
    let mut days: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            days.push(entry.path());
        }
    }
    days.sort_unstable();
    let (mut files, mut left) = (Vec::new(), most_bytes);
    for path in days.iter().rev().map(|day| day.join(name::file(runner))) {
        // A link is nothing that was written here.
        let Some(found) = fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file) else { continue };
        let bytes = found.len().min(left);
        files.push(Part { path, from_byte: found.len() - bytes, bytes });
        left -= bytes;
        if left == 0 {
            break;
        }
    }
    Ok(files)
}

/// What may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Bytes of all files.
    pub max_bytes: u64,
    /// How long a day's files are kept after its end.
    pub max_age: Duration,
}

/// What is told of the folder; all of it counts since the start but the bytes.
#[derive(Clone, Debug, Default)]
pub struct DirMetrics {
    /// Bytes of all files.
    pub bytes: Gauge,
    /// Files deleted for the caps.
    pub deleted_files: Counter,
    /// Their bytes.
    pub deleted_bytes: Counter,
    /// Half lines that were cut off before the next was written.
    pub repaired: Counter,
}

/// The folder, and the thread that writes to it.
#[derive(Debug)]
pub struct Dir {
    queue: Closing<Vec<Arc<Placed>>>,
    /// Held as long as it lives.
    _lock: File,
}

impl Dir {
    /// Takes the folder, which is made where it is missing, and starts the thread.
    ///
    /// # Errors
    /// With the path: when it cannot be made, read or locked (another hub writes there).
    pub fn start(dir: &Path, caps: Caps, metrics: DirMetrics) -> io::Result<Self> {
        let with_path = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", dir.display()));
        fs::create_dir_all(dir).map_err(with_path)?;
        let lock = File::create(dir.join(".lock")).map_err(with_path)?;
        lock.try_lock().map_err(|error| with_path(io::Error::other(format!("another hub writes there: {error}"))))?;
        let mut store = Store::new(dir.to_owned(), caps, metrics);
        store.tidy(SystemTime::now()).map_err(with_path)?;
        let queue = Queue::new();
        let jobs = Arc::clone(&queue);
        let path = dir.to_owned();
        let mut tidying = Tidying::new(TIDY_EVERY, move || caps::list(&path));
        std::thread::Builder::new().name("dir".to_owned()).spawn(move || run(&mut store, &mut tidying, &jobs))?;
        Ok(Self { queue: Closing(queue), _lock: lock })
    }

    /// Brings lines out; see [`super::Out::put`].
    ///
    /// # Errors
    /// When a file cannot be written: the disk is full, say.
    pub async fn put(&self, lines: &[Arc<Placed>]) -> Result<(), Stuck> {
        self.queue.0.run(lines.to_vec()).await
    }

    /// Whether lines can go out now.
    ///
    /// # Errors
    /// When the thread hangs: the server of a network file system is away, say.
    pub fn health(&self) -> Result<(), Stuck> {
        if self.queue.0.hangs() { Err(Stuck("dir: it hangs".to_owned())) } else { Ok(()) }
    }

    /// For how long it has been at the file that it is at.
    #[must_use]
    pub fn busy_for(&self) -> Duration {
        self.queue.0.busy_for()
    }
}

/// Looks at all files now and then, on a thread of its own: many of them on a slow disk take longer than a guest waits.
struct Tidying<L> {
    every: Duration,
    list: L,
    began: SystemTime,
    looks: Option<JoinHandle<io::Result<Vec<Kept>>>>,
}

impl<L: Fn() -> io::Result<Vec<Kept>> + Clone + Send + 'static> Tidying<L> {
    /// It has just been done.
    fn new(every: Duration, list: L) -> Self {
        Self { every, list, began: SystemTime::now(), looks: None }
    }

    /// Does what is to be done of it now.
    fn go_on(&mut self, store: &mut Store) -> io::Result<()> {
        let now = SystemTime::now();
        match self.looks.take_if(|looks| looks.is_finished()) {
            Some(looks) => {
                let files = looks.join().unwrap_or_else(|_| Err(io::Error::other("it panicked")))?;
                store.tidy_listed(files, now);
            }
            None if self.looks.is_none()
                && now.duration_since(self.began).map_or(true, |since| since >= self.every) =>
            {
                self.began = now;
                store.count_anew();
                self.looks = Some(std::thread::Builder::new().name("tidy".to_owned()).spawn(self.list.clone())?);
            }
            None => {}
        }
        Ok(())
    }

    /// How long it can wait.
    fn patience(&self) -> Duration {
        if self.looks.is_some() { SEEN_AFTER } else { self.every }
    }
}

fn run<L: Fn() -> io::Result<Vec<Kept>> + Clone + Send + 'static>(
    store: &mut Store,
    tidying: &mut Tidying<L>,
    jobs: &Queue<Vec<Arc<Placed>>>,
) {
    // One at a time: that it hangs is told of one.
    while let Some(jobs) = jobs.take(tidying.patience(), |_| false) {
        for job in jobs {
            // Whoever asked may have gone.
            let _ = job.done.send(write(store, &job.work).map_err(|error| Stuck(format!("dir: {error}"))));
        }
        if let Err(error) = tidying.go_on(store) {
            tracing::warn!(%error, "old files cannot be looked for");
        }
    }
}

/// Writes lines, those of one file in one write.
fn write(store: &mut Store, lines: &[Arc<Placed>]) -> io::Result<()> {
    let file_of = |placed: &Placed| name::path(&placed.sender.name, placed.received_at);
    for group in lines.chunk_by(|a, b| (a.received_at, &a.sender.name) == (b.received_at, &b.sender.name)) {
        let Some(first) = group.first() else { continue };
        let mut bytes = Vec::new();
        group.iter().for_each(|placed| placed.write_to(&mut bytes));
        let path: PathBuf = file_of(first);
        store.append(&path, &bytes, first.received_at)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use super::super::super::auth::Sender;
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn no_line_waits_while_files_are_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let old = dir.path().join("1970-01-01/a.log");
        fs::create_dir(dir.path().join("1970-01-01")).unwrap();
        fs::write(&old, "x\n").unwrap();
        let caps = Caps { max_bytes: 1 << 20, max_age: Duration::from_hours(24) };
        let mut store = Store::new(dir.path().to_owned(), caps, DirMetrics::default());
        let (go, waits) = mpsc::channel::<()>();
        let (path, waits) = (dir.path().to_owned(), Arc::new(Mutex::new(waits)));
        let list = move || {
            // Until there is nobody who could say anything.
            let _ = waits.lock().unwrap().recv();
            caps::list(&path)
        };
        let mut tidying = Tidying::new(Duration::from_millis(1), list);
        let queue = Closing(Queue::new());
        let jobs = Arc::clone(&queue.0);
        std::thread::spawn(move || run(&mut store, &mut tidying, &jobs));
        let put = async |seq: u32| {
            let sender = Arc::new(Sender { name: "a".to_owned(), fleet: None });
            let line = format!("T ts= run=k3x9 seq={seq}");
            let placed = Placed { sender, received_at: SystemTime::now(), at: None, line };
            tokio::time::timeout(LONG, queue.0.run(vec![Arc::new(placed)])).await.expect("in time").unwrap();
        };
        for seq in 1..=20 {
            put(seq).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(old.exists());
        drop(go);
        while old.exists() {
            put(21).await;
        }
    }

    #[test]
    fn of_the_files_of_a_runner_the_end_is_read() {
        let dir = tempfile::tempdir().unwrap();
        for (day, text) in [("2026-06-03", "0123456789"), ("2026-06-04", "0123"), ("2026-06-05", "012345")] {
            fs::create_dir(dir.path().join(day)).unwrap();
            fs::write(dir.path().join(day).join("a.log"), text).unwrap();
        }
        let parts = |most| {
            let parts = files_of(dir.path(), "a", most).unwrap().into_iter();
            parts.map(|part| (part.from_byte, part.bytes)).collect::<Vec<_>>()
        };
        assert_eq!(parts(100), [(0, 6), (0, 4), (0, 10)]);
        assert_eq!(parts(13), [(0, 6), (0, 4), (7, 3)]);
        assert_eq!(parts(6), [(0, 6)]);
        assert_eq!(parts(2), [(4, 2)], "the latest day has a bound too");
    }

    #[tokio::test]
    async fn lines_stand_by_day_and_runner() {
        let dir = tempfile::tempdir().unwrap();
        let caps = Caps { max_bytes: 1 << 20, max_age: Duration::from_hours(24 * 365 * 100) };
        let out = Dir::start(dir.path(), caps, DirMetrics::default()).unwrap();
        let placed = |name: &str, seq: u32, day: u64| {
            let received_at = SystemTime::UNIX_EPOCH + Duration::from_hours(24 * day);
            let sender = Arc::new(Sender { name: name.to_owned(), fleet: None });
            Arc::new(Placed { sender, received_at, at: None, line: format!("T ts= run=k3x9 seq={seq}") })
        };
        out.put(&[placed("a", 1, 20_000), placed("a", 2, 20_000), placed("a", 3, 20_001)]).await.unwrap();
        out.put(&[placed("../a", 1, 20_000)]).await.unwrap();
        let read = |file: &str| fs::read_to_string(dir.path().join(file)).unwrap();
        assert_eq!(
            read("2024-10-04/a.log"),
            "T ts= run=k3x9 seq=1 recv=2024-10-04T00:00:00.000Z\nT ts= run=k3x9 seq=2 recv=2024-10-04T00:00:00.000Z\n"
        );
        assert_eq!(read("2024-10-05/a.log"), "T ts= run=k3x9 seq=3 recv=2024-10-05T00:00:00.000Z\n");
        assert_eq!(fs::read_dir(dir.path().join("2024-10-04")).unwrap().count(), 2);
        assert!(Dir::start(dir.path(), caps, DirMetrics::default()).is_err(), "it is locked");
        drop(out);
    }
}
