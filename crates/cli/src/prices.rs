//! What things cost, by the user's own table: prices differ by region, by contract and by year, so none are built in.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure};

const GIB: f64 = 1_073_741_824.0;

/// A price table. What it does not name costs nothing that could be told, and is said to be left out.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prices {
    /// What the amounts are in: `EUR`.
    currency: String,
    /// Ten thousand reads of a page blob or of a managed snapshot.
    reads_per_10000: Option<f64>,
    /// Ten thousand writes of a page blob.
    writes_per_10000: Option<f64>,
    /// A GiB from the one region to the other.
    transfer_per_gib: Option<f64>,
    /// An hour of the machine that runs pageferry.
    machine_per_hour: Option<f64>,
    /// A GiB of a page blob or its snapshots for a month.
    page_blob_gib_month: Option<f64>,
    /// A GiB of a managed snapshot for a month.
    managed_snapshot_gib_month: Option<f64>,
}

/// What is paid for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Bill {
    pub(crate) reads: u64,
    pub(crate) writes: u64,
    pub(crate) moved_bytes: u64,
    pub(crate) machine_secs: f64,
    /// Kept in page blobs.
    pub(crate) blob_bytes: u64,
    /// Kept in managed snapshots.
    pub(crate) snapshot_bytes: u64,
}

/// An amount of money.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Money {
    pub(crate) currency: String,
    /// Once.
    pub(crate) once: f64,
    /// For each month that what was made is kept.
    pub(crate) monthly: f64,
    /// What the table has no price for.
    pub(crate) left_out: Vec<&'static str>,
}

impl Prices {
    /// The table in `file`.
    ///
    /// # Errors
    /// There is none that could be read.
    pub(crate) fn read(file: &Path) -> Result<Prices, Failure> {
        let bad = |why: String| {
            let what = format!("{} is no price table: {why}; docs/operations.md has an example", file.display());
            Failure::new(Exit::Configuration, what)
        };
        let text = std::fs::read_to_string(file).map_err(|error| bad(error.to_string()))?;
        let prices: Prices = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
        let all = [
            prices.reads_per_10000,
            prices.writes_per_10000,
            prices.transfer_per_gib,
            prices.machine_per_hour,
            prices.page_blob_gib_month,
            prices.managed_snapshot_gib_month,
        ];
        match all.into_iter().flatten().find(|price| !price.is_finite() || *price < 0.0) {
            Some(price) => Err(bad(format!("{price} is no price"))),
            None => Ok(prices),
        }
    }

    /// What `bill` comes to.
    #[allow(clippy::cast_precision_loss, reason = "no bill is exact to the byte")]
    pub(crate) fn of(&self, bill: &Bill) -> Money {
        let gib = |bytes: u64| bytes as f64 / GIB;
        let once = [
            (self.reads_per_10000, bill.reads as f64 / 10_000.0, "reads"),
            (self.writes_per_10000, bill.writes as f64 / 10_000.0, "writes"),
            (self.transfer_per_gib, gib(bill.moved_bytes), "transfer"),
            (self.machine_per_hour, bill.machine_secs / 3600.0, "machine"),
        ];
        let monthly = [
            (self.page_blob_gib_month, gib(bill.blob_bytes), "page blobs"),
            (self.managed_snapshot_gib_month, gib(bill.snapshot_bytes), "managed snapshots"),
        ];
        let mut left_out = Vec::new();
        let mut sum = |items: &[(Option<f64>, f64, &'static str)]| {
            let mut sum = 0.0;
            for (price, amount, what) in items.iter().filter(|(_, amount, _)| *amount > 0.0) {
                match price {
                    Some(price) => sum += price * amount,
                    None => left_out.push(*what),
                }
            }
            sum
        };
        let (once, monthly) = (sum(&once), sum(&monthly));
        Money { currency: self.currency.clone(), once, monthly, left_out }
    }
}

impl std::fmt::Display for Money {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Money { currency, once, monthly, left_out } = self;
        write!(f, "{once:.4} {currency}, and {monthly:.4} a month")?;
        if left_out.is_empty() { Ok(()) } else { write!(f, ", without {}", left_out.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bill_is_the_sum_of_what_has_a_price_and_names_what_has_none() {
        let prices = Prices {
            currency: "EUR".to_owned(),
            writes_per_10000: Some(0.5),
            transfer_per_gib: Some(0.02),
            page_blob_gib_month: Some(0.05),
            ..Prices::default()
        };
        let bill = Bill { reads: 1, writes: 20_000, moved_bytes: 10 << 30, blob_bytes: 2 << 30, ..Bill::default() };
        let money = prices.of(&bill);
        assert!((money.once - 1.2).abs() < 1e-9, "{money:?}");
        assert!((money.monthly - 0.1).abs() < 1e-9, "{money:?}");
        assert_eq!(money.left_out, ["reads"]);
        assert_eq!(money.to_string(), "1.2000 EUR, and 0.1000 a month, without reads");
    }
}
