//! All ways out at once: a line is acknowledged when it is out by each of them, and goes by each only once.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinSet;

use super::metrics::Metrics;
use super::out::{Out, Placed, Stuck};
use super::runners::Runner;
use super::seen::Key;

/// For how long after a failure a way counts as stuck, where nobody tries it again: requests have to come for that.
const STUCK_FOR: Duration = Duration::from_secs(10);

/// The ways out.
#[derive(Debug)]
pub struct Ways {
    ways: Vec<Arc<Way>>,
    metrics: Arc<Metrics>,
}

/// What became of lines that are all out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BroughtOut {
    /// Lines that went out now, by one way at least.
    pub out: usize,
    /// Lines that were out already.
    pub repeats: usize,
}

/// A line, and its name.
type Line = (Key, Arc<Placed>);

/// What became of lines at one way.
struct Tried {
    at: usize,
    /// Those that went out now.
    told: Result<Vec<Key>, Stuck>,
    /// Until they are remembered.
    _alone: Option<OwnedMutexGuard<()>>,
}

#[derive(Debug)]
struct Way {
    out: Out,
    began: Instant,
    /// Milliseconds since `began` plus 1 of the last failure; 0 when it worked since.
    failed_ms: AtomicU64,
    why: RwLock<String>,
}

impl Ways {
    /// These ways, at most [`super::seen::WAYS`].
    #[must_use]
    pub fn new(outs: Vec<Out>, metrics: Arc<Metrics>) -> Self {
        outs.iter().for_each(|out| metrics.stuck(out.name(), false));
        let way =
            |out| Arc::new(Way { out, began: Instant::now(), failed_ms: AtomicU64::new(0), why: RwLock::default() });
        Self { ways: outs.into_iter().map(way).collect(), metrics }
    }

    /// Whether lines can go out now.
    ///
    /// # Errors
    /// Says which way is stuck, and why.
    pub fn health(&self) -> Result<(), Stuck> {
        self.ways.iter().try_for_each(|way| way.health())
    }

    /// Brings the lines of one runner out by every way that they are not out by yet, and remembers it as of `now`, which is asked
    /// when they are out: that can take its time. A way that hangs is not tried. What it holds of this runner is no reason for
    /// the others to wait.
    ///
    /// # Errors
    /// When one way is stuck; the others have them, and they are remembered there.
    pub async fn bring_out(
        &self,
        runner: &Arc<Runner>,
        lines: &[Line],
        now: impl Fn() -> Duration,
    ) -> Result<BroughtOut, Stuck> {
        let mut once = HashSet::with_capacity(lines.len());
        let fresh: Arc<[Line]> = lines.iter().filter(|(key, _)| once.insert(*key)).cloned().collect();
        let mut tries = JoinSet::new();
        let mut stuck = None;
        for (at, way) in self.ways.iter().enumerate() {
            if missing(runner, at, &fresh).0.is_empty() {
                continue;
            }
            if let Err(why) = way.out.health() {
                way.note(&Err(why.clone()));
                self.tell(at, true);
                stuck = Some(why);
                continue;
            }
            tries.spawn(Arc::clone(way).bring_out(at, Arc::clone(runner), Arc::clone(&fresh)));
        }
        let mut out = HashSet::new();
        while let Some(tried) = tries.join_next().await {
            let Tried { at, told, _alone } = match tried {
                Ok(tried) => tried,
                Err(error) => {
                    stuck = Some(Stuck(error.to_string()));
                    continue;
                }
            };
            self.tell(at, told.is_err());
            match told {
                Ok(keys) => {
                    let mut seen = runner.seen();
                    let forgotten = keys.iter().map(|key| seen.mark(*key, at, now())).sum::<usize>();
                    self.metrics.forgotten.inc_by(u64::try_from(forgotten).unwrap_or(u64::MAX));
                    out.extend(keys);
                }
                Err(why) => stuck = Some(why),
            }
        }
        let out = out.len();
        stuck.map_or(Ok(BroughtOut { out, repeats: lines.len() - out }), Err)
    }

    /// Sets each way's metrics to how it is now.
    pub fn refresh_metrics(&self) {
        for way in &self.ways {
            self.metrics.stuck(way.out.name(), way.health().is_err());
            self.metrics.busy(way.out.name(), way.out.busy_for());
        }
    }

    /// Tells of a way that hangs, also where nobody else tries it: whoever does may be the one that it holds.
    pub fn look(&self) {
        for way in &self.ways {
            if let Err(why) = way.out.health() {
                way.note(&Err(why));
            }
        }
    }

