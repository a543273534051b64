//! The life of one world, from the first page to the last look.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use pageferry_azure::{Address, Clock, Credential, PageBlob, RetryPolicy};
use pageferry_core::next::{Conflict, Want};
use pageferry_core::plan::ChunkPolicy;
use pageferry_core::{PAGE_BYTES, Pages, SnapshotId};
use pageferry_emulator::Service;
use pageferry_replicate::adopt::adopt;
use pageferry_replicate::restore::{find_point, restore};
use pageferry_replicate::sync::sync;
use pageferry_replicate::{Choice, Class, Engine, Event, Events, Fill, Options, ReplicateError};
use tokio::task::JoinHandle;

use super::dice::Dice;
use super::disk::{Disk, Truth};
use super::draw::{Draw, Fault, Scale};
use super::machine::{Paused, SimMachine};
use super::sabotage::Sabotage;
use super::site::{BACKUP, Known, ROOT, Site, moment};
use super::wire::Line;

/// What one world, or many, came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Requests that processes sent.
    pub requests: u64,
    /// What happened to them on the way.
    pub faults: BTreeMap<Fault, u64>,
    /// Processes that ran.
    pub processes: u64,
    /// Of these, those that died.
    pub deaths: u64,
    /// How the others ended.
    pub endings: BTreeMap<String, u64>,
    /// Points, each compared with the truth.
    pub points: u64,
    /// Steps that filled gaps and were sealed.
    pub filled: u64,
    /// Seconds that passed in the world.
    pub seconds: u64,
    /// Worlds whose chain ended because its source snapshot was deleted.
    pub dead_ends: u64,
    /// Of everything that happened: the same seed makes the same digest.
    pub digest: u64,
}

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Remembers a panic of this thread, wherever it was caught; it is told with its seed.
fn remember_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let simulated = std::thread::current().name().is_some_and(|name| name.starts_with("seeds"));
            if simulated {
                PANIC.with_borrow_mut(|panic| {
                    panic.get_or_insert_with(|| info.to_string());
                });
            } else {
                before(info);
            }
        }));
    });
}

/// Lives the world of `seed`. Must be called on a thread of its own that is named `seeds…`, so that its panics are its own.
///
/// # Errors
/// What was wrong: a point that lies, a panic, a target that nothing brings up to date.
pub fn live(seed: u64, scale: Scale, sabotage: &[Sabotage], trace: bool) -> Result<Report, String> {
    remember_panics();
    PANIC.take();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let lived = std::panic::catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let life = Life::new(seed, scale, sabotage.to_vec(), trace).lived();
            // Long after everything that anybody waits for.
            let year = Duration::from_secs(365 * 24 * 3600);
            tokio::time::timeout(year, life).await.unwrap_or_else(|_| Err("it never ends".to_owned()))
        })
    }));
    drop(runtime);
    match (PANIC.take(), lived) {
        (Some(panic), _) => Err(format!("panic: {panic}")),
        (None, Err(_)) => Err("panic".to_owned()),
        (None, Ok(result)) => result,
    }
}

/// What a process is for.
#[derive(Clone, Debug)]
enum Job {
    Sync(Want),
    /// Of the point that names this source snapshot, to this blob.
    Restore(String, String),
    Adopt,
}

/// How a process ended.
#[derive(Debug)]
enum Ending {
    Died,
    Done,
    Failed(ReplicateError),
}

struct Life {
    site: Arc<Site>,
    draw: Draw,
    dice: Dice,
    truth: Truth,
    report: Report,
    /// Blobs that points were restored to.
    restored: Vec<(String, String)>,
}

impl Life {
    fn new(seed: u64, scale: Scale, sabotage: Vec<Sabotage>, trace: bool) -> Life {
        let mut dice = Dice::new(seed);
        let mut draw = Draw::new(scale, &mut dice.fork());
        without(&mut draw);
        let clock = Paused::new();
        let service = Service::new(draw.config.clone(), Arc::new(clock));
        let known = Mutex::new(Known::default());
        if trace {
            eprintln!("{draw:?}");
        }
        let site = Arc::new(Site { service, clock, sabotage, trace, known });
        let (truth, report) = (Truth::default(), Report::default());
        Life { site, draw, dice, truth, report, restored: Vec::new() }
    }

