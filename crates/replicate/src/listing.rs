//! Page lists and differences as one sequence, however the service cuts its answers.
//!
//! A task asks a few answers ahead of the reader (`ahead`), so that nothing ever holds a whole list and the first page
//! can move before a list is complete. What arrives is checked: contradictions, going back and sizes that change under way
//! are errors.

mod ahead;

use std::collections::VecDeque;
use std::sync::Arc;

use pageferry_core::{Canon, Change, Etag, InOrder, Pages, SnapshotId};
use pageferry_store::{ErrorKind, Source, StoreError, View};
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
    /// What was read ahead, joined.
    peeked: VecDeque<Change>,
    ended: bool,
}

/// Answers that wait for the reader, beside the one being read and those that [`ahead`] has.
const AHEAD: usize = 1;

impl Listing {
    /// Starts listing `wanted` of `blob`.
    pub fn start<S: Source>(blob: &Arc<S>, wanted: Wanted) -> Listing {
        let (sender, answers) = mpsc::channel(AHEAD);
        let object = blob.address();
        let task = tokio::spawn(ahead::ask_all(Arc::clone(blob), wanted, sender));
        Listing {
            object,
            answers: Some(answers),
            task: Some(task),
            answer: Vec::new().into_iter(),
            order: InOrder::default(),
            peeked: VecDeque::new(),
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
            peeked: VecDeque::new(),
            ended: false,
        }
    }

    /// What is listed.
    pub fn object(&self) -> &str {
        &self.object
    }

    /// Whether the list has at least so many runs. Reads ahead just so far; [`Listing::next`] gives it all the same.
    ///
    /// # Errors
    /// As [`Listing::next`].
    pub async fn has_runs(&mut self, least: usize) -> Result<bool, ReplicateError> {
        let mut canon = Canon::default();
        let mut joined = VecDeque::new();
        let object = self.object.clone();
        while joined.len() < least {
            let Some(change) = self.next().await? else { break };
            let run = canon.push(change);
            joined.extend(run.map_err(|error| ReplicateError::Listing { object: object.clone(), error })?);
        }
        joined.extend(canon.finish());
        self.peeked = joined;
        Ok(self.peeked.len() >= least)
    }

    /// The next change, in page order; `None` at the end.
    ///
    /// # Errors
    /// What the service answered, or [`ReplicateError::Listing`] for a list that contradicts itself.
    pub async fn next(&mut self) -> Result<Option<Change>, ReplicateError> {
        if let Some(change) = self.peeked.pop_front() {
            return Ok(Some(change));
        }
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

#[cfg(test)]
mod tests;
