//! How it starts, changes and ends.

use std::fs;
use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::client::{Answer, Client, metric, read_answer};
use crate::hub::{self, Hub, line, seqs, token_line};
use crate::{PATIENCE, until, until_read};

fn fails(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command.stdout(Stdio::null()).output().unwrap();
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

#[test]
fn a_wrong_setting_ends_it_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let broken = dir.path().join("broken");
    fs::write(&broken, "sha256:secret runner\n").unwrap();
    let broken = format!("tokens={}", broken.display());
    let loki = ["--auth", "none", "--loki", "http://127.0.0.1:1", "--loki-token-file", "/nowhere"];
    let cases: [(&[&str], i32, &str); 9] = [
        (&[], 64, "--auth"),
        (&["--auth", "none", "--listen", "127.0.0.1:0", "--log", "blah"], 64, "--log"),
        (&["--auth", "some"], 64, "tokens=FILE or none"),
        (&["--auth", "none", "--listen", "0.0.0.0:0"], 78, "loopback"),
        (&["--auth", "tokens=/nowhere"], 78, "/nowhere"),
        (&loki, 78, "/nowhere"),
        (&["--auth", "none", "--dir-max-age", "1d"], 64, "--dir"),
        (&["--auth", &broken], 78, "line 1"),
        (&["--auth", "none", "--listen", "192.0.2.1:80"], 78, "loopback"),
    ];
    for (flags, code, why) in cases {
        let (ended, told) = fails(hub::command().arg("serve").args(flags));
        assert!(ended == Some(code) && told.contains(why), "{flags:?}: {ended:?} {told}");
        assert!(!told.contains("secret"));
    }
    let (ended, told) =
        fails(hub::command().arg("serve").args(["--auth", "tokens=/dev/null", "--listen", "192.0.2.1:80"]));
    assert!(ended == Some(71) && told.contains("192.0.2.1:80"), "{ended:?} {told}");
}

#[test]
fn the_help_names_every_way_out() {
    for words in [&["--help"][..], &["serve", "--help"]] {
        let output = hub::command().args(words).output().unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        let about = help.split("Options:").next().unwrap();
        assert!(output.status.success() && ["stdout", "files", "Loki"].iter().all(|out| about.contains(out)), "{help}");
        assert!(words.len() == 1 || about.contains("VITALS_HUB_LISTEN"), "{help}");
    }
}

#[test]
fn settings_come_from_the_environment_and_flags_win() {
    let taken = Hub::start(&["--auth", "none"]);
    let mut command = hub::command();
    command.args(["serve", "--listen"]).arg(taken.address.to_string());
    command.env("VITALS_HUB_AUTH", "none").env("VITALS_HUB_LISTEN", "0.0.0.0:1");
    let (ended, told) = fails(&mut command);
    assert!(ended == Some(71) && told.contains(&taken.address.to_string()), "{ended:?} {told}");
    let (ended, told) =
        fails(hub::command().arg("serve").env("VITALS_HUB_AUTH", "none").env("VITALS_HUB_LISTEN", "0.0.0.0:1"));
    assert!(ended == Some(78) && told.contains("loopback"), "{ended:?} {told}");
}

#[test]
fn a_variable_that_gives_way_is_told() {
    let mut command = hub::command();
    command.env("VITALS_HUB_AUDIENCE", "vitals");
    let hub = Hub::start_as(command, &["--auth", "none"], None);
    assert_eq!(hub.logged("variable=VITALS_HUB_AUDIENCE flag="), "--auth");
}

#[test]
fn without_authentication_everybody_is_unknown() {
    let hub = Hub::start(&["--auth", "none"]);
    let answer = Client::connect(hub.address).post_with("Content-Type: text/plain\r\n", line(1).as_bytes());
    assert_eq!(answer.status, 204);
    assert!(hub.lines()[0].contains(" runner.name=unknown load1="), "{}", hub.lines()[0]);
}

#[test]
fn lines_go_to_no_stdout_that_was_closed() {
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$0\" serve --auth none --listen 127.0.0.1:0 >&-", hub::BINARY]);
    let (ended, told) = fails(&mut shell);
    assert!(ended == Some(71) && told.contains("stdout is not open"), "{ended:?} {told}");
}

#[test]
fn a_token_is_hashed_for_the_file() {
    let mut child = hub::command().arg("hash-token").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"abc\n").unwrap();
    let told = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(told, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n");
}

