//! Put Page, in its three forms: update, clear, and update from a URL.

use bytes::Bytes;

use crate::auth::Need;
use crate::digest;
use crate::model::Model;
use crate::model::blob::Blob;
use crate::model::call::{Admitted, Call};
use crate::model::conditions::{Conditions, SequenceConditions};
use crate::model::create::changed;
use crate::model::fault::Fault;
use crate::model::input::{self, MAX_WRITE};
use crate::model::source::Source;
use crate::model::variants::Variants;
use crate::pages::{self, PAGE};
use crate::response::{Body, Response};

/// What a page write asks for, read but not yet compared with the blob.
#[derive(Debug)]
struct PageWrite {
    start: u64,
    end: u64,
    lease: Option<String>,
    conditions: Conditions,
    sequence: SequenceConditions,
    md5: Option<Vec<u8>>,
    crc64: Option<u64>,
}

impl Model {
    pub(crate) fn put_page(&mut self, call: &Call<'_>) -> Result<Response, Fault> {
        let request = call.request;
        input::on_base(request)?;
        let action = request.get("x-ms-page-write").ok_or_else(|| Fault::missing("x-ms-page-write"))?;
        match (action.to_ascii_lowercase().as_str(), request.get("x-ms-copy-source")) {
            ("update", None) => self.update(call),
            ("clear", None) => self.clear(call),
            ("update", Some(source)) if call.version >= "2018-11-09" => self.update_from(call, source),
            _ => Err(Fault::header("x-ms-page-write", action)),
        }
    }

    fn update(&mut self, call: &Call<'_>) -> Result<Response, Fault> {
        let body = &call.request.body;
        let length = body.bytes().len() as u64;
        if length > MAX_WRITE {
            return Err(Fault::of("RequestBodyTooLarge"));
        }
        let write = PageWrite::of(call, &self.config.variants, ["content-md5", "x-ms-content-crc64"])?;
        if length != write.end - write.start {
            return Err(match self.config.variants.length_mismatch_is_416 {
                true => Fault::of("InvalidPageRange"),
                false => Fault::header("Content-Length", &length.to_string()),
            });
        }
        let proof = self.admit(call, Need::object("w"))?;
        let variants = self.config.variants.clone();
        let md5 = (write.md5.is_some() || call.version < "2019-02-02").then(|| body.md5());
        if variants.hash_first {
            write.verify_hashes(md5, || body.crc64())?;
        }
        let blob = self.writable(call, &proof, &write)?;
        write.verify_hashes(md5, || body.crc64())?;
        blob.write(write.start / PAGE, std::iter::once(body.bytes().clone()), &variants);
        let both = write.md5.is_none() || variants.crc_beside_md5;
        let crc64 = (call.version >= "2019-02-02" && both).then(|| body.crc64());
        Ok(with_hash(self.written(call, &proof)?, md5, crc64))
    }

    fn clear(&mut self, call: &Call<'_>) -> Result<Response, Fault> {
        let request = call.request;
        if !request.body.bytes().is_empty() {
            return Err(Fault::header("Content-Length", request.get("content-length").unwrap_or_default()));
        }
        let write = PageWrite::of(call, &self.config.variants, ["content-md5", "x-ms-content-crc64"])?;
        if let Some(text) = request.get("content-md5") {
            return Err(Fault::header("Content-MD5", text));
        }
        let proof = self.admit(call, Need::object("w"))?;
        let (reported, most) = (self.config.variants.clear_of_empty_reported, self.config.variants.clear_max);
        let blob = self.writable(call, &proof, &write)?;
        if most.is_some_and(|most| write.end - write.start > most) {
            return Err(Fault::of("OperationTimedOut"));
        }
        blob.clear(write.start / PAGE, write.end / PAGE, reported);
        self.written(call, &proof)
    }

