//! Managed disks: found by their resource ids, and read through their incremental snapshots.
//!
//! [`ManagedDisk`] is a source: the [`Chain`] says which snapshots there are and in which order, and [`Grants`] owns the SAS
//! through which they are read. [`UrlPair`] is a source for those who have nothing but URLs. [`UploadDisk`] is a new disk, written by
//! us.

pub mod chain;
pub mod copy;
pub mod disk;
mod endpoint;
pub mod grants;
pub mod pair;
#[cfg(test)]
mod sample;
mod scene;
pub mod take;
pub mod upload;

pub use chain::{Chain, Link};
pub use copy::{Copied, CopyOrder};
pub use disk::{ManagedDisk, Reading};
pub use grants::{Grants, Terms};
pub use pair::UrlPair;
pub use scene::Scene;
pub use take::Naming;
pub use upload::{Order, UploadDisk};
