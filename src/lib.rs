//! What a CI guest feels, said from inside: one `RUNNER_VITALS` logfmt line every few seconds, so that the last
//! lines before a death say what it was, or prove that it was not the guest.
//!
//! # Where to read first
//! [`mod@line`] is what the guest and its readers share: [`line::field`] is the table of every key, the one public
//! interface that must never break. [`probe`] is the guest's side; [`probe::run`] is its loop, and everything it
//! calls is small: a parser a kernel file in [`probe::source`], plain data in [`probe::sample`], percentages in
//! [`probe::rate`], fields in [`probe::report`], stdout and the network in [`probe::sink`]. [`probe::job`] is `exec`: a
//! supervisor with two children, a job and the probe. `probe::darwin` is the probe of macOS. [`hub::serve`] is the operator's side:
//! the vitals endpoint; [`hub::trail`] and [`hub::diagnose`] say from lines what a runner died of, [`hub::fleet`] how fleets of them fare, [`hub::live`] the same
//! while it goes on. [`net`] is what both sides know of HTTP and of Loki's push; neither side knows the other.
//!
//! # The arrow
//! `kernel -> source -> sample -> rate -> line -> sink -> run -> bin`: imports point left, `line` imports nothing of
//! ours, and a test holds it so. A sampler on one thread waits in `poll(2)` for the next due time, a kernel message, an
//! event counter of its cgroup, a pressure trigger, a signal or the end of the process it watches. What means trouble
//! ([`probe::signs`]) begins a burst of samples ([`probe::burst`]). What can hang (`statvfs`, a stdout that cannot be written without
//! waiting, the network and the logs that are followed) has a thread of its own, and the sampler never waits for any.
//!
//! # Laws
//! 1. Fail-open: a source that cannot be read costs its field, a stdout that is stuck costs lines (counted), a wrong
//!    setting costs a `config` line. Nothing here blocks, slows down or kills the job, and no state that is shared
//!    with it is changed: stdout's flags above all.
//! 2. It outlives what it watches: files are opened before the load comes, the sample path allocates nothing and
//!    opens nothing, and reads nothing that can block on a lock of a dying process. [`probe::protect`] locks its memory and
//!    puts the sampler ahead of what starves the guest, as far as that is allowed.
//! 3. Absent, denied, broken and zero are four different things.
//! 4. One write, one line, at most [`line::MAX_LINE_BYTES`].
//! 5. What a guest says is untrusted: names and kernel messages are quoted so that nothing can forge a field.
//! 6. Nothing secret leaves: no environment, command line or file content stands in a line; what the sidecar was told to follow
//!    goes out with its secrets masked. A token goes to the server it is for, and nowhere else.
//! 7. The cost is a promise: `benches/BUDGET.md` has the bounds, tests and a bench check them.

#[cfg(feature = "hub")]
pub mod hub;
pub mod line;
pub mod net;
#[cfg(any(target_os = "linux", target_os = "macos"))]
pub mod probe;
pub mod url;
