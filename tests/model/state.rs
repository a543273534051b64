//! A state of the world, and what a request does to it as a whole.

use crate::blob::{Age, Blob, Effect, FIRST, Id, Lease, Meta, Request, What};
use crate::engine::Engine;
use crate::rules::{Rules, StopRule};
use crate::run;
use crate::source::DELETABLE;

/// How often something may still happen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Left {
    /// Processes started.
    pub starts: u8,
    /// Processes killed.
    pub crashes: u8,
    /// Processes stopped by `Ctrl-C`, or by an error that is not a loss of the lease.
    pub stops: u8,
    /// Leases that run out.
    pub expiries: u8,
    /// Requests whose outcome the sender does not learn, or that arrive twice.
    pub strays: u8,
    /// Page writes by somebody who does not know of leases.
    pub foreign: u8,
    /// Deletions of the snapshot that may be deleted.
    pub deletions: u8,
}

/// A request that may be applied at any time from now on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Stray {
    /// The request.
    pub request: Request,
    /// The service has checked its conditions and is about to apply it, whatever happens meanwhile.
    pub admitted: bool,
}

/// A state of the world.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct State {
    /// The target.
    pub blob: Blob,
    /// The processes.
    pub engines: [Engine; 2],
    /// Requests that lie about.
    pub strays: Vec<Stray>,
    /// What may still happen.
    pub left: Left,
    /// The deletable source snapshot has been deleted.
    pub deleted: bool,
    /// A run has refused a target that says it is sealed because pages of it were touched.
    pub refused: bool,
}

/// What happens to a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It is applied or refused, and the sender hears of it.
    Answered,
    /// It is applied, and the answer is lost.
    Lost,
    /// It is on its way, and the sender gives up waiting.
    Late,
    /// It is answered, and a second copy is on its way.
    Twice,
}

impl State {
    /// Whether the source still has snapshot `one`.
    pub fn exists(&self, one: u8) -> bool {
        one != DELETABLE || !self.deleted
    }

    /// Whether the service is about to apply a request.
    pub fn service_is_busy(&self) -> bool {
        self.strays.iter().any(|stray| stray.admitted)
    }

    /// An id that nobody has.
    pub fn fresh(&self) -> Id {
        let mut copy = self.clone();
        let mut highest = FIRST;
        copy.each_id(|id| highest = highest.max(*id));
        highest + 1
    }

    /// Applies a request whose conditions hold, and lets everybody's tags and epochs age.
    pub fn apply(&mut self, request: &Request) {
        let effect = self.blob.apply(request);
        if effect == Effect::Unchanged {
            return;
        }
        self.blob.points.iter_mut().for_each(|point| point.tag = false);
        self.engines.iter_mut().for_each(|engine| engine.tag = false);
        for stray in &mut self.strays {
            stray.request.tag = stray.request.tag.map(|_| false);
        }
        if effect == Effect::Raised {
            self.each_epoch(|epoch| *epoch = epoch.later());
        }
    }

    fn each_epoch(&mut self, mut change: impl FnMut(&mut Age)) {
        change(&mut self.blob.meta.epoch);
        self.engines.iter_mut().for_each(|engine| change(&mut engine.epoch));
        for Stray { request, .. } in &mut self.strays {
            request.epoch.iter_mut().for_each(&mut change);
            match &mut request.what {
                What::Raise(epoch) => change(epoch),
                What::Say(meta) | What::Snapshot(Some(meta)) => change(&mut meta.epoch),
                _ => {}
            }
        }
    }

    fn each_id(&mut self, mut visit: impl FnMut(&mut Id)) {
        let visit_meta = |meta: &mut Meta, visit: &mut dyn FnMut(&mut Id)| {
            visit(&mut meta.run);
            visit(&mut meta.lease);
        };
        visit_meta(&mut self.blob.meta, &mut visit);
        if let Lease::Leased(id) | Lease::Expired(id) = &mut self.blob.lease {
            visit(id);
        }
        for engine in &mut self.engines {
            visit(&mut engine.lease);
            visit(&mut engine.run);
        }
        for Stray { request, .. } in &mut self.strays {
            request.lease.iter_mut().for_each(&mut visit);
            match &mut request.what {
                What::Acquire(id) | What::Change(id) => visit(id),
                What::Say(meta) | What::Snapshot(Some(meta)) => visit_meta(meta, &mut visit),
                _ => {}
            }
        }
        self.blob.points.iter_mut().for_each(|point| visit(&mut point.run));
    }

    /// Makes one state of all that no request can tell apart: drops strays that can never be applied and points that
    /// nobody will ask for, and renames ids.
    pub fn tidy(&mut self, rules: &Rules) {
        let (lease, engines) = (self.blob.lease, self.engines);
        let can_return = |id: Id, strays: &[Stray]| {
            let current = lease == Lease::Leased(id) || lease == Lease::Expired(id);
            let again = |engine: &Engine| matches!(rules.stop, StopRule::Shorten { .. }) && engine.lease == id;
            let coming =
                |stray: &Stray| matches!(stray.request.what, What::Acquire(new) | What::Change(new) if new == id);
            current || id < FIRST || engines.iter().any(again) || strays.iter().any(coming)
        };
        let strays = self.strays.clone();
        self.strays.retain(|Stray { request, admitted }| {
            let dead = request.tag == Some(false)
                || request.epoch == Some(Age::Past)
                || request.lease.is_some_and(|id| !can_return(id, &strays));
            *admitted || !dead
        });
        self.strays.sort_unstable();
        let newest = self.blob.newest().run;
        let mut asked = vec![newest, self.blob.meta.run];
        asked.extend(self.engines.iter().map(|engine| engine.run));
        for Stray { request, .. } in &self.strays {
            if let What::Say(meta) | What::Snapshot(Some(meta)) = request.what {
                asked.push(meta.run);
            }
        }
        self.blob.points.retain(|point| asked.contains(&point.run));
        for point in &mut self.blob.points {
            if point.run != newest {
                (point.names, point.touched, point.tag) = (0, 0, false);
            }
        }
        let mut names: Vec<Id> = Vec::new();
        self.each_id(|id| {
            if *id >= FIRST {
                let known = names.iter().position(|name| name == id).unwrap_or_else(|| {
                    names.push(*id);
                    names.len() - 1
                });
                *id = FIRST + Id::try_from(known).unwrap_or(Id::MAX);
            }
        });
    }

    /// Sends a request of process `who`, and lets it hear what it can of its fate.
    pub fn send(&mut self, rules: &Rules, who: usize, request: &Request, fate: Fate) {
        let stray = Stray { request: *request, admitted: false };
        match fate {
            Fate::Answered | Fate::Lost | Fate::Twice => {
                if let Err(why) = self.blob.admits(request) {
                    return run::refused(self, rules, who, why);
                }
                if fate == Fate::Twice {
                    self.strays.push(stray);
                }
                self.apply(request);
                if fate == Fate::Lost {
                    run::unknown(self, rules, who, request);
                } else {
                    run::answered(self, rules, who, request);
                }
            }
            Fate::Late => {
                self.strays.push(stray);
                run::unknown(self, rules, who, request);
            }
        }
    }
}
