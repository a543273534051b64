//! Making a fate come true, as far as it concerns what the service holds.

use crate::faults::{Action, Applied, Break, Delivery, Fate, Loss, Refusal, corrupt_request, part_of, wrong_hash};
use crate::model::{Mode, input};
use crate::request::Request;
use crate::response::Response;
use crate::service::Service;

impl Service {
    /// Lets a request meet a fate that was decided before. Parts of a fate that concern the way of a request to the
    /// service, such as a slow body, are for the caller to make true.
    pub async fn carry_out(&self, request: Request, fate: Fate) -> Delivery {
        self.arrive();
        let mut powerless = false;
        for event in &fate.events {
            match self.happen(event, Some(&request)) {
                Ok(lost_power) => powerless |= lost_power,
                Err(error) => {
                    tracing::error!(%error, "the service did not come up again");
                    powerless = true;
                }
            }
        }
        let (delivery, faulty) = match fate.action.clone() {
            // The machine that was to answer is no longer the one that was asked.
            _ if powerless => (Delivery::Lost(Break::Reset), true),
            None => (Delivery::Answer(self.answer(&request, Mode::default()).await), false),
            Some(action) => match self.act(action, &fate, &request).await {
                Ok(delivery) => (delivery, true),
                Err(response) => {
                    self.faults().retract(fate.rule);
                    (Delivery::Answer(response), false)
                }
            },
        };
        let now = {
            let mut inner = self.lock();
            inner.stats.count(&request, delivery.seen(), faulty);
            inner.last
        };
        let sent = delivery.seen().map_or(0, |(_, sent)| sent);
        self.faults().charge(&request, sent, now);
        delivery
    }

    /// Does what a rule wants done; the plain answer where there is nothing for it to work on.
    async fn act(&self, action: Action, fate: &Fate, request: &Request) -> Result<Delivery, Response> {
        let ordinary = Mode::default();
        Ok(match action {
            Action::Lose { applied, how } => {
                self.apply_some(request, applied, fate.drawn).await;
                self.lost(request, how)
            }
            Action::BreakRequest(how) => self.lost(request, how),
            Action::Late { after, how } => {
                let mut inner = self.lock();
                let now = inner.last;
                inner.late.put_off(request.clone(), after, fate.drawn, now);
                drop(inner);
                self.lost(request, how)
            }
            Action::Admit { after, how } => {
                let refusal = self.rehearse(request);
                if !refusal.is_success() {
                    return Err(refusal);
                }
                let mut inner = self.lock();
                let (now, to) = (inner.last, inner.model.incarnation(request));
                inner.late.admit(request.clone(), after, fate.drawn, now, to);
                drop(inner);
                self.lost(request, how)
            }
            Action::Duplicate(after) => {
                let response = self.answer(request, ordinary).await;
                let mut inner = self.lock();
                let now = inner.last;
                inner.late.put_off(request.clone(), after, fate.drawn, now);
                Delivery::Answer(response)
            }
            Action::Refuse { code, applied, retry_after } => {
                self.apply_some(request, applied, fate.drawn).await;
                let mut response = self.refuse(request, code.code());
                let usual = || self.lock().model.config().variants.retry_after.map(|seconds| seconds.to_string());
                if let Some(value) = retry_after.or_else(|| (code == Refusal::ServerBusy).then(usual).flatten()) {
                    response.set("retry-after", value);
                }
                Delivery::Answer(response)
            }
            Action::TimeOutAbove(bytes) => {
                let response = self.answer(request, ordinary).await;
                let size = response.get("x-ms-blob-content-length").and_then(|text| text.parse::<u64>().ok());
                let range = input::read_range(request);
                let asked = size.map_or(0, |size| {
                    let end = range.and_then(|range| range.end).map_or(size, |end| end.min(size));
                    end.saturating_sub(range.map_or(0, |range| range.start))
                });
                if asked <= bytes {
                    return Err(response);
                }
                Delivery::Answer(self.refuse(request, "OperationTimedOut"))
            }
            Action::Truncate { keep, end } => {
                return Delivery::truncated(self.answer(request, ordinary).await, keep, end, fate.drawn);
            }
            Action::CorruptAnswer => {
                let mut response = self.answer(request, ordinary).await;
                if !response.corrupt(fate.drawn) {
                    return Err(response);
                }
                Delivery::Answer(response)
            }
            Action::CorruptRequest => {
                let mut corrupted = request.clone();
                let found = corrupt_request(&mut corrupted, fate.drawn);
                let response = self.answer(&corrupted, ordinary).await;
                if !found {
                    return Err(response);
                }
                Delivery::Answer(response)
            }
            Action::WrongHash => {
                let mut response = self.answer(request, ordinary).await;
                if !wrong_hash(&mut response, fate.drawn) {
                    return Err(response);
                }
                Delivery::Answer(response)
            }
            Action::SetHeader { name, value } => {
                let mut response = self.answer(request, ordinary).await;
                match value {
                    Some(value) => response.set(&name, value),
                    None => response.headers.retain(|(known, _)| *known != name),
                }
                Delivery::Answer(response)
            }
            Action::Slow(pace) | Action::SlowRequest(pace) => {
                Delivery::Paced(self.answer(request, ordinary).await, pace)
            }
            Action::ShortList(most) => {
                let mode = Mode { list_limit: Some(most), ..ordinary };
                Delivery::Answer(self.answer(request, mode).await)
            }
            Action::First(_) => return Err(self.answer(request, ordinary).await),
        })
    }

    /// Carries out as much of a request as its fate allows, for nobody to know.
    async fn apply_some(&self, request: &Request, applied: Applied, drawn: u64) {
        match applied {
            Applied::None => {}
            Applied::Whole => drop(self.answer(request, Mode::default()).await),
            Applied::Part => {
                let part = part_of(request, drawn).filter(|_| self.rehearse(request).is_success());
                if let Some(part) = part {
                    // What it was checked against was the whole.
                    let mode = Mode { trusted: true, admitted: true, ..Mode::default() };
                    drop(self.answer(&part, mode).await);
                }
            }
        }
    }

    /// The answer that a request would get now, without its being carried out.
    fn rehearse(&self, request: &Request) -> Response {
        request.warm();
        let mut inner = self.lock();
        self.settle(&mut inner);
        let (mut model, now) = (inner.model.clone(), inner.last);
        drop(inner);
        let mut response = model.step(request, now, Mode::default());
        response.seal();
        response
    }

    fn lost(&self, request: &Request, how: Loss) -> Delivery {
        match how.to_break() {
            Some(how) => Delivery::Lost(how),
            None => Delivery::Answer(self.refuse(request, "OperationTimedOut")),
        }
    }
}
