//! Loki: a stream for each fleet, whose lines are pushed together while the push before is on its way.
//!
//! A line is out when Loki has stored it, or has refused it for good, which is counted and told. That it is a Loki which
//! refuses is asked first, by a push of nothing: another server's 400 says nothing of the lines. What is pushed again is the
//! same to the nanosecond (`when`), and Loki stores it once. `recv` is remembered for lines that are not out, so that it
//! too stays the same; after a restart, and through another hub, it is another, and a line that was stored by a push whose
//! answer was lost is there twice, with the same (`runner.name`, tag, `run`, `seq`).
//!
//! Labels are `job`, `fleet` and `env`, and what is set besides. What system a guest has, the hub does not know: where all
//! of them have one, `os` is set like any other. A guest's word for it would be a stream for each thing that it says.

mod carrier;
mod lane;
mod places;
mod push;
mod settings;
mod when;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use super::{Placed, Stuck};
use crate::net::client::Matcher;
use crate::net::tls::Tls;

use carrier::Carrier;
use lane::{Lane, Room, Ticket};
use places::Places;
use push::{Peer, Way};
use when::{Firsts, Memory, Settled};

pub use crate::hub::credentials::Credentials;
pub use settings::{JOB, LokiError, PUSH_PATH, Patience, Settings};

/// Bytes of lines on their way, of all fleets together.
const MOST_WAITING: usize = 16 * 1024 * 1024;

/// Connections to Loki at once, of all fleets together.
pub const CONNECTIONS: usize = 64;

/// After so many failures in a row those who wait are enough to find out when it is over.
const HANGS_AFTER: u32 = 3;

/// What Loki refuses is told so often.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// What is told of pushes; all of it counts since the start but the bytes.
#[derive(Clone, Debug, Default)]
pub struct LokiMetrics {
    /// Lines that are stored.
    pub stored: Counter,
    /// Lines of pushes that Loki has refused for good: those of them that were good are stored.
    pub refused: Counter,
    /// Pushes that are to be tried again.
    pub failed_pushes: Counter,
    /// Those of them that were answered by who has not shown itself to be a Loki.
    pub unrecognized: Counter,
    /// Lines whose retry could be stored twice, because too many are on their way.
    pub unremembered: Counter,
    /// Bytes on their way.
    pub waiting_bytes: Gauge,
}

/// The way to Loki.
#[derive(Debug)]
pub struct Loki {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    way: Way,
    labels: Vec<(String, String)>,
    metrics: LokiMetrics,
    lanes: Mutex<HashMap<Option<String>, Arc<Lane>>>,
    room: Arc<Room>,
    places: Places,
    firsts: Mutex<Firsts>,
    trouble: Mutex<Trouble>,
    /// Whether what listens there has shown since the start that it is one.
    is_loki: AtomicBool,
    patience: Duration,
}

/// What keeps lines from getting out.
#[derive(Debug, Default)]
struct Trouble {
    /// Pushes in a row that got no answer to judge lines by.
    failures: u32,
    /// What the last was told.
    why: String,
    /// When a refusal was last told.
    told: Option<Instant>,
}

