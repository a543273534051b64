//! As much of Azure Resource Manager as snapshots of managed disks need: reading, making and deleting snapshots and disks, and
//! leave to use their data.
//!
//! [`Arm`] is the whole of it. There is no official client for disks, so the requests are made by hand on the pipeline of
//! the official SDK, which never retries; `wire` does, because every request made here ends in the same state however often
//! it arrives. Operations that the service finishes later are waited for (`waiting`), and an answer that names another URL
//! is followed only where our token may go: to the endpoint itself.
//!
//! Failures are [`StoreError`](pageferry_store::StoreError)s. Nothing that is a password (token, shared access signature) is part of
//! any `Debug`, `Display` or error.

mod body;
mod client;
mod errors;
mod fault;
mod operation;
mod options;
mod resource_id;
mod resources;
mod scrub;
mod token;
mod transport;
mod waiting;
mod wire;

pub use client::Arm;
pub use options::Options;
pub use resource_id::{Kind, ResourceId, ResourceIdError};
pub use resources::{Access, CopyKind, Disk, Granted, NewDisk, NewSnapshot, Origin, Snapshot};
pub use token::FixedToken;

#[cfg(test)]
mod tests;
