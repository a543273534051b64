//! One blob's connection to the service: the SDK's typed clients, and its pipeline for what they cannot express.
//!
//! Both are made from the same options, so they share transport, signing and the decision never to retry. A request by
//! hand is a [`Request`] with a query and headers; [`Wire::send`] gives back the head of a success and its body as a
//! stream. A failure is a [`Fault`] either way, and every wait is bounded by the options' patience.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::Bytes;
use azure_core::credentials::TokenCredential;
use azure_core::http::headers::{AUTHORIZATION, Headers};
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{
    AsyncResponseBody, ClientOptions, Context, Method, Pipeline, PipelineStreamOptions, Request, Response,
    RetryOptions, Transport, Url,
};
use azure_storage_blob::{BlobClient, BlobClientOptions, PageBlobClient};
use futures::StreamExt;
use pageferry_core::SnapshotId;
use pageferry_pace::{Adaptive, Pacer};
use pageferry_store::buffers::Buffers;
use pageferry_store::{ErrorKind, StoreError, View};
use rand::SeedableRng;
use rand::rngs::StdRng;
use secrecy::{ExposeSecret, SecretString};

use crate::address::Address;
use crate::credentials::Credential;
use crate::fault::{Fault, Outcome};
use crate::options::Options;
use crate::transport::{self, Guard};

/// As much of an error's body as is worth reading.
const ERROR_BYTES_MAX: usize = 64 << 10;

/// A connection that moves fewer bytes than this is as good as broken.
const SLOWEST_BYTES_PER_SECOND: u64 = 32 << 10;

/// What a request needs, and the requests themselves.
pub(crate) struct Wire {
    pub(crate) address: Address,
    /// The blob's URL without query, for errors.
    pub(crate) object: String,
    pub(crate) options: Options,
    pub(crate) rng: Mutex<StdRng>,
    pub(crate) blob: BlobClient,
    pub(crate) pages: PageBlobClient,
    pub(crate) buffers: Buffers,
    pub(crate) pacer: Arc<Pacer>,
    pub(crate) credential: Credential,
    pipeline: Pipeline,
}

/// The head of a success, and its body.
pub(crate) struct Success {
    pub(crate) status: u16,
    pub(crate) headers: Headers,
    pub(crate) body: AsyncResponseBody,
}

impl Wire {
    pub(crate) fn new(address: Address, credential: &Credential, options: Options) -> Result<Wire, StoreError> {
        let object = address.url().to_string();
        let invalid = |cause: String| StoreError::new(ErrorKind::Invalid, "connect", object.clone(), cause);
        if matches!(credential, Credential::Token(_)) && address.url().scheme() != "https" {
            return Err(invalid("tokens are sent over https only".to_owned()));
        }
        let transport = match options.transport.clone() {
            Some(transport) => transport,
            None => transport::client(options.connections, options.patience)
                .map_err(|error| invalid(crate::scrub::scrub(&error.to_string())))?,
        };
        let client_options = ClientOptions {
            per_try_policies: credential.policies(&address, &options.clock),
            retry: RetryOptions::none(),
            transport: Some(Transport::new(Arc::new(Guard(transport)))),
            ..ClientOptions::default()
        };
        let (name, version) = (option_env!("CARGO_PKG_NAME"), option_env!("CARGO_PKG_VERSION"));
        let pipeline = Pipeline::new(name, version, client_options.clone(), Vec::new(), Vec::new(), None);
        let blob_options = BlobClientOptions { client_options, version: options.version.clone() };
        let blob = BlobClient::new(address.url().clone(), None, Some(blob_options))
            .map_err(|error| invalid(crate::scrub::scrub(&error.to_string())))?;
        let rng = match options.retry.seed {
            Some(seed) => StdRng::seed_from_u64(seed),
            None => StdRng::from_os_rng(),
        };
        let pages = blob.page_blob_client();
        let pacer = options.pacer.clone().unwrap_or_else(|| Arc::new(Pacer::new(Adaptive::default())));
        Ok(Wire {
            address,
            object,
            options,
            rng: Mutex::new(rng),
            blob,
            pages,
            buffers: Buffers::default(),
            pacer,
            pipeline,
            credential: credential.clone(),
        })
    }

    /// The snapshot that `view` means; an address that names one means it wherever the base would be meant.
    pub(crate) fn snapshot_of<'a>(&'a self, view: &'a View) -> Option<&'a SnapshotId> {
        match view {
            View::Base => self.address.snapshot(),
            View::Snapshot(id) => Some(id),
        }
    }

