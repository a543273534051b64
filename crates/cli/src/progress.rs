//! What happens, told while it happens: a bar on a terminal, a line per interval in a log, events in JSON.
//!
//! The engine's sink must not block, and a terminal or a pipe may. So one thread owns all that is shown; the sink hands
//! it events through a channel, and of the many that only say how far a transfer is, the latest through a slot.

use std::io::IsTerminal;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use pageferry_replicate::{Event, Events};
use pageferry_transfer::Progress;

use crate::console::{Console, Say};
use crate::human;
use crate::report::{Begun, Gating, Moving, Note, Quiescing, StepDone, Stored, Waiting};

/// How often a bar moves.
const FRAME: Duration = Duration::from_millis(100);

/// How often a log or a JSON reader is told how far a transfer is.
const INTERVAL: Duration = Duration::from_secs(10);

/// Work whose progress is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Work {
    /// A step: pages move, the watermark follows.
    Step,
    /// Pages are written to a file.
    Image,
    /// Pages are compared.
    Compare,
}

/// What the thread is told.
enum Message {
    Event(Event),
    Begin(Work, u64),
    Flush(Sender<()>),
    End,
}

/// Shows what happens.
#[derive(Debug)]
pub(crate) struct Reporter {
    to: Sender<Message>,
    latest: Arc<Mutex<Option<Progress>>>,
    thread: JoinHandle<()>,
}

impl Reporter {
    /// Starts the thread.
    pub(crate) fn start(console: &Console) -> Reporter {
        let (to, from) = mpsc::channel();
        let latest = Arc::new(Mutex::new(None));
        let (slot, console) = (Arc::clone(&latest), console.clone());
        let thread = std::thread::spawn(move || {
            let mut show = Show::new(console);
            loop {
                let message = match from.recv_timeout(FRAME) {
                    Ok(Message::End) | Err(RecvTimeoutError::Disconnected) => return show.clear(),
                    Ok(message) => Some(message),
                    Err(RecvTimeoutError::Timeout) => None,
                };
                if let Some(progress) = slot.lock().unwrap_or_else(PoisonError::into_inner).take() {
                    show.moving(progress);
                }
                match message {
                    Some(Message::Event(event)) => show.event(&event),
                    Some(Message::Begin(work, bytes)) => show.begin(work, bytes),
                    Some(Message::Flush(done)) => drop(done.send(())),
                    Some(Message::End) | None => {}
                }
            }
        });
        Reporter { to, latest, thread }
    }

    /// The sink for the engine.
    pub(crate) fn events(&self) -> Events {
        let (to, latest) = (self.to.clone(), Arc::clone(&self.latest));
        Events::new(move |event| match event {
            Event::Moving(progress) => *latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(*progress),
            // After the end there is nobody to tell.
            other => drop(to.send(Message::Event(other.clone()))),
        })
    }

    /// From now on the progress is that of `work` on `bytes` bytes.
    pub(crate) fn begin(&self, work: Work, bytes: u64) {
        let _ = self.to.send(Message::Begin(work, bytes));
    }

    /// Waits until everything so far is shown.
    pub(crate) fn flush(&self) {
        let (done, shown) = mpsc::channel();
        let _ = self.to.send(Message::Flush(done));
        let _ = shown.recv();
    }

    /// Waits until everything so far is shown, and stops.
    pub(crate) fn finish(self) {
        let _ = self.to.send(Message::End);
        let _ = self.thread.join();
    }
}

/// What is on the screen, and since when.
struct Show {
    console: Console,
    bar: Option<ProgressBar>,
    terminal: bool,
    work: Work,
    total_bytes: u64,
    begun: Instant,
    told: Instant,
    waiting: bool,
}

impl Show {
    fn new(console: Console) -> Show {
        let terminal = !console.is_json() && std::io::stderr().is_terminal();
        let now = Instant::now();
        Show { console, bar: None, terminal, work: Work::Step, total_bytes: 0, begun: now, told: now, waiting: false }
    }

    fn begin(&mut self, work: Work, bytes: u64) {
        self.clear();
        (self.work, self.total_bytes, self.begun, self.told) = (work, bytes, Instant::now(), Instant::now());
        if self.terminal {
            let bar = if work == Work::Image { ProgressBar::new_spinner() } else { ProgressBar::new(bytes) };
            let template =
                if work == Work::Image { "{spinner} {wide_msg}" } else { "[{bar:30}] {percent:>3}%  {wide_msg}" };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> "));
            }
            self.bar = Some(bar);
        }
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn moving(&mut self, progress: Progress) {
        let moving = Moving::new(self.work, self.total_bytes, progress, self.begun.elapsed());
        if let Some(bar) = &self.bar {
            bar.set_position(progress.watermark.bytes().min(self.total_bytes));
            bar.set_message(moving.short());
            return bar.tick();
        }
        if self.told.elapsed() < INTERVAL {
            return;
        }
        self.told = Instant::now();
        self.console.aside(&moving);
    }

    fn event(&mut self, event: &Event) {
        let waiting = std::mem::replace(&mut self.waiting, matches!(event, Event::Waiting { .. }));
        match event {
            // Asked again every few seconds; people need to hear it once.
            Event::Waiting { .. } if waiting && !self.console.is_json() => {}
            Event::Waiting { holder, left } => {
                self.aside(&Waiting { holder: holder.clone(), left_secs: whole_secs(*left) });
            }
            Event::Quiescing(time) => self.aside(&Quiescing { secs: whole_secs(*time) }),
            Event::Begun { from, to, disk_bytes, resumed_at } => {
                self.clear();
                self.aside(&Begun {
                    from: from.as_ref().map(ToString::to_string),
                    to: to.to_string(),
                    disk_bytes: *disk_bytes,
                    resumed_at_bytes: *resumed_at,
                });
                self.begin(Work::Step, *disk_bytes);
            }
            Event::Gating => {
                self.clear();
                self.aside(&Gating {});
            }
            Event::Sealed(report) => {
                self.clear();
                self.console.say(&StepDone::from(report));
            }
            Event::Stored(range, crc) => self.console.say_json(&Stored {
                offset_bytes: range.start().bytes(),
                length_bytes: range.bytes(),
                crc64: format!("{crc:016x}"),
            }),
            Event::Note(text) => self.aside(&Note { text: text.clone() }),
            _ => {}
        }
    }

    fn aside<T: Say>(&self, value: &T) {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.console.aside(value)),
            None => self.console.aside(value),
        }
    }
}

/// Begun seconds: nobody waits for none.
fn whole_secs(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// How fast, in words, or nothing where that would be noise.
pub(crate) fn speed(bytes: u64, time: Duration) -> String {
    if time < Duration::from_millis(100) { String::new() } else { format!(" ({})", human::rate(bytes, time)) }
}
