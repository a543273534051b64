//! The vocabulary of page-blob replication and its laws: pages, changes, plans, watermarks, lineage.
//!
//! Everything here is pure and total: no I/O, no clock, no async, nothing that knows HTTP. Positions and lengths are
//! [`Pages`], ranges are half-open, and the wire's inclusive byte ranges are converted once, in [`page`].
//!
//! Start with [`change`], which says what a difference is, [`draft`], which decides what to do about it, and [`plan`], which
//! cuts that into requests.

pub mod change;
pub mod draft;
pub mod fill;
pub mod limits;
pub mod lineage;
pub mod names;
pub mod next;
pub mod page;
pub mod page_list;
pub mod plan;
pub mod vhd;
pub mod walk;
pub mod watermark;
pub mod window;
pub mod words;

pub use change::{Canon, Change, Diff, DiffError, InOrder, Kind};
pub use names::{Etag, Metadata, SnapshotId};
pub use page::{PAGE_BYTES, PageRange, Pages};