    fn update_from(&mut self, call: &Call<'_>, url: &str) -> Result<Response, Fault> {
        let request = call.request;
        if !request.body.bytes().is_empty() {
            return Err(Fault::header("Content-Length", request.get("content-length").unwrap_or_default()));
        }
        let variants = &self.config.variants;
        let write = PageWrite::of(call, variants, ["x-ms-source-content-md5", "x-ms-source-content-crc64"])?;
        if write.end - write.start > MAX_WRITE {
            return Err(Fault::header("x-ms-range", request.get("x-ms-range").unwrap_or_default()));
        }
        let range = request.get("x-ms-source-range").ok_or_else(|| Fault::missing("x-ms-source-range"))?;
        let (start, end) = input::page_range("x-ms-source-range", range, variants.misaligned_is_416)?;
        if end - start != write.end - write.start {
            return Err(Fault::header("x-ms-source-range", range));
        }
        let source_conditions = Conditions::of_source(request)?;
        let proof = self.admit(call, Need::object("w"))?;
        self.writable(call, &proof, &write)?;
        let source = Source::parse(url, call, &self.config, &self.world)?;
        let state = self.read_source(call, &source, false)?;
        Source::verify_conditions(&source_conditions, &state, false)?;
        if end > state.size {
            return Err(match self.config.variants.source_overrun_is_400 {
                true => Fault::header("x-ms-source-range", range),
                false => Fault::of("InvalidRange"),
            });
        }
        let pieces: Vec<Bytes> = Body::pages(state.pages, start, end).collect();
        let slices = || pieces.iter().map(AsRef::as_ref);
        let md5 = (write.md5.is_some() || call.version < "2019-02-02").then(|| digest::md5_of(slices()));
        write.verify_hashes(md5, || digest::crc64_of(slices()))?;
        let crc64 = (write.md5.is_none() && call.version >= "2019-02-02").then(|| digest::crc64_of(slices()));
        let blob = self.world.blob_mut(call, &proof)?;
        if self.config.variants.copy_zeros_elided {
            blob.write_elided(write.start / PAGE, pieces.into_iter(), &self.config.variants);
        } else {
            blob.write(write.start / PAGE, pieces.into_iter(), &self.config.variants);
        }
        Ok(with_hash(self.written(call, &proof)?, md5, crc64))
    }

    /// The blob, if a page write may be applied to it now.
    fn writable(&mut self, call: &Call<'_>, proof: &Admitted, write: &PageWrite) -> Result<&mut Blob, Fault> {
        let blob = self.world.blob_mut(call, proof)?;
        if blob.pending.is_some() {
            return Err(Fault::of("PendingCopyOperation"));
        }
        if !call.mode.admitted {
            self.config.variants.check(
                || blob.lease.check_write(write.lease.as_deref(), call.now),
                || write.conditions.for_write(&blob.state),
                || write.sequence.check(blob.state.sequence),
            )?;
        }
        if write.end > blob.state.size {
            return Err(Fault::of("InvalidPageRange"));
        }
        Ok(blob)
    }

    /// Notes that a page operation has been applied, and answers it.
    fn written(&mut self, call: &Call<'_>, proof: &Admitted) -> Result<Response, Fault> {
        let blob = self.world.blob_mut(call, proof)?;
        blob.state.etag = self.ids.etag(call.now);
        blob.state.modified = call.now;
        blob.lease.written(call.now);
        Ok(changed(&blob.state, 201).with("x-ms-blob-sequence-number", blob.state.sequence.to_string()))
    }
}

impl Blob {
    /// Writes pages as one operation.
    pub(crate) fn write(&mut self, start: u64, pieces: impl Iterator<Item = Bytes>, variants: &Variants) {
        let state = &mut self.state;
        state.stamp += 1;
        if variants.identical_rewrites_reported {
            state.pages.write_pieces(start, state.stamp, pieces);
        } else {
            state.pages.write_changed(start, state.stamp, pieces);
        }
    }

