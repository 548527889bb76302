//! Where lines go, each way with its own memory of what is out.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::auth::Sender;

pub mod dir;
pub mod loki;
mod queue;
pub mod stdout;

use dir::Dir;
use loki::Loki;
use stdout::Stdout;

/// What `recv` and the newline add to a line.
pub const RECV_BYTES: usize = " recv=2026-06-04T12:00:00.123Z\n".len();

/// A line that was taken and is on its way.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Whose it is.
    pub sender: Arc<Sender>,
    /// When it came in, by the hub's clock.
    pub received_at: SystemTime,
    /// `ts` of the line, by the guest's clock; `None` where that clock was unusable.
    pub at: Option<SystemTime>,
    /// The line with the hub's own `runner.name`, `runner.fleet`, `runner.env` behind `seq`, in place of whatever stood there;
    /// without `recv`, without a newline.
    pub line: String,
}

/// Not out; nothing of it may be acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck(pub String);

/// A way out.
#[derive(Debug)]
pub enum Out {
    /// The hub's own stdout: the Pod's log.
    Stdout(Stdout),
    /// Plain files by day and runner.
    Dir(Dir),
    /// Loki.
    Loki(Box<Loki>),
}

impl Out {
    /// What this way is called in metrics and logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stdout(_) => "stdout",
            Self::Dir(_) => "dir",
            Self::Loki(_) => "loki",
        }
    }

    /// Brings lines out, oldest first; all of them are of one runner. Takes as long as it takes: whoever must answer in
    /// time waits in time, but never drops this future, or nobody would know what of it is out.
    ///
    /// # Errors
    /// Says why they are not out: some may be nevertheless, so a repeat is possible, a loss is not.
    pub async fn put(&self, lines: &[Arc<Placed>]) -> Result<(), Stuck> {
        match self {
            Self::Stdout(stdout) => stdout.put(lines).await,
            Self::Dir(dir) => dir.put(lines).await,
            Self::Loki(loki) => loki.put(lines).await,
        }
    }

    /// Whether it is worth trying now: one that hangs is not.
    ///
    /// # Errors
    /// Says why not.
    pub fn health(&self) -> Result<(), Stuck> {
        match self {
            Self::Stdout(stdout) => stdout.health(),
            Self::Dir(dir) => dir.health(),
            Self::Loki(loki) => loki.health(),
        }
    }

    /// For how long it has been at one write that may block.
    #[must_use]
    pub fn busy_for(&self) -> Duration {
        match self {
            Self::Stdout(stdout) => stdout.busy_for(),
            Self::Dir(dir) => dir.busy_for(),
            // Each of its pushes has a deadline.
            Self::Loki(_) => Duration::ZERO,
        }
    }
}

impl Placed {
    /// The line in two parts, between which the hub's `recv` goes: up to and with `seq`, and the rest.
    ///
    /// The hub writes the beginning itself: tag, `ts`, `run` and `seq`, none of them quoted.
    #[must_use]
    pub fn around_recv(&self) -> (&str, &str) {
        let behind_seq = self.line.match_indices(' ').nth(3).map_or(self.line.len(), |(at, _)| at);
        self.line.split_at(behind_seq)
    }

    /// Appends the line as files have it: with `recv`, with a newline.
    pub fn write_to(&self, buf: &mut Vec<u8>) {
        let (head, rest) = self.around_recv();
        let recv = humantime::format_rfc3339_millis(self.received_at).to_string();
        for part in [head, " recv=", &recv, rest, "\n"] {
            buf.extend_from_slice(part.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recv_goes_behind_seq() {
        let sender = Arc::new(Sender { name: "a".to_owned(), fleet: None });
        let received_at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_780_574_400_123);
        for (line, written) in [
            (
                "T ts= run=k3x9 seq=4 runner.name=a x=1",
                "T ts= run=k3x9 seq=4 recv=2026-06-04T12:00:00.123Z runner.name=a x=1\n",
            ),
            ("T ts= run=k3x9 seq=4", "T ts= run=k3x9 seq=4 recv=2026-06-04T12:00:00.123Z\n"),
        ] {
            let placed = Placed { sender: Arc::clone(&sender), received_at, at: None, line: line.to_owned() };
            let mut buf = Vec::new();
            placed.write_to(&mut buf);
            assert_eq!(String::from_utf8(buf).unwrap(), written);
        }
    }
}
