//! Whether a step fills gaps, and how long ones: decided once, before its first word on the target, which says so.
//!
//! What is filled ([`pageferry_core::fill`]) follows from the lists and from one number. A run that goes on with a step
//! takes that number from the step's mark, so that both fill alike and the gate can tell.

use pageferry_core::Pages;
use pageferry_core::limits::Limits;
use pageferry_core::lineage::State;
use pageferry_core::next::Start;
use pageferry_store::Source;
use std::sync::Arc;

use crate::error::ReplicateError;
use crate::listing::Listing;
use crate::look::Found;
use crate::planning::source_difference;
use crate::run::Task;
use crate::take::Touched;

/// When gaps between writes are filled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fill {
    /// How many runs a difference must have. One that is sent within a second is not worth listing what is allocated.
    pub runs_min: usize,
    /// The longest gap in pages; `None` for what pays at the target's limits.
    pub gap_max: Option<Pages>,
}

impl Fill {
    /// Where it pays.
    pub const AUTO: Fill = Fill { runs_min: 500, gap_max: None };
}

/// What was decided.
#[derive(Debug)]
pub struct Filling {
    /// The longest gap to fill; none for none.
    pub gap_max: Pages,
    /// The source's difference, where it had to be looked into.
    pub difference: Option<Listing>,
}

impl Filling {
    /// No gap is filled.
    pub const NONE: Filling = Filling { gap_max: Pages::ZERO, difference: None };
}

/// Decides for `task` on the target that was `found`.
///
/// Only a step from one snapshot to another has gaps that are known to be unchanged, and only on a target that is known to
/// equal its newest point.
///
/// # Errors
/// Of the listing.
pub async fn filling<S: Source>(
    source: &Arc<S>,
    found: &Found,
    task: &Task,
    touched: Touched,
    fill: Option<Fill>,
) -> Result<Filling, ReplicateError> {
    if task.picture.since.is_none() {
        return Ok(Filling::NONE);
    }
    match (&task.start, touched, &found.view.state, fill) {
        (Start::Resume(_), Touched::Since, Some(State::Applying(mark)), _) => {
            Ok(Filling { gap_max: mark.gap, difference: None })
        }
        (Start::Clean, Touched::No, _, Some(fill)) => {
            let mut difference = source_difference(source, &task.picture);
            let pays = difference.has_runs(fill.runs_min).await?;
            let gap_max = if pays { fill.gap_max.unwrap_or_else(|| limits(Some(found)).worth()) } else { Pages::ZERO };
            Ok(Filling { gap_max, difference: Some(difference) })
        }
        _ => Ok(Filling::NONE),
    }
}

/// The limits of the target. One that does not exist yet is taken for a standard one.
pub fn limits(found: Option<&Found>) -> Limits {
    Limits::of(found.and_then(|found| found.properties.premium))
}
