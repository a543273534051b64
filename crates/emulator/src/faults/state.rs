//! A script held against the requests that arrive: which rules fire.

use std::cell::OnceCell;

use serde::Serialize;

use crate::DEV_ACCOUNT;
use crate::faults::limits::Meters;
use crate::faults::operation::Operation;
use crate::faults::script::{Action, Applied, Event, FaultScript, Match, When};
use crate::model::input;
use crate::random::{below, draw};
use crate::request::{self, Request};
use crate::time::Timestamp;

/// A script with what has come of it.
#[derive(Debug, Default)]
pub struct FaultState {
    script: FaultScript,
    began: Timestamp,
    tallies: Vec<Tally>,
    meters: Meters,
}

/// How often a rule was asked and had its way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Requests it was about.
    pub matched: u64,
    /// Requests it befell.
    pub fired: u64,
}

/// What is to become of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fate {
    /// What happens to the world before it.
    pub events: Vec<Event>,
    /// What happens to the request.
    pub action: Option<Action>,
    /// A drawn number, for whatever the action leaves to chance.
    pub drawn: u64,
    /// The rule that the action is from, if it is from a rule.
    pub rule: Option<usize>,
}

/// A script with its counters, for people.
#[derive(Debug, Clone, Serialize)]
pub struct FaultReport {
    /// The script.
    pub script: FaultScript,
    /// For each of its rules, how often it was asked and had its way.
    pub rules: Vec<Tally>,
    /// For each of its limits, how often it refused.
    pub limits: Vec<u64>,
    /// Requests that are still on their way.
    pub late: usize,
}

/// What a request is addressed to, without asking whether there is such a thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) account: String,
    /// `container/blob`, or the container, or nothing.
    pub(crate) resource: String,
}

impl FaultState {
    /// A script that begins at `now`.
    pub fn new(script: FaultScript, now: Timestamp) -> Self {
        let tallies = vec![Tally::default(); script.rules.len()];
        let meters = Meters::new(script.limits.clone());
        Self { script, began: now, tallies, meters }
    }

    /// Decides about the next request. Of its body nothing is looked at but the length, and that in its header.
    pub fn decide(&mut self, request: &Request, now: Timestamp) -> Fate {
        let mut fate = Fate::default();
        if self.script.is_empty() {
            return fate;
        }
        let operation = Operation::of(request);
        let place = OnceCell::new();
        let place = || place.get_or_init(|| Place::of(request));
        let elapsed = u64::try_from(now.since(self.began).as_millis()).unwrap_or(u64::MAX);
        for (index, rule) in self.script.rules.iter().enumerate() {
            if !rule.on.covers(operation, request, place) || !concerns(&rule.action, operation, request) {
                continue;
            }
            let tally = &mut self.tallies[index];
            tally.matched += 1;
            let (number, matched) = (index as u64, tally.matched);
            let chance = draw(self.script.seed, &[number, matched, 0]);
            if !rule.when.is_met(*tally, elapsed, chance) {
                continue;
            }
            match &rule.action {
                Action::First(event) => fate.events.push(event.clone()),
                _ if fate.action.is_some() => continue,
                action => {
                    fate.action = Some(action.clone());
                    fate.drawn = draw(self.script.seed, &[number, matched, 1]);
                    fate.rule = Some(index);
                }
            }
            tally.fired += 1;
        }
        if fate.action.is_none() && !self.meters.is_empty() {
            let bytes = request.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
            if let Err(code) = self.meters.admit(place(), bytes, now) {
                fate.action = Some(Action::Refuse { code, applied: Applied::None, retry_after: None });
            }
        }
        fate
    }

    /// Counts the bytes of an answer against the limits.
    pub(crate) fn charge(&mut self, request: &Request, bytes: u64, now: Timestamp) {
        if !self.meters.is_empty() && bytes > 0 {
            self.meters.charge(&Place::of(request), bytes, now);
        }
    }

    /// Takes back a firing that had nothing to work on.
    pub(crate) fn retract(&mut self, rule: Option<usize>) {
        if let Some(tally) = rule.and_then(|rule| self.tallies.get_mut(rule)) {
            tally.fired = tally.fired.saturating_sub(1);
        }
    }

    /// The script and its counters.
    pub fn report(&self) -> FaultReport {
        FaultReport {
            script: self.script.clone(),
            rules: self.tallies.clone(),
            limits: self.meters.refused().to_vec(),
            late: 0,
        }
    }
}

