//! How far a copy in the background is. It is worked out from the time alone, so that asking changes nothing.

use std::time::Duration;

use crate::time::Timestamp;

/// A copy that began at a time and takes a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) started: Timestamp,
    pub(crate) takes: Duration,
}

impl Progress {
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        now >= self.started.plus(self.takes)
    }

    /// Per cent, to one place; never 100 before it is over.
    pub(crate) fn percent(&self, now: Timestamp) -> f64 {
        if self.is_over(now) {
            return 100.0;
        }
        let per_mille = now.since(self.started).as_nanos() * 1000 / self.takes.as_nanos().max(1);
        f64::from(u32::try_from(per_mille.min(999)).unwrap_or(999)) / 10.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_and_is_whole_only_at_the_end() {
        let at = Timestamp::from_seconds;
        let progress = Progress { started: at(1_000), takes: Duration::from_secs(3) };
        let seen: Vec<f64> = [1_000, 1_001, 1_002, 1_003, 1_004].map(|second| progress.percent(at(second))).into();
        assert_eq!(seen, [0.0, 33.3, 66.6, 100.0, 100.0]);
        let late = Timestamp::from_ticks(at(1_003).ticks() - 1);
        assert!(progress.percent(late) < 100.0 && !progress.is_over(late));
    }
}
