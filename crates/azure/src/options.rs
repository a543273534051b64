//! What can be set about the way a blob is talked to.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use azure_core::http::HttpClient;
use pageferry_pace::Pacer;

use crate::retry::RetryPolicy;

/// How to talk to the service.
#[derive(Clone, Debug)]
pub struct Options {
    /// What sends the requests; `None` makes a client of our own ([`client`](crate::client)). An error of the SDK's kind
    /// `Connection` promises that nothing was sent; whatever else goes wrong on the way is `Io`.
    pub transport: Option<Arc<dyn HttpClient>>,
    /// Where requests that move pages wait for their turn; `None` makes one of the blob's own, which finds out by itself
    /// what the service allows.
    pub pacer: Option<Arc<Pacer>>,
    /// When and how often a request is sent again.
    pub retry: RetryPolicy,
    /// The time of day that signatures carry.
    pub clock: Clock,
    /// `x-ms-version`. The default is the one the behaviour described in the documentation was recorded with.
    pub version: String,
    /// Idle connections kept per host, for the client of our own: as many as there are requests in flight.
    pub connections: usize,
    /// How long the service may work on a request that changes something. A request whose answer was lost cannot be
    /// applied later than this after its arrival, which is what a quiet period after an unclean end relies on.
    pub write_timeout: Duration,
    /// How long to wait for an answer to begin, and then for each further piece of it. Measured on tokio's clock: under a
    /// paused one, a transport that works on another thread would be given up at once.
    pub patience: Duration,
    /// Ranges asked for per page of a page list; the service gives at most 10,000.
    pub ranges_per_page: u32,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            transport: None,
            pacer: None,
            retry: RetryPolicy::default(),
            clock: Clock::default(),
            version: "2021-12-02".to_owned(),
            connections: 64,
            write_timeout: Duration::from_secs(30),
            patience: Duration::from_secs(60),
            ranges_per_page: 10_000,
        }
    }
}

/// Tells the time of day.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    /// A clock that says what `now` says.
    pub fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Clock {
        Clock(Arc::new(now))
    }

    pub(crate) fn now(&self) -> SystemTime {
        (self.0)()
    }
}

impl Default for Clock {
    /// The system's clock.
    fn default() -> Clock {
        Clock::new(SystemTime::now)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