    fn tell(&self, way: usize, failed: bool) {
        let Some(way) = self.ways.get(way) else { return };
        if failed {
            self.metrics.failure(way.out.name());
        }
        self.metrics.stuck(way.out.name(), failed);
    }
}

/// Of these lines, those that are not out by a way.
fn missing(runner: &Runner, way: usize, lines: &[Line]) -> (Vec<Key>, Vec<Arc<Placed>>) {
    let seen = runner.seen();
    lines.iter().filter(|(key, _)| seen.is_missing(*key, way)).cloned().unzip()
}

impl Way {
    /// Brings out what is missing when it is this runner's turn at this way.
    async fn bring_out(self: Arc<Self>, at: usize, runner: Arc<Runner>, lines: Arc<[Line]>) -> Tried {
        let _alone = runner.alone_at(at).await;
        let (keys, placed) = missing(&runner, at, &lines);
        let told = if placed.is_empty() { Ok(()) } else { self.put(&placed).await };
        Tried { at, told: told.map(|()| keys), _alone }
    }

    async fn put(&self, lines: &[Arc<Placed>]) -> Result<(), Stuck> {
        let told = self.out.put(lines).await;
        self.note(&told);
        told
    }

    /// Remembers how it went; tells when that is new.
    fn note(&self, told: &Result<(), Stuck>) {
        let failed_ms = match told {
            Ok(()) => 0,
            Err(Stuck(why)) => {
                why.clone_into(&mut self.why.write().unwrap_or_else(PoisonError::into_inner));
                u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
            }
        };
        let before = self.failed_ms.swap(failed_ms, Ordering::Relaxed);
        match told {
            Err(Stuck(why)) if before == 0 => tracing::error!(out = self.out.name(), %why, "a way out is stuck"),
            Ok(()) if before != 0 => tracing::info!(out = self.out.name(), "a way out works again"),
            _ => {}
        }
    }

    fn health(&self) -> Result<(), Stuck> {
        self.out.health()?;
        let failed_ms = self.failed_ms.load(Ordering::Relaxed);
        let since = self.began.elapsed().saturating_sub(Duration::from_millis(failed_ms));
        if failed_ms == 0 || since >= STUCK_FOR {
            return Ok(());
        }
        Err(Stuck(self.why.read().unwrap_or_else(PoisonError::into_inner).clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::SystemTime;

    use super::super::auth::Sender;
    use super::super::out::dir::{Caps, Dir, DirMetrics};
    use super::super::runners::{Pace, Runners};
    use super::*;
    use crate::line::{RunId, Tag};

    fn line(seq: u64) -> Line {
        let sender = Arc::new(Sender { name: "a".to_owned(), fleet: None });
        let at = SystemTime::UNIX_EPOCH;
        let placed = Placed { sender, received_at: at, at: None, line: format!("T ts= run=k3x9 seq={seq}") };
        (Key { tag: Tag::Vitals, run: RunId::parse("k3x9").unwrap(), seq }, Arc::new(placed))
    }

    #[tokio::test]
    async fn a_retry_goes_only_where_it_is_missing() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let caps = Caps { max_bytes: 1 << 20, max_age: Duration::from_hours(24 * 365 * 200) };
        let out = |dir: &tempfile::TempDir| Out::Dir(Dir::start(dir.path(), caps, DirMetrics::default()).unwrap());
        let ways = Ways::new(dirs.iter().map(out).collect(), Arc::new(Metrics::new()));
        // A file where the day's folder should be.
        let day = dirs[1].path().join("1970-01-01");
        fs::write(&day, "").unwrap();
        let pace = Pace { a_second: 1, burst: 1 };
        let runner = Runners::new(pace).of(&Sender { name: "a".to_owned(), fleet: None }, Duration::ZERO);
        let clock = || Duration::ZERO;
        assert!(ways.bring_out(&runner, &[line(1), line(2), line(1)], clock).await.is_err());
        assert!(ways.health().is_err());
        fs::remove_file(&day).unwrap();
        let told = ways.bring_out(&runner, &[line(1), line(2), line(2), line(3)], clock).await;
        assert_eq!(told, Ok(BroughtOut { out: 3, repeats: 1 }));
        assert_eq!(ways.health(), Ok(()));
        for dir in &dirs {
            let text = fs::read_to_string(dir.path().join("1970-01-01/a.log")).unwrap();
            let seqs: Vec<&str> = text.lines().map(|line| line.split(' ').nth(3).unwrap()).collect();
            assert_eq!(seqs, ["seq=1", "seq=2", "seq=3"]);
        }
        let told = ways.bring_out(&runner, &[line(3)], clock).await;
        assert_eq!(told, Ok(BroughtOut { out: 0, repeats: 1 }));
    }
}
