//! Writes under `If-Match` whose outcome may be unknown.
//!
//! They are never simply repeated: after a lost answer the blob itself is asked. Our value is there: done. The old tag is
//! there: it was not applied, and the tag keeps a late copy of it out once ours has gone through, so it is sent again.
//! Anything else: somebody else is at work.

use pageferry_core::lineage::State;
use pageferry_core::{Etag, Metadata};
use pageferry_store::{ErrorKind, LeaseId, Properties, StoreError, Target, View};

use crate::error::ReplicateError;
use crate::lease::Doubt;

/// How often an unknown outcome is looked into before we give up.
const TRIES: usize = 5;

/// Makes the target say `state`; returns its new tag. `others` is metadata that is not ours and is kept.
///
/// The words are read back: no checksum of the service covers metadata on its way.
///
/// # Errors
/// [`ReplicateError::Fenced`] where the target changed under us, and failures of the service.
pub async fn set_state(
    target: &impl Target,
    state: &State,
    others: &Metadata,
    lease: &LeaseId,
    etag: &Etag,
    doubt: &Doubt,
) -> Result<Etag, ReplicateError> {
    let words = state.to_metadata(others);
    let says = |now: &Properties| State::from_metadata(&now.metadata).is_ok_and(|said| said.as_ref() == Some(state));
    let mut etag = etag.clone();
    for _ in 0..TRIES {
        etag = settled(target, &etag, doubt, says, || target.set_metadata(&words, lease, Some(&etag))).await?;
        let now = target.properties(&View::Base).await?;
        if now.etag != etag {
            return Err(changed(target));
        }
        if says(&now) {
            return Ok(etag);
        }
    }
    Err(ReplicateError::Refused(format!(
        "{} never says what was written to its metadata: something between here and the service alters it",
        target.address()
    )))
}

/// Raises the target's sequence number to `epoch`; returns the new tag.
///
/// # Errors
/// As [`set_state`].
pub async fn raise_epoch(
    target: &impl Target,
    epoch: u64,
    lease: &LeaseId,
    etag: &Etag,
    doubt: &Doubt,
) -> Result<Etag, ReplicateError> {
    settled(target, etag, doubt, |now| now.sequence == epoch, || target.raise_sequence(epoch, lease, etag)).await
}

/// Sends a write that holds only for `etag`, until it is known to be applied.
async fn settled<T: Target, F: Future<Output = Result<Etag, StoreError>>>(
    target: &T,
    etag: &Etag,
    doubt: &Doubt,
    applied: impl Fn(&Properties) -> bool,
    send: impl Fn() -> F,
) -> Result<Etag, ReplicateError> {
    let mut last = None;
    for _ in 0..TRIES {
        let error = match send().await {
            Ok(etag) => return Ok(etag),
            Err(error) if matches!(error.kind(), ErrorKind::Unknown | ErrorKind::Changed) => error,
            Err(error) => return Err(fenced(target, error)),
        };
        if error.kind() == ErrorKind::Unknown {
            doubt.note();
        }
        let now = target.properties(&View::Base).await?;
        // After a lost answer the value may be ours although the condition no longer holds.
        if applied(&now) && (error.kind() == ErrorKind::Unknown || last.is_some()) {
            return Ok(now.etag);
        }
        if now.etag != *etag {
            return Err(changed(target));
        }
        last = Some(error);
    }
    match last {
        Some(error) => Err(error.into()),
        None => Err(ReplicateError::Fenced { target: target.address(), cause: "its state is unknown".to_owned() }),
    }
}

fn changed(target: &impl Target) -> ReplicateError {
    ReplicateError::Fenced { target: target.address(), cause: "its ETag changed".to_owned() }
}

