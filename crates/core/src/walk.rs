//! Walking several canonical lists side by side.
//!
//! Planning a resumed step, and the gate before a seal, both ask of every page what each of several lists says about
//! it. The lists arrive over the network and may be long, so [`Walk`] holds one change of each and does no I/O: it says
//! which list it wants next, is given a change, and yields maximal stretches on which no list changes.
//!
//! ```
//! # use pageferry_core::{Change, PageRange, Pages, walk::Walk};
//! # let range = |a, b| PageRange::new(Pages::new(a), Pages::new(b)).unwrap();
//! let mut lists = [vec![Change::write(range(0, 4))].into_iter(), vec![Change::clear(range(2, 6))].into_iter()];
//! let mut walk = Walk::<2>::new();
//! let mut stretches = Vec::new();
//! loop {
//!     while let Some(list) = walk.wants() {
//!         let next = lists[list].next();
//!         walk.give(list, next).unwrap();
//!     }
//!     let Some(stretch) = walk.next() else { break };
//!     stretches.push(stretch.range);
//! }
//! assert_eq!(stretches, [range(0, 2), range(2, 4), range(4, 6)]);
//! ```

use crate::change::{Change, DiffError, Kind};
use crate::page::{PageRange, Pages};

/// Pages on which every list says one thing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stretch<const N: usize> {
    /// The pages.
    pub range: PageRange,
    /// What each list says of them; `None` where it does not mention them.
    pub says: [Option<Kind>; N],
}

/// Where each list stands.
#[derive(Clone, Copy, Debug)]
enum Head {
    Wanting,
    At(Change),
    Ended,
}

/// A walk over `N` canonical lists.
#[derive(Clone, Debug)]
pub struct Walk<const N: usize> {
    at: Pages,
    heads: [Head; N],
    ends: [Pages; N],
}

impl<const N: usize> Default for Walk<N> {
    fn default() -> Self {
        Walk::new()
    }
}

impl<const N: usize> Walk<N> {
    /// A walk that has seen nothing yet.
    pub fn new() -> Self {
        Walk { at: Pages::ZERO, heads: [Head::Wanting; N], ends: [Pages::ZERO; N] }
    }

    /// A list whose next change is needed before [`Walk::next`] can say more.
    pub fn wants(&self) -> Option<usize> {
        self.heads.iter().position(|head| matches!(head, Head::Wanting))
    }

    /// The next change of `list`, or `None` at its end.
    ///
    /// # Errors
    /// [`DiffError::OutOfOrder`] where the list goes back: it was not canonical.
    pub fn give(&mut self, list: usize, change: Option<Change>) -> Result<(), DiffError> {
        let Some(head) = self.heads.get_mut(list) else { return Ok(()) };
        *head = match change {
            Some(change) if self.ends.get(list).is_some_and(|end| change.range.start() < *end) => {
                return Err(DiffError::OutOfOrder(change.range));
            }
            Some(change) => Head::At(change),
            None => Head::Ended,
        };
        Ok(())
    }

    /// The next stretch that at least one list mentions; `None` once all have ended, or while one is wanted.
    #[expect(clippy::should_implement_trait, reason = "an iterator could not ask for more input between items")]
    pub fn next(&mut self) -> Option<Stretch<N>> {
        if self.wants().is_some() {
            return None;
        }
        let changes =
            || self.heads.iter().filter_map(|head| if let Head::At(change) = head { Some(change) } else { None });
        let start = changes().map(|change| change.range.start().max(self.at)).min()?;
        let end = changes()
            .map(|change| if change.range.start() > start { change.range.start() } else { change.range.end() })
            .min()?;
        let range = PageRange::new(start, end)?;
        let mut says = [None; N];
        for ((head, said), passed) in self.heads.iter_mut().zip(&mut says).zip(&mut self.ends) {
            let Head::At(change) = *head else { continue };
            if change.range.start() <= start {
                *said = Some(change.kind);
                if change.range.end() == end {
                    *passed = end;
                    *head = Head::Wanting;
                }
            }
        }
        self.at = end;
        Some(Stretch { range, says })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pair of three-letter pictures over six pages, walked and drawn again page by page.
    #[test]
    fn every_page_is_told_what_each_list_says_of_it() {
        let pictures: Vec<String> = (0..3usize.pow(6)).map(picture).collect();
        for left in &pictures {
            for right in pictures.iter().step_by(7) {
                assert_eq!(walked(left, right), (left.clone(), right.clone()));
            }
        }
    }

    #[test]
    fn a_list_that_goes_back_is_refused() {
        let mut walk = Walk::<1>::new();
        walk.give(0, Some(Change::write(range(4, 6)))).unwrap();
        walk.next().unwrap();
        assert_eq!(walk.give(0, Some(Change::write(range(5, 7)))), Err(DiffError::OutOfOrder(range(5, 7))));
    }

    fn range(start: u64, end: u64) -> PageRange {
        PageRange::new(Pages::new(start), Pages::new(end)).unwrap()
    }

    fn picture(mut number: usize) -> String {
        (0..6)
            .map(|_| {
                let letter = [b'.', b'#', b'o'][number % 3];
                number /= 3;
                char::from(letter)
            })
            .collect()
    }

    fn changes(picture: &str) -> Vec<Change> {
        let pages = picture.chars().enumerate().filter_map(|(i, letter)| {
            let page = range(i as u64, i as u64 + 1);
            match letter {
                '#' => Some(Change::write(page)),
                'o' => Some(Change::clear(page)),
                _ => None,
            }
        });
        crate::change::Diff::new(pages).unwrap().changes().to_vec()
    }

    fn walked(left: &str, right: &str) -> (String, String) {
        let mut lists = [changes(left).into_iter(), changes(right).into_iter()];
        let mut drawn = [vec![b'.'; 6], vec![b'.'; 6]];
        let mut walk = Walk::<2>::new();
        loop {
            while let Some(list) = walk.wants() {
                let next = lists[list].next();
                walk.give(list, next).unwrap();
            }
            let Some(stretch) = walk.next() else { break };
            for page in stretch.range.start().count()..stretch.range.end().count() {
                for (canvas, said) in drawn.iter_mut().zip(stretch.says) {
                    let letter = match said {
                        None => b'.',
                        Some(Kind::Write) => b'#',
                        Some(Kind::Clear) => b'o',
                    };
                    canvas[usize::try_from(page).unwrap()] = letter;
                }
            }
        }
        drawn.map(|canvas| String::from_utf8(canvas).unwrap()).into()
    }
}
