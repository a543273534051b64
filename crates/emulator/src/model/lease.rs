//! The lease of a blob: five states, five actions, and what it asks of reads and writes.
//!
//! Time moves a lease on without anybody's doing, so its state is computed from `now` whenever it is looked at.

use std::time::Duration;

use crate::model::fault::Fault;
use crate::time::Timestamp;

/// A lease, or the absence of one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lease(Option<Held>);

/// How a lease looks at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Available,
    Leased,
    Expired,
    Breaking,
    Broken,
}

#[derive(Debug, Clone)]
struct Held {
    id: String,
    /// `None` is for ever.
    length: Option<Duration>,
    ends: Option<Timestamp>,
    /// Set once somebody asked to break it.
    breaks: Option<Timestamp>,
}

impl Lease {
    pub(crate) fn phase(&self, now: Timestamp) -> Phase {
        match &self.0 {
            None => Phase::Available,
            Some(Held { breaks: Some(at), .. }) => {
                if now < *at {
                    Phase::Breaking
                } else {
                    Phase::Broken
                }
            }
            Some(Held { ends: Some(at), .. }) if *at <= now => Phase::Expired,
            Some(_) => Phase::Leased,
        }
    }

    /// `fixed` or `infinite`, while leased.
    pub(crate) fn duration(&self, now: Timestamp) -> Option<&'static str> {
        let held = self.0.as_ref().filter(|_| self.phase(now) == Phase::Leased)?;
        Some(if held.length.is_some() { "fixed" } else { "infinite" })
    }

    /// Whether a write with this lease id may go on.
    pub(crate) fn check_write(&self, given: Option<&str>, now: Timestamp) -> Result<(), Fault> {
        match (given, self.phase(now)) {
            (None, Phase::Leased | Phase::Breaking) => Err(Fault::of("LeaseIdMissing")),
            _ => self.check_read(given, now),
        }
    }

    /// Whether a read may go on; without an id it always may.
    pub(crate) fn check_read(&self, given: Option<&str>, now: Timestamp) -> Result<(), Fault> {
        let Some(given) = given else { return Ok(()) };
        match (self.phase(now), self.is(given)) {
            (Phase::Available, _) => Err(Fault::of("LeaseNotPresentWithBlobOperation")),
            (_, false) => Err(Fault::of("LeaseIdMismatchWithBlobOperation")),
            (Phase::Leased | Phase::Breaking, true) => Ok(()),
            (Phase::Broken | Phase::Expired, true) => Err(Fault::of("LeaseLost")),
        }
    }

    /// A write has happened: a lease that had run out or was broken is gone for good, and with it the proof that
    /// nobody wrote since.
    pub(crate) fn written(&mut self, now: Timestamp) {
        if matches!(self.phase(now), Phase::Broken | Phase::Expired) {
            self.0 = None;
        }
    }

    pub(crate) fn acquire(&mut self, id: String, length: Option<Duration>, now: Timestamp) -> Result<(), Fault> {
        match self.phase(now) {
            Phase::Breaking if self.is(&id) => return Err(Fault::of("LeaseIsBreakingAndCannotBeAcquired")),
            Phase::Leased if self.is(&id) => {}
            Phase::Leased | Phase::Breaking => return Err(Fault::of("LeaseAlreadyPresent")),
            Phase::Available | Phase::Expired | Phase::Broken => {}
        }
        self.0 = Some(Held { id, length, ends: length.map(|length| now.plus(length)), breaks: None });
        Ok(())
    }

    pub(crate) fn renew(&mut self, id: &str, now: Timestamp) -> Result<(), Fault> {
        let phase = self.phase(now);
        let held = self.matching(id)?;
        if matches!(phase, Phase::Breaking | Phase::Broken) {
            return Err(Fault::of("LeaseIsBrokenAndCannotBeRenewed"));
        }
        held.ends = held.length.map(|length| now.plus(length));
        Ok(())
    }

    pub(crate) fn change(&mut self, id: &str, to: &str, now: Timestamp) -> Result<(), Fault> {
        let phase = self.phase(now);
        if phase == Phase::Available {
            return Err(Fault::of("LeaseNotPresentWithLeaseOperation"));
        }
        // A change whose answer was lost may be asked for again.
        let held = if self.is(to) { self.matching(to)? } else { self.matching(id)? };
        match phase {
            Phase::Breaking => Err(Fault::of("LeaseIsBreakingAndCannotBeChanged")),
            Phase::Leased => {
                to.clone_into(&mut held.id);
                Ok(())
            }
            _ => Err(Fault::of("LeaseNotPresentWithLeaseOperation")),
        }
    }

    pub(crate) fn release(&mut self, id: &str) -> Result<(), Fault> {
        self.matching(id)?;
        self.0 = None;
        Ok(())
    }

    /// Breaks the lease after at most `period`; returns the seconds until it is broken.
    pub(crate) fn break_after(&mut self, period: Option<Duration>, now: Timestamp) -> Result<u64, Fault> {
        let phase = self.phase(now);
        let Some(held) = &mut self.0 else { return Err(Fault::of("LeaseNotPresentWithLeaseOperation")) };
        let left = match phase {
            Phase::Leased => held.ends.map(|at| at.since(now)),
            Phase::Breaking => held.breaks.map(|at| at.since(now)),
            Phase::Available | Phase::Expired | Phase::Broken => Some(Duration::ZERO),
        };
        let wait = match (period, left) {
            (Some(period), Some(left)) => period.min(left),
            (Some(period), None) => period,
            (None, left) => left.unwrap_or_default(),
        };
        held.breaks = Some(now.plus(wait));
        Ok(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
    }

    /// Whether the lease in force is one without an end.
    pub(crate) fn is_infinite(&self) -> bool {
        self.0.as_ref().is_some_and(|held| held.length.is_none())
    }

    fn is(&self, id: &str) -> bool {
        self.0.as_ref().is_some_and(|held| held.id.eq_ignore_ascii_case(id))
    }

    fn matching(&mut self, id: &str) -> Result<&mut Held, Fault> {
        let held = self.0.as_mut().filter(|held| held.id.eq_ignore_ascii_case(id));
        held.ok_or_else(|| Fault::of("LeaseIdMismatchWithLeaseOperation"))
    }
}

