//! Asking again: when, how often, how long after.
//!
//! The judgement is a pure function of the operation's class and of what has gone wrong so far; the loop around it only
//! counts and sleeps (on tokio's clock, so that tests may stop it). What is repeated is decided by what a repetition could
//! do, see [`Class`]: a request that is not harmless to repeat is sent again only where the first one was certainly not
//! applied: after 503, a 4xx that asks for it, or where no connection was made.

use std::time::{Duration, SystemTime};

use pageferry_pace::Ended;
use pageferry_store::error::Failure;
use pageferry_store::{ErrorKind, Receipt, StoreError};
use rand::Rng;
use rand::rngs::StdRng;
use tokio::time::Instant;

use crate::errors;
use crate::fault::{Fault, Outcome, RetryAfter};
use crate::operation::{Class, Operation};
use crate::wire::Wire;

/// After this many bodies that are not what was sent, it is not bad luck any more.
const CORRUPT_MAX: u32 = 3;

/// How often a page list may run out of time before the caller should ask for less.
const TIMED_OUT_MAX: u32 = 2;

/// When and how often a request is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts in all, the first included.
    pub attempts_max: u32,
    /// The delay before the second attempt; doubled before each further one, and varied by half of itself.
    pub delay: Duration,
    /// No delay is longer, unless the service asks for a longer one.
    pub delay_max: Duration,
    /// No attempt starts later than this after the first.
    pub budget: Duration,
    /// What the variation of delays starts from; `None` for a different one each time.
    pub seed: Option<u64>,
}

impl Default for RetryPolicy {
    fn default() -> RetryPolicy {
        RetryPolicy {
            attempts_max: 8,
            delay: Duration::from_millis(500),
            delay_max: Duration::from_secs(30),
            budget: Duration::from_secs(180),
            seed: None,
        }
    }
}

impl RetryPolicy {
    /// Never asks again.
    pub const NONE: RetryPolicy = RetryPolicy {
        attempts_max: 1,
        delay: Duration::ZERO,
        delay_max: Duration::ZERO,
        budget: Duration::ZERO,
        seed: Some(0),
    };

    /// How long to wait after attempt number `attempts`, counted from one.
    fn pause(&self, attempts: u32, rng: &mut StdRng) -> Duration {
        let doubled = self.delay.saturating_mul(1 << attempts.saturating_sub(1).min(16));
        doubled.min(self.delay_max).mul_f64(rng.random_range(0.5..1.5))
    }
}

/// How a request came out, and what it took.
pub(crate) struct Settled<T> {
    pub(crate) result: Result<T, StoreError>,
    pub(crate) receipt: Receipt,
}

impl<T> Settled<T> {
    /// The result with its receipt.
    pub(crate) fn with_receipt(self) -> Result<(T, Receipt), StoreError> {
        self.result.map(|value| (value, self.receipt))
    }
}

/// What has gone wrong so far.
#[derive(Default)]
struct Tally {
    corrupt: u32,
    timed_out: u32,
}

/// What follows from a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Again,
    Final(ErrorKind),
}

impl Wire {
    /// Runs `attempt` until it succeeds or must not be repeated.
    pub(crate) async fn settle<T, F>(&self, operation: Operation, attempt: impl FnMut() -> F + Send) -> Settled<T>
    where
        F: Future<Output = Result<T, Fault>> + Send,
    {
        self.settle_in_turn(operation, None, attempt).await
    }

