//! A stream whose heads have to come in time, and whose answers have to be read in time.
//!
//! hyper has one time-out for a head and for the wait before it; here the clock starts with a head's first byte.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Waits for a head.
const IDLE: u8 = 0;
/// A head is coming.
const HEAD: u8 = 1;
/// A request is being served.
const SERVED: u8 = 2;
/// Time is over.
const OVER: u8 = 3;

/// Where a connection is.
#[derive(Clone, Debug)]
pub(super) struct Pacer {
    phase: Arc<AtomicU8>,
    has_asked: Arc<AtomicBool>,
    patience: Duration,
}

/// A stream that is watched.
#[derive(Debug)]
pub(super) struct Paced<S> {
    stream: S,
    pacer: Pacer,
    reading: Option<Pin<Box<Sleep>>>,
    writing: Option<Pin<Box<Sleep>>>,
}

impl Pacer {
    pub(super) fn new(patience: Duration) -> Self {
        Self { phase: Arc::new(AtomicU8::new(IDLE)), has_asked: Arc::default(), patience }
    }

    /// A whole head is there: from here on others look after the time.
    pub(super) fn head_is_read(&self) {
        self.phase.store(SERVED, Ordering::Relaxed);
        self.has_asked.store(true, Ordering::Relaxed);
    }

    /// Whether a whole head was ever there.
    pub(super) fn has_asked(&self) -> bool {
        self.has_asked.load(Ordering::Relaxed)
    }

    /// What comes next is another head.
    fn answer_begins(&self) {
        if !self.is_over() {
            self.phase.store(IDLE, Ordering::Relaxed);
        }
    }

    /// Whether it was too slow.
    pub(super) fn is_over(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == OVER
    }

    fn over<T>(&self) -> Poll<io::Result<T>> {
        self.phase.store(OVER, Ordering::Relaxed);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn sleep(&self) -> Pin<Box<Sleep>> {
        Box::pin(tokio::time::sleep_until(Instant::now() + self.patience))
    }
}

impl<S> Paced<S> {
    pub(super) fn new(stream: S, pacer: Pacer) -> Self {
        Self { stream, pacer, reading: None, writing: None }
    }

    /// Passes on what a write gave, unless it has waited for too long.
    fn written<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.writing = None;
            return written;
        }
        let pacer = &self.pacer;
        match self.writing.get_or_insert_with(|| pacer.sleep()).as_mut().poll(cx) {
            Poll::Ready(()) => pacer.over(),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.pacer.phase.load(Ordering::Relaxed) != HEAD {
            this.reading = None;
        }
        if let Some(reading) = &mut this.reading
            && reading.as_mut().poll(cx).is_ready()
        {
            return this.pacer.over();
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        let phase = &this.pacer.phase;
        let begins = phase.compare_exchange(IDLE, HEAD, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if begins && buf.filled().len() > before {
            this.reading = Some(this.pacer.sleep());
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.pacer.answer_begins();
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.pacer.answer_begins();
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.written(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.written(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn idling_is_free_and_a_head_has_its_time() {
        let (mut client, server) = tokio::io::duplex(64);
        let pacer = Pacer::new(PATIENCE);
        let mut server = Paced::new(server, pacer.clone());
        let mut byte = [0];
        let idle = tokio::time::timeout(3 * PATIENCE, server.read(&mut byte)).await;
        assert!(idle.is_err(), "it is waited for");
        client.write_all(b"G").await.unwrap();
        server.read_exact(&mut byte).await.unwrap();
        assert_eq!(server.read(&mut byte).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(pacer.is_over());
    }

    #[tokio::test]
    async fn a_request_that_is_served_has_other_deadlines() {
        let (mut client, server) = tokio::io::duplex(64);
        let pacer = Pacer::new(PATIENCE);
        let mut server = Paced::new(server, pacer.clone());
        let mut byte = [0];
        client.write_all(b"G").await.unwrap();
        server.read_exact(&mut byte).await.unwrap();
        pacer.head_is_read();
        assert!(tokio::time::timeout(3 * PATIENCE, server.read(&mut byte)).await.is_err());
        server.write_all(b"204").await.unwrap();
        assert!(tokio::time::timeout(3 * PATIENCE, server.read(&mut byte)).await.is_err());
        client.write_all(b"G").await.unwrap();
        server.read_exact(&mut byte).await.unwrap();
        assert_eq!(server.read(&mut byte).await.unwrap_err().kind(), io::ErrorKind::TimedOut, "the next head");
    }

    #[tokio::test]
    async fn an_answer_that_nobody_reads_ends_it() {
        let (_client, server) = tokio::io::duplex(4);
        let pacer = Pacer::new(PATIENCE);
        let error = Paced::new(server, pacer.clone()).write_all(b"too long").await.unwrap_err();
        assert_eq!((error.kind(), pacer.is_over()), (io::ErrorKind::TimedOut, true));
    }
}
