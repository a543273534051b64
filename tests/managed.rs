//! A managed disk, and a run that dies at any request: to Resource Manager, to the disk's endpoint, to the target.
//!
//! Whatever happens, the next run ends in the same points, and nothing is left that anybody was granted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pageferry_arm::{Arm, FixedToken, ResourceId};
use pageferry_azure::{RetryPolicy, Side};
use pageferry_core::next::Want;
use pageferry_core::{PAGE_BYTES, SnapshotId};
use pageferry_emulator::{Config, DEV_TOKEN, DiskImage, Request};
use pageferry_managed::{ManagedDisk, Reading, Terms};
use pageferry_replicate::sync::{SyncReport, sync};
use pageferry_replicate::{Engine, ReplicateError};
use pageferry_store::{Source, StoreError};
use pageferry_tests::{Fate, Process, World};
use serde_json::json;

const GROUP: &str = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg/providers/Microsoft.Compute";

/// A disk and its snapshots, with what they hold.
struct Site {
    world: Arc<World>,
    snapshots: Vec<(String, DiskImage)>,
}

impl Site {
    async fn new() -> Site {
        Site::with(Config::default()).await
    }

    /// Three snapshots: a seed, a difference with a clear, one after the disk has grown.
    async fn with(config: Config) -> Site {
        let world = World::checked(config).await;
        let mut site = Site { world, snapshots: Vec::new() };
        let properties = json!({ "creationData": { "createOption": "Empty" }, "diskSizeGB": 1 });
        site.arm("PUT", &disk(), &json!({ "location": "westeurope", "properties": properties })).await;
        let service = site.world.service().clone();
        let write = |page: u64, pages: u64, with: u8| {
            let length = usize::try_from(pages * PAGE_BYTES).unwrap();
            service.write_disk(&disk(), page * PAGE_BYTES, vec![with; length]).unwrap();
        };
        write(0, 20, 1);
        write(40, 4, 2);
        site.snapshot("c").await;
        write(5, 4, 3);
        service.clear_disk(&disk(), 8 * PAGE_BYTES, 4 * PAGE_BYTES).unwrap();
        site.snapshot("b").await;
        service.resize_disk(&disk(), (1 << 30) + (1 << 20)).unwrap();
        write((1 << 21) + 7, 9, 4);
        write(41, 1, 5);
        site.snapshot("a").await;
        site
    }

    async fn snapshot(&mut self, name: &str) {
        // Two snapshots of one time would have no order.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let id = format!("{GROUP}/snapshots/{name}");
        let data = json!({ "createOption": "Copy", "sourceResourceId": disk() });
        let properties = json!({ "creationData": data, "incremental": true });
        self.arm("PUT", &id, &json!({ "location": "westeurope", "properties": properties })).await;
        let image = self.world.service().read_disk(&id).unwrap();
        self.snapshots.push((id, image));
    }

    async fn arm(&self, method: &str, id: &str, body: &serde_json::Value) {
        let request = Request::new(method, &format!("{id}?api-version=2022-07-02"))
            .header("authorization", format!("Bearer {DEV_TOKEN}"))
            .with_body(body.to_string());
        let answer = self.world.service().handle(request).await;
        assert!(answer.is_success(), "{method} {id}: {}", answer.status);
    }

    fn granted(&self) -> Vec<String> {
        self.world.service().grants().into_iter().map(|grant| grant.resource).collect()
    }

    /// Fails where a point is not what the snapshot holds that it names. How many there are.
    async fn proven(&self) -> usize {
        let process = self.world.process();
        let blob = process.blob("backup", Side::Target);
        let points = pageferry_replicate::look::points_of(&blob).await.expect("the points can be read");
        for (point, (id, truth)) in points.iter().zip(&self.snapshots) {
            assert_eq!(point.size.bytes(), truth.size + 512, "the size of the point of {id}");
            for at in [0, truth.size - (1 << 20)] {
                let found = self.world.bytes("backup", &point.id, at, 1 << 20).await;
                assert!(found == truth.bytes(at, 1 << 20), "the point of {id} is not what it holds, from {at} on");
            }
            let footer = self.world.bytes("backup", &point.id, truth.size, 512).await;
            assert!(footer.starts_with(b"conectix"), "the point of {id} ends without a footer");
        }
        points.len()
    }
}

