//! A point as the disk that the service would make of it: a fixed VHD, with the footer that a raw disk lacks.
//!
//! Where a footer is added, it is the same for the same point, whoever adds it: a disk may be uploaded by several runs, and all
//! of them must write the same.

use bytes::BytesMut;
use pageferry_core::next::Point;
use pageferry_core::vhd::{Footer, FooterError, Format};
use pageferry_core::{Change, Etag, PAGE_BYTES, PageRange, Pages};
use pageferry_store::{Answer, Ask, ErrorKind, PageData, Properties, Receipt, Snapshot, Source, StoreError, View};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::error::ReplicateError;

/// The first second of the time that footers count.
const EPOCH_OF_FOOTERS: i64 = 946_684_800;

/// What a managed disk is a whole number of.
const MIB: u64 = 1 << 20;

/// A point of a target, framed as a fixed VHD.
#[derive(Debug)]
pub struct Framed<S> {
    blob: S,
    view: View,
    /// The pages of the point itself.
    own: Pages,
    /// The footer that follows them, where they do not end in one.
    added: Option<PageData>,
}

impl<S: Source> Framed<S> {
    /// `point` of `blob` as a fixed VHD.
    ///
    /// # Errors
    /// [`ReplicateError::Refused`] for what no managed disk can be made of.
    pub async fn new(blob: S, point: &Point) -> Result<Framed<S>, ReplicateError> {
        let (view, own) = (View::Snapshot(point.id.clone()), point.size);
        let refused = |why: String| {
            let target = blob.address();
            Err(ReplicateError::Refused(format!(
                "no managed disk can be made of point {} of {target}: {why}; restore it to a file or to a page blob",
                point.id
            )))
        };
        let one = Pages::new(1);
        let (Some(first), Some(last)) = (PageRange::whole(own.min(one)), PageRange::new(own.saturating_sub(one), own))
        else {
            return refused("it is empty".to_owned());
        };
        let (beginning, end) = futures::try_join!(blob.read(&view, first, None), blob.read(&view, last, None))?;
        let end: [u8; 512] = end.0.bytes()[..].try_into().unwrap_or([0; 512]);
        let bytes = own.bytes();
        let added = match Format::sniff(beginning.0.bytes(), &end, bytes) {
            Format::FixedVhd(footer) if footer.is_whole_mib() => None,
            Format::FixedVhd(footer) => {
                return refused(format!("its size, {} bytes, is no whole number of MiB", footer.disk_bytes));
            }
            Format::Vhdx => return refused("it is a VHDX, whose pages are not the disk's".to_owned()),
            Format::DynamicVhd => return refused("it is a VHD, but not a fixed one".to_owned()),
            Format::Raw => match Footer::parse(&end) {
                Err(FooterError::NoCookie) if bytes.is_multiple_of(MIB) => Some(footer_of(point)),
                Err(FooterError::NoCookie) => {
                    return refused(format!(
                        "it ends in no VHD footer, and its size, {bytes} bytes, is no whole number of MiB"
                    ));
                }
                Err(error) => return refused(error.to_string()),
                Ok(footer) => match footer.check(bytes) {
                    Err(error) => return refused(error.to_string()),
                    Ok(()) => None,
                },
            },
        };
        let added = added.map(|footer| PageData::new(footer.to_bytes().to_vec().into()));
        Ok(Framed { blob, view, own, added })
    }

    /// Its size, with the footer.
    pub fn size(&self) -> Pages {
        self.own + Pages::new(u64::from(self.added.is_some()))
    }

    /// Whether it ends in a footer that the point has not.
    pub fn is_longer(&self) -> bool {
        self.added.is_some()
    }

    /// What of it to ask for.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The part of `range` that the point itself has.
    fn inside(&self, range: PageRange) -> Option<PageRange> {
        PageRange::whole(self.own).and_then(|whole| range.intersection(whole))
    }
}

/// A footer for a point that has none, from nothing but the point.
fn footer_of(point: &Point) -> Footer {
    let taken = OffsetDateTime::parse(point.seal.snapshot.id.as_str(), &Rfc3339).map(OffsetDateTime::unix_timestamp);
    let second = taken.unwrap_or(EPOCH_OF_FOOTERS).saturating_sub(EPOCH_OF_FOOTERS);
    let id = Uuid::parse_str(&point.seal.run).unwrap_or_default();
    Footer::for_size(point.size.bytes(), id.into_bytes(), u32::try_from(second).unwrap_or_default())
}

impl<S: Source> Source for Framed<S> {
    fn address(&self) -> String {
        self.blob.address()
    }

    fn in_flight_max(&self) -> usize {
        self.blob.in_flight_max()
    }

    async fn properties(&self, view: &View) -> Result<Properties, StoreError> {
        Ok(Properties { size: self.size(), ..self.blob.properties(view).await? })
    }

    async fn snapshots(&self) -> Result<Vec<Snapshot>, StoreError> {
        self.blob.snapshots().await
    }

    async fn list(&self, ask: &Ask) -> Result<Answer, StoreError> {
        let mut answer = match self.inside(ask.window) {
            Some(window) => self.blob.list(&Ask { window, ..ask.clone() }).await?,
            None => Answer { changes: Vec::new(), next: None, size: self.own },
        };
        let footer = PageRange::new(self.own, self.size()).and_then(|footer| footer.intersection(ask.window));
        if let (Some(footer), None) = (footer, &answer.next) {
            answer.changes.push(Change::write(footer));
        }
        if answer.size == self.own {
            answer.size = self.size();
        }
        Ok(answer)
    }