    /// The same for what moves `bytes`, each attempt in its turn.
    pub(crate) async fn settle_in_turn<T, F>(
        &self,
        operation: Operation,
        bytes: Option<u64>,
        mut attempt: impl FnMut() -> F + Send,
    ) -> Settled<T>
    where
        F: Future<Output = Result<T, Fault>> + Send,
    {
        let policy = self.options.retry;
        let mut started = None;
        let mut receipt = Receipt::default();
        let mut tally = Tally::default();
        loop {
            let turn = match bytes {
                Some(bytes) => Some(self.pacer.turn(bytes).await),
                None => None,
            };
            let started = *started.get_or_insert_with(Instant::now);
            receipt.attempts += 1;
            let done = attempt().await;
            if let Some(turn) = turn {
                turn.end(done.as_ref().err().map_or(Ended::Answered, |fault| fault.ended(operation)));
            }
            let fault = match done {
                Ok(value) => {
                    receipt.elapsed = started.elapsed();
                    return Settled { result: Ok(value), receipt };
                }
                Err(fault) => fault,
            };
            receipt.elapsed = started.elapsed();
            receipt.refused += u32::from(fault.is_refusal());
            if operation.mutates() && fault.leaves_doubt() {
                receipt.unknown_at = Some(Instant::now());
            }
            let (name, object, attempts) = (operation.name(), &self.object, receipt.attempts);
            tracing::debug!(operation = name, %object, attempts, ?fault, "attempt failed");
            let verdict = judge(operation, &fault, &mut tally);
            let pause = self.pause(attempts, fault.retry_after);
            let kind = match verdict {
                Verdict::Final(kind) => kind,
                Verdict::Again
                    if attempts < policy.attempts_max && receipt.elapsed.saturating_add(pause) <= policy.budget =>
                {
                    tokio::time::sleep(pause).await;
                    continue;
                }
                Verdict::Again => errors::kind(operation, &fault),
            };
            return Settled { result: Err(self.error(operation, kind, fault, attempts)), receipt };
        }
    }

    fn pause(&self, attempts: u32, retry_after: Option<RetryAfter>) -> Duration {
        let ours = match self.rng.lock() {
            Ok(mut rng) => self.options.retry.pause(attempts, &mut rng),
            Err(_) => self.options.retry.delay_max,
        };
        ours.max(theirs(retry_after, self.options.clock.now()))
    }

    fn error(&self, operation: Operation, kind: ErrorKind, fault: Fault, attempts: u32) -> StoreError {
        let explained = errors::explanation(operation, fault.code.as_deref().unwrap_or_default());
        StoreError::from_failure(Failure {
            kind,
            operation: operation.name(),
            object: self.object.clone(),
            cause: explained.map_or(fault.cause, str::to_owned),
            status: match fault.outcome {
                Outcome::Status(status) => Some(status),
                _ => None,
            },
            code: fault.code,
            request_id: fault.request_id,
            attempts,
        })
    }
}

/// How long the service asks us to wait.
fn theirs(retry_after: Option<RetryAfter>, now: SystemTime) -> Duration {
    match retry_after {
        Some(RetryAfter::In(pause)) => pause,
        Some(RetryAfter::At(time)) => time.duration_since(now).unwrap_or_default(),
        None => Duration::ZERO,
    }
}

