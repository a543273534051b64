//! `pageferry backup`: one whole cycle, for a timer: a snapshot of the disk, a point made from it, and the end of the
//! source snapshots that no later difference needs.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use pageferry_azure::PageBlob;
use pageferry_core::next::Want;
use pageferry_core::{Metadata, SnapshotId};
use pageferry_managed::Naming;
use pageferry_replicate::restore::find_point;
use pageferry_replicate::sync::{check, sync};
use pageferry_replicate::{Engine, ReplicateError};
use pageferry_store::{Snapshot, Source, StoreError, Target};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::exit::{Exit, Failure};
use crate::human::count;
use crate::job::Scene;
use crate::origin::{Disk, Origin};
use crate::place::Place;
use crate::progress::Reporter;
use crate::report::say;
use crate::settings::Settings;
use crate::snapshot::take;
use crate::sync::{explained, points_made};

/// The entry, in the tags or metadata of a snapshot of a disk, that says for which target `backup` took it.
const TAG: &str = "pageferrybackup";

/// The entry, in the metadata of such a snapshot of a page blob, that says when that was. A blob that a snapshot is copied over
/// (promotion, protocol rule 47) has its metadata from then on, and so has every snapshot that anybody takes of it.
const TAKEN: &str = "pageferrybackuptaken";

/// How far our clock and the service's may be apart.
const SKEW_MAX: Duration = Duration::from_secs(15 * 60);

/// How long the value of a tag may be (learn: tags).
const TAG_MAX: usize = 256;

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) source: Origin,
    pub(crate) target: Place,
    /// How many of the source snapshots it has taken stay, the newest point's among them.
    pub(crate) keep: usize,
    pub(crate) naming: Naming,
    pub(crate) settings: Settings,
}

#[derive(Serialize)]
struct BackedUp {
    source: String,
    target: String,
    snapshot: String,
    /// Points made by this run: the new snapshot's, and those an earlier run did not get to.
    points_made: u64,
    newest_point: Option<String>,
    /// Source snapshots that are no longer needed and were deleted.
    deleted: Vec<String>,
    /// Those that could not be.
    not_deleted: Vec<String>,
}

say! { BackedUp => "backup" }

impl Display for BackedUp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let newest = self.newest_point.as_deref().unwrap_or("unknown");
        write!(f, "backed up: snapshot {} is point {newest} of {}", self.snapshot, self.target)?;
        let older = count(self.deleted.len() as u64, "older source snapshot");
        if self.deleted.is_empty() { Ok(()) } else { write!(f, "; {older} deleted") }
    }
}

/// A source snapshot that `backup` has taken for this target.
struct Own {
    id: SnapshotId,
    what: Kept,
}

enum Kept {
    Blob,
    Managed(Box<pageferry_managed::Link>),
}

impl Job {
    pub(crate) async fn run(self, scene: &Scene) -> Result<(), Failure> {
        let reporter = Reporter::start(&scene.console);
        let reach = async { tokio::try_join!(self.source.reach(scene, reporter.events()), self.target.reach()) };
        let ((source, named), target) = scene.interrupt.or(reach).await?;
        if named.is_some() {
            let what =
                format!("SOURCE names one snapshot, {}: `backup` takes a new one, so name the disk", self.source);
            return Err(Failure::usage(what));
        }
        let engine = Engine::new(source, target, self.settings.options(scene, &reporter));
        let done = self.cycle(&engine, scene).await;
        engine.source.leave().await;
        reporter.finish();
        scene.console.say(&done?);
        Ok(())
    }

