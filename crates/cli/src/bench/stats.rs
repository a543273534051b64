//! What the numbers of one measurement come to. Pure: durations and counters in, figures out.

use std::time::Duration;

use serde::Serialize;

/// Latencies of one kind of request, in microseconds, from the first attempt to the final answer.
///
/// Percentiles are by nearest rank: the `p`th is the smallest latency that was observed such that at least `p` percent of
/// all are no longer. So each is a latency that really occurred.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) count: u64,
    pub(crate) p50_us: u64,
    pub(crate) p90_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) max_us: u64,
}

/// What happened in one interval of a measurement.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Sample {
    /// When the interval ended, from the beginning of the measurement.
    pub(crate) at_ms: u64,
    /// How long it was.
    pub(crate) span_ms: u64,
    /// Bytes that were moved in it.
    pub(crate) bytes: u64,
    /// The most requests that were under way at once in it.
    pub(crate) in_flight: u64,
    /// Requests that were refused in it.
    pub(crate) refused: u64,
}

/// Counters of a measurement at one moment. All only grow but `in_flight`, which is the most since the last look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) bytes: u64,
    pub(crate) requests: u64,
    pub(crate) refused: u64,
    pub(crate) in_flight: u64,
}

/// Samples in the order of their time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series {
    samples: Vec<Sample>,
    last: Counters,
    last_ms: u64,
}

impl Latency {
    /// Of these; `None` where there are none.
    pub(crate) fn of(mut latencies: Vec<Duration>) -> Option<Latency> {
        latencies.sort_unstable();
        let micros = |latency: Duration| u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        Some(Latency {
            count: latencies.len() as u64,
            p50_us: micros(percentile(&latencies, 50)?),
            p90_us: micros(percentile(&latencies, 90)?),
            p99_us: micros(percentile(&latencies, 99)?),
            max_us: micros(*latencies.last()?),
        })
    }
}

/// The `percent`th percentile of values in ascending order, by nearest rank; `None` of no values.
pub(crate) fn percentile<T: Copy>(ascending: &[T], percent: usize) -> Option<T> {
    let rank = (ascending.len() * percent.min(100)).div_ceil(100).max(1);
    ascending.get(rank - 1).copied()
}

impl Series {
    /// Adds the interval that ends now, at `at`. Two ends within a millisecond are one.
    pub(crate) fn push(&mut self, at: Duration, now: Counters) {
        // Begun milliseconds: what happened at all took time.
        let at_ms = u64::try_from(at.as_micros().div_ceil(1000)).unwrap_or(u64::MAX).max(1);
        let span_ms = at_ms.saturating_sub(self.last_ms);
        let (bytes, refused) =
            (now.bytes.saturating_sub(self.last.bytes), now.refused.saturating_sub(self.last.refused));
        let sample = Sample { at_ms, span_ms, bytes, in_flight: now.in_flight, refused };
        match self.samples.last_mut().filter(|_| span_ms == 0) {
            Some(last) => {
                *last = Sample {
                    bytes: last.bytes + bytes,
                    refused: last.refused + refused,
                    in_flight: now.in_flight,
                    ..*last
                };
            }
            None => self.samples.push(sample),
        }
        (self.last, self.last_ms) = (now, at_ms);
    }

    /// All of them.
    pub(crate) fn samples(self) -> Vec<Sample> {
        self.samples
    }
}

/// The same in intervals of at least `span_ms`, so that a few requests more or less do not look like a change of speed. A
/// rest that is too short for itself goes to the interval before.
pub(crate) fn merged(samples: &[Sample], span_ms: u64) -> Vec<Sample> {
    let mut merged: Vec<Sample> = Vec::new();
    for sample in samples {
        match merged.last_mut().filter(|last| last.span_ms < span_ms) {
            Some(last) => last.take_in(sample),
            None => merged.push(*sample),
        }
    }
    if let Some(rest) = merged.pop_if(|last| last.span_ms < span_ms) {
        match merged.last_mut() {
            Some(last) => last.take_in(&rest),
            None => merged.push(rest),
        }
    }
    merged
}

