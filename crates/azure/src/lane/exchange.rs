//! One request and the head of its answer.
//!
//! A service may answer before it has read the request, to refuse it, and then read no more of it. So while there is no
//! room to send, arrivals are looked at; once an answer has begun, sending ends.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use azure_core::Bytes;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::head::{Head, answer};
use super::socket::Lane;

/// How much is read at once while the head is awaited.
const READ_BYTES: usize = 8 << 10;

/// Sends `head` and `body` on `lane` and returns the head of the answer. What has arrived of its body is in the lane.
///
/// # Errors
/// The connection broke, was closed, stood still for as long as `patience`, or what came is no answer. The lane is then of
/// no use any more.
pub(super) async fn exchange(lane: &mut Lane, head: &[u8], body: &Bytes, patience: Duration) -> io::Result<Head> {
    let length = head.len() + body.len();
    let mut sending = Sending { sent: 0, flushed: false, failed: None };
    loop {
        let step = std::future::poll_fn(|cx| sending.poll(cx, lane, head, body));
        let still = |_| io::Error::new(io::ErrorKind::TimedOut, format!("nothing moved for {} s", patience.as_secs()));
        if tokio::time::timeout(patience, step).await.map_err(still)?? == Step::Sent {
            continue;
        }
        let Some((mut head, length_of_head)) = answer(&lane.received)? else { continue };
        let _ = lane.received.split_to(length_of_head);
        let early = sending.sent < length || !sending.flushed;
        if early && (200..300).contains(&head.status) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it was answered before it was asked"));
        }
        head.keeps &= !early;
        return Ok(head);
    }
}

struct Sending {
    sent: usize,
    flushed: bool,
    failed: Option<io::Error>,
}

#[derive(PartialEq, Eq)]
enum Step {
    Sent,
    Received,
}

impl Sending {
    /// Sends some more, or receives some.
    fn poll(&mut self, cx: &mut Context<'_>, lane: &mut Lane, head: &[u8], body: &[u8]) -> Poll<io::Result<Step>> {
        // An answer that has begun is an answer, whatever was still to be said.
        if self.failed.is_none() && lane.received.is_empty() && !self.flushed {
            let socket = Pin::new(&mut lane.socket);
            let sent = if self.sent < head.len() + body.len() {
                let head_left = head.get(self.sent..).unwrap_or_default();
                let body_left = body.get(self.sent.saturating_sub(head.len())..).unwrap_or_default();
                socket.poll_write_vectored(cx, &[IoSlice::new(head_left), IoSlice::new(body_left)])
            } else {
                socket.poll_flush(cx).map_ok(|()| {
                    self.flushed = true;
                    0
                })
            };
            match sent {
                Poll::Ready(Ok(0)) if !self.flushed => self.failed = Some(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(sent)) => {
                    self.sent += sent;
                    return Poll::Ready(Ok(Step::Sent));
                }
                // Whoever refuses a request and closes may have said why.
                Poll::Ready(Err(error)) => self.failed = Some(error),
                Poll::Pending => {}
            }
        }
        let mut room = [0; READ_BYTES];
        let mut room = ReadBuf::new(&mut room);
        match Pin::new(&mut lane.socket).poll_read(cx, &mut room) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) if !room.filled().is_empty() => {
                lane.received.extend_from_slice(room.filled());
                Poll::Ready(Ok(Step::Received))
            }
            Poll::Ready(Ok(())) => {
                let closed = || io::Error::new(io::ErrorKind::UnexpectedEof, "closed before it was answered");
                Poll::Ready(Err(self.failed.take().unwrap_or_else(closed)))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.failed.take().unwrap_or(error))),
        }
    }
}
