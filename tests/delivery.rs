//! Nothing is lost on the way: a hundred real probes post to a real hub that is killed again and again, through a network
//! that is cut.

#![cfg(all(target_os = "linux", feature = "hub"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

#[path = "support/hub.rs"]
#[allow(dead_code, reason = "what others use of it")]
mod running;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use runner_vitals::line::Line;
use runner_vitals::line::field;
use running::Running;
use sha2::{Digest as _, Sha256};

const GUESTS: usize = 100;

/// Longer than anything here takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long each hub lives until it is killed. The backoff of the guests has half a second and more to come back.
const LIVES: Duration = Duration::from_secs(3);

const KILLS: usize = 10;

/// In the life before these kills the network is cut, for so long.
const CUTS: [usize; 2] = [3, 7];
const CUT_FOR: Duration = Duration::from_secs(3);

/// Before each cut and each kill the hub's answers are lost, so that lines are out and nobody knows.
const DEAF_FOR: Duration = Duration::from_millis(1200);

#[test]
fn no_line_is_lost_but_those_that_were_counted() {
    let home = tempfile::tempdir().unwrap();
    let tokens = write_tokens(home.path());
    let hub_address = free_address();
    let cable = Cable::lay(hub_address);
    let mut running = hub(home.path(), &tokens, hub_address, 0);
    let mut guests: Vec<Child> = (0..GUESTS).map(|at| guest(home.path(), cable.address, at)).collect();
    for kill in 1..=KILLS {
        std::thread::sleep(LIVES);
        if CUTS.contains(&kill) {
            cable.set(Pass::Requests, DEAF_FOR);
            cable.set(Pass::Nothing, CUT_FOR);
            cable.set(Pass::All, LIVES);
        }
        cable.set(Pass::Requests, DEAF_FOR);
        running.kill();
        cable.set(Pass::All, Duration::ZERO);
        running = hub(home.path(), &tokens, hub_address, kill);
    }
    // The longest wait of the backoff that so short a trouble leads to.
    std::thread::sleep(Duration::from_secs(5));
    for guest in &guests {
        signal(guest, rustix::process::Signal::TERM);
    }
    for guest in &mut guests {
        assert!(wait(guest).success(), "a guest ended badly");
    }
    signal(&running.child, rustix::process::Signal::TERM);
    assert!(wait(&mut running.child).success(), "the hub did not drain");

    let lives: Vec<Life> = (0..=KILLS).map(|at| Life::read(&stdout_of(home.path(), at))).collect();
    let mut repeats = 0;
    let mut lines = 0;
    for at in 0..GUESTS {
        let trail: Vec<&[u64]> = lives.iter().map(|life| life.seqs(&name(at))).collect();
        repeats += check_repeats(&name(at), &trail);
        let out: BTreeSet<u64> = trail.iter().flat_map(|seqs| seqs.iter().copied()).collect();
        let stop = lives.iter().find_map(|life| life.stops.get(&name(at)));
        let stop = stop.unwrap_or_else(|| panic!("{}: no stop line", name(at)));
        let lost = stop.seq - u64::try_from(out.len()).unwrap();
        assert_eq!(lost, stop.dropped, "{}: {} of {} lines are out", name(at), out.len(), stop.seq);
        assert!(stop.seq > 30, "{} said only {} lines", name(at), stop.seq);
        lines += out.len();
    }
    assert!(repeats > 0, "no batch was in flight at any kill");
    println!("{lines} lines of {GUESTS} guests, {repeats} repeats of batches that were in flight at a kill");
}

/// Within one hub's life nothing is out twice; what two of them brought out was at the end of the first.
fn check_repeats(name: &str, trail: &[&[u64]]) -> usize {
    let mut repeats = 0;
    for (at, seqs) in trail.iter().enumerate() {
        let distinct: BTreeSet<u64> = seqs.iter().copied().collect();
        assert_eq!(distinct.len(), seqs.len(), "{name}: a repeat within the life of hub {at}: {seqs:?}");
        let later: BTreeSet<u64> = trail[at + 1..].iter().flat_map(|seqs| seqs.iter().copied()).collect();
        let again: Vec<bool> = seqs.iter().map(|seq| later.contains(seq)).collect();
        let in_flight = again.iter().rev().take_while(|again| **again).count();
        assert_eq!(
            in_flight,
            again.iter().filter(|again| **again).count(),
            "{name}: hub {at} had acknowledged a repeat"
        );
        repeats += in_flight;
    }
    repeats
}

/// What one hub brought out until it was killed.
#[derive(Default)]
struct Life {
    seqs: BTreeMap<String, Vec<u64>>,
    stops: BTreeMap<String, Stop>,
}

/// What a guest's last line tells.
struct Stop {
    seq: u64,
    dropped: u64,
}

