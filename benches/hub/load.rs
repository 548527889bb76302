//! Many guests in one thread. Their bodies are made beforehand: what is measured is the hub.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const GUESTS: usize = 1000;

const LINES_A_REQUEST: usize = 10;

/// How long each measurement takes.
const SPAN: Duration = Duration::from_secs(10);

/// Requests that one guest may send: more than fit into both spans.
const BODIES: usize = 400;

/// A calm full line, as a probe prints it.
const FIELDS: &str = "vm.mem.total.kb=16384000 vm.mem.avail.kb=12034560 mem.current=3221225472 mem.peak=4294967296 mem.max=8589934592 mem.swap=0 oom=0 oom_kill=0 cpu.busy.pct=42.5 cpu.psi.some.avg10=3.1 mem.psi.some.avg10=0.0 mem.psi.full.avg10=0.0 io.psi.some.avg10=0.4 load1=1.84 load5=1.22 load15=0.90 late.ms=0.3 mem.used.pct=37.5 mem.anon=2147483648 mem.ws=2684354560 mem.shmem=1048576 vm.oom_kill=0 vm.majfault=1834 disk.path=/ disk.avail.kb=20971520 disk.used.pct=58.1 inode.used.pct=12.0 net.rx.kb=88412 net.tx.kb=1042 agent.state=S agent.wait.ms=2 agent.rss.kb=98304";

/// The load: what every guest sends, one body after another.
#[derive(Debug)]
pub(crate) struct Load {
    bodies: Arc<Vec<Vec<u8>>>,
    /// The next body of each guest.
    next: Arc<Vec<AtomicUsize>>,
}

/// What was measured.
#[derive(Debug)]
pub(crate) struct Measured {
    latencies: Vec<Duration>,
    span: Duration,
}

impl Load {
    pub(crate) fn new() -> Self {
        let bodies = (0..BODIES).map(body).collect();
        Self { bodies: Arc::new(bodies), next: Arc::new((0..GUESTS).map(|_| AtomicUsize::new(0)).collect()) }
    }

    /// The tokens file of its guests.
    pub(crate) fn tokens(&self) -> String {
        let line = |i| format!("{} runner-{i} linux\n", runner_vitals::hub::serve::auth::tokens::hashed(&token(i)));
        (0..GUESTS).map(line).collect()
    }

    /// Every guest sends as soon as it is answered.
    pub(crate) fn flat_out(&self, address: SocketAddr) -> Measured {
        self.run(address, None)
    }

    /// Together they send this many lines a second, each at its own times; a late request counts from when it was due.
    pub(crate) fn at(&self, lines_a_second: f64, address: SocketAddr) -> Measured {
        let requests_a_second = lines_a_second / f64::from(u32::try_from(LINES_A_REQUEST).expect("few"));
        let pause = Duration::from_secs_f64(f64::from(u32::try_from(GUESTS).expect("few")) / requests_a_second);
        self.run(address, Some(pause))
    }

    fn run(&self, address: SocketAddr, pause: Option<Duration>) -> Measured {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut streams = Vec::new();
            for _ in 0..GUESTS {
                streams.push(TcpStream::connect(address).await.expect("a connection"));
            }
            let began = Instant::now();
            let guests: Vec<_> = streams
                .into_iter()
                .enumerate()
                .map(|(i, stream)| {
                    let offset = pause.map(|pause| pause.mul_f64(f64::from(u32::try_from(i).expect("few")) / 1000.0));
                    let guest = Guest { i, stream, bodies: Arc::clone(&self.bodies), next: Arc::clone(&self.next) };
                    tokio::spawn(guest.run(began, pause.zip(offset)))
                })
                .collect();
            let mut latencies = Vec::new();
            for guest in guests {
                latencies.extend(guest.await.expect("a guest"));
            }
            Measured { latencies, span: began.elapsed() }
        })
    }
}

impl Measured {
    pub(crate) fn lines(&self) -> usize {
        self.latencies.len() * LINES_A_REQUEST
    }

    pub(crate) fn lines_a_second(&self) -> f64 {
        f64::from(u32::try_from(self.lines()).expect("fewer than 2^32")) / self.span.as_secs_f64()
    }

    /// So many of a hundred answers came within it.
    pub(crate) fn latency_ms(&self, percent: usize) -> f64 {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)].as_secs_f64() * 1000.0
    }
}

struct Guest {
    i: usize,
    stream: TcpStream,
    bodies: Arc<Vec<Vec<u8>>>,
    next: Arc<Vec<AtomicUsize>>,
}

impl Guest {
    /// How long each of its answers took.
    async fn run(mut self, began: Instant, pace: Option<(Duration, Duration)>) -> Vec<Duration> {
        let mut latencies = Vec::new();
        let mut due = began + pace.map_or(Duration::ZERO, |(_, offset)| offset);
        while began.elapsed() < SPAN {
            let at = self.next[self.i].fetch_add(1, Ordering::Relaxed);
            let body = self.bodies.get(at).expect("more bodies are needed: the hub is faster than thought");
            let body = [&head(self.i, body.len()).into_bytes()[..], body].concat();
            match pace {
                Some((pause, _)) => {
                    tokio::time::sleep_until(due.into()).await;
                    self.request(&body).await;
                    latencies.push(due.elapsed());
                    due += pause;
                }
                None => {
                    let sent = Instant::now();
                    self.request(&body).await;
                    latencies.push(sent.elapsed());
                }
            }
        }
        latencies
    }

    async fn request(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the hub listens");
        let mut answer = [0; 512];
        let mut read = 0;
        while !answer[..read].ends_with(b"\r\n\r\n") {
            let more = self.stream.read(&mut answer[read..]).await.expect("the hub answers");
            assert!(more > 0, "the hub closed the connection");
            read += more;
        }
        assert!(answer.starts_with(b"HTTP/1.1 204 "), "{}", String::from_utf8_lossy(&answer[..read]));
    }
}

fn token(i: usize) -> String {
    format!("token-of-{i}")
}

fn head(i: usize, length: usize) -> String {
    let token = token(i);
    format!(
        "POST /api/internal/runners/vitals HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {token}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n"
    )
}

/// Ten lines as guests send them: above 1 KiB, so packed.
fn body(at: usize) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    for seq in at * LINES_A_REQUEST..(at + 1) * LINES_A_REQUEST {
        writeln!(packed, "RUNNER_VITALS ts=2026-06-04T12:00:00.123Z run=k3x9 seq={seq} {FIELDS}").expect("memory");
    }
    packed.finish().expect("memory")
}
