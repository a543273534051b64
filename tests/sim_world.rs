//! Worlds made from seeds: the real engine, the model of the service, and everything that can go wrong between them, in
//! one process and in paused time.
//!
//! A seed decides the disk, its use, the processes that back it up (one after the other and at once), what becomes of
//! every request of theirs, what others do to the target meanwhile, and the habits of the service. After each round and
//! at the end every point is compared with the source snapshot that it names. Then the faults stop, and a healthy
//! process must bring the target up to date, or say rightly why it cannot. The same seed makes the same world again, to
//! the last byte: time and chance of the engine are its [`Machine`](pageferry_replicate::Machine), which is handed in.

mod dice;
mod disk;
mod draw;
mod life;
mod machine;
mod many;
mod sabotage;
mod site;
mod wire;

pub use dice::Dice;
pub use draw::{Draw, Fault, Focus, Scale};
pub use life::{Report, live};
pub use many::{Totals, many, wanted};
pub use sabotage::Sabotage;
