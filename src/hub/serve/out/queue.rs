//! Work for a thread that may block: what comes while it is busy is done next, together.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Stuck;

/// What takes this long hangs.
const HANGS_AFTER: Duration = Duration::from_secs(2);

/// A queue with one worker. Its users bound it: each waits for what it put in.
#[derive(Debug)]
pub(super) struct Queue<J> {
    state: Mutex<State<J>>,
    wake: Condvar,
}

/// What is to be done, and whom to tell.
#[derive(Debug)]
pub(super) struct Job<J> {
    pub(super) work: J,
    pub(super) done: oneshot::Sender<Result<(), Stuck>>,
}

#[derive(Debug)]
struct State<J> {
    jobs: VecDeque<Job<J>>,
    busy_since: Option<Instant>,
    is_closed: bool,
}

/// Closes the queue when its owner goes: its thread ends when all is done.
#[derive(Debug)]
pub(super) struct Closing<J>(pub(super) Arc<Queue<J>>);

impl<J> Drop for Closing<J> {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.wake.notify_all();
    }
}

impl<J> Queue<J> {
    pub(super) fn new() -> Arc<Self> {
        let state = State { jobs: VecDeque::new(), busy_since: None, is_closed: false };
        Arc::new(Self { state: Mutex::new(state), wake: Condvar::new() })
    }

    /// Has something done, and waits for it.
    pub(super) async fn run(&self, work: J) -> Result<(), Stuck> {
        let (done, told) = oneshot::channel();
        self.lock().jobs.push_back(Job { work, done });
        self.wake.notify_one();
        told.await.unwrap_or_else(|_| Err(Stuck("its thread has ended".to_owned())))
    }

    /// For how long the worker has been at what it does now.
    pub(super) fn busy_for(&self) -> Duration {
        self.lock().busy_since.map(|since| since.elapsed()).unwrap_or_default()
    }

    /// Whether the worker hangs: then nothing that is put in will be done soon.
    pub(super) fn hangs(&self) -> bool {
        self.busy_for() >= HANGS_AFTER
    }

    /// The next jobs, none after `patience`: as many as `fits` lets through, at least one. `None` when it is over.
    pub(super) fn take(&self, patience: Duration, mut fits: impl FnMut(&J) -> bool) -> Option<Vec<Job<J>>> {
        let mut state = self.lock();
        state.busy_since = None;
        if state.jobs.is_empty() && !state.is_closed {
            (state, _) = self.wake.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner);
        }
        if state.jobs.is_empty() && state.is_closed {
            return None;
        }
        let mut jobs = Vec::new();
        while let Some(job) = state.jobs.pop_front() {
            if !fits(&job.work) && !jobs.is_empty() {
                state.jobs.push_front(job);
                break;
            }
            jobs.push(job);
        }
        state.busy_since = Some(Instant::now());
        Some(jobs)
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
