//! What one page blob takes: requests and bytes a second. A plan's time, and the worth of a request, follow from it.

use std::fmt;
use std::time::Duration;

use crate::page::{PAGE_BYTES, Pages};

/// The limits of one page blob (Azure: scalability targets for Blob storage, and for premium page blobs).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The number of its premium tier: 30 for `P30`.
    tier: Option<u8>,
    /// Requests a second.
    pub requests_per_second: u64,
    /// Bytes a second.
    pub bytes_per_second: u64,
}

/// Which of a blob's limits takes longer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Binding {
    /// Its bytes.
    Bytes,
    /// Its requests.
    Requests,
}

impl Limits {
    /// Of a blob with this premium tier, or of a standard one. A tier that is not known counts as the smallest.
    pub fn of(tier: Option<u8>) -> Limits {
        let (requests_per_second, bytes_per_second) = match tier {
            None => (500, 60 << 20),
            Some(40..) => (7500, 250_000_000),
            Some(30..) => (5000, 200_000_000),
            Some(20..) => (2300, 150_000_000),
            Some(15..) => (1100, 125_000_000),
            Some(_) => (500, 100_000_000),
        };
        Limits { tier, requests_per_second, bytes_per_second }
    }

    /// What one request is worth in pages: in the time of one request so many pass.
    pub fn worth(&self) -> Pages {
        Pages::new(self.bytes_per_second / self.requests_per_second / PAGE_BYTES)
    }

    /// How long such a blob takes at least for so many bytes in so many requests, and why.
    pub fn least(&self, bytes: u64, requests: u64) -> (Duration, Binding) {
        let (moving, asking) = (time(bytes, self.bytes_per_second), time(requests, self.requests_per_second));
        if asking > moving { (asking, Binding::Requests) } else { (moving, Binding::Bytes) }
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tier {
            None => f.write_str("a standard page blob"),
            Some(tier) => write!(f, "a premium page blob of tier P{tier}"),
        }
    }
}

fn time(amount: u64, per_second: u64) -> Duration {
    let rest = u128::from(amount % per_second) * 1_000_000_000 / u128::from(per_second);
    Duration::from_secs(amount / per_second) + Duration::from_nanos(u64::try_from(rest).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_that_takes_longer_binds() {
        let standard = Limits::of(None);
        assert_eq!(standard.least(60 << 20, 15), (Duration::from_secs(1), Binding::Bytes));
        assert_eq!(standard.least(512, 500), (Duration::from_secs(1), Binding::Requests));
        assert_eq!(standard.least(8 << 40, 2 << 20).1, Binding::Bytes);
        assert_eq!(Limits::of(Some(30)).least(512, 500).0, Duration::from_millis(100));
    }

    #[test]
    fn a_request_is_worth_the_bytes_that_pass_in_its_time() {
        let kib = |tier| Limits::of(tier).worth().bytes() >> 10;
        assert_eq!([None, Some(10), Some(20), Some(30), Some(40), Some(60)].map(kib), [122, 195, 63, 39, 32, 32]);
        assert_eq!(kib(Some(4)), 195, "a tier that is not known counts as the smallest");
    }
}
