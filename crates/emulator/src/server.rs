//! Starting and stopping the service on a socket.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::DEV_ACCOUNT;
use crate::admin::{self, Admin};
use crate::clock::{Clock, ShiftedClock, SystemClock};
use crate::http;
use crate::model::config::Config;
use crate::service::Service;

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
    /// Where to listen for orders to make things go wrong: a loopback address, port 0 taking a free one. Off by
    /// default, because it asks for no credentials. With it the clock can be moved.
    pub admin: Option<SocketAddr>,
}

/// A service that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    service: Service,
    account: String,
    stop: watch::Sender<()>,
    task: JoinHandle<()>,
    admin: Option<(SocketAddr, JoinHandle<()>)>,
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
        if let Some(admin) = options.admin.filter(|admin| !admin.ip().is_loopback()) {
            let what = format!("refusing to take orders on {admin}: anybody could give them");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
        }
        let shifted = options.admin.map(|_| Arc::new(ShiftedClock::over(Arc::clone(&options.clock))));
        let clock = shifted.clone().map_or(options.clock, |clock| clock as Arc<dyn Clock>);
        let service = match &options.data_dir {
            None => Service::new(options.config, clock),
            Some(directory) => Service::open(options.config, clock, directory, options.sync)?,
        };
        let listener = TcpListener::bind(options.listen).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(());
        let admin = match (options.admin, shifted) {
            (Some(listen), Some(clock)) => {
                let listener = TcpListener::bind(listen).await?;
                let address = listener.local_addr()?;
                let admin = Admin { service: service.clone(), clock, account: account.clone() };
                Some((address, tokio::spawn(admin::serve(listener, admin, stopped.clone()))))
            }
            _ => None,
        };
        let task = tokio::spawn(http::serve(listener, service.clone(), stopped));
        Ok(Running { address, service, account, stop, task, admin })
    }
}

impl Running {
    /// The endpoint of the first account, the development account if there is one, in path style.
    pub fn url(&self) -> String {
        format!("http://{}/{}", self.address, self.account)
    }

    /// The resource manager, for managed disks.
    pub fn arm_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where the service listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Where orders are taken, if they are.
    pub fn admin_url(&self) -> Option<String> {
        self.admin.as_ref().map(|(address, _)| format!("http://{address}"))
    }

    /// The service itself, for requests that need no socket.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// Closes the socket and every connection, and waits until that is done.
    pub async fn stop(mut self) {
        let _ = self.stop.send(());
        let _ = (&mut self.task).await;
        if let Some((_, task)) = &mut self.admin {
            let _ = task.await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
        if let Some((_, task)) = &self.admin {
            task.abort();
        }
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
            admin: None,
        }
    }
}
