//! A client that says just what it is told to.

use std::io::{BufReader, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::hub::token;
use crate::{PATIENCE, until_read};

pub(crate) const PATH: &str = "/api/internal/runners/vitals";

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A keep-alive connection.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// Says bytes; whether they were taken.
    pub(crate) fn say(&mut self, bytes: &[u8]) -> bool {
        self.stream.get_mut().write_all(bytes).is_ok()
    }

    /// Closes its half of the connection.
    pub(crate) fn says_no_more(&self) {
        self.stream.get_ref().shutdown(Shutdown::Write).unwrap();
    }

    /// Waits until the hub has read all of that.
    pub(crate) fn until_read(&self) {
        until_read(self.stream.get_ref());
    }

    /// Posts lines as this runner.
    pub(crate) fn post(&mut self, runner: &str, body: &[u8]) -> Answer {
        self.post_with(
            &format!("Authorization: Bearer {}\r\nContent-Type: text/plain; charset=utf-8\r\n", token(runner)),
            body,
        )
    }

    /// Posts a body below these headers.
    pub(crate) fn post_with(&mut self, headers: &str, body: &[u8]) -> Answer {
        let head = format!("POST {PATH} HTTP/1.1\r\nHost: hub\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
        self.say(&[head.as_bytes(), body].concat());
        self.answer().expect("an answer")
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.say(format!("GET {path} HTTP/1.1\r\nHost: hub\r\n\r\n").as_bytes());
        self.answer().expect("an answer")
    }

    /// The next answer; `None` when the connection was closed instead.
    pub(crate) fn answer(&mut self) -> Option<Answer> {
        read_answer(&mut self.stream)
    }
}

/// Reads one answer.
pub(crate) fn read_answer(stream: &mut impl std::io::BufRead) -> Option<Answer> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        match stream.read_line(&mut line) {
            Ok(0) | Err(_) => return None,
            Ok(_) if line == "\r\n" => break,
            Ok(_) => head.push(line.trim_end().to_owned()),
        }
    }
    let status = head.first()?.split(' ').nth(1)?.parse().unwrap();
    let headers: Vec<(String, String)> = head[1..]
        .iter()
        .map(|line| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).unwrap())
        .collect();
    let answer = Answer { status, headers, body: String::new() };
    let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Answer { body: String::from_utf8(body).unwrap(), ..answer })
}

/// One metric of the hub; 0 while it is not there.
pub(crate) fn metric(address: SocketAddr, row: &str) -> u64 {
    let text = Client::connect(address).get("/metrics").body;
    let value = text.lines().find_map(|line| line.strip_prefix(row)?.strip_prefix(' ')).unwrap_or("0");
    value.parse().unwrap()
}
