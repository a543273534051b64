//! One change, carried out by this machine: read from the source, written to the target.

use pageferry_core::{Canon, Change, Kind, PAGE_BYTES, PageRange, Pages};
use pageferry_store::{Fence, PageData, Receipt, Source, StoreError, Target, View};

/// Who moves the bytes of a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mover {
    /// This machine reads them and writes them, and checks them in between.
    #[default]
    Relay,
    /// The target's service fetches them from the source's; they never pass through this machine.
    Service,
}

/// A change that is durable, and how it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The change.
    pub change: Change,
    /// How the read went; a clear reads nothing.
    pub read: Option<Receipt>,
    /// How the write or clear went.
    pub sent: Receipt,
    /// Bytes written to the target.
    pub written_bytes: u64,
    /// The checksum that the service computed, where it did all of it.
    pub crc: Option<u64>,
}

impl Settled {
    /// Requests sent for it.
    pub fn requests(&self) -> u32 {
        self.sent.attempts + self.read.map_or(0, |read| read.attempts)
    }

    /// Of these, refused for load or broken on the way.
    pub fn refused(&self) -> u32 {
        self.sent.refused + self.read.map_or(0, |read| read.refused)
    }
}

/// Carries out `change`. The checksum that came with the bytes goes on with them, so that the target's service checks
/// what the source's service vouched for. With `compare`, only pages that differ on the target are written.
pub(crate) async fn relay(
    source: &impl Source,
    view: &View,
    target: &impl Target,
    fence: &Fence,
    change: Change,
    compare: bool,
    mover: Mover,
) -> Result<Settled, StoreError> {
    if change.kind == Kind::Clear {
        let sent = target.clear(change.range, fence).await?;
        return Ok(Settled { change, read: None, sent, written_bytes: 0, crc: None });
    }
    if mover == Mover::Service && !compare {
        let pass = source.pass(view).await?;
        let (crc, sent) = target.write_from(change.range, &pass, fence).await?;
        return Ok(Settled { change, read: None, sent, written_bytes: change.range.bytes(), crc });
    }
    let (data, mut read) = source.read(view, change.range, None).await?;
    if !compare {
        let sent = target.write(change.range, &data, fence).await?;
        return Ok(Settled { change, read: Some(read), sent, written_bytes: change.range.bytes(), crc: None });
    }
    let (have, read_back) = target.read(&View::Base, change.range, None).await?;
    read += read_back;
    let (mut sent, mut written_bytes) = (Receipt::default(), 0);
    for range in differing(change.range, data.bytes(), have.bytes()) {
        let from = usize::try_from((range.start() - change.range.start()).bytes()).unwrap_or(usize::MAX);
        let length = usize::try_from(range.bytes()).unwrap_or(usize::MAX);
        let part = PageData::new(data.bytes().slice(from..from + length));
        sent += target.write(range, &part, fence).await?;
        written_bytes += range.bytes();
    }
    Ok(Settled { change, read: Some(read), sent, written_bytes, crc: None })
}

/// The runs of pages within `range` whose bytes are not the same.
fn differing(range: PageRange, wanted: &[u8], have: &[u8]) -> Vec<PageRange> {
    let page_bytes = usize::try_from(PAGE_BYTES).unwrap_or(usize::MAX);
    let mut canon = Canon::default();
    let mut runs = Vec::new();
    for (index, (a, b)) in (0u64..).zip(wanted.chunks(page_bytes).zip(have.chunks(page_bytes))) {
        let start = range.start() + Pages::new(index);
        if a != b
            && let Some(page) = PageRange::new(start, start + Pages::new(1))
        {
            // Pages that ascend one by one contradict nothing.
            runs.extend(canon.push(Change::write(page)).ok().flatten());
        }
    }
    runs.extend(canon.finish());
    runs.into_iter().map(|run| run.range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_runs_that_differ_are_named() {
        let range = |a, b| PageRange::new(Pages::new(a), Pages::new(b)).unwrap();
        let (mut wanted, have) = (vec![1u8; 8 * 512], vec![1u8; 8 * 512]);
        assert!(differing(range(10, 18), &wanted, &have).is_empty());
        wanted[0] = 2;
        wanted[3 * 512] = 2;
        wanted[5 * 512 - 1] = 2;
        wanted[8 * 512 - 1] = 2;
        assert_eq!(differing(range(10, 18), &wanted, &have), [range(10, 11), range(13, 15), range(17, 18)]);
    }
}
