//! How fast a service may be asked, where nobody says how fast.
//!
//! A storage account and a blob have limits: so many requests and so many bytes in a second. They are not announced, they
//! move, and what exceeds them is refused. A [`Pacer`] stands before one endpoint; every attempt of a request takes its
//! [`Turn`] there and tells how it went. What a turn waits for is decided by a [`Law`]:
//!
//! - [`Adaptive`] finds the limit, holds it and follows it. It has a [`window`] of requests in flight, which grows until
//!   answers take longer, and a [`rate`] of requests and one of bytes, known since the first refusal.
//! - [`Fixed`] keeps a number in flight.
//! - [`Capped`] keeps another law below so many bytes a second.

pub mod adaptive;
pub mod history;
pub mod law;
pub mod pacer;
pub mod rate;
pub mod window;

pub use adaptive::Adaptive;
pub use law::{Attempt, Capped, Ended, Fixed, Law};
pub use pacer::{Pacer, Turn};
