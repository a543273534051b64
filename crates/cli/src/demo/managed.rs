//! The same week on a managed disk: its snapshots are found by the disk's id, read through grants that are given back each
//! time, and the disk that is restored in the end is a managed one again.

use std::sync::Arc;
use std::time::Instant;

use pageferry_arm::{Arm, FixedToken, Options as ArmOptions, ResourceId};
use pageferry_azure::{PageBlob, general_client};
use pageferry_core::next::Want;
use pageferry_core::{PageRange, Pages};
use pageferry_emulator::{DEV_TOKEN, Service};
use pageferry_managed::{ManagedDisk, Naming, Order, Reading, UploadDisk};
use pageferry_replicate::adopt::adopt;
use pageferry_replicate::restore::find_point;
use pageferry_replicate::sync::sync;
use pageferry_replicate::upload::upload;
use pageferry_replicate::{Engine, Framed, Options};
use pageferry_store::Source;
use time::OffsetDateTime;

use super::disk::{Changes, Picture};
use super::host::{GRID, Host, failed};
use super::week::{Day, Machine, WEEK};
use super::words::{Changed, Opening, Returned, Stepped};
use super::{TARGET, Truth, closing, moved_what_changed, prove};
use crate::console::Console;
use crate::exit::{Exit, Failure};
use crate::report::{StepDone, millis};

const GROUP: &str =
    "/subscriptions/00000000-0000-0000-0000-00000000demo/resourceGroups/shop/providers/Microsoft.Compute";

const GIB: u64 = 1 << 30;

/// Where the disk is.
const HERE: &str = "westeurope";

/// A managed disk in the service, and who may do what with it.
struct Site<'a> {
    host: &'a Host,
    arm: Arm,
    token: Arc<dyn azure_core::credentials::TokenCredential>,
}

/// Runs the demo.
///
/// # Errors
/// As the other demo, and where a grant is left.
pub(super) async fn run(console: &Console) -> Result<(), Failure> {
    let begun = Instant::now();
    let host = Host::start(&["backups"]).await?;
    let site = Site::of(&host)?;
    let disk = site.make_disk().await?;
    let mut machine = Machine::on(GIB);
    let opening =
        Opening { service: host.url(), source: disk.to_string(), target: TARGET, disk_bytes: GIB, managed: true };
    console.say(&opening);
    let mut truths = Vec::new();
    for day in &WEEK {
        truths.push(site.live(console, &disk, &mut machine, day).await?);
    }
    let target = Arc::new(host.blob(TARGET)?);
    prove(console, &target, &truths).await?;
    if let Some(newest) = truths.last() {
        site.bring_back(console, &target, newest).await?;
    }
    console.say(&closing(&truths, begun));
    Ok(())
}

