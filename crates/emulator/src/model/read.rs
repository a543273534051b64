//! Get Blob, Get Blob Properties and Get Blob Metadata.

use crate::auth::Need;
use crate::model::Model;
use crate::model::blob::{HTTP_FIELDS, MD5_FIELD};
use crate::model::call::Call;
use crate::model::conditions::Conditions;
use crate::model::create::changed;
use crate::model::fault::Fault;
use crate::model::input::{self, MAX_WRITE};
use crate::model::properties::inferred_tier;
use crate::model::variants::Variants;
use crate::model::world::Subject;
use crate::response::{Body, RangeHash, Response};
use crate::time::Timestamp;

/// Query parameters of a signature that replace headers of the answer.
const OVERRIDES: [(&str, &str); 5] = [
    ("rscc", "cache-control"),
    ("rscd", "content-disposition"),
    ("rsce", "content-encoding"),
    ("rscl", "content-language"),
    ("rsct", "content-type"),
];

impl Model {
    pub(crate) fn get_blob(&mut self, call: &Call<'_>) -> Result<Response, Fault> {
        let request = call.request;
        let lease = input::lease_id(request)?;
        let conditions = Conditions::of_read(request, call.version)?;
        let range = input::read_range(request);
        let hash = wanted_hash(call, range.is_some())?;
        let proof = self.admit(call, Need::read())?;
        let subject = self.world.subject(call, &proof)?;
        let account = self.config.accounts.get(&call.target.account);
        if subject.snapshot.is_some() && account.is_some_and(|account| account.refuse_snapshot_reads) {
            return Err(Fault::of("InvalidOperation"));
        }
        subject.check(&self.config.variants, lease.as_deref(), &conditions, call.now)?;
        let size = subject.state.size;
        let mut response = subject.describe(call, range.is_some());
        let (start, end) = match range {
            None => (0, size),
            Some(range) if range.start >= size => return Err(Fault::of("InvalidRange")),
            Some(range) => (range.start, range.end.map_or(size, |end| end.min(size))),
        };
        if let Some((hash, name)) = hash {
            let most = MAX_WRITE - u64::from(self.config.variants.hash_range_below_4mib);
            if end - start > most {
                return Err(Fault::header(name, "true"));
            }
            response.hash = Some(hash);
        }
        if range.is_some() {
            response.status = 206;
            response.set("content-range", format!("bytes {start}-{}/{size}", end - 1));
        }
        response.body = Body::pages(subject.state.pages.clone(), start, end);
        Ok(response)
    }

    pub(crate) fn get_properties(&mut self, call: &Call<'_>) -> Result<Response, Fault> {
        let lease = input::lease_id(call.request)?;
        let conditions = Conditions::of_read(call.request, call.version)?;
        let proof = self.admit(call, Need::read())?;
        let subject = self.world.described(call, &proof)?;
        subject.check(&self.config.variants, lease.as_deref(), &conditions, call.now)?;
        let mut response = subject.describe(call, false).with("content-length", subject.state.size.to_string());
        if call.version >= "2017-04-17" && subject.snapshot.is_none() {
            let given = subject.state.tier.as_deref();
            let tier =
                given.unwrap_or_else(|| inferred_tier(self.is_premium(&call.target.account), subject.state.size));
            let inferred = given.is_none();
            response.set("x-ms-access-tier", tier);
            if inferred {
                response.set("x-ms-access-tier-inferred", "true");
            }
        }
        Ok(response)
    }

    pub(crate) fn get_metadata(&mut self, call: &Call<'_>) -> Result<Response, Fault> {
        let lease = input::lease_id(call.request)?;
        let conditions = Conditions::of(call.request)?;
        let proof = self.admit(call, Need::read())?;
        let subject = self.world.subject(call, &proof)?;
        subject.check(&self.config.variants, lease.as_deref(), &conditions, call.now)?;
        let mut response = changed(subject.state, 200);
        for (name, value) in subject.state.metadata.iter() {
            response.set(&format!("x-ms-meta-{name}"), value.as_str());
        }
        Ok(response)
    }
}

