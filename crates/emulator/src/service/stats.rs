//! What was asked of the service, counted.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use crate::faults::Operation;
use crate::request::Request;
use crate::response::Response;

/// Requests and bytes since the service was started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// By operation; those never asked for are missing.
    #[serde(serialize_with = "by_name")]
    pub operations: BTreeMap<Operation, OperationStats>,
    /// Requests that arrived after their answer was due.
    pub late: u64,
    /// Times the power failed.
    pub outages: u64,
}

/// Requests of one operation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct OperationStats {
    /// How many there were.
    pub requests: u64,
    /// How many met a fault.
    pub faults: u64,
    /// How many got an answer whose status is 400 or more.
    pub refused: u64,
    /// Bytes of their bodies.
    pub received: u64,
    /// Bytes of the bodies of their answers, as far as those were sent.
    pub sent: u64,
}

impl Stats {
    pub(super) fn count(&mut self, request: &Request, answer: Option<(&Response, u64)>, fault: bool) {
        let entry = self.operations.entry(Operation::of(request)).or_default();
        entry.requests += 1;
        entry.faults += u64::from(fault);
        entry.received += request.body.bytes().len() as u64;
        if let Some((response, sent)) = answer {
            entry.refused += u64::from(response.status >= 400);
            entry.sent += sent;
        }
    }

    /// What all operations have in common.
    pub fn total(&self) -> OperationStats {
        self.operations.values().fold(OperationStats::default(), |sum, one| OperationStats {
            requests: sum.requests + one.requests,
            faults: sum.faults + one.faults,
            refused: sum.refused + one.refused,
            received: sum.received + one.received,
            sent: sum.sent + one.sent,
        })
    }
}

fn by_name<S: Serializer>(operations: &BTreeMap<Operation, OperationStats>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(operations.iter().map(|(operation, stats)| (operation.name(), stats)))
}
