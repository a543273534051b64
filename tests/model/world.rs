//! Everything together: the target, two processes, requests that lie about, and what may still go wrong.

use stateright::{Model, Property};

use crate::blob::{Blob, Lease, Refusal, Request, What, Words};
use crate::engine::{Engine, Phase};
use crate::rules::{LeaseRule, Rules};
use crate::run;
use crate::source::{self, FOREIGN, LAST, content};
use crate::state::{Fate, Left, State};

/// How much may go wrong, and how long the story is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Bound {
    /// The source snapshot that the target's newest point holds at the beginning.
    pub begin: u8,
    /// The service checks the conditions of a request when it arrives and may apply it later.
    pub admission: bool,
    /// A request may also arrive twice without anybody noticing.
    pub silent: bool,
    /// A foreign change is repaired instead of refused.
    pub repair: bool,
    /// Processes at once.
    pub processes: usize,
    /// Check [`REFUSALS`].
    pub watch_refusals: bool,
    /// Check [`RECOVERS`], which costs a whole run for each state.
    pub watch_recovery: bool,
    /// What may happen how often.
    pub left: Left,
}

impl Bound {
    /// The bounds in which one thing less may happen.
    pub fn smaller(self) -> impl Iterator<Item = Bound> {
        let with = |change: fn(&mut Bound)| {
            let mut one = self;
            change(&mut one);
            one
        };
        let less = |left: Left| Bound { left, ..self };
        let Left { starts, crashes, stops, expiries, strays, foreign, deletions } = self.left;
        let fewer = |now: u8| now.saturating_sub(1);
        [
            with(|one| one.admission = false),
            with(|one| one.silent = false),
            with(|one| one.processes = 1),
            less(Left { starts: fewer(starts), ..self.left }),
            less(Left { crashes: fewer(crashes), ..self.left }),
            less(Left { stops: fewer(stops), ..self.left }),
            less(Left { expiries: fewer(expiries), ..self.left }),
            less(Left { strays: fewer(strays), ..self.left }),
            less(Left { foreign: fewer(foreign), ..self.left }),
            less(Left { deletions: fewer(deletions), ..self.left }),
        ]
        .into_iter()
        .filter(move |one| *one != self)
    }
}

/// How many quiet runs it may take: the first may find its evidence overtaken by a request that was still being applied.
const RUNS_TO_RECOVER: u8 = 2;

/// A step of the world. The number is the process.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Action {
    /// A process starts and looks.
    Start(usize),
    /// It reads something and decides.
    Think(usize),
    /// It sends a request.
    Send(usize, Request, Fate),
    /// It renews a lease that had run out without anybody noticing.
    KeepAlive(usize),
    /// It is interrupted, or fails.
    Stop(usize),
    /// It is killed.
    Crash(usize),
    /// A stray request arrives.
    Arrive(usize),
    /// An admitted request is applied.
    ApplyAdmitted(usize),
    /// The lease runs out.
    Expire,
    /// Somebody writes this page without a lease.
    Foreign(u8),
    /// Somebody deletes a source snapshot.
    Delete,
}

/// A protocol in a world.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// The protocol.
    pub rules: Rules,
    /// The world.
    pub bound: Bound,
}

impl World {
    /// Whether somebody foreign has written.
    pub fn foreign(&self, state: &State) -> bool {
        state.left.foreign < self.bound.left.foreign
    }

    /// Whether, once all is quiet, a process brings the target to the newest snapshot it can reach.
    fn recovers(&self, state: &State) -> bool {
        let mut now = state.clone();
        now.engines = [Engine::OFF; 2];
        now.left = Left { starts: RUNS_TO_RECOVER, ..Left::default() };
        while let Some(i) = now.strays.iter().position(|stray| stray.admitted) {
            let stray = now.strays.remove(i);
            now.apply(&stray.request);
        }
        now.strays.clear();
        if let Lease::Leased(id) = now.blob.lease {
            now.blob.lease = Lease::Expired(id);
        }
        let mut actions = Vec::new();
        loop {
            actions.clear();
            self.actions(&now, &mut actions);
            let ours = |action: &Action| {
                matches!(action, Action::Think(0) | Action::Send(0, _, Fate::Answered) | Action::Start(0))
            };
            let next = actions.iter().copied().find(ours);
            let Some(next) = next.and_then(|action| self.next_state(&now, action)) else { break };
            now = next;
        }
        let newest = now.blob.newest().names;
        newest == LAST || !now.exists(newest) || now.refused
    }