#[test]
fn tokens_are_read_again_when_they_change() {
    let hub = Hub::start(&[]);
    let post = |runner: &str| Client::connect(hub.address).post(runner, line(1).as_bytes()).status;
    assert_eq!((post("runner-1"), post("late")), (204, 401));
    fs::write(hub.tokens(), token_line("late")).unwrap();
    until("the new tokens", || (post("late") == 204).then_some(()));
    assert_eq!(post("runner-1"), 401);
    fs::write(hub.tokens(), "half a li").unwrap();
    until("the broken file is told", || {
        (metric(hub.address, "vitals_hub_reloads_total{file=\"tokens\",result=\"failed\"}") == 1).then_some(())
    });
    assert_eq!(post("late"), 204, "what was there before stays");
    fs::write(hub.tokens(), "# none yet\n").unwrap();
    until("the empty file is told", || {
        (metric(hub.address, "vitals_hub_reloads_total{file=\"tokens\",result=\"failed\"}") == 2).then_some(())
    });
    assert_eq!(post("late"), 204, "an empty file is one that is being written");
    fs::remove_file(hub.tokens()).unwrap();
    until("the missing file is told", || {
        (metric(hub.address, "vitals_hub_reloads_total{file=\"tokens\",result=\"failed\"}") == 3).then_some(())
    });
    assert_eq!(post("late"), 204);
    fs::write(hub.tokens(), token_line("runner-1")).unwrap();
    until("the mended file", || (post("runner-1") == 204).then_some(()));
}

/// As a hub begins whose tokens come one by one.
#[test]
fn a_file_without_a_token_yet_is_no_fault() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let hub = Hub::start(&["--auth", &format!("tokens={}", file.path().display())]);
    hub.logged("there is no token yet");
    fs::write(file.path(), "# one will stand here\n").unwrap();
    let reloads =
        |result| metric(hub.address, &format!("vitals_hub_reloads_total{{file=\"tokens\",result=\"{result}\"}}"));
    until("the comment is taken", || (reloads("taken") >= 1).then_some(()));
    let post = |runner: &str| Client::connect(hub.address).post(runner, line(1).as_bytes()).status;
    assert_eq!(post("runner-1"), 401);
    fs::write(file.path(), token_line("runner-1")).unwrap();
    until("the first token", || (post("runner-1") == 204).then_some(()));
    assert_eq!(reloads("failed"), 0);
}

/// `--auth tokens=<(sops -d tokens)`.
#[test]
fn a_file_can_be_a_pipe() {
    let (read, mut write) = std::io::pipe().unwrap();
    write.write_all(token_line("runner-1").as_bytes()).unwrap();
    drop(write);
    let mut command = hub::command();
    command.stdin(read);
    let hub = Hub::start_as(command, &["--auth", "tokens=/dev/stdin"], None);
    // A hub that looked again would find no token in it any more.
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(Client::connect(hub.address).post("runner-1", line(1).as_bytes()).status, 204);
    for result in ["taken", "failed"] {
        let row = format!("vitals_hub_reloads_total{{file=\"tokens\",result=\"{result}\"}}");
        assert_eq!(metric(hub.address, &row), 0, "{result}");
    }
}

#[test]
fn metrics_can_have_a_port_of_their_own() {
    let hub = Hub::start(&["--metrics-listen", "127.0.0.1:0"]);
    let side: SocketAddr = hub.logged("message=metrics address=").parse().unwrap();
    assert_eq!(Client::connect(hub.address).get("/metrics").status, 404);
    assert_eq!(Client::connect(hub.address).post("runner-1", line(1).as_bytes()).status, 204);
    let answer = Client::connect(side).get("/metrics");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for row in [
        "vitals_hub_lines_total{result=\"out\"} 1",
        "vitals_hub_runners{fleet=\"linux\"} 1",
        "vitals_hub_queue_lines 0",
    ] {
        assert!(answer.body.contains(row), "{row} is not in {}", answer.body);
    }
    assert!(!answer.body.contains("runner-1"), "never a runner");
}

#[test]
fn sigterm_drains() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut hub = Hub::start_to(&["--metrics-listen", "127.0.0.1:0"], std::os::fd::OwnedFd::from(writer).into());
    let side: SocketAddr = hub.logged("message=metrics address=").parse().unwrap();
    let mut idle = Client::connect(hub.address);
    assert_eq!(idle.post("runner-1", line(1).as_bytes()).status, 204);
    // A request that is on its way: its body is not whole.
    let mut busy = Client::connect(hub.address);
    let body = line(2);
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
        crate::client::PATH,
        hub::token("runner-1"),
        body.len()
    );
    busy.say(head.as_bytes());
    busy.until_read();
    hub.signal(Signal::TERM);
    until("it is not ready", || (Client::connect(side).get("/readyz").status == 503).then_some(()));
    until("nobody new is let in", || TcpStream::connect(hub.address).is_err().then_some(()));
    assert!(idle.answer().is_none(), "who idles is let go");
    busy.say(body.as_bytes());
    let answer = busy.answer().unwrap();
    assert_eq!((answer.status, answer.header("connection")), (204, Some("close")));
    assert_eq!(hub.ended().code(), Some(0));
    let lines: Vec<String> = std::io::BufRead::lines(BufReader::new(reader)).map(Result::unwrap).collect();
    assert_eq!(seqs(&lines), [1, 2]);
}

#[test]
fn an_end_does_not_wait_for_a_stdout_that_hangs() {
    let (_reader, writer) = std::io::pipe().unwrap();
    let mut hub = Hub::start_to(&["--drain", "1s"], std::os::fd::OwnedFd::from(writer).into());
    let mut client = Client::connect(hub.address);
    let body: String = (0..60).map(|seq| line(seq).replace('\n', &format!(" pad={}\n", "x".repeat(3000)))).collect();
    assert_eq!(client.post("runner-1", body.as_bytes()).status, 503);
    hub.signal(Signal::TERM);
    assert_eq!(hub.ended().code(), Some(75), "to be told from a clean end");
}

