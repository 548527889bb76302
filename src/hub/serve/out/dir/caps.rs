//! Which files are too old or too many. It looks at files of our own form only, and never at others.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::Caps;

/// A day.
const DAY: Duration = Duration::from_hours(24);

/// A runner's share is the bound divided by this: as much of it is its own to fill.
const SHARES: u64 = 10;

/// A file of lines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kept {
    /// The end of its day.
    pub(super) day_end: SystemTime,
    /// When it was last written.
    pub(super) written_at: SystemTime,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

/// All files of lines below the folder, oldest first.
pub(super) fn list(dir: &Path) -> io::Result<Vec<Kept>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let Some(day_end) = entry.file_name().to_str().and_then(day_end) else { continue };
        if !entry.file_type()?.is_dir() {
            continue;
        }
        for file in fs::read_dir(entry.path())? {
            let path = file?.path();
            let Ok(meta) = fs::symlink_metadata(&path) else { continue };
            if meta.is_file() && path.extension().is_some_and(|extension| extension == "log") {
                let written_at = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                files.push(Kept { day_end, written_at, path, bytes: meta.len() });
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Files that go, and files that stay; each oldest first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parted {
    pub(super) gone: Vec<Kept>,
    pub(super) left: Vec<Kept>,
}

/// Which of the files, oldest first, go: those past their age, and more where `room` and the rest do not fit.
///
/// They are brought to nine tenths of the bound then, so that not every line brings the next file down. First go the oldest
/// files of each runner that has more than its share, as long as it has: one that floods the folder drives out its own.
pub(super) fn parted(files: Vec<Kept>, room: u64, caps: Caps, now: SystemTime) -> Parted {
    let is_old = |file: &Kept| now.duration_since(file.day_end).is_ok_and(|age| age > caps.max_age);
    let (mut gone, mut left): (Vec<Kept>, Vec<Kept>) = files.into_iter().partition(is_old);
    let mut bytes = room.saturating_add(left.iter().map(|file| file.bytes).sum());
    if bytes <= caps.max_bytes {
        return Parted { gone, left };
    }
    let (bound, share) = (caps.max_bytes / 10 * 9, caps.max_bytes / SHARES);
    let mut of_runner: HashMap<OsString, u64> = HashMap::new();
    left.iter().for_each(|file| *of_runner.entry(file.runner()).or_default() += file.bytes);
    for share in [share, 0] {
        let goes = |file: &Kept| {
            let own = of_runner.entry(file.runner()).or_default();
            let goes = bytes > bound && *own > share;
            if goes {
                *own -= file.bytes;
                bytes -= file.bytes;
            }
            goes
        };
        let (more, rest): (Vec<Kept>, Vec<Kept>) = left.into_iter().partition(goes);
        gone.extend(more);
        left = rest;
    }
    Parted { gone, left }
}

impl Kept {
    /// Whose it is, as far as its name says.
    fn runner(&self) -> OsString {
        self.path.file_name().unwrap_or_default().to_owned()
    }
}

/// The end of the day that a folder is named after.
fn day_end(name: &str) -> Option<SystemTime> {
    let start = humantime::parse_rfc3339(&format!("{name}T00:00:00Z")).ok()?;
    (name.len() == "2026-06-04".len()).then_some(start + DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(days: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + DAY * u32::try_from(days).unwrap()
    }

    fn kept(day: u64, runner: &str, bytes: u64) -> Kept {
        let path = PathBuf::from(format!("{day}/{runner}.log"));
        Kept { day_end: at(day + 1), written_at: at(day), path, bytes }
    }

    fn gone(files: &[Kept], room: u64, caps: Caps, now: SystemTime) -> Vec<String> {
        let Parted { gone, left } = parted(files.to_vec(), room, caps, now);
        assert_eq!(gone.len() + left.len(), files.len());
        gone.iter().map(|file| file.path.with_extension("").to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_oldest_go_by_age_and_by_size() {
        let files = [kept(10, "a", 30), kept(11, "b", 30), kept(11, "c", 30), kept(12, "d", 10)];
        let caps = |max_bytes, days| Caps { max_bytes, max_age: DAY * days };
        for (room, caps, now, count) in [
            (0, caps(100, 3), 13, 0),
            (1, caps(101, 3), 13, 0),
            (1, caps(100, 3), 13, 1),
            (0, caps(1000, 1), 13, 1),
            (0, caps(1000, 0), 13, 3),
            (61, caps(100, 3), 13, 3),
            (200, caps(100, 3), 13, 4),
            (0, caps(1000, 0), 5, 0),
        ] {
            let names = ["10/a", "11/b", "11/c", "12/d"];
            assert_eq!(gone(&files, room, caps, at(now)), names[..count], "{room} {caps:?} {now}");
        }
    }

    #[test]
    fn who_floods_the_folder_drives_out_its_own() {
        let caps = Caps { max_bytes: 1000, max_age: DAY * 100 };
        let old = [kept(1, "a", 90), kept(2, "b", 90), kept(3, "c", 90)];
        let flood = [kept(4, "f", 300), kept(5, "f", 300), kept(6, "f", 130)];
        let files = [&old[..], &flood].concat();
        assert_eq!(gone(&files, 0, caps, at(7)), [""; 0], "there is room");
        assert_eq!(gone(&files, 10, caps, at(7)), ["4/f"], "and not a file of another");
        assert_eq!(gone(&files, 300, caps, at(7)), ["4/f", "5/f"]);
        assert_eq!(gone(&files, 600, caps, at(7)), ["4/f", "5/f", "6/f"], "as long as it has more than its share");
        assert_eq!(gone(&files, 700, caps, at(7)), ["4/f", "5/f", "6/f", "1/a"], "then the oldest");
    }

    #[test]
    fn only_files_of_our_form_are_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        for file in
            ["2026-06-04/a.log", "2026-06-03/b.log", "2026-06-04/a.txt", "2026-6-4/a.log", "other/a.log", "a.log"]
        {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("2026-06-04/link.log")).unwrap();
        let files = list(dir.path()).unwrap();
        let names: Vec<&Path> = files.iter().map(|file| file.path.strip_prefix(dir.path()).unwrap()).collect();
        assert_eq!(names, [Path::new("2026-06-03/b.log"), Path::new("2026-06-04/a.log")]);
    }
}
