//! The memory that requests may hold together: each byte that came in is taken from one budget until its line is out.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that can be held at once.
#[derive(Clone, Debug)]
pub struct Budget {
    left: Arc<Semaphore>,
    total: u32,
}

/// Bytes of the budget, given back when dropped.
#[derive(Debug)]
pub struct Held {
    left: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

/// The budget has no more now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent;

impl Budget {
    /// A budget of this many bytes.
    #[must_use]
    pub fn new(bytes: u32) -> Self {
        Self { left: Arc::new(Semaphore::new(usize::try_from(bytes).unwrap_or(usize::MAX >> 4))), total: bytes }
    }

    /// Nothing of it yet.
    #[must_use]
    pub fn hold(&self) -> Held {
        Held { left: Arc::clone(&self.left), permit: None }
    }

    /// Bytes that are held now.
    #[must_use]
    pub fn held(&self) -> usize {
        usize::try_from(self.total).unwrap_or(usize::MAX).saturating_sub(self.left.available_permits())
    }

    /// Waits until nothing is held any more.
    pub async fn all_back(&self) {
        // It is never closed.
        let _ = self.left.acquire_many(self.total).await;
    }
}

impl Held {
    /// Takes more.
    ///
    /// # Errors
    /// When there is not as much; what was held stays held.
    pub fn more(&mut self, bytes: usize) -> Result<(), Spent> {
        let bytes = u32::try_from(bytes).map_err(|_| Spent)?;
        let more = Arc::clone(&self.left).try_acquire_many_owned(bytes).map_err(|_| Spent)?;
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            None => self.permit = Some(more),
        }
        Ok(())
    }

    /// Gives back what is beyond so many.
    pub fn keep(&mut self, bytes: usize) {
        let beyond = self.bytes().saturating_sub(bytes);
        drop(self.permit.as_mut().and_then(|permit| permit.split(beyond)));
    }

    /// How many it holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_missing_until_it_is_dropped() {
        let budget = Budget::new(10);
        let (mut one, mut other) = (budget.hold(), budget.hold());
        assert_eq!((one.more(6), other.more(5), one.more(4)), (Ok(()), Err(Spent), Ok(())));
        assert_eq!(budget.held(), 10);
        assert_eq!(other.more(1), Err(Spent));
        assert_eq!(other.more(usize::MAX), Err(Spent));
        one.keep(7);
        assert_eq!((budget.held(), other.more(3)), (7, Ok(())));
        one.keep(100);
        assert_eq!((one.bytes(), other.bytes()), (7, 3));
        drop(one);
        assert_eq!((budget.held(), other.more(7)), (3, Ok(())));
    }
}
