//! Appends to many files with few of them open, and leaves only whole lines behind.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::caps::{Kept, Parted};
use super::{Caps, DirMetrics, caps};
use crate::line::MAX_LINE_BYTES;

/// Files that are open at once.
const OPEN: usize = 64;

/// The bound divided by this is kept free.
const FREE: u64 = 20;

/// The files below one folder.
#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
    caps: Caps,
    metrics: DirMetrics,
    open: HashMap<PathBuf, Open>,
    uses: u64,
    bytes: u64,
    /// Of them, those that came since somebody began to look at files; `None` where what he finds is of no use.
    fresh_bytes: Option<u64>,
}

#[derive(Debug)]
struct Open {
    file: File,
    used: u64,
}

impl Store {
    pub(super) fn new(dir: PathBuf, caps: Caps, metrics: DirMetrics) -> Self {
        Self { dir, caps, metrics, open: HashMap::new(), uses: 0, bytes: 0, fresh_bytes: None }
    }

    /// Appends whole lines to the file at `path` below the folder: all of them, or none.
    pub(super) fn append(&mut self, path: &Path, lines: &[u8], now: SystemTime) -> io::Result<()> {
        let wanted = u64::try_from(lines.len()).unwrap_or(u64::MAX);
        if self.bytes.saturating_add(wanted) > self.caps.max_bytes {
            self.make_room(wanted, now)?;
        }
        let path = self.dir.join(path);
        let with_path = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let mut file = self.file(&path).map_err(with_path)?;
        let whole_bytes = file.metadata().map_err(with_path)?.len();
        if let Err(error) = file.write_all(lines) {
            // What is there of it goes again: the next line begins where the last whole one ended.
            if file.set_len(whole_bytes).is_err() {
                // Not now: then when it is opened again.
                self.open.remove(&path);
            }
            return Err(with_path(error));
        }
        self.fresh_bytes = self.fresh_bytes.map(|fresh| fresh.saturating_add(wanted));
        self.count(self.bytes.saturating_add(wanted));
        Ok(())
    }

    /// Deletes what is past its age or over the bound, and counts anew.
    pub(super) fn tidy(&mut self, now: SystemTime) -> io::Result<()> {
        self.make_room(0, now)
    }

    /// From now on somebody looks at all files, for [`Store::tidy_listed`].
    pub(super) fn count_anew(&mut self) {
        self.fresh_bytes = Some(0);
    }

    /// The same as [`Store::tidy`], of these files. What came while they were looked at may be counted twice, until the next
    /// time, and is never left out.
    ///
    /// A twentieth of the bound is kept free, so that hardly any line has to wait until room is made for it.
    pub(super) fn tidy_listed(&mut self, files: Vec<Kept>, now: SystemTime) {
        let Some(fresh) = self.fresh_bytes.take() else { return };
        let wanted = fresh.saturating_add(self.caps.max_bytes / FREE);
        let bytes = self.delete(caps::parted(files, wanted, self.caps, now));
        self.count(bytes.saturating_add(fresh));
    }

    fn make_room(&mut self, wanted: u64, now: SystemTime) -> io::Result<()> {
        self.fresh_bytes = None;
        let bytes = self.delete(caps::parted(caps::list(&self.dir)?, wanted, self.caps, now));
        self.count(bytes);
        Ok(())
    }

    /// Deletes what is to go, and says how many bytes are left.
    fn delete(&mut self, parted: Parted) -> u64 {
        let Parted { gone, left } = parted;
        let mut bytes: u64 = left.iter().map(|file| file.bytes).sum();
        for file in &gone {
            self.open.remove(&file.path);
            if let Err(error) = fs::remove_file(&file.path) {
                if error.kind() == io::ErrorKind::NotFound {
                    continue;
                }
                bytes += file.bytes;
                tracing::warn!(file = %file.path.display(), %error, "an old file cannot be deleted");
                continue;
            }
            self.metrics.deleted_files.inc();
            self.metrics.deleted_bytes.inc_by(file.bytes);
            tracing::info!(file = %file.path.display(), bytes = file.bytes, "deleted an old file for the caps");
            if let Some(day) = file.path.parent() {
                // The day's last file leaves an empty folder; another leaves one that is not.
                let _ = fs::remove_dir(day);
            }
        }
        bytes
    }

