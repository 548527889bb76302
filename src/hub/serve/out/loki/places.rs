//! Connections to Loki: so many at once, however many fleets there are.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Places for connections. Whoever has one gives way when somebody waits.
#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    /// How many wait.
    waiting: watch::Sender<usize>,
}

/// Where a connection may be, until it is dropped.
pub(super) type Place = OwnedSemaphorePermit;

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(most)), waiting: watch::Sender::new(0) }
    }

    /// A place, when it is one's turn.
    pub(super) async fn place(&self) -> Option<Place> {
        if let Ok(place) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(place);
        }
        self.waiting.send_modify(|waiting| *waiting += 1);
        // It is never closed.
        let place = Arc::clone(&self.free).acquire_owned().await.ok();
        self.waiting.send_modify(|waiting| *waiting -= 1);
        place
    }

    /// Whether somebody waits.
    pub(super) fn is_wanted(&self) -> bool {
        *self.waiting.borrow() > 0
    }

    /// Until somebody waits.
    pub(super) async fn wanted(&self) {
        // Its sender is here.
        let _ = self.waiting.subscribe().wait_for(|waiting| *waiting > 0).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_is_heard_of_and_has_the_next_place() {
        let places = Arc::new(Places::new(1));
        let first = places.place().await;
        assert!(first.is_some() && !places.is_wanted());
        let second = tokio::spawn({
            let places = Arc::clone(&places);
            async move { places.place().await }
        });
        places.wanted().await;
        assert!(places.is_wanted() && !second.is_finished());
        drop(first);
        assert!(second.await.unwrap().is_some() && !places.is_wanted());
    }
}
