//! The sampler's end of the network: puts lines into the queues, wakes the thread that sends them, and never waits for it.
//!
//! The thread holds a queue only while it copies lines out of it, but it may be starved in just that moment. Then lines wait
//! on the sampler's side and are tried again with the next. The wake-up is a byte through a socket of our own: a lock-free
//! call, where a runtime's own would take a lock that a starved thread can hold.

use std::fmt;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::time::Timespec;

use super::lines::Lines;
use super::mailbox::{self, Class, Mailbox, Shared, Trouble};
use super::queue::{Lane, Queue};
use crate::probe::config::Protocol;
use crate::probe::stderr;

/// What waits on the sampler's side while the thread has a queue: seconds of a burst.
const PENDING_BYTES: usize = 32 * 1024;

/// How often the end tries a queue that the thread has.
const FINISH_STEP: Duration = Duration::from_millis(1);

/// What is to be told of a sink: once when it fails first, and once when it is well again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct News {
    /// As the line names it.
    pub what: &'static str,
    /// `None` when it is well again.
    pub trouble: Option<Trouble>,
    at: usize,
}

impl News {
    /// Nobody reads stdout any more, and lines go to servers only.
    pub const STDOUT_LOST: Self = Self {
        what: "sink.stdout",
        trouble: Some(Trouble { class: Class::Broken, text: "nobody reads it", status: None }),
        at: usize::MAX,
    };
}

/// A sink that has not taken all that it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late {
    /// As lines name it.
    pub what: &'static str,
    /// What is wrong with it, as far as that is known.
    pub trouble: Option<Trouble>,
    /// What is wrong with the token.
    pub token: Option<Trouble>,
}

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |trouble| String::from_utf8_lossy(mailbox::words(Some(trouble)).as_ref()).into_owned();
        let trouble = self.trouble.map_or_else(|| "no answer".to_owned(), words);
        write!(f, "{}: {trouble}", self.what)?;
        self.token.map_or(Ok(()), |token| write!(f, ", token: {}", words(token)))
    }
}

/// Says on stderr that no sink has taken a line, where there are such: nothing else would say it of this run.
pub fn tell_none_taken(sinks: &[Late]) {
    if !sinks.is_empty() {
        let sinks: Vec<String> = sinks.iter().map(Late::to_string).collect();
        stderr::say(&format!("no sink has taken a line: {}", sinks.join("; ")));
    }
}

/// The sampler's end.
#[derive(Debug)]
pub struct Handover {
    shared: Arc<Shared>,
    wake: UnixStream,
    /// Of each mailbox, lines that it could not take yet.
    pending: Vec<Lines>,
    /// Of each mailbox, and at the end of the token, whether its trouble was told.
    told: Vec<bool>,
}

impl Handover {
    /// The sampler's end; `wake` is non-blocking, and its other end the thread's.
    #[must_use]
    pub fn new(shared: Arc<Shared>, wake: UnixStream) -> Self {
        let pending = shared.mailboxes.iter().map(|_| Lines::new(PENDING_BYTES)).collect();
        let told = vec![false; shared.mailboxes.len() + 1];
        Self { shared, wake, pending, told }
    }

    /// Whether there is a sink: not when log files are followed to stdout only.
    #[must_use]
    pub fn has_sinks(&self) -> bool {
        !self.shared.mailboxes.is_empty()
    }

    /// Gives a line that came then, by the clock of [`since_boot`], to every sink. Never waits, and allocates nothing.
    ///
    /// [`since_boot`]: crate::probe::watch::clocks::since_boot
    pub fn send(&mut self, came: Duration, line: &[u8]) {
        for (mailbox, pending) in self.shared.mailboxes.iter().zip(&mut self.pending) {
            if !flush(&mailbox.queue, pending) || mailbox.queue.try_push(Lane::Vitals, came, line).is_err() {
                mailbox.queue.count_dropped(pending.push(came, line.iter().copied(), PENDING_BYTES));
            }
        }
        self.wake();
    }

    /// Log lines that stdout could not take.
    #[must_use]
    pub fn log_dropped(&self) -> u64 {
        self.shared.log_dropped()
    }

    /// Lines that the sinks of a kind could not take.
    #[must_use]
    pub fn dropped(&self, protocol: Protocol) -> u64 {
        let of_kind = self.shared.mailboxes.iter().filter(|mailbox| mailbox.protocol == protocol);
        of_kind.map(|mailbox| mailbox.queue.dropped()).sum()
    }

    /// How far this guest's clock is ahead of the server's, where that is worth a word.
    #[must_use]
    pub fn clock_offset_ms(&self) -> Option<i64> {
        self.shared.clock_offset_ms()
    }

