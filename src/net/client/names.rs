//! Names and the addresses that the system has for them, for all clients that share it.
//!
//! getaddrinfo(3) keeps a thread for as long as it likes: there is no deadline for it, and no way to stop it. So each name is
//! looked up once for all who ask meanwhile, and while that takes long they get the addresses that it had last. There is one
//! thread for it, and a name that never had an address waits until the others' lookups are over. Where the system gives no
//! thread, the lookup fails: a runtime's own pool would panic.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::Failure;

/// So long a name is waited for that had an address before.
const PATIENCE: Duration = Duration::from_secs(1);

/// Several times what a resolver takes; what is not touched is not resident.
const STACK_BYTES: usize = 256 * 1024;

/// Addresses of names.
pub struct Names {
    look_up: Arc<LookUp>,
    patience: Duration,
    stack_bytes: usize,
    names: Arc<Mutex<BTreeMap<String, Name>>>,
    /// The way to the thread that looks them up, once there is one. It ends with this.
    thread: Mutex<Option<Sender<Asked>>>,
}

/// What gives the addresses of a name, whatever their port, and may take its time.
type LookUp = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// What is known of a name.
#[derive(Debug, Default)]
struct Name {
    /// What it had last.
    addresses: Vec<SocketAddr>,
    /// While it is looked up: what comes of that.
    found: Option<Found>,
}

/// What comes of a lookup, once it is over.
type Found = watch::Receiver<Option<Vec<SocketAddr>>>;

/// A name that is to be looked up.
#[derive(Debug)]
struct Asked {
    name: String,
    done: watch::Sender<Option<Vec<SocketAddr>>>,
}

impl Default for Names {
    /// As the system knows them; nothing is known yet, and there is no thread yet.
    fn default() -> Self {
        Self::new(Arc::new(|name: &str| (name, 0).to_socket_addrs().map(Iterator::collect)))
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").field("names", &self.names).finish_non_exhaustive()
    }
}

impl Names {
    fn new(look_up: Arc<LookUp>) -> Self {
        let (names, thread) = (Arc::default(), Mutex::default());
        Self { look_up, patience: PATIENCE, stack_bytes: STACK_BYTES, names, thread }
    }

    /// Makes the thread that looks names up, unless there is one. Else that is done with the first name, and tried again with
    /// each that is asked for.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn make_thread(&self) -> io::Result<()> {
        self.thread().map(|_| ())
    }

    /// The addresses of a name with this port; none where it has none.
    ///
    /// To be called within tokio's runtime, with time enabled.
    ///
    /// # Errors
    /// [`Failure::NoThread`] where it cannot be looked up, and had no address before.
    pub(super) async fn addresses(&self, name: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
        let (found, last) = self.begin(name);
        let mut addresses = match found {
            Some(found) => self.wait_for(found, last).await,
            None if last.is_empty() => return Err(Failure::NoThread),
            None => last,
        };
        addresses.iter_mut().for_each(|address| address.set_port(port));
        Ok(addresses)
    }

    async fn wait_for(&self, mut found: Found, last: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let patience = if last.is_empty() { Duration::MAX } else { self.patience };
        match tokio::time::timeout(patience, found.wait_for(Option::is_some)).await {
            // Without a word it was given up: the thread has ended.
            Ok(found) => found.ok().and_then(|found| found.clone()).unwrap_or_default(),
            Err(_) => last,
        }
    }

    /// Has a name looked up, unless that is under way. Gives what will come of it, `None` without a thread, and what it had
    /// last.
    fn begin(&self, name: &str) -> (Option<Found>, Vec<SocketAddr>) {
        let mut names = lock(&self.names);
        let known = names.entry(name.to_owned()).or_default();
        if known.found.is_none() {
            known.found = self.ask(name);
        }
        (known.found.clone(), known.addresses.clone())
    }

    fn ask(&self, name: &str) -> Option<Found> {
        let (done, found) = watch::channel(None);
        self.thread().ok()?.send(Asked { name: name.to_owned(), done }).ok()?;
        Some(found)
    }

    /// The way to the thread, which is made where there is none.
    fn thread(&self) -> io::Result<Sender<Asked>> {
        let mut thread = lock(&self.thread);
        if let Some(asked) = &*thread {
            return Ok(asked.clone());
        }
        let (asked, asks) = channel();
        let (look_up, names) = (Arc::clone(&self.look_up), Arc::clone(&self.names));
        let builder = std::thread::Builder::new().name("lookup".to_owned()).stack_size(self.stack_bytes);
        // Not waited for: a lookup may never end.
        builder.spawn(move || look_up_all(&asks, &*look_up, &names))?;
        Ok(thread.insert(asked).clone())
    }
}

/// Looks up what is asked for, one after the other, until nobody can ask any more.
fn look_up_all(asks: &Receiver<Asked>, look_up: &LookUp, names: &Mutex<BTreeMap<String, Name>>) {
    for Asked { name, done } in asks {
        let addresses = look_up(&name).unwrap_or_default();
        settle(lock(names).entry(name).or_default(), &addresses);
        let _ = done.send(Some(addresses));
    }
}

