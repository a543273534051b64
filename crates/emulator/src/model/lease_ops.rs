//! Lease Blob: reading the five actions and carrying them out.

use std::time::Duration;

use crate::auth::Need;
use crate::model::Model;
use crate::model::call::Call;
use crate::model::conditions::Conditions;
use crate::model::create::changed;
use crate::model::fault::Fault;
use crate::model::input;
use crate::response::Response;

/// An action with its input.
#[derive(Debug)]
enum Action {
    Acquire(Option<Duration>, Option<String>),
    Renew(String),
    Change(String, String),
    Release(String),
    Break(Option<Duration>),
}

impl Model {
    pub(crate) fn lease(&mut self, call: &Call<'_>) -> Result<Response, Fault> {
        input::on_base(call.request)?;
        let action = Action::of(call)?;
        let conditions = Conditions::of(call.request)?;
        let letters = if matches!(action, Action::Break(_)) { "wd" } else { "w" };
        let proof = self.admit(call, Need::object(letters))?;
        let blob = self.world.blob_mut(call, &proof)?;
        if blob.pending.is_some() {
            return Err(Fault::of("PendingCopyOperation"));
        }
        conditions.for_write(&blob.state)?;
        let (lease, now) = (&mut blob.lease, call.now);
        let (status, header) = match action {
            Action::Acquire(length, id) => {
                // The id is drawn only once it is sure to be used, so that a refusal leaves no trace.
                let id = match id {
                    Some(id) => id,
                    None => {
                        lease.clone().acquire(String::new(), length, now)?;
                        self.ids.guid()
                    }
                };
                lease.acquire(id.clone(), length, now)?;
                (201, Some(("x-ms-lease-id", id)))
            }
            Action::Renew(id) => {
                lease.renew(&id, now)?;
                (200, Some(("x-ms-lease-id", id)))
            }
            Action::Change(id, to) => {
                lease.change(&id, &to, now)?;
                (200, Some(("x-ms-lease-id", to)))
            }
            Action::Release(id) => {
                lease.release(&id)?;
                (200, None)
            }
            Action::Break(period) => {
                let seconds = lease.break_after(period, now)?;
                (202, Some(("x-ms-lease-time", seconds.to_string())))
            }
        };
        let mut response = changed(&blob.state, status);
        if let Some((name, value)) = header {
            response.set(name, value);
        }
        Ok(response)
    }
}

impl Action {
    fn of(call: &Call<'_>) -> Result<Self, Fault> {
        const ACTION: &str = "x-ms-lease-action";
        const PROPOSED: &str = "x-ms-proposed-lease-id";
        let request = call.request;
        let action = request.get(ACTION).ok_or_else(|| Fault::missing(ACTION))?;
        let id = || input::lease_id(request)?.ok_or_else(|| Fault::missing("x-ms-lease-id"));
        let proposed = || request.get(PROPOSED).map(|text| input::guid(PROPOSED, text)).transpose();
        Ok(match action.to_ascii_lowercase().as_str() {
            "acquire" => Self::Acquire(duration(call)?, proposed()?),
            "renew" => Self::Renew(id()?),
            "change" => Self::Change(id()?, proposed()?.ok_or_else(|| Fault::missing(PROPOSED))?),
            "release" => Self::Release(id()?),
            "break" => Self::Break(break_period(call)?),
            _ => return Err(Fault::header(ACTION, action)),
        })
    }
}

fn duration(call: &Call<'_>) -> Result<Option<Duration>, Fault> {
    const NAME: &str = "x-ms-lease-duration";
    let text = call.request.get(NAME).ok_or_else(|| Fault::missing(NAME))?;
    match text.trim().parse::<i64>() {
        Ok(-1) => Ok(None),
        Ok(seconds @ 15..=60) => Ok(Some(Duration::from_secs(seconds.unsigned_abs()))),
        _ => Err(Fault::header(NAME, text)),
    }
}

fn break_period(call: &Call<'_>) -> Result<Option<Duration>, Fault> {
    const NAME: &str = "x-ms-lease-break-period";
    match call.request.get(NAME).map(|text| (text, text.trim().parse::<u64>())) {
        None => Ok(None),
        Some((_, Ok(seconds @ 0..=60))) => Ok(Some(Duration::from_secs(seconds))),
        Some((text, _)) => Err(Fault::header(NAME, text)),
    }
}
