//! What takes its time: an answer that only says where to ask, and the places to ask at.
//!
//! A change is made at once and seen at once; only the word that it is over is held back, for as long as the
//! configuration says. So nothing has to happen while nobody asks.

use serde_json::{Value, json};

use crate::model::Model;
use crate::model::arm::ArmCall;
use crate::model::arm::error::{ArmError, reply};
use crate::model::arm::id::{Key, region};
use crate::response::Response;
use crate::time::Timestamp;

/// How long the outcome of something can be asked for.
const KEPT: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// Something under way, or lately over.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    started: Timestamp,
    ends: Timestamp,
    outcome: Outcome,
}

/// What comes of it.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// Nothing to look at.
    Done,
    /// The resource, as it then is.
    Resource(Key),
    /// The URL to the data of a resource, as long as its grant is the one of this policy.
    Access(Key, String),
    Failed(ArmError),
}

impl Model {
    /// Notes that something has begun, and answers with where to ask for its outcome.
    pub(crate) fn begin(
        &mut self,
        call: &ArmCall<'_>,
        location: &str,
        outcome: Outcome,
        body: Option<&Value>,
    ) -> Response {
        let (id, proof) = (self.ids.guid(), self.ids.guid());
        let ends = call.now.plus(self.config.arm.operation_time);
        self.arm.operations.retain(|_, old| call.now.since(old.started) < KEPT);
        let grant = matches!(outcome, Outcome::Access(..));
        self.arm.operations.insert(id.clone(), Operation { started: call.now, ends, outcome });
        let subscription = call.request.path.split('/').nth(2).unwrap_or_default();
        let url = format!(
            "http://{}/subscriptions/{subscription}/providers/Microsoft.Compute/locations/{}/DiskOperations/{id}?p={proof}\
             &api-version={}",
            call.host(),
            region(location),
            call.api()
        );
        let mut response = body.map_or_else(|| Response::new(202), |body| reply(202, body));
        response.set("location", format!("{url}&monitor=true"));
        if !self.config.variants.location_only {
            response.set("azure-asyncoperation", url);
        }
        if !grant || self.config.variants.grant_retry_after {
            response.set("retry-after", self.config.arm.retry_after.to_string());
        }
        response
    }

    /// Answers how far something is, or with `monitor` what came of it.
    pub(crate) fn operation(&self, call: &ArmCall<'_>, id: &str) -> Result<Response, ArmError> {
        let found = self.arm.operations.get(id);
        let operation = found.ok_or_else(|| ArmError::new(404, "NotFound", format!("There is no operation {id}.")))?;
        let monitor = call.request.query("monitor").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let again = self.config.arm.retry_after.to_string();
        let started = operation.started.iso();
        if call.now < operation.ends {
            let running = json!({ "startTime": started, "status": "InProgress", "name": id });
            return Ok(if monitor { Response::new(202) } else { reply(200, &running) }.with("retry-after", again));
        }
        let output = match &operation.outcome {
            Outcome::Done => Ok(None),
            Outcome::Resource(key) => {
                Ok(self.arm.resources.get(key).map(|resource| resource.show(call.now, &self.config.arm)))
            }
            Outcome::Access(key, policy) => self.access_url(call, key, policy).map(Some),
            Outcome::Failed(error) => Err(error.clone()),
        };
        if monitor {
            return output.map(|output| output.map_or_else(|| Response::new(200), |output| reply(200, &output)));
        }
        let mut out = json!({ "startTime": started, "endTime": operation.ends.iso(), "name": id });
        match output {
            Ok(output) => {
                out["status"] = json!("Succeeded");
                if let Some(output) = output {
                    out["properties"] = json!({ "output": output });
                }
            }
            Err(error) => {
                out["status"] = json!("Failed");
                out["error"] = error.body();
            }
        }
        Ok(reply(200, &out))
    }
}
