//! `pageferry bench --against managed-copy`: the same snapshots brought to another region by us and by the service's own
//! CopyStart, one after the other, measured on the same axes.
//!
//! What either side makes is entered before it is asked for, and deleted in the end, however that comes. [`lap`] measures,
//! [`report`] and [`page`] tell.

mod lap;
mod page;
mod report;

use std::path::PathBuf;
use std::time::Duration;

use pageferry_arm::ResourceId;
use pageferry_managed::{Link, ManagedDisk};
use pageferry_store::ErrorKind;

use crate::bench::made::Made;
use crate::bench::report::Machine;
use crate::bench::{HASTE, PATIENCE, check_page, ending, moment, must_not_exist, write_page};
use crate::exit::{Exit, Failure};
use crate::job::Scene;
use crate::origin::{Disk, Managed};
use crate::place::Place;
use crate::prices::Prices;
use crate::race::lap::{Lap, Round, Track};
use crate::race::report::{Raced, Racing};
use crate::settings::Settings;

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) source: Box<Managed>,
    pub(crate) target: Place,
    /// The region that CopyStart copies to, and the resource group of what it makes.
    pub(crate) location: String,
    pub(crate) group: Option<String>,
    pub(crate) encryption: Option<String>,
    pub(crate) platform_key: bool,
    pub(crate) repeat: u32,
    pub(crate) prices: Option<PathBuf>,
    pub(crate) html: Option<PathBuf>,
    pub(crate) overwrite: bool,
    pub(crate) settings: Settings,
}

impl Job {
    pub(crate) async fn run(self, scene: &Scene) -> Result<(), Failure> {
        if let Some(path) = &self.html {
            check_page(path, self.overwrite)?;
        }
        let prices = self.prices.as_deref().map(Prices::read).transpose()?;
        let (disk, named) = scene.interrupt.or(self.source.reach(scene, scene.notes())).await?;
        let rounds = rounds(&disk, named.as_ref())?;
        let mut made = Made::new(format!("{:08x}", rand::random::<u32>()), &scene.console);
        let mut copies = Vec::new();
        let raced = self.race(scene, &disk, &rounds, &mut made, &mut copies, prices.as_ref()).await;
        let stopped = scene.interrupt.stop().is_cancelled();
        if stopped {
            scene.console.tell("stopping: what was made for the race is being deleted");
        }
        Disk::Managed(disk.clone()).leave().await;
        let copies_left = discard(&disk, copies).await;
        let left = made.discard_all(if stopped { HASTE } else { PATIENCE }).await;
        let result = match raced {
            Ok((raced, failure)) => {
                scene.console.say(&raced);
                let html = self.html.as_deref();
                let written = html.map_or(Ok(()), |path| write_page(path, self.overwrite, &page::page(&raced)));
                written.and(failure.map_or(Ok(()), Err))
            }
            Err(failure) => Err(failure),
        };
        ending(copies_left.and(result), &left)
    }

    /// All laps, and the first failure among them.
    async fn race(
        &self,
        scene: &Scene,
        disk: &ManagedDisk,
        rounds: &[(Round, Link)],
        made: &mut Made,
        copies: &mut Vec<ResourceId>,
        prices: Option<&Prices>,
    ) -> Result<(Raced, Option<Failure>), Failure> {
        let target = scene.interrupt.or(self.target.reach()).await?;
        scene.interrupt.or(must_not_exist(&target, "the race")).await?;
        let (mut laps, mut failure): (Vec<Lap>, Option<Failure>) = (Vec::new(), None);
        for repeat in 1..=self.repeat {
            let blob = self.target.beside(&made.suffix(&format!("race{repeat}")))?;
            made.enter(&blob);
            let track = Track { job: self, scene, disk, blob: blob.clone() };
            for (at, (round, link)) in rounds.iter().enumerate() {
                scene.console.aside(&Racing { round: *round, repeat, repeats: self.repeat });
                let name = format!("pageferry-bench-{}-{repeat}-{at}", made.id());
                let copy = self.copy_id(disk, &name)?;
                copies.push(copy.clone());
                // Whoever goes first finds caches cold, so the sides take turns.
                let ours_first = (repeat as usize + at) % 2 == 1;
                let lap = track.lap((*round, repeat), link, &copy, ours_first).await;
                if scene.interrupt.stop().is_cancelled() {
                    return Err(Failure::new(Exit::Interrupted, "stopped as asked, before the race was over"));
                }
                failure = failure.or_else(|| lap.failure());
                laps.push(lap);
            }
            let old: Vec<ResourceId> = std::mem::take(copies);
            discard(disk, old).await?;
            made.discard(&blob).await;
        }
        let raced = Raced {
            measured_at: moment(),
            version: env!("CARGO_PKG_VERSION"),
            machine: Machine::here(),
            source: disk.resource().to_string(),
            target: self.target.address.to_string(),
            location: self.location.clone(),
            repeats: self.repeat,
            emulated: self.source.cloud.is_emulator() || self.target.address.is_loopback(),
            priced: prices.is_some(),
            laps: laps.into_iter().map(|lap| lap.priced(prices)).collect(),
        };
        Ok((raced, failure))
    }

    fn copy_id(&self, disk: &ManagedDisk, name: &str) -> Result<ResourceId, Failure> {
        let group = self.group.as_deref().unwrap_or(disk.resource().group());
        ResourceId::snapshot(disk.resource().subscription(), group, name)
            .map_err(|error| Failure::usage(error.to_string()))
    }

    /// How often to ask how far a copy is.
    fn poll(&self) -> Duration {
        if self.source.cloud.is_emulator() { Duration::from_millis(20) } else { Duration::from_secs(5) }
    }
}

/// What is raced with: a named snapshot as a whole, or the last two of a chain, the first as a whole and the second as a
/// difference.
fn rounds(disk: &ManagedDisk, named: Option<&pageferry_core::SnapshotId>) -> Result<Vec<(Round, Link)>, Failure> {
    let chain = disk.chain();
    let links = chain.as_ref().map_or(&[][..], |chain| &chain.links);
    if let Some(link) = named.and_then(|named| links.iter().find(|link| link.id == *named)) {
        return Ok(vec![(Round::Whole, link.clone())]);
    }
    let last = &links[links.len().saturating_sub(2)..];
    if last.is_empty() {
        let what = format!("{} has no complete incremental snapshot to race with: take one first", disk.resource());
        return Err(Failure::new(Exit::NotFound, what));
    }
    Ok([Round::Whole, Round::Difference].into_iter().zip(last.iter().cloned()).collect())
}

/// Deletes the copies that were made, newest first; names what stays.
async fn discard(disk: &ManagedDisk, copies: Vec<ResourceId>) -> Result<(), Failure> {
    let mut left = Ok(());
    for copy in copies.iter().rev() {
        match disk.arm().delete_snapshot(copy).await {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                let failure = Failure::from(error);
                let message = format!("{}; delete it yourself: az snapshot delete --ids {copy}", failure.message);
                left = left.and(Err(Failure { message, ..failure }));
            }
            _ => {}
        }
    }
    left
}