impl Match {
    fn covers<'p>(&self, operation: Operation, request: &Request, place: impl Fn() -> &'p Place) -> bool {
        let named = self.operations.is_empty() || self.operations.iter().any(|s| s.covers(operation, request));
        let blob = |pattern: &String| place().is_blob() && fits(pattern, &place().resource);
        named
            && self.blob.as_ref().is_none_or(blob)
            && self.account.as_ref().is_none_or(|pattern| fits(pattern, &place().account))
    }
}

impl When {
    fn is_met(&self, tally: Tally, elapsed: u64, chance: u64) -> bool {
        self.nth.is_none_or(|nth| tally.matched == nth)
            && tally.matched > self.after
            && self.every.is_none_or(|every| tally.matched.checked_rem(every) == Some(0))
            && self.per_mille.is_none_or(|per_mille| below(chance, 1000) < u64::from(per_mille))
            && self.times.is_none_or(|times| tally.fired < times)
            && self.storm.is_none_or(|storm| storm.rages(elapsed))
    }
}

/// Whether an action makes sense for a request at all; where it does not, the rule is not about it.
fn concerns(action: &Action, operation: Operation, request: &Request) -> bool {
    let pages = matches!(operation, Operation::GetPageRanges | Operation::GetPageRangesDiff);
    match action {
        Action::ShortList(_) => pages || operation == Operation::ListBlobs,
        Action::TimeOutAbove(bytes) => {
            let asked = input::read_range(request).and_then(|range| range.end.map(|end| end - range.start));
            pages && asked.is_none_or(|asked| asked > *bytes)
        }
        Action::CorruptRequest => request.get("content-length").is_some_and(|length| length != "0"),
        Action::Duplicate(_) => request.is_mutation(),
        _ => true,
    }
}

/// The development account, with nothing named in it.
impl Default for Place {
    fn default() -> Self {
        Self { account: DEV_ACCOUNT.to_owned(), resource: String::new() }
    }
}

impl Place {
    /// Reads the address of a request, in path style or with the account in the host.
    pub(crate) fn of(request: &Request) -> Self {
        let path = request.path.strip_prefix('/').unwrap_or(&request.path);
        let label = request.get("host").and_then(|host| host.split_once(".blob."));
        let (account, resource) = match label {
            Some((label, _)) => (label, path),
            None => path.split_once('/').unwrap_or((path, "")),
        };
        Self { account: request::decode(account), resource: request::decode(resource) }
    }

    pub(crate) fn is_blob(&self) -> bool {
        self.resource.split_once('/').is_some_and(|(_, blob)| !blob.is_empty())
    }

    /// The path of a resource in the same account.
    pub(crate) fn path(&self, resource: Option<&str>) -> String {
        let resource = resource.unwrap_or(&self.resource);
        let (container, blob) = resource.split_once('/').unwrap_or((resource, ""));
        let [account, container, blob] = [&self.account, container, blob].map(request::encode);
        if blob.is_empty() { format!("/{account}/{container}") } else { format!("/{account}/{container}/{blob}") }
    }
}

