//! Short ways to write a script in Rust.

use crate::faults::operation::Select;
use crate::faults::script::{Action, Applied, FaultScript, Limit, Loss, Match, Pace, Refusal, Rule, Storm, When};

impl FaultScript {
    /// A script in which nothing goes wrong yet.
    pub fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// The same script with one more rule.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// The same script with one more limit.
    #[must_use]
    pub fn limit(mut self, limit: Limit) -> Self {
        self.limits.push(limit);
        self
    }

    /// Whether nothing can go wrong.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.limits.is_empty()
    }
}

impl Rule {
    /// A rule that befalls every request.
    pub fn new(action: Action) -> Self {
        Self { on: Match::default(), when: When::default(), action }
    }

    /// Also about this operation, and no longer about all.
    #[must_use]
    pub fn on(mut self, operation: impl Into<Select>) -> Self {
        self.on.operations.push(operation.into());
        self
    }

    /// Only about blobs whose `container/blob` fits this pattern.
    #[must_use]
    pub fn blob(mut self, pattern: impl Into<String>) -> Self {
        self.on.blob = Some(pattern.into());
        self
    }

    /// Only the request of this number.
    #[must_use]
    pub fn nth(mut self, nth: u64) -> Self {
        self.when.nth = Some(nth);
        self
    }

    /// Only once this many have passed.
    #[must_use]
    pub fn after(mut self, count: u64) -> Self {
        self.when.after = count;
        self
    }

    /// Only one in so many.
    #[must_use]
    pub fn every(mut self, every: u64) -> Self {
        self.when.every = Some(every);
        self
    }

    /// Only this many of a thousand, by chance.
    #[must_use]
    pub fn per_mille(mut self, chance: u16) -> Self {
        self.when.per_mille = Some(chance);
        self
    }

    /// No more often than this.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.when.times = Some(times);
        self
    }

    /// Only from `from` on for `lasts` milliseconds.
    #[must_use]
    pub fn storm(mut self, from: u64, lasts: u64) -> Self {
        self.when.storm = Some(Storm { from, lasts, every: None });
        self
    }
}

impl Action {
    /// 503 `ServerBusy`.
    pub fn busy() -> Self {
        Self::Refuse { code: Refusal::ServerBusy, applied: Applied::None, retry_after: None }
    }

    /// A reset before anything is applied.
    pub fn reset() -> Self {
        Self::Lose { applied: Applied::None, how: Loss::Reset }
    }

    /// A reset after everything is applied.
    pub fn lost_answer() -> Self {
        Self::Lose { applied: Applied::Whole, how: Loss::Reset }
    }
}

impl Storm {
    /// Whether it rages `elapsed` milliseconds after the script was set.
    pub fn rages(self, elapsed: u64) -> bool {
        let Some(since) = elapsed.checked_sub(self.from) else { return false };
        let since = self.every.map_or(since, |every| since.checked_rem(every).unwrap_or(since));
        since < self.lasts
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self { first: 0, bytes: u64::MAX, pause: 0 }
    }
}

impl Refusal {
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::ServerBusy => "ServerBusy",
            Self::OperationTimedOut => "OperationTimedOut",
            Self::InternalError => "InternalError",
        }
    }
}