fn disk() -> String {
    format!("{GROUP}/disks/web1")
}

/// The disk as `process` reaches it.
async fn found(process: &Process, terms: Terms) -> Result<ManagedDisk, StoreError> {
    let token = Arc::new(FixedToken::new(DEV_TOKEN));
    let options = pageferry_arm::Options {
        endpoint: "http://127.0.0.1".parse().unwrap(),
        transport: Some(process.transport()),
        seed: Some(7),
        ..pageferry_arm::Options::default()
    };
    let reading = Reading {
        options: pageferry_azure::Options {
            transport: Some(process.transport()),
            retry: RetryPolicy { seed: Some(7), ..RetryPolicy::default() },
            ..pageferry_azure::Options::default()
        },
        terms,
        ..Reading::default()
    };
    let arm = Arm::new(token.clone(), options)?;
    Ok(ManagedDisk::find(arm, token, &ResourceId::parse(&disk()).unwrap(), reading).await?.0)
}

/// What the binary does: finds the disk, syncs, and gives back what was granted. `None` where the process died.
async fn run(process: &Process) -> Option<Result<SyncReport, ReplicateError>> {
    run_with(process, Terms::default(), &Want::Next).await
}

async fn run_with(process: &Process, terms: Terms, want: &Want) -> Option<Result<SyncReport, ReplicateError>> {
    let work = async {
        let source = found(process, terms).await?;
        let engine = Engine::new(source, process.blob("backup", Side::Target), process.options.clone());
        let result = sync(&engine, want).await;
        let _ = engine.source.give_back().await;
        result
    };
    process.live(work).await
}