    fn sends(&self, state: &State, who: usize, actions: &mut Vec<Action>) {
        let engine = &state.engines[who];
        if engine.asks {
            return;
        }
        let exists = state.exists(engine.task.to);
        let main = engine.request(&self.rules, || state.fresh());
        for request in main.into_iter().chain(engine.writes(&self.rules, exists)).chain(engine.word(&self.rules)) {
            let admitted = state.blob.admits(&request);
            if admitted == Err(Refusal::Busy) {
                continue;
            }
            actions.push(Action::Send(who, request, Fate::Answered));
            if state.left.strays > 0 {
                actions.push(Action::Send(who, request, Fate::Late));
                if admitted.is_ok() {
                    actions.push(Action::Send(who, request, Fate::Lost));
                    if self.bound.silent {
                        actions.push(Action::Send(who, request, Fate::Twice));
                    }
                }
            }
        }
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let Bound { begin, left, .. } = self.bound;
        let blob = Blob::sealed(begin);
        vec![State { blob, engines: [Engine::OFF; 2], strays: Vec::new(), left, deleted: false, refused: false }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let left = state.left;
        for who in 0..self.bound.processes {
            let engine = &state.engines[who];
            if engine.phase == Phase::Off {
                if left.starts > 0 {
                    actions.push(Action::Start(who));
                }
                continue;
            }
            if run::can_think(state, &self.rules, who) {
                actions.push(Action::Think(who));
            }
            self.sends(state, who, actions);
            if left.crashes > 0 {
                actions.push(Action::Crash(who));
            }
            if left.stops > 0 && engine.can_stop() {
                actions.push(Action::Stop(who));
            }
            if self.rules.lease != LeaseRule::None && engine.holds() && state.blob.lease == Lease::Expired(engine.lease)
            {
                actions.push(Action::KeepAlive(who));
            }
        }
        for (i, stray) in state.strays.iter().enumerate() {
            if stray.admitted {
                actions.push(Action::ApplyAdmitted(i));
            } else if state.blob.admits(&stray.request).is_ok() {
                actions.push(Action::Arrive(i));
            }
        }
        if left.expiries > 0 && matches!(state.blob.lease, Lease::Leased(_)) {
            actions.push(Action::Expire);
        }
        if left.foreign > 0 && !matches!(state.blob.lease, Lease::Leased(_)) {
            actions.extend(source::pages().map(Action::Foreign));
        }
        if left.deletions > 0 {
            actions.push(Action::Delete);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let rules = &self.rules;
        match action {
            Action::Start(who) => {
                state.left.starts -= 1;
                run::look(&mut state, rules, who);
            }
            Action::Think(who) => run::think(&mut state, rules, self.bound.repair, who),
            Action::Send(who, request, fate) => {
                state.left.strays -= u8::from(fate != Fate::Answered);
                state.send(rules, who, &request, fate);
            }
            Action::KeepAlive(who) => state.blob.lease = Lease::Leased(state.engines[who].lease),
            Action::Stop(who) => {
                state.left.stops -= 1;
                run::let_go(&mut state, rules, who);
            }
            Action::Crash(who) => {
                state.left.crashes -= 1;
                state.engines[who] = Engine::OFF;
            }
            Action::Arrive(i) if self.bound.admission => state.strays[i].admitted = true,
            Action::Arrive(i) | Action::ApplyAdmitted(i) => {
                let stray = state.strays.remove(i);
                state.apply(&stray.request);
            }
            Action::Expire => {
                state.left.expiries -= 1;
                if let Lease::Leased(id) = state.blob.lease {
                    state.blob.lease = Lease::Expired(id);
                }
            }
            Action::Foreign(page) => {
                state.left.foreign -= 1;
                let what = What::Put { page, value: FOREIGN };
                state.apply(&Request { lease: None, tag: None, epoch: None, what });
            }
            Action::Delete => {
                state.left.deletions -= 1;
                state.deleted = true;
            }
        }
        state.tidy(rules);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<World>> {
        vec![
            Property::always(POINTS, |_, state: &State| !state.blob.wrong_point),
            Property::always(CLEAN, |_, state: &State| {
                let newest = state.blob.newest();
                !state.blob.is_clean() || state.blob.pages == content(newest.names)
            }),
            Property::always(WORDS, |world: &World, state: &State| match state.blob.meta.words {
                Words::Sealed(names) if !world.foreign(state) && !world.bound.admission => {
                    state.blob.pages == content(names)
                }
                _ => true,
            }),
            Property::always(REFUSALS, |world: &World, state: &State| {
                !world.bound.watch_refusals || !state.refused || world.foreign(state)
            }),
            Property::always(RECOVERS, |world: &World, state: &State| {
                !world.bound.watch_recovery || world.recovers(state)
            }),
            Property::sometimes(ENDS, |_, state: &State| state.blob.newest().names == LAST),
        ]
    }
}

/// No point is ever made that is not identical to the source snapshot it names.
pub const POINTS: &str = "every point is right";
/// A base that passes for untouched since its newest point is identical to it.
pub const CLEAN: &str = "a clean base is its point";
/// A base that says it is sealed is what it says, unless somebody foreign wrote. Not promised on a service that applies
/// a late copy of the seal, admitted before, over the next run's mark; the tag gives that away.
pub const WORDS: &str = "sealed words are true";
/// No run refuses as foreign what one of ours has done. See `known_gaps` of the suite.
pub const REFUSALS: &str = "no refusal without a foreign write";
/// Whatever has happened, a process that is left alone finishes the chain, or says that the chain is broken.
pub const RECOVERS: &str = "a quiet run recovers";
/// The newest snapshot becomes a point in some history.
pub const ENDS: &str = "the chain can be finished";
