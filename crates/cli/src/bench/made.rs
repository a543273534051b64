//! What a measurement leaves behind until it is deleted: blobs under names that nobody else uses, and one snapshot.
//!
//! A name is entered here before anything is asked for under it, so that whatever happens to the answer, it is deleted
//! afterwards. Nothing is ever deleted that is not entered.

use std::time::Duration;

use pageferry_azure::{CopyPhase, PageBlob};
use pageferry_core::SnapshotId;
use pageferry_store::{ErrorKind, Source, StoreError, Target};
use tokio::time::Instant;

use crate::console::Console;

/// How often a copy is looked at that is in the way of a deletion.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Everything that is to be deleted again.
#[derive(Debug)]
pub(crate) struct Made {
    /// Part of every name: eight hexadecimal digits.
    id: String,
    console: Console,
    blobs: Vec<PageBlob>,
    snapshot: Option<(PageBlob, SnapshotId)>,
}

/// Something that could not be deleted.
#[derive(Clone, Debug)]
pub(crate) struct Left {
    /// What `az storage blob delete` has to be told.
    pub(crate) by_hand: String,
    pub(crate) error: StoreError,
}

impl Made {
    /// Nothing yet. Every name is to have `id` in it.
    pub(crate) fn new(id: String, console: &Console) -> Made {
        Made { id, console: console.clone(), blobs: Vec::new(), snapshot: None }
    }

    /// What is appended to the target's name for the blob of the measurement called `name`.
    pub(crate) fn suffix(&self, name: &str) -> String {
        format!(".pageferry-bench-{}-{name}", self.id)
    }

    /// Part of every name.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Enters a blob that is about to be made.
    pub(crate) fn enter(&mut self, blob: &PageBlob) {
        self.blobs.push(blob.clone());
    }

    /// Enters a snapshot that was taken.
    pub(crate) fn enter_snapshot(&mut self, disk: &PageBlob, snapshot: &SnapshotId) {
        self.snapshot = Some((disk.clone(), snapshot.clone()));
    }

    /// Takes `blob` out of the books if `error`, which came of making it, is sure that it was not made by us.
    pub(crate) fn forget_unless_doubtful(&mut self, blob: &PageBlob, error: &StoreError) {
        if !matches!(error.kind(), ErrorKind::Unknown | ErrorKind::Integrity) {
            self.blobs.retain(|known| known.address() != blob.address());
        }
    }

    /// Deletes `blob`, if it can be deleted by now; otherwise it is tried again at the end.
    pub(crate) async fn discard(&mut self, blob: &PageBlob) {
        if delete(blob, Duration::ZERO).await.is_ok() {
            self.blobs.retain(|known| known.address() != blob.address());
        }
    }

    /// Deletes all that is left, waiting no longer than `patience` for copies that cannot be given up; returns what
    /// could not be deleted.
    pub(crate) async fn discard_all(self, patience: Duration) -> Vec<Left> {
        let mut left = Vec::new();
        for blob in self.blobs {
            let mut deleted = delete(&blob, Duration::ZERO).await;
            if deleted.as_ref().is_err_and(is_pending) {
                let (blob, secs) = (blob.address(), patience.as_secs());
                self.console
                    .tell(&format!("waiting, for {secs} s at most, until the service's copy to {blob} is over"));
            }
            if deleted.as_ref().is_err_and(is_pending) {
                deleted = delete(&blob, patience).await;
            }
            if let Err(error) = deleted {
                left.push(Left { by_hand: format!("--blob-url {} --delete-snapshots include", blob.address()), error });
            }
        }
        if let Some((disk, snapshot)) = self.snapshot
            && let Err(error) = disk.delete_snapshot(&snapshot).await
            && error.kind() != ErrorKind::NotFound
        {
            left.push(Left { by_hand: format!("--blob-url {} --snapshot {snapshot}", disk.address()), error });
        }
        left
    }
}

/// Deletes a blob of ours, whatever is under way on it.
async fn delete(blob: &PageBlob, patience: Duration) -> Result<(), StoreError> {
    let begun = Instant::now();
    let mut broken = false;
    loop {
        let error = match blob.delete_with_snapshots().await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if is_pending(&error) {
            let state = blob.copy_state().await?;
            let pending = state.filter(|state| state.phase == CopyPhase::Pending);
            let given_up = match &pending {
                Some(state) => blob.abort_copy(&state.id).await.is_ok(),
                None => true,
            };
            if !given_up && begun.elapsed() >= patience {
                return Err(error);
            }
            if !given_up {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        } else if error.kind() == ErrorKind::Fenced && !broken {
            // Its lease is ours, as the blob is.
            broken = true;
            blob.break_now().await?;
        } else {
            return Err(error);
        }
    }
}

fn is_pending(error: &StoreError) -> bool {
    error.code() == "PendingCopyOperation"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::Output;
    use pageferry_azure::{Address, Credential, Options};

    #[test]
    fn only_what_was_surely_not_made_by_us_is_forgotten() {
        let blob = |name: &str| {
            let address = Address::parse(&format!("http://127.0.0.1:1/devstoreaccount1/c/{name}")).unwrap();
            PageBlob::new(address, &Credential::Anonymous, Options::default()).unwrap()
        };
        let mut made = Made::new("1".to_owned(), &Console::new(Output::Text));
        let kinds = [ErrorKind::Unknown, ErrorKind::Exists, ErrorKind::Integrity, ErrorKind::Denied];
        for kind in kinds {
            let blob = blob(&format!("{kind:?}"));
            made.enter(&blob);
            made.forget_unless_doubtful(&blob, &StoreError::new(kind, "Put Blob", "b", "x"));
        }
        let left: Vec<String> = made.blobs.iter().map(Source::address).collect();
        assert_eq!(left, [blob("Unknown").address(), blob("Integrity").address()]);
    }
}
