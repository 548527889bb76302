//! What waits for one stream: lines, and whoever waits until they are out.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::when::Settled;

/// The lines of one stream.
#[derive(Debug)]
pub(super) struct Lane {
    waiting: Mutex<VecDeque<Queued>>,
    /// Something has come.
    pub(super) came: Notify,
    /// What all lanes hold.
    room: Arc<Room>,
}

/// A line on its way.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) line: Settled,
    pub(super) ticket: Arc<Ticket>,
    /// Given back when it goes, wherever that is.
    _taken: Taken,
}

/// Several lines whose sender waits for all of them.
#[derive(Debug)]
pub(super) struct Ticket {
    left: AtomicUsize,
    is_given_up: AtomicBool,
    all_out: Notify,
}

/// Bytes that lines may hold together.
#[derive(Debug)]
pub(super) struct Room {
    most: usize,
    held: AtomicUsize,
}

#[derive(Debug)]
struct Taken {
    bytes: usize,
    room: Arc<Room>,
}

impl Lane {
    pub(super) fn new(room: Arc<Room>) -> Self {
        Self { waiting: Mutex::default(), came: Notify::new(), room }
    }

    /// Puts lines at the end, all of them or, where there is no room, none.
    pub(super) fn push(&self, lines: Vec<Settled>, ticket: &Arc<Ticket>) -> Result<(), NoRoom> {
        let taken =
            lines.iter().map(|line| Room::take(&self.room, line.bytes())).collect::<Result<Vec<Taken>, NoRoom>>()?;
        let queued = lines.into_iter().zip(taken);
        self.waiting().extend(queued.map(|(line, _taken)| Queued { line, ticket: Arc::clone(ticket), _taken }));
        self.came.notify_one();
        Ok(())
    }

    /// The next lines, so many bytes of them and at least one; those that nobody waits for any more are left out.
    pub(super) fn take(&self, most_bytes: usize) -> Vec<Queued> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let mut waiting = self.waiting();
        while let Some(next) = waiting.pop_front() {
            if next.ticket.is_given_up() {
                continue;
            }
            bytes += next.line.bytes();
            if bytes > most_bytes && !batch.is_empty() {
                waiting.push_front(next);
                break;
            }
            batch.push(next);
        }
        batch
    }

    /// Puts lines that are not out back to where they were.
    pub(super) fn put_back(&self, batch: Vec<Queued>) {
        let mut waiting = self.waiting();
        for queued in batch.into_iter().rev() {
            waiting.push_front(queued);
        }
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting().iter().all(|queued| queued.ticket.is_given_up())
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Queued>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All lanes together hold as much as they may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom;

impl Ticket {
    /// For so many lines.
    pub(super) fn new(lines: usize) -> Arc<Self> {
        let (left, is_given_up) = (AtomicUsize::new(lines), AtomicBool::new(false));
        Arc::new(Self { left, is_given_up, all_out: Notify::new() })
    }

    /// One more of its lines is out.
    pub(super) fn one_is_out(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.all_out.notify_one();
        }
    }

    /// Waits until all of its lines are out.
    pub(super) async fn all_out(&self) {
        while self.left.load(Ordering::Acquire) > 0 {
            self.all_out.notified().await;
        }
    }

    /// Nobody waits for its lines any more: those that still wait are not to go out.
    pub(super) fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::Relaxed)
    }
}

impl Room {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, held: AtomicUsize::new(0) })
    }

    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    fn take(room: &Arc<Self>, bytes: usize) -> Result<Taken, NoRoom> {
        let more = |held: usize| held.checked_add(bytes).filter(|held| *held <= room.most);
        room.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).map_err(|_| NoRoom)?;
        Ok(Taken { bytes, room: Arc::clone(room) })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.room.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::hub::serve::auth::Sender;
    use crate::hub::serve::out::Placed;

    const AT: SystemTime = SystemTime::UNIX_EPOCH;

    fn lines(names: &[&str]) -> Vec<Settled> {
        let settled = |name: &&str| {
            let sender = Arc::new(Sender { name: (*name).to_owned(), fleet: None });
            let placed = Placed { sender, received_at: AT, at: None, line: "x".repeat(840) };
            Settled::new(&Arc::new(placed), AT)
        };
        names.iter().map(settled).collect()
    }

    fn names(batch: &[Queued]) -> String {
        batch.iter().map(|queued| queued.line.placed.sender.name.as_str()).collect()
    }

    #[test]
    fn lines_are_taken_in_order_and_put_back_where_they_were() {
        let lane = Lane::new(Room::new(10_000));
        let ticket = Ticket::new(4);
        lane.push(lines(&["a", "b", "c"]), &ticket).unwrap();
        let batch = lane.take(2000);
        assert_eq!(names(&batch), "ab");
        lane.push(lines(&["d"]), &ticket).unwrap();
        lane.put_back(batch);
        assert_eq!(names(&lane.take(0)), "a", "one at least");
        assert_eq!(names(&lane.take(10_000)), "bcd");
        assert!(lane.is_empty() && lane.take(1).is_empty());
    }

    #[test]
    fn there_is_room_for_all_or_none() {
        let room = Room::new(3000);
        let lanes = [Lane::new(Arc::clone(&room)), Lane::new(Arc::clone(&room))];
        let ticket = Ticket::new(9);
        assert_eq!(lanes[0].push(lines(&["a", "b", "c", "d"]), &ticket), Err(NoRoom));
        assert_eq!(room.held(), 0);
        lanes[0].push(lines(&["a", "b"]), &ticket).unwrap();
        lanes[1].push(lines(&["c"]), &ticket).unwrap();
        assert_eq!(lanes[1].push(lines(&["d"]), &ticket), Err(NoRoom));
        drop(lanes[0].take(usize::MAX));
        assert_eq!(room.held(), 1000);
    }

    #[test]
    fn what_nobody_waits_for_does_not_go_out() {
        let room = Room::new(10_000);
        let lane = Lane::new(Arc::clone(&room));
        let (gone, here) = (Ticket::new(2), Ticket::new(1));
        lane.push(lines(&["a", "b"]), &gone).unwrap();
        gone.give_up();
        assert!(lane.is_empty());
        lane.push(lines(&["c"]), &here).unwrap();
        assert_eq!(names(&lane.take(usize::MAX)), "c");
        assert_eq!(room.held(), 0);
    }

    #[tokio::test]
    async fn a_ticket_is_good_when_all_is_out() {
        let ticket = Ticket::new(2);
        let waits = tokio::spawn({
            let ticket = Arc::clone(&ticket);
            async move { ticket.all_out().await }
        });
        ticket.one_is_out();
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        ticket.one_is_out();
        waits.await.unwrap();
        Ticket::new(0).all_out().await;
    }
}
