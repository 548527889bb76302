//! The guest's binary with a TLS sink: a server on the loopback that takes everything, and what the probe costs then.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::process;
use super::running::Running;

/// Where the certificates of the system are, of which a guest has a hundred and more.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Requests before anything is noted: the handshake is among them.
const WARM_REQUESTS: u32 = 3;

/// Requests of which the CPU time is taken.
const REQUESTS: u32 = 20;

/// What a probe with a TLS sink costs and holds.
#[derive(Debug)]
pub(crate) struct Costs {
    pub(crate) cpu_a_request: Duration,
    pub(crate) peak_resident_kb: u32,
    pub(crate) locked_kb: u32,
    pub(crate) threads: usize,
}

/// A server that takes everything.
struct Server {
    url: String,
    roots: tempfile::NamedTempFile,
    requests: Arc<AtomicU32>,
}

/// Runs the binary with memory locked and without, a sample a second, each with a request of its own.
pub(crate) fn costs(binary: &Path) -> Costs {
    let server = Server::start();
    let locked = server.probe(binary, &[]);
    let before = server.cpu_behind(&locked, WARM_REQUESTS);
    let after = server.cpu_behind(&locked, WARM_REQUESTS + REQUESTS);
    let locked_kb = process::locked_kb(locked.pid()).max(process::peak_resident_kb(locked.pid()));
    let threads = process::threads(locked.pid());
    drop(locked);
    let server = Server::start();
    let plain = server.probe(binary, &["--no-protect"]);
    server.cpu_behind(&plain, WARM_REQUESTS);
    let peak_resident_kb = process::peak_resident_kb(plain.pid());
    Costs { cpu_a_request: (after - before) / REQUESTS, peak_resident_kb, locked_kb, threads }
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("https://127.0.0.1:{}/vitals", listener.local_addr().expect("an address").port());
        let pair = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().expect("versions").with_no_client_auth();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.signing_key.serialize_der()));
        let config = Arc::new(builder.with_single_cert(vec![pair.cert.der().clone()], key).expect("a key"));
        let mut roots = tempfile::NamedTempFile::new().expect("a file");
        let system = std::fs::read(SYSTEM_ROOTS).expect("the system's roots, which the row is about");
        roots.write_all(&[&system, pair.cert.pem().as_bytes()].concat()).expect("room");
        let requests = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (config, counted) = (Arc::clone(&config), Arc::clone(&counted));
                std::thread::spawn(move || take_everything(stream, config, &counted));
            }
        });
        Self { url, roots, requests }
    }

    fn probe(&self, binary: &Path, flags: &[&str]) -> Running {
        let mut command = Command::new(binary);
        command.args(["--interval", "1", "--sink", "stdout", "--sink", &self.url]).args(flags);
        let mut probe = Running::on_a_pipe(command.env("SSL_CERT_FILE", self.roots.path()).env_remove("SSL_CERT_DIR"));
        probe.line();
        probe
    }

    /// CPU time of all threads of the probe behind so many requests.
    fn cpu_behind(&self, probe: &Running, requests: u32) -> Duration {
        while self.requests.load(Ordering::SeqCst) < requests {
            std::thread::sleep(Duration::from_millis(10));
        }
        // Until the answer is read.
        std::thread::sleep(Duration::from_millis(50));
        process::cpu(probe.pid())
    }
}

/// Answers each request with 204, until the client goes.
fn take_everything(stream: TcpStream, config: Arc<ServerConfig>, requests: &AtomicU32) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut stream = BufReader::new(StreamOwned::new(ServerConnection::new(config).ok()?, stream));
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(text) = line.strip_prefix("content-length: ") {
                length = text.parse().ok()?;
            }
            if line.is_empty() {
                break;
            }
        }
        stream.read_exact(&mut vec![0; length]).ok()?;
        stream.get_mut().write_all(b"HTTP/1.1 204 No Content\r\n\r\n").ok()?;
        requests.fetch_add(1, Ordering::SeqCst);
    }
}
