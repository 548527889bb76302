//! Which files a pattern matches now. Poll it: no file system tells this everywhere.
//!
//! `*` (any bytes), `?` (one byte), `[a-z]`, `[!a-z]` in any component, each within it; a leading dot has to be spelled
//! out, as in a shell. No `**`, no braces, no escapes. What lies behind the first such component is walked descriptor
//! by descriptor and never through a symbolic link: a workload that may write there could otherwise name any file of
//! the guest. What the pattern spells out before may hold links.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

/// How a folder is opened: that it is none, or a device, never makes this wait.
const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// A pattern that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// What is spelled out.
    base: PathBuf,
    /// The components behind that; never none.
    open: Vec<Vec<u8>>,
}

/// What a file is, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id {
    /// Its file system.
    pub dev: u64,
    /// Its inode there.
    pub ino: u64,
}

/// A file that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it is.
    pub path: PathBuf,
    /// How lines name it: the path from the first open component on.
    pub name: OsString,
    /// Which file that is.
    pub id: Id,
    /// Whether it is an ordinary file: nothing else is ever opened.
    pub is_regular: bool,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last written, seconds since 1970.
    pub written_s: i64,
}

/// How much of the file system one look may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Names that are read.
    pub names: usize,
    /// Folders that are opened.
    pub folders: usize,
    /// Files that are kept: of more the newest.
    pub files: usize,
    /// Names, folders and files that were left out, as far as that is known.
    pub left_out: usize,
}

impl Budget {
    /// Of one look at all patterns.
    pub const LOOK: Self = Self { names: 8192, folders: 256, files: 512, left_out: 0 };

    /// What the next of so many patterns may take: names and folders in equal shares, and what those before it have left of
    /// theirs. To be handed back by [`Budget::take_back`].
    #[must_use]
    pub fn share(&mut self, patterns: usize) -> Self {
        let patterns = patterns.max(1);
        let share = Self { names: self.names.div_ceil(patterns), folders: self.folders.div_ceil(patterns), ..*self };
        self.names -= share.names;
        self.folders -= share.folders;
        share
    }

    /// Takes back what is left of a share.
    pub const fn take_back(&mut self, share: Self) {
        self.names += share.names;
        self.folders += share.folders;
        self.left_out = share.left_out;
    }
}

impl Pattern {
    /// Reads a pattern; a relative one starts at the working directory.
    ///
    /// # Errors
    /// When it names no file.
    pub fn parse(given: &Path) -> std::io::Result<Self> {
        let path = std::path::absolute(given)?;
        let mut base = PathBuf::from("/");
        let mut open: Vec<Vec<u8>> = Vec::new();
        for part in path.components().skip(1) {
            let part = part.as_os_str().as_bytes();
            let is_open = part.iter().any(|byte| matches!(byte, b'*' | b'?' | b'['));
            match open.is_empty() && !is_open {
                true => base.push(OsStr::from_bytes(part)),
                false => open.push(part.to_vec()),
            }
        }
        if open.is_empty() {
            let name = base.file_name().map(|name| name.as_bytes().to_vec());
            open.push(name.ok_or(std::io::ErrorKind::InvalidInput)?);
            base.pop();
        }
        Ok(Self { base, open })
    }

    /// The folder that the pattern spells out.
    #[must_use]
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// Adds the files that match now, within the budget; when there are more than that, the newest of all stay.
    ///
    /// # Errors
    /// When the folder that the pattern spells out cannot be read; that it is not there is no error.
    pub fn find(&self, budget: &mut Budget, found: &mut Vec<Found>) -> Result<(), Errno> {
        let folder = match rustix::fs::open(&self.base, FOLDER, Mode::empty()) {
            Ok(folder) => folder,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            Err(errno) => return Err(errno),
        };
        let place = Place { path: self.base.clone(), name: OsString::new() };
        let walked = walk(&folder, &place, &self.open, budget, found);
        keep_newest(budget, found);
        walked
    }

