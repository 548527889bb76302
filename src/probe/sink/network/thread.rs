//! The thread: tokio's current-thread runtime with a task for each sink, woken by the sampler.

use std::hash::{BuildHasher as _, Hasher as _};
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Setup;
use super::bell::Bell;
use super::delivery::{Delivery, Random};
use super::logs::Logs;
use crate::net::client::{Client, Matcher, Names};
use crate::net::tls::Tls;
use crate::probe::sink::handover::Handover;
use crate::probe::sink::mailbox::Shared;
use crate::probe::sink::outlets::NETWORK_LAST_WORDS;
use crate::probe::sink::queue::{Follows, Lane};

/// Several times what a handshake takes; what is not touched is not resident. Where nothing is optimized, each future lies
/// on the stack again with every one that it is part of.
const STACK_BYTES: usize = if cfg!(debug_assertions) { 2 * 1024 * 1024 } else { 256 * 1024 };

/// Starts the thread.
pub(super) fn start(mut setup: Setup) -> io::Result<Handover> {
    let stdout = setup.follow_stdout.take();
    let (ours, theirs) = UnixStream::pair()?;
    // They are ours alone.
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        // Nothing may be given to them: where the system gives no thread, the runtime panics. None is the least it takes.
        .max_blocking_threads(1)
        .build()?;
    let logs = Logs::new(&setup, stdout);
    let (follows, lanes) = match logs {
        Some(_) => (Follows::Logs, &[Lane::Vitals, Lane::Logs][..]),
        None => (Follows::Nothing, &[Lane::Vitals][..]),
    };
    let protocols = setup.sinks.network.iter().map(|target| target.protocol);
    let shared = Arc::new(Shared::new(protocols, follows));
    let sinks = deliveries(&setup, &shared, lanes);
    let of_thread = Arc::clone(&shared);
    let builder = std::thread::Builder::new().name("network".to_owned()).stack_size(STACK_BYTES);
    builder.spawn(move || runtime.block_on(serve(sinks, &of_thread, theirs, logs)))?;
    Ok(Handover::new(shared, ours))
}

/// The lanes of each sink; and the thread that looks up names, where one of them needs it.
fn deliveries(setup: &Setup, shared: &Arc<Shared>, lanes: &[Lane]) -> Vec<Vec<Delivery>> {
    let tls = Arc::new(Tls::new(setup.sinks.ca_file.clone()));
    let (proxies, names) = (Matcher::from_env(), Arc::new(Names::default()));
    let mut sinks = Vec::new();
    for (mailbox, target) in setup.sinks.network.iter().enumerate() {
        let lane = |lane: &Lane| {
            let client = Client::new(target.url.clone(), Arc::clone(&tls), &proxies).with_names(Arc::clone(&names));
            if client.looks_up_a_name() {
                // Threads exist before memory is locked. Without this one each lookup tries again, and tells of it.
                let _ = names.make_thread();
            }
            Delivery::new(setup, target, client, (Arc::clone(shared), mailbox, *lane), Random(random()))
        };
        sinks.push(lanes.iter().map(lane).collect());
    }
    sinks
}

/// Runs the sinks until the sampler says that it is over, and what waits is out or the time is up.
async fn serve(lanes: Vec<Vec<Delivery>>, shared: &Shared, wake: UnixStream, mut logs: Option<Logs>) {
    let Ok(wake) = tokio::net::UnixStream::from_std(wake) else { return };
    let (end, ending) = watch::channel(None);
    let mut bells = Vec::new();
    let mut sinks = JoinSet::new();
    for of_sink in lanes {
        let settled = Arc::new(Notify::new());
        for delivery in of_sink {
            let bell = Bell { news: Arc::new(Notify::new()), settled: Arc::clone(&settled), end: ending.clone() };
            bells.push(Arc::clone(&bell.news));
            sinks.spawn(delivery.run(bell));
        }
    }
    while !shared.is_ending() {
        tokio::select! {
            is_there = woken(&wake) => if !is_there { break },
            () = due(logs.as_ref()) => logs.iter_mut().for_each(|logs| logs.step(shared)),
        }
        bells.iter().for_each(|news| news.notify_one());
    }
    if let Some(logs) = logs {
        logs.finish(shared).await;
    }
    let _ = end.send(Some(Instant::now() + NETWORK_LAST_WORDS));
    while sinks.join_next().await.is_some() {}
}

/// Waits until there may be new lines in the files that are followed; for ever where there are none.
async fn due(logs: Option<&Logs>) {
    match logs {
        Some(logs) => logs.due().await,
        None => std::future::pending().await,
    }
}

/// Waits for the sampler; whether it is still there.
async fn woken(wake: &tokio::net::UnixStream) -> bool {
    let mut bytes = [0; 256];
    loop {
        if wake.readable().await.is_err() {
            return false;
        }
        match wake.try_read(&mut bytes) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
    }
}

/// What the standard library keeps its maps from being guessed with.
fn random() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}