    async fn lived(mut self) -> Result<Report, String> {
        self.site.service.handle(Site::request("PUT", "", &[("restype", "container")])).await;
        let mut disk = Disk::make(&self.site, "disk", self.draw.pages).await;
        let room = self.draw.pages + self.draw.pages / 2;
        disk.use_it(&mut self.dice, room).await;
        disk.snapshot(&mut self.truth).await;
        for _ in 0..self.draw.rounds {
            self.round(&mut disk, room).await?;
        }
        let mut up = self.settle(&disk).await?;
        self.finish_restores(&disk).await?;
        if up
            && self.draw.adopts
            && self.site.sabotage.is_empty()
            && let Some(next) = self.second_life(&disk).await?
        {
            disk = next;
            up = self.settle(&disk).await?;
        }
        // Whatever is still on its way arrives.
        tokio::time::sleep(Duration::from_secs(8000)).await;
        self.site.prove(BACKUP, &mut self.truth).await?;
        self.report.dead_ends += u64::from(!up);
        self.report.points = self.truth.points() as u64;
        self.report.seconds = self.site.clock.elapsed().as_secs();
        let known = self.site.known();
        self.report.requests = known.requests;
        self.report.faults.clone_from(&known.faults);
        self.report.filled = known.filled;
        self.report.digest = known.digest;
        drop(known);
        Ok(self.report)
    }

    /// The disk is used, processes run, others interfere.
    async fn round(&mut self, disk: &mut Disk, room: u64) -> Result<(), String> {
        for _ in 0..self.dice.below(3) {
            disk.use_it(&mut self.dice, room).await;
            disk.snapshot(&mut self.truth).await;
        }
        if self.draw.deletes && self.dice.chance(200) {
            disk.forget(&mut self.dice).await;
        }
        let mut running = Vec::new();
        for _ in 0..*self.dice.pick(&[1, 1, 1, 1, 2, 2, 3]) {
            let start = if self.dice.chance(400) { 0 } else { self.dice.spread(1..100_000) };
            let job = self.job(disk);
            running.push(self.start(job, disk, Duration::from_millis(start), false, false));
        }
        for _ in 0..self.dice.below(4) {
            tokio::time::sleep(Duration::from_millis(self.dice.spread(1..120_000))).await;
            moment().await;
            self.incident(disk, room).await;
        }
        for process in running {
            self.ended(process).await?;
        }
        self.prove_all(disk).await?;
        let pause = *self.dice.pick(&[0, 0, 1, 20, 61, 3600]);
        tokio::time::sleep(Duration::from_secs(pause)).await;
        Ok(())
    }

    fn job(&mut self, disk: &Disk) -> Job {
        if self.draw.restores && self.dice.chance(300) && !disk.snapshots.is_empty() {
            let name = format!("restored{}", self.restored.len());
            let snapshot = self.dice.pick(&disk.snapshots).clone();
            self.restored.push((snapshot.clone(), name.clone()));
            return Job::Restore(snapshot, name);
        }
        Job::Sync(match self.dice.below(10) {
            0..7 => Want::Next,
            7..9 => Want::Latest,
            _ if disk.snapshots.is_empty() => Want::Latest,
            _ => Want::To(SnapshotId::new(self.dice.pick(&disk.snapshots))),
        })
    }

