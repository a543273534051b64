//! Operations that the service accepts now and finishes later.
//!
//! It names a URL to ask at: `Azure-AsyncOperation`, whose answer has a `status`, or `Location`, whose answer is 202 for as long
//! as it lasts and then what was asked for. The first is preferred, because it tells a failure from an answer.

use std::time::Duration;

use azure_core::http::Method;
use azure_core::http::headers::Headers;
use pageferry_store::StoreError;
use tokio::time::Instant;

use crate::body::{self, Grant, Progress};
use crate::errors;
use crate::fault::{self, Fault, Outcome};
use crate::operation::Operation;
use crate::wire::{Answer, Call, Wire};

/// The service is not asked more often than this, even if it does not mind, unless the options say so.
const POLL_MIN: Duration = Duration::from_secs(1);

/// How long has been waited for one operation.
pub(crate) struct Wait(Instant);

impl Wait {
    pub(crate) fn begin() -> Wait {
        Wait(Instant::now())
    }
}

impl Wire {
    /// Waits until what `call` began is over. What comes of it is for those who asked for access; others get nothing.
    pub(crate) async fn finish(&self, call: &Call<'_>, answer: Answer, wait: &Wait) -> Result<Grant, StoreError> {
        let status_url = fault::text(&answer.headers, "azure-asyncoperation");
        let result_url = fault::text(&answer.headers, "location");
        match (status_url, result_url) {
            (Some(status_url), result_url) => {
                let grant = self.finish_status(call, &status_url, &answer.headers, wait).await?;
                match result_url.filter(|_| matches!(call.operation, Operation::BeginAccess(_))) {
                    Some(url) if grant.access_sas.is_none() => {
                        self.finish_result(call, &url, &answer.headers, wait).await
                    }
                    _ => Ok(grant),
                }
            }
            (None, Some(url)) if answer.status == 202 => self.finish_result(call, &url, &answer.headers, wait).await,
            (None, None) if answer.status == 202 => {
                let cause = "the service accepted it, but does not say where to ask how it goes";
                Err(errors::error(call.operation, call.object, Fault::new(Outcome::Wrong, cause), 1))
            }
            _ => Ok(grant(&answer)),
        }
    }

    /// Asks the URL that has a status until it is the last.
    async fn finish_status(
        &self,
        call: &Call<'_>,
        url: &str,
        headers: &Headers,
        wait: &Wait,
    ) -> Result<Grant, StoreError> {
        let mut retry_after = fault::retry_after(headers);
        let failed = |fault| errors::error(call.operation, call.object, fault, 1);
        loop {
            self.rest(call.operation, call.object, retry_after, wait).await?;
            let answer = self.look(call, url).await?;
            let progress: Progress = if answer.body.is_empty() && answer.status == 202 {
                Progress::default()
            } else {
                body::parse(&answer.body).map_err(failed)?
            };
            match progress.status.as_deref().unwrap_or_default() {
                status if status.eq_ignore_ascii_case("Succeeded") => return Ok(progress.output()),
                status if is_failure(status) => {
                    let words = format!("the service reports it as {}", status.to_ascii_lowercase());
                    let fault = Fault::said(Outcome::GivenUp, progress.error.unwrap_or_default(), &words);
                    return Err(failed(Fault { request_id: fault::request_id(&answer.headers), ..fault }));
                }
                "" if answer.status != 202 => {
                    return Err(failed(Fault::new(Outcome::Wrong, "the answer does not say how far the operation is")));
                }
                _ => retry_after = fault::retry_after(&answer.headers),
            }
        }
    }

    /// Asks the URL that has the result until it is there.
    async fn finish_result(
        &self,
        call: &Call<'_>,
        url: &str,
        headers: &Headers,
        wait: &Wait,
    ) -> Result<Grant, StoreError> {
        let mut url = url.to_owned();
        let mut retry_after = fault::retry_after(headers);
        loop {
            self.rest(call.operation, call.object, retry_after, wait).await?;
            let answer = self.look(call, &url).await?;
            if answer.status != 202 {
                return Ok(grant(&answer));
            }
            retry_after = fault::retry_after(&answer.headers);
            // The place to ask may change on the way.
            url = fault::text(&answer.headers, "location").unwrap_or(url);
        }
    }

    async fn look(&self, call: &Call<'_>, url: &str) -> Result<Answer, StoreError> {
        let operation = Operation::Poll(call.operation.name());
        let url = self.follow(url).map_err(|fault| errors::error(operation, call.object, fault, 1))?;
        self.ask(&Call { operation, object: call.object, method: Method::Get, url, body: None }).await
    }

    /// Waits before the service is asked again, unless that would be too long.
    pub(crate) async fn rest(
        &self,
        operation: Operation,
        object: &str,
        retry_after: Option<Duration>,
        wait: &Wait,
    ) -> Result<(), StoreError> {
        let options = &self.options;
        let pause = retry_after.map_or(options.poll, |theirs| theirs.max(options.poll.min(POLL_MIN)));
        let pause = pause.min(options.poll_max);
        if wait.0.elapsed().saturating_add(pause) > options.operation_limit {
            let limit = options.operation_limit.as_secs();
            let cause = format!("it is not finished after {limit} s; the service goes on with it");
            return Err(errors::error(operation, object, Fault::new(Outcome::Unfinished, cause), 1));
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// Whether this is how an operation, or the making of a resource, ends badly.
pub(crate) fn is_failure(status: &str) -> bool {
    ["Failed", "Canceled", "Cancelled"].iter().any(|bad| status.eq_ignore_ascii_case(bad))
}

/// What came of a request that is over; nothing where its answer is about something else.
fn grant(answer: &Answer) -> Grant {
    body::parse(&answer.body).unwrap_or_default()
}
