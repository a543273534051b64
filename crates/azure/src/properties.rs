//! What a blob's headers say about it.

use azure_core::http::headers::Headers;
use pageferry_core::{Etag, Metadata, Pages};
use pageferry_store::{LeaseState, Properties};

use crate::fault::{Fault, Outcome, text};

const METADATA_PREFIX: &str = "x-ms-meta-";

/// Reads the answer to Get Blob Properties.
pub(crate) fn properties(headers: &Headers) -> Result<Properties, Fault> {
    match text(headers, "x-ms-blob-type").as_deref() {
        None | Some("PageBlob") => {}
        Some(other) => {
            return Err(Fault::in_answer(Outcome::Unmakeable, headers, format!("it is a {other}, not a page blob")));
        }
    }
    let lease = match text(headers, "x-ms-lease-state").as_deref() {
        None | Some("available") => LeaseState::Available,
        Some("leased") => LeaseState::Leased,
        Some("expired") => LeaseState::Expired,
        Some("breaking") => LeaseState::Breaking,
        Some("broken") => LeaseState::Broken,
        Some(other) => return Err(wrong(headers, format!("the lease is in an unknown state, {other}"))),
    };
    Ok(Properties {
        size: size(headers, "content-length")?,
        etag: etag(headers)?,
        sequence: match text(headers, "x-ms-blob-sequence-number") {
            Some(number) => number.parse().map_err(|_| wrong(headers, "the sequence number is not a number"))?,
            None => 0,
        },
        lease,
        created: text(headers, "x-ms-creation-time").unwrap_or_default(),
        metadata: metadata(headers),
        premium: text(headers, "x-ms-access-tier").and_then(|tier| premium(&tier)),
        copy_pending: text(headers, "x-ms-copy-status").as_deref() == Some("pending"),
    })
}

/// Premium page blobs have tiers like `P10` (REST: Set Blob Tier).
fn premium(tier: &str) -> Option<u8> {
    tier.strip_prefix('P')?.parse().ok()
}

/// The entity tag every answer about a blob carries.
pub(crate) fn etag(headers: &Headers) -> Result<Etag, Fault> {
    let tag = text(headers, "etag").ok_or_else(|| wrong(headers, "the answer has no entity tag"))?;
    Ok(Etag::new(&tag))
}

/// A size in whole pages.
pub(crate) fn size(headers: &Headers, name: &'static str) -> Result<Pages, Fault> {
    let bytes = text(headers, name).and_then(|value| value.parse().ok());
    let bytes: u64 = bytes.ok_or_else(|| wrong(headers, format!("the answer has no size ({name})")))?;
    Pages::from_bytes(bytes).ok_or_else(|| wrong(headers, format!("{bytes} bytes are no whole number of pages")))
}

fn metadata(headers: &Headers) -> Metadata {
    let named = |(name, value): (&azure_core::http::headers::HeaderName, &azure_core::http::headers::HeaderValue)| {
        let name = name.as_str().strip_prefix(METADATA_PREFIX)?;
        Some((name.to_ascii_lowercase(), value.as_str().to_owned()))
    };
    headers.iter().filter_map(named).collect()
}

fn wrong(headers: &Headers, cause: impl AsRef<str>) -> Fault {
    Fault::in_answer(Outcome::Wrong, headers, cause)
}
