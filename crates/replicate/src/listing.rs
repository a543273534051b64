//! Page lists and differences as one sequence, however the service cuts its answers.
//!
//! A task asks window by window and marker by marker, one answer ahead of the reader, so that nothing ever holds a
//! whole list. Windows shrink when the service times out. What arrives is checked: contradictions, going back and sizes
//! that change under way are errors.

use std::sync::Arc;

use pageferry_core::window::Windows;
use pageferry_core::{Change, Etag, InOrder, Kind, PageRange, Pages, SnapshotId};
use pageferry_store::{Answer, Ask, ErrorKind, Source, StoreError, View};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::error::ReplicateError;

/// Which list.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Of which picture.
    pub view: View,
    /// Since which earlier snapshot; `None` for the plain list of allocated pages.
    pub since: Option<SnapshotId>,
    /// Only while the blob has this tag.
    pub if_match: Option<Etag>,
    /// The size of the picture.
    pub size: Pages,
}

/// A list that is being read.
#[derive(Debug)]
pub struct Listing {
    object: String,
    answers: Option<mpsc::Receiver<Result<Option<Vec<Change>>, StoreError>>>,
    task: Option<JoinHandle<()>>,
    answer: std::vec::IntoIter<Change>,
    order: InOrder,
    ended: bool,
}

/// Answers listed ahead of the reader, beside the one being read.
const AHEAD: usize = 1;

impl Listing {
    /// Starts listing `wanted` of `blob`.
    pub fn start<S: Source>(blob: &Arc<S>, wanted: Wanted) -> Listing {
        let (sender, answers) = mpsc::channel(AHEAD);
        let object = blob.address();
        let task = tokio::spawn(ask_all(Arc::clone(blob), wanted, sender));
        Listing {
            object,
            answers: Some(answers),
            task: Some(task),
            answer: Vec::new().into_iter(),
            order: InOrder::default(),
            ended: false,
        }
    }

    /// A list that says nothing.
    pub fn empty() -> Listing {
        Listing {
            object: String::new(),
            answers: None,
            task: None,
            answer: Vec::new().into_iter(),
            order: InOrder::default(),
            ended: false,
        }
    }

    /// The next change, in page order; `None` at the end.
    ///
    /// # Errors
    /// What the service answered, or [`ReplicateError::Listing`] for a list that contradicts itself.
    pub async fn next(&mut self) -> Result<Option<Change>, ReplicateError> {
        loop {
            for change in self.answer.by_ref() {
                let news = self.order.push(change);
                let news = news.map_err(|error| ReplicateError::Listing { object: self.object.clone(), error })?;
                if news.is_some() {
                    return Ok(news);
                }
            }
            if self.ended {
                return Ok(None);
            }
            match &mut self.answers {
                None => self.ended = true,
                Some(answers) => match answers.recv().await {
                    Some(answer) => match answer? {
                        Some(changes) => self.answer = changes.into_iter(),
                        None => self.ended = true,
                    },
                    // A list has an end that is said; a task that is gone has said nothing.
                    None => {
                        let cause = "the listing ended abnormally";
                        let error = StoreError::new(ErrorKind::Integrity, "Get Page Ranges", &self.object, cause);
                        return Err(error.into());
                    }
                },
            }
        }
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Asks for every window in turn and hands the answers over.
async fn ask_all<S: Source>(
    blob: Arc<S>,
    wanted: Wanted,
    answers: mpsc::Sender<Result<Option<Vec<Change>>, StoreError>>,
) {
    let mut windows = Windows::new(Pages::ZERO, wanted.size);
    let mut reached = Pages::ZERO;
    while let Some(window) = windows.current() {
        let Some(rest) = PageRange::new(window.start().max(reached), window.end()) else {
            windows.answered();
            continue;
        };
        let mut ask = Ask {
            view: wanted.view.clone(),
            since: wanted.since.clone(),
            window: rest,
            marker: None,
            if_match: wanted.if_match.clone(),
        };
        loop {
            match blob.list(&ask).await.and_then(|answer| checked(&*blob, answer, &wanted)) {
                Ok(answer) => {
                    reached = answer.changes.iter().map(|change| change.range.end()).fold(reached, Pages::max);
                    let more = answer.next;
                    if answers.send(Ok(Some(answer.changes))).await.is_err() {
                        return;
                    }
                    let Some(marker) = more else {
                        windows.answered();
                        break;
                    };
                    ask.marker = Some(marker);
                }
                // What was already handed over is not asked again: the smaller window starts after it.
                Err(error) if error.kind() == ErrorKind::TimedOut && windows.timed_out() => break,
                Err(error) => {
                    // The reader may be gone, and then nobody wants to know.
                    let _ = answers.send(Err(error)).await;
                    return;
                }
            }
        }
    }
    // The reader may be gone, and then nobody wants to know.
    let _ = answers.send(Ok(None)).await;
}

/// A plain list that clears pages, and a picture that changes its size, are no answers to what was asked.
fn checked(blob: &impl Source, answer: Answer, wanted: &Wanted) -> Result<Answer, StoreError> {
    let refused = |cause: &str| Err(StoreError::new(ErrorKind::Integrity, "Get Page Ranges", blob.address(), cause));
    if answer.size != wanted.size {
        return refused("the size of the blob is not what it was when the listing began");
    }
    if wanted.since.is_none() && answer.changes.iter().any(|change| change.kind == Kind::Clear) {
        return refused("a plain page list reports cleared ranges");
    }
    Ok(answer)
}
