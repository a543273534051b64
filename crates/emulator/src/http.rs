//! The HTTP skin: bytes to requests, responses to bytes, and nothing else.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::header::{HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::request::{Payload, Request, parse_query};
use crate::response::{Body, Response};
use crate::service::Service;

/// The most a request body may hold: one page write.
const MAX_BODY: u64 = 4 << 20;

/// What hyper may hold of a connection; page writes come in large reads this way.
const READ_BUFFER: usize = 2048 << 10;

/// Accepts connections until `stop` changes or its sender is gone, then closes them all; so does dropping the future.
pub(crate) async fn serve(listener: TcpListener, service: Service, mut stop: watch::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = stop.changed() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => drop(connections.spawn(connection(stream, peer, service.clone()))),
                Err(error) => {
                    // Running out of descriptors is the usual cause, and passes when connections close.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    // Connections hold the service, and with it the data directory, until they are really gone.
    connections.shutdown().await;
}

async fn connection(stream: TcpStream, peer: SocketAddr, service: Service) {
    let _ = stream.set_nodelay(true);
    let handler = service_fn(move |incoming| {
        let service = service.clone();
        async move { Ok::<_, Infallible>(answer(incoming, peer, &service).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .max_buf_size(READ_BUFFER)
        .serve_connection(TokioIo::new(stream), handler)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, %peer, "a connection ended early");
    }
}

async fn answer(incoming: hyper::Request<Incoming>, peer: SocketAddr, service: &Service) -> hyper::Response<Wire> {
    let (parts, body) = incoming.into_parts();
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut request = Request {
        method: parts.method.as_str().to_owned(),
        path: parts.uri.path().to_owned(),
        query: parse_query(parts.uri.query().unwrap_or_default()),
        headers: parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect(),
        body: Payload::default(),
        client: Some(peer.ip()),
    };
    let declared = request.get("content-length").and_then(|length| length.parse::<u64>().ok());
    let refusal = match declared {
        None if matches!(request.method.as_str(), "PUT" | "POST") => Some("MissingContentLengthHeader"),
        Some(length) if length > MAX_BODY => Some("RequestBodyTooLarge"),
        _ => None,
    };
    if let Some(code) = refusal {
        // The body was not read, so nothing more can be understood on this connection.
        return respond(service.refuse(&request, code).with("connection", "close"), &request.method);
    }
    match collect(body, declared.unwrap_or(0)).await {
        Some(bytes) => request.body = Payload::new(bytes),
        None => return respond(service.refuse(&request, "InvalidInput").with("connection", "close"), &request.method),
    }
    let method = request.method.clone();
    let response = service.handle(request).await;
    respond(response, &method)
}

/// The whole body in one buffer; `None` when it ends early or is longer than declared.
async fn collect(mut body: Incoming, length: u64) -> Option<Bytes> {
    let length = usize::try_from(length).ok()?;
    let mut buffer = Vec::new();
    if length > 0 {
        buffer.reserve_exact(length);
    }
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        if buffer.len() + data.len() > length {
            return None;
        }
        buffer.extend_from_slice(&data);
    }
    (buffer.len() == length).then(|| buffer.into())
}

fn respond(response: Response, method: &str) -> hyper::Response<Wire> {
    let mut out = hyper::Response::new(Wire {
        sized: response.get("content-length").is_some() || response.status == 304,
        body: if method == "HEAD" { Body::default() } else { response.body },
    });
    *out.status_mut() = hyper::StatusCode::from_u16(response.status).unwrap_or_default();
    for (name, value) in &response.headers {
        // A stored value that HTTP cannot carry is left out rather than sent broken.
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_bytes())) {
            out.headers_mut().append(name, value);
        }
    }
    out
}

/// A body on its way out, piece by piece as the page table has it.
#[derive(Debug)]
struct Wire {
    body: Body,
    sized: bool,
}

impl hyper::body::Body for Wire {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.body.next().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        if self.sized { SizeHint::with_exact(self.body.len()) } else { SizeHint::default() }
    }
}
