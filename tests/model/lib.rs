//! A bounded exhaustive model of the step protocol (`design.md` §5), explored with `stateright`.
//!
//! **What is modelled.** A target blob with two pages, lease, sequence number, metadata and points ([`blob`]); a
//! source of four snapshots, one of which may be deleted at any time ([`source`]); two processes that take the target,
//! by renewing the lease its words name where that can be, raise the epoch, quiesce, mark, write pages in any order,
//! say watermarks, pass the gate, seal, snapshot and go on to the next step ([`engine`], [`run`]); and everything that
//! may come between any two requests ([`state`], [`world`]): a process is killed and started again, interrupted, or
//! simply not scheduled for as long as it takes others to finish; a lease runs out, and may be renewed late; a request
//! is applied and its answer lost, or its sender gives up and it arrives at *any* later time, or it arrives twice;
//! somebody writes a page without a lease; the service checks a request now and applies it later.
//!
//! **What must hold** ([`world::POINTS`] and the constants beside it): every point equals the source snapshot it
//! names, a base that passes for clean equals its newest point, and, where watched, a process that is left alone
//! always recovers.
//!
//! **The variants** ([`variants`]): the protections are switches ([`rules`]). With all of them everything holds; each
//! weakened variant breaks in the smallest world given for it, and not where one thing less may happen; some
//! protections stand in for each other and are listed as such. [`rules::Rules::FULL`] is the evidence of note 0004
//! with what it takes to make that true: no request of ours may grant a lease that words name once somebody else may
//! have written (`G5`, `G6`), and whoever finds an ended lease owes the wait even if it stops before it has waited
//! (`G7`).
//!
//! ```text
//! cargo test -p pageferry-model                                 the default bounds, about a minute
//! cargo run --release -p pageferry-model                        the same as a table
//! cargo run --release -p pageferry-model -- show G5             a history that breaks a variant
//! cargo run --release -p pageferry-model -- full                the full bound: 80 million states
//! ```
//!
//! In a history an id is what it is called *before* its line: ids are renamed after each step.
//!
//! **What is left out**, and why: seeds (the model starts after one), sizes, and listings in windows, which are read
//! together with the mark that precedes them, when the least has happened; a tracker never lies and no write is
//! swallowed, so the gate catches only our own mistakes here and has no need to read; waiting for somebody's lease is
//! a process that is not scheduled; somebody with a lease of their own is a run that dies before its epoch; reads are
//! answered or the process fails; the keeper's renewals are answered. Time is order only: any request may arrive after
//! the quiet period, which covers just those that the service has let in before. On a service that checks early a
//! foreign write without a lease can slip between the check of Snapshot Blob and the snapshot, and a copy of an
//! *answered* request can outlive its run (`R1 silent`): no client can help that.
//!
//! **To grow it**: give [`rules::Rules`] a switch, [`engine::Phase`] a phase for each request the code sends, in the
//! order of the code, and say in [`run`] what each answer does. Look at `states` before and after: a field that is not
//! reset when it no longer matters doubles the world. Then add a variant without the protection, and only believe the
//! switch once that variant breaks.

pub mod blob;
pub mod check;
pub mod engine;
pub mod rules;
pub mod run;
pub mod source;
pub mod state;
pub mod variants;
pub mod world;
