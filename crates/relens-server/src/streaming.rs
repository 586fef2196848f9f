//! Answers that are sent while they are made.

use std::convert::Infallible;
use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Bytes;
use hyper::body::Frame;
use tokio::sync::mpsc;

/// Parts that are made and not yet sent: who makes them waits for a client that is slow.
const PARTS_AHEAD: usize = 8;
/// Bytes of a part, so that small writes are sent together.
const PART: usize = 64 << 10;

/// A body whose parts come from another thread.
pub(crate) struct StreamedBody {
    parts: mpsc::Receiver<Bytes>,
}

/// Where the parts are put.
pub(crate) fn channel() -> (mpsc::Sender<Bytes>, StreamedBody) {
    let (sender, parts) = mpsc::channel(PARTS_AHEAD);
    (sender, StreamedBody { parts })
}

impl hyper::body::Body for StreamedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.parts.poll_recv(context).map(|part| part.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// Writes into a body, from a thread of its own. Fails once the client has gone.
pub(crate) struct BodyWriter {
    sender: mpsc::Sender<Bytes>,
    gathered: Vec<u8>,
}

impl BodyWriter {
    pub(crate) fn new(sender: mpsc::Sender<Bytes>) -> Self {
        Self { sender, gathered: Vec::with_capacity(PART) }
    }
}

impl Write for BodyWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= PART {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let part = Bytes::from(std::mem::replace(&mut self.gathered, Vec::with_capacity(PART)));
        self.sender.blocking_send(part).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
