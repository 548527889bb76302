//! Takes the lines of one lane to Loki, one push after the other.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use super::lane::{Lane, Queued};
use super::places::Place;
use super::push::{Peer, Pushed, Pusher};
use crate::net::backoff::Backoff;

/// Bytes of lines in a push: far below what Loki and what stands before it take at once.
const MOST_PUSHED: usize = 512 * 1024;

/// The bound of a push grows by this part with each that is stored: what was too large once is not for ever.
const GROWTH: usize = 64;

/// No wait between two tries is longer: guests wait longer by themselves.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// A stream that nothing comes for gives up its connection.
const IDLE: Duration = Duration::from_secs(90);

/// Carries the lines of one lane to Loki.
pub(super) struct Carrier {
    pusher: Pusher,
    /// That of its connection.
    place: Option<Place>,
    backoff: Backoff,
    /// Bytes of lines in the next push.
    most_bytes: usize,
    /// More was too large.
    ceiling_bytes: usize,
    shared: Arc<Shared>,
    lane: Arc<Lane>,
}

impl Carrier {
    /// Of this lane, whose stream has these labels.
    pub(super) fn new(shared: Arc<Shared>, lane: Arc<Lane>, labels: Vec<(String, String)>) -> Self {
        let pusher = Pusher::new(&shared.way, labels);
        let (most_bytes, ceiling_bytes) = (MOST_PUSHED, MOST_PUSHED);
        Self { pusher, place: None, backoff: Backoff::default(), most_bytes, ceiling_bytes, shared, lane }
    }

    /// Until nothing has come for a while: the lane is taken out then.
    pub(super) async fn run(mut self, fleet: &Option<String>) {
        let shared = Arc::clone(&self.shared);
        loop {
            if self.place.is_none() && !self.lane.is_empty() {
                self.place = shared.places.place().await;
            }
            let batch = self.lane.take(self.most_bytes);
            if !batch.is_empty() {
                self.carry(batch).await;
                shared.tell_waiting();
                self.give_way_if_wanted();
                continue;
            }
            tokio::select! {
                came = tokio::time::timeout(IDLE, self.lane.came.notified()) => if came.is_err() {
                    let mut lanes = shared.lanes();
                    if self.lane.is_empty() {
                        lanes.remove(fleet);
                        return;
                    }
                },
                () = shared.places.wanted(), if self.place.is_some() => self.give_way(),
            }
        }
    }

    fn give_way_if_wanted(&mut self) {
        if self.shared.places.is_wanted() {
            self.give_way();
        }
    }

    /// Leaves the place of its connection to whoever waits for one.
    fn give_way(&mut self) {
        self.pusher.client.disconnect();
        self.place = None;
    }

    async fn carry(&mut self, batch: Vec<Queued>) {
        match self.pushed(&batch).await {
            Pushed::Stored => {
                self.shared.metrics.stored.inc_by(count(&batch));
                self.settle(&batch);
            }
            Pushed::Refused(why) => {
                self.refuse(&batch, &why);
                self.settle(&batch);
            }
            // Halved at once: that ends at a single line.
            Pushed::TooLarge(why) if batch.len() > 1 => {
                self.halve(batch, why);
                self.ceiling_bytes = self.most_bytes;
            }
            // No line is large: it is what stands there that is wrong, and may be mended before all are refused.
            Pushed::TooLarge(why) => {
                self.refuse(&batch, &why);
                tell_out(&batch);
                self.shared.trouble().why = why;
                self.wait(None).await;
            }
            Pushed::TooMany(why) => {
                self.halve(batch, why);
                self.wait(None).await;
            }
            Pushed::Later { why, retry_after } => self.later(batch, why, retry_after).await,
            Pushed::NoLoki(why) => {
                self.shared.metrics.unrecognized.inc();
                if self.shared.trouble().is_told_now() {
                    tracing::error!(%why, "what listens there has not shown itself to be a Loki: nothing is out");
                }
                self.later(batch, format!("no Loki? {why}"), None).await;
            }
        }
    }

    /// Pushes lines; as long as nobody knows who listens there, asks that first.
    async fn pushed(&mut self, batch: &[Queued]) -> Pushed {
        if self.shared.peer() == Peer::Unknown {
            match self.pusher.ask().await {
                Ok(Peer::Loki) => self.shared.is_loki(),
                // What stands before it may refuse a push of nothing, and let lines through.
                Ok(Peer::Unknown) => {}
                Err(why) => return Pushed::Later { why, retry_after: None },
            }
        }
        let pushed = self.pusher.push(batch, self.shared.peer()).await;
        if pushed == Pushed::Stored {
            self.shared.is_loki();
        }
        pushed
    }

    /// Puts lines back, to be tried again.
    async fn later(&mut self, batch: Vec<Queued>, why: String, retry_after: Option<Duration>) {
        {
            let mut trouble = self.shared.trouble();
            trouble.failures += 1;
            trouble.why = why;
        }
        self.lane.put_back(batch);
        self.wait(retry_after).await;
    }

    /// Puts lines back, to be tried in halves. One line at least is taken, whatever the bound.
    fn halve(&mut self, batch: Vec<Queued>, why: String) {
        self.most_bytes = batch.iter().map(|queued| queued.line.bytes()).sum::<usize>() / 2;
        self.shared.trouble().why = why;
        self.lane.put_back(batch);
    }

    /// Counts lines that Loki will never have, and tells of it.
    fn refuse(&self, batch: &[Queued], why: &str) {
        self.shared.metrics.refused.inc_by(count(batch));
        if self.shared.trouble().is_told_now() {
            tracing::error!(lines = batch.len(), %why, "Loki has refused lines for good");
        }
    }

    /// Tells those who wait; it works.
    fn settle(&mut self, batch: &[Queued]) {
        tell_out(batch);
        self.backoff.reset();
        self.ceiling_bytes = (self.ceiling_bytes + self.ceiling_bytes / GROWTH + 1).min(MOST_PUSHED);
        self.most_bytes = (self.most_bytes * 2).min(self.ceiling_bytes);
        let mut trouble = self.shared.trouble();
        trouble.failures = 0;
        trouble.why.clear();
    }

    async fn wait(&mut self, retry_after: Option<Duration>) {
        self.shared.metrics.failed_pushes.inc();
        self.give_way_if_wanted();
        let wait = self.backoff.next(random(), retry_after);
        tokio::time::sleep(wait.min(LONGEST_WAIT)).await;
    }
}

fn tell_out(batch: &[Queued]) {
    batch.iter().for_each(|queued| queued.ticket.one_is_out());
}

fn count(batch: &[Queued]) -> u64 {
    u64::try_from(batch.len()).unwrap_or(u64::MAX)
}

/// What the standard library keeps its maps from being guessed with.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