    /// Something that is not a process of ours.
    async fn incident(&mut self, disk: &mut Disk, room: u64) {
        match self.dice.below(8) {
            0 | 1 => disk.use_it(&mut self.dice, room).await,
            2 => {
                disk.use_it(&mut self.dice, room).await;
                disk.snapshot(&mut self.truth).await;
            }
            3 if self.draw.deletes => disk.forget(&mut self.dice).await,
            4 if self.draw.breaks => {
                let request = Site::request("PUT", &format!("/{BACKUP}"), &[("comp", "lease")])
                    .header("x-ms-lease-action", "break")
                    .header("x-ms-lease-break-period", self.dice.pick(&["0", "0", "10", "60"]).to_owned());
                let answer = self.site.serve(request).await;
                self.site.tell(&format!("somebody breaks the lease: {}", answer.status));
            }
            5 | 6 if self.draw.foreign => self.foreign_write(disk.pages).await,
            7 if self.draw.foreign_resize => {
                let length = (self.dice.within(1..room) * PAGE_BYTES).to_string();
                let request = Site::request("PUT", &format!("/{BACKUP}"), &[("comp", "properties")])
                    .header("x-ms-blob-content-length", length.clone());
                let answer = self.site.serve(request).await;
                self.site.tell(&format!("somebody resizes the target to {length}: {}", answer.status));
            }
            _ => {}
        }
    }

    async fn foreign_write(&mut self, pages: u64) {
        let mut lease = None;
        if self.dice.chance(250) {
            let id = "99999999-9999-9999-9999-999999999999";
            let request = Site::request("PUT", &format!("/{BACKUP}"), &[("comp", "lease")])
                .header("x-ms-lease-action", "acquire")
                .header("x-ms-lease-duration", "15")
                .header("x-ms-proposed-lease-id", id);
            lease = self.site.serve(request).await.is_success().then_some(id);
        }
        let start = self.dice.below(pages);
        let end = (start + self.dice.spread(1..9)).min(pages);
        let clear = self.dice.chance(400);
        let range = format!("bytes={}-{}", start * PAGE_BYTES, end * PAGE_BYTES - 1);
        let body =
            if clear { Vec::new() } else { vec![0xBA; usize::try_from((end - start) * PAGE_BYTES).unwrap_or(0)] };
        let mut request = Site::request("PUT", &format!("/{BACKUP}"), &[("comp", "page")])
            .header("x-ms-page-write", if clear { "clear" } else { "update" })
            .header("x-ms-range", range)
            .with_body(body);
        if let Some(id) = lease {
            request = request.header("x-ms-lease-id", id);
        }
        let answer = self.site.service.handle(request).await;
        let what = if clear { "clears" } else { "writes" };
        self.site.tell(&format!("somebody {what} pages {start}..{end} of the target, {lease:?}: {}", answer.status));
    }

