//! The table of tasks that the OOM killer writes to `/dev/kmsg` before it kills (`mm/oom_kill.c`, `dump_tasks`).
//!
//! Its columns differ by kernel: `nr_ptes`, `nr_pmds` and `nr_puds` became `pgtables_bytes` in 4.15, and 6.8 writes
//! `rss_anon`, `rss_file` and `rss_shmem` behind `rss`. They are found by the words of the header. Every text here is
//! one record's, of the kernel's own and its escapes undone ([`super::kmsg`]).

use super::text::{number, signed};
use crate::probe::fixed::Fixed;
use crate::probe::kernel::page_kb;
use crate::probe::largest::{Largest, Task};

/// The header: in which column stands what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// How many numbers stand between the brackets and the name.
    numbers: usize,
    tgid: usize,
    rss: usize,
    adj: usize,
}

/// One task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// `tgid`: its process id in the initial namespace. The `pid` before may be that of another of its threads.
    pub pid: u64,
    /// `rss` in KiB.
    pub rss_kb: u64,
    /// `oom_score_adj`.
    pub adj: i64,
    /// `name`.
    pub comm: &'a [u8],
}

impl Header {
    /// Reads `[  pid  ]   uid  tgid total_vm      rss … oom_score_adj name`; `None` when a text is no such header.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (pid, rest) = bracketed(text)?;
        if pid != b"pid" {
            return None;
        }
        let mut header = Self { numbers: 0, tgid: usize::MAX, rss: usize::MAX, adj: usize::MAX };
        let mut words = std::iter::successors(word(rest), |(_, rest)| word(rest)).map(|(word, _)| word);
        let at_name = words.position(|word| {
            let at = header.numbers;
            match word {
                b"tgid" => header.tgid = at,
                b"rss" => header.rss = at,
                b"oom_score_adj" => header.adj = at,
                _ => {}
            }
            header.numbers += 1;
            word == b"name"
        });
        header.numbers = at_name?;
        let is_whole = [header.tgid, header.rss, header.adj].iter().all(|at| *at < header.numbers);
        (is_whole && words.next().is_none()).then_some(header)
    }

    /// Reads a row below the header, with so many KiB a page; `None` when a text is something else, as what another
    /// CPU writes in between.
    ///
    /// A name can hold anything: it is what stands behind the last number and one space.
    #[must_use]
    pub fn row<'a>(&self, text: &'a [u8], page_kb: u64) -> Option<Row<'a>> {
        let (pid, mut rest) = bracketed(text)?;
        number(pid)?;
        let (mut tgid, mut rss, mut adj) = (None, None, None);
        for at in 0..self.numbers {
            let (word, behind) = word(rest)?;
            // The uid is printed with a sign, and any column could be.
            number(word.strip_prefix(b"-").unwrap_or(word))?;
            if at == self.tgid {
                tgid = number(word);
            }
            if at == self.rss {
                rss = number(word);
            }
            if at == self.adj {
                adj = signed(word);
            }
            rest = behind;
        }
        let comm = rest.strip_prefix(b" ").unwrap_or(rest);
        Some(Row { pid: tgid?, rss_kb: rss?.checked_mul(page_kb)?, adj: adj?, comm })
    }
}

impl From<Row<'_>> for Task {
    fn from(row: Row<'_>) -> Self {
        Self { pid: row.pid, rss_kb: row.rss_kb, adj: Some(row.adj), comm: Fixed::of(row.comm) }
    }
}

/// The table as it comes, record by record; of its tasks the largest are kept. Allocates nothing.
#[derive(Clone, Copy, Debug)]
pub struct TaskTable {
    page_kb: u64,
    header: Option<Header>,
    largest: Largest,
}

impl TaskTable {
    /// A table of this machine's kernel, of which nothing has come.
    #[must_use]
    pub fn new() -> Self {
        Self { page_kb: page_kb(), header: None, largest: Largest::default() }
    }

    /// Takes a record's text; whether it is of a table.
    pub fn feed(&mut self, text: &[u8]) -> bool {
        if let Some(header) = Header::parse(text) {
            (self.header, self.largest) = (Some(header), Largest::default());
            return true;
        }
        let row = self.header.and_then(|header| header.row(text, self.page_kb));
        row.map(|row| self.largest.take(row.into())).is_some()
    }

    /// The largest of the table that has come, once.
    pub fn take(&mut self) -> Option<Largest> {
        self.header.take()?;
        Some(std::mem::take(&mut self.largest)).filter(|largest| !largest.is_empty())
    }
}

/// What stands in the brackets at the beginning, without its spaces, and what stands behind them.
fn bracketed(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.strip_prefix(b"[")?;
    let (inside, rest) = text.split_at_checked(memchr::memchr(b']', text)?)?;
    Some((inside.trim_ascii(), rest.strip_prefix(b"]")?))
}

/// The next word, and what stands behind it with its space.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.trim_ascii_start();
    let end = memchr::memchr(b' ', text).unwrap_or(text.len());
    text.split_at_checked(end).filter(|(word, _)| !word.is_empty())
}

