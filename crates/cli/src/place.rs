//! A blob that was named on the command line: its address, who we are to it, and how to talk to it.

use std::time::Duration;

use pageferry_azure::{
    Address, AuthMode, Credential, CredentialError, Flags, Options, PageBlob, RetryPolicy, Side, client,
};
use pageferry_core::SnapshotId;
use pageferry_replicate::ReplicateError;
use pageferry_replicate::look::{self, Found};
use pageferry_store::{ErrorKind, Source, StoreError, View};

use crate::exit::{Exit, Failure};
use crate::speed::Speed;

/// How long the service may work on a write before it gives it up, unless the quiet period is shorter.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// The first look finds out whether there is anybody at that address. A mistyped name should not take a minute.
const FIRST_LOOK: RetryPolicy = RetryPolicy {
    attempts_max: 4,
    delay: Duration::from_millis(500),
    delay_max: Duration::from_secs(2),
    budget: Duration::from_secs(10),
    seed: None,
};

/// A blob as it was named.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) address: Address,
    credential: Credential,
    options: Options,
    /// Where to copy snapshots that may not be read.
    scratch: Option<Box<Place>>,
}

/// How a blob was named: the words, and those that say how to get at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named<'a> {
    /// The URL.
    pub(crate) url: &'a str,
    /// What it is called in the help: `SOURCE`.
    pub(crate) what: &'a str,
    /// What to say instead of a `?snapshot=`.
    pub(crate) instead: &'a str,
    pub(crate) side: Side,
    pub(crate) sas: Option<&'a str>,
    pub(crate) auth: Option<&'a str>,
}

impl Named<'_> {
    /// The place, if the words make sense.
    ///
    /// # Errors
    /// A malformed address, one that names a snapshot, or no credential.
    pub(crate) fn place(self, speed: Speed, quiesce: Duration) -> Result<Place, Failure> {
        let (place, snapshot) = self.place_or_snapshot(speed, quiesce)?;
        match snapshot {
            None => Ok(place),
            Some(snapshot) => Err(Failure::usage(format!(
                "{} names snapshot {snapshot} of {}, but the blob itself is meant: leave `?snapshot=…` off{}",
                self.what,
                place.address.url(),
                self.instead
            ))),
        }
    }

    /// The place, and the snapshot of it that the words name, if they do.
    ///
    /// # Errors
    /// A malformed address, or no credential.
    pub(crate) fn place_or_snapshot(
        self,
        speed: Speed,
        quiesce: Duration,
    ) -> Result<(Place, Option<SnapshotId>), Failure> {
        let address = Address::parse(self.url)
            .map_err(|error| Failure::usage(format!("{} is not the URL of a page blob: {error}", self.what)))?;
        if hides_a_sas(address.url().path()) {
            return Err(Failure::usage(format!(
                "{} has a SAS in the blob's name: its `?` is percent-encoded, write it as it is",
                self.what
            )));
        }
        let snapshot = address.snapshot().cloned();
        let credential = self.credential(&address).map_err(|error| {
            let failure = Failure::from(error);
            let message = format!("cannot sign in to {}: {}", address.url(), failure.message);
            Failure { message, ..failure }
        })?;
        let options = options(speed, quiesce)?;
        Ok((Place { address: address.base(), credential, options, scratch: None }, snapshot))
    }

    /// `address`, which is good only with a SAS, with the one that came with it or that the flags name.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn with_sas(self, address: Address) -> Result<Address, Failure> {
        if address.sas().is_some() {
            return Ok(address);
        }
        match self.sas.map(|_| self.credential(&address)).transpose()? {
            Some(Credential::Sas(sas)) => Ok(address.with_sas(sas)),
            _ => Err(Failure::usage(format!(
                "{} {address} is at a managed disk's endpoint and good only with its SAS: put the whole URL into a file, \
                 and say @FILE instead",
                self.what
            ))),
        }
    }

    fn credential(self, address: &Address) -> Result<Credential, CredentialError> {
        let flags = Flags { sas: self.sas.map(str::to_owned), auth: self.auth.map(auth_mode).transpose()? };
        Credential::resolve(address, self.side, &|name| std::env::var(name).ok(), &flags).map_err(guarded)
    }
}

/// The way to authenticate that `word` names.
///
/// # Errors
/// None does. A word is quoted; whatever else was given may be a key that was meant for another flag or variable.
pub(crate) fn auth_mode(word: &str) -> Result<AuthMode, CredentialError> {
    AuthMode::parse(word).map_err(guarded)
}

/// `error` without what is not fit to be shown.
pub(crate) fn guarded(error: CredentialError) -> CredentialError {
    match error {
        CredentialError::Mode(mode) if !is_word(&mode) => CredentialError::Mode("what was given".to_owned()),
        error => error,
    }
}

