//! How an engine moves on: by looking, by an answer, or by the lack of one.
//!
//! Each function mirrors code of `replicate`; the comment says which.

use crate::blob::{Age, Blob, Lease, Meta, NOBODY, Refusal, Request, What, Words};
use crate::engine::{Before, Engine, Phase, Task};
use crate::rules::{EpochRule, EvidenceRule, LeaseRule, OwnRule, Rules, StopRule};
use crate::source::{ALL, LAST, Set, bit, content, difference, from_watermark, set};
use crate::state::State;

/// `Hold::take`, first half: what the target is like right before it is taken.
pub fn look(state: &mut State, rules: &Rules, who: usize) {
    let Blob { lease, meta, .. } = state.blob;
    let vouches = match rules.evidence {
        EvidenceRule::State => lease.has_ended(),
        EvidenceRule::Tags => true,
        EvidenceRule::Renewal | EvidenceRule::AnyRenewal => false,
    };
    let before = Some(Before { words: meta.epoch == Age::Now, lease: vouches, unclean: lease != Lease::Available });
    let owes = rules.found_is_debt && lease != Lease::Available;
    let (phase, lease) = match (rules.evidence, lease) {
        _ if rules.lease == LeaseRule::None => (Phase::Take, NOBODY),
        (EvidenceRule::Renewal, Lease::Expired(_)) => (Phase::Inherit, meta.lease),
        (EvidenceRule::AnyRenewal, Lease::Expired(id)) => (Phase::Inherit, id),
        _ => (Phase::Take, NOBODY),
    };
    state.engines[who] = Engine { phase, lease, before, owes, tag: true, ..Engine::OFF };
}

/// Whether a step of thought, without a request that changes anything, is due and possible.
pub fn can_think(state: &State, rules: &Rules, who: usize) -> bool {
    let engine = &state.engines[who];
    if engine.asks {
        return true;
    }
    match engine.phase {
        Phase::Decide | Phase::Check => true,
        Phase::Quiesce => !state.service_is_busy(),
        Phase::Apply => engine.todo == 0 || !state.exists(engine.task.to),
        Phase::Gate => !(rules.gate_waits && engine.unknown && state.service_is_busy()),
        Phase::Take => rules.lease == LeaseRule::None,
        Phase::Rotate => rules.lease != LeaseRule::PerRun,
        Phase::Release => rules.lease == LeaseRule::None,
        _ => false,
    }
}

/// Takes that step.
pub fn think(state: &mut State, rules: &Rules, repair: bool, who: usize) {
    let engine = state.engines[who];
    if engine.asks {
        return settle(state, rules, who);
    }
    match engine.phase {
        Phase::Take => state.engines[who].phase = Phase::Decide,
        Phase::Decide => decide(state, rules, who),
        Phase::Quiesce => {
            state.engines[who] = Engine { phase: after_quiesce(&engine), owes: false, ..engine };
        }
        Phase::Check => {
            let touched = state.blob.touched_since(engine.task.since);
            let equal = touched & difference_of(state, engine.task.from) == 0;
            if touched == 0 || rules.refuse_by_content && equal {
                state.engines[who].phase = Phase::Mark;
            } else if repair {
                state.engines[who].task.touched = true;
                state.engines[who].phase = Phase::Mark;
            } else {
                // A run that has lost its lease may say so in the wrong words; it does no harm.
                state.refused |= rules.lease == LeaseRule::None || state.blob.lease == Lease::Leased(engine.lease);
                let_go(state, rules, who);
            }
        }
        Phase::Apply if engine.todo == 0 => state.engines[who].phase = Phase::Gate,
        // The source snapshot is gone.
        Phase::Apply => let_go(state, rules, who),
        Phase::Gate => gate(state, rules, who),
        Phase::Rotate => state.engines[who] = engine.between_steps(rules),
        _ => state.engines[who] = Engine::OFF,
    }
}