impl Loki {
    /// A way to Loki, which is not asked yet.
    ///
    /// # Errors
    /// [`LokiError`] when a setting is wrong.
    pub fn new(settings: Settings, tls: Arc<Tls>, proxies: Matcher, metrics: LokiMetrics) -> Result<Self, LokiError> {
        let Settings { url, env, labels, tenant, credentials, patience } = settings;
        if credentials.is_some() && url.is_exposed() {
            return Err(LokiError::Exposed(url));
        }
        let tenant = tenant.as_deref().map(settings::tenant_header).transpose()?;
        let url = settings::push_url(url);
        let shared = Shared {
            way: Way { url, tls, proxies, tenant, credentials, within: patience.push },
            labels: settings::stream_labels(env, labels)?,
            metrics,
            lanes: Mutex::default(),
            room: Room::new(MOST_WAITING),
            places: Places::new(CONNECTIONS),
            firsts: Mutex::new(Firsts::new()),
            trouble: Mutex::default(),
            is_loki: AtomicBool::new(false),
            patience: patience.put,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Brings lines out, within the patience that is set. To be called within tokio's runtime.
    ///
    /// # Errors
    /// Says why they are not out: some may be nevertheless.
    pub async fn put(&self, lines: &[Arc<Placed>]) -> Result<(), Stuck> {
        let waiter = Waiter(Ticket::new(lines.len()));
        self.shared.queue(lines, &waiter.0)?;
        let all_out = tokio::time::timeout(self.shared.patience, waiter.0.all_out()).await;
        all_out.map_err(|_| self.shared.trouble().stuck("no answer in time"))?;
        let mut firsts = self.shared.firsts();
        lines.iter().for_each(|line| firsts.forget(line));
        Ok(())
    }

    /// Whether it is worth trying now. Those who wait are tried on with meanwhile.
    ///
    /// # Errors
    /// Says what keeps them waiting.
    pub fn health(&self) -> Result<(), Stuck> {
        // One lock at a time.
        let failures = self.shared.trouble().failures;
        let hangs = failures >= HANGS_AFTER && self.shared.lanes().values().any(|lane| !lane.is_empty());
        if hangs { Err(self.shared.trouble().stuck("it does not answer")) } else { Ok(()) }
    }
}

/// Whoever goes away does not wait any more.
struct Waiter(Arc<Ticket>);

impl Drop for Waiter {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

impl Shared {
    fn queue(self: &Arc<Self>, lines: &[Arc<Placed>], ticket: &Arc<Ticket>) -> Result<(), Stuck> {
        for of_fleet in lines.chunk_by(|one, next| one.sender.fleet == next.sender.fleet) {
            let Some(fleet) = of_fleet.first().map(|line| &line.sender.fleet) else { continue };
            let settled = self.settled(of_fleet);
            let pushed = {
                // Held until they are in: a lane ends only while it is empty.
                let mut lanes = self.lanes();
                let lane = match lanes.entry(fleet.clone()) {
                    Entry::Occupied(lane) => lane.into_mut(),
                    Entry::Vacant(place) => place.insert(self.lane(fleet)),
                };
                lane.push(settled, ticket)
            };
            pushed.map_err(|_| self.trouble().stuck("too many lines on their way"))?;
        }
        self.tell_waiting();
        Ok(())
    }

    fn settled(&self, lines: &[Arc<Placed>]) -> Vec<Settled> {
        let mut firsts = self.firsts();
        let settle = |line: &Arc<Placed>| {
            let (first, memory) = firsts.of(line);
            if memory == Memory::Full {
                self.metrics.unremembered.inc();
            }
            Settled::new(line, first)
        };
        lines.iter().map(settle).collect()
    }

    /// A lane with a task of its own.
    fn lane(self: &Arc<Self>, fleet: &Option<String>) -> Arc<Lane> {
        let lane = Arc::new(Lane::new(Arc::clone(&self.room)));
        let mut labels = self.labels.clone();
        labels.extend(fleet.iter().map(|fleet| ("fleet".to_owned(), fleet.clone())));
        let carrier = Carrier::new(Arc::clone(self), Arc::clone(&lane), labels);
        let fleet = fleet.clone();
        tokio::spawn(async move { carrier.run(&fleet).await });
        lane
    }

    fn lanes(&self) -> MutexGuard<'_, HashMap<Option<String>, Arc<Lane>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn firsts(&self) -> MutexGuard<'_, Firsts> {
        self.firsts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn peer(&self) -> Peer {
        if self.is_loki.load(Ordering::Relaxed) { Peer::Loki } else { Peer::Unknown }
    }

    /// It has shown that it is one.
    fn is_loki(&self) {
        if !self.is_loki.swap(true, Ordering::Relaxed) {
            tracing::info!(url = %self.way.url, "Loki takes pushes");
        }
    }

    fn tell_waiting(&self) {
        self.metrics.waiting_bytes.set(i64::try_from(self.room.held()).unwrap_or(i64::MAX));
    }
}

impl Trouble {
    fn stuck(&self, what: &str) -> Stuck {
        let why = if self.why.is_empty() { String::new() } else { format!(" ({})", self.why) };
        Stuck(format!("Loki: {what}{why}"))
    }

    /// Whether it is time to tell what Loki refuses.
    fn is_told_now(&mut self) -> bool {
        let is_due = self.told.is_none_or(|told| told.elapsed() >= TOLD_EVERY);
        if is_due {
            self.told = Some(Instant::now());
        }
        is_due
    }
}