/// How to talk to a blob.
///
/// # Errors
/// No HTTP client can be set up.
pub(crate) fn options(speed: Speed, quiesce: Duration) -> Result<Options, Failure> {
    let mut options = Options { connections: speed.requests(), pacer: Some(speed.pacer()), ..Options::default() };
    // No write may outlive the quiet period that the next run waits for.
    options.write_timeout = WRITE_TIMEOUT.min((quiesce * 2 / 3).max(Duration::from_secs(1)));
    let transport = client(options.connections, options.patience)
        .map_err(|error| Failure::new(Exit::Configuration, format!("cannot set up an HTTP client: {error}")))?;
    options.transport = Some(transport);
    Ok(options)
}

/// A URL that is a password, and is therefore kept in a file (`@FILE`) or a variable (`env:NAME`); any other text as it is.
///
/// # Errors
/// The file or variable cannot be had.
pub(crate) fn secret_text(place: &str) -> Result<String, Failure> {
    let missing = |why: String| Failure::new(Exit::Configuration, format!("no URL in {place}: {why}"));
    let text = if let Some(file) = place.strip_prefix('@') {
        std::fs::read_to_string(file).map_err(|error| missing(error.to_string()))?
    } else if let Some(name) = place.strip_prefix("env:") {
        std::env::var(name).map_err(|_| missing("it is not set".to_owned()))?
    } else {
        return Ok(place.to_owned());
    };
    Ok(text.trim().trim_matches('"').to_owned())
}

/// Whether `text` could be the name of something.
fn is_word(text: &str) -> bool {
    text.len() <= 24 && text.chars().all(|c| c.is_ascii_alphabetic() || c == '-' || c == '_')
}

/// Whether a path holds the signature that belongs into a query, however often it was percent-encoded on its way here.
fn hides_a_sas(path: &str) -> bool {
    let mut path = path.to_ascii_lowercase();
    while path.contains("%25") {
        path = path.replace("%25", "%");
    }
    path.replace("%3d", "=").contains("sig=")
}

impl Place {
    /// Who we are to the service.
    pub(crate) fn credential(&self) -> &Credential {
        &self.credential
    }

    /// The same, with a scratch blob.
    ///
    /// # Errors
    /// It is the blob itself.
    pub(crate) fn with_scratch(self, scratch: Option<Place>) -> Result<Place, Failure> {
        if scratch.as_ref().is_some_and(|scratch| scratch.address.url() == self.address.url()) {
            return Err(Failure::usage(format!(
                "--scratch names {} itself: name a blob that does not exist",
                self.address
            )));
        }
        Ok(Place { scratch: scratch.map(Box::new), ..self })
    }

    /// The blob in the same container whose name is this one's with `suffix`, for the same credential; also this very
    /// blob, with nothing known yet of how much its service takes.
    ///
    /// # Errors
    /// It cannot be talked to at all.
    pub(crate) fn beside(&self, suffix: &str) -> Result<PageBlob, StoreError> {
        let options = Options { pacer: None, ..self.options.clone() };
        PageBlob::new(self.address.beside(suffix), &self.credential, options)
    }

    /// The blob, once somebody answers at its address, whatever the answer.
    ///
    /// # Errors
    /// Nobody does.
    pub(crate) async fn reach(&self) -> Result<PageBlob, Failure> {
        let hasty = Options { retry: FIRST_LOOK, ..self.options.clone() };
        let hasty = PageBlob::new(self.address.clone(), &self.credential, hasty)?;
        if let Err(error) = hasty.properties(&View::Base).await
            && error.kind() == ErrorKind::Transient
            && error.failure().status.is_none()
        {
            let (host, cause) = (self.address.url().host_str().unwrap_or_default(), &error.failure().cause);
            return Err(Failure::new(
                Exit::Failed,
                format!(
                    "nobody answers for {}: {cause}; check that {host} is the right host and can be reached from here, \
                     then run again",
                    self.address
                ),
            ));
        }
        let scratch = match &self.scratch {
            Some(place) => Some(PageBlob::new(place.address.clone(), &place.credential, place.options.clone())?),
            None => None,
        };
        Ok(PageBlob::with_scratch(self.address.clone(), &self.credential, self.options.clone(), scratch)?)
    }
}

impl Place {
    /// The target that is here, and its address.
    ///
    /// # Errors
    /// Nobody answers, or there is none.
    pub(crate) async fn found(&self) -> Result<(Found, String), Failure> {
        let target = self.reach().await?;
        let found = look::target(&target).await?;
        let found = found.ok_or_else(|| ReplicateError::NoTarget(target.address()))?;
        Ok((found, target.address()))
    }
}

/// Deletes the scratch blob of `blob`, if one was needed; that it cannot be deleted is worth a word and no failure.
pub(crate) async fn discard_scratch(blob: &PageBlob) {
    if let Err(error) = blob.discard_scratch().await {
        tracing::warn!("the scratch blob stays: {error}; delete it yourself");
    }
}
