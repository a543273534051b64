//! How a run behaves: what the flags say, and the engine's options that come of it.

use std::fmt::Display;
use std::time::Duration;

use pageferry_core::plan::ChunkPolicy;
use pageferry_replicate::{Choice, Events, Fill, Options};
use pageferry_transfer::Budget;

use crate::exit::Failure;
use crate::flags::{Copying, EngineFlag, Expert, FillGaps, Filling, PlanFlags};
use crate::job::Scene;
use crate::place::Place;
use crate::progress::Reporter;
use crate::speed::Speed;

/// The quiet period after an unclean end, below which only a service on this machine may go.
pub(crate) const QUIESCE: Duration = Duration::from_secs(45);

/// How a run behaves, but for what is only there while it runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    chunks: ChunkPolicy,
    memory_bytes: u64,
    pub(crate) speed: Speed,
    mover: Choice,
    lock_wait: Duration,
    lease: Duration,
    pub(crate) quiesce: Duration,
    repair: bool,
    pub(crate) reseed: bool,
    fill: Option<Fill>,
}

impl Settings {
    /// As it is for those who do not tune.
    pub(crate) fn of(chunks: ChunkPolicy) -> Settings {
        let defaults = Options::default();
        Settings {
            chunks,
            memory_bytes: defaults.budget.bytes,
            speed: Speed::default(),
            mover: Choice::default(),
            lock_wait: defaults.lock_wait,
            lease: defaults.lease,
            quiesce: QUIESCE,
            repair: false,
            reseed: false,
            fill: None,
        }
    }

    /// What the flags of a command say that makes steps.
    pub(crate) fn copying(flags: &Copying) -> Settings {
        Settings {
            repair: flags.repair,
            reseed: flags.reseed,
            fill: fill(&flags.filling, flags.size.request_size),
            ..Settings::expert(flags.size.request_size, &flags.expert)
        }
    }

    /// What the flags of a plan say.
    pub(crate) fn planning(flags: &PlanFlags) -> Settings {
        Settings {
            repair: flags.repair,
            reseed: flags.reseed,
            fill: fill(&flags.filling, flags.size.request_size),
            ..Settings::of(flags.size.request_size)
        }
    }

    pub(crate) fn expert(chunks: ChunkPolicy, flags: &Expert) -> Settings {
        Settings {
            chunks,
            memory_bytes: flags.memory,
            mover: match flags.engine {
                EngineFlag::Relay => Choice::Relay,
                EngineFlag::Service => Choice::Service,
                EngineFlag::Auto => Choice::Auto,
            },
            speed: Speed { concurrency: flags.concurrency, cap: flags.cap_mbps },
            lock_wait: Duration::from_secs(flags.lock_wait.into()),
            lease: Duration::from_secs(flags.lease_duration.into()),
            quiesce: Duration::from_secs(flags.quiesce.into()),
            repair: false,
            reseed: false,
            fill: None,
        }
    }

    /// A real service may apply a lost write tens of seconds later; to wait less would be to hope.
    pub(crate) fn check_quiesce(&self, written: &Place) -> Result<(), Failure> {
        self.check_quiet(written.address.is_loopback(), &written.address)
    }

    pub(crate) fn check_quiet(&self, is_here: bool, written: &impl Display) -> Result<(), Failure> {
        if self.quiesce < QUIESCE && !is_here {
            return Err(Failure::usage(format!(
                "--quiesce {} is too short for {written}: a service elsewhere may apply a lost write up to {} s later, and \
                 only one on this machine may be given less",
                self.quiesce.as_secs(),
                QUIESCE.as_secs()
            )));
        }
        Ok(())
    }

    /// The engine's options for a run that nobody watches and `interrupt` stops.
    pub(crate) fn plain(&self, scene: &Scene) -> Options {
        Options { stop: scene.interrupt.stop().clone(), ..self.with_events(Events::default()) }
    }

    /// The engine's options for a run that `reporter` shows and `interrupt` stops.
    pub(crate) fn options(&self, scene: &Scene, reporter: &Reporter) -> Options {
        Options { stop: scene.interrupt.stop().clone(), ..self.with_events(reporter.events()) }
    }

    fn with_events(&self, events: Events) -> Options {
        Options {
            chunks: self.chunks,
            budget: Budget { bytes: self.memory_bytes, requests: self.speed.requests(), ..Budget::default() },
            mover: self.mover,
            lease: self.lease,
            lock_wait: self.lock_wait,
            quiesce: self.quiesce,
            host: host_name(),
            repair: self.repair,
            reseed: self.reseed,
            fill: self.fill,
            events,
            ..Options::default()
        }
    }
}

/// This machine's name, as far as a header can carry it.
fn host_name() -> String {
    let read = |path| std::fs::read_to_string(path).ok();
    let name = read("/proc/sys/kernel/hostname").or_else(|| read("/etc/hostname"));
    let name = name.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    let name: String = name.trim().chars().filter(char::is_ascii_graphic).take(64).collect();
    if name.is_empty() { "unknown".to_owned() } else { name }
}

/// When gaps are filled. What that saves is reckoned with the largest requests.
fn fill(flags: &Filling, chunks: ChunkPolicy) -> Option<Fill> {
    (flags.fill_gaps == FillGaps::Auto && chunks == ChunkPolicy::default()).then_some(Fill::AUTO)
}