    /// What is to be told next, until [`Handover::was_told`].
    #[must_use]
    pub fn news(&self) -> Option<News> {
        let sinks = self.shared.mailboxes.iter().map(|mailbox| (mailbox.what(), mailbox.try_trouble()));
        let all = sinks.chain([("token", self.shared.try_token_trouble())]).zip(&self.told).enumerate();
        let mut news = all.filter_map(|(at, ((what, trouble), told))| {
            // The thread notes something just now: with the next sample then.
            let trouble = trouble?;
            (trouble.is_some() != *told).then_some(News { what, trouble, at })
        });
        news.next()
    }

    /// These news were told.
    pub fn was_told(&mut self, news: News) {
        if let Some(told) = self.told.get_mut(news.at) {
            *told = news.trouble.is_some();
        }
    }

    /// Tells the thread that nothing more comes, so that what waits goes out.
    pub fn end(&mut self, patience: Duration) {
        let deadline = Instant::now() + patience;
        for (mailbox, pending) in self.shared.mailboxes.iter().zip(&mut self.pending) {
            while !flush(&mailbox.queue, pending) && Instant::now() < deadline {
                std::thread::sleep(FINISH_STEP);
            }
        }
        self.shared.end();
        self.wake();
    }

    /// Waits until then, behind [`Handover::end`], for all of it to be out. Gives the sinks that have not taken each line.
    #[must_use]
    pub fn deliver(self, deadline: Instant) -> Vec<Late> {
        self.wait_until(deadline);
        let sinks = self.shared.mailboxes.iter().zip(&self.pending);
        // In this order: what is no longer busy has been counted where it was lost.
        let late = sinks.filter(|(mailbox, pending)| {
            !pending.is_empty() || mailbox.queue.is_busy(Lane::Vitals) || mailbox.queue.dropped() > 0
        });
        late.map(|(mailbox, _)| self.late(mailbox)).collect()
    }

    /// The sinks, where none of them has ever taken a line; else nothing. Never waits.
    #[must_use]
    pub fn none_taken(&self) -> Vec<Late> {
        let mailboxes = &self.shared.mailboxes;
        let is_any = mailboxes.iter().any(Mailbox::has_taken);
        mailboxes.iter().filter(|_| !is_any).map(|mailbox| self.late(mailbox)).collect()
    }

    /// Waits until the thread has ended, at most until then.
    pub fn wait_until(&self, deadline: Instant) {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(timeout) = Timespec::try_from(left) else { return };
            // Its end is closed when it ends; it never writes.
            let mut fds = [PollFd::from_borrowed_fd(self.wake.as_fd(), PollFlags::IN)];
            match rustix::event::poll(&mut fds, Some(&timeout)) {
                _ if left.is_zero() => return,
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return,
                // The kernel is out of memory, and this thread may be ahead of all others.
                Err(_) => std::thread::sleep(FINISH_STEP),
            }
        }
    }

    fn late(&self, mailbox: &Mailbox) -> Late {
        let token = self.shared.try_token_trouble().flatten();
        Late { what: mailbox.what(), trouble: mailbox.try_trouble().flatten(), token }
    }

    fn wake(&self) {
        // When there is no room, enough bytes wait there to wake it; when it has ended, nobody is to be woken.
        let _ = (&self.wake).write(&[0]);
    }
}

/// Gives the queue what waits for it; whether nothing waits any more.
fn flush(queue: &Queue, pending: &mut Lines) -> bool {
    pending.is_empty() || queue.try_append(Lane::Vitals, pending).is_ok()
}

#[cfg(test)]
mod tests {
    use super::super::lines::Batch;
    use super::super::mailbox::words;
    use super::super::queue::Follows;
    use super::*;

    fn handover() -> (Handover, UnixStream) {
        let shared = Shared::new([Protocol::Http, Protocol::Loki].into_iter(), Follows::Nothing);
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        (Handover::new(Arc::new(shared), ours), theirs)
    }

    fn batch(handover: &Handover, at: usize) -> Batch {
        let mut batch = Batch::default();
        while handover.shared.mailboxes[at].queue.take(Lane::Vitals, &mut batch, usize::MAX) {}
        batch
    }

    fn taken(handover: &Handover, at: usize) -> Vec<String> {
        let text = |line: &[u8]| String::from_utf8(line.to_vec()).unwrap().trim_end().to_owned();
        batch(handover, at).lines().map(|(_, line)| text(line)).collect()
    }

    fn send(handover: &mut Handover, line: &str) {
        handover.send(Duration::ZERO, line.as_bytes());
    }