#[test]
fn lines_that_are_given_back_while_it_drains_are_no_clean_end() {
    let dir = tempfile::tempdir().unwrap();
    let flags = ["--dir", dir.path().to_str().unwrap(), "--loki", "http://127.0.0.1:1", "--drain", "60s"];
    let mut hub = Hub::start(&flags);
    let body = line(1) + &line(2);
    assert_eq!(Client::connect(hub.address).post("runner-1", body.as_bytes()).status, 503);
    hub.signal(Signal::TERM);
    assert_eq!(hub.ended().code(), Some(75), "Loki has none of them");
    hub.logged("vitals-hub: lines on their way were not out");
    assert_eq!(hub.logged("message=ended in_time=true given_back="), "2");
}

/// A certificate for localhost, written as two files; and itself.
fn certificate(dir: &std::path::Path) -> String {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(dir.join("key"), made.signing_key.serialize_pem()).unwrap();
    fs::write(dir.join("cert"), made.cert.pem()).unwrap();
    made.cert.pem()
}

/// A connection to who has this certificate.
fn tls_stream(address: SocketAddr, certificate: &str) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let session = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    StreamOwned::new(session, socket)
}

/// Posts over TLS to who has this certificate; `None` when it is another.
fn post_tls(address: SocketAddr, certificate: &str) -> Option<Answer> {
    let mut stream = tls_stream(address, certificate);
    let body = line(1);
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
        crate::client::PATH,
        hub::token("runner-1"),
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).ok()?;
    read_answer(&mut BufReader::new(stream))
}

/// A head that does not end.
const HALF_A_HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: hub\r\nX-Slow: ";

#[test]
fn an_end_does_not_wait_for_who_has_not_asked() {
    let mut hub = Hub::start(&["--drain", "6s"]);
    let mut clients: Vec<Client> = (0..3).map(|_| Client::connect(hub.address)).collect();
    // The first says nothing; the second begins to ask; the third has asked, and begins anew.
    assert_eq!(clients[2].get("/healthz").status, 200);
    clients[1..].iter_mut().for_each(|client| assert!(client.say(HALF_A_HEAD)));
    until("all are taken", || (metric(hub.address, "vitals_hub_connections") >= 4).then_some(()));
    clients[1..].iter().for_each(Client::until_read);
    ends_in_time(&mut hub);
    assert!(clients.iter_mut().all(|client| client.answer().is_none()));
}

#[test]
fn an_end_does_not_wait_for_tls_without_a_request() {
    let dir = tempfile::tempdir().unwrap();
    let trusted = certificate(dir.path());
    let (cert, key) = (dir.path().join("cert"), dir.path().join("key"));
    let mut hub =
        Hub::start(&["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap(), "--drain", "6s"]);
    // The beginning of a ClientHello; a handshake and no more; and half a head behind one.
    let mut shaking = TcpStream::connect(hub.address).unwrap();
    shaking.write_all(&[0x16, 3, 1, 2, 0, 1]).unwrap();
    let mut shaken = tls_stream(hub.address, &trusted);
    while shaken.conn.is_handshaking() {
        shaken.conn.complete_io(&mut shaken.sock).unwrap();
    }
    let mut asking = tls_stream(hub.address, &trusted);
    asking.write_all(HALF_A_HEAD).unwrap();
    [&shaking, &shaken.sock, &asking.sock].into_iter().for_each(until_read);
    ends_in_time(&mut hub);
}

/// Within its time to drain, which is shorter than any deadline that a connection has.
fn ends_in_time(hub: &mut Hub) {
    hub.signal(Signal::TERM);
    assert_eq!(hub.ended().code(), Some(0));
}

#[test]
fn a_new_certificate_is_taken_and_a_broken_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let old = certificate(dir.path());
    let (cert, key) = (dir.path().join("cert"), dir.path().join("key"));
    let flags =
        ["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap(), "--metrics-listen", "127.0.0.1:0"];
    let hub = Hub::start(&flags);
    let side: SocketAddr = hub.logged("message=metrics address=").parse().unwrap();
    assert_eq!(post_tls(hub.address, &old).unwrap().status, 204);
    let mut plain = Client::connect(hub.address);
    plain.say(b"GET /healthz HTTP/1.1\r\nHost: hub\r\n\r\n");
    assert!(plain.answer().is_none(), "nothing is served in the clear");

    let new = certificate(dir.path());
    until("the new certificate", || post_tls(hub.address, &new));
    assert!(post_tls(hub.address, &old).is_none());
    fs::write(&cert, "half").unwrap();
    until("the broken one is told", || {
        (metric(side, "vitals_hub_reloads_total{file=\"tls\",result=\"failed\"}") >= 1).then_some(())
    });
    assert_eq!(post_tls(hub.address, &new).unwrap().status, 204);
    assert!(!hub.log.lock().unwrap().join("\n").contains("PRIVATE"));
}