impl Default for TaskTable {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_kept_until_it_is_told() {
        let mut table = TaskTable { page_kb: 4, ..TaskTable::new() };
        let row = |pid: u64, rss: u64| {
            format!("[   {pid}]     0  {pid}     3236     {rss}    28672        0             7 node")
        };
        assert!(!table.feed(row(1, 10).as_bytes()) && table.take().is_none(), "no header");
        assert!(table.feed(OF_4_19.as_bytes()) && table.take().is_none(), "no row");
        let pids =
            |table: &mut TaskTable| table.take().map(|largest| largest.iter().map(|task| task.pid).collect::<Vec<_>>());
        assert!(table.feed(OF_4_19.as_bytes()) && table.feed(row(1, 10).as_bytes()));
        assert!(table.feed(row(2, 20).as_bytes()) && !table.feed(b"oom-kill:constraint=CONSTRAINT_NONE"));
        assert_eq!((pids(&mut table), pids(&mut table)), (Some(vec![2, 1]), None));
        assert!(table.feed(OF_4_19.as_bytes()) && table.feed(row(1, 10).as_bytes()) && table.feed(OF_4_19.as_bytes()));
        assert!(table.feed(row(3, 1).as_bytes()));
        assert_eq!(pids(&mut table), Some(vec![3]), "a new table is another");
    }

    const OF_4_19: &str = "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name";

    #[test]
    fn each_kernels_columns_are_found() {
        let cases = [
            (
                "[ pid ]   uid  tgid total_vm      rss cpu oom_adj oom_score_adj name",
                "[ 1905]     0  1905     3236     1714   1       0             7 node",
            ),
            (
                "[ pid ]   uid  tgid total_vm      rss nr_ptes nr_pmds swapents oom_score_adj name",
                "[ 1905]     0  1905     3236     1714      10       4        0             7 node",
            ),
            (OF_4_19, "[   1905]     0  1905     3236     1714    28672        0             7 node"),
            (
                "[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name",
                "[   1905]     0  1905     3236     1714     1566      148         0   143360        0             7 node",
            ),
        ];
        for (header, row) in cases {
            let header = Header::parse(header.as_bytes()).unwrap();
            let expected = Row { pid: 1905, rss_kb: 6856, adj: 7, comm: b"node" };
            assert_eq!(header.row(row.as_bytes(), 4), Some(expected), "{row}");
        }
    }

    #[test]
    fn a_row_is_read_however_wide_and_whatever_its_name() {
        let header = Header::parse(OF_4_19.as_bytes()).unwrap();
        for (row, pid, rss_kb, adj, comm) in [
            (
                "[3963629]    -2 3963629 5541272   431979  7561216        0         -1000 a",
                3_963_629,
                6_911_664,
                -1000,
                "a",
            ),
            // The thread that still had the memory was not the first.
            ("[    200]  1000   172        9        1        8        0           500 a", 172, 16, 500, "a"),
            ("[    172]     0   172        9        1        8        0             0 a b", 172, 16, 0, "a b"),
            (
                "[    172]     0   172        9        1        8        0             0  7 ] [ 1] ",
                172,
                16,
                0,
                " 7 ] [ 1] ",
            ),
            ("[    172]     0   172        9        1        8        0             0 \n", 172, 16, 0, "\n"),
            ("[    172]     0   172        9        1        8        0             0 ", 172, 16, 0, ""),
            ("[    172]     0   172        9        1        8        0             0", 172, 16, 0, ""),
        ] {
            let expected = Row { pid, rss_kb, adj, comm: comm.as_bytes() };
            assert_eq!(header.row(row.as_bytes(), 16), Some(expected), "{row}");
        }
    }

    #[test]
    fn what_is_neither_header_nor_row() {
        let header = Header::parse(OF_4_19.as_bytes()).unwrap();
        for text in [
            "",
            "[",
            "[]",
            "[  pid  ]",
            OF_4_19,
            "[    172]     0   172        9        1        8        0",
            "[    172]     0   172        9        x        8        0             0 a",
            "[    172]     0   172        9       -1        8        0             0 a",
            "[    172]     0   172        9 18446744073709551615 8   0             0 a",
            "[    172]     0   172        9        1        8        0             - a",
            "[    x72]     0   172        9        1        8        0             0 a",
            "Tasks state (memory values in pages):",
            "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,task=hog,pid=172,uid=0",
        ] {
            assert_eq!(header.row(text.as_bytes(), 4), None, "{text}");
            assert_eq!(Header::parse(text.as_bytes()).is_some(), text == OF_4_19, "{text}");
        }
        for text in [
            "[  uid  ]   uid  tgid total_vm      rss oom_score_adj name",
            "[  pid  ]   uid  tgid total_vm      oom_score_adj name",
            "[  pid  ]   uid  tgid total_vm      rss oom_score_adj",
            "[  pid  ]   uid  tgid total_vm      rss oom_score_adj name name",
            "[  pid  ]   uid  tgid total_vm      rss name oom_score_adj",
        ] {
            assert_eq!(Header::parse(text.as_bytes()), None, "{text}");
        }
    }
}
