//! Being asked to stop.
//!
//! The first SIGINT or SIGTERM asks: what is in flight settles, the target is marked, and the same command goes on from
//! there another time. The second ends the process at once, which the next run can cope with just as well; it only has
//! to wait a little longer.

use std::sync::{Arc, OnceLock};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::{Exit, Failure};

/// Whether, and by what, the run was asked to stop.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt {
    stop: CancellationToken,
    by: Arc<OnceLock<Exit>>,
}

impl Interrupt {
    /// Watches for signals from now on.
    ///
    /// # Errors
    /// The system hands out no signals.
    pub(crate) fn watch() -> Result<Interrupt, Failure> {
        let failed = |error| Failure::new(Exit::Failed, format!("cannot watch for signals: {error}"));
        let mut int = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut term = signal(SignalKind::terminate()).map_err(failed)?;
        let interrupt = Interrupt { stop: CancellationToken::new(), by: Arc::default() };
        let watched = interrupt.clone();
        tokio::spawn(async move {
            loop {
                let exit = tokio::select! {
                    _ = int.recv() => Exit::Interrupted,
                    _ = term.recv() => Exit::Terminated,
                };
                if watched.by.set(exit).is_err() {
                    std::process::exit(exit.code().into());
                }
                watched.stop.cancel();
            }
        });
        Ok(interrupt)
    }

    /// Cancelled by the first signal.
    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Runs `work` until the first signal; for work that leaves nothing half done.
    ///
    /// # Errors
    /// Those of `work`, and the interruption.
    pub(crate) async fn or<R>(&self, work: impl Future<Output = Result<R, Failure>>) -> Result<R, Failure> {
        tokio::select! {
            () = self.stop.cancelled() => {
                Err(Failure::new(Exit::Interrupted, "stopped as asked; nothing was changed"))
            }
            result = work => result,
        }
    }

    /// `failure` under the name of the signal that caused it.
    pub(crate) fn named(&self, failure: Failure) -> Failure {
        match (failure.exit, self.by.get()) {
            (Exit::Interrupted, Some(exit)) => Failure { exit: *exit, ..failure },
            _ => failure,
        }
    }
}
