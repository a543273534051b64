//! Page blobs of the Azure Blob service, as a `Source` and a `Target`, on the official SDK.
//!
//! [`PageBlob`] is the whole of it: an [`Address`], a [`Credential`] and [`Options`] in, the two roles of
//! `pageferry-store` out. The SDK's typed clients make every request they can express; page lists, ranged reads and
//! List Blobs go through the SDK's pipeline by hand, because they need what the typed calls do not offer (`prevsnapshot`,
//! bodies parsed as they arrive, checksums of ranges).
//!
//! The SDK never retries. [`retry`](RetryPolicy) does, because only the operation knows whether asking twice is harmless;
//! `errors` is the one table from the service's answers to [`ErrorKind`](pageferry_store::ErrorKind).
//!
//! Nothing that is a password (signature, key, token, previous-snapshot URL) is part of any `Debug`, `Display` or error.

mod address;
mod chain;
mod connection_string;
mod copy;
mod credentials;
mod errors;
mod fault;
mod lane;
mod list_blobs;
mod list_ranges;
mod operation;
mod options;
mod page_blob;
mod pages;
mod pass;
mod properties;
mod read;
mod retry;
mod scratch;
mod scrub;
mod shared_key;
mod target;
mod transport;
mod wire;

pub use address::{Address, AddressError};
pub use connection_string::{ConnectionString, ConnectionStringError};
pub use copy::{CopyPhase, CopyState};
pub use credentials::{AuthMode, Credential, CredentialError, Flags, Side, identity};
pub use options::{Clock, Options};
pub use page_blob::PageBlob;
pub use retry::RetryPolicy;
pub use scrub::scrub;
pub use shared_key::AccountKey;
pub use transport::{client, general_client};

#[cfg(test)]
mod tests;