    #[test]
    fn every_sink_gets_every_line_and_the_thread_is_woken() {
        let (mut handover, mut woken) = handover();
        send(&mut handover, "a\n");
        send(&mut handover, "b\n");
        assert_eq!([taken(&handover, 0), taken(&handover, 1)], [["a", "b"], ["a", "b"]]);
        let mut bytes = [0; 8];
        assert_eq!(std::io::Read::read(&mut woken, &mut bytes).unwrap(), 2);
    }

    #[test]
    fn a_thread_that_never_wakes_up_holds_nothing_up() {
        let (mut handover, _never_read) = handover();
        (0..10_000).for_each(|number| send(&mut handover, &format!("{number:0100}\n")));
        let dropped = handover.dropped(Protocol::Http);
        assert_eq!(dropped + u64::try_from(taken(&handover, 0).len()).unwrap(), 10_000);
        assert_eq!(handover.dropped(Protocol::Loki), dropped);
    }

    /// As when the thread is starved while it copies lines out.
    #[test]
    fn what_a_queue_cannot_take_now_comes_in_order_later() {
        let (mut handover, _woken) = handover();
        let shared = Arc::clone(&handover.shared);
        send(&mut handover, "0\n");
        let held = shared.mailboxes[0].queue.hold();
        (1..=1000).for_each(|number| send(&mut handover, &format!("{number} {}\n", "x".repeat(100))));
        drop(held);
        send(&mut handover, "1001\n");
        let lines = taken(&handover, 0);
        let numbers: Vec<u64> = lines.iter().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
        let dropped = handover.dropped(Protocol::Http);
        assert!(dropped > 0 && numbers.is_sorted() && numbers.ends_with(&[1000, 1001]), "{numbers:?}");
        assert_eq!(dropped + u64::try_from(lines.len()).unwrap(), 1002);
        assert_eq!(taken(&handover, 1).len(), 1002, "the other sink has lost nothing");
    }

    /// It is by that that Loki is told when they were.
    #[test]
    fn a_line_has_come_when_it_came_however_late_the_queue_took_it() {
        let (mut handover, _woken) = handover();
        let shared = Arc::clone(&handover.shared);
        let held = shared.mailboxes[1].queue.hold();
        (1..=3).for_each(|second| handover.send(Duration::from_secs(second), b"a\n"));
        drop(held);
        handover.send(Duration::from_secs(4), b"a\n");
        for at in [0, 1] {
            let came: Vec<u64> = batch(&handover, at).lines().map(|(came, _)| came.as_secs()).collect();
            assert_eq!(came, [1, 2, 3, 4]);
        }
    }

    #[test]
    fn a_trouble_is_told_once_and_its_end_too() {
        let (mut handover, _woken) = handover();
        let shared = Arc::clone(&handover.shared);
        assert_eq!(handover.news(), None);
        let trouble = Some(Trouble { class: Class::Broken, text: "status", status: Some(503) });
        shared.mailboxes[1].set_trouble(trouble);
        let news = handover.news().unwrap();
        assert_eq!((news.what, news.trouble, handover.news()), ("sink.loki", trouble, Some(news)), "not told yet");
        handover.was_told(news);
        shared.mailboxes[1].set_trouble(Some(Trouble { class: Class::Denied, text: "", status: None }));
        assert_eq!(handover.news(), None, "it is not well yet");
        shared.mailboxes[1].set_trouble(None);
        shared.set_token_trouble(trouble);
        let well = handover.news().unwrap();
        handover.was_told(well);
        assert_eq!((well.what, well.trouble), ("sink.loki", None));
        assert_eq!(handover.news().unwrap().what, "token");
        let told = [None, trouble, Some(Trouble { class: Class::Denied, text: "", status: None })].map(words);
        let told = told.each_ref().map(|words| std::str::from_utf8(words.as_ref()).unwrap());
        assert_eq!(told, ["ok", "broken: status 503", "denied"]);
    }

    #[test]
    fn only_a_clock_that_is_far_off_is_told() {
        let (handover, _woken) = handover();
        for (ms, told) in [(0, None), (1000, None), (-1000, None), (1001, Some(1001)), (-90_000, Some(-90_000))] {
            handover.shared.set_clock_offset_ms(ms);
            assert_eq!(handover.clock_offset_ms(), told);
        }
    }

    #[test]
    fn the_end_is_waited_for_but_not_for_ever() {
        let (mut handover, theirs) = handover();
        handover.end(Duration::from_secs(1));
        let began = Instant::now();
        let shared = Arc::clone(&handover.shared);
        handover.wait_until(began + Duration::from_millis(50));
        assert!(shared.is_ending() && began.elapsed() >= Duration::from_millis(50));
        drop(theirs);
        let (handover, theirs) = self::handover();
        drop(theirs);
        handover.wait_until(began + Duration::from_secs(60));
        assert!(began.elapsed() < Duration::from_secs(30));
    }
}