fn settle(name: &mut Name, addresses: &[SocketAddr]) {
    name.found = None;
    if !addresses.is_empty() {
        name.addresses = addresses.to_vec();
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::runtime::{Builder, Runtime};

    use super::*;

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_time().build().unwrap()
    }

    /// `good` has an address the first time, and after that hangs, as all others but `none` do, until what is given besides is
    /// dropped.
    fn names(lookups: &Arc<AtomicUsize>) -> (Names, Sender<()>) {
        let (release, hung) = channel();
        let (hung, lookups) = (Mutex::new(hung), Arc::clone(lookups));
        let look_up = move |name: &str| match (name, lookups.fetch_add(1, Ordering::SeqCst)) {
            ("good", 0) => Ok(vec![([192, 0, 2, 1], 0).into()]),
            ("none", _) => Err(io::ErrorKind::NotFound.into()),
            _ => {
                let _ = hung.lock().unwrap().recv();
                Ok(vec![([192, 0, 2, 2], 0).into()])
            }
        };
        let names = Names { patience: Duration::from_millis(20), ..Names::new(Arc::new(look_up)) };
        (names, release)
    }

    /// More than any system has room for, so that there is no thread.
    const TOO_LARGE_STACK: usize = usize::MAX / 4;

    fn text(addresses: &Result<Vec<SocketAddr>, Failure>) -> String {
        addresses.as_ref().unwrap().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_name_that_had_an_address_is_not_held_up_by_a_lookup_that_hangs() {
        let lookups = Arc::default();
        let (names, release) = names(&lookups);
        let runtime = runtime();
        runtime.block_on(async {
            assert_eq!(text(&names.addresses("good", 443).await), "192.0.2.1:443");
            // The one thread is with another name now, for as long as that takes.
            let other = tokio::time::timeout(Duration::from_millis(20), names.addresses("other", 80));
            assert!(other.await.is_err());
            assert_eq!(text(&names.addresses("good", 80).await), "192.0.2.1:80", "what it had last");
            drop(release);
            assert_eq!(text(&names.addresses("other", 80).await), "192.0.2.2:80");
            while lookups.load(Ordering::SeqCst) < 3 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(text(&names.addresses("good", 80).await), "192.0.2.2:80", "what it has now");
        });
    }

    #[test]
    fn who_asks_for_the_same_name_waits_for_the_same_lookup() {
        let lookups = Arc::default();
        let (names, release) = names(&lookups);
        let runtime = runtime();
        runtime.block_on(async {
            let all = async { tokio::join!(names.addresses("a", 1), names.addresses("a", 2), names.addresses("a", 3)) };
            let (all, ()) = tokio::join!(all, async { drop(release) });
            assert_eq!([all.0, all.1, all.2].map(|one| text(&one)), ["192.0.2.2:1", "192.0.2.2:2", "192.0.2.2:3"]);
        });
        assert_eq!(lookups.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_name_without_an_address_is_looked_up_again() {
        let lookups = Arc::default();
        let (names, _release) = names(&lookups);
        runtime().block_on(async {
            assert_eq!(names.addresses("none", 1).await, Ok(vec![]));
            assert_eq!(names.addresses("none", 1).await, Ok(vec![]));
        });
        assert_eq!(lookups.load(Ordering::SeqCst), 2);
    }

    /// As in a guest at its pids.max.
    #[test]
    fn where_the_system_gives_no_thread_a_name_has_the_address_that_it_had() {
        let lookups = Arc::default();
        let (mut names, release) = names(&lookups);
        drop(release);
        names.stack_bytes = TOO_LARGE_STACK;
        runtime().block_on(async {
            assert!(names.make_thread().is_err());
            assert_eq!(names.addresses("good", 80).await, Err(Failure::NoThread));
            lock(&names.names).get_mut("good").unwrap().addresses = vec![([192, 0, 2, 3], 0).into()];
            assert_eq!(text(&names.addresses("good", 80).await), "192.0.2.3:80");
            assert_eq!(lookups.load(Ordering::SeqCst), 0);
            names.stack_bytes = STACK_BYTES;
            assert_eq!(text(&names.addresses("good", 80).await), "192.0.2.1:80", "there are threads again");
        });
    }

    #[test]
    fn all_names_are_looked_up_by_one_thread_which_ends_with_them() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sees = Arc::clone(&seen);
        let names = Names::new(Arc::new(move |_: &str| {
            sees.lock().unwrap().push(std::thread::current().id());
            Ok(Vec::new())
        }));
        names.make_thread().unwrap();
        runtime().block_on(async {
            assert_eq!(names.addresses("a", 1).await, Ok(vec![]));
            assert_eq!(names.addresses("b", 1).await, Ok(vec![]));
        });
        let ids = seen.lock().unwrap().clone();
        assert!(ids.len() == 2 && ids[0] == ids[1] && ids[0] != std::thread::current().id(), "{ids:?}");
        drop(names);
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        // What it looked up with is dropped when it has ended.
        while Arc::strong_count(&seen) > 1 {
            assert!(std::time::Instant::now() < deadline, "the thread stays");
            std::thread::yield_now();
        }
    }
}
