//! Set Blob Properties (with resize and sequence number), Set Blob Metadata, Set Blob Tier.

use crate::auth::Need;
use crate::model::Model;
use crate::model::blob::Blob;
use crate::model::call::{Admitted, Call};
use crate::model::conditions::{Conditions, sequence};
use crate::model::create::changed;
use crate::model::fault::Fault;
use crate::model::input;
use crate::pages::PAGE;
use crate::response::Response;

/// Premium tiers and the largest blob each holds, in GiB.
const TIERS: [(&str, u64); 11] = [
    ("P4", 32),
    ("P6", 64),
    ("P10", 128),
    ("P15", 256),
    ("P20", 512),
    ("P30", 1 << 10),
    ("P40", 2 << 10),
    ("P50", 4 << 10),
    ("P60", 8 << 10),
    ("P70", 16 << 10),
    ("P80", 32 << 10),
];

/// The tier that blobs of standard accounts are said to have.
const INFERRED_TIER: &str = "Hot";

/// What becomes of the sequence number.
#[derive(Debug, Clone, Copy)]
enum Sequence {
    Keep,
    Max(u64),
    Update(u64),
    Increment,
}

/// The tier of a blob that was given none: that of a standard account, or the smallest premium one that it fits.
pub(crate) fn inferred_tier(premium: bool, size: u64) -> &'static str {
    if !premium {
        return INFERRED_TIER;
    }
    let fits = TIERS.iter().find(|(_, gib)| size <= gib << 30).or(TIERS.last());
    fits.map_or(INFERRED_TIER, |(name, _)| name)
}

impl Model {
    pub(crate) fn set_properties(&mut self, call: &Call<'_>) -> Result<Response, Fault> {
        let request = call.request;
        input::on_base(request)?;
        let size = input::blob_length(request)?;
        let action = Sequence::of(call)?;
        let http = input::http_fields(request);
        let lease = input::lease_id(request)?;
        let conditions = Conditions::of(request)?;
        let proof = self.admit(call, Need::object("w"))?;
        let variants = self.config.variants.clone();
        let blob = self.changeable(call, &proof, lease.as_deref(), &conditions)?;
        let sequence = action.apply(blob.state.sequence)?;
        if let (Some(size), Some(tier)) = (size, &blob.state.tier)
            && TIERS.iter().any(|(name, gib)| name == tier && size > gib << 30)
        {
            return Err(Fault::of("ContentLengthLargerThanTierLimit"));
        }
        if let Some(size) = size {
            if size < blob.state.size && variants.shrink_reported {
                blob.clear(size / PAGE, blob.state.size / PAGE, variants.clear_of_empty_reported);
            } else if size < blob.state.size {
                blob.state.pages.forget(size / PAGE, blob.state.size / PAGE);
            } else if size > blob.state.size && variants.growth_reported {
                blob.clear(blob.state.size / PAGE, size / PAGE, true);
            }
            blob.state.size = size;
        }
        // The HTTP properties are one set: naming one takes away those not named. A call that only resizes or counts
        // leaves them alone.
        if http.is_some() || (size.is_none() && matches!(action, Sequence::Keep)) {
            blob.state.http = http.unwrap_or_default();
        }
        blob.state.sequence = sequence;
        let response = self.touched(call, &proof)?;
        let sequence = sequence.to_string();
        Ok(response.with("x-ms-blob-sequence-number", sequence))
    }

    pub(crate) fn set_metadata(&mut self, call: &Call<'_>) -> Result<Response, Fault> {
        let request = call.request;
        input::on_base(request)?;
        let metadata = input::metadata(request)?;
        let lease = input::lease_id(request)?;
        let conditions = Conditions::of(request)?;
        let proof = self.admit(call, Need::object("w"))?;
        let blob = self.changeable(call, &proof, lease.as_deref(), &conditions)?;
        blob.state.metadata = metadata.unwrap_or_default();
        Ok(self.touched(call, &proof)?.with("x-ms-request-server-encrypted", "true"))
    }

