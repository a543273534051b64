//! What happens to the service from elsewhere: somebody breaks a lease, deletes a snapshot, pulls the plug.

use std::io;
use std::time::Duration;

use crate::faults::{Event, Foreign, Place, PowerLoss, Which};
use crate::journal::Journal;
use crate::model::{Mode, Model};
use crate::request::Request;
use crate::response::Response;
use crate::service::Service;

/// The version in which somebody else speaks.
const VERSION: &str = "2021-12-02";

/// The lease id of somebody else.
const STRANGER: &str = "ffffffff-eeee-4ddd-8ccc-bbbbbbbbbbbb";

impl Service {
    /// Makes something happen; `about` is the request on whose occasion it does, if there is one. Returns whether the
    /// power failed, and an error when the service did not come up again.
    pub fn happen(&self, event: &Event, about: Option<&Request>) -> io::Result<bool> {
        match event {
            Event::BreakLease { blob, take } => {
                let place = about.map_or_else(Place::default, Place::of);
                self.break_lease(&place.path(blob.as_deref()), *take);
            }
            Event::DeleteSnapshot { blob, which } => {
                let place = about.map_or_else(Place::default, Place::of);
                let named = |name: &str| about.and_then(|request| request.query(name)).map(str::to_owned);
                let one = match which {
                    Which::Addressed => named("snapshot"),
                    Which::Previous => named("prevsnapshot"),
                    _ => None,
                };
                let which = one.map_or_else(|| which.clone(), Which::At);
                self.delete_snapshots(&place.path(blob.as_deref()), &which);
            }
            Event::Request(foreign) => drop(self.intrude(&foreign.request())),
            Event::Advance(millis) => {
                if !self.shared.clock.shift(Duration::from_millis(*millis)) {
                    tracing::warn!("the clock cannot be moved on");
                }
            }
            Event::PowerLoss(loss) => return self.lose_power(*loss).map(|()| true),
            Event::Release => drop(self.release()),
        }
        Ok(false)
    }

    /// Breaks the lease of the blob with this path, `/account/container/blob`, as somebody else would; and with `take`
    /// acquires one without end. Returns whether there was a lease to break.
    pub fn break_lease(&self, path: &str, take: bool) -> bool {
        let lease =
            |action: &str| Request::new("PUT", &format!("{path}?comp=lease")).header("x-ms-lease-action", action);
        let broken = self.intrude(&lease("break").header("x-ms-lease-break-period", "0")).is_success();
        if take {
            let acquire = lease("acquire").header("x-ms-lease-duration", "-1");
            drop(self.intrude(&acquire.header("x-ms-proposed-lease-id", STRANGER)));
        }
        broken
    }

    /// Deletes snapshots of the blob with this path, as somebody else would, and says how many.
    pub fn delete_snapshots(&self, path: &str, which: &Which) -> usize {
        let times = self.lock().model.snapshots(&Request::new("GET", path));
        let names = times.iter().map(|time| time.iso());
        let chosen: Vec<String> = match which {
            Which::All => names.collect(),
            Which::Oldest => names.take(1).collect(),
            Which::Newest => names.rev().take(1).collect(),
            Which::At(name) => vec![name.clone()],
            Which::Addressed | Which::Previous => Vec::new(),
        };
        let gone = |name: &String| {
            let mut delete = Request::new("DELETE", path);
            delete.query.push(("snapshot".to_owned(), name.clone()));
            self.intrude(&delete).is_success()
        };
        chosen.iter().filter(|name| gone(name)).count()
    }

    /// Carries out a request of somebody who may do everything.
    pub fn intrude(&self, request: &Request) -> Response {
        let mut request = request.clone();
        if request.get("x-ms-version").is_none() {
            request = request.header("x-ms-version", VERSION);
        }
        let (mut response, _) = self.apply(&request, Mode { trusted: true, ..Mode::default() });
        response.seal();
        response
    }

    /// Lets the power fail and the service come up again, with whatever its disk has kept. Every connection is reset;
    /// what was admitted and not yet applied is gone, what was still on the network is not.
    pub fn lose_power(&self, loss: PowerLoss) -> io::Result<()> {
        let mut guard = self.lock();
        let inner = &mut *guard;
        inner.late.forget_admitted();
        inner.stats.outages += 1;
        let mut model = Model::new(inner.model.config().clone());
        // Until the journal is open again nothing may be changed.
        inner.broken = true;
        let restored = match (inner.journal.take(), &self.shared.directory) {
            (Some(journal), Some(directory)) => {
                let records = if self.shared.sync && !loss.lying { 0 } else { loss.records };
                journal.lose(records, loss.torn).and_then(|()| Journal::open(directory, &mut model)).map(Some)
            }
            _ => Ok(None),
        };
        let outcome = restored.map(|restored| {
            inner.journal = restored.map(|(journal, _)| journal);
            inner.model = model;
            inner.broken = false;
        });
        drop(guard);
        self.shared.outages.send_modify(|count| *count += 1);
        outcome
    }
}

impl Foreign {
    /// The request itself.
    pub fn request(&self) -> Request {
        let request = Request::new(&self.method, &self.target);
        let request = self.headers.iter().fold(request, |request, (name, value)| request.header(name, value.as_str()));
        // No request can have a larger body than this.
        request.with_body(vec![self.fill; self.length.min(4 << 20)])
    }
}