#[tokio::test(start_paused = true)]
async fn a_chain_of_managed_snapshots() {
    let site = Site::new().await;
    let report = run(&site.world.process()).await.unwrap().unwrap();
    let written: Vec<u64> = report.steps.iter().map(|step| step.written_bytes / 512).collect();
    assert_eq!(written, [25, 3, 11], "pages written are the pages changed, the footer among them");
    assert_eq!(site.proven().await, 3);
    assert_eq!(site.granted(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn killed_before_any_request_nothing_stays_granted() {
    killed_at_every_request(Fate::DeathBefore).await;
}

#[tokio::test(start_paused = true)]
async fn killed_after_any_request_nothing_stays_granted() {
    killed_at_every_request(Fate::DeathAfter).await;
}

async fn killed_at_every_request(death: Fate) {
    for n in 0.. {
        let site = Site::new().await;
        let first = site.world.process_with(move |number, _, _| if number == n { death } else { Fate::Answered });
        let ended = run(&first).await;
        site.proven().await;
        let mut second = site.world.process();
        second.options.lock_wait = Duration::from_secs(120);
        let report = run(&second).await.unwrap();
        report.unwrap_or_else(|error| panic!("after death at request {n}: {error}"));
        assert_eq!(site.proven().await, 3, "after death at request {n}");
        assert_eq!(site.granted(), Vec::<String>::new(), "after death at request {n}");
        if !first.is_dead() {
            assert!(ended.is_some_and(|ended| ended.is_ok()));
            assert!(n > 60, "a chain of {n} requests is too short to be true");
            return;
        }
    }
}

/// The same where the second run wants another snapshot than the one that died.
#[tokio::test(start_paused = true)]
async fn killed_at_any_request_on_the_way_to_another_snapshot() {
    for n in 0.. {
        let site = Site::new().await;
        let wanted = SnapshotId::new(
            found(&site.world.process(), Terms::default()).await.unwrap().chain().unwrap().links[1].id.as_str(),
        );
        let first =
            site.world.process_with(move |number, _, _| if number == n { Fate::DeathAfter } else { Fate::Answered });
        let ended = run_with(&first, Terms::default(), &Want::To(wanted)).await;
        let mut second = site.world.process();
        second.options.lock_wait = Duration::from_secs(120);
        let report = run_with(&second, Terms::default(), &Want::Latest).await.unwrap();
        report.unwrap_or_else(|error| panic!("after death at request {n}: {error}"));
        let left = site.granted();
        // Before the mark there is nothing that could tell: the one snapshot asked for then is what `doctor` is for.
        let told = first_mark(&site).await.is_some_and(|mark| n >= mark);
        assert!(left.is_empty() || !told && left.len() == 1, "after death at request {n}: {left:?}");
        if !first.is_dead() {
            assert!(ended.is_some_and(|ended| ended.is_ok()));
            return;
        }
    }
}

/// Which request of an untroubled run makes the target, whose words name what is granted from then on.
async fn first_mark(_: &Site) -> Option<u64> {
    let fresh = Site::new().await;
    let made = Arc::new(std::sync::Mutex::new(None));
    let seen = Arc::clone(&made);
    let process = fresh.world.process_with(move |number, method, target| {
        if method == "PUT" && target.ends_with("comp=metadata&timeout=30") {
            seen.lock().unwrap().get_or_insert(number);
        }
        Fate::Answered
    });
    let _ = run_with(&process, Terms::default(), &Want::Latest).await;
    *made.lock().unwrap()
}

#[tokio::test(start_paused = true)]
async fn any_request_lost_nothing_stays_granted() {
    fails_at_every_request(Fate::Lost).await;
}

#[tokio::test(start_paused = true)]
async fn any_answer_lost_nothing_stays_granted() {
    fails_at_every_request(Fate::Unanswered).await;
}

async fn fails_at_every_request(fate: Fate) {
    for n in 0.. {
        let site = Site::new().await;
        let process = site.world.process_with(move |number, _, _| if number == n { fate } else { Fate::Answered });
        let first = run(&process).await.unwrap();
        if first.is_err() {
            let second = run(&site.world.process()).await.unwrap();
            second.unwrap_or_else(|error| panic!("after {first:?} at request {n}: {error}"));
        }
        assert_eq!(site.proven().await, 3, "after {fate:?} at request {n}");
        assert_eq!(site.granted(), Vec::<String>::new(), "after {fate:?} at request {n}");
        if process.requests() <= n {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_ends_while_a_run_waits_is_renewed() {
    // The first is shorter than the quiet period that the second run keeps, having asked for a grant before it.
    let (short, long) = (resumed_with(Duration::from_secs(30)).await, resumed_with(Duration::from_secs(3600)).await);
    assert!(short > long, "{short} grants were asked for, and {long} when they last: nothing was renewed");
}

/// How many grants are asked for by a run that goes on after another, where each lasts for `lifetime`.
async fn resumed_with(lifetime: Duration) -> u64 {
    let site = Site::new().await;
    let writes = AtomicU64::new(0);
    let first = site.world.process_with(move |_, _, target| {
        let write = target.contains("comp=page&") && writes.fetch_add(1, Ordering::SeqCst) == 1;
        if write { Fate::DeathAfter } else { Fate::Answered }
    });
    assert!(run(&first).await.is_none(), "it did not die");
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let mut second = site.world.process_with(move |_, _, target| {
        count.fetch_add(u64::from(target.contains("beginGetAccess")), Ordering::SeqCst);
        Fate::Answered
    });
    second.options.lock_wait = Duration::from_secs(120);
    let terms = Terms { lifetime, ..Terms::default() };
    run_with(&second, terms, &Want::Next).await.unwrap().unwrap();
    assert_eq!(site.proven().await, 3);
    assert_eq!(site.granted(), Vec::<String>::new());
    asked.load(Ordering::SeqCst)
}
