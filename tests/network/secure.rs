//! TLS against a CA of one's own, proxies, and where a token never goes.

use std::io::{BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use runner_vitals::line::field;
use rustix::process::Signal;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::probe::{Probe, command};
use crate::server::{Reply, Request, Server, listen, read_request};

/// A CA, and the certificate of a server that it vouches for.
struct Authority {
    dir: tempfile::TempDir,
    config: Arc<ServerConfig>,
}

impl Authority {
    fn new(names: &[&str]) -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let ca = params.self_signed(&key).unwrap();
        let issuer = rcgen::Issuer::new(params, key);
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let server_key = rcgen::KeyPair::generate().unwrap();
        let server = rcgen::CertificateParams::new(names).unwrap().signed_by(&server_key, &issuer).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), ca.pem()).unwrap();
        let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(server_key.serialize_der()));
        let config = builder.with_single_cert(vec![server.der().clone()], key).unwrap();
        Self { dir, config: Arc::new(config) }
    }

    fn ca_file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    fn server(&self, reply: impl FnMut(&Request, usize) -> Reply + Send + 'static) -> Server {
        let config = Arc::clone(&self.config);
        Server::through(
            move |stream: TcpStream| StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream),
            reply,
        )
    }
}

fn https(server: &Server, host: &str) -> String {
    format!("https://{host}:{}/vitals", server.address.port())
}

fn lines_of(server: &Server) -> Vec<String> {
    server.rest(Duration::from_millis(500)).iter().flat_map(Request::lines).collect()
}

#[test]
fn lines_go_through_tls_by_name_and_by_address() {
    let authority = Authority::new(&["localhost", "127.0.0.1"]);
    let ca_file = authority.ca_file();
    for host in ["localhost", "127.0.0.1"] {
        let server = authority.server(|_, _| Reply::of(204));
        let flags = ["--interval", "1", "--samples", "2", "--sink", &https(&server, host), "--ca-file"];
        let status = command(&flags).arg(&ca_file).status().unwrap();
        assert!(status.success());
        assert!(lines_of(&server).last().unwrap().contains(" event=stop "), "{host}");
        assert_eq!(server.connections.load(Ordering::SeqCst), 1, "{host}");
        // The system's own roots, as OpenSSL finds them.
        let status = command(&["--once", "--sink", &https(&server, host)]).env("SSL_CERT_FILE", &ca_file).status();
        assert!(status.unwrap().success() && !lines_of(&server).is_empty(), "{host}");
    }
}

#[test]
fn a_certificate_of_nobody_or_for_another_gets_nothing() {
    let (authority, other) = (Authority::new(&["localhost"]), Authority::new(&["localhost"]));
    let elsewhere = Authority::new(&["elsewhere.example"]);
    for (server, trusted) in [(&other, &authority), (&elsewhere, &elsewhere)] {
        let server = server.server(|_, _| Reply::of(204));
        let flags = ["--interval", "1", "--sink", "stdout", "--sink", &https(&server, "localhost"), "--ca-file"];
        let probe = Probe::spawn(command(&flags).arg(trusted.ca_file()));
        let told = probe.next_of(Some("degraded"));
        assert!(told.text_of(field::ERROR).unwrap().starts_with("broken: TLS failed"), "{}", told.text);
        probe.signal(Signal::TERM);
        assert!(probe.finish().1.success() && server.rest(Duration::from_millis(200)).is_empty());
    }
}

#[test]
fn without_a_certificate_to_trust_it_says_so() {
    let server = Authority::new(&["localhost"]).server(|_, _| Reply::of(204));
    let flags = ["--interval", "1", "--sink", "stdout", "--sink", &https(&server, "localhost")];
    let probe = Probe::start(&[&flags[..], &["--ca-file", "/no/such/file"]].concat());
    let told = probe.next_of(Some("degraded"));
    assert_eq!(told.text_of(field::ERROR).as_deref(), Some("broken: no certificates to trust"));
}

