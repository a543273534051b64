//! What the engine asks of a page-blob service, and nothing about how it is asked.
//!
//! [`Source`] reads: properties, snapshots, page lists and differences, pages. [`Target`] adds every operation that
//! changes a blob. They are two roles so that writing to a disk that is being backed up is not a mistake one can make.
//! [`Unfenced`] is a third, for what is written only once and cannot be fenced.
//! [`StoreError`] says what the caller can do about a failure. [`Memory`] is both roles without a service; the
//! wrappers in [`slowed`] and [`faulty`] change how a store behaves.

pub mod buffers;
pub mod crc;
pub mod error;
pub mod faulty;
pub mod memory;
pub mod pass;
pub mod role;
pub mod slowed;
pub mod unfenced;
pub mod wrap;

pub use error::{ErrorKind, StoreError};
pub use memory::Memory;
pub use pass::Pass;
pub use role::{
    Answer, Ask, Fence, LeaseId, LeaseState, PageData, Properties, Receipt, Snapshot, Source, Target, View,
};
pub use unfenced::Unfenced;
