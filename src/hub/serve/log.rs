//! The hub's own words, on stderr: written by a thread of their own, for whoever reads stderr may not. Nothing waits for
//! that thread. What does not fit is dropped, and how much it was is told as soon as something fits again.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// The most that waits to be written.
const MOST_BYTES: usize = 256 * 1024;

/// No word of what was dropped is longer.
const MOST_TOLD_BYTES: usize = 160;

/// Where lines of the log go. A write is a line or more of them, whole.
#[derive(Clone, Debug)]
pub struct Log(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Lines that did not fit, and are not told yet.
    dropped: u64,
    is_writing: bool,
}

impl Log {
    /// Starts the thread that writes to `out`.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let log = Self(Arc::clone(&shared));
        std::thread::Builder::new().name("log".to_owned()).spawn(move || shared.run(out))?;
        Ok(log)
    }

    /// Has a line written, which ends in a newline. Never waits.
    pub fn say(&self, line: &[u8]) {
        let mut state = self.0.lock();
        // Before it goes what was dropped.
        let told = if state.dropped > 0 { MOST_TOLD_BYTES } else { 0 };
        if state.bytes + told + line.len() > MOST_BYTES {
            state.dropped += 1;
        } else {
            state.tell_dropped();
            state.push(line.to_vec());
        }
        self.0.changed.notify_all();
    }

    /// Waits until all is written, so long at most.
    pub fn finish(&self, within: Duration) {
        let is_busy = |state: &mut State| state.is_writing || !state.lines.is_empty() || state.dropped > 0;
        // In time or not, it is the end.
        drop(self.0.changed.wait_timeout_while(self.0.lock(), within, is_busy));
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.say(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn run(&self, mut out: impl Write) {
        loop {
            let line = self.next();
            // Where else could it be told?
            let _ = out.write_all(&line);
        }
    }

    /// Waits for the next line.
    fn next(&self) -> Vec<u8> {
        let mut state = self.lock();
        state.is_writing = false;
        loop {
            if state.lines.is_empty() {
                state.tell_dropped();
            }
            if let Some(line) = state.lines.pop_front() {
                state.bytes -= line.len();
                state.is_writing = true;
                return line;
            }
            self.changed.notify_all();
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, line: Vec<u8>) {
        self.bytes += line.len();
        self.lines.push_back(line);
    }

    fn tell_dropped(&mut self) {
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            let ts = humantime::format_rfc3339_millis(SystemTime::now());
            let message = "message=\"lines of this log were dropped: nobody read it\"";
            self.push(format!("ts={ts} level=warn {message} dropped={dropped}\n").into_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn what_nobody_reads_holds_up_nobody_and_is_counted() {
        const SAID: u64 = 20_000;
        let (reader, writer) = io::pipe().unwrap();
        let log = Log::start(writer).unwrap();
        for i in 0..SAID {
            log.say(format!("{i} {}\n", "x".repeat(90)).as_bytes());
        }
        log.finish(Duration::from_millis(10));
        assert!(log.0.lock().bytes <= MOST_BYTES);
        let reader = std::thread::spawn(move || {
            BufReader::new(reader).lines().map(Result::unwrap).take_while(|line| line != "end").collect::<Vec<String>>()
        });
        log.finish(LONG);
        log.say(b"end\n");
        let lines = reader.join().unwrap();
        // The pipe takes some at first, at whatever moment: what was left out may be told in two places.
        let (told, kept): (Vec<&String>, Vec<&String>) = lines.iter().partition(|line| line.contains(" dropped="));
        let numbers: Vec<u64> = kept.iter().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "in order");
        let dropped: u64 = told.iter().map(|line| line.rsplit_once('=').unwrap().1.parse::<u64>().unwrap()).sum();
        assert!(dropped > 0 && dropped + kept.len() as u64 == SAID, "{dropped} dropped, {} kept: {told:?}", kept.len());
    }

    #[test]
    fn the_word_of_what_was_dropped_has_to_fit_too() {
        // Nobody writes.
        let log = Log(Arc::default());
        log.say(&[b'x'; MOST_BYTES - 100]);
        log.say(&[b'x'; 101]);
        log.say(b"fits alone\n");
        let state = log.0.lock();
        assert_eq!((state.lines.len(), state.bytes, state.dropped), (1, MOST_BYTES - 100, 2));
    }

    #[test]
    fn what_was_dropped_is_told_where_it_would_have_stood() {
        let mut state = State { dropped: 3, ..State::default() };
        state.tell_dropped();
        state.push(b"next\n".to_vec());
        state.tell_dropped();
        assert_eq!(state.lines.len(), 2);
        assert!(state.lines[0].ends_with(b" dropped=3\n"));
        assert_eq!((state.bytes, state.dropped), (state.lines.iter().map(Vec::len).sum(), 0));
        let mut state = State { dropped: u64::MAX, ..State::default() };
        state.tell_dropped();
        assert!(state.bytes <= MOST_TOLD_BYTES, "{}", state.bytes);
    }

    #[test]
    fn the_end_waits_for_the_last_word() {
        let (reader, writer) = io::pipe().unwrap();
        let mut log = Log::start(writer).unwrap();
        log.write_all(b"last\n").unwrap();
        log.finish(LONG);
        let mut line = String::new();
        BufReader::new(reader).read_line(&mut line).unwrap();
        assert_eq!(line, "last\n");
    }
}
