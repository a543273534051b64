//! Page writes and clears.
//!
//! Those of a target are fenced: the service refuses them once the run that sent them is over. The upload of a managed disk
//! knows neither leases nor sequence numbers, so nothing keeps a late one out there; whoever writes without a fence has to
//! see to it that a late write does no harm.

use azure_core::http::RequestContent;
use azure_storage_blob::models::{HttpRange, PageBlobClientClearPagesOptions, PageBlobClientUploadPagesOptions};
use pageferry_core::{PageRange, Pages};
use pageferry_store::{ErrorKind, Fence, PageData, Receipt, StoreError};

use crate::fault::{Fault, Outcome};
use crate::operation::Operation;
use crate::page_blob::PageBlob;
use crate::read::{REQUEST_BYTES_MAX, checksum};
use crate::retry::Settled;

impl PageBlob {
    /// Writes `data` to `range`, at most 4 MiB, of a managed disk that is being uploaded; the service checks the checksum
    /// before it applies it.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] at any other address, where a write without a fence would be a mistake, and those of the
    /// service.
    pub async fn write_unfenced(&self, range: PageRange, data: &PageData) -> Result<Receipt, StoreError> {
        self.only_a_managed_disk(Operation::PutPage)?;
        self.put_pages(range, data, None).await
    }

    /// Clears `range`, however long, of a managed disk that is being uploaded.
    ///
    /// # Errors
    /// As [`PageBlob::write_unfenced`].
    pub async fn clear_unfenced(&self, range: PageRange) -> Result<Receipt, StoreError> {
        self.only_a_managed_disk(Operation::ClearPages { long: false })?;
        self.clear_pages(range, None).await
    }

    fn only_a_managed_disk(&self, operation: Operation) -> Result<(), StoreError> {
        if self.location().is_managed_disk() {
            return Ok(());
        }
        Err(self.invalid(operation, "only the upload of a managed disk is written without a lease"))
    }

    pub(crate) async fn put_pages(
        &self,
        range: PageRange,
        data: &PageData,
        fence: Option<&Fence>,
    ) -> Result<Receipt, StoreError> {
        let wire = self.wire();
        let length = data.bytes().len() as u64;
        if length != range.bytes() || length > REQUEST_BYTES_MAX {
            let cause = format!("{length} bytes cannot be written to {range} in one request");
            return Err(self.invalid(Operation::PutPage, cause));
        }
        let epoch = fence.map(|fence| epoch(self, Operation::PutPage, fence)).transpose()?;
        let attempt = || async {
            let options = PageBlobClientUploadPagesOptions {
                if_sequence_number_equal_to: epoch,
                lease_id: fence.map(|fence| fence.lease.0.clone()),
                timeout: wire.write_timeout(),
                transactional_content_crc64: Some(data.crc().to_le_bytes().to_vec()),
                ..Default::default()
            };
            let body: RequestContent<_, _> = data.bytes().clone().into();
            let call = wire.pages.upload_pages(body, length, on_wire(range), Some(options));
            let headers = wire.upload(range.bytes(), call).await?;
            match checksum(&headers) {
                Some(crc) if crc != data.crc() => Err(Fault::in_answer(
                    Outcome::Wrong,
                    &headers,
                    format!("{range} were stored with another checksum"),
                )),
                _ => Ok(()),
            }
        };
        self.change_pages(Operation::PutPage, Some(range.bytes()), attempt)
            .await
            .with_receipt()
            .map(|((), receipt)| receipt)
    }

    pub(crate) async fn clear_pages(&self, range: PageRange, fence: Option<&Fence>) -> Result<Receipt, StoreError> {
        let (mut left, mut receipt) = (vec![range], Receipt::default());
        while let Some(part) = left.pop() {
            let settled = self.clear_part(part, fence).await;
            // A clear that ran out of time may still be applied, whatever becomes of its halves.
            receipt += settled.receipt;
            match (settled.result, halves(part)) {
                (Ok(()), _) => {}
                (Err(error), Some([first, second])) if error.kind() == ErrorKind::TimedOut => {
                    left.extend([second, first]);
                }
                (Err(error), _) => return Err(error),
            }
        }
        Ok(receipt)
    }

    async fn clear_part(&self, range: PageRange, fence: Option<&Fence>) -> Settled<()> {
        let wire = self.wire();
        let operation = Operation::ClearPages { long: halves(range).is_some() };
        let epoch = match fence.map(|fence| epoch(self, operation, fence)).transpose() {
            Ok(epoch) => epoch,
            Err(error) => return Settled { result: Err(error), receipt: Receipt::default() },
        };
        let attempt = || async {
            let options = PageBlobClientClearPagesOptions {
                if_sequence_number_equal_to: epoch,
                lease_id: fence.map(|fence| fence.lease.0.clone()),
                timeout: wire.write_timeout(),
                ..Default::default()
            };
            wire.typed(wire.pages.clear_pages(on_wire(range), Some(options))).await.map(drop)
        };
        self.change_pages(operation, Some(0), attempt).await
    }
}

/// A range as the SDK takes it.
pub(crate) fn on_wire(range: PageRange) -> HttpRange {
    HttpRange::new(range.start().bytes(), range.bytes())
}

/// The epoch of `fence` as the service takes it: a sequence number.
pub(crate) fn epoch(blob: &PageBlob, operation: Operation, fence: &Fence) -> Result<i64, StoreError> {
    i64::try_from(fence.epoch).map_err(|_| too_high(blob, operation, fence.epoch))
}

/// The refusal of an epoch that no sequence number can be.
pub(crate) fn too_high(blob: &PageBlob, operation: Operation, epoch: u64) -> StoreError {
    blob.invalid(operation, format!("epoch {epoch} is higher than a sequence number goes"))
}

/// Both halves of a range that is long enough to be cleared in two requests, should one take too long.
fn halves(range: PageRange) -> Option<[PageRange; 2]> {
    let half = Pages::new(range.pages().count() / 2);
    if range.bytes() <= REQUEST_BYTES_MAX {
        return None;
    }
    let middle = range.start() + half;
    Some([PageRange::new(range.start(), middle)?, PageRange::new(middle, range.end())?])
}
