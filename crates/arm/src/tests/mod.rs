//! Whole operations against a scripted transport: what is sent, and what is made of the answers.

mod access;
mod changes;
mod ids;
mod mock;
mod reads;
mod redaction;
mod retries;

use std::sync::Arc;

use mock::{Mock, Step};

use crate::{Arm, FixedToken, Options, ResourceId};

const GROUP: &str = "/subscriptions/5ab/resourceGroups/g1/providers/Microsoft.Compute";
const BASE: &str = "https://management.azure.com/subscriptions/5ab/resourceGroups/g1/providers/Microsoft.Compute";
const STATUS_URL: &str = "https://management.azure.com/subscriptions/5ab/providers/Microsoft.Compute/locations/eastus/\
                          DiskOperations/op-1?p=1&api-version=2022-07-02";

fn options(mock: &Mock) -> Options {
    Options { transport: Some(Arc::new(mock.clone())), seed: Some(1), ..Options::default() }
}

/// Resource Manager that answers with `script`.
fn arm(script: impl IntoIterator<Item = Step>) -> (Arm, Mock) {
    let mock = Mock::new(script);
    (Arm::new(Arc::new(FixedToken::new("CANARY")), options(&mock)).unwrap(), mock)
}

fn snapshot_id() -> ResourceId {
    ResourceId::snapshot("5ab", "g1", "s1").unwrap()
}

fn disk_id() -> ResourceId {
    ResourceId::disk("5ab", "g1", "d1").unwrap()
}

/// A snapshot as the service writes one, with these properties.
fn snapshot_json(name: &str, properties: &str) -> String {
    format!(r#"{{"id":"{GROUP}/snapshots/{name}","name":"{name}","location":"eastus","properties":{{{properties}}}}}"#)
}
