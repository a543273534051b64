//! `pageferry verify`: a point against its source snapshot, by content.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use pageferry_azure::PageBlob;
use pageferry_core::SnapshotId;
use pageferry_replicate::restore::find_point;
use pageferry_replicate::verify::contents;
use pageferry_store::Source;
use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::human::bytes;
use crate::job::Scene;
use crate::origin::{Disk, Origin};
use crate::place::Place;
use crate::progress::{Reporter, Work};
use crate::report::{self, ByteRange, say};

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) target: Place,
    pub(crate) source: Origin,
    pub(crate) point: String,
}

#[derive(Serialize)]
struct Verified {
    point: String,
    source_snapshot: String,
    equal: bool,
    compared_bytes: u64,
    differing_bytes: u64,
    /// The first of them, half-open.
    differing: Vec<ByteRange>,
    #[serde(skip)]
    words: String,
}

say! { Verified => "verify" }

impl Display for Verified {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (point, snapshot, compared) = (&self.point, &self.source_snapshot, bytes(self.compared_bytes));
        if self.equal {
            return write!(
                f,
                "point {point} equals source snapshot {snapshot}: {compared} compared on both sides, all else is zeros"
            );
        }
        write!(f, "differing: {}", self.words)
    }
}

impl Job {
    pub(crate) async fn run(self, scene: &Scene) -> Result<(), Failure> {
        let reporter = Reporter::start(&scene.console);
        let reach = async { tokio::try_join!(self.target.reach(), self.source.reach(scene, reporter.events())) };
        let (target, (source, named)) = scene.interrupt.or(reach).await?;
        let (target, source) = (Arc::new(target), Arc::new(source));
        let verified = scene.interrupt.or(self.compare(&target, &source, named, &reporter)).await;
        source.leave().await;
        reporter.finish();
        let verified = verified?;
        scene.console.say(&verified);
        if verified.equal {
            return Ok(());
        }
        let Verified { point, source_snapshot, differing_bytes, .. } = &verified;
        Err(Failure::new(
            Exit::Differs,
            format!(
                "point {point} of {} differs from source snapshot {source_snapshot} of {} in {differing_bytes} bytes: do \
                 not restore it, and seed a new target",
                self.target.address, self.source
            ),
        ))
    }

    async fn compare(
        &self,
        target: &Arc<PageBlob>,
        source: &Arc<Disk>,
        named: Option<SnapshotId>,
        reporter: &Reporter,
    ) -> Result<Verified, Failure> {
        let point = find_point(&**target, &self.point).await?;
        let wanted = &point.seal.snapshot.id;
        if let Some(named) = named.filter(|named| named != wanted) {
            return Err(Failure::usage(format!(
                "point {} was made from source snapshot {wanted}, and --against names snapshot {named}: name that one, or \
                 the disk",
                point.id
            )));
        }
        let snapshots = source.snapshots().await?;
        let Some(snapshot) = snapshots.iter().find(|snapshot| snapshot.id == *wanted) else {
            return Err(Failure::new(
                Exit::NotFound,
                format!(
                    "{} has no snapshot {wanted} (any more), from which point {} was made, so there is nothing to compare \
                     it with: choose a point whose source snapshot still exists",
                    source.address(),
                    point.id
                ),
            ));
        };
        reporter.begin(Work::Compare, point.size.max(snapshot.size).bytes());
        let (left, right) = ((source, wanted, snapshot.size), (target, &point.id, point.size));
        let found = contents(left, right, &reporter.events()).await?;
        Ok(Verified {
            point: point.id.to_string(),
            source_snapshot: wanted.to_string(),
            equal: found.ranges.is_empty(),
            compared_bytes: found.compared_bytes,
            differing_bytes: found.ranges.bytes(),
            differing: report::named(&found.ranges),
            words: found.ranges.to_string(),
        })
    }
}