    fn count(&mut self, bytes: u64) {
        self.bytes = bytes;
        self.metrics.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// The file, open, and at the end of its last whole line.
    fn file(&mut self, path: &Path) -> io::Result<&File> {
        self.uses += 1;
        let is_there = |open: &Open| open.file.metadata().is_ok_and(|meta| meta.nlink() > 0);
        // One that somebody deleted would swallow lines.
        if self.open.get(path).is_some_and(|open| !is_there(open)) {
            self.open.remove(path);
        }
        if !self.open.contains_key(path) {
            self.close_one();
            let file = self.opened(path)?;
            self.open.insert(path.to_owned(), Open { file, used: 0 });
        }
        let open = self.open.get_mut(path).ok_or(io::ErrorKind::NotFound)?;
        open.used = self.uses;
        Ok(&open.file)
    }

    /// Closes the one that was not used for longest, where there are too many.
    fn close_one(&mut self) {
        if self.open.len() < OPEN {
            return;
        }
        let oldest = self.open.iter().min_by_key(|(_, open)| open.used).map(|(path, _)| path.clone());
        if let Some(path) = oldest {
            self.open.remove(&path);
        }
    }

    fn opened(&self, path: &Path) -> io::Result<File> {
        if let Some(day) = path.parent() {
            fs::create_dir_all(day)?;
        }
        let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let bytes = file.metadata()?.len();
        let whole = whole_bytes(&file, bytes)?;
        if whole < bytes {
            file.set_len(whole)?;
            self.metrics.repaired.inc();
            tracing::warn!(file = %path.display(), bytes = bytes - whole, "cut off a half line");
        }
        Ok(file)
    }
}

/// Where the last whole line ends.
fn whole_bytes(file: &File, bytes: u64) -> io::Result<u64> {
    let mut end = bytes;
    let mut piece = vec![0; MAX_LINE_BYTES];
    while end > 0 {
        let start = end.saturating_sub(MAX_LINE_BYTES as u64);
        let len = usize::try_from(end - start).unwrap_or(MAX_LINE_BYTES);
        let Some(piece) = piece.get_mut(..len) else { break };
        file.read_exact_at(piece, start)?;
        if let Some(newline) = memchr::memrchr(b'\n', piece) {
            return Ok(start + newline as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn store(dir: &Path, max_bytes: u64) -> Store {
        let caps = Caps { max_bytes, max_age: Duration::from_hours(24) };
        Store::new(dir.to_owned(), caps, DirMetrics::default())
    }

    #[test]
    fn half_lines_are_cut_off_before_the_next() {
        let long = "x".repeat(3 * MAX_LINE_BYTES);
        for (there, left) in
            [("", ""), ("a\nb\n", "a\nb\n"), ("a\nhal", "a\n"), ("half", ""), (&format!("a\n{long}"), "a\n")]
        {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("d")).unwrap();
            let path = dir.path().join("d/a.log");
            fs::write(&path, there).unwrap();
            let mut store = store(dir.path(), 1 << 20);
            store.append(Path::new("d/a.log"), b"new\n", NOW).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{left}new\n"));
            assert_eq!(store.metrics.repaired.get(), u64::from(there != left));
        }
    }

    #[test]
    fn few_files_are_open_and_all_are_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = store(dir.path(), 1 << 20);
        for round in 0..2 {
            for i in 0..3 * OPEN {
                store.append(Path::new(&format!("d/{i}.log")), format!("{round}\n").as_bytes(), NOW).unwrap();
                assert!(store.open.len() <= OPEN);
            }
        }
        for i in 0..3 * OPEN {
            assert_eq!(fs::read_to_string(dir.path().join(format!("d/{i}.log"))).unwrap(), "0\n1\n");
        }
    }

    #[test]
    fn a_file_that_somebody_deleted_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = store(dir.path(), 1 << 20);
        let path = Path::new("d/a.log");
        store.append(path, b"1\n", NOW).unwrap();
        fs::remove_file(dir.path().join(path)).unwrap();
        store.append(path, b"2\n", NOW).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join(path)).unwrap(), "2\n");
    }

    #[test]
    fn one_runner_fills_no_more_than_its_share_of_a_full_folder() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = store(dir.path(), 10_000);
        for runner in 0..8 {
            store.append(Path::new(&format!("1970-01-01/{runner}.log")), &[b'x'; 1000], NOW).unwrap();
        }
        for _ in 0..100 {
            store.append(Path::new("1970-01-02/flood.log"), &[b'x'; 500], NOW).unwrap();
        }
        let left = caps::list(dir.path()).unwrap();
        let others = left.iter().filter(|file| !file.path.ends_with("flood.log")).count();
        assert!(others == 8 && store.bytes <= 10_000, "{left:?}");
    }

    #[test]
    fn what_comes_while_files_are_looked_at_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = store(dir.path(), 1000);
        let append = |store: &mut Store, day: u64, bytes: usize| {
            store.append(Path::new(&format!("1970-01-0{day}/a.log")), &vec![b'x'; bytes], NOW).unwrap();
        };
        append(&mut store, 1, 300);
        store.count_anew();
        let files = caps::list(dir.path()).unwrap();
        append(&mut store, 2, 500);
        store.tidy_listed(files, NOW);
        assert_eq!(store.bytes, 800);

        append(&mut store, 3, 160);
        store.count_anew();
        store.tidy_listed(caps::list(dir.path()).unwrap(), NOW);
        assert_eq!(store.bytes, 660, "with 960 hardly anything would fit");

        store.count_anew();
        let files = caps::list(dir.path()).unwrap();
        append(&mut store, 4, 400);
        assert_eq!(store.bytes, 560, "room was made");
        store.tidy_listed(files, NOW);
        assert_eq!((store.bytes, store.metrics.deleted_files.get()), (560, 2), "what was found before is of no use");
    }

    #[test]
    fn the_oldest_files_make_room() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = store(dir.path(), 100);
        for day in 1..=9 {
            store.append(Path::new(&format!("1970-01-0{day}/a.log")), &[b'x'; 30], NOW).unwrap();
            assert!(store.bytes <= 100);
        }
        let left: u64 = caps::list(dir.path()).unwrap().iter().map(|file| file.bytes).sum();
        assert_eq!((left, store.bytes), (90, 90));
        assert_eq!((store.metrics.deleted_files.get(), store.metrics.deleted_bytes.get()), (6, 180));
        assert!(!dir.path().join("1970-01-01").exists() && dir.path().join("1970-01-09").exists());
    }
}
