//! TLS on both sides, with an authority of the bench's own.
//!
//! Whom a client trusts is read from `SSL_CERT_FILE` when the process starts, so the bench starts itself a second time with
//! that set. The service gets a way in that ends TLS before the emulator: that costs the service, and nobody else.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::raw::Socket;

/// Where the certificates are; set in the second start.
const CERTIFICATES: &str = "PAGEFERRY_BENCH_CERTIFICATES";

/// Where this process's certificates are, if it was started with any.
pub fn certificates() -> Option<PathBuf> {
    std::env::var_os(CERTIFICATES).map(PathBuf::from)
}

/// Unless it has some: makes certificates and starts this program again with them, and does not return.
///
/// # Panics
/// Where they cannot be made.
pub fn with_certificates() {
    if certificates().is_some() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    make(directory.path());
    let program = std::env::current_exe().expect("this program has a name");
    let mut again = Command::new(program);
    again.args(std::env::args_os().skip(1));
    again.env(CERTIFICATES, directory.path()).env("SSL_CERT_FILE", directory.path().join("authority.pem"));
    let ended = again.status().expect("it starts again");
    drop(directory);
    std::process::exit(ended.code().unwrap_or(1));
}

/// Ends TLS for whoever comes, and passes everything on to `plain`.
///
/// # Panics
/// Where the certificates are no good.
pub async fn terminate(directory: &Path, plain: SocketAddr) -> SocketAddr {
    install();
    let chain = CertificateDer::pem_file_iter(directory.join("service.pem")).expect("a certificate");
    let chain = chain.collect::<Result<Vec<_>, _>>().expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(directory.join("service.key")).expect("a key");
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).expect("a configuration");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // Whatever goes wrong here is seen by the client.
                let _ = client.set_nodelay(true);
                let (Ok(mut client), Ok(mut service)) =
                    (acceptor.accept(client).await, tokio::net::TcpStream::connect(plain).await)
                else {
                    return;
                };
                let _ = service.set_nodelay(true);
                let _ = tokio::io::copy_bidirectional_with_sizes(&mut client, &mut service, 256 << 10, 256 << 10).await;
            });
        }
    });
    address
}

/// A connection to `host` under TLS.
///
/// # Panics
/// Where there is none.
pub fn secure(host: &str, directory: &Path) -> Box<dyn Socket> {
    install();
    let mut trusted = RootCertStore::empty();
    for authority in CertificateDer::pem_file_iter(directory.join("authority.pem")).expect("a certificate") {
        trusted.add(authority.expect("a certificate")).expect("an authority");
    }
    let config = ClientConfig::builder().with_root_certificates(trusted).with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").expect("an address");
    let session = ClientConnection::new(Arc::new(config), name).expect("a session");
    let socket = TcpStream::connect(host).expect("a connection");
    socket.set_nodelay(true).expect("a socket option");
    Box::new(StreamOwned::new(session, socket))
}

fn make(directory: &Path) {
    let authority_key = rcgen::KeyPair::generate().expect("a key");
    let mut authority = rcgen::CertificateParams::new(Vec::new()).expect("no names");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_certificate = authority.self_signed(&authority_key).expect("a certificate");
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().expect("a key");
    let service = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
    let certificate = service.signed_by(&key, &issuer).expect("a certificate");
    for (name, text) in [
        ("authority.pem", authority_certificate.pem()),
        ("service.pem", certificate.pem()),
        ("service.key", key.serialize_pem()),
    ] {
        std::fs::write(directory.join(name), text).expect("a file");
    }
}

fn install() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