impl Phase {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Leased => "leased",
            Self::Expired => "expired",
            Self::Breaking => "breaking",
            Self::Broken => "broken",
        }
    }

    pub(crate) fn status(self) -> &'static str {
        if matches!(self, Self::Leased | Self::Breaking) { "locked" } else { "unlocked" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaa-0000-0000-0000-000000000000";
    const B: &str = "bbbbbbbb-0000-0000-0000-000000000000";
    const STATES: [Phase; 5] = [Phase::Available, Phase::Leased, Phase::Breaking, Phase::Broken, Phase::Expired];

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(1_000 + seconds)
    }

    /// A lease that is in the given state at `at(20)`.
    fn lease(phase: Phase) -> Lease {
        let mut lease = Lease::default();
        let length = if phase == Phase::Expired { 15 } else { 60 };
        if phase != Phase::Available {
            lease.acquire(A.into(), Some(Duration::from_secs(length)), at(0)).unwrap();
        }
        match phase {
            Phase::Breaking => drop(lease.break_after(None, at(10)).unwrap()),
            Phase::Broken => drop(lease.break_after(Some(Duration::ZERO), at(10)).unwrap()),
            _ => {}
        }
        assert_eq!(lease.phase(at(20)), phase);
        lease
    }

    fn row(mut action: impl FnMut(&mut Lease) -> Result<(), Fault>) -> Vec<String> {
        let one = |phase| {
            let mut lease = lease(phase);
            match action(&mut lease) {
                Ok(()) => lease.phase(at(20)).name().to_owned(),
                Err(fault) => fault.code.to_owned(),
            }
        };
        STATES.into_iter().map(one).collect()
    }

    #[test]
    fn writes_and_reads() {
        let (none, lost) = ("LeaseNotPresentWithBlobOperation", "LeaseLost");
        let (other, missing) = ("LeaseIdMismatchWithBlobOperation", "LeaseIdMissing");
        let write = |id: Option<&'static str>| row(move |l| l.check_write(id, at(20)).map(|()| l.written(at(20))));
        assert_eq!(write(Some(A)), [none, "leased", "breaking", lost, lost]);
        assert_eq!(write(Some(B)), [none, other, other, other, other]);
        assert_eq!(write(None), ["available", missing, missing, "available", "available"]);
        let read = |id: Option<&'static str>| row(move |l| l.check_read(id, at(20)));
        assert_eq!(read(Some(A)), [none, "leased", "breaking", lost, lost]);
        assert_eq!(read(None), ["available", "leased", "breaking", "broken", "expired"]);
    }

    #[test]
    fn actions() {
        let (mismatch, absent) = ("LeaseIdMismatchWithLeaseOperation", "LeaseNotPresentWithLeaseOperation");
        let (present, broken) = ("LeaseAlreadyPresent", "LeaseIsBrokenAndCannotBeRenewed");
        assert_eq!(row(|l| l.acquire(B.into(), None, at(20))), ["leased", present, present, "leased", "leased"]);
        let breaking = "LeaseIsBreakingAndCannotBeAcquired";
        assert_eq!(row(|l| l.acquire(A.into(), None, at(20))), ["leased", "leased", breaking, "leased", "leased"]);
        assert_eq!(row(|l| l.renew(A, at(20))), [mismatch, "leased", broken, broken, "leased"]);
        let changing = "LeaseIsBreakingAndCannotBeChanged";
        assert_eq!(row(|l| l.change(A, B, at(20))), [absent, "leased", changing, absent, absent]);
        assert_eq!(row(|l| l.release(A)), [mismatch, "available", "available", "available", "available"]);
        assert_eq!(row(|l| l.release(B)), [mismatch; 5]);
        let break_now = row(|l| l.break_after(Some(Duration::ZERO), at(20)).map(drop));
        assert_eq!(break_now, [absent, "broken", "broken", "broken", "broken"]);
        let break_later = row(|l| l.break_after(Some(Duration::from_secs(9)), at(20)).map(drop));
        assert_eq!(break_later, [absent, "breaking", "breaking", "broken", "broken"]);
    }

    #[test]
    fn breaking_never_takes_longer_than_the_lease_or_the_break_before() {
        let mut held = lease(Phase::Leased);
        assert_eq!(held.break_after(Some(Duration::from_secs(30)), at(20)).unwrap(), 30);
        assert_eq!(held.break_after(Some(Duration::from_secs(60)), at(25)).unwrap(), 25);
        assert_eq!(held.break_after(Some(Duration::from_secs(5)), at(25)).unwrap(), 5);
        let mut forever = Lease::default();
        forever.acquire(A.into(), None, at(0)).unwrap();
        assert_eq!(forever.break_after(None, at(1)).unwrap(), 0);
    }

    #[test]
    fn a_write_after_expiry_makes_renewal_impossible() {
        let mut expired = lease(Phase::Expired);
        expired.check_write(None, at(20)).unwrap();
        expired.written(at(20));
        assert_eq!(expired.renew(A, at(21)).unwrap_err().code, "LeaseIdMismatchWithLeaseOperation");
    }

    #[test]
    fn change_can_be_repeated() {
        let mut held = lease(Phase::Leased);
        held.change(A, B, at(20)).unwrap();
        held.change(A, B, at(20)).unwrap();
        held.change(B, B, at(20)).unwrap();
        assert_eq!(held.change(A, A, at(20)).unwrap_err().code, "LeaseIdMismatchWithLeaseOperation");
    }
}
