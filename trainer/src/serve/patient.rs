//! A connection whose client must take each answer within a time limit.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// A stream whose writes fail if the client does not take an answer in time. The limit covers the
/// whole answer, so that a client cannot extend it by taking single bytes.
pub struct Patient {
    stream: Arc<TcpStream>,
    time: Duration,
    /// The time limit. It starts at the first write that has to wait and ends when all is written.
    until: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    /// Wraps a stream. The client has `time` to take an answer.
    pub fn new(stream: Arc<TcpStream>, time: Duration) -> Self {
        Self { stream, time, until: None }
    }

    /// Calls `write` once the system can take bytes. Fails with `TimedOut` when the time is over.
    fn poll_write_by(
        &mut self,
        cx: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        while let Poll::Ready(is_ready) = self.stream.poll_write_ready(cx) {
            match is_ready.and_then(|()| write(&self.stream)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
        let time = self.time;
        ready!(self.until.get_or_insert_with(|| Box::pin(sleep(time))).as_mut().poll(cx));
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Patient {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            let room = buffer.initialize_unfilled();
            let (most, mut length) = (room.len(), 0);
            let read = self.stream.try_io(Interest::READABLE, || {
                length = read(&self.stream, room)?;
                // The socket is empty: the next read waits without asking the system again.
                if (1..most).contains(&length) { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match read {
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Poll::Ready(Err(error)),
                Err(_) if length == 0 => {}
                _ => {
                    buffer.advance(length);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

#[cfg(unix)]
fn read(stream: &TcpStream, room: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::io::read(stream, room)?)
}

#[cfg(not(unix))]
fn read(stream: &TcpStream, room: &mut [u8]) -> io::Result<usize> {
    stream.try_read(room)
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_by(cx, |stream| stream.try_write(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_by(cx, |stream| stream.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// hyper flushes when it has written everything. The system needs no flush.
    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.until = None;
        Poll::Ready(Ok(()))
    }

    /// Does nothing: the stream closes when it is dropped, right after this.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
