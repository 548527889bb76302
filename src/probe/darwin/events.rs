//! What comes out of a kqueue(2), and what to do where its timer cannot be had. Pure: the constants are those of
//! `bsd/sys/event.h`, which `queue` holds against the C library's.

use std::time::Duration;

use nix::sys::signal::Signal;

/// `EVFILT_PROC`, `EVFILT_SIGNAL` and `EVFILT_TIMER`.
pub const PROCESS: i16 = -5;
/// See [`PROCESS`].
pub const SIGNAL: i16 = -6;
/// See [`PROCESS`].
pub const TIMER: i16 = -7;

/// `EVFILT_MEMORYSTATUS`, which `bsd/sys/event_private.h` has.
pub const MEMORY_STATUS: i16 = -14;

/// `EV_ERROR`: it is no event, but a change that could not be made.
pub const ERROR: u16 = 0x4000;

/// How long to wait where the kernel will not.
const WITHOUT_QUEUE: Duration = Duration::from_millis(50);

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Of a signal its number, of a process its pid.
    pub ident: usize,
    /// What kind of event it is.
    pub filter: i16,
    /// `EV_*`.
    pub flags: u16,
}

/// What has happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// A signal that ends the probe.
    pub signal: Option<Signal>,
    /// The watched process has ended.
    pub process_ended: bool,
    /// The level of memory pressure may be another.
    pub pressure: bool,
}

/// What ends a wait in which nothing happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// A timer that is not put off together with others' to save power.
    Timer,
    /// The call's own time-out.
    TimeOut,
}

/// What these events say; `None` when the timer could not be set: then nobody has waited for anything.
#[must_use]
pub fn ready(events: impl Iterator<Item = Event>) -> Option<Ready> {
    let mut ready = Ready::default();
    for Event { ident, filter, flags } in events {
        match filter {
            TIMER if flags & ERROR != 0 => return None,
            _ if flags & ERROR != 0 => {}
            SIGNAL => ready.signal = signal(ident).or(ready.signal),
            PROCESS => ready.process_ended = true,
            MEMORY_STATUS => ready.pressure = true,
            _ => {}
        }
    }
    Some(ready)
}

/// Asks by the timer, where that cannot be had by the time-out, and where the kernel does not wait at all sleeps a little:
/// whatever is refused, this thread does not run in circles.
pub fn wait(ask: impl Fn(By) -> Option<Ready>, at_most: Duration, sleep: impl FnOnce(Duration)) -> Ready {
    ask(By::Timer).or_else(|| ask(By::TimeOut)).unwrap_or_else(|| {
        sleep(at_most.min(WITHOUT_QUEUE));
        Ready::default()
    })
}

fn signal(number: usize) -> Option<Signal> {
    Signal::try_from(i32::try_from(number).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    const fn event(ident: usize, filter: i16) -> Event {
        Event { ident, filter, flags: 0 }
    }

    #[test]
    fn events_are_told_apart() {
        let all = [event(1, TIMER), event(15, SIGNAL), event(99, PROCESS), event(0, MEMORY_STATUS)];
        let expected = Ready { signal: Some(Signal::SIGTERM), process_ended: true, pressure: true };
        assert_eq!(ready(all.into_iter()), Some(expected));
        assert_eq!(ready([event(1, TIMER)].into_iter()), Some(Ready::default()));
        assert_eq!(ready([event(usize::MAX, SIGNAL), event(0, 5)].into_iter()), Some(Ready::default()));
    }

    #[test]
    fn an_error_is_no_event() {
        let refused = |filter| Event { flags: ERROR, ..event(1, filter) };
        assert_eq!(ready([refused(TIMER)].into_iter()), None);
        assert_eq!(ready([refused(PROCESS), refused(SIGNAL)].into_iter()), Some(Ready::default()));
    }

    #[test]
    fn without_a_timer_it_waits_all_the_same() {
        let ended = Ready { process_ended: true, ..Ready::default() };
        let second = Duration::from_secs(1);
        for (of_timer, of_timeout, expected) in [
            (Some(ended), None, (vec![By::Timer], None, ended)),
            (None, Some(ended), (vec![By::Timer, By::TimeOut], None, ended)),
            (None, None, (vec![By::Timer, By::TimeOut], Some(WITHOUT_QUEUE), Ready::default())),
        ] {
            let (asked, slept) = (RefCell::new(Vec::new()), RefCell::new(None));
            let ask = |by| {
                asked.borrow_mut().push(by);
                if by == By::Timer { of_timer } else { of_timeout }
            };
            let ready = wait(ask, second, |time| *slept.borrow_mut() = Some(time));
            assert_eq!((asked.into_inner(), slept.into_inner(), ready), expected);
        }
    }
}
