//! The body of an answer, as it comes in.
//!
//! A body of known length comes in pieces of up to 4 MiB, each read straight into a recycled buffer: pages arrive in one.

use std::io;
use std::time::Duration;

use azure_core::Bytes;
use bytes::{Buf as _, BufMut as _};
use pageferry_store::buffers::Buffers;
use tokio::io::AsyncReadExt as _;

use super::head::{HEAD_BYTES_MAX, Head};
use super::socket::Lane;

/// The longest piece: what one request reads at most (REST: Get Blob).
const PIECE_BYTES: usize = 4 << 20;

/// How much is read at once of a body of unknown length.
const READ_BYTES: usize = 64 << 10;

/// A body that is being read.
pub(super) struct Answer<Done> {
    lane: Option<Lane>,
    framing: Framing,
    keeps: bool,
    buffers: Buffers,
    patience: Duration,
    done: Option<Done>,
}

/// How a body ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Framing {
    /// After this many more bytes.
    Length(u64),
    /// In chunks, of the present one of which this much is left; `None` before the next one's size.
    Chunks(Option<u64>),
    /// With the connection.
    Close,
}

impl<Done: FnOnce(Lane)> Answer<Done> {
    /// The body that follows `head` on `lane`, which is handed to `done` once it can be used again.
    ///
    /// # Errors
    /// The head does not say where the body ends.
    pub(super) fn new(
        lane: Lane,
        head: &Head,
        buffers: Buffers,
        patience: Duration,
        done: Done,
    ) -> io::Result<Answer<Done>> {
        let framing = framing(head)?;
        let mut answer = Answer { lane: Some(lane), framing, keeps: head.keeps, buffers, patience, done: Some(done) };
        if framing == Framing::Length(0) {
            answer.finish();
        }
        Ok(answer)
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// The connection broke, or was closed before the end of the body, or stood still for as long as `patience`.
    pub(super) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.lane.is_none() {
            return Ok(None);
        }
        match self.framing {
            Framing::Length(left) => {
                let length = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
                let piece = self.exactly(length).await?;
                self.framing = Framing::Length(left - length as u64);
                if self.framing == Framing::Length(0) {
                    self.finish();
                }
                Ok(Some(piece))
            }
            Framing::Chunks(left) => self.next_chunk(left).await,
            Framing::Close => {
                let mut piece = self.received();
                if piece.is_empty() {
                    self.more().await?;
                    piece = self.received();
                }
                if piece.is_empty() {
                    self.lane = None;
                }
                Ok((!piece.is_empty()).then_some(piece))
            }
        }
    }

    /// Exactly `length` bytes, in a buffer of their own.
    async fn exactly(&mut self, length: usize) -> io::Result<Bytes> {
        let mut buffer = self.buffers.take(length);
        let Some(lane) = &mut self.lane else { return Ok(Bytes::new()) };
        let bytes = buffer.bytes_mut();
        let here = lane.received.len().min(length);
        bytes.extend_from_slice(&lane.received.split_to(here));
        while bytes.len() < length {
            let left = length - bytes.len();
            let mut room = bytes.limit(left);
            if patiently(self.patience, lane.socket.read_buf(&mut room)).await? == 0 {
                return Err(ended());
            }
        }
        Ok(buffer.freeze())
    }

    async fn next_chunk(&mut self, left: Option<u64>) -> io::Result<Option<Bytes>> {
        let mut left = left;
        loop {
            let Some(lane) = &mut self.lane else { return Ok(None) };
            match left {
                // The line break after a chunk belongs to it.
                Some(0) => {
                    if lane.received.len() < 2 {
                        self.need_more().await?;
                        continue;
                    }
                    if !lane.received.starts_with(b"\r\n") {
                        return Err(no_chunk());
                    }
                    lane.received.advance(2);
                    left = None;
                }
                Some(size) => {
                    if lane.received.is_empty() {
                        self.need_more().await?;
                        continue;
                    }
                    let here = usize::try_from(size).unwrap_or(usize::MAX).min(lane.received.len());
                    let piece = lane.received.split_to(here).freeze();
                    self.framing = Framing::Chunks(Some(size - here as u64));
                    return Ok(Some(piece));
                }
                None => match httparse::parse_chunk_size(&lane.received).map_err(|_| no_chunk())? {
                    httparse::Status::Partial => self.need_more().await?,
                    httparse::Status::Complete((line, 0)) => {
                        lane.received.advance(line);
                        return self.trailer().await;
                    }
                    httparse::Status::Complete((line, size)) => {
                        lane.received.advance(line);
                        left = Some(size);
                    }
                },
            }
        }
    }

    /// Passes over whatever fields follow the last chunk, up to an empty line.
    async fn trailer(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let Some(lane) = &mut self.lane else { return Ok(None) };
            match lane.received.windows(2).position(|pair| pair == b"\r\n") {
                Some(0) => {
                    lane.received.advance(2);
                    self.finish();
                    return Ok(None);
                }
                Some(end) => lane.received.advance(end + 2),
                None => self.need_more().await?,
            }
        }
    }

    fn received(&mut self) -> Bytes {
        self.lane.as_mut().map(|lane| lane.received.split().freeze()).unwrap_or_default()
    }

    /// Reads some more; tells how much.
    async fn more(&mut self) -> io::Result<usize> {
        let Some(lane) = &mut self.lane else { return Ok(0) };
        lane.received.reserve(READ_BYTES);
        let mut room = (&mut lane.received).limit(READ_BYTES);
        patiently(self.patience, lane.socket.read_buf(&mut room)).await
    }

    /// Reads some more of what cannot be over yet. What frames a body is short.
    async fn need_more(&mut self) -> io::Result<()> {
        if self.lane.as_ref().is_some_and(|lane| lane.received.len() > HEAD_BYTES_MAX) {
            return Err(no_chunk());
        }
        if self.more().await? == 0 { Err(ended()) } else { Ok(()) }
    }

    /// The body is over: the lane can be used again, unless either side has doubts.
    fn finish(&mut self) {
        let lane = self.lane.take().filter(|lane| self.keeps && lane.received.is_empty());
        if let (Some(lane), Some(done)) = (lane, self.done.take()) {
            done(lane);
        }
    }
}

fn framing(head: &Head) -> io::Result<Framing> {
    let bad =
        |why: &str| io::Error::new(io::ErrorKind::InvalidData, format!("no telling where the answer ends: {why}"));
    if matches!(head.status, 204 | 304) {
        return Ok(Framing::Length(0));
    }
    let mut encodings = head.fields.iter().filter(|(name, _)| name == "transfer-encoding");
    let mut lengths = head.fields.iter().filter(|(name, _)| name == "content-length");
    match (encodings.next(), lengths.next()) {
        (Some((_, value)), None) if value.eq_ignore_ascii_case("chunked") && encodings.next().is_none() => {
            Ok(Framing::Chunks(None))
        }
        (Some(_), _) => Err(bad("its transfer encoding is unknown")),
        (None, Some((_, value))) => {
            let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
            match value.parse() {
                Ok(length) if digits && lengths.all(|(_, other)| other == value) => Ok(Framing::Length(length)),
                _ => Err(bad("its length is no number")),
            }
        }
        (None, None) => Ok(Framing::Close),
    }
}

async fn patiently<T>(patience: Duration, wait: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let still = |_| io::Error::new(io::ErrorKind::TimedOut, format!("nothing arrived for {} s", patience.as_secs()));
    tokio::time::timeout(patience, wait).await.map_err(still)?
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the answer ended early")
}

fn no_chunk() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "what came is no chunk of an answer")
}