    pub(crate) fn set_tier(&mut self, call: &Call<'_>) -> Result<Response, Fault> {
        let request = call.request;
        input::on_base(request)?;
        if request.get("x-ms-access-tier").is_none() {
            return Err(Fault::missing("x-ms-access-tier"));
        }
        let lease = input::lease_id(request)?;
        let tier = self.requested_tier(call, 0)?;
        let proof = self.admit(call, Need::object("w"))?;
        let blob = self.changeable(call, &proof, lease.as_deref(), &Conditions::default())?;
        let rank = |tier: &Option<String>| TIERS.iter().position(|(name, _)| tier.as_deref() == Some(name));
        let (old, new) = (rank(&blob.state.tier), rank(&tier));
        if old > new {
            return Err(Fault::of("CannotChangeToLowerTier"));
        }
        if new.is_some_and(|new| blob.state.size > TIERS[new].1 << 30) {
            return Err(Fault::of("BlobTierInadequateForContentLength"));
        }
        blob.state.tier = tier;
        Ok(Response::new(200))
    }

    /// Whether an account has tiers.
    pub(crate) fn is_premium(&self, account: &str) -> bool {
        self.config.accounts.get(account).is_some_and(|account| account.premium)
    }

    /// The tier a request names, if the account has tiers and the blob fits.
    pub(crate) fn requested_tier(&self, call: &Call<'_>, size: u64) -> Result<Option<String>, Fault> {
        let Some(text) = call.request.get("x-ms-access-tier") else { return Ok(None) };
        let premium = self.is_premium(&call.target.account);
        match TIERS.iter().find(|(name, _)| *name == text) {
            Some((_, gib)) if premium && size > gib << 30 => Err(Fault::of("BlobTierInadequateForContentLength")),
            Some(_) if premium => Ok(Some(text.to_owned())),
            // azcopy repeats to the target what it read from a standard source, which is the inferred tier.
            None if !premium && text == INFERRED_TIER => Ok(None),
            _ => Err(Fault::of("InvalidBlobTier")),
        }
    }

    /// Operations of block and append blobs: whatever is stored here is not one of those.
    pub(crate) fn wrong_type(&mut self, call: &Call<'_>) -> Result<Response, Fault> {
        let proof = self.admit(call, Need::object("w"))?;
        self.world.blob_mut(call, &proof)?;
        Err(Fault::of("InvalidBlobType"))
    }

    /// The base blob, if it may be changed now.
    pub(crate) fn changeable(
        &mut self,
        call: &Call<'_>,
        proof: &Admitted,
        lease: Option<&str>,
        conditions: &Conditions,
    ) -> Result<&mut Blob, Fault> {
        let blob = self.world.blob_mut(call, proof)?;
        if blob.pending.is_some() {
            return Err(Fault::of("PendingCopyOperation"));
        }
        if !call.mode.admitted {
            let held = || blob.lease.check_write(lease, call.now);
            self.config.variants.check(held, || conditions.for_write(&blob.state), || Ok(()))?;
        }
        Ok(blob)
    }

    /// Notes a change of properties, which also makes the blob forget that it was once a copy.
    fn touched(&mut self, call: &Call<'_>, proof: &Admitted) -> Result<Response, Fault> {
        let blob = self.world.blob_mut(call, proof)?;
        blob.state.etag = self.ids.etag(call.now);
        blob.state.modified = call.now;
        blob.state.copy = None;
        blob.lease.written(call.now);
        Ok(changed(&blob.state, 200))
    }
}

impl Sequence {
    fn of(call: &Call<'_>) -> Result<Self, Fault> {
        const ACTION: &str = "x-ms-sequence-number-action";
        const NUMBER: &str = "x-ms-blob-sequence-number";
        let number = match call.request.get(NUMBER) {
            None => None,
            Some(text) => Some(sequence(text).ok_or_else(|| Fault::header(NUMBER, text))?),
        };
        let Some(action) = call.request.get(ACTION) else {
            return if number.is_some() { Err(Fault::missing(ACTION)) } else { Ok(Self::Keep) };
        };
        match (action.to_ascii_lowercase().as_str(), number) {
            ("max", Some(number)) => Ok(Self::Max(number)),
            ("update", Some(number)) => Ok(Self::Update(number)),
            ("increment", None) => Ok(Self::Increment),
            ("increment", Some(number)) => Err(Fault::header(NUMBER, &number.to_string())),
            ("max" | "update", None) => Err(Fault::missing(NUMBER)),
            _ => Err(Fault::header(ACTION, action)),
        }
    }

    fn apply(self, current: u64) -> Result<u64, Fault> {
        match self {
            Self::Keep => Ok(current),
            Self::Max(number) => Ok(current.max(number)),
            Self::Update(number) => Ok(number),
            Self::Increment if i64::try_from(current + 1).is_err() => Err(Fault::of("SequenceNumberIncrementTooLarge")),
            Self::Increment => Ok(current + 1),
        }
    }
}