impl Subject<'_> {
    fn check(
        &self,
        variants: &Variants,
        lease: Option<&str>,
        conditions: &Conditions,
        now: Timestamp,
    ) -> Result<(), Fault> {
        if self.snapshot.is_none() {
            variants.lease(self.base.lease.check_read(lease, now))?;
        }
        conditions.for_read(self.state)
    }

    /// Every header that says what the blob is.
    fn describe(&self, call: &Call<'_>, ranged: bool) -> Response {
        let state = self.state;
        let mut out = changed(state, 200);
        for (index, (_, name, _)) in HTTP_FIELDS.iter().enumerate() {
            let value = state.http[index].as_str();
            if !value.is_empty() {
                let whole_md5 = index == MD5_FIELD && ranged;
                out.set(if whole_md5 { "x-ms-blob-content-md5" } else { name }, value);
            }
        }
        for (parameter, name) in OVERRIDES {
            if let Some(value) = call.request.query(parameter).filter(|_| call.request.query("sig").is_some()) {
                out.set(name, value.replace(|c: char| c.is_control(), " "));
            }
        }
        out.set("accept-ranges", "bytes");
        out.set("x-ms-blob-type", "PageBlob");
        out.set("x-ms-blob-sequence-number", state.sequence.to_string());
        if call.version >= "2017-11-09" {
            out.set("x-ms-creation-time", state.created.http());
        }
        if call.version >= "2015-12-11" {
            out.set("x-ms-server-encrypted", "true");
        }
        match self.snapshot {
            Some(time) => out.set("x-ms-snapshot", time.iso()),
            None => {
                let phase = self.base.lease.phase(call.now);
                out.set("x-ms-lease-status", phase.status());
                out.set("x-ms-lease-state", phase.name());
                if let Some(duration) = self.base.lease.duration(call.now) {
                    out.set("x-ms-lease-duration", duration);
                }
            }
        }
        if let Some(copy) = &state.copy {
            out.set("x-ms-copy-id", copy.id.as_str());
            out.set("x-ms-copy-status", copy.status);
            out.set("x-ms-copy-source", copy.source.as_str());
            out.set("x-ms-copy-progress", format!("{}/{}", copy.done, copy.total));
            if let Some(time) = copy.completed {
                out.set("x-ms-copy-completion-time", time.http());
            }
            if let Some(text) = copy.description {
                out.set("x-ms-copy-status-description", text);
            }
            if copy.incremental && call.version >= "2016-05-31" {
                out.set("x-ms-incremental-copy", "true");
                if let Some(time) = copy.snapshot {
                    out.set("x-ms-copy-destination-snapshot", time.iso());
                }
            }
        }
        for (name, value) in state.metadata.iter() {
            out.set(&format!("x-ms-meta-{name}"), value.as_str());
        }
        out
    }
}

/// The hash a range is to be read with, and the header that asked for it.
fn wanted_hash(call: &Call<'_>, ranged: bool) -> Result<Option<(RangeHash, &'static str)>, Fault> {
    const MD5: &str = "x-ms-range-get-content-md5";
    const CRC: &str = "x-ms-range-get-content-crc64";
    let asked = |name| match call.request.get(name) {
        None => Ok(false),
        Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        Some(text) => Err(Fault::header(name, text)),
    };
    let found = match (asked(MD5)?, call.version >= "2019-02-02" && asked(CRC)?) {
        (false, false) => return Ok(None),
        (true, true) => return Err(Fault::of("BothCrc64AndMd5HeaderPresent")),
        (true, false) => (RangeHash::Md5, MD5),
        (false, true) => (RangeHash::Crc64, CRC),
    };
    if ranged { Ok(Some(found)) } else { Err(Fault::header(found.1, "true")) }
}
