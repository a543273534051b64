//! Running the checker, and what it found.

use std::fmt;
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model};

use crate::variants::Variant;
use crate::world::{Action, CLEAN, ENDS, POINTS, RECOVERS, REFUSALS, WORDS, World};

const PROMISES: [&str; 5] = [POINTS, CLEAN, WORDS, REFUSALS, RECOVERS];

/// What a check found.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The property that does not hold, and what leads there.
    pub broken: Option<(&'static str, Vec<Action>)>,
    /// The chain was finished in some history.
    pub ends: bool,
    /// States met.
    pub states: usize,
    /// The longest history looked at.
    pub depth: usize,
    /// How long it took.
    pub elapsed: Duration,
}

/// Explores the world of `variant` until the property that it is said to break, or for one that is said to hold any
/// property, is broken, or nothing is left. Breadth first gives a short history to read; depth first needs less memory
/// where everything is explored anyway.
pub fn check(variant: &Variant, threads: usize) -> Outcome {
    let begun = Instant::now();
    let builder = World { rules: variant.rules, bound: variant.bound }.checker().threads(threads);
    match variant.breaks {
        Some(name) => {
            outcome(&builder.finish_when(HasDiscoveries::AllOf([name, ENDS].into())).spawn_bfs().join(), begun, &[name])
        }
        None => outcome(&builder.finish_when(HasDiscoveries::AnyFailures).spawn_dfs().join(), begun, &PROMISES),
    }
}

fn outcome(checker: &impl Checker<World>, begun: Instant, promises: &[&'static str]) -> Outcome {
    let mut found = checker.discoveries();
    let ends = found.contains_key(ENDS);
    let broken = promises.iter().find_map(|name| found.remove(name).map(|path| (*name, path.into_actions())));
    Outcome { broken, ends, states: checker.unique_state_count(), depth: checker.max_depth(), elapsed: begun.elapsed() }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (states, depth, elapsed) = (self.states, self.depth, self.elapsed);
        match &self.broken {
            None => write!(f, "holds    {states:>10} states, depth {depth:>3}, {elapsed:.1?}"),
            Some((name, path)) => {
                write!(f, "BROKEN   {states:>10} states, {:>3} steps, {elapsed:.1?}: \"{name}\"", path.len())
            }
        }
    }
}
