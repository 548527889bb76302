//! A server on the loopback that does what a test says, and keeps what it was sent.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use runner_vitals::line::Line;

use crate::probe::PATIENCE;

/// What came in a request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: BTreeMap<String, String>,
    /// As it came.
    pub(crate) body: Vec<u8>,
    pub(crate) at: Instant,
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

/// A server until the test ends: its threads wait for connections that never come.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    requests: Receiver<Request>,
    pub(crate) connections: Arc<AtomicUsize>,
}

impl Reply {
    pub(crate) fn of(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: String::new() }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, body: &str) -> Self {
        self.body = body.to_owned();
        self
    }

    fn write(&self, to: &mut dyn Write, is_head: bool) -> std::io::Result<()> {
        let mut text = format!("HTTP/1.1 {} X\r\n", self.status);
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        if self.status != 204 {
            text += &format!("content-length: {}\r\n", self.body.len());
        }
        text += "\r\n";
        if !is_head {
            text += &self.body;
        }
        to.write_all(text.as_bytes())
    }
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The body, unpacked.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        match self.header("content-encoding") {
            Some("gzip") => _ = flate2::read::GzDecoder::new(&self.body[..]).read_to_string(&mut text).unwrap(),
            None => text = String::from_utf8(self.body.clone()).unwrap(),
            Some(other) => panic!("packed as {other}"),
        }
        text
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let text = self.text();
        assert!(text.ends_with('\n'), "{text}");
        text.lines().map(str::to_owned).collect()
    }

    pub(crate) fn seqs(&self) -> Vec<u64> {
        self.lines().iter().map(|line| seq_of(line)).collect()
    }
}

pub(crate) fn seq_of(line: &str) -> u64 {
    Line::decode(line).unwrap_or_else(|error| panic!("{error}: {line}")).seq
}

impl Server {
    /// A server that answers each request as `reply` says; it gets the request and how many came before it.
    pub(crate) fn start(reply: impl FnMut(&Request, usize) -> Reply + Send + 'static) -> Self {
        Self::through(Box::new, reply)
    }

    /// The same through whatever `wrap` makes of a connection: TLS.
    pub(crate) fn through<S: Read + Write>(
        wrap: impl Fn(TcpStream) -> S + Send + Sync + 'static,
        reply: impl FnMut(&Request, usize) -> Reply + Send + 'static,
    ) -> Self {
        let (sender, requests) = channel();
        let reply = Arc::new(Mutex::new((0, reply)));
        let (address, connections) = listen(move |stream| {
            let stream = BufReader::new(wrap(stream));
            let _ = talk(stream, &sender, |request| {
                let mut reply = reply.lock().unwrap();
                reply.0 += 1;
                let before = reply.0 - 1;
                (reply.1)(request, before)
            });
        });
        Self { address, requests, connections }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/api/internal/runners/vitals", self.address)
    }

    pub(crate) fn next(&self) -> Request {
        self.requests.recv_timeout(PATIENCE).expect("a request in time")
    }

    /// The next one, if it comes so soon.
    pub(crate) fn next_within(&self, time: Duration) -> Option<Request> {
        self.requests.recv_timeout(time).ok()
    }

    /// What comes until nothing has come for so long.
    pub(crate) fn rest(&self, silence: Duration) -> Vec<Request> {
        std::iter::from_fn(|| self.requests.recv_timeout(silence).ok()).collect()
    }
}

/// Has `serve` do what it likes with each connection, each on a thread of its own.
pub(crate) fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    std::thread::spawn(move || {
        let serve = Arc::new(serve);
        for stream in listener.incoming().map_while(Result::ok) {
            counted.fetch_add(1, Ordering::SeqCst);
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    (address, connections)
}

/// Reads requests from a connection and answers them, until it ends.
fn talk<S: Read + Write>(
    mut stream: BufReader<S>,
    sender: &Sender<Request>,
    mut reply: impl FnMut(&Request) -> Reply,
) -> std::io::Result<()> {
    while let Some(request) = read_request(&mut stream)? {
        let reply = reply(&request);
        let is_head = request.method == "HEAD";
        // Whoever waits for it sees it before the answer is out.
        let _ = sender.send(request);
        reply.write(stream.get_mut(), is_head)?;
        stream.get_mut().flush()?;
    }
    Ok(())
}

pub(crate) fn read_request<S: Read>(stream: &mut BufReader<S>) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let [method, target] = [&words[0], &words[1]].map(Clone::clone);
    Ok(Some(Request { method, target, headers, body, at: Instant::now() }))
}
