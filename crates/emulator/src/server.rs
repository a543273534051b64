//! Starting and stopping the service on a socket.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::DEV_ACCOUNT;
use crate::http;
use crate::model::config::Config;
use crate::service::{Clock, Service, SystemClock};

/// A page-blob service behind a socket.
#[derive(Debug)]
pub struct Emulator;

/// How to start an [`Emulator`].
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where to keep the state; without a directory it lives in memory.
    pub data_dir: Option<PathBuf>,
    /// Whether a change is on the disk before it is acknowledged, rather than with the operating system.
    pub sync: bool,
    /// Whether other machines may reach it. Its key is public, so they may by default not.
    pub allow_remote: bool,
    /// The service itself.
    pub config: Config,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
}

/// A service that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    service: Service,
    account: String,
    stop: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Emulator {
    /// Starts a service on the current tokio runtime.
    pub async fn start(options: Options) -> io::Result<Running> {
        if !options.listen.ip().is_loopback() && !options.allow_remote {
            let what = format!("refusing to listen on {}: the account key is public", options.listen);
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
        }
        let accounts = &options.config.accounts;
        let account = accounts.contains_key(DEV_ACCOUNT).then_some(DEV_ACCOUNT);
        let account = account.or(accounts.keys().next().map(String::as_str)).unwrap_or(DEV_ACCOUNT).to_owned();
        let service = match &options.data_dir {
            None => Service::new(options.config, options.clock),
            Some(directory) => Service::open(options.config, options.clock, directory, options.sync)?,
        };
        let listener = TcpListener::bind(options.listen).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(());
        let task = tokio::spawn(http::serve(listener, service.clone(), stopped));
        Ok(Running { address, service, account, stop, task })
    }
}

impl Running {
    /// The endpoint of the first account, the development account if there is one, in path style.
    pub fn url(&self) -> String {
        format!("http://{}/{}", self.address, self.account)
    }

    /// Where the service listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The service itself, for requests that need no socket.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// Closes the socket and every connection, and waits until that is done.
    pub async fn stop(mut self) {
        let _ = self.stop.send(());
        let _ = (&mut self.task).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            data_dir: None,
            sync: false,
            allow_remote: false,
            config: Config::default(),
            clock: Arc::new(SystemClock),
        }
    }
}