/// `look::target`, `Evidence::of`, `next_step`, and the beginning of `step` or `finish`.
fn decide(state: &mut State, rules: &Rules, who: usize) {
    let engine = state.engines[who];
    let (blob, newest) = (&state.blob, state.blob.newest());
    let evidence = engine.before.is_some_and(|before| {
        (before.words || !rules.evidence_epoch) && before.lease && (engine.tag || !rules.evidence_tag)
    });
    let sealed = matches!(blob.meta.words, Words::Sealed(_));
    let unclean = engine.owes || engine.before.is_some_and(|before| !sealed || before.unclean);
    let held = Engine { tag: true, before: None, ..engine };

    if sealed && !blob.has_its_point() && (evidence || !rules.finish_needs_evidence) {
        let Words::Sealed(to) = blob.meta.words else { return };
        let phase = if unclean && rules.quiesce { Phase::Quiesce } else { Phase::Snapshot };
        // An engine that finishes has nothing to raise: `from` equal to `to` tells the two kinds of quiescence apart.
        let task = Task { from: to, to, unclean, ..Engine::OFF.task };
        let (run, epoch) = (blob.meta.run, blob.meta.epoch);
        let epoch = if rules.epoch == EpochRule::PerProcess { engine.epoch } else { epoch };
        state.engines[who] = Engine { phase, task, run, epoch, ..held };
        return;
    }
    let dirty = !sealed || newest.run != blob.meta.run;
    let newer = (newest.names + 1..=LAST).find(|one| state.exists(*one));
    let to = match newer {
        Some(to) => to,
        None if !dirty => {
            // An ended lease tells the next run that it has to wait.
            return if engine.owes { lapse(state, rules, who) } else { give_back(state, who) };
        }
        None => newest.names,
    };
    if !state.exists(newest.names) {
        return let_go(state, rules, who);
    }
    let from = newest.names;
    let (mut floor, mut marked, mut certain) = (0, 0, blob.is_clean());
    if let Words::Applying { from: was_from, to: was_to, watermark } = blob.meta.words {
        marked = difference(was_from, was_to);
        if was_from == from && was_to == to && (evidence || !rules.watermark_needs_evidence) {
            (floor, certain) = (watermark, true);
        }
    }
    let (since, touched, check) = (newest.run, dirty, !dirty && !blob.is_clean());
    let task = Task { from, to, since, floor, touched, check, certain, unclean, marked };
    let raises = match rules.epoch {
        EpochRule::PerRun => true,
        EpochRule::PerProcess => engine.before.is_some(),
        EpochRule::None => false,
    };
    let epoch = match rules.epoch {
        _ if raises => Age::Next,
        EpochRule::PerProcess => engine.epoch,
        _ => Age::Now,
    };
    let run = if rules.lease == LeaseRule::PerRun { engine.lease } else { state.fresh() };
    let begun = Engine { task, epoch, run, ..held };
    let phase = if raises { Phase::Raise } else { after_raise(&begun, rules) };
    state.engines[who] = Engine { phase, ..begun };
}

fn after_raise(engine: &Engine, rules: &Rules) -> Phase {
    if engine.task.unclean && rules.quiesce { Phase::Quiesce } else { after_quiesce(engine) }
}

fn after_quiesce(engine: &Engine) -> Phase {
    match engine.task {
        Task { from, to, touched: false, .. } if from == to => Phase::Snapshot,
        Task { check: true, .. } => Phase::Check,
        _ => Phase::Mark,
    }
}

/// What the planner plans (`draft::decide`), on lists read right after the mark.
fn plan(state: &State, rules: &Rules, engine: &Engine) -> Set {
    let wanted = difference(engine.task.from, engine.task.to);
    let own = match rules.own {
        _ if !engine.task.touched => 0,
        OwnRule::Tracker => state.blob.touched_since(engine.task.since),
        OwnRule::PlanOfMark => engine.task.marked,
        OwnRule::Nothing => 0,
    };
    wanted & from_watermark(engine.task.floor) | own & !wanted
}

/// `gate.rs`, and what `gate_and_seal` does with its verdict.
fn gate(state: &mut State, rules: &Rules, who: usize) {
    let engine = state.engines[who];
    let Task { from, to, since, .. } = engine.task;
    if !rules.gate {
        state.engines[who] = Engine { phase: Phase::Seal, tag: true, ..engine };
        return;
    }
    let ours = rules.epoch == EpochRule::None || engine.epoch == Age::Now;
    if state.blob.meta.run != engine.run || !ours {
        state.engines[who] = Engine::OFF;
        return;
    }
    if !state.exists(from) || !state.exists(to) {
        return let_go(state, rules, who);
    }
    let by_content = rules.gate_reads && !engine.task.certain;
    let doubted = if by_content { ALL } else { state.blob.doubted(from, to, since) };
    let passed = doubted & difference_of(state, to) == 0;
    let phase = if passed { Phase::Seal } else { Phase::StartOver };
    state.engines[who] = Engine { phase, tag: true, ..engine };
}

/// The pages where the base does not hold what source snapshot `to` holds.
fn difference_of(state: &State, to: u8) -> Set {
    let there = content(to);
    set(|page| state.blob.pages[page] != there[page])
}

/// `settle::settled` and `take_point` after an unknown outcome: the blob is asked.
fn settle(state: &mut State, rules: &Rules, who: usize) {
    let engine = state.engines[who];
    if applied(state, &engine) {
        return proceed(state, rules, who);
    }
    let again = Engine { asks: false, tried: true, ..engine };
    let may_send = engine.tag || engine.phase == Phase::Snapshot;
    state.engines[who] = if may_send { again } else { Engine::OFF };
}

fn applied(state: &State, engine: &Engine) -> bool {
    let says = |meta: Meta| state.blob.meta == meta;
    match engine.phase {
        Phase::Raise => engine.epoch == Age::Now,
        Phase::Mark => says(engine.mark(engine.task.floor)),
        Phase::StartOver => says(engine.mark(0)),
        Phase::Seal => says(engine.seal()),
        Phase::Snapshot => state.blob.points.iter().any(|point| point.run == engine.run),
        _ => false,
    }
}

