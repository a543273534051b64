//! Joining clears that stand close, by clearing what lies between them and holds nothing.
//!
//! Clearing pages that are not allocated moves no byte and makes what the source has there. So a clear may begin where the
//! one before it ended, if every page between them is unallocated in the source snapshot and none is written. A request is
//! saved only within one cell of the grid on which clears are cut.

use crate::page::{PageRange, Pages};
use crate::plan::ChunkPolicy;

/// Where the last clear ended, as long as nothing was met since that must not be cleared. Given every stretch in page order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Joint {
    open: Option<Pages>,
}

impl Joint {
    /// Passes pages that are not cleared; `holds` is whether they are allocated in the source snapshot, or written.
    pub fn pass(&mut self, holds: bool) {
        if holds {
            self.open = None;
        }
    }

    /// Takes a clear. Gives where the clear before it ended, if this one can begin there and saves a request by it.
    pub fn clear(&mut self, range: PageRange, chunks: &ChunkPolicy) -> Option<Pages> {
        let before = self.open.replace(range.end())?;
        let cell = chunks.clear_max.count().max(1);
        (before.count().saturating_sub(1) / cell == range.start().count() / cell).then_some(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clear_reaches_back_over_nothing_and_within_its_cell() {
        let range = |a, b| PageRange::new(Pages::new(a), Pages::new(b)).unwrap();
        let chunks = ChunkPolicy { clear_max: Pages::new(16), ..ChunkPolicy::default() };
        let mut joint = Joint::default();
        assert_eq!(joint.clear(range(1, 2), &chunks), None, "the first");
        joint.pass(false);
        assert_eq!(joint.clear(range(5, 6), &chunks), Some(Pages::new(2)));
        joint.pass(true);
        assert_eq!(joint.clear(range(8, 9), &chunks), None, "over pages that hold something");
        assert_eq!(joint.clear(range(15, 16), &chunks), Some(Pages::new(9)));
        assert_eq!(joint.clear(range(16, 18), &chunks), None, "a request of its own in any case");
        assert_eq!(joint.clear(range(31, 40), &chunks), Some(Pages::new(18)));
    }
}