    /// Whether a file at this place would match.
    #[must_use]
    pub fn names(&self, path: &Path) -> bool {
        let Ok(behind) = path.strip_prefix(&self.base) else { return false };
        let mut parts = behind.components();
        let all =
            self.open.iter().all(|open| parts.next().is_some_and(|part| matches(open, part.as_os_str().as_bytes())));
        all && parts.next().is_none()
    }
}

/// Leaves out, and counts, what is over the budget: what is no ordinary file first, then the oldest. Of those written in
/// the same second the last by name stay: names with a time in them sort so.
pub(super) fn keep_newest(budget: &mut Budget, found: &mut Vec<Found>) {
    let over = found.len().saturating_sub(budget.files);
    if over > 0 {
        found.sort_unstable_by(|one, other| rank(other).cmp(&rank(one)));
        found.truncate(budget.files);
        budget.left_out += over;
    }
}

fn rank(found: &Found) -> (bool, i64, &Path) {
    (found.is_regular, found.written_s, &found.path)
}

/// A folder on the way.
struct Place {
    path: PathBuf,
    name: OsString,
}

impl Place {
    fn join(&self, part: &[u8]) -> Self {
        let part = OsStr::from_bytes(part);
        let name = match self.name.is_empty() {
            true => part.to_owned(),
            false => OsString::from_vec([self.name.as_bytes(), b"/", part.as_bytes()].concat()),
        };
        Self { path: self.path.join(part), name }
    }
}

fn walk(
    folder: &OwnedFd,
    place: &Place,
    parts: &[Vec<u8>],
    budget: &mut Budget,
    found: &mut Vec<Found>,
) -> Result<(), Errno> {
    let Some((part, rest)) = parts.split_first() else { return Ok(()) };
    let names = names(folder, part, budget)?;
    for name in names {
        let place = place.join(&name);
        if rest.is_empty() {
            look(folder, &name, place, budget, found);
        } else if budget.folders == 0 {
            budget.left_out += 1;
        } else if let Ok(inner) = rustix::fs::openat(folder, &*name, FOLDER | OFlags::NOFOLLOW, Mode::empty()) {
            budget.folders -= 1;
            // What is denied further down costs itself.
            let _ = walk(&inner, &place, rest, budget, found);
        }
    }
    Ok(())
}

