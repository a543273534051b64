//! The HTTP skin: bytes to requests, responses to bytes, and nothing else.

mod wire;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::faults::{Action, Break, Delivery};
use crate::http::wire::{Breaker, Reading, Wire};
use crate::request::{Payload, Request, parse_query};
use crate::response::{Body, Response};
use crate::service::Service;

/// The most a request body may hold: one page write.
const MAX_BODY: u64 = 4 << 20;

/// What hyper may hold of a connection; page writes come in large reads this way.
const READ_BUFFER: usize = 2048 << 10;

/// How long what was written may take to leave before a connection is broken.
const LAST_BYTES: Duration = Duration::from_millis(20);

/// How long a client may go on talking to a connection that was closed.
const LAST_WORDS: Duration = Duration::from_millis(500);

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
    let mut outages = service.outages();
    let (breaker, mut broken) = watch::channel(None);
    let handler = service_fn(move |incoming| {
        let (service, breaker) = (service.clone(), breaker.clone());
        async move { Ok::<_, Infallible>(answer(incoming, peer, &service, breaker).await) }
    });
    let mut served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .max_buf_size(READ_BUFFER)
        .serve_connection(TokioIo::new(stream), handler);
    let how = tokio::select! {
        outcome = &mut served => {
            if let Err(error) = outcome {
                tracing::debug!(%error, %peer, "a connection ended early");
            }
            return;
        }
        Ok(how) = broken.wait_for(Option::is_some) => how.unwrap_or(Break::Reset),
        Ok(()) = outages.changed() => Break::Reset,
    };
    // What was to be sent before the end may still be on its way out.
    if tokio::time::timeout(LAST_BYTES, &mut served).await.is_err() {
        sever(served.into_parts().io.into_inner(), how).await;
    }
}

/// Ends a connection in a certain way.
async fn sever(mut stream: TcpStream, how: Break) {
    if how == Break::Reset {
        let _ = stream.set_zero_linger();
        return;
    }
    // Closing a socket with something unread on it would reset the connection.
    let _ = stream.shutdown().await;
    let _ = tokio::time::timeout(LAST_WORDS, tokio::io::copy(&mut stream, &mut tokio::io::sink())).await;
}

/// Makes the fate of one request come true on its connection.
async fn answer(
    incoming: hyper::Request<Incoming>,
    peer: SocketAddr,
    service: &Service,
    breaker: Breaker,
) -> hyper::Response<Wire> {
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
    let fate = service.decide(&request);
    let reading = match fate.action {
        Some(Action::SlowRequest(pace)) => Reading::Slow(pace),
        Some(Action::BreakRequest(_)) => Reading::Half,
        _ => Reading::Whole,
    };
    match wire::collect(body, declared.unwrap_or(0), reading).await {
        Some(bytes) => request.body = Payload::new(bytes),
        None => return respond(service.refuse(&request, "InvalidInput").with("connection", "close"), &request.method),
    }
    let method = request.method.clone();
    let slow_request = matches!(reading, Reading::Slow(_));
    match service.carry_out(request, fate).await {
        Delivery::Answer(response) => respond(response, &method),
        // It was the request that was to be slow.
        Delivery::Paced(response, _) if slow_request => respond(response, &method),
        Delivery::Paced(response, pace) => {
            tokio::time::sleep(Duration::from_millis(pace.first)).await;
            respond(response, &method).map(|wire| wire.paced(pace))
        }
        Delivery::Cut { response, sent, how } => respond(response, &method).map(|wire| wire.cut(sent, how, breaker)),
        Delivery::Lost(how) => {
            if how != Break::Hang {
                breaker.send_replace(Some(how));
            }
            std::future::pending().await
        }
    }
}

fn respond(response: Response, method: &str) -> hyper::Response<Wire> {
    let sized = response.get("content-length").is_some() || response.status == 304;
    let body = if method == "HEAD" { Body::default() } else { response.body };
    let mut out = hyper::Response::new(Wire::new(body, sized));
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
