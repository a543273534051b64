//! How fast to go, as far as somebody has a say in it.

use std::sync::Arc;

use pageferry_pace::{Adaptive, Capped, Fixed, Pacer};
use pageferry_transfer::Budget;

/// How fast to go. By default whatever the service and the network allow is found out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Speed {
    pub(crate) concurrency: Concurrency,
    /// The most bytes a second, in either direction; `None` for no such limit.
    pub(crate) cap: Option<Cap>,
}

/// How many requests to have under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Concurrency {
    #[default]
    Auto,
    Always(u16),
}

/// A limit in megabits a second, as networks are sold and azcopy takes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cap(f64);

impl Speed {
    /// The most requests under way.
    pub(crate) fn requests(self) -> usize {
        match self.concurrency {
            Concurrency::Auto => Budget::default().requests,
            Concurrency::Always(number) => number.into(),
        }
    }

    /// What requests to one blob wait for.
    pub(crate) fn pacer(self) -> Arc<Pacer> {
        Arc::new(match (self.concurrency, self.cap) {
            (Concurrency::Auto, None) => Pacer::new(Adaptive::default()),
            (Concurrency::Auto, Some(cap)) => Pacer::new(Capped::new(Adaptive::default(), cap.bytes_per_second())),
            (Concurrency::Always(number), None) => Pacer::new(Fixed(number.into())),
            (Concurrency::Always(number), Some(cap)) => {
                Pacer::new(Capped::new(Fixed(number.into()), cap.bytes_per_second()))
            }
        })
    }
}

impl Cap {
    fn bytes_per_second(self) -> f64 {
        self.0 * 1_000_000.0 / 8.0
    }
}

/// `auto`, or a number from 1 to 512.
pub(crate) fn parse_concurrency(text: &str) -> Result<Concurrency, String> {
    if text.eq_ignore_ascii_case("auto") {
        return Ok(Concurrency::Auto);
    }
    match text.parse() {
        Ok(number @ 1..=512) => Ok(Concurrency::Always(number)),
        _ => Err("say auto, or a number of requests from 1 to 512".to_owned()),
    }
}

/// Megabits a second, more than none.
pub(crate) fn parse_cap(text: &str) -> Result<Cap, String> {
    match text.parse() {
        Ok(megabits) if megabits >= 0.01 && f64::is_finite(megabits) => Ok(Cap(megabits)),
        _ => Err("say a number of megabits a second, such as 200".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_make_no_sense_are_refused() {
        assert_eq!(parse_concurrency("Auto"), Ok(Concurrency::Auto));
        assert_eq!(parse_concurrency("512"), Ok(Concurrency::Always(512)));
        for word in ["0", "513", "-1", "many", ""] {
            assert!(parse_concurrency(word).is_err(), "{word}");
        }
        assert_eq!(parse_cap("8").map(Cap::bytes_per_second), Ok(1_000_000.0));
        for word in ["0", "-1", "NaN", "inf", "1e999", "fast", ""] {
            assert!(parse_cap(word).is_err(), "{word}");
        }
    }
}
