//! Whole operations against a scripted transport: what is sent, and what is made of the answers.

mod copies;
mod credentials;
mod lists;
mod mock;
mod reads;
mod redaction;
mod writes;

use std::time::Duration;

use mock::{Mock, Step};
use pageferry_core::{PageRange, Pages};
use pageferry_store::{Fence, LeaseId};

use crate::{Address, Clock, Credential, Options, PageBlob, RetryPolicy};

const URL: &str = "https://acct.blob.core.windows.net/disks/base.vhd";
const LEASE: &str = "11111111-2222-3333-4444-555555555555";

/// A blob at `url` whose service answers with `script`.
fn blob_at(url: &str, script: impl IntoIterator<Item = Step>) -> (PageBlob, Mock) {
    let mock = Mock::new(script);
    let address = Address::parse(url).unwrap();
    let credential = address.sas().map_or(Credential::Anonymous, |sas| Credential::Sas(sas.clone()));
    let now = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_674_858_439);
    let options = Options {
        transport: Some(std::sync::Arc::new(mock.clone())),
        retry: RetryPolicy { seed: Some(1), ..RetryPolicy::default() },
        clock: Clock::new(move || now),
        ..Options::default()
    };
    (PageBlob::new(address, &credential, options).unwrap(), mock)
}

fn blob(script: impl IntoIterator<Item = Step>) -> (PageBlob, Mock) {
    blob_at(URL, script)
}

fn range(start: u64, end: u64) -> PageRange {
    PageRange::new(Pages::new(start), Pages::new(end)).unwrap()
}

fn lease() -> LeaseId {
    LeaseId(LEASE.to_owned())
}

fn fence() -> Fence {
    Fence { lease: lease(), epoch: 7 }
}
