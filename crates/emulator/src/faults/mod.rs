//! Faults, scripted: what goes wrong is data, and when it does is decided by a pure function of the script and of the
//! requests that came before.
//!
//! A [`FaultScript`] has rules and limits. [`FaultState`] holds a script against the requests that arrive and says
//! what becomes of each, its [`Fate`]. [`Service::deliver`](crate::Service::deliver) carries that out as far as the
//! state of the service is concerned and gives a [`Delivery`], which the HTTP skin makes true on the socket and a test
//! in the same process can look at.

mod alter;
mod build;
mod delivery;
mod limits;
mod operation;
mod script;
mod state;

pub use delivery::{Break, Delivery};
pub use operation::{Operation, Select};
pub use script::{
    Action, Applied, Delay, End, Event, FaultScript, Foreign, Keep, Limit, Loss, Match, Pace, Per, PowerLoss, Refusal,
    Rule, Storm, When, Which,
};
pub use state::{Fate, FaultReport, FaultState, Tally};

pub(crate) use alter::{corrupt_request, part_of, time_allowed, wrong_hash};
pub(crate) use state::Place;