    /// The query parameter `timeout` of every request that changes something, in seconds.
    pub(crate) fn write_timeout(&self) -> Option<i32> {
        i32::try_from(self.options.write_timeout.as_secs()).ok()
    }

    /// A GET by hand. `query` is encoded here.
    pub(crate) fn get(&self, mut url: Url, query: &[(&str, &str)]) -> Request {
        url.query_pairs_mut().extend_pairs(query);
        let mut request = Request::new(url, Method::Get);
        request.insert_header("x-ms-version", self.options.version.clone());
        request
    }

    /// Sends a request by hand; anything but a 2xx is a fault.
    pub(crate) async fn send(&self, mut request: Request) -> Result<Success, Fault> {
        let unchecked = PipelineStreamOptions { skip_checks: true, ..PipelineStreamOptions::default() };
        let context = Context::new();
        let sent = self.pipeline.stream(&context, &mut request, Some(unchecked));
        let (status, headers, mut body) = self.patiently(sent).await??.deconstruct();
        let status = u16::from(status);
        if (200..300).contains(&status) {
            return Ok(Success { status, headers, body });
        }
        // The status is certain however much of the body arrives.
        let mut said = Vec::new();
        while let Ok(Some(piece)) = self.next(&mut body).await {
            said.extend_from_slice(&piece);
            if said.len() > ERROR_BYTES_MAX {
                break;
            }
        }
        Err(Fault::from_answer(status, &headers, &said))
    }

    /// The next piece of a body.
    pub(crate) async fn next(&self, body: &mut AsyncResponseBody) -> Result<Option<Bytes>, Fault> {
        Ok(self.patiently(body.next()).await?.transpose()?)
    }

    /// The next piece of a body that may come in one piece of `bytes`.
    pub(crate) async fn next_of(&self, body: &mut AsyncResponseBody, bytes: u64) -> Result<Option<Bytes>, Fault> {
        Ok(self.patiently_for(bytes, body.next()).await?.transpose()?)
    }

    /// Runs a call of a typed client that sends `bytes`, and keeps the headers of its answer.
    pub(crate) async fn upload<T, F>(
        &self,
        bytes: u64,
        call: impl Future<Output = azure_core::Result<Response<T, F>>>,
    ) -> Result<Headers, Fault> {
        let (_, headers, _) = self.patiently_for(bytes, call).await??.deconstruct();
        Ok(headers)
    }

    /// Runs a call of a typed client and keeps its headers.
    pub(crate) async fn typed<T, F>(
        &self,
        call: impl Future<Output = azure_core::Result<Response<T, F>>>,
    ) -> Result<Headers, Fault> {
        let (_, headers, _) = self.patiently(call).await??.deconstruct();
        Ok(headers)
    }

    async fn patiently<T>(&self, wait: impl Future<Output = T>) -> Result<T, Fault> {
        self.patiently_for(0, wait).await
    }

    /// Waits as long as `bytes` take on the slowest line that is worth waiting for, and then some.
    async fn patiently_for<T>(&self, bytes: u64, wait: impl Future<Output = T>) -> Result<T, Fault> {
        let patience = self.options.patience + Duration::from_secs(bytes / SLOWEST_BYTES_PER_SECOND);
        let silent = |_| Fault::new(Outcome::Silent, format!("no answer within {} s", patience.as_secs()));
        tokio::time::timeout(patience, wait).await.map_err(silent)
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Puts a SAS into the URL of every request, to the letter: it is signed, and re-encoding it may break it.
#[derive(Debug)]
pub(crate) struct SasPolicy(pub(crate) SecretString);

#[async_trait]
impl Policy for SasPolicy {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let sas = self.0.expose_secret();
        let query = match request.url().query().filter(|query| !query.is_empty()) {
            Some(query) => format!("{query}&{sas}"),
            None => sas.to_owned(),
        };
        request.url_mut().set_query(Some(&query));
        next[0].send(ctx, request, &next[1..]).await
    }
}

/// Puts a token into requests to this machine, which the SDK's own policy refuses because they are not https. Beyond this
/// machine no address is anything else.
#[derive(Debug)]
pub(crate) struct PlainBearer {
    pub(crate) token: Arc<dyn TokenCredential>,
    pub(crate) scope: &'static str,
}

#[async_trait]
impl Policy for PlainBearer {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let token = self.token.get_token(&[self.scope], None).await?;
        request.insert_header(AUTHORIZATION, format!("Bearer {}", token.token.secret()));
        next[0].send(ctx, request, &next[1..]).await
    }
}
