//! The third role: what can be written, and knows neither leases nor sequence numbers.

use std::future::Future;

use pageferry_core::PageRange;

use crate::error::StoreError;
use crate::memory::Memory;
use crate::role::{PageData, Receipt, Source};

/// Writes what cannot be fenced: the upload of a managed disk. Nothing keeps out a write that arrives late, so all writes of
/// one upload carry the bytes of one immutable picture, and nobody may use the disk before the last of them has arrived.
pub trait Unfenced: Source {
    /// Writes `data` to `range`, at most 4 MiB; the service checks the checksum before it applies it.
    fn write_unfenced(
        &self,
        range: PageRange,
        data: &PageData,
    ) -> impl Future<Output = Result<Receipt, StoreError>> + Send;

    /// Clears `range`, however long.
    fn clear_unfenced(&self, range: PageRange) -> impl Future<Output = Result<Receipt, StoreError>> + Send;
}

impl Unfenced for Memory {
    async fn write_unfenced(&self, range: PageRange, data: &PageData) -> Result<Receipt, StoreError> {
        self.put(range, data);
        Ok(Receipt { attempts: 1, ..Receipt::default() })
    }

    async fn clear_unfenced(&self, range: PageRange) -> Result<Receipt, StoreError> {
        self.wipe(range);
        Ok(Receipt { attempts: 1, ..Receipt::default() })
    }
}