impl<'a> Site<'a> {
    fn of(host: &'a Host) -> Result<Site<'a>, Failure> {
        let options = ArmOptions::default();
        let client = general_client(4, options.patience).map_err(|error| failed(format!("no HTTP client: {error}")))?;
        let endpoint =
            host.arm_url().parse().map_err(|error| failed(format!("the emulator has no address: {error}")))?;
        let poll = std::time::Duration::from_millis(20);
        let token = Arc::new(FixedToken::new(DEV_TOKEN));
        let arm = Arm::new(token.clone(), ArmOptions { endpoint, transport: Some(client), poll, ..options })?;
        Ok(Site { host, arm, token })
    }

    fn service(&self) -> &Service {
        self.host.service()
    }

    async fn make_disk(&self) -> Result<ResourceId, Failure> {
        let id = ResourceId::parse(&format!("{GROUP}/disks/web01")).map_err(|error| failed(error.to_string()))?;
        let new = pageferry_arm::NewDisk {
            location: HERE.to_owned(),
            sku: None,
            origin: pageferry_arm::Origin::Empty { gib: 1 },
            tags: std::collections::BTreeMap::new(),
            sector_size: None,
            disk_encryption_set: None,
            network_policy: None,
            os_type: None,
            generation: None,
        };
        self.arm.create_disk(&id, &new).await?;
        Ok(id)
    }

    /// Restores the newest point to a new managed disk, holds that against the truth, and goes on with its backups.
    async fn bring_back(&self, console: &Console, target: &Arc<PageBlob>, truth: &Truth) -> Result<(), Failure> {
        let begun = Instant::now();
        let disk =
            ResourceId::parse(&format!("{GROUP}/disks/web01-restored")).map_err(|error| failed(error.to_string()))?;
        let point = find_point(&**target, "latest").await?;
        let framed = Arc::new(Framed::new(PageBlob::clone(target), &point).await?);
        let order = Order {
            disk: disk.clone(),
            location: HERE.to_owned(),
            sku: "Standard_LRS".to_owned(),
            os_type: None,
            generation: None,
            content: format!("{TARGET}@{}", point.id),
            size: framed.size(),
        };
        let (made, _) = UploadDisk::open(self.arm.clone(), self.token.clone(), &order, Reading::default()).await?;
        let made = Arc::new(made);
        let progress = upload(&framed, &made, false, &Options::default()).await?;
        made.finish().await?;
        let elapsed_ms = millis(begun.elapsed());
        self.holds(&disk, &truth.disk)?;
        self.nothing_is_granted()?;
        let (source, _) = ManagedDisk::find(self.arm.clone(), self.token.clone(), &disk, Reading::default()).await?;
        source.take(&Naming::default(), OffsetDateTime::now_utc).await?;
        let engine =
            Engine::new(source, self.host.blob(TARGET)?, Options { host: "demo".to_owned(), ..Options::default() });
        let adopted = adopt(&engine).await?.ok_or_else(|| failed("the restored disk was not adopted"))?;
        engine.source.give_back().await?;
        self.nothing_is_granted()?;
        console.say(&Returned {
            point: point.id.to_string(),
            disk: disk.to_string(),
            disk_bytes: truth.disk.size().bytes(),
            written_bytes: progress.written_bytes,
            equal: true,
            elapsed_ms,
            adopted: adopted.point.to_string(),
        });
        Ok(())
    }

    /// Whether a managed disk holds what `truth` does, footer and all.
    fn holds(&self, disk: &ResourceId, truth: &Picture) -> Result<(), Failure> {
        let image = self.service().read_disk(&disk.to_string()).ok_or_else(|| failed("the restored disk is gone"))?;
        let data = PageRange::whole(truth.size().saturating_sub(Pages::new(1)));
        let mut pieces = data.into_iter().flat_map(|data| data.cut(GRID));
        let differs = |range: &PageRange| image.bytes(range.start().bytes(), range.bytes()) != truth.bytes(*range);
        match pieces.find(differs) {
            None if image.length == truth.size().bytes() => Ok(()),
            None => Err(Failure::new(Exit::Differs, format!("the restored disk has {} bytes", image.length))),
            Some(range) => Err(Failure::new(Exit::Differs, format!("the restored disk differs, first within {range}"))),
        }
    }

    /// One day: the machine works, and `backup` does what it does on a timer.
    async fn live(
        &self,
        console: &Console,
        disk: &ResourceId,
        machine: &mut Machine,
        day: &Day,
    ) -> Result<Truth, Failure> {
        (day.happen)(machine).map_err(|error| failed(format!("the machine's file system on {}: {error}", day.name)))?;
        let (picture, changes) = (machine.disk.picture(), machine.disk.take_changes());
        self.put(disk, &picture, &changes)?;
        let (source, _) = ManagedDisk::find(self.arm.clone(), self.token.clone(), disk, Reading::default()).await?;
        let link = source.take(&Naming::default(), OffsetDateTime::now_utc).await?;
        console.say(&Changed::new(day, machine, &changes, link.resource.name().to_owned()));
        let options = Options { host: "demo".to_owned(), ..Options::default() };
        let engine = Engine::new(source, self.host.blob(TARGET)?, options);
        let mut steps = sync(&engine, &Want::Next).await?.steps;
        let (Some(step), []) = (steps.pop(), &steps[..]) else {
            return Err(failed("a sync after one snapshot did not make one point"));
        };
        moved_what_changed(&step, &changes)?;
        self.nothing_is_granted()?;
        console.say_json(&StepDone::from(&step));
        console.say_text(&Stepped(&step).to_string());
        // The service puts a footer of its own around the data of a managed disk.
        let picture = picture.with_footer(&self.footer(&link.resource)?);
        Ok(Truth { day: day.name, disk: picture, files: machine.files.clone(), step })
    }

    /// Does to the managed disk what the machine did to its own.
    fn put(&self, disk: &ResourceId, picture: &Picture, changes: &Changes) -> Result<(), Failure> {
        let (disk, data) = (disk.to_string(), picture.size().saturating_sub(Pages::new(1)));
        let cannot = |error: pageferry_emulator::ArmError| failed(format!("the machine cannot use its disk: {error}"));
        let image = self.service().read_disk(&disk).ok_or_else(|| failed("the managed disk is gone"))?;
        if image.size != data.bytes() {
            self.service().resize_disk(&disk, data.bytes()).map_err(cannot)?;
        }
        let within = PageRange::whole(data);
        let clipped = |range: &PageRange| within.and_then(|within| range.intersection(within));
        for range in changes.written.iter().filter_map(clipped) {
            self.service().write_disk(&disk, range.start().bytes(), picture.bytes(range)).map_err(cannot)?;
        }
        for range in changes.freed.iter().filter_map(clipped) {
            self.service().clear_disk(&disk, range.start().bytes(), range.bytes()).map_err(cannot)?;
        }
        Ok(())
    }

    /// The last page of a snapshot's blob, as the service keeps it.
    fn footer(&self, snapshot: &ResourceId) -> Result<Vec<u8>, Failure> {
        let image = self.service().read_disk(&snapshot.to_string()).ok_or_else(|| failed("the snapshot is gone"))?;
        let footer = image.pages.piece(image.length - 512, image.length);
        footer.map(|bytes| bytes.to_vec()).ok_or_else(|| failed("the snapshot has no footer"))
    }

    fn nothing_is_granted(&self) -> Result<(), Failure> {
        match self.service().grants().first() {
            None => Ok(()),
            Some(left) => Err(Failure::new(Exit::Failed, format!("a grant was left: {}", left.resource))),
        }
    }
}