/// The request was answered: done.
pub fn answered(state: &mut State, rules: &Rules, who: usize, sent: &Request) {
    let engine = &mut state.engines[who];
    match (engine.phase, sent.what) {
        (Phase::Apply, What::Put { page, .. }) => engine.todo &= !bit(page),
        (Phase::Apply, What::Say(Meta { words: Words::Applying { watermark, .. }, .. })) => engine.said = watermark,
        (Phase::Inherit, _) => {
            let done = !rules.fresh_after_renewal || rules.lease == LeaseRule::Derived;
            engine.before = engine.before.map(|before| Before { lease: true, ..before });
            engine.phase = if done { Phase::Decide } else { Phase::Rename };
        }
        (Phase::Take | Phase::Rename, What::Acquire(id) | What::Change(id)) => {
            *engine = Engine { phase: Phase::Decide, lease: id, run: NOBODY, tried: false, ..*engine };
        }
        (Phase::Rotate, What::Change(id)) => *engine = Engine { lease: id, ..engine.between_steps(rules) },
        _ => proceed(state, rules, who),
    }
}

/// The request was refused for certain.
pub fn refused(state: &mut State, rules: &Rules, who: usize, why: Refusal) {
    let engine = state.engines[who];
    match (engine.phase, why) {
        (Phase::Take, _) => look(state, rules, who),
        // Without evidence the target is taken as anybody may take it.
        (Phase::Inherit | Phase::Rename, _) => {
            let before = engine.before.map(|before| Before { lease: false, ..before });
            let Engine { tag, owes, .. } = engine;
            state.engines[who] = Engine { phase: Phase::Take, before, tag, owes, ..Engine::OFF };
        }
        // After a lost answer the value may be ours although the condition no longer holds.
        (Phase::Raise | Phase::Mark | Phase::StartOver | Phase::Seal, Refusal::Changed)
            if engine.tried && applied(state, &engine) =>
        {
            proceed(state, rules, who);
        }
        // Fenced: the lease is left to run out.
        _ => state.engines[who] = Engine::OFF,
    }
}

/// Nobody knows whether the request was applied, or will be.
pub fn unknown(state: &mut State, rules: &Rules, who: usize, sent: &Request) {
    let engine = &mut state.engines[who];
    match (engine.phase, sent.what) {
        (Phase::Apply, _) => engine.unknown = true,
        (Phase::Raise | Phase::Mark | Phase::StartOver | Phase::Seal | Phase::Snapshot, _) => {
            engine.asks = true;
            engine.unknown |= rules.lost_is_debt;
        }
        // Harmless to repeat, and so repeated: under the same id.
        (Phase::Inherit, _) => {}
        (Phase::Take | Phase::Rename | Phase::Rotate, What::Acquire(id) | What::Change(id)) => {
            let owes = engine.owes || rules.lost_is_debt && rules.lost_lease_is_debt;
            *engine = Engine { run: id, tried: true, owes, ..*engine };
        }
        _ => *engine = Engine::OFF,
    }
}

/// `let_go` of `sync.rs` after a failure that is no loss of the lease.
pub fn let_go(state: &mut State, rules: &Rules, who: usize) {
    let Engine { phase, lease, unknown, owes, .. } = state.engines[who];
    let debt = owes || rules.lost_is_debt && unknown;
    if rules.lease == LeaseRule::None || matches!(phase, Phase::Inherit | Phase::Take | Phase::Rename) {
        state.engines[who] = Engine::OFF;
    } else if rules.stop == StopRule::Break || debt || state.blob.meta.lease == lease {
        lapse(state, rules, who);
    } else {
        give_back(state, who);
    }
}

/// `Hold::lapse`.
fn lapse(state: &mut State, rules: &Rules, who: usize) {
    let phase = match rules.stop {
        StopRule::RunOut => return state.engines[who] = Engine::OFF,
        StopRule::Shorten { renewed: false, .. } => Phase::End,
        StopRule::Shorten { renewed: true, .. } | StopRule::Break => Phase::Prove,
    };
    state.engines[who] = Engine { phase, lease: state.engines[who].lease, tag: true, ..Engine::OFF };
}

/// `Hold::release`.
fn give_back(state: &mut State, who: usize) {
    state.engines[who] = Engine { phase: Phase::Release, lease: state.engines[who].lease, ..Engine::OFF };
}

/// On to the next phase; the base's tag is known.
fn proceed(state: &mut State, rules: &Rules, who: usize) {
    let now = state.engines[who];
    let mut engine = Engine { asks: false, tried: false, tag: now.tag || now.phase != Phase::Prove, ..now };
    engine.phase = match engine.phase {
        Phase::Raise => after_raise(&engine, rules),
        Phase::Mark => {
            engine.todo = plan(state, rules, &engine);
            engine.said = engine.task.floor;
            Phase::Apply
        }
        Phase::StartOver => return let_go(state, rules, who),
        Phase::Seal => Phase::Snapshot,
        Phase::Snapshot => Phase::Rotate,
        Phase::Prove => Phase::End,
        _ => return state.engines[who] = Engine::OFF,
    };
    state.engines[who] = engine;
}
