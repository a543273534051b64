//! `pageferry demo`: a disk, its backup, and the proof, without Azure and without a network.
//!
//! A machine lives through four days. Each changes its disk, a fixed VHD with real file systems, in a different way; each
//! ends in a snapshot, and the engine makes a point of it. Then every point is read back and compared with what was on
//! the disk, and one is restored and opened. The service is the emulator in this process; all else is the real thing.

mod disk;
mod guest;
mod host;
mod managed;
mod proof;
mod week;
mod words;

use std::sync::Arc;
use std::time::Instant;

use pageferry_azure::PageBlob;
use pageferry_core::next::Want;
use pageferry_replicate::image::{self, Format};
use pageferry_replicate::sync::sync;
use pageferry_replicate::{Engine, Options, StepReport, look, restore};

use self::disk::{Changes, Picture};
use self::guest::Files;
use self::host::{Host, failed};
use self::proof::Scratch;
use self::week::{Day, Machine, WEEK};
use self::words::{Changed, Closing, Listed, Opening, Proved, Restored, Stepped};
use crate::console::Console;
use crate::exit::Failure;
use crate::report::{PointSaid, StepDone, millis};

const SOURCE: &str = "disks/web01.vhd";
const TARGET: &str = "backups/web01.vhd";

/// Which day's point is restored: the last with all the photographs.
const WANTED: usize = 1;

/// What was true at the end of a day, to hold the backup against.
struct Truth {
    day: &'static str,
    disk: Picture,
    files: Files,
    step: StepReport,
}

/// Runs the demo, on a page blob or on a managed disk.
///
/// # Errors
/// Whatever went wrong; content that is not what it should be ends with the exit code for that.
pub(crate) async fn run(console: &Console, managed: bool) -> Result<(), Failure> {
    if managed { managed::run(console).await } else { of_a_blob(console).await }
}

async fn of_a_blob(console: &Console) -> Result<(), Failure> {
    let begun = Instant::now();
    let host = Host::start(&["disks", "backups"]).await?;
    let mut machine = Machine::on(week::SMALL);
    let disk_bytes = machine.disk.disk_bytes();
    console.say(&Opening {
        service: host.url(),
        source: SOURCE.to_owned(),
        target: TARGET,
        disk_bytes,
        managed: false,
    });
    let mut truths = Vec::new();
    for day in &WEEK {
        truths.push(live(console, &host, &mut machine, day).await?);
    }
    let target = Arc::new(host.blob(TARGET)?);
    prove(console, &target, &truths).await?;
    bring_back(console, &target, &truths[WANTED]).await?;
    console.say(&closing(&truths, begun));
    Ok(())
}

/// What it all came to.
fn closing(truths: &[Truth], begun: Instant) -> Closing {
    let sum = |what: fn(&Truth) -> u64| truths.iter().map(what).sum();
    Closing {
        points: truths.len(),
        written_bytes: sum(|truth| truth.step.written_bytes),
        cleared_bytes: sum(|truth| truth.step.cleared_bytes),
        requests: sum(|truth| truth.step.requests),
        allocated_copies_bytes: sum(|truth| truth.disk.allocated().bytes()),
        whole_copies_bytes: sum(|truth| truth.disk.size().bytes()),
        elapsed_ms: millis(begun.elapsed()),
    }
}

/// One day: the machine works, its disk is snapshotted, and the backup is brought up to date.
async fn live(console: &Console, host: &Host, machine: &mut Machine, day: &Day) -> Result<Truth, Failure> {
    (day.happen)(machine).map_err(|error| failed(format!("the machine's file system on {}: {error}", day.name)))?;
    let (disk, changes) = (machine.disk.picture(), machine.disk.take_changes());
    let snapshot = host::save(&host.blob(SOURCE)?, &disk, &changes).await?;
    console.say(&Changed::new(day, machine, &changes, snapshot.to_string()));
    let options = Options { host: "demo".to_owned(), ..Options::default() };
    let engine = Engine::new(host.blob(SOURCE)?, host.blob(TARGET)?, options);
    let mut steps = sync(&engine, &Want::Next).await?.steps;
    let (Some(step), []) = (steps.pop(), &steps[..]) else {
        return Err(failed("a sync after one snapshot did not make one point"));
    };
    moved_what_changed(&step, &changes)?;
    console.say_json(&StepDone::from(&step));
    console.say_text(&Stepped(&step).to_string());
    Ok(Truth { day: day.name, disk, files: machine.files.clone(), step })
}

/// Only changed pages move: what the engine saw, wrote and cleared is what the machine did, to the byte.
fn moved_what_changed(step: &StepReport, changes: &Changes) -> Result<(), Failure> {
    let did = (changes.written_bytes(), changes.freed_bytes());
    if (step.changed_bytes, step.freed_bytes) == did && (step.written_bytes, step.cleared_bytes) == did {
        return Ok(());
    }
    Err(failed(format!(
        "the machine wrote {} bytes and freed {}, but the engine saw {} and {}, and wrote {} and cleared {}",
        did.0, did.1, step.changed_bytes, step.freed_bytes, step.written_bytes, step.cleared_bytes
    )))
}

/// Lists the points, and compares each with the truth.
async fn prove(console: &Console, target: &PageBlob, truths: &[Truth]) -> Result<(), Failure> {
    let points = look::points_of(target).await?;
    if !points.iter().map(|point| &point.id).eq(truths.iter().map(|truth| &truth.step.point)) {
        return Err(failed(format!("{} points were made, but these are listed: {points:?}", truths.len())));
    }
    points.iter().for_each(|point| console.say_json(&PointSaid::from(point)));
    let rows = points.iter().zip(truths.iter().map(|truth| &truth.step)).collect();
    console.say_text(&Listed { target: TARGET, rows }.to_string());
    for (number, (point, truth)) in (1..).zip(points.iter().zip(truths)) {
        let begun = Instant::now();
        proof::point_is(target, point, &truth.disk).await?;
        console.say(&Proved {
            number,
            point: point.id.to_string(),
            compared_bytes: truth.disk.size().bytes(),
            allocated_bytes: truth.disk.allocated().bytes(),
            equal: true,
            elapsed_ms: millis(begun.elapsed()),
        });
    }
    Ok(())
}

/// Restores the point of `truth` to a file, and opens that.
async fn bring_back(console: &Console, target: &Arc<PageBlob>, truth: &Truth) -> Result<(), Failure> {
    let scratch = Scratch::new()?;
    let path = scratch.file("web01.vhd");
    let begun = Instant::now();
    let point = restore::find_point(&**target, truth.step.to.as_str()).await?;
    let options = Options::default();
    let report = image::restore_image(target, &point, &path, Format::Vhd, false, &options).await?;
    let elapsed_ms = millis(begun.elapsed());
    proof::image_holds(&path, &truth.files)?;
    console.say(&Restored {
        number: WANTED + 1,
        day: truth.day,
        point: point.id.to_string(),
        file_bytes: report.file_bytes,
        written_bytes: report.written_bytes,
        files: truth.files.len(),
        files_bytes: truth.files.values().map(|content| content.len() as u64).sum(),
        equal: true,
        elapsed_ms,
    });
    Ok(())
}
