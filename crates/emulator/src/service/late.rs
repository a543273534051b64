//! Requests that are still on their way.
//!
//! Nothing runs in the background. What is due is carried out before anything else is, in the order in which it was
//! due and at the time at which it was; as a service can only be looked at by asking it, nobody can tell the
//! difference, and a test gets the same order every time.

use crate::faults::{Delay, time_allowed};
use crate::model::Mode;
use crate::random::{below, draw};
use crate::request::Request;
use crate::service::{Inner, Service};
use crate::time::Timestamp;

/// Requests that were sent and are yet to arrive or to be applied.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Vec<Late>,
    /// Requests that have arrived in good time.
    arrived: u64,
}

#[derive(Debug)]
struct Late {
    request: Request,
    due: Due,
    /// The blob it was admitted to, if its conditions were checked when it was sent.
    admitted: Option<Option<(Timestamp, u64)>>,
}

/// When a request is due: at a time, before the request of a number, or when it is let go.
#[derive(Debug, Clone, Copy)]
enum Due {
    At(Timestamp),
    Number(u64),
    Held,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Puts off a request that arrives when `after` says, `drawn` settling what that leaves to chance.
    pub(super) fn put_off(&mut self, request: Request, after: Delay, drawn: u64, now: Timestamp) {
        let due = self.due(after, drawn, now);
        self.waiting.push(Late { request, due, admitted: None });
    }

    /// Puts off a request that was admitted to the blob of this incarnation. It is applied within its time.
    pub(super) fn admit(
        &mut self,
        request: Request,
        after: Delay,
        drawn: u64,
        now: Timestamp,
        to: Option<(Timestamp, u64)>,
    ) {
        let latest = now.plus(time_allowed(&request));
        let due = match self.due(after, drawn, now) {
            Due::At(time) => Due::At(time.min(latest)),
            Due::Number(number) => Due::Number(number),
            Due::Held => Due::At(latest),
        };
        self.waiting.push(Late { request, due, admitted: Some(to) });
    }

    /// What was in the service and not yet on its disk is gone.
    pub(super) fn forget_admitted(&mut self) {
        self.waiting.retain(|late| late.admitted.is_none());
    }

    fn due(&self, after: Delay, drawn: u64, now: Timestamp) -> Due {
        let at = |millis| Due::At(now.plus(std::time::Duration::from_millis(millis)));
        match after {
            Delay::Millis(millis) => at(millis),
            Delay::Between(from, to) => {
                let width = to.saturating_sub(from).saturating_add(1);
                at(from.saturating_add(below(draw(drawn, &[]), width)))
            }
            Delay::Requests(count) => Due::Number(self.arrived.saturating_add(count)),
            Delay::Held => Due::Held,
        }
    }

    /// The next request that is due at `now`, with the time at which it was.
    fn take(&mut self, now: Timestamp) -> Option<(Late, Timestamp)> {
        let due = |late: &Late| match late.due {
            Due::At(time) => (time <= now).then_some(time),
            Due::Number(number) => (number <= self.arrived).then_some(now),
            Due::Held => None,
        };
        let when = self.waiting.iter().enumerate().filter_map(|(index, late)| Some((due(late)?, index)));
        let (time, index) = when.min()?;
        Some((self.waiting.remove(index), time))
    }
}

impl Service {
    /// Lets everything come through that is held back, and says how much that was.
    pub fn release(&self) -> usize {
        let mut inner = self.lock();
        let mut count = 0;
        for late in &mut inner.late.waiting {
            if matches!(late.due, Due::Held) || late.admitted.is_some() {
                late.due = Due::At(Timestamp::default());
                count += 1;
            }
        }
        self.settle(&mut inner);
        count
    }

    /// Notes that a request has arrived; those that were to arrive before it do.
    pub(super) fn arrive(&self) {
        let mut inner = self.lock();
        inner.late.arrived += 1;
        self.settle(&mut inner);
    }

    /// Brings the service up to the present.
    pub(super) fn settle(&self, inner: &mut Inner) {
        let now = inner.last.max(self.shared.clock.now());
        while let Some((late, due)) = inner.late.take(now) {
            inner.last = inner.last.max(due);
            inner.land(&late);
        }
        inner.last = now;
    }
}

impl Inner {
    /// Carries out a request that nobody waits for any longer.
    fn land(&mut self, late: &Late) {
        if self.broken {
            return;
        }
        let mode = match late.admitted {
            None => Mode::default(),
            // The blob it was meant for is gone, and another of its name is none of its business.
            Some(blob) if blob != self.model.incarnation(&late.request) => return,
            Some(_) => Mode { trusted: true, admitted: true, ..Mode::default() },
        };
        let status = self.step(&late.request, self.last, mode).map(|response| response.status);
        self.stats.late += 1;
        tracing::debug!(method = late.request.method, path = late.request.path, status, "a late request arrived");
    }
}
