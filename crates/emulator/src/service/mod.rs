//! The model with a clock and a journal around it: what both the HTTP skin and in-process clients talk to.
//!
//! [`Service::handle`] answers a request as it should be answered. [`Service::deliver`] does so under the script of
//! faults that was set; everything the HTTP skin receives goes through it.

mod deliver;
mod disks;
mod events;
mod late;
mod stats;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::clock::Clock;
use crate::faults::{Delivery, Fate, FaultReport, FaultScript, FaultState};
use crate::journal::Journal;
use crate::model::arm;
use crate::model::arm::error::ArmError;
use crate::model::config::Config;
use crate::model::fault::Fault;
use crate::model::{Mode, Model};
use crate::request::Request;
use crate::response::Response;
use crate::service::late::Queue;
use crate::time::Timestamp;

pub use stats::{OperationStats, Stats};

/// A running service without a socket.
#[derive(Debug, Clone)]
pub struct Service {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    /// Taken alone or before `inner`, never after it.
    faults: Mutex<FaultState>,
    clock: Arc<dyn Clock>,
    sync: bool,
    directory: Option<PathBuf>,
    /// Changes when the power fails.
    outages: watch::Sender<u64>,
}

#[derive(Debug)]
struct Inner {
    model: Model,
    journal: Option<Journal>,
    last: Timestamp,
    /// The journal could not be written: what is in memory is ahead of what is on disk, so nothing more is changed.
    broken: bool,
    late: Queue,
    stats: Stats,
}

impl Service {
    /// A service that forgets everything when it is dropped.
    pub fn new(config: Config, clock: Arc<dyn Clock>) -> Self {
        Self::with(Model::new(config), None, Timestamp::default(), clock, false, None)
    }

    /// A service that keeps its state in `directory`. With `sync` a change is on the disk, not only with the
    /// operating system, before it is acknowledged.
    pub fn open(config: Config, clock: Arc<dyn Clock>, directory: &Path, sync: bool) -> std::io::Result<Self> {
        let mut model = Model::new(config);
        let (journal, last) = Journal::open(directory, &mut model)?;
        Ok(Self::with(model, Some(journal), last, clock, sync, Some(directory.to_owned())))
    }

    fn with(
        model: Model,
        journal: Option<Journal>,
        last: Timestamp,
        clock: Arc<dyn Clock>,
        sync: bool,
        directory: Option<PathBuf>,
    ) -> Self {
        let inner = Inner { model, journal, last, broken: false, late: Queue::default(), stats: Stats::default() };
        let (outages, _) = watch::channel(0);
        let (inner, faults) = (Mutex::new(inner), Mutex::default());
        Self { shared: Arc::new(Shared { inner, faults, clock, sync, directory, outages }) }
    }

    /// Answers one request as it should be answered, whatever faults are set. A change has reached the journal when
    /// this returns.
    pub async fn handle(&self, request: Request) -> Response {
        self.arrive();
        let response = self.answer(&request, Mode::default()).await;
        self.lock().stats.count(&request, Some((&response, response.body.len())), false);
        response
    }

    /// Sets what goes wrong from now on, in place of what did so far. Requests that are on their way still arrive.
    pub fn set_faults(&self, script: FaultScript) {
        let now = self.now();
        *self.faults() = FaultState::new(script, now);
    }

    /// The script of faults and what has come of it.
    pub fn fault_report(&self) -> FaultReport {
        let report = self.faults().report();
        FaultReport { late: self.lock().late.len(), ..report }
    }

    /// Decides what becomes of a request, which counts it. Of its body only the length in its header matters.
    pub fn decide(&self, request: &Request) -> Fate {
        let now = self.now();
        self.faults().decide(request, now)
    }

    /// Lets a request meet its fate under the script of faults.
    pub async fn deliver(&self, request: Request) -> Delivery {
        let fate = self.decide(&request);
        self.carry_out(request, fate).await
    }

    /// What was asked of the service so far.
    pub fn stats(&self) -> Stats {
        self.lock().stats.clone()
    }

    /// The service's time, which never goes back.
    pub fn now(&self) -> Timestamp {
        let mut inner = self.lock();
        // Clocks of machines are set back now and then; the service's time is not.
        inner.last = inner.last.max(self.shared.clock.now());
        inner.last
    }

    /// Where the service takes its time from.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.shared.clock
    }

    /// Tells of every failure of the power.
    pub(crate) fn outages(&self) -> watch::Receiver<u64> {
        self.shared.outages.subscribe()
    }

    /// The answer to a request that never reaches the model.
    pub(crate) fn refuse(&self, request: &Request, code: &'static str) -> Response {
        let now = self.shared.clock.now();
        if arm::is_arm(request) {
            let response = ArmError::injected(code).response().with("date", now.http());
            let length = response.body.len().to_string();
            return response.with("content-length", length);
        }
        Fault::of(code).response(&request.method, "00000000-0000-0007-0000-000000000000", now).with("date", now.http())
    }

    /// Answers one request, and synchronises the journal if that is wanted.
    async fn answer(&self, request: &Request, mode: Mode) -> Response {
        // Hashing a body takes longer than anything the model does, so it is done before the lock is taken, and the
        // hash of a range after it is given back.
        request.warm();
        let (mut response, file) = self.apply(request, mode);
        if let Some(file) = file {
            let synced = tokio::task::spawn_blocking(move || file.sync_data()).await;
            if !matches!(synced, Ok(Ok(()))) {
                tracing::error!("the journal could not be synchronised; refusing further changes");
                self.lock().broken = true;
                return self.refuse(request, "InternalError");
            }
        }
        response.seal();
        response
    }

    fn apply(&self, request: &Request, mode: Mode) -> (Response, Option<std::fs::File>) {
        let mut inner = self.lock();
        self.settle(&mut inner);
        if inner.broken && request.is_mutation() {
            return (self.refuse(request, "InternalError"), None);
        }
        let now = inner.last;
        let Some(response) = inner.step(request, now, mode) else {
            return (self.refuse(request, "InternalError"), None);
        };
        let changed = request.is_mutation() && response.is_success();
        let journal = inner.journal.as_ref().filter(|_| changed && self.shared.sync);
        match journal.map(Journal::handle).transpose() {
            Ok(file) => (response, file),
            Err(error) => {
                tracing::error!(%error, "the journal could not be synchronised; refusing further changes");
                inner.broken = true;
                (self.refuse(request, "InternalError"), None)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.shared.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn faults(&self) -> MutexGuard<'_, FaultState> {
        self.shared.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Takes a request through the model and, if it changed something, into the journal; `None` when that fails.
    fn step(&mut self, request: &Request, now: Timestamp, mode: Mode) -> Option<Response> {
        let response = self.model.step(request, now, mode);
        let journal = self.journal.as_mut().filter(|_| request.is_mutation() && response.is_success());
        let written = journal.map_or(Ok(()), |journal| journal.append(request, now, mode.admitted));
        if let Err(error) = written {
            tracing::error!(%error, "the journal could not be written; refusing further changes");
            self.broken = true;
            return None;
        }
        Some(response)
    }
}
