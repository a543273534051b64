//! The model with a clock and a journal around it: what both the HTTP skin and in-process clients talk to.
//!
//! Everything on the way in and out passes through [`Service::handle`], so this is where a script of faults belongs.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::journal::Journal;
use crate::model::Model;
use crate::model::config::Config;
use crate::model::fault::Fault;
use crate::request::Request;
use crate::response::Response;
use crate::time::Timestamp;

/// Where the service takes its time from.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// A clock that stands still until it is told otherwise.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

/// A running service without a socket.
#[derive(Debug, Clone)]
pub struct Service {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    clock: Arc<dyn Clock>,
    sync: bool,
}

#[derive(Debug)]
struct Inner {
    model: Model,
    journal: Option<Journal>,
    last: Timestamp,
    /// The journal could not be written: what is in memory is ahead of what is on disk, so nothing more is changed.
    broken: bool,
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }
}

impl ManualClock {
    /// A clock that shows `time`.
    pub fn new(time: Timestamp) -> Self {
        Self(AtomicU64::new(time.ticks()))
    }

    /// Moves the clock on.
    pub fn advance(&self, duration: Duration) {
        self.0.store(self.now().plus(duration).ticks(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_ticks(self.0.load(Ordering::SeqCst))
    }
}

impl Service {
    /// A service that forgets everything when it is dropped.
    pub fn new(config: Config, clock: Arc<dyn Clock>) -> Self {
        Self::with(Model::new(config), None, Timestamp::default(), clock, false)
    }

    /// A service that keeps its state in `directory`. With `sync` a change is on the disk, not only with the
    /// operating system, before it is acknowledged.
    pub fn open(config: Config, clock: Arc<dyn Clock>, directory: &Path, sync: bool) -> std::io::Result<Self> {
        let mut model = Model::new(config);
        let (journal, last) = Journal::open(directory, &mut model)?;
        Ok(Self::with(model, Some(journal), last, clock, sync))
    }

    fn with(model: Model, journal: Option<Journal>, last: Timestamp, clock: Arc<dyn Clock>, sync: bool) -> Self {
        let inner = Mutex::new(Inner { model, journal, last, broken: false });
        Self { shared: Arc::new(Shared { inner, clock, sync }) }
    }

    /// Answers one request. A change has reached the journal when this returns.
    pub async fn handle(&self, request: Request) -> Response {
        // Hashing a body takes longer than anything the model does, so it is done before the lock is taken, and the
        // hash of a range after it is given back.
        request.warm();
        let (mut response, file) = self.apply(&request);
        if let Some(file) = file {
            let synced = tokio::task::spawn_blocking(move || file.sync_data()).await;
            if !matches!(synced, Ok(Ok(()))) {
                tracing::error!("the journal could not be synchronised; refusing further changes");
                self.lock().broken = true;
                return self.refuse(&request, "InternalError");
            }
        }
        response.seal();
        response
    }

    /// The answer to a request that never reaches the model.
    pub(crate) fn refuse(&self, request: &Request, code: &'static str) -> Response {
        let now = self.shared.clock.now();
        Fault::of(code).response(&request.method, "00000000-0000-0007-0000-000000000000", now).with("date", now.http())
    }

    fn apply(&self, request: &Request) -> (Response, Option<std::fs::File>) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        if inner.broken && request.is_mutation() {
            return (self.refuse(request, "InternalError"), None);
        }
        // Clocks of machines are set back now and then; the service's time is not.
        inner.last = inner.last.max(self.shared.clock.now());
        let response = inner.model.step(request, inner.last, false);
        let journal = inner.journal.as_mut().filter(|_| request.is_mutation() && response.is_success());
        let Some(journal) = journal else { return (response, None) };
        let written = journal.append(request, inner.last).and_then(|()| match self.shared.sync {
            true => journal.handle().map(Some),
            false => Ok(None),
        });
        match written {
            Ok(file) => (response, file),
            Err(error) => {
                tracing::error!(%error, "the journal could not be written; refusing further changes");
                inner.broken = true;
                (self.refuse(request, "InternalError"), None)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.shared.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