/// A lost lease or epoch in the engine's own words; any other failure as it is.
pub(crate) fn fenced(target: &impl Target, error: StoreError) -> ReplicateError {
    if error.kind() == ErrorKind::Fenced {
        ReplicateError::Fenced { target: target.address(), cause: error.to_string() }
    } else {
        error.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pageferry_core::Pages;
    use pageferry_store::{Memory, Source};
    use std::cell::Cell;
    use std::time::Duration;

    async fn target() -> (Memory, LeaseId, Etag) {
        let (blob, lease) = (Memory::empty("target", Pages::new(1)), LeaseId("mine".into()));
        blob.acquire(&lease, Duration::from_secs(60), None).await.unwrap();
        let etag = blob.properties(&View::Base).await.unwrap().etag;
        (blob, lease, etag)
    }

    fn lost() -> StoreError {
        StoreError::new(ErrorKind::Unknown, "Set Blob Properties", "target", "the answer was lost")
    }

    #[tokio::test]
    async fn applied_but_unanswered_is_done() {
        let (blob, lease, etag) = target().await;
        let doubt = Doubt::default();
        let done = settled(
            &blob,
            &etag,
            &doubt,
            |now| now.sequence == 7,
            || async {
                blob.raise_sequence(7, &lease, &etag).await?;
                Err(lost())
            },
        );
        assert_eq!(done.await.unwrap(), blob.properties(&View::Base).await.unwrap().etag);
    }

    #[tokio::test]
    async fn not_applied_is_sent_again() {
        let (blob, lease, etag) = target().await;
        let tries = Cell::new(0);
        let doubt = Doubt::default();
        let done = settled(
            &blob,
            &etag,
            &doubt,
            |now| now.sequence == 7,
            || async {
                tries.set(tries.get() + 1);
                if tries.get() < 3 { Err(lost()) } else { blob.raise_sequence(7, &lease, &etag).await }
            },
        );
        done.await.unwrap();
        assert_eq!(tries.get(), 3);
    }

    #[tokio::test]
    async fn a_late_copy_of_ours_is_not_somebody_else() {
        let (blob, lease, etag) = target().await;
        let (tries, doubt) = (Cell::new(0), Doubt::default());
        let done = settled(
            &blob,
            &etag,
            &doubt,
            |now| now.sequence == 7,
            || async {
                tries.set(tries.get() + 1);
                if tries.get() == 1 {
                    return Err(lost());
                }
                blob.raise_sequence(7, &lease, &etag).await?;
                blob.raise_sequence(7, &lease, &etag).await
            },
        );
        assert_eq!(done.await.unwrap(), blob.properties(&View::Base).await.unwrap().etag);
        assert!(doubt.is_open(), "there may be another copy of it");
    }

    #[tokio::test]
    async fn the_same_value_by_somebody_else_is_not_ours() {
        let (blob, lease, etag) = target().await;
        blob.raise_sequence(7, &lease, &etag).await.unwrap();
        let doubt = Doubt::default();
        let done = raise_epoch(&blob, 7, &lease, &etag, &doubt).await;
        assert!(matches!(done, Err(ReplicateError::Fenced { .. })), "{done:?}");
        assert!(!doubt.is_open(), "it was answered");
    }

    #[tokio::test]
    async fn a_refusal_is_final() {
        for kind in [ErrorKind::Fenced, ErrorKind::Denied] {
            let (blob, _, etag) = target().await;
            let (tries, doubt) = (Cell::new(0), Doubt::default());
            let done = settled(
                &blob,
                &etag,
                &doubt,
                |_| false,
                || async {
                    tries.set(tries.get() + 1);
                    Err(StoreError::new(kind, "Set Blob Properties", "target", "as told"))
                },
            );
            match (kind, done.await) {
                (ErrorKind::Fenced, Err(ReplicateError::Fenced { .. })) => {}
                (ErrorKind::Denied, Err(ReplicateError::Store(_))) => {}
                (_, done) => panic!("{kind:?}: {done:?}"),
            }
            assert_eq!(tries.get(), 1, "{kind:?}");
        }
    }

    #[tokio::test]
    async fn somebody_elses_change_fences() {
        let (blob, lease, etag) = target().await;
        blob.poke(pageferry_core::PageRange::whole(Pages::new(1)).unwrap(), 1);
        let done = raise_epoch(&blob, 7, &lease, &etag, &Doubt::default()).await;
        assert!(matches!(done, Err(ReplicateError::Fenced { .. })), "{done:?}");
        assert_eq!(blob.properties(&View::Base).await.unwrap().sequence, 0);
    }
}
