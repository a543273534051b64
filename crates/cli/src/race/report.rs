//! What is said about a race: a table for people, an object for programs.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use serde::Serialize;

use crate::bench::report::{EMULATED, Machine, OF_A_MOMENT};
use crate::human::{bytes, count, duration};
use crate::race::lap::{Lap, Outcome, Round, Side};
use crate::report::say;

/// What a reader must know in order to be fair to both.
const FAIRNESS: [&str; 6] = [
    "Managed copy gives what ours does not: a snapshot that Azure keeps, encrypts and makes disks of at once, and it needs no \
     machine of yours.",
    "Ours gives what managed copy does not: a point counts only after it was proved to equal its source; it is a plain page blob \
     in whatever account, tenant or subscription you like; and how far it is can be told in bytes.",
    "Restorable: from a managed copy one can make a disk when it is complete; from ours when its point is sealed. Making the disk \
     is not in these times: Azure makes one of a managed snapshot at once, `pageferry restore --to-disk` writes it.",
    "CopyStart has rules, and they were kept: incremental snapshots only, in the order of their creation, one of a disk at a time, \
     100 in a subscription and region. Its progress is asked for every few seconds, and its time is exact to that. What it \
     moves it does not tell; the money reckons with what the service lists as changed.",
    "Requests: of ours the reads and writes of pages, of managed copy the order and the asking how far it is.",
    "The sides ran one after the other, and took turns at going first.",
];

/// A lap begins.
#[derive(Serialize)]
pub(crate) struct Racing {
    pub(crate) round: Round,
    pub(crate) repeat: u32,
    pub(crate) repeats: u32,
}

/// A race, whole.
#[derive(Serialize)]
pub(crate) struct Raced {
    pub(crate) measured_at: String,
    pub(crate) version: &'static str,
    pub(crate) machine: Machine,
    pub(crate) source: String,
    pub(crate) target: String,
    /// The region of the managed copies.
    pub(crate) location: String,
    pub(crate) repeats: u32,
    /// A service on this machine was measured.
    pub(crate) emulated: bool,
    /// There was a price table.
    pub(crate) priced: bool,
    pub(crate) laps: Vec<Lap>,
}

/// All laps of one side in one round.
pub(crate) struct Column<'a> {
    pub(crate) round: Round,
    pub(crate) who: &'static str,
    pub(crate) sides: Vec<&'a Side>,
    /// Why there are none.
    pub(crate) why: Option<&'a str>,
}

say! { Racing => "racing", Raced => "race" }

impl Raced {
    /// What a reader must know before they believe a number.
    pub(crate) fn caveats(&self) -> Vec<&'static str> {
        let mut caveats = vec![OF_A_MOMENT];
        caveats.extend(self.emulated.then_some(EMULATED));
        caveats.extend(FAIRNESS);
        caveats.extend((!self.priced).then_some(
            "No money is told without a price table (--prices FILE): prices differ by region and contract.",
        ));
        caveats
    }

    /// Both sides, round by round.
    pub(crate) fn columns(&self) -> Vec<Column<'_>> {
        let mut columns = Vec::new();
        for round in [Round::Whole, Round::Difference] {
            let laps: Vec<&Lap> = self.laps.iter().filter(|lap| lap.round == round).collect();
            if laps.is_empty() {
                continue;
            }
            let column = |who, of: fn(&Lap) -> &Outcome| Column {
                round,
                who,
                sides: laps.iter().filter_map(|lap| of(lap).side.as_ref()).collect(),
                why: laps.iter().find_map(|lap| of(lap).not_measured.as_deref()),
            };
            columns.push(column("pageferry", |lap| &lap.ours));
            columns.push(column("managed copy", |lap| &lap.managed));
        }
        columns
    }
}

impl Column<'_> {
    /// The cells of its row: bytes, time, restorable after, requests, money.
    pub(crate) fn cells(&self) -> [String; 5] {
        let moved = self.sides.iter().find_map(|side| side.moved_bytes);
        let money = self.sides.iter().find_map(|side| side.money.as_ref());
        [
            moved.map_or("not told".to_owned(), bytes),
            self.times(|side| side.elapsed_ms),
            self.times(|side| side.restorable_ms),
            self.sides.first().map_or(String::new(), |side| side.requests.to_string()),
            money.map_or("no prices".to_owned(), ToString::to_string),
        ]
    }

    /// The middle one of the times in milliseconds, restorable.
    pub(crate) fn restorable(&self) -> Option<u64> {
        let mut all: Vec<u64> = self.sides.iter().map(|side| side.restorable_ms).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied()
    }

    /// The middle one, and where there are several the least and the most.
    fn times(&self, of: fn(&Side) -> u64) -> String {
        let mut all: Vec<u64> = self.sides.iter().map(|side| of(side)).collect();
        all.sort_unstable();
        let said = |ms: u64| duration(Duration::from_millis(ms));
        match all[..] {
            [] => String::new(),
            [one] => said(one),
            [least, .., most] => format!("{} ({} to {})", said(all[all.len() / 2]), said(least), said(most)),
        }
    }
}

impl Display for Racing {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "racing: {}, lap {} of {}", self.round.label(), self.repeat, self.repeats)
    }
}

impl Display for Raced {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "source        {}", self.source)?;
        writeln!(f, "pageferry     to blobs of its own beside {}, deleted again", self.target)?;
        writeln!(f, "managed copy  to snapshots of its own in {}, deleted again", self.location)?;
        writeln!(f, "repeated      {}", count(self.repeats.into(), "time"))?;
        let mut round = None;
        for column in self.columns() {
            if round != Some(column.round) {
                round = Some(column.round);
                let changed =
                    self.laps.iter().filter(|lap| lap.round == column.round).find_map(|lap| lap.changed_bytes);
                let changed = changed.map_or(String::new(), |changed| format!(": {}", bytes(changed)));
                writeln!(f, "\n{}{changed}", column.round.label())?;
                row(f, "", &["moved", "time", "restorable after", "requests", "money"].map(str::to_owned))?;
            }
            match column.why {
                Some(why) if column.sides.is_empty() => writeln!(f, "  {:<12}  not measured: {why}", column.who)?,
                _ => row(f, column.who, &column.cells())?,
            }
        }
        for caveat in self.caveats() {
            write!(f, "\n{caveat}")?;
        }
        Ok(())
    }
}

fn row(f: &mut Formatter<'_>, who: &str, cells: &[String; 5]) -> fmt::Result {
    let [moved, time, restorable, requests, money] = cells;
    let line = format!("  {who:<12}  {moved:>10}  {time:>26}  {restorable:>26}  {requests:>8}  {money}");
    writeln!(f, "{}", line.trim_end())
}
