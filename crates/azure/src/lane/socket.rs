//! A connection, plain or under TLS, and how one is made.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use azure_core::http::Url;
use bytes::BytesMut;
use futures::FutureExt as _;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use rustls_platform_verifier::ConfigVerifierExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::transport::{CONNECT_TIMEOUT, install_tls};

/// Where a connection leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Origin {
    tls: bool,
    host: String,
    port: u16,
}

/// Makes connections.
pub(super) struct Dial(TlsConnector);

/// One connection.
pub(super) struct Lane {
    origin: Origin,
    pub(super) socket: Socket,
    /// What has arrived and is not yet used.
    pub(super) received: BytesMut,
}

/// What carries bytes.
pub(super) enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Origin {
    /// Where requests for `url` go; nowhere unless it is http or https.
    pub(super) fn of(url: &Url) -> Option<Origin> {
        let tls = match url.scheme() {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        // An address of version 6 is in brackets in a URL, and nowhere else.
        let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
        Some(Origin { tls, host, port: url.port_or_known_default()? })
    }
}

impl Dial {
    /// Trusts whom this machine trusts.
    pub(super) fn new() -> Result<Dial, rustls::Error> {
        install_tls();
        let mut config = ClientConfig::with_platform_verifier()?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Dial(TlsConnector::from(Arc::new(config))))
    }

    /// A new connection to `origin`.
    pub(super) async fn dial(&self, origin: &Origin) -> io::Result<Lane> {
        let dialled = async {
            let stream = TcpStream::connect((origin.host.as_str(), origin.port)).await?;
            stream.set_nodelay(true)?;
            if !origin.tls {
                return Ok(Socket::Plain(stream));
            }
            let name = ServerName::try_from(origin.host.clone())
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
            Ok::<_, io::Error>(Socket::Tls(Box::new(self.0.connect(name, stream).await?)))
        };
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "the connection was not made in time");
        let socket = tokio::time::timeout(CONNECT_TIMEOUT, dialled).await.map_err(late)??;
        Ok(Lane { origin: origin.clone(), socket, received: BytesMut::new() })
    }
}

impl Lane {
    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether it is open and nothing has arrived that nobody asked for.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.received.is_empty() && self.socket.read(&mut [0]).now_or_never().is_none()
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Socket::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Socket::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Socket::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Socket::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl std::fmt::Debug for Dial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dial")
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane").field("origin", &self.origin).finish_non_exhaustive()
    }
}