    /// Writes pages as one operation, which clears those that are to hold nothing but zeros.
    fn write_elided(&mut self, start: u64, pieces: impl Iterator<Item = Bytes>, variants: &Variants) {
        self.state.stamp += 1;
        for (at, page) in (start..).zip(pieces.flat_map(pages::split)) {
            match page.iter().all(|byte| *byte == 0) {
                true => self.forget(at, at + 1, variants.clear_of_empty_reported),
                false if variants.identical_rewrites_reported => {
                    self.state.pages.write_pieces(at, self.state.stamp, [page].into_iter());
                }
                false => self.state.pages.write_changed(at, self.state.stamp, [page].into_iter()),
            }
        }
    }

    /// Clears pages and records it as one operation, as far as any later question can be about it.
    pub(crate) fn clear(&mut self, start: u64, end: u64, report_empty: bool) {
        self.state.stamp += 1;
        self.forget(start, end, report_empty);
    }

    /// Clears pages as part of the operation under way.
    fn forget(&mut self, start: u64, end: u64, report_empty: bool) {
        let tracked = self.is_tracked();
        let state = &mut self.state;
        match (tracked, report_empty) {
            (false, _) => state.pages.forget(start, end),
            (true, true) => state.pages.clear(start, end, state.stamp),
            (true, false) => state.pages.clear_allocated(start, end, state.stamp),
        }
    }
}

impl PageWrite {
    fn of(call: &Call<'_>, variants: &Variants, hashes: [&'static str; 2]) -> Result<Self, Fault> {
        let request = call.request;
        let (name, text) = input::range_header(request).ok_or_else(|| Fault::missing("x-ms-range"))?;
        let (start, end) = input::page_range(name, text, variants.misaligned_is_416)?;
        let bytes = |name: &'static str| match request.get(name) {
            None => Ok(None),
            Some(text) => digest::decode(text).map(Some).ok_or_else(|| Fault::header(name, text)),
        };
        let md5 = match bytes(hashes[0]) {
            Ok(Some(md5)) if md5.len() != 16 => return Err(Fault::of("InvalidMd5")),
            Ok(md5) => md5,
            Err(_) => return Err(Fault::of("InvalidMd5")),
        };
        let crc64 = match bytes(hashes[1])? {
            None => None,
            Some(bytes) => {
                let bytes: Result<[u8; 8], _> = bytes.try_into();
                let bad = |_| Fault::header(hashes[1], request.get(hashes[1]).unwrap_or_default());
                Some(u64::from_le_bytes(bytes.map_err(bad)?))
            }
        };
        if md5.is_some() && crc64.is_some() {
            return Err(Fault::of("BothCrc64AndMd5HeaderPresent"));
        }
        Ok(Self {
            start,
            end,
            lease: input::lease_id(request)?,
            conditions: Conditions::of(request)?,
            sequence: SequenceConditions::of(request)?,
            md5,
            crc64,
        })
    }

    fn verify_hashes(&self, md5: Option<[u8; 16]>, crc64: impl FnOnce() -> u64) -> Result<(), Fault> {
        if let (Some(given), Some(actual)) = (&self.md5, md5)
            && given.as_slice() != actual.as_slice()
        {
            return Err(Fault::of("Md5Mismatch")
                .with("UserSpecifiedMd5", digest::encode(given))
                .with("ServerCalculatedMd5", digest::encode(&actual)));
        }
        let Some(given) = self.crc64 else { return Ok(()) };
        let actual = crc64();
        if given == actual {
            return Ok(());
        }
        Err(Fault::of("Crc64Mismatch")
            .with("UserSpecifiedCrc", digest::crc64_header(given))
            .with("ServerCalculatedCrc", digest::crc64_header(actual)))
    }
}

/// Older versions, and callers who sent an MD5, are answered with one; everybody else gets the CRC.
fn with_hash(mut response: Response, md5: Option<[u8; 16]>, crc64: Option<u64>) -> Response {
    if let Some(md5) = md5 {
        response.set("content-md5", digest::encode(&md5));
    }
    if let Some(crc64) = crc64 {
        response.set("x-ms-content-crc64", digest::crc64_header(crc64));
    }
    response.with("x-ms-request-server-encrypted", "true")
}