    async fn read(
        &self,
        view: &View,
        range: PageRange,
        if_match: Option<&Etag>,
    ) -> Result<(PageData, Receipt), StoreError> {
        let Some(footer) = self.added.as_ref().filter(|_| range.end() > self.own) else {
            return self.blob.read(view, range, if_match).await;
        };
        if range.end() > self.size() {
            let cause = format!("{range} are beyond its end");
            return Err(StoreError::new(ErrorKind::Invalid, "Get Blob", self.address(), cause));
        }
        let Some(inside) = self.inside(range) else { return Ok((footer.clone(), Receipt::default())) };
        let (data, receipt) = self.blob.read(view, inside, if_match).await?;
        let mut whole = BytesMut::with_capacity(data.bytes().len() + usize::try_from(PAGE_BYTES).unwrap_or_default());
        whole.extend_from_slice(data.bytes());
        whole.extend_from_slice(footer.bytes());
        Ok((PageData::new(whole.freeze()), receipt))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use pageferry_core::SnapshotId;
    use pageferry_core::lineage::{DiskId, Seal, SnapshotRef};
    use pageferry_store::{Memory, Target};

    use crate::listing::{Listing, Wanted};

    const PAGES_OF_A_MIB: u64 = 2048;

    fn range(start: u64, end: u64) -> PageRange {
        PageRange::new(Pages::new(start), Pages::new(end)).unwrap()
    }

    /// A target of `pages` with data in its middle, `beginning` in its first page and `end` in its last, and a point of it.
    async fn point_of(pages: u64, beginning: &[u8], end: &[u8; 512]) -> (Memory, Point) {
        let blob = Memory::empty("target", Pages::new(pages));
        blob.poke(range(3, 30), 7);
        let mut first = [0; 512];
        first[..beginning.len()].copy_from_slice(beginning);
        blob.put(range(0, 1), &PageData::new(first.to_vec().into()));
        blob.put(range(pages - 1, pages), &PageData::new(end.to_vec().into()));
        let (id, etag) = blob.snapshot(None, None).await.unwrap();
        let snapshot = SnapshotRef { id: SnapshotId::new("2026-05-16T20:11:11.0777366Z"), etag: etag.clone() };
        let seal = Seal {
            disk: DiskId::new("disk", "then"),
            snapshot,
            parent: None,
            plan: String::new(),
            written_bytes: 0,
            cleared_bytes: 0,
            run: "67e55044-10b1-426f-9247-bb680e5fe0c8".to_owned(),
            lease: String::new(),
            epoch: 1,
            sealed_at: String::new(),
        };
        (blob, Point { id, etag, size: Pages::new(pages), seal })
    }

    #[tokio::test]
    async fn a_raw_disk_gets_the_same_footer_whenever_it_is_framed() {
        let (blob, point) = point_of(PAGES_OF_A_MIB, b"raw", &[1; 512]).await;
        let framed = Framed::new(blob.clone(), &point).await.unwrap();
        assert!(framed.is_longer());
        assert_eq!(framed.size(), Pages::new(PAGES_OF_A_MIB + 1));
        let (data, _) = framed.read(framed.view(), range(PAGES_OF_A_MIB - 2, PAGES_OF_A_MIB + 1), None).await.unwrap();
        assert_eq!(data.bytes()[512..1024], [1; 512]);
        let footer = Footer::parse(data.bytes()[1024..].try_into().unwrap()).unwrap();
        footer.check(framed.size().bytes()).unwrap();
        assert_eq!(footer.timestamp_secs, 832_277_471, "when the disk was as the point shows it");
        let again = Framed::new(blob, &point).await.unwrap();
        assert_eq!(again.added.unwrap().bytes(), framed.added.as_ref().unwrap().bytes());
        let size = framed.size();
        let wanted = Wanted { view: framed.view().clone(), since: None, if_match: None, size };
        let mut listing = Listing::start(&Arc::new(framed), wanted);
        let mut pages = Vec::new();
        while let Some(change) = listing.next().await.unwrap() {
            pages.extend(change.range.start().count()..change.range.end().count());
        }
        let expected = [0].into_iter().chain(3..30).chain(PAGES_OF_A_MIB - 1..=PAGES_OF_A_MIB);
        assert_eq!(pages, expected.collect::<Vec<_>>(), "in several answers");
    }

    #[tokio::test]
    async fn a_fixed_vhd_stays_what_it_is() {
        let footer = Footer::for_size(MIB, [1; 16], 0).to_bytes();
        let (blob, point) = point_of(PAGES_OF_A_MIB + 1, b"boot", &footer).await;
        let framed = Framed::new(blob, &point).await.unwrap();
        assert!(!framed.is_longer());
        assert_eq!(framed.size(), point.size);
    }

    #[tokio::test]
    async fn what_no_disk_can_be_made_of_is_refused() {
        let footer = |bytes| Footer::for_size(bytes, [1; 16], 0).to_bytes();
        let mut damaged = footer(MIB);
        damaged[100] ^= 1;
        let odd = (PAGES_OF_A_MIB + 1) * 512;
        for (pages, beginning, end, why) in [
            (PAGES_OF_A_MIB, &b"vhdxfile"[..], [0; 512], "VHDX"),
            (PAGES_OF_A_MIB + 2, b"", footer(odd), "no whole number of MiB"),
            (PAGES_OF_A_MIB + 1, b"", [0; 512], "no whole number of MiB"),
            (PAGES_OF_A_MIB + 1, b"", damaged, "damaged"),
            (PAGES_OF_A_MIB, b"", footer(MIB), "does not make a blob"),
        ] {
            let (blob, point) = point_of(pages, beginning, &end).await;
            let refused = Framed::new(blob, &point).await.err();
            assert!(
                matches!(&refused, Some(ReplicateError::Refused(words)) if words.contains(why)),
                "{why}: {refused:?}"
            );
        }
    }
}
