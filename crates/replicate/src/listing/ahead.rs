//! Asking for a list ahead of its reader, in several windows at once.
//!
//! The parts of one answer follow each other by markers, so that a long list takes as long as its answers take one after
//! the other. Windows do not depend on each other: a few are asked for at once, and handed over in page order. Of a window
//! that is not at the front only the first answer is fetched, so that what waits is bounded: a few answers, whatever the
//! disk. The first window is asked for alone, because a short list costs one request so.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use futures::future::BoxFuture;
use pageferry_core::window::Windows;
use pageferry_core::{Change, Kind, PageRange, Pages};
use pageferry_store::{Answer, Ask, ErrorKind, Source, StoreError};
use tokio::sync::mpsc;

use super::Wanted;

/// Windows that are asked for, or wait for the reader, at once.
const AT_ONCE: usize = 4;

/// Asks for every window and hands the answers over, in page order; `None` says that the list has ended.
pub(super) async fn ask_all<S: Source>(
    blob: Arc<S>,
    wanted: Wanted,
    answers: mpsc::Sender<Result<Option<Vec<Change>>, StoreError>>,
) {
    let mut ahead = Ahead::new(blob, wanted);
    loop {
        ahead.ask();
        if ahead.windows_out.is_empty() {
            // The reader may be gone, and then nobody wants to know.
            let _ = answers.send(Ok(None)).await;
            return;
        }
        tokio::select! {
            biased;
            free = answers.reserve(), if ahead.has_news() => {
                let Ok(free) = free else { return };
                match ahead.take() {
                    Ok(changes) => free.send(Ok(Some(changes))),
                    Err(error) => return free.send(Err(error)),
                }
            }
            // What is under way goes on while the reader is busy: an answer that nobody fetches is cut off.
            () = ahead.progress() => {}
        }
    }
}

/// A window that was given out and not yet handed over.
struct Out {
    ask: Ask,
    /// Where the answers so far end.
    reached: Pages,
    state: State,
}

enum State {
    Waiting,
    Asking(BoxFuture<'static, Result<Answer, StoreError>>),
    Answered(Result<Answer, StoreError>),
}

struct Ahead<S> {
    blob: Arc<S>,
    wanted: Wanted,
    windows: Windows,
    /// In page order.
    windows_out: VecDeque<Out>,
    at_once: usize,
}

impl<S: Source> Ahead<S> {
    fn new(blob: Arc<S>, wanted: Wanted) -> Ahead<S> {
        let windows = Windows::new(wanted.size);
        Ahead { blob, wanted, windows, windows_out: VecDeque::new(), at_once: 1 }
    }

    /// Sends as many questions as may be out at once, the front always among them.
    fn ask(&mut self) {
        while self.windows_out.len() < self.at_once {
            let Some(window) = self.windows.next() else { break };
            let out = self.out(window);
            self.windows_out.push_back(out);
        }
        let busy = self.windows_out.iter().filter(|out| !matches!(out.state, State::Waiting)).count();
        let mut free = self.at_once.saturating_sub(busy);
        for (place, out) in self.windows_out.iter_mut().enumerate() {
            if matches!(out.state, State::Waiting) && (place == 0 || free > 0) {
                free = free.saturating_sub(1);
                let (blob, ask) = (Arc::clone(&self.blob), out.ask.clone());
                out.state = State::Asking(Box::pin(async move { blob.list(&ask).await }));
            }
        }
    }

    fn out(&self, window: PageRange) -> Out {
        let Wanted { view, since, if_match, .. } = self.wanted.clone();
        Out { ask: Ask { view, since, window, marker: None, if_match }, reached: window.start(), state: State::Waiting }
    }

    /// Whether the front has something for the reader.
    fn has_news(&self) -> bool {
        self.windows_out.front().is_some_and(|out| matches!(out.state, State::Answered(_)))
    }

    /// What the front has for the reader.
    fn take(&mut self) -> Result<Vec<Change>, StoreError> {
        let Some(out) = self.windows_out.front_mut() else { return Ok(Vec::new()) };
        match std::mem::replace(&mut out.state, State::Waiting) {
            State::Answered(answer) => {
                let answer = answer?;
                match answer.next {
                    Some(marker) => out.ask.marker = Some(marker),
                    None => drop(self.windows_out.pop_front()),
                }
                Ok(answer.changes)
            }
            state => {
                out.state = state;
                Ok(Vec::new())
            }
        }
    }

    /// Waits until at least one question is answered. For ever where none is out.
    async fn progress(&mut self) {
        poll_fn(|context| {
            let mut progress = Poll::Pending;
            let mut place = 0;
            while let Some(out) = self.windows_out.get_mut(place) {
                if let State::Asking(asking) = &mut out.state
                    && let Poll::Ready(answer) = asking.as_mut().poll(context)
                {
                    progress = Poll::Ready(());
                    self.answered(place, answer);
                }
                place += 1;
            }
            progress
        })
        .await;
    }

    /// Takes the answer to what the window at `place` asked, and learns from it.
    fn answered(&mut self, place: usize, answer: Result<Answer, StoreError>) {
        let answer = answer.and_then(|answer| checked(&*self.blob, answer, &self.wanted));
        let Some(out) = self.windows_out.get_mut(place) else { return };
        match answer {
            Ok(answer) => {
                self.at_once = AT_ONCE;
                let reached = answer.changes.iter().map(|change| change.range.end()).fold(out.reached, Pages::max);
                match answer.next {
                    Some(_) => self.windows.cut_off(reached - out.reached, answer.changes.len()),
                    None if out.ask.marker.is_none() => self.windows.answered(out.ask.window, answer.changes.len()),
                    None => {}
                }
                out.reached = reached;
                out.state = State::Answered(Ok(answer));
            }
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                // What was already handed over is not asked again: the smaller windows start after it.
                let Some(rest) = PageRange::new(out.reached, out.ask.window.end()) else {
                    self.windows_out.remove(place);
                    return;
                };
                match self.windows.timed_out(rest) {
                    Some((first, rest)) => {
                        let (first, rest) = (self.out(first), self.out(rest));
                        self.windows_out.insert(place, rest);
                        self.windows_out.insert(place, first);
                        self.windows_out.remove(place + 2);
                    }
                    None => out.state = State::Answered(Err(error)),
                }
            }
            Err(error) => out.state = State::Answered(Err(error)),
        }
    }
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
