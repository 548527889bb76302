//! What keeps the probe alive and on time: the `start` line says what it got, and it did get that.

use std::fs;
use std::os::unix::process::CommandExt as _;

use crate::probe::{Probe, command, copy_for_all};
use runner_vitals::line::field;

/// What the kernel says of a running probe.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    locked_kb: u64,
    oom_score_adj: i32,
    /// Each thread's name, policy and nice value.
    threads: Vec<(String, i32, i32)>,
}

impl Seen {
    fn of(probe: &Probe) -> Self {
        let dir = format!("/proc/{}", probe.child.id());
        let text = |path: &str| fs::read_to_string(format!("{dir}/{path}")).unwrap();
        let locked = text("status");
        let locked = locked.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
        let tids = fs::read_dir(format!("{dir}/task")).unwrap().map(|entry| entry.unwrap().file_name());
        let threads = tids.map(|tid| {
            let stat = text(&format!("task/{}/stat", tid.to_str().unwrap()));
            let (name, rest) = stat.rsplit_once(") ").unwrap();
            // proc_pid_stat(5): nice is the 19th field, policy the 41st, the state the third.
            let number = |at: usize| rest.split(' ').nth(at - 3).unwrap().parse().unwrap();
            (name.split_once('(').unwrap().1.to_owned(), number(41), number(19))
        });
        Self {
            locked_kb: locked.trim().trim_end_matches(" kB").parse().unwrap(),
            oom_score_adj: text("oom_score_adj").trim().parse().unwrap(),
            threads: threads.collect(),
        }
    }

    fn of_thread(&self, name: &str) -> (i32, i32) {
        let thread = self.threads.iter().find(|(other, ..)| other == name);
        let (_, policy, nice) = thread.unwrap_or_else(|| panic!("{name}: {self:?}"));
        (*policy, *nice)
    }
}

fn protect_of(probe: &Probe) -> String {
    let start = probe.next();
    let words = start.text_of(field::PROTECT).unwrap();
    probe.next_of(None);
    words
}

/// What the kernel has of it is what the line says, neither more nor less.
#[track_caller]
fn assert_true(words: &str, seen: &Seen, before: &Seen) {
    let words: Vec<&str> = words.split(',').collect();
    let value = |key: &str| words.iter().find_map(|word| word.strip_prefix(key)).map(|value| value.parse().unwrap());
    assert_eq!(seen.locked_kb > 0, words.iter().any(|word| word.starts_with("mlock")), "{words:?} {seen:?}");
    assert_eq!(seen.oom_score_adj, value("oom_score_adj:").unwrap_or(before.oom_score_adj), "{words:?}");
    let (policy, nice) = seen.of_thread("runner-vitals");
    assert_eq!(policy, i32::from(words.contains(&"sched_fifo")), "{words:?}");
    assert_eq!(nice, value("nice:").unwrap_or(before.of_thread("runner-vitals").1), "{words:?}");
    assert_eq!(seen.of_thread("slow"), before.of_thread("slow"), "what may hang stays ordinary");
}

#[test]
fn the_start_line_says_what_was_obtained() {
    let plain = Probe::start(&["--interval", "60", "--no-protect"]);
    assert_eq!(protect_of(&plain), "none");
    let before = Seen::of(&plain);
    assert!(before.locked_kb == 0 && before.of_thread("runner-vitals").0 == 0, "{before:?}");
    let probe = Probe::start(&["--interval", "60"]);
    assert_true(&protect_of(&probe), &Seen::of(&probe), &before);
}

/// Stdout that needs a thread of its own: a line must not wait for that one either.
#[test]
fn a_thread_that_writes_for_the_sampler_is_as_urgent() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let stdout = file.reopen().unwrap();
    let probe = Probe::silent(command(&["--interval", "60"]).stdout(stdout).spawn().unwrap());
    let deadline = std::time::Instant::now() + crate::probe::PATIENCE;
    while fs::read_to_string(file.path()).unwrap().lines().count() < 2 {
        assert!(std::time::Instant::now() < deadline, "no sample came");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let seen = Seen::of(&probe);
    assert_eq!(seen.of_thread("stdout"), seen.of_thread("runner-vitals"));
}

#[test]
fn without_any_privilege_it_takes_what_everybody_may() {
    if !rustix::process::geteuid().is_root() {
        // Then the test above has shown it.
        return;
    }
    let (_dir, copy) = copy_for_all();
    let nobody = |flags: &[&str]| {
        let mut command = std::process::Command::new(&copy);
        command.args(flags).current_dir("/").uid(65534).gid(65534).stdout(std::process::Stdio::piped());
        Probe::spawn(&mut command)
    };
    let plain = nobody(&["--interval", "60", "--no-protect"]);
    protect_of(&plain);
    let before = Seen::of(&plain);
    let probe = nobody(&["--interval", "60"]);
    let words = protect_of(&probe);
    assert_true(&words, &Seen::of(&probe), &before);
    assert!(!words.contains("sched_fifo") && !words.contains("-1000"), "{words}");
}
