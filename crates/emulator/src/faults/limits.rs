//! Limits by the second, for a blob or an account: above them requests are refused, and nothing is ever slowed down.

use std::collections::HashMap;

use crate::faults::script::{Limit, Per, Refusal};
use crate::faults::state::{Place, fits};
use crate::time::Timestamp;

/// The limits of a script with what was used of them.
#[derive(Debug, Default)]
pub(super) struct Meters {
    limits: Vec<Limit>,
    buckets: HashMap<(usize, String), Bucket>,
    refused: Vec<u64>,
}

/// What was used in one second.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    second: u64,
    requests: u64,
    bytes: u64,
}

impl Meters {
    pub(super) fn new(limits: Vec<Limit>) -> Self {
        Self { refused: vec![0; limits.len()], limits, buckets: HashMap::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.limits.is_empty()
    }

    /// How often each limit has refused.
    pub(super) fn refused(&self) -> &[u64] {
        &self.refused
    }

    /// Counts one more request, or says how it is refused. A refused request uses up nothing.
    pub(super) fn admit(&mut self, place: &Place, bytes: u64, now: Timestamp) -> Result<(), Refusal> {
        let keys = self.keys(place);
        for (index, key) in &keys {
            let (limit, bucket) = (&self.limits[*index], Self::bucket(&mut self.buckets, *index, key, now));
            let full = limit.requests.is_some_and(|most| bucket.requests >= most)
                || limit.bytes.is_some_and(|most| bucket.bytes >= most);
            if full {
                self.refused[*index] += 1;
                return Err(limit.refusal);
            }
        }
        for (index, key) in &keys {
            let bucket = Self::bucket(&mut self.buckets, *index, key, now);
            bucket.requests += 1;
            bucket.bytes = bucket.bytes.saturating_add(bytes);
        }
        Ok(())
    }

    /// Counts the bytes of an answer.
    pub(super) fn charge(&mut self, place: &Place, bytes: u64, now: Timestamp) {
        for (index, key) in self.keys(place) {
            let bucket = Self::bucket(&mut self.buckets, index, &key, now);
            bucket.bytes = bucket.bytes.saturating_add(bytes);
        }
    }

    /// Which limits are about a place, and under which name it is counted.
    fn keys(&self, place: &Place) -> Vec<(usize, String)> {
        let key = |limit: &Limit| match &limit.per {
            Per::Blob(pattern) if place.is_blob() && fits(pattern, &place.resource) => {
                Some(format!("{}/{}", place.account, place.resource))
            }
            Per::Account(pattern) if fits(pattern, &place.account) => Some(place.account.clone()),
            _ => None,
        };
        self.limits.iter().enumerate().filter_map(|(index, limit)| Some((index, key(limit)?))).collect()
    }

    fn bucket<'b>(
        buckets: &'b mut HashMap<(usize, String), Bucket>,
        index: usize,
        key: &str,
        now: Timestamp,
    ) -> &'b mut Bucket {
        let second = now.seconds();
        let bucket = buckets.entry((index, key.to_owned())).or_default();
        if bucket.second != second {
            *bucket = Bucket { second, ..Bucket::default() };
        }
        bucket
    }
}
