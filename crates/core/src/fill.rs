//! Filling gaps: joining writes that stand close, by writing the unchanged pages between them again.
//!
//! A page blob takes so many requests a second and so many bytes. A difference of many small runs is bound by requests,
//! and then a few more bytes in one request are cheaper than another request. Only pages are filled that are allocated in
//! the source snapshot and that the difference does not mention: they hold on the target what they hold in the source,
//! and writing them again changes nothing. A clear is never crossed, and nothing becomes allocated that was not.
//!
//! The gate must know which pages a plan has filled, and a run that goes on must fill the same ones. So what is filled is
//! a function of the difference, of what is allocated, and of one number, the largest gap; decided from the first page on,
//! whatever was done already, and however the lists were cut into stretches.

use std::collections::VecDeque;

use crate::change::Kind;
use crate::page::{PageRange, Pages};
use crate::plan::ChunkPolicy;

/// Decides of stretches, given in page order, whether they are filled. Holds back at most one gap of them.
#[derive(Debug)]
pub struct Filler<T> {
    gap_max: Pages,
    chunks: ChunkPolicy,
    /// The end of the write from which a gap may still be filled, and how far such a gap has come.
    open: Option<(Pages, Pages)>,
    gap: VecDeque<T>,
    decided: VecDeque<(T, bool)>,
    /// The last change that was counted.
    last: Option<(Kind, Pages)>,
    requests: u64,
    write_pages: u64,
}

impl<T> Filler<T> {
    /// Fills gaps of at most `gap_max`, which is also what one request is worth in pages. With none, fills nothing.
    pub fn new(gap_max: Pages) -> Filler<T> {
        Filler {
            gap_max,
            chunks: ChunkPolicy::default(),
            open: None,
            gap: VecDeque::new(),
            decided: VecDeque::new(),
            last: None,
            requests: 0,
            write_pages: 0,
        }
    }

    /// Takes the next stretch: its pages, what the difference says of them, and whether the source has them allocated.
    pub fn push(&mut self, stretch: T, range: PageRange, said: Option<Kind>, allocated: bool) {
        if self.open.is_some_and(|(_, reached)| reached != range.start()) {
            self.close(false);
        }
        match said {
            Some(kind) => {
                let filled = kind == Kind::Write && self.pays(range.start());
                self.close(filled);
                self.count(kind, range);
                self.decided.push_back((stretch, false));
                self.open = (kind == Kind::Write && self.gap_max > Pages::ZERO).then_some((range.end(), range.end()));
            }
            None => match self.open {
                Some((start, _)) if allocated && range.end() - start <= self.gap_max => {
                    self.gap.push_back(stretch);
                    self.open = Some((start, range.end()));
                }
                _ => {
                    self.close(false);
                    self.decided.push_back((stretch, false));
                }
            },
        }
    }

    /// Takes the end: a gap that nothing follows is none.
    pub fn finish(&mut self) {
        self.close(false);
    }

    /// The next stretch that is decided, in page order, and whether it is filled.
    #[expect(clippy::should_implement_trait, reason = "an iterator could not ask for more input between items")]
    pub fn next(&mut self) -> Option<(T, bool)> {
        self.decided.pop_front()
    }

    /// Whether a write at `at` is joined to the one before: where that saves a request, because both are in one cell of the
    /// grid, and where all requests so far are still worth more than all bytes so far.
    fn pays(&self, at: Pages) -> bool {
        let Some((start, _)) = self.open else { return false };
        let (gap, cell) = (at.saturating_sub(start).count(), self.chunks.write_max.count());
        let joined = start.count().saturating_sub(1) / cell == at.count() / cell;
        gap > 0 && joined && self.requests.saturating_mul(self.gap_max.count()) >= self.write_pages + gap
    }

    /// Ends the gap there is.
    fn close(&mut self, filled: bool) {
        if let Some((start, reached)) = self.open.take()
            && filled
        {
            self.write_pages += (reached - start).count();
            // What follows is in the same request.
            self.last = Some((Kind::Write, reached));
        }
        self.decided.extend(self.gap.drain(..).map(|stretch| (stretch, filled)));
    }

    /// Counts a change as the requests that it takes beside those before it.
    fn count(&mut self, kind: Kind, range: PageRange) {
        let cell = match kind {
            Kind::Write => self.chunks.write_max.count(),
            Kind::Clear => self.chunks.clear_max.count(),
        };
        let (first, last) = (range.start().count() / cell, (range.end().count() - 1) / cell);
        let goes_on = self.last == Some((kind, range.start())) && !range.start().count().is_multiple_of(cell);
        self.requests += last - first + u64::from(!goes_on);
        self.last = Some((kind, range.end()));
        if kind == Kind::Write {
            self.write_pages += range.pages().count();
        }
    }
}

#[cfg(test)]
mod tests;
