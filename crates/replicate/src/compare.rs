//! Comparing the content of two pictures, for the pages where trackers leave a doubt.

use bytes::Bytes;
use pageferry_core::plan::WRITE_BYTES_MAX;
use pageferry_core::{Etag, PAGE_BYTES, PageRange, Pages};
use pageferry_store::{Source, StoreError, View};

use crate::error::Ranges;

/// One side of a comparison.
#[derive(Debug)]
pub struct Side<'a, S> {
    /// The blob.
    pub blob: &'a S,
    /// The picture of it.
    pub view: View,
    /// Only while it has this tag.
    pub if_match: Option<Etag>,
}

impl<S: Source> Side<'_, S> {
    async fn read(&self, range: PageRange) -> Result<Bytes, StoreError> {
        let (data, _) = self.blob.read(&self.view, range, self.if_match.as_ref()).await?;
        Ok(data.bytes().clone())
    }
}

/// Adds to `differing` every page of `range` whose bytes are not the same on both sides.
///
/// # Errors
/// Of the service.
pub async fn compare<L: Source, R: Source>(
    left: &Side<'_, L>,
    right: &Side<'_, R>,
    range: PageRange,
    differing: &mut Ranges,
) -> Result<(), StoreError> {
    for piece in range.cut(Pages::new(WRITE_BYTES_MAX / PAGE_BYTES)) {
        let (one, other) = futures::try_join!(left.read(piece), right.read(piece))?;
        if one != other {
            differing_pages(piece.start(), &one, &other, differing);
        }
    }
    Ok(())
}

/// Names the pages that differ between two equally long runs of bytes that begin at page `start`.
pub(crate) fn differing_pages(start: Pages, one: &[u8], other: &[u8], differing: &mut Ranges) {
    let page_bytes = usize::try_from(PAGE_BYTES).unwrap_or(usize::MAX);
    for (index, (a, b)) in (0u64..).zip(one.chunks(page_bytes).zip(other.chunks(page_bytes))) {
        if a != b
            && let Some(page) = PageRange::new(start + Pages::new(index), start + Pages::new(index + 1))
        {
            differing.push(page);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pageferry_store::Memory;

    #[tokio::test]
    async fn exactly_the_pages_that_differ_are_named() {
        let size = Pages::new(40);
        let range = |a, b| PageRange::new(Pages::new(a), Pages::new(b)).unwrap();
        let (left, right) = (Memory::empty("left", size), Memory::empty("right", size));
        left.poke(range(0, 40), 1);
        right.poke(range(0, 40), 1);
        right.poke(range(3, 5), 2);
        right.wipe(range(39, 40));
        let mut differing = Ranges::default();
        let left = Side { blob: &left, view: View::Base, if_match: None };
        let right = Side { blob: &right, view: View::Base, if_match: None };
        compare(&left, &right, range(0, 40), &mut differing).await.unwrap();
        assert_eq!(differing.named(), [range(3, 5), range(39, 40)]);
        assert_eq!(differing.bytes(), 3 * 512);
    }
}
