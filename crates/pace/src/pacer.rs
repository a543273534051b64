//! Where requests wait for their turn.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as Gate, Notify};
use tokio::time::Instant;

use crate::law::{Attempt, Ended, Law};

/// Stands before one endpoint. Requests are let through in the order they came, as its law has it.
pub struct Pacer {
    state: Mutex<State>,
    /// Whoever holds it is next.
    next: Gate<()>,
    /// Somebody has ended.
    ended: Notify,
}

struct State {
    law: Box<dyn Law>,
    in_flight: usize,
}

/// A request on its way. Dropping it says that nobody waits for its end any more.
#[derive(Debug)]
pub struct Turn<'a> {
    pacer: &'a Pacer,
    sent_at: Instant,
    bytes: u64,
    open: bool,
}

impl Pacer {
    /// A pacer under `law`.
    pub fn new(law: impl Law + 'static) -> Pacer {
        Pacer {
            state: Mutex::new(State { law: Box::new(law), in_flight: 0 }),
            next: Gate::new(()),
            ended: Notify::new(),
        }
    }

    /// How many requests may be in flight, now; at least one.
    pub fn in_flight_max(&self) -> usize {
        self.state().law.in_flight_max()
    }

    /// Waits until a request that carries `bytes`, in either direction, may be sent.
    pub async fn turn(&self, bytes: u64) -> Turn<'_> {
        let _next = self.next.lock().await;
        loop {
            let ended = self.ended.notified();
            let wait = {
                let mut state = self.state();
                let now = Instant::now();
                let earliest = state.law.earliest(now, bytes);
                if state.in_flight >= state.law.in_flight_max().max(1) {
                    None
                } else if earliest <= now {
                    state.law.sent(now, bytes);
                    state.in_flight += 1;
                    return Turn { pacer: self, sent_at: now, bytes, open: true };
                } else {
                    Some(earliest)
                }
            };
            match wait {
                None => ended.await,
                // What ends meanwhile may change when it is.
                Some(earliest) => {
                    tokio::select! {
                        biased;
                        () = ended => {}
                        () = tokio::time::sleep_until(earliest) => {}
                    }
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// The request has ended.
    pub fn end(mut self, ended: Ended) {
        self.open = false;
        let now = Instant::now();
        let attempt = Attempt { sent_at: self.sent_at, took: now - self.sent_at, bytes: self.bytes, ended };
        let mut state = self.pacer.state();
        state.in_flight -= 1;
        let in_flight = state.in_flight;
        state.law.ended(now, &attempt, in_flight);
        drop(state);
        self.pacer.ended.notify_one();
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.open {
            self.pacer.state().in_flight -= 1;
            self.pacer.ended.notify_one();
        }
    }
}

impl fmt::Debug for Pacer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pacer")
    }
}
