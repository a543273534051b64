//! Who waits with us: people who are told what takes its time, and may ask to stop.

use std::fmt;
use std::sync::Arc;

use pageferry_arm::ResourceId;
use pageferry_store::{ErrorKind, StoreError};
use tokio_util::sync::CancellationToken;

/// Where people are told of waiting and of what was left out, and what ends a wait early.
#[derive(Clone)]
pub struct Scene {
    tell: Arc<dyn Fn(String) + Send + Sync>,
    stop: CancellationToken,
}

impl Scene {
    /// Sentences go to `tell`; waiting ends when `stop` is cancelled.
    pub fn new(tell: impl Fn(String) + Send + Sync + 'static, stop: CancellationToken) -> Scene {
        Scene { tell: Arc::new(tell), stop }
    }

    /// Says `sentence`.
    pub fn say(&self, sentence: String) {
        (self.tell)(sentence);
    }

    /// The end of `wait`, or of our patience.
    ///
    /// # Errors
    /// Those of `wait`, and [`ErrorKind::Stopped`].
    pub(crate) async fn or_stop<R>(
        &self,
        operation: &'static str,
        object: &ResourceId,
        wait: impl Future<Output = Result<R, StoreError>>,
    ) -> Result<R, StoreError> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {
                Err(StoreError::new(ErrorKind::Stopped, operation, object.to_string(), "stopped as asked"))
            }
            result = wait => result,
        }
    }
}

impl Default for Scene {
    /// Nobody.
    fn default() -> Scene {
        Scene::new(drop, CancellationToken::new())
    }
}

impl fmt::Debug for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scene")
    }
}
