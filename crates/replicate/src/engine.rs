//! One source, one target, and how to work on them.

use std::sync::Arc;
use std::time::Duration;

use pageferry_store::{Source, Target};

use crate::error::ReplicateError;
use crate::options::Options;

/// A source, a target, and how to work on them.
#[derive(Debug)]
pub struct Engine<S, T> {
    /// The disk.
    pub source: Arc<S>,
    /// Where its backup is kept.
    pub target: Arc<T>,
    /// How to work.
    pub options: Options,
}

impl<S: Source, T: Target> Engine<S, T> {
    /// An engine for `source` and `target`.
    pub fn new(source: S, target: T, options: Options) -> Engine<S, T> {
        Engine { source: Arc::new(source), target: Arc::new(target), options }
    }
}

/// Waits, unless asked to stop.
///
/// # Errors
/// [`ReplicateError::Interrupted`] when asked to stop.
pub(crate) async fn pause(time: Duration, options: &Options) -> Result<(), ReplicateError> {
    tokio::select! {
        biased;
        () = options.stop.cancelled() => Err(ReplicateError::Interrupted),
        () = tokio::time::sleep(time) => Ok(()),
    }
}