#[test]
fn a_token_goes_nowhere_in_the_clear() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hunter2").unwrap();
    // A name beyond this machine, which its proxy knows: so whatever is sent there is seen here.
    let server = Server::start(|_, _| Reply::of(204));
    let proxy = format!("http://{}", server.address);
    let flags = ["--once", "--sink", "stdout", "--sink", "http://vitals.example/v", "--token-file"];
    let (lines, _) = Probe::spawn(command(&flags).arg(file.path()).env("http_proxy", &proxy)).finish();
    let told = lines.iter().find(|line| line.is(Some("config"))).unwrap();
    assert_eq!(told.text_of(field::GIVEN).as_deref(), Some("http://vitals.example/v"));
    assert!(told.text_of(field::USED).unwrap().starts_with("without a token"));
    let requests = server.rest(Duration::from_millis(500));
    assert!(!requests.is_empty() && requests.iter().all(|request| request.header("authorization").is_none()));
    assert!(lines.iter().all(|line| !line.text.contains("hunter2")));
}

/// What a redirect points to gets nothing, least of all a token.
#[test]
fn a_redirect_is_not_followed() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hunter2").unwrap();
    let target = Server::start(|_, _| Reply::of(204));
    let location = target.url();
    let server = Server::start(move |_, _| Reply::of(307).with("location", &location));
    let flags = ["--interval", "1", "--sink", "stdout", "--sink", &server.url(), "--token-file"];
    let probe = Probe::spawn(command(&flags).arg(file.path()));
    let told = probe.next_of(Some("degraded"));
    assert_eq!(told.text_of(field::ERROR).as_deref(), Some("broken: not an endpoint, status 307"));
    probe.signal(Signal::TERM);
    probe.finish();
    assert_eq!(target.connections.load(Ordering::SeqCst), 0);
}

/// A proxy that knows every name as the server that is given; it tells what it was asked.
fn proxy(server: std::net::SocketAddr) -> (String, Receiver<Request>) {
    let (sender, asked) = channel();
    let (address, _) = listen(move |stream| {
        let mut reader = BufReader::new(stream);
        let Ok(Some(request)) = read_request(&mut reader) else { return };
        let is_tunnel = request.method == "CONNECT";
        let _ = sender.send(request);
        assert!(is_tunnel);
        let mut client = reader.into_inner();
        let server = TcpStream::connect(server).unwrap();
        client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").unwrap();
        let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
        let _ = std::io::copy(&mut { server }, &mut client);
    });
    (address.to_string(), asked)
}

#[test]
fn a_proxy_gives_a_tunnel_and_sees_nothing() {
    let authority = Authority::new(&["vitals.example"]);
    let server = authority.server(|_, _| Reply::of(204));
    let (proxy, asked) = proxy(server.address);
    let flags = ["--once", "--sink", "https://vitals.example/v", "--ca-file"];
    let mut command = command(&flags);
    command.arg(authority.ca_file()).env("HTTPS_PROXY", format!("http://user:pass@{proxy}"));
    assert!(command.status().unwrap().success());
    let request = asked.try_recv().unwrap();
    assert_eq!((request.method.as_str(), request.target.as_str()), ("CONNECT", "vitals.example:443"));
    assert_eq!(request.header("proxy-authorization"), Some("Basic dXNlcjpwYXNz"));
    let requests = server.rest(Duration::from_millis(500));
    assert!(requests.iter().all(|request| request.header("proxy-authorization").is_none()));
    assert!(requests.iter().flat_map(Request::lines).last().unwrap().contains(" event=stop "));
}

#[test]
fn a_proxy_is_asked_in_full_for_what_is_in_the_clear_and_never_for_this_machine() {
    let proxy = Server::start(|_, _| Reply::of(204));
    let through = |url: &str, no_proxy: &str| {
        let mut command = command(&["--once", "--sink", url]);
        command.env("http_proxy", format!("http://{}", proxy.address)).env("NO_PROXY", no_proxy);
        assert!(command.status().unwrap().success());
        proxy.rest(Duration::from_millis(300)).first().map(|request| request.target.clone())
    };
    assert_eq!(through("http://vitals.example/v?a=b", ""), Some("http://vitals.example/v?a=b".to_owned()));
    assert_eq!(through("http://vitals.invalid/v", "other,vitals.invalid"), None);
    let server = Server::start(|_, _| Reply::of(204));
    assert_eq!(through(&server.url(), ""), None);
    assert!(!lines_of(&server).is_empty());
}

/// A server that answers TLS with something else.
#[test]
fn what_is_not_tls_is_told() {
    let (address, _) = listen(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let url = format!("https://localhost:{}/", address.port());
    let probe = Probe::start(&["--interval", "1", "--sink", "stdout", "--sink", &url]);
    let told = probe.next_of(Some("degraded"));
    assert!(told.text_of(field::ERROR).unwrap().starts_with("broken: TLS failed"), "{}", told.text);
}
