//! A stand-in dispatcher on the loopback: answers as a test says, keeps what it was asked, and how many asked at once.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Poll {
    pub(crate) line: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    status: u16,
    headers: String,
    body: String,
    /// What it claims of the body's length, where that is a lie.
    length: Option<usize>,
}

/// A dispatcher until the test ends.
pub(crate) struct Dispatcher {
    address: SocketAddr,
    polls: Arc<Mutex<Vec<Poll>>>,
    most_at_once: Arc<AtomicUsize>,
}

impl Answer {
    pub(crate) fn of(status: u16) -> Self {
        Self { status, headers: String::new(), body: String::new(), length: None }
    }

    /// None: whoever asked gives up.
    pub(crate) fn never() -> Self {
        Self::of(0)
    }

    pub(crate) fn job(body: &str) -> Self {
        Self { body: body.to_owned(), ..Self::of(200) }
    }

    pub(crate) fn header(mut self, line: &str) -> Self {
        self.headers += &format!("{line}\r\n");
        self
    }

    pub(crate) fn cut(mut self) -> Self {
        self.length = Some(self.body.len() + 10);
        self
    }
}

impl Dispatcher {
    /// `answer` gets the request and how many came before it.
    pub(crate) fn new(answer: impl Fn(&Poll, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (polls, most_at_once) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let (kept, most, under_way) = (Arc::clone(&polls), Arc::clone(&most_at_once), Arc::new(AtomicUsize::new(0)));
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (kept, most, answer) = (Arc::clone(&kept), Arc::clone(&most), Arc::clone(&answer));
                let under_way = Arc::clone(&under_way);
                thread::spawn(move || {
                    most.fetch_max(under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let mut stream = BufReader::new(stream);
                    let text = hear(&mut stream, &kept, &*answer);
                    // Before the answer is out: the next poll may follow at once.
                    under_way.fetch_sub(1, Ordering::SeqCst);
                    // Whoever asked may be gone.
                    let _ = stream.get_mut().write_all(text.unwrap_or_default().as_bytes());
                });
            }
        });
        Self { address, polls, most_at_once }
    }

    /// These answers, and the last of them from then on.
    pub(crate) fn of(answers: Vec<Answer>) -> Self {
        Self::new(move |_, before| answers[before.min(answers.len() - 1)].clone())
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/api/internal/runners/dispatch", self.address)
    }

    pub(crate) fn polls(&self) -> Vec<Poll> {
        self.polls.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.polls.lock().unwrap().len()
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        let most = self.most_at_once.load(Ordering::SeqCst);
        assert!(most <= 1 || thread::panicking(), "{most} polls at once");
    }
}

/// Keeps the poll and gives the answer's text, or none once whoever asked has hung up.
fn hear(
    stream: &mut BufReader<TcpStream>,
    kept: &Mutex<Vec<Poll>>,
    answer: &dyn Fn(&Poll, usize) -> Answer,
) -> Option<String> {
    let mut line = String::new();
    if stream.read_line(&mut line).unwrap_or(0) == 0 {
        return None;
    }
    let mut headers = BTreeMap::new();
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).unwrap();
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers.get("content-length").map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).unwrap();
    let poll = Poll { line: line.trim_end().to_owned(), headers, body: String::from_utf8(body).unwrap() };
    let before = {
        let mut kept = kept.lock().unwrap();
        kept.push(poll.clone());
        kept.len() - 1
    };
    let Answer { status, headers, body, length } = answer(&poll, before);
    if status == 0 {
        let _ = stream.read_to_end(&mut Vec::new());
        return None;
    }
    let length =
        if status == 204 { String::new() } else { format!("Content-Length: {}\r\n", length.unwrap_or(body.len())) };
    Some(format!("HTTP/1.1 {status} X\r\n{headers}{length}Connection: close\r\n\r\n{body}"))
}