    /// Starts a process.
    fn start(&mut self, job: Job, disk: &Disk, after: Duration, healthy: bool, repair: bool) -> JoinHandle<Ending> {
        self.report.processes += 1;
        let name = format!("p{}", self.report.processes);
        let dice = &mut self.dice;
        let healthy = healthy || dice.chance(100);
        let line = if healthy {
            Line::sound(&self.site, name.clone(), dice)
        } else {
            Line::faulty(&self.site, name.clone(), &self.draw, dice)
        };
        let line = Arc::new(line);
        let mut options = self.options(&name, healthy);
        options.repair = repair || self.draw.foreign && self.dice.chance(200);
        let dice = &mut self.dice;
        let stop_at = (!healthy && dice.chance(120)).then(|| Duration::from_millis(dice.spread(1..200_000)));
        let death_at = (!healthy && dice.chance(50)).then(|| Duration::from_millis(dice.spread(1..200_000)));
        let ranges_per_page = if dice.chance(300) { u32::try_from(dice.within(1..6)).unwrap_or(1) } else { 10_000 };
        let retry = RetryPolicy { seed: Some(dice.any()), ..RetryPolicy::default() };
        let clock = self.site.clock;
        let blob = |name: &str| {
            let url = format!("http://127.0.0.1:10000{ROOT}/{name}");
            let address = Address::parse(&url).expect("an address");
            let options = pageferry_azure::Options {
                transport: Some(Arc::clone(&line) as Arc<_>),
                retry,
                clock: Clock::new(move || clock.now()),
                ranges_per_page,
                ..pageferry_azure::Options::default()
            };
            PageBlob::new(address, &Credential::Anonymous, options).expect("a blob")
        };
        let engine = match &job {
            Job::Restore(_, to) => Engine::new(blob(BACKUP), blob(to), options),
            _ => Engine::new(blob(&disk.name), blob(BACKUP), options),
        };
        let site = Arc::clone(&self.site);
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            moment().await;
            site.tell(&format!("{name} begins: {job:?}"));
            let (stop, dead) = (engine.options.stop.clone(), line.dead.clone());
            let timers = async {
                let stopping = async {
                    let Some(at) = stop_at else { return };
                    tokio::time::sleep(at).await;
                    moment().await;
                    stop.cancel();
                };
                let dying = async {
                    let Some(at) = death_at else { return };
                    tokio::time::sleep(at).await;
                    moment().await;
                    dead.cancel();
                };
                tokio::join!(stopping, dying);
                std::future::pending::<()>().await
            };
            let work = async {
                match &job {
                    Job::Sync(want) => sync(&engine, want).await.map(drop),
                    Job::Restore(point, _) => match find_point(&*engine.source, point).await {
                        Ok(point) => restore(&engine, &point, false).await.map(drop),
                        Err(error) => Err(error),
                    },
                    Job::Adopt => adopt(&engine).await.map(drop),
                }
            };
            let ending = tokio::select! {
                biased;
                () = line.dead.cancelled() => Ending::Died,
                done = work => done.map_or_else(Ending::Failed, |()| Ending::Done),
                () = timers => Ending::Died,
            };
            site.tell(&match &ending {
                Ending::Failed(error) => format!("{name} fails: {:?}", error.class()),
                other => format!("{name} ends: {other:?}"),
            });
            if let (true, Ending::Failed(error)) = (site.trace, &ending) {
                eprintln!("           {error}");
            }
            ending
        })
    }

    fn options(&mut self, name: &str, healthy: bool) -> Options {
        let (dice, clock) = (&mut self.dice, self.site.clock);
        let most = if self.draw.scale == Scale::Small { 5 } else { 8 };
        let least = if self.draw.scale == Scale::Small { 0 } else { 3 };
        let in_flight = usize::try_from(dice.within(1..9)).unwrap_or(1);
        let mut options = Options {
            chunks: ChunkPolicy {
                write_max: Pages::new(1 << dice.within(least..most)),
                clear_max: Pages::new(*dice.pick(&[4, 16, 1 << 21])),
            },
            lease: Duration::from_secs(*dice.pick(&[60, 60, 30, 15])),
            lock_wait: Duration::from_secs(*dice.pick(&[75, 75, 10, 0])),
            watermark_every: Duration::from_millis(*dice.pick(&[5000, 5000, 200, 50])),
            host: name.to_owned(),
            machine: Arc::new(SimMachine::new(clock, dice)),
            ..Options::default()
        };
        options.budget.requests = in_flight;
        // Not drawn with these dice, so that older seeds still make the worlds they were noted for.
        let mut own = Dice::new(self.draw.config.seed.wrapping_add(self.report.processes));
        if self.draw.fills && own.chance(700) {
            let gap_max = Some(Pages::new(own.within(4..97)));
            options.fill = Some(Fill { runs_min: usize::try_from(own.within(1..3)).unwrap_or(1), gap_max });
        }
        options.mover = *own.pick(&[Choice::Relay, Choice::Relay, Choice::Relay, Choice::Service, Choice::Auto]);
        let site = Arc::clone(&self.site);
        options.events = Events::new(move |event| {
            if let Event::Sealed(report) = event {
                site.known().filled += u64::from(report.filled_bytes > 0);
            }
        });
        options.budget.reach = Pages::new(*dice.pick(&[1 << 27, 1 << 27, 16]));
        if healthy {
            options.lock_wait = Duration::from_secs(75);
        }
        if self.site.is(Sabotage::NoQuiesce) {
            options.quiesce = Duration::ZERO;
        }
        options
    }

    /// Waits for a process; no ending but a panic is wrong while things go wrong.
    async fn ended(&mut self, process: JoinHandle<Ending>) -> Result<Ending, String> {
        let ending = process.await.map_err(|error| error.to_string())?;
        match &ending {
            Ending::Died => self.report.deaths += 1,
            Ending::Done => *self.report.endings.entry("done".to_owned()).or_default() += 1,
            Ending::Failed(error) => {
                *self.report.endings.entry(format!("{:?}", error.class())).or_default() += 1;
                let untrusted = matches!(error, ReplicateError::Untrusted { .. });
                if untrusted && !self.draw.config.variants.ignore_prevsnapshot && !self.draw.lies_in_words() {
                    return Err(format!("an honest service is not trusted: {error}"));
                }
            }
        }
        Ok(ending)
    }

    async fn prove_all(&mut self, disk: &Disk) -> Result<Vec<(String, String)>, String> {
        for (_, blob) in self.restored.clone() {
            // A restored disk that is in use makes snapshots of its own.
            if blob != disk.name {
                self.site.prove(&blob, &mut self.truth).await?;
            }
        }
        self.site.prove(BACKUP, &mut self.truth).await
    }

    /// Nothing goes wrong any more: a healthy process must bring the target up to date, or be right that it cannot.
    async fn settle(&mut self, disk: &Disk) -> Result<bool, String> {
        let (mut repair, mut last) = (false, String::new());
        for _ in 0..8 {
            let process = self.start(Job::Sync(Want::Next), disk, Duration::ZERO, true, repair);
            let ending = self.ended(process).await?;
            let points = self.prove_all(disk).await?;
            let error = match ending {
                Ending::Done => return self.is_up_to_date(disk, points.last()).await.map(|()| true),
                Ending::Died => return Err("a healthy process died".to_owned()),
                Ending::Failed(error) => error,
            };
            let parent_exists =
                points.last().is_none_or(|(name, id)| *name == disk.name && disk.snapshots.contains(id));
            match &error {
                ReplicateError::Foreign { .. } => repair = true,
                ReplicateError::Untrusted { .. } if self.draw.config.variants.ignore_prevsnapshot => return Ok(false),
                ReplicateError::Conflict { conflict: Conflict::NoSnapshots, .. } if disk.snapshots.is_empty() => {
                    return Ok(false);
                }
                ReplicateError::Conflict { conflict: Conflict::ParentGone(_), .. } if !parent_exists => {
                    return Ok(false);
                }
                error if error.class() == Class::ChainBroken && self.may_break() => return Ok(false),
                _ => tokio::time::sleep(Duration::from_secs(30)).await,
            }
            last = error.to_string();
        }
        if self.draw.lies_in_words() {
            return Ok(false);
        }
        Err(format!("eight healthy processes did not bring the target up to date: {last}"))
    }

    /// Whether the chain may break although the newest point's source snapshot is there.
    fn may_break(&self) -> bool {
        self.draw.lies_in_words() || self.draw.deletes && self.draw.config.variants.diff_needs_chain
    }

    async fn is_up_to_date(&self, disk: &Disk, newest: Option<&(String, String)>) -> Result<(), String> {
        let wanted = disk.snapshots.last().map(|id| (disk.name.clone(), id.clone()));
        // Where all source snapshots were deleted, the target may know one that is newer than what there is.
        if let (Some(wanted), Some(newest)) = (&wanted, newest)
            && newest.1 < wanted.1
        {
            return Err(format!("a healthy sync was content with {newest:?} and not {wanted:?}"));
        }
        let Some(newest) = newest else { return Err("a healthy sync made no point".to_owned()) };
        // What somebody wrote after the newest point is found by the next step, not by a look that finds nothing to do.
        if self.draw.foreign || self.draw.foreign_resize {
            return Ok(());
        }
        let base = self.site.image(BACKUP, None).await;
        self.truth.compare("the base after a healthy sync", &base, newest)
    }

    /// Restores that were interrupted are finished.
    async fn finish_restores(&mut self, disk: &Disk) -> Result<(), String> {
        let points = self.prove_all(disk).await?;
        for (snapshot, blob) in self.restored.clone() {
            let known = points.iter().any(|(_, id)| *id == snapshot);
            if !known || !self.site.sabotage.is_empty() {
                continue;
            }
            let mut last = String::new();
            for _ in 0..8 {
                let job = Job::Restore(snapshot.clone(), blob.clone());
                let process = self.start(job, disk, Duration::ZERO, true, false);
                match self.ended(process).await? {
                    Ending::Done | Ending::Failed(ReplicateError::Exists { .. }) => {
                        last.clear();
                        break;
                    }
                    Ending::Died => return Err("a healthy restore died".to_owned()),
                    Ending::Failed(error) => last = error.to_string(),
                }
                tokio::time::sleep(Duration::from_secs(30)).await;
            }
            let made = self.site.prove(&blob, &mut self.truth).await?;
            if (!last.is_empty() || made.is_empty()) && !self.draw.lies_in_words() {
                return Err(format!("the restore of {snapshot} to {blob} cannot be finished: {last}"));
            }
        }
        Ok(())
    }

    /// The newest point is restored, the machine runs from there, and its backups go on in the same target.
    async fn second_life(&mut self, disk: &Disk) -> Result<Option<Disk>, String> {
        let points = self.site.prove(BACKUP, &mut self.truth).await?;
        let Some((_, newest)) = points.last().cloned() else { return Err("nothing to restore".to_owned()) };
        let name = "next".to_owned();
        let process = self.start(Job::Restore(newest, name.clone()), disk, Duration::ZERO, true, false);
        match self.ended(process).await? {
            Ending::Done => {}
            ending => return Err(format!("a healthy restore: {ending:?}")),
        }
        self.site.prove(&name, &mut self.truth).await?;
        let mut next = Disk::of(&self.site, &name, &mut self.truth).await;
        let room = next.pages;
        for _ in 0..self.dice.within(1..3) {
            next.use_it(&mut self.dice, room).await;
            next.snapshot(&mut self.truth).await;
        }
        let first = self.start(Job::Adopt, &next, Duration::ZERO, false, false);
        self.ended(first).await?;
        self.site.prove(BACKUP, &mut self.truth).await?;
        let mut last = String::new();
        for _ in 0..8 {
            let process = self.start(Job::Adopt, &next, Duration::ZERO, true, false);
            match self.ended(process).await? {
                Ending::Done => return Ok(Some(next)),
                Ending::Died => return Err("a healthy adoption died".to_owned()),
                Ending::Failed(ReplicateError::Foreign { .. }) if self.draw.foreign || self.draw.foreign_resize => {
                    return Ok(None);
                }
                Ending::Failed(error) => last = error.to_string(),
            }
            self.site.prove(BACKUP, &mut self.truth).await?;
            tokio::time::sleep(Duration::from_secs(61)).await;
        }
        // Words that were altered on their way to the target are nobody's, and then a person must look.
        if self.draw.lies_in_words() {
            return Ok(None);
        }
        Err(format!("the adoption cannot be finished: {last}"))
    }
}

/// Leaves out what `PAGEFERRY_WITHOUT` names, to find out what a failure needs.
fn without(draw: &mut Draw) {
    let Ok(names) = std::env::var("PAGEFERRY_WITHOUT") else { return };
    for name in names.split(',') {
        match name {
            "foreign" => draw.foreign = false,
            "resize" => draw.foreign_resize = false,
            "breaks" => draw.breaks = false,
            "deletes" => draw.deletes = false,
            "restores" => draw.restores = false,
            "adopts" => draw.adopts = false,
            "storm" => draw.storm = 0,
            "coarse" => {
                draw.config.variants.diff_granularity = 1;
                draw.config.variants.list_granularity = 1;
            }
            fault => draw.faults.retain(|(kind, _)| !format!("{kind:?}").eq_ignore_ascii_case(fault)),
        }
    }
}
