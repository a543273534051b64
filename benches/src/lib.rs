//! What the benches share: blobs to work on, what a process used, and one way to report.

pub mod dice;
pub mod moving;
pub mod raw;
pub mod service;
pub mod table;
pub mod tls;
pub mod usage;

pub use service::blob;
pub use table::Table;
pub use usage::{Used, used};

/// Bytes as MiB.
#[expect(clippy::cast_precision_loss, reason = "for people")]
pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}
