//! Whole operations on disks: a step, a chain of steps, a restore, a comparison.
//!
//! [`step`] is the story: one source snapshot becomes one point of the target. Everything else serves it ([`look`],
//! [`take`], [`listing`], [`planning`], [`filling`], [`gate`], [`seal`]) or stands beside it ([`sync`], [`restore`], [`image`],
//! [`upload`], [`verify`], [`adopt`]). Nothing here knows sockets or terminals; progress is a stream of [`Event`]s.

pub mod adopt;
mod apply;
pub mod compare;
pub mod engine;
pub mod error;
pub mod event;
pub mod filling;
pub mod framed;
pub mod gate;
pub mod image;
pub mod lease;
pub mod listing;
pub mod look;
pub mod machine;
pub mod options;
pub mod plan;
pub mod planning;
mod pour;
pub mod restore;
mod run;
pub mod seal;
pub mod settle;
pub mod step;
pub mod sync;
pub mod take;
pub mod upload;
pub mod verify;

pub use engine::Engine;
pub use error::{Class, ReplicateError};
pub use event::{Event, Events, StepReport};
pub use filling::Fill;
pub use framed::Framed;
pub use machine::{Machine, ThisMachine};
pub use options::{Choice, Options};
