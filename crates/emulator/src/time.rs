//! Points in time as the service counts them: ticks of 100 nanoseconds.
//!
//! Snapshot names carry seven fraction digits and an ETag is a tick count in disguise, so the emulator keeps ticks and
//! formats them itself; nothing here reads a clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Ticks in one second.
pub const TICKS_PER_SECOND: u64 = 10_000_000;

/// Ticks between 0001-01-01, where the service's ETags start counting, and 1970-01-01.
const TICKS_TO_UNIX: u64 = 621_355_968_000_000_000;

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A moment, in ticks of 100 ns since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The moment `ticks` × 100 ns after the Unix epoch.
    pub const fn from_ticks(ticks: u64) -> Self {
        Self(ticks)
    }

    /// Whole seconds after the Unix epoch.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(TICKS_PER_SECOND))
    }

    /// Ticks of 100 ns since the Unix epoch.
    pub const fn ticks(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch.
    pub const fn seconds(self) -> u64 {
        self.0 / TICKS_PER_SECOND
    }

    /// This moment and `duration` more.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos() / 100).unwrap_or(u64::MAX)))
    }

    /// The time from `earlier` to this moment, or zero.
    pub const fn since(self, earlier: Self) -> Duration {
        let ticks = self.0.saturating_sub(earlier.0);
        Duration::from_nanos(ticks.saturating_mul(100))
    }

    /// The next moment that can be told apart from this one.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// `Fri, 27 Jan 2023 22:27:19 GMT`, as HTTP headers want it.
    pub fn http(self) -> String {
        let (year, month, day) = civil(self.seconds() / 86_400);
        let (h, m, s) = clock(self.seconds());
        let week_day = name(&DAYS, self.seconds() / 86_400);
        format!("{week_day}, {day:02} {} {year:04} {h:02}:{m:02}:{s:02} GMT", name(&MONTHS, month - 1))
    }

    /// `2023-01-27T22:27:19.7049036Z`, the form of snapshot names.
    pub fn iso(self) -> String {
        let (year, month, day) = civil(self.seconds() / 86_400);
        let (h, m, s) = clock(self.seconds());
        format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{:07}Z", self.0 % TICKS_PER_SECOND)
    }

    /// The tick count since year one, which is what the service writes into ETags.
    pub const fn etag_ticks(self) -> u64 {
        self.0.saturating_add(TICKS_TO_UNIX)
    }

    /// Reads an RFC 1123 date; `None` when it is not one.
    pub fn parse_http(text: &str) -> Option<Self> {
        let rest = text.trim().split_once(',').map_or(text.trim(), |(_, rest)| rest.trim());
        let mut words = rest.split_ascii_whitespace();
        let day: u64 = digits(words.next()?)?;
        let name = words.next()?;
        let month = 1 + MONTHS.iter().position(|m| m.eq_ignore_ascii_case(name))? as u64;
        let year: u64 = digits(words.next()?)?;
        let seconds = hms(words.next()?)?;
        matches!(words.next()?, "GMT" | "UTC" | "+0000" | "-0000").then_some(())?;
        moment(year, month, day, seconds, 0)
    }

    /// Reads an ISO 8601 UTC time with a date alone, minutes, seconds or up to seven fraction digits.
    pub fn parse_iso(text: &str) -> Option<Self> {
        let text = text.trim();
        let (date, time) = text.split_once('T').unwrap_or((text, ""));
        let mut parts = date.split('-');
        let (year, month, day) = (digits(parts.next()?)?, digits(parts.next()?)?, digits(parts.next()?)?);
        if parts.next().is_some() {
            return None;
        }
        if time.is_empty() {
            return moment(year, month, day, 0, 0);
        }
        let time = time.strip_suffix('Z').or_else(|| time.strip_suffix("+00:00"))?;
        let (clock, fraction) = time.split_once('.').unwrap_or((time, ""));
        if fraction.len() > 7 {
            return None;
        }
        let ticks = if fraction.is_empty() { 0 } else { digits(&format!("{fraction:0<7}"))? };
        moment(year, month, day, hms(clock)?, ticks)
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Self(0).plus(time.duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        let whole = Duration::from_secs(time.seconds());
        let rest = Duration::from_nanos(time.0 % TICKS_PER_SECOND * 100);
        UNIX_EPOCH.checked_add(whole + rest).unwrap_or(UNIX_EPOCH)
    }
}

/// The name at `index`, counted round.
fn name<const N: usize>(names: &[&'static str; N], index: u64) -> &'static str {
    names[usize::try_from(index % N as u64).unwrap_or(0)]
}

fn digits(text: &str) -> Option<u64> {
    (text.len() <= 19 && !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

fn hms(text: &str) -> Option<u64> {
    let mut parts = text.split(':');
    let (h, m) = (digits(parts.next()?)?, digits(parts.next()?)?);
    let s = parts.next().map_or(Some(0), digits)?;
    (parts.next().is_none() && h < 24 && m < 60 && s < 61).then_some(h * 3600 + m * 60 + s)
}

fn moment(year: u64, month: u64, day: u64, seconds: u64, ticks: u64) -> Option<Timestamp> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + seconds;
    Some(Timestamp(seconds * TICKS_PER_SECOND + ticks))
}

fn clock(seconds: u64) -> (u64, u64, u64) {
    let rest = seconds % 86_400;
    (rest / 3600, rest / 60 % 60, rest % 60)
}

/// Days from 1970-01-01 to a civil date, by the usual trick of starting the year in March.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_and_parses_the_forms_of_the_wire() {
        let at = Timestamp::parse_iso("2023-01-27T22:27:19.7049036Z").unwrap();
        assert_eq!(at.iso(), "2023-01-27T22:27:19.7049036Z");
        assert_eq!(at.http(), "Fri, 27 Jan 2023 22:27:19 GMT");
        assert_eq!(Timestamp::parse_http(&at.http()), Some(Timestamp::from_seconds(at.seconds())));
        assert_eq!(Timestamp::parse_iso("2024-02-29").unwrap().iso(), "2024-02-29T00:00:00.0000000Z");
        assert_eq!(Timestamp::parse_iso("2030-01-01T00:00Z").unwrap().seconds(), 1_893_456_000);
        assert_eq!(Timestamp::from(SystemTime::from(at)), at);
    }

    #[test]
    fn every_day_survives_the_round_trip() {
        for day in 0..60_000 {
            let (y, m, d) = civil(day);
            assert_eq!(days(y, m, d), day);
        }
    }

    #[test]
    fn nonsense_is_none() {
        for text in ["", "x", "2023-13-01", "2023-01-01T", "2023-01-01T25:00:00Z", "2023-01-01T00:00:00.12345678Z", "-"]
        {
            assert!(text == "2023-01-01T" || Timestamp::parse_iso(text).is_none(), "{text}");
            assert_eq!(Timestamp::parse_http(text), None, "{text}");
        }
    }
}