    async fn cycle(&self, engine: &Engine<Disk, PageBlob>, scene: &Scene) -> Result<BackedUp, Failure> {
        let target = engine.target.address();
        if target.len() > TAG_MAX {
            let what = format!("{target} is longer than the {TAG_MAX} characters that a tag holds: use a shorter name");
            return Err(Failure::new(Exit::Configuration, what));
        }
        let step = |error: ReplicateError| explained(error, engine);
        // A target that will be refused is refused before there is one more snapshot that nobody needs.
        scene.interrupt.or(async { check(engine, &Want::Next).await.map_err(step) }).await?;
        let mut made = 0;
        // A cycle that was broken off is ended before another is begun, or a target that stays broken would leave a
        // snapshot every time.
        if self.is_behind(engine, &target).await? {
            made += points_made(scene, &sync(engine, &Want::Next).await.map_err(step)?);
        }
        let tagged = Naming { tags: [(TAG.to_owned(), target.clone())].into(), ..self.naming.clone() };
        let taken = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        let words = Metadata::from([(TAG.to_owned(), target.clone()), (TAKEN.to_owned(), taken)]);
        let snapshot = take(scene, &engine.source, &tagged, &words).await?;
        let report = sync(engine, &Want::Next).await.map_err(|error| {
            engine.options.events.note(format!(
                "keeping the older source snapshots: the point of source snapshot {} is not yet committed",
                snapshot.id
            ));
            step(error)
        })?;
        let newest_point = report.newest.as_ref().map(ToString::to_string);
        made += points_made(scene, &report);
        let (deleted, not_deleted) = self.thin_out(engine, &target).await?;
        Ok(BackedUp {
            source: engine.source.address(),
            target,
            snapshot: snapshot.id.to_string(),
            points_made: made,
            newest_point,
            deleted,
            not_deleted,
        })
    }

    /// Whether a snapshot of an earlier cycle is no point yet.
    async fn is_behind(&self, engine: &Engine<Disk, PageBlob>, target: &str) -> Result<bool, Failure> {
        let own = own(&engine.source, target).await?;
        let Some(last) = own.last() else { return Ok(false) };
        match find_point(&*engine.target, "latest").await {
            Ok(point) => Ok(point.seal.snapshot.id < last.id),
            Err(ReplicateError::NoPoint { .. } | ReplicateError::NoTarget(_)) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes the source snapshots that are older than the newest point's and more than shall stay. The next difference
    /// needs the newest point's; that of a point which is not made yet is not older.
    async fn thin_out(
        &self,
        engine: &Engine<Disk, PageBlob>,
        target: &str,
    ) -> Result<(Vec<String>, Vec<String>), Failure> {
        let newest = find_point(&*engine.target, "latest").await?.seal.snapshot.id;
        let mut old = own(&engine.source, target).await?;
        old.truncate(old.len().saturating_sub(self.keep));
        old.retain(|own| own.id < newest);
        let (mut deleted, mut not_deleted) = (Vec::new(), Vec::new());
        for own in old {
            match delete(&engine.source, &own).await {
                Ok(()) => deleted.push(own.id.to_string()),
                Err(error) => {
                    let events = &engine.options.events;
                    events.note(format!("committed; old source snapshot {} could not be deleted: {error}", own.id));
                    not_deleted.push(own.id.to_string());
                }
            }
        }
        Ok((deleted, not_deleted))
    }
}

/// The snapshots of `disk` that `backup` has taken for `target`, oldest first. Those of others are nobody's business.
async fn own(disk: &Disk, target: &str) -> Result<Vec<Own>, StoreError> {
    Ok(match disk {
        Disk::Managed(disk) => {
            let chain = disk.look().await?;
            let ours = chain.links.iter().filter(|link| link.tags.get(TAG).is_some_and(|tag| tag == target));
            ours.map(|link| Own { id: link.id.clone(), what: Kept::Managed(Box::new(link.clone())) }).collect()
        }
        other => {
            let all = other.snapshots().await?;
            let mut taken = BTreeSet::new();
            let ours = all.into_iter().filter(|one| {
                let tagged = one.metadata.get(TAG).is_some_and(|tag| tag == target);
                // Of two with the same words, the younger has inherited them.
                tagged && is_of_then(one) && taken.insert(one.metadata.get(TAKEN).cloned())
            });
            ours.map(|one| Own { id: one.id, what: Kept::Blob }).collect()
        }
    })
}

/// Whether a snapshot was taken when its words say.
fn is_of_then(one: &Snapshot) -> bool {
    let parse = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    let said = one.metadata.get(TAKEN).and_then(|text| parse(text));
    said.zip(parse(one.id.as_str())).is_some_and(|(said, taken)| (said - taken).abs() <= SKEW_MAX)
}

async fn delete(disk: &Disk, own: &Own) -> Result<(), StoreError> {
    match (disk, &own.what) {
        (Disk::Managed(disk), Kept::Managed(link)) => disk.delete(link).await,
        (Disk::Blob(blob), _) => blob.delete_snapshot(&own.id).await,
        _ => Ok(()),
    }
}