fn judge(operation: Operation, fault: &Fault, tally: &mut Tally) -> Verdict {
    let class = operation.class();
    let final_kind = Verdict::Final(errors::kind(operation, fault));
    let corrupt = fault.outcome == Outcome::Corrupt || fault.is("Crc64Mismatch") || fault.is("Md5Mismatch");
    let timed_out = match fault.outcome {
        // A service that is busy may be asked for the same pages again; a list that it cannot make in time may look so too.
        Outcome::Status(503) => operation == Operation::ListRanges,
        Outcome::Silent => true,
        Outcome::Status(500) => fault.is("OperationTimedOut"),
        _ => false,
    };
    let passing = match fault.outcome {
        Outcome::Unsent | Outcome::Status(408 | 429 | 503) => true,
        Outcome::Silent | Outcome::Broken => class != Class::Certain,
        Outcome::Status(501 | 505) => false,
        Outcome::Status(status) => status >= 500 && class != Class::Certain,
        _ => false,
    };
    if corrupt && class != Class::Certain {
        tally.corrupt += 1;
        return if tally.corrupt < CORRUPT_MAX { Verdict::Again } else { final_kind };
    }
    if timed_out && class == Class::Less {
        tally.timed_out += 1;
        return if tally.timed_out < TIMED_OUT_MAX { Verdict::Again } else { Verdict::Final(ErrorKind::TimedOut) };
    }
    if passing { Verdict::Again } else { final_kind }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn fault(outcome: Outcome, code: &str) -> Fault {
        Fault { code: (!code.is_empty()).then(|| code.to_owned()), ..Fault::new(outcome, "") }
    }

    fn verdict(operation: Operation, outcome: Outcome, code: &str) -> Verdict {
        judge(operation, &fault(outcome, code), &mut Tally::default())
    }

    #[test]
    fn what_may_be_repeated_depends_on_what_a_repetition_could_do() {
        use Outcome::{Broken, Silent, Status, Unsent};
        let (put, snapshot) = (Operation::PutPage, Operation::Snapshot);
        for outcome in [Unsent, Status(503), Status(408), Status(429)] {
            assert_eq!(verdict(put, outcome, ""), Verdict::Again);
            assert_eq!(verdict(snapshot, outcome, ""), Verdict::Again);
        }
        for outcome in [Silent, Broken, Status(500), Status(502), Status(504)] {
            assert_eq!(verdict(put, outcome, ""), Verdict::Again);
            assert_eq!(verdict(snapshot, outcome, ""), Verdict::Final(ErrorKind::Unknown));
        }
        for (status, code, kind) in [
            (403, "AuthenticationFailed", ErrorKind::Denied),
            (404, "BlobNotFound", ErrorKind::NotFound),
            (412, "LeaseLost", ErrorKind::Fenced),
            (501, "", ErrorKind::Invalid),
            (505, "", ErrorKind::Invalid),
        ] {
            assert_eq!(verdict(put, Status(status), code), Verdict::Final(kind), "{status}");
        }
        assert_eq!(verdict(put, Outcome::NoToken, ""), Verdict::Final(ErrorKind::Denied));
    }

    #[test]
    fn a_page_list_that_runs_out_of_time_twice_should_be_made_smaller() {
        use Outcome::{Broken, Silent, Status};
        for outcome in [Status(503), Silent, Status(500)] {
            let mut tally = Tally::default();
            let fault = fault(outcome, "OperationTimedOut");
            assert_eq!(judge(Operation::ListRanges, &fault, &mut tally), Verdict::Again);
            assert_eq!(judge(Operation::ListRanges, &fault, &mut tally), Verdict::Final(ErrorKind::TimedOut));
        }
        let mut tally = Tally::default();
        for _ in 0..9 {
            assert_eq!(judge(Operation::ListRanges, &fault(Broken, ""), &mut tally), Verdict::Again);
        }
    }

    #[test]
    fn corruption_is_forgiven_twice() {
        let mut tally = Tally::default();
        let corrupt = fault(Outcome::Status(400), "Crc64Mismatch");
        assert_eq!(judge(Operation::PutPage, &corrupt, &mut tally), Verdict::Again);
        assert_eq!(judge(Operation::PutPage, &fault(Outcome::Corrupt, ""), &mut tally), Verdict::Again);
        assert_eq!(judge(Operation::PutPage, &corrupt, &mut tally), Verdict::Final(ErrorKind::Integrity));
    }

    #[test]
    fn pauses_double_up_to_a_limit_and_vary_by_half() {
        let policy = RetryPolicy { seed: Some(7), ..RetryPolicy::default() };
        let pauses = |seed| {
            let mut rng = StdRng::seed_from_u64(seed);
            (1..40).map(|attempts| policy.pause(attempts, &mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(pauses(7), pauses(7), "the seed decides");
        for (number, pause) in (1u32..).zip(pauses(7)) {
            let middle = (policy.delay * (1 << (number - 1).min(16))).min(policy.delay_max);
            assert!(pause >= middle / 2 && pause <= middle * 3 / 2, "pause {number} is {pause:?}");
        }
    }

    #[test]
    fn a_date_to_come_back_is_relative_to_our_clock() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        assert_eq!(theirs(Some(RetryAfter::At(now + Duration::from_secs(9))), now), Duration::from_secs(9));
        assert_eq!(theirs(Some(RetryAfter::At(now - Duration::from_secs(9))), now), Duration::ZERO);
    }
}
