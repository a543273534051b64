//! A local page-blob service that one can trust.
//!
//! It speaks the protocol of Azure page blobs on loopback: leases, conditions, sequence numbers, snapshots, page lists
//! and, above all, true differences between snapshots, which no other emulator has. It keeps to itself on purpose: it
//! shares no code with the engine it tests, so that a misreading of the protocol cannot cancel itself out.
//!
//! Beside the blobs it has managed disks: a resource manager with disks, snapshots, grants and copies to other regions
//! ([`ArmConfig`], [`Limits`]), and the endpoints where their data is read and written through the URL of a grant.
//! What a machine does to its disk is asked of [`Service::write_disk`] and its neighbours.
//!
//! [`Model`] is the service as a pure state machine, [`Service`] adds a clock and a journal, and [`Emulator`] puts it
//! behind a socket. What goes wrong is a script ([`faults`]), and what is not known of the real service is a switch
//! ([`Variants`]).

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::cast_possible_truncation))]

mod admin;
pub mod auth;
mod clock;
pub mod diff;
mod digest;
pub mod faults;
mod http;
mod journal;
mod model;
pub mod pages;
mod random;
mod request;
mod response;
mod server;
mod service;
mod time;
mod vhd;
mod xml;

pub use auth::sas;
pub use clock::{Clock, ManualClock, ShiftedClock, SystemClock};
pub use digest::{crc64, crc64_header};
pub use model::Model;
pub use model::arm::config::{ArmConfig, Limits};
pub use model::arm::error::ArmError;
pub use model::arm::{ActiveGrant, DiskImage};
pub use model::config::{Account, Config, CopyPace};
pub use model::variants::{CheckOrder, Variants};
pub use request::{Payload, Request};
pub use response::{Body, Response};
pub use server::{Emulator, Options, Running};
pub use service::{OperationStats, Service, Stats};
pub use time::{TICKS_PER_SECOND, Timestamp};

/// The conventional development account, known to every client.
pub const DEV_ACCOUNT: &str = "devstoreaccount1";

/// The token that the resource manager takes from everybody: public, and worth nothing anywhere else.
pub const DEV_TOKEN: &str = "pageferry-emulator";

/// The key of [`DEV_ACCOUNT`]: public, and worth nothing anywhere else.
pub const DEV_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
