//! What the lanes of a sink wait for: lines, each other, and the end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// How a sink learns that there is something to do.
#[derive(Clone, Debug)]
pub(super) struct Bell {
    /// Rings when lines have come.
    pub(super) news: Arc<Notify>,
    /// Rings when a lane has settled what it took; the lanes of a sink share it, and one of them waits for it.
    pub(super) settled: Arc<Notify>,
    /// When all is to be over, once that is known.
    pub(super) end: watch::Receiver<Option<Instant>>,
}

impl Bell {
    pub(super) fn is_ending(&self) -> bool {
        self.end.borrow().is_some()
    }

    /// Waits for lines or the end.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            () = self.news.notified() => {}
            _ = self.end.changed() => {}
        }
    }

    /// Waits so long, or less when the end comes meanwhile; whether it did.
    pub(super) async fn rest(&mut self, wait: Duration) -> bool {
        if self.is_ending() {
            tokio::time::sleep(wait).await;
            return false;
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => false,
            _ = self.end.changed() => true,
        }
    }

    /// Waits for as long as the other lane is busy: it looks when that has settled something, and at no other time.
    pub(super) async fn settled_while(&self, is_busy: impl Fn() -> bool) {
        while is_busy() {
            self.settled.notified().await;
        }
    }

    /// Waits until all is to be over.
    pub(super) async fn over(mut self) {
        let end = self.end.wait_for(Option::is_some).await.ok().and_then(|end| *end);
        // Without an end nobody is there any more.
        if let Some(end) = end {
            tokio::time::sleep_until(end).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn bell() -> (watch::Sender<Option<Instant>>, Bell) {
        let (sender, end) = watch::channel(None);
        (sender, Bell { news: Arc::default(), settled: Arc::default(), end })
    }

    /// A sink can be dead for hours, and a guest that idles is not to be woken for it.
    #[test]
    fn who_gives_way_looks_only_when_something_was_settled() {
        let (_sender, bell) = bell();
        let (is_busy, looks) = (Cell::new(true), Cell::new(0));
        let mut context = Context::from_waker(Waker::noop());
        let mut waits = pin!(bell.settled_while(|| {
            looks.set(looks.get() + 1);
            is_busy.get()
        }));
        // No timer is made: without a runtime that would panic.
        for _ in 0..3 {
            assert_eq!((waits.as_mut().poll(&mut context), looks.get()), (Poll::Pending, 1));
        }
        bell.settled.notify_one();
        assert_eq!((waits.as_mut().poll(&mut context), looks.get()), (Poll::Pending, 2), "there is more");
        is_busy.set(false);
        bell.settled.notify_one();
        assert_eq!((waits.as_mut().poll(&mut context), looks.get()), (Poll::Ready(()), 3));
    }

    #[test]
    fn what_was_settled_before_one_waits_is_not_missed() {
        let (_sender, bell) = bell();
        let is_busy = Cell::new(true);
        bell.settled.notify_one();
        let mut waits = pin!(bell.settled_while(|| is_busy.replace(false)));
        assert_eq!(waits.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(()));
    }
}