/// The names in a folder that a component matches, in their order.
fn names(folder: &OwnedFd, part: &[u8], budget: &mut Budget) -> Result<Vec<Vec<u8>>, Errno> {
    if !part.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[')) {
        return Ok(vec![part.to_vec()]);
    }
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        if budget.names == 0 {
            budget.left_out += 1;
            break;
        }
        budget.names -= 1;
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches(part, name) {
            names.push(name.to_vec());
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn look(folder: &OwnedFd, name: &[u8], place: Place, budget: &mut Budget, found: &mut Vec<Found>) {
    let Ok(stat) = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) else { return };
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind == FileType::Directory {
        return;
    }
    // Not with each: sorted so seldom, a look at many files takes little longer than their names.
    if found.len() >= budget.files.saturating_mul(2) {
        keep_newest(budget, found);
    }
    found.push(Found {
        path: place.path,
        name: place.name,
        id: id_of(&stat),
        is_regular: kind == FileType::RegularFile,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        written_s: stat.st_mtime,
    });
}

/// Which file a stat is of.
#[must_use]
pub fn id_of(stat: &rustix::fs::Stat) -> Id {
    // A device number is an i32 on macOS.
    let dev = i128::from(stat.st_dev).unsigned_abs();
    Id { dev: u64::try_from(dev).unwrap_or(u64::MAX), ino: stat.st_ino }
}

/// Whether a component of a pattern matches a name. In time of their product at most.
#[must_use]
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    if name == b"." || name == b".." || (name.starts_with(b".") && !pattern.starts_with(b".")) {
        return false;
    }
    let (mut at, mut to) = (0, 0);
    // Behind the last star, and how far the name was taken by it.
    let mut star: Option<(usize, usize)> = None;
    while to < name.len() {
        let step = match pattern.get(at) {
            Some(b'*') => {
                star = Some((at + 1, to));
                at += 1;
                continue;
            }
            Some(b'?') => Some(1),
            Some(b'[') => bracket(pattern.get(at..).unwrap_or_default(), name.get(to).copied()),
            Some(byte) => (Some(byte) == name.get(to)).then_some(1),
            None => None,
        };
        match (step, star) {
            (Some(step), _) => {
                at += step;
                to += 1;
            }
            (None, Some((behind, taken))) => {
                at = behind;
                to = taken + 1;
                star = Some((behind, taken + 1));
            }
            (None, None) => return false,
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

/// How long the set at the start of `pattern` is, when it has this byte. One without an end stands for its bracket.
fn bracket(pattern: &[u8], byte: Option<u8>) -> Option<usize> {
    let byte = byte?;
    let is_negated = matches!(pattern.get(1), Some(b'!' | b'^'));
    let start = if is_negated { 2 } else { 1 };
    // A bracket that comes first is one of the set.
    let len = pattern.iter().skip(start + 1).position(|byte| *byte == b']');
    let Some(end) = len.map(|len| start + 1 + len) else { return (byte == b'[').then_some(1) };
    let set = pattern.get(start..end).unwrap_or_default();
    let mut at = 0;
    let mut is_in = false;
    while let Some(first) = set.get(at) {
        match (set.get(at + 1), set.get(at + 2)) {
            (Some(b'-'), Some(last)) => {
                is_in |= (*first..=*last).contains(&byte);
                at += 3;
            }
            _ => {
                is_in |= *first == byte;
                at += 1;
            }
        }
    }
    (is_in != is_negated).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_match_as_in_a_shell() {
        let cases = [
            ("Worker_*.log", "Worker_20260604.log", true),
            ("Worker_*.log", "Worker_.log", true),
            ("Worker_*.log", "Runner_1.log", false),
            ("Worker_*.log", "Worker_1.log.1", false),
            ("*", "a", true),
            ("*", ".a", false),
            (".*", ".a", true),
            (".*", "..", false),
            ("*", "", true),
            ("**", "abc", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]1", "b1", true),
            ("[a-c]1", "d1", false),
            ("[!a-c]1", "d1", true),
            ("[^a-c]1", "a1", false),
            ("[]]", "]", true),
            ("[a-]", "-", true),
            ("[", "[", true),
            ("[ab", "[ab", true),
            ("[z-a]", "b", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_of_stars_does_not_explode() {
        let pattern = "*a".repeat(100) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(255).as_bytes()));
    }

    fn found(pattern: &Path) -> Vec<String> {
        let mut found = Vec::new();
        Pattern::parse(pattern).unwrap().find(&mut { Budget::LOOK }, &mut found).unwrap();
        found.iter().map(|found| found.name.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn files_are_found_in_any_open_folder_and_never_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for path in ["a/diag/Worker_1.log", "b/diag/Worker_2.log", "b/diag/Runner_1.log", "secret/Worker_3.log"] {
            std::fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            std::fs::write(root.join(path), "x\n").unwrap();
        }
        std::fs::create_dir_all(root.join("c")).unwrap();
        std::os::unix::fs::symlink(root.join("secret"), root.join("c/diag")).unwrap();
        std::os::unix::fs::symlink(root.join("a"), root.join("linked")).unwrap();
        std::fs::create_dir(root.join("a/diag/Worker_9.log")).unwrap();
        assert_eq!(found(&root.join("[abc]/diag/Worker_*.log")), ["a/diag/Worker_1.log", "b/diag/Worker_2.log"]);
        assert_eq!(found(&root.join("a/diag/Worker_1.log")), ["Worker_1.log"]);
        assert_eq!(found(&root.join("linked/diag/*.log")), ["Worker_1.log"], "what is spelled out may be a link");
        assert_eq!(found(&root.join("missing/*.log")), [""; 0]);
    }

    #[test]
    fn a_look_is_bounded_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        (0..20).for_each(|at| std::fs::write(dir.path().join(format!("{at}.log")), "").unwrap());
        let (mut found, mut budget) = (Vec::new(), Budget { files: 5, ..Budget::LOOK });
        Pattern::parse(&dir.path().join("*.log")).unwrap().find(&mut budget, &mut found).unwrap();
        assert_eq!((found.len(), budget.left_out), (5, 15));
        let (mut found, mut budget) = (Vec::new(), Budget { names: 5, ..Budget::LOOK });
        Pattern::parse(&dir.path().join("*.log")).unwrap().find(&mut budget, &mut found).unwrap();
        assert!(found.len() <= 5 && budget.left_out > 0);
    }

    #[test]
    fn a_budget_is_shared_by_patterns_and_never_grows() {
        for (patterns, expected) in [(1, vec![8192]), (2, vec![4096; 2]), (3, vec![2731, 2731, 2730])] {
            let mut budget = Budget::LOOK;
            let shares: Vec<Budget> = (0..patterns).map(|at| budget.share(patterns - at)).collect();
            assert_eq!(shares.iter().map(|share| share.names).collect::<Vec<_>>(), expected);
            assert_eq!(shares.iter().map(|share| share.folders).sum::<usize>(), Budget::LOOK.folders);
            assert_eq!((budget.names, budget.folders), (0, 0));
        }
        let mut budget = Budget::LOOK;
        let first = budget.share(2);
        budget.take_back(Budget { names: first.names - 6, folders: 0, left_out: 7, ..first });
        let second = budget.share(1);
        assert_eq!((second.names, second.folders, second.left_out), (8186, 128, 7), "what the first has left is there");
    }

    #[test]
    fn of_too_many_files_the_newest_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let at = |second| std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(second);
        for number in 0..40_u64 {
            let file = std::fs::File::create(dir.path().join(format!("{number:02}.log"))).unwrap();
            // The last four are of one second; what comes first by its name is the newest of the others.
            file.set_modified(at(if number >= 36 { 900 } else { 500 - number })).unwrap();
        }
        std::os::unix::fs::symlink("nowhere", dir.path().join("zz.log")).unwrap();
        for (files, expected) in
            [(2, &["39.log", "38.log"][..]), (6, &["39.log", "38.log", "37.log", "36.log", "00.log", "01.log"])]
        {
            let (mut found, mut budget) = (Vec::new(), Budget { files, ..Budget::LOOK });
            Pattern::parse(&dir.path().join("*.log")).unwrap().find(&mut budget, &mut found).unwrap();
            let names: Vec<_> = found.iter().map(|found| found.name.to_string_lossy().into_owned()).collect();
            assert_eq!(
                (names.iter().map(String::as_str).collect::<Vec<_>>(), budget.left_out),
                (expected.to_vec(), 41 - files)
            );
        }
    }

    #[test]
    fn a_place_is_named_by_a_pattern_or_not() {
        let cases = [
            ("/a/*.log", "/a/x.log", true),
            ("/a/*.log", "/a/b/x.log", false),
            ("/a/*.log", "/b/x.log", false),
            ("/a/*/x.log", "/a/b/x.log", true),
            ("/a/*/x.log", "/a/b", false),
            ("/a/x.log", "/a/x.log", true),
            ("/a/x.log", "/a/y.log", false),
        ];
        for (pattern, path, expected) in cases {
            assert_eq!(
                Pattern::parse(Path::new(pattern)).unwrap().names(Path::new(path)),
                expected,
                "{pattern} {path}"
            );
        }
    }

    #[test]
    fn a_pattern_without_a_file_is_refused() {
        assert!(Pattern::parse(Path::new("/")).is_err());
        assert!(Pattern::parse(Path::new("")).is_err());
    }
}
