//! Bodies on their way in and out, as fast, as slow and as far as they are meant to go.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming, SizeHint};
use tokio::sync::watch;
use tokio::time::Sleep;

use crate::faults::{Break, Pace};
use crate::response::Body;

/// Where a connection is told to break.
pub(super) type Breaker = watch::Sender<Option<Break>>;

/// How the body of a request is read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reading {
    Whole,
    /// No further than its middle.
    Half,
    Slow(Pace),
}

/// A body on its way out, piece by piece as the page table has it.
#[derive(Debug)]
pub(super) struct Wire {
    body: Body,
    /// What was taken from the body and not yet sent.
    piece: Bytes,
    sized: bool,
    pace: Option<Pace>,
    pause: Option<Pin<Box<Sleep>>>,
    end: Option<(u64, Break, Breaker)>,
}

/// The whole body in one buffer; `None` when it ends early or is longer than declared.
pub(super) async fn collect(mut body: Incoming, length: u64, reading: Reading) -> Option<Bytes> {
    let length = usize::try_from(length).ok()?;
    let mut buffer = Vec::new();
    if length > 0 {
        buffer.reserve_exact(length);
    }
    let mut unpaused = 0;
    if let Reading::Slow(pace) = reading {
        tokio::time::sleep(Duration::from_millis(pace.first)).await;
    }
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        if buffer.len() + data.len() > length {
            return None;
        }
        buffer.extend_from_slice(&data);
        match reading {
            Reading::Half if buffer.len() * 2 >= length => return Some(Bytes::new()),
            Reading::Slow(pace) => {
                unpaused += data.len() as u64;
                let pauses = unpaused / pace.bytes.max(1);
                unpaused %= pace.bytes.max(1);
                tokio::time::sleep(Duration::from_millis(pace.pause.saturating_mul(pauses))).await;
            }
            _ => {}
        }
    }
    (buffer.len() == length).then(|| buffer.into())
}

impl Wire {
    pub(super) fn new(body: Body, sized: bool) -> Self {
        Self { body, piece: Bytes::new(), sized, pace: None, pause: None, end: None }
    }

    /// The same body at this pace.
    pub(super) fn paced(mut self, pace: Pace) -> Self {
        self.pace = Some(pace);
        self
    }

    /// The same body up to here.
    pub(super) fn cut(mut self, sent: u64, how: Break, breaker: Breaker) -> Self {
        self.end = Some((sent, how, breaker));
        self
    }

    fn next(&mut self) -> Option<Bytes> {
        if self.piece.is_empty() {
            self.piece = self.body.next()?;
        }
        let paced = self.pace.map_or(u64::MAX, |pace| pace.bytes.max(1));
        let left = self.end.as_ref().map_or(u64::MAX, |(left, ..)| *left);
        let most = usize::try_from(paced.min(left)).unwrap_or(usize::MAX);
        let out = self.piece.split_to(most.min(self.piece.len()));
        if let Some((left, ..)) = &mut self.end {
            *left = left.saturating_sub(out.len() as u64);
        }
        Some(out)
    }
}

impl hyper::body::Body for Wire {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        if let Some((0, how, breaker)) = &self.end {
            // Whoever holds the connection sees this once what came before has been written.
            if *how != Break::Hang {
                breaker.send_replace(Some(*how));
            }
            return Poll::Pending;
        }
        let piece = self.next();
        if let Some(pace) = self.pace.filter(|pace| piece.is_some() && pace.pause > 0) {
            self.pause = Some(Box::pin(tokio::time::sleep(Duration::from_millis(pace.pause))));
        }
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.end.is_none() && self.body.is_empty() && self.piece.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match self.sized {
            true => SizeHint::with_exact(self.body.len() + self.piece.len() as u64),
            false => SizeHint::default(),
        }
    }
}
