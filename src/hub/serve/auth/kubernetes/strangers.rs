//! Tokens that nobody has vouched for yet: whoever makes them up is not to keep the API busy, nor those waiting whose
//! tokens were good lately, nor, from one address, those who are new from another. From several he can do that: nobody
//! knows a new runner's token from one that is made up before the API has said.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::{Semaphore, SemaphorePermit};

mod addresses;

use super::told::Told;
use super::{AT_ONCE, OF_AN_ADDRESS, STRANGERS};
use crate::hub::serve::auth::{Refusal, age};
use crate::hub::serve::pace::Bucket;

use addresses::Addresses;

/// So many of them are asked about at once: the other half of the room is for tokens that were good.
const STRANGERS_AT_ONCE: usize = AT_ONCE / 2;

/// How many of them may still be asked about.
#[derive(Debug)]
pub(super) struct Strangers {
    /// Made with the first question.
    known: Mutex<Option<Known>>,
    room: Semaphore,
    told: Told,
}

#[derive(Debug)]
struct Known {
    /// Of all of them.
    bucket: Bucket,
    addresses: Addresses,
    time: Forward,
}

/// How much time has gone by: a clock that is put back takes nothing of it, and whoever was overtaken gives nothing to it.
#[derive(Debug)]
struct Forward {
    latest: SystemTime,
    gone: Duration,
}

impl Strangers {
    pub(super) fn new() -> Self {
        Self { known: Mutex::default(), room: Semaphore::new(STRANGERS_AT_ONCE), told: Told::default() }
    }

    /// Held while one of them is asked about.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] when too many have come: it is not known whether this one is good.
    pub(super) async fn place(&self, from: IpAddr, now: SystemTime) -> Result<SemaphorePermit<'_>, Refusal> {
        if !self.takes_one(from, now) {
            if self.told.is_due(now) {
                tracing::warn!(%from, "more tokens that were never good than the API is asked about");
            }
            return Err(Refusal::Unavailable("too_many_unknown"));
        }
        self.room.acquire().await.map_err(|_| Refusal::Unavailable("closed"))
    }

    fn takes_one(&self, from: IpAddr, now: SystemTime) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { bucket, addresses, time } = known.get_or_insert_with(|| Known {
            bucket: Bucket::full(STRANGERS, Duration::ZERO),
            addresses: Addresses::default(),
            time: Forward { latest: now, gone: Duration::ZERO },
        });
        let now = time.at(now);
        // Its own first: what it has no right to, it does not take from the others.
        addresses.take_one(from, now) && bucket.take(1, STRANGERS, now).is_ok()
    }
}

impl Forward {
    fn at(&mut self, now: SystemTime) -> Duration {
        match age(self.latest, now) {
            // It was put back.
            Duration::MAX => self.latest = now,
            passed => {
                self.gone = self.gone.saturating_add(passed);
                self.latest = self.latest.max(now);
            }
        }
        self.gone
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

    /// Somebody else each time.
    fn from(i: u32) -> IpAddr {
        IpAddr::from((0x0a01_0000 + i).to_be_bytes())
    }

    fn at(milliseconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_780_574_400) + Duration::from_millis(milliseconds)
    }

    #[tokio::test]
    async fn they_leave_half_of_the_room() {
        let strangers = Strangers::new();
        let mut held = Vec::new();
        for _ in 0..AT_ONCE / 2 {
            held.push(strangers.place(HERE, at(0)).await.unwrap());
        }
        let soon = Duration::from_millis(50);
        assert!(tokio::time::timeout(soon, strangers.place(HERE, at(0))).await.is_err(), "the next one has no place");
        held.pop();
        assert!(strangers.place(HERE, at(0)).await.is_ok());
    }

    #[tokio::test]
    async fn there_is_a_burst_of_them_and_then_so_many_a_second() {
        let strangers = Strangers::new();
        let refused = Refusal::Unavailable("too_many_unknown");
        for i in 0..STRANGERS.burst {
            drop(strangers.place(from(i), at(0)).await.unwrap());
        }
        assert_eq!(strangers.place(HERE, at(0)).await.unwrap_err(), refused);
        for i in 0..STRANGERS.a_second {
            drop(strangers.place(from(i), at(1000)).await.unwrap());
        }
        assert_eq!(strangers.place(HERE, at(1000)).await.unwrap_err(), refused);
        // A clock that is put back gives nothing, and takes nothing for good.
        assert_eq!(strangers.place(HERE, SystemTime::UNIX_EPOCH).await.unwrap_err(), refused);
        assert!(strangers.place(HERE, SystemTime::UNIX_EPOCH + Duration::from_secs(1)).await.is_ok());
    }

    #[tokio::test]
    async fn who_was_overtaken_brings_no_more_in() {
        let strangers = Strangers::new();
        for i in 0..STRANGERS.burst {
            drop(strangers.place(from(i), at(0)).await.unwrap());
        }
        let mut taken = 0;
        for i in 0..4 * STRANGERS.burst {
            let now = if i % 2 == 0 { at(1000) } else { at(0) };
            taken += u32::from(strangers.place(from(i), now).await.is_ok());
        }
        assert_eq!(taken, STRANGERS.a_second);
    }
    #[tokio::test]
    async fn one_address_leaves_half_to_the_others() {
        let strangers = Strangers::new();
        let mut taken = 0;
        for _ in 0..2 * STRANGERS.burst {
            taken += u32::from(strangers.place(HERE, at(0)).await.is_ok());
        }
        assert_eq!(taken, STRANGERS.burst / 2);
        for i in 0..STRANGERS.burst / 2 {
            drop(strangers.place(from(i), at(0)).await.unwrap());
        }
        assert!(strangers.place(from(0), at(0)).await.is_err());
    }
}