impl Sample {
    /// Makes one interval of this and the one that follows it.
    fn take_in(&mut self, next: &Sample) {
        self.at_ms = next.at_ms;
        self.span_ms += next.span_ms;
        self.bytes += next.bytes;
        self.in_flight = self.in_flight.max(next.in_flight);
        self.refused += next.refused;
    }

    /// Bytes a second in this interval.
    pub(crate) fn bytes_per_second(&self) -> u64 {
        bytes_per_second(self.bytes, Duration::from_millis(self.span_ms))
    }
}

/// The mean rate in bytes a second.
pub(crate) fn bytes_per_second(bytes: u64, time: Duration) -> u64 {
    let micros = time.as_micros().max(1);
    u64::try_from(u128::from(bytes) * 1_000_000 / micros).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        // The worked example of the nearest-rank method.
        let five = [15, 20, 35, 40, 50];
        let ranks: Vec<_> = [5, 30, 40, 50, 100].iter().map(|percent| percentile(&five, *percent)).collect();
        assert_eq!(ranks, [Some(15), Some(20), Some(20), Some(35), Some(50)]);
        assert_eq!(percentile(&[7], 0), Some(7));
        assert_eq!(percentile(&[7], 99), Some(7));
        assert_eq!(percentile::<u8>(&[], 50), None);
        let hundred: Vec<u64> = (1..=100).collect();
        for percent in 1..=100 {
            assert_eq!(percentile(&hundred, percent), Some(percent as u64));
        }
    }

    #[test]
    fn latencies_need_no_order() {
        let millis = |numbers: &[u64]| numbers.iter().map(|n| Duration::from_millis(*n)).collect();
        let latency = Latency::of(millis(&[9, 1, 5, 3, 7, 2, 8, 4, 6, 100])).unwrap();
        assert_eq!((latency.count, latency.p50_us, latency.p90_us), (10, 5_000, 9_000));
        assert_eq!((latency.p99_us, latency.max_us), (100_000, 100_000));
        assert_eq!(Latency::of(Vec::new()), None);
    }

    #[test]
    fn a_series_loses_no_byte() {
        let mut series = Series::default();
        let counters = |bytes, refused, in_flight| Counters { bytes, refused, in_flight, requests: 0 };
        for (at, now) in [
            (0, counters(0, 0, 3)),
            (250, counters(1000, 0, 4)),
            (500, counters(1000, 2, 2)),
            (500, counters(1500, 2, 1)),
            (700, counters(4000, 3, 0)),
        ] {
            series.push(Duration::from_millis(at), now);
        }
        let samples = series.samples();
        let seen: Vec<_> = samples.iter().map(|s| (s.at_ms, s.span_ms, s.bytes, s.in_flight, s.refused)).collect();
        assert_eq!(seen, [(1, 1, 0, 3, 0), (250, 249, 1000, 4, 0), (500, 250, 500, 1, 2), (700, 200, 2500, 0, 1)]);
        assert_eq!(samples[3].bytes_per_second(), 12_500);
    }

    #[test]
    fn merged_intervals_are_long_enough_and_lose_nothing() {
        let sample = |at_ms, span_ms, bytes| Sample { at_ms, span_ms, bytes, in_flight: bytes, refused: 1 };
        let samples = [sample(250, 250, 8), sample(500, 250, 0), sample(750, 250, 4), sample(800, 50, 2)];
        let of = |span| merged(&samples, span).iter().map(|s| (s.at_ms, s.span_ms, s.bytes)).collect::<Vec<_>>();
        assert_eq!(of(300), [(500, 500, 8), (800, 300, 6)]);
        assert_eq!(of(250), [(250, 250, 8), (500, 250, 0), (800, 300, 6)]);
        assert_eq!(of(10_000), [(800, 800, 14)]);
        assert_eq!(
            merged(&samples, 10_000)[0],
            Sample { at_ms: 800, span_ms: 800, bytes: 14, in_flight: 8, refused: 4 }
        );
        assert_eq!(merged(&[], 1), []);
    }

    #[test]
    fn rates_are_exact_and_never_divide_by_nothing() {
        assert_eq!(bytes_per_second(4 << 20, Duration::from_millis(500)), 8 << 20);
        assert_eq!(bytes_per_second(0, Duration::ZERO), 0);
        assert_eq!(bytes_per_second(u64::MAX, Duration::from_nanos(1)), u64::MAX);
    }
}