impl Life {
    fn read(path: &Path) -> Self {
        let mut life = Self::default();
        let text = fs::read_to_string(path).unwrap();
        // What was being written at the kill is no line.
        for text in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let line = Line::decode(text).unwrap_or_else(|error| panic!("{error}: {text}"));
            let name = line.text(field::RUNNER_NAME).unwrap().to_owned();
            let seq = line.seq;
            if line.event.as_deref() == Some("stop") {
                let dropped = line.scaled(field::SINK_HTTP_DROPPED).unwrap_or(0);
                life.stops.insert(name.clone(), Stop { seq, dropped: dropped.try_into().unwrap() });
            }
            life.seqs.entry(name).or_default().push(seq);
        }
        life
    }

    fn seqs(&self, name: &str) -> &[u64] {
        self.seqs.get(name).map_or(&[], Vec::as_slice)
    }
}

/// A hub at a fixed address, its lines in a file of its own.
fn hub(home: &Path, tokens: &Path, address: SocketAddr, life: usize) -> Running {
    let mut command = running::command(env!("CARGO_BIN_EXE_vitals-hub"));
    command.args(["serve", "--listen", &address.to_string()]).arg("--auth");
    command.arg(format!("tokens={}", tokens.display())).stdout(File::create(stdout_of(home, life)).unwrap());
    Running::start(command)
}

/// The network between the guests and the hub.
struct Cable {
    address: SocketAddr,
    state: Arc<State>,
}

/// What gets through.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    All,
    Requests,
    Nothing,
}

struct State {
    passes: Mutex<Pass>,
    open: Mutex<Vec<TcpStream>>,
}

impl Cable {
    fn lay(to: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State { passes: Mutex::new(Pass::All), open: Mutex::default() });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for guest in listener.incoming().flatten() {
                shared.connect(&guest, to);
            }
        });
        Self { address, state }
    }

    fn set(&self, passes: Pass, long: Duration) {
        *self.state.passes.lock().unwrap() = passes;
        if passes != Pass::Requests {
            // Before a cut all of them are open, behind a kill none is any more.
            for end in self.state.open.lock().unwrap().drain(..) {
                let _ = end.shutdown(Shutdown::Both);
            }
        }
        std::thread::sleep(long);
    }
}

impl State {
    fn connect(self: &Arc<Self>, guest: &TcpStream, to: SocketAddr) {
        // Held, so that a cut comes before a connection or takes it along.
        let mut open = self.open.lock().unwrap();
        if *self.passes.lock().unwrap() == Pass::Nothing {
            return;
        }
        let Ok(hub) = TcpStream::connect(to) else { return };
        let ends = || [guest.try_clone().unwrap(), hub.try_clone().unwrap()];
        open.extend(ends());
        let ([mut from_guest, mut to_hub], [mut to_guest, mut from_hub]) = (ends(), ends());
        std::thread::spawn(move || {
            let _ = io::copy(&mut from_guest, &mut to_hub);
            let _ = to_hub.shutdown(Shutdown::Both);
        });
        let state = Arc::clone(self);
        std::thread::spawn(move || {
            let mut answer = [0; 4096];
            while let Ok(count @ 1..) = from_hub.read(&mut answer) {
                let is_lost = *state.passes.lock().unwrap() != Pass::All;
                if !is_lost && to_guest.write_all(&answer[..count]).is_err() {
                    break;
                }
            }
            let _ = to_guest.shutdown(Shutdown::Both);
        });
    }
}

fn guest(home: &Path, to: SocketAddr, at: usize) -> Child {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/captures/idle");
    let mut command = Command::new(env!("CARGO_BIN_EXE_runner-vitals"));
    command.args(["--interval", "1", "--no-protect", "--sink"]).arg(format!("http://{to}/api/internal/runners/vitals"));
    command.arg("--root").arg(root).arg("--token-file").arg(token_file(home, at));
    command.arg("--exit-with").arg(std::process::id().to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn write_tokens(home: &Path) -> PathBuf {
    let mut text = String::new();
    for at in 0..GUESTS {
        let token = format!("token-of-guest-{at}");
        let digest: String = Sha256::digest(&token).iter().map(|byte| format!("{byte:02x}")).collect();
        text.push_str(&format!("sha256:{digest} {} test\n", name(at)));
        fs::write(token_file(home, at), token).unwrap();
    }
    let path = home.join("tokens");
    fs::write(&path, text).unwrap();
    path
}

fn name(at: usize) -> String {
    format!("runner-{at}")
}

fn token_file(home: &Path, at: usize) -> PathBuf {
    home.join(format!("token-{at}"))
}

fn stdout_of(home: &Path, life: usize) -> PathBuf {
    home.join(format!("out-{life}.log"))
}

fn free_address() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap()
}

fn signal(child: &Child, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).unwrap();
}

fn wait(child: &mut Child) -> std::process::ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < deadline, "it never ended");
        std::thread::sleep(Duration::from_millis(20));
    }
}
