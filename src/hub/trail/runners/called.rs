//! What runners are called, so that no two have one name: logs of Pods lie in folders and are all called the same.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::Path;

use super::super::book::Book;

/// What a runner is called.
#[derive(Debug)]
pub(super) struct Called {
    pub(super) name: String,
    /// So much of the name is what it is called without its source; `None` where that is its name.
    own: Option<usize>,
    /// Where it stands.
    source: u32,
    /// So much of its source's path is in the name.
    depth: usize,
}

impl Called {
    /// After the file that only it stands in.
    pub(super) fn by_file(source: u32, book: &Book) -> Self {
        Self { name: tail(book.source_name(source), 1), own: None, source, depth: 1 }
    }

    /// As it says itself, or a collector says.
    pub(super) fn by_itself(name: String, source: u32) -> Self {
        Self { own: Some(name.len()), name, source, depth: 0 }
    }

    /// With one more folder; `false` where there is none.
    fn deepen(&mut self, book: &Book) -> bool {
        let path = book.source_name(self.source);
        if self.depth >= Path::new(path).components().count() {
            return false;
        }
        self.depth += 1;
        let tail = tail(path, self.depth);
        let own = self.own.and_then(|bytes| self.name.get(..bytes));
        self.name = own.map_or_else(|| tail.clone(), |own| format!("{own} in {tail}"));
        true
    }
}

/// Gives those that are called the same as much of their paths as tells them apart.
pub(super) fn apart(all: &mut [Called], book: &Book) {
    loop {
        let mut count: HashMap<&str, u32> = HashMap::with_capacity(all.len());
        for one in all.iter() {
            *count.entry(&one.name).or_default() += 1;
        }
        if count.len() == all.len() {
            return;
        }
        let is_shared: Vec<bool> = all.iter().map(|one| count.get(one.name.as_str()).is_some_and(|n| *n > 1)).collect();
        let shared = all.iter_mut().zip(is_shared).filter(|(_, is_shared)| *is_shared);
        if !shared.fold(false, |is_changed, (one, _)| one.deepen(book) || is_changed) {
            return;
        }
    }
}

/// What is asked for many runners is no runner's name.
pub(super) fn is_server(source: &str) -> bool {
    source.contains("://")
}

/// The last so many parts of a path, the file's without its ending.
fn tail(source: &str, depth: usize) -> String {
    if is_server(source) {
        return source.to_owned();
    }
    let path = Path::new(source.strip_suffix(".gz").unwrap_or(source));
    let stem = path.file_stem().and_then(OsStr::to_str).unwrap_or(source);
    let folders: Vec<_> = path.parent().map(|folder| folder.components().collect()).unwrap_or_default();
    let kept = folders.get(folders.len().saturating_sub(depth.saturating_sub(1))..).unwrap_or_default();
    let mut tail = String::new();
    for folder in kept {
        let folder = folder.as_os_str().to_string_lossy();
        tail += &folder;
        if folder != "/" {
            tail.push('/');
        }
    }
    tail + stem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_with_one_name_get_their_folders() {
        let mut book = Book::default();
        let mut named = |given: &[(&str, Option<&str>)]| {
            let called = given.iter().map(|(path, own)| {
                let source = book.source(path);
                own.map_or_else(|| Called::by_file(source, &book), |own| Called::by_itself(own.to_owned(), source))
            });
            let mut called: Vec<Called> = called.collect();
            apart(&mut called, &book);
            called.into_iter().map(|one| one.name).collect::<Vec<_>>()
        };
        for (given, names) in [
            (vec![("a/pod.log", None), ("b/pod.log", None), ("b/other.log", None)], vec!["a/pod", "b/pod", "other"]),
            (vec![("x/a/0.log", None), ("y/a/0.log", None), ("b/0.log", None)], vec!["x/a/0", "y/a/0", "b/0"]),
            (vec![("/a/0.log", None), ("0.log", None)], vec!["a/0", "0"]),
            (vec![("/0.log", None), ("0.log", None)], vec!["/0", "0"]),
            (vec![("b/1.log.gz", None)], vec!["1"]),
            // The same file twice, and what runs say themselves.
            (vec![("a/pod.log", None), ("a/pod.log", None)], vec!["a/pod", "a/pod"]),
            (vec![("a.log", Some("r")), ("b/c.log", Some("r")), ("r.log", None)], vec!["r in a", "r in c", "r"]),
            (vec![("http://loki", Some("r")), ("d/r.log", None)], vec!["r in http://loki", "d/r"]),
        ] {
            assert_eq!(named(&given), names);
        }
    }
}