/// Whether `text` fits a pattern of `*` and `?`.
pub(super) fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(c) = text.get(t) {
        match (pattern.get(p), star) {
            (Some('*'), _) => {
                star = Some((p, t));
                p += 1;
            }
            (Some(known), _) if *known == '?' || known == c => (p, t) = (p + 1, t + 1),
            (_, Some((at, from))) => {
                star = Some((at, from + 1));
                (p, t) = (at + 1, from + 1);
            }
            _ => return false,
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::script::{Limit, Per, Refusal, Rule, Storm};

    fn get(blob: &str) -> Request {
        Request::new("GET", &format!("/a/{blob}"))
    }

    /// The numbers of the requests that a rule befalls, of a hundred, one each second.
    fn fired(seed: u64, rule: Rule) -> Vec<u64> {
        let start = Timestamp::from_seconds(1_000);
        let mut state = FaultState::new(FaultScript::new(seed).rule(rule), start);
        let hit = |second: &u64| state.decide(&get("c/b"), Timestamp::from_seconds(1_000 + second)).action.is_some();
        (1..=100).filter(hit).collect()
    }

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "c/b", true),
            ("c/*", "c/b/d", true),
            ("c/b", "c/b", true),
            ("c/?", "c/b", true),
            ("c/?", "c/", false),
            ("*b*d", "c/b/x/d", true),
            ("*b*d", "c/b/x", false),
            ("", "c", false),
            ("c", "cc", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn rules_fire_when_they_say() {
        let rule = || Rule::new(Action::busy());
        assert_eq!(fired(1, rule()).len(), 100);
        assert_eq!(fired(1, rule().nth(7)), [7]);
        assert_eq!(fired(1, rule().every(30)), [30, 60, 90]);
        assert_eq!(fired(1, rule().after(97)), [98, 99, 100]);
        assert_eq!(fired(1, rule().after(10).times(2)), [11, 12]);
        assert_eq!(fired(1, rule().storm(20_000, 3_000)), [20, 21, 22]);
        let mut again = rule();
        again.when.storm = Some(Storm { from: 10_000, lasts: 1_000, every: Some(40_000) });
        assert_eq!(fired(1, again), [10, 50, 90]);
        assert!(fired(1, rule().every(0)).is_empty());
    }

    #[test]
    fn the_same_seed_fires_the_same_and_another_does_not() {
        let run = |seed| fired(seed, Rule::new(Action::reset()).per_mille(200));
        let first = run(7);
        assert!((8..40).contains(&first.len()), "{first:?}");
        assert_eq!(run(7), first);
        assert_ne!(run(8), first);
    }

    #[test]
    fn one_rule_does_not_disturb_another() {
        let chance = Rule::new(Action::busy()).per_mille(300).blob("c/b");
        let alone = fired(3, chance.clone());
        let start = Timestamp::from_seconds(1_000);
        let script = FaultScript::new(3).rule(chance).rule(Rule::new(Action::reset()).per_mille(500));
        let mut state = FaultState::new(script, start);
        let mut busy = Vec::new();
        for number in 1..=100 {
            state.decide(&get("c/other"), start);
            if state.decide(&get("c/b"), start).action == Some(Action::busy()) {
                busy.push(number);
            }
        }
        assert_eq!(busy, alone);
    }

    #[test]
    fn the_first_rule_has_its_way_and_events_all_happen() {
        let script = FaultScript::new(0)
            .rule(Rule::new(Action::First(Event::Advance(5))))
            .rule(Rule::new(Action::reset()))
            .rule(Rule::new(Action::First(Event::Release)))
            .rule(Rule::new(Action::busy()));
        let mut state = FaultState::new(script, Timestamp::default());
        let fate = state.decide(&get("c/b"), Timestamp::default());
        assert_eq!(fate.events, [Event::Advance(5), Event::Release]);
        assert_eq!((fate.action, fate.rule), (Some(Action::reset()), Some(1)));
        let fired: Vec<u64> = state.report().rules.iter().map(|tally| tally.fired).collect();
        assert_eq!(fired, [1, 1, 1, 0]);
    }

    #[test]
    fn limits_are_by_the_second_and_by_the_blob() {
        let limit = |per, requests, bytes| Limit { per, requests, bytes, refusal: Refusal::OperationTimedOut };
        let script = FaultScript::new(0).limit(limit(Per::Blob("c/*".to_owned()), Some(3), None)).limit(limit(
            Per::Account("*".to_owned()),
            None,
            Some(100),
        ));
        let mut state = FaultState::new(script, Timestamp::default());
        let mut served = |blob: &str, milliseconds: u64, answer: u64| {
            let now = Timestamp::from_ticks(milliseconds * 10_000);
            let fate = state.decide(&get(blob), now);
            if fate.action.is_none() {
                state.charge(&get(blob), answer, now);
            }
            fate.action.is_none()
        };
        assert_eq!([0, 10, 20, 30, 999].map(|at| served("c/a", at, 1)), [true, true, true, false, false]);
        assert!(served("c/b", 999, 1) && served("d/x", 999, 97));
        assert!(!served("d/y", 999, 1), "the account is over its bytes");
        assert!(served("c/a", 1_000, 1));
        assert_eq!(state.report().limits, [2, 1]);
    }

    #[test]
    fn scripts_survive_json() {
        let text = r#"{"seed": 9, "rules": [
            {"on": {"operations": ["put-page", "snapshot-blob"], "blob": "disks/*"}, "when": {"per_mille": 20},
             "action": {"late": {"after": {"between": [10, 2000]}, "how": "timed-out"}}},
            {"when": {"nth": 12}, "action": {"first": {"break-lease": {"take": true}}}},
            {"action": "wrong-hash"}],
            "limits": [{"per": {"blob": "*"}, "requests": 500, "bytes": 62914560}]}"#;
        let script: FaultScript = serde_json::from_str(text).unwrap();
        assert_eq!(script.rules.len(), 3);
        let again = serde_json::to_string(&script).unwrap();
        assert_eq!(serde_json::from_str::<FaultScript>(&again).unwrap(), script);
        for wrong in [r#"{"rule": []}"#, r#"{"rules": [{"action": "explode"}]}"#] {
            assert!(serde_json::from_str::<FaultScript>(wrong).is_err());
        }
    }
}
