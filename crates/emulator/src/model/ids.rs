//! Names the service makes up: ETags, lease and copy ids, request ids.
//!
//! Only requests that change something may draw from the lasting part; so a log of just those requests, played
//! again, gives every name again.

use crate::random::{below, mix};
use crate::time::Timestamp;

#[derive(Debug, Clone)]
pub(crate) struct Ids {
    /// State of the generator for lasting names.
    lasting: u64,
    last_etag: u64,
    /// Requests seen; their ids are not part of the state.
    requests: u64,
    seed: u64,
}

impl Ids {
    pub(crate) fn new(seed: u64) -> Self {
        Self { lasting: seed, last_etag: 0, requests: 0, seed }
    }

    /// An ETag that differs from all earlier ones.
    pub(crate) fn etag(&mut self, now: Timestamp) -> u64 {
        self.last_etag = now.etag_ticks().max(self.last_etag + 1);
        self.last_etag
    }

    /// A fresh GUID for a lease or a copy.
    pub(crate) fn guid(&mut self) -> String {
        self.lasting = self.lasting.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let (a, b) = (mix(self.lasting), mix(!self.lasting));
        let tail = b & 0xFFFF_FFFF_FFFF;
        format!("{:08x}-{:04x}-4{:03x}-8{:03x}-{tail:012x}", a >> 32, a >> 16 & 0xFFFF, a & 0xFFF, b >> 52)
    }

    /// A fresh name of small letters and digits, for an account or a container.
    pub(crate) fn name(&mut self, length: usize) -> String {
        const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        let letter = |_| {
            self.lasting = self.lasting.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let index = usize::try_from(below(mix(self.lasting), LETTERS.len() as u64)).unwrap_or(0);
            char::from(LETTERS[index])
        };
        (0..length).map(letter).collect()
    }

    /// An id of the service's form for the request being answered.
    pub(crate) fn request(&mut self) -> String {
        self.requests += 1;
        let a = mix(self.seed ^ self.requests.wrapping_mul(0xD134_2543_DE82_EF95));
        format!(
            "{:08x}-{:04x}-0007-{:04x}-{:06x}000000",
            a >> 32,
            a >> 16 & 0xFFFF,
            a & 0xFFFF,
            self.requests & 0xFF_FFFF
        )
    }
}
