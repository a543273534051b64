//! A log of every request that changed something. Played again through the model it gives the same state.
//!
//! A record is its lengths, the CRC of its fields, the fields, and the body, whose own CRC is one of the fields and
//! usually known already. Credentials were checked before a record was written and are not
//! part of it; neither are signatures in copy sources. A record cut short by a crash can only be the last one, was
//! never acknowledged, and is dropped.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use bytes::Bytes;

use crate::digest;
use crate::model::{Mode, Model, version};
use crate::request::{self, Payload, Request};
use crate::time::Timestamp;

const MAGIC: &[u8; 16] = b"pageferry-emu\0\0\x01";

/// The lengths of the fields and of the body, and the CRC of the fields.
const HEAD: usize = 16;

/// What follows the fields of a request that was admitted before it was carried out.
const ADMITTED: u8 = 1;

/// More than any request can have of fields or of body.
const MAX_PART: u32 = 8 << 20;

/// Headers that are secrets, or mean nothing without the connection they came over.
const DROPPED: [&str; 12] = [
    "authorization",
    "x-ms-copy-source-authorization",
    "x-ms-encryption-key",
    "x-ms-version",
    "x-ms-client-request-id",
    "x-ms-date",
    "date",
    "user-agent",
    "connection",
    "expect",
    "accept",
    "accept-encoding",
];

/// Query parameters of a shared access signature.
const SIGNATURE: [&str; 24] = [
    "sig",
    "sv",
    "sr",
    "sp",
    "st",
    "se",
    "sip",
    "spr",
    "si",
    "ss",
    "srt",
    "ses",
    "rscc",
    "rscd",
    "rsce",
    "rscl",
    "rsct",
    "skoid",
    "sktid",
    "skt",
    "ske",
    "sks",
    "skv",
    "api-version",
];

/// The open log.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    buffer: Vec<u8>,
    /// Where each record starts, and where the next one will.
    starts: Vec<u64>,
    end: u64,
}

impl Journal {
    /// Opens the log in `directory`, making both if need be, and plays it into `model`. Returns the time of the last
    /// record, before which the service must not go back.
    pub(crate) fn open(directory: &Path, model: &mut Model) -> io::Result<(Self, Timestamp)> {
        std::fs::create_dir_all(directory)?;
        let path = directory.join("journal");
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        file.try_lock().map_err(|error| io::Error::other(format!("the data directory is in use: {error}")))?;
        let length = file.metadata()?.len();
        let mut reader = BufReader::with_capacity(1 << 20, &mut file);
        let mut magic = [0; MAGIC.len()];
        let mut good = 0;
        let mut last = Timestamp::default();
        let mut starts = Vec::new();
        if length >= MAGIC.len() as u64 {
            reader.read_exact(&mut magic)?;
            if &magic != MAGIC {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "not a journal of this emulator"));
            }
            good = MAGIC.len() as u64;
            while let Some((fields, body)) = read_record(&mut reader)? {
                let record = HEAD + fields.len() + body.len();
                let Some((request, now, admitted)) = parse(fields, body) else { break };
                let mode = Mode { trusted: true, admitted, ..Mode::default() };
                if !model.step(&request, now, mode).is_success() {
                    return Err(disagreement(good));
                }
                starts.push(good);
                good += record as u64;
                last = last.max(now);
            }
        }
        if good == 0 {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(MAGIC)?;
            good = MAGIC.len() as u64;
        } else {
            if good < length {
                tracing::warn!(bytes = length - good, "dropping an unfinished record at the end of the journal");
            }
            file.set_len(good)?;
            file.seek(SeekFrom::Start(good))?;
        }
        Ok((Self { file, buffer: Vec::new(), starts, end: good }, last))
    }

    /// Writes a record and hands it to the operating system. An `admitted` request is one whose lease and conditions
    /// were checked before it was carried out, and perhaps no longer hold.
    pub(crate) fn append(&mut self, request: &Request, now: Timestamp, admitted: bool) -> io::Result<()> {
        self.buffer.clear();
        self.buffer.extend_from_slice(&[0; HEAD]);
        write_fields(&mut self.buffer, request, now)?;
        if admitted {
            self.buffer.push(ADMITTED);
        }
        let (head, fields) = self.buffer.split_at_mut(HEAD);
        let body = request.body.bytes();
        head[..4].copy_from_slice(&u32::try_from(fields.len()).map_err(io::Error::other)?.to_le_bytes());
        head[4..8].copy_from_slice(&u32::try_from(body.len()).map_err(io::Error::other)?.to_le_bytes());
        head[8..].copy_from_slice(&digest::crc64(fields).to_le_bytes());
        self.file.write_all(&self.buffer)?;
        self.file.write_all(body)?;
        self.starts.push(self.end);
        self.end += self.buffer.len() as u64 + body.len() as u64;
        Ok(())
    }

    /// Takes away the last records as a loss of power would, and gives the file up. With `torn`, half of the first
    /// record that is lost stays behind; of a record that was never acknowledged when none is lost.
    pub(crate) fn lose(mut self, records: usize, torn: bool) -> io::Result<()> {
        let kept = self.starts.len().saturating_sub(records);
        let lost = self.starts.get(kept).copied();
        let from = lost.unwrap_or(self.end);
        let next = self.starts.get(kept + 1).copied().unwrap_or(self.end);
        let half = if torn { (next - from) / 2 } else { 0 };
        self.file.set_len(from + half)?;
        if torn && lost.is_none() {
            self.file.seek(SeekFrom::Start(from))?;
            self.file.write_all(&[9; HEAD - 1])?;
        }
        // Handles that still wait for the disk must not keep the directory locked.
        self.file.unlock()
    }

    /// A second handle to the file, to synchronise it outside the lock.
    pub(crate) fn handle(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

fn write_fields(out: &mut Vec<u8>, request: &Request, now: Timestamp) -> io::Result<()> {
    out.extend_from_slice(&now.ticks().to_le_bytes());
    out.extend_from_slice(&request.body.crc64().to_le_bytes());
    text(out, &request.method)?;
    text(out, &request.path)?;
    let query: Vec<_> = request.query.iter().filter(|(name, _)| !is_signature(name)).collect();
    number(out, query.len())?;
    for (name, value) in query {
        text(out, name)?;
        text(out, value)?;
    }
    let governing = version::of(request).unwrap_or("2021-12-02").to_owned();
    let headers = request.headers.iter().filter(|(name, _)| !DROPPED.contains(&name.as_str()));
    let mut headers: Vec<(String, String)> = headers.cloned().collect();
    headers.push(("x-ms-version".to_owned(), governing));
    number(out, headers.len())?;
    for (name, value) in &headers {
        text(out, name)?;
        text(out, &if name == "x-ms-copy-source" { unsigned(value) } else { value.clone() })?;
    }
    Ok(())
}

/// The request of a record; `None` when the body is not the one that was written.
fn parse(mut rest: Bytes, body: Bytes) -> Option<(Request, Timestamp, bool)> {
    let ticks = u64::from_le_bytes(take(&mut rest, 8)?.as_ref().try_into().ok()?);
    let crc = u64::from_le_bytes(take(&mut rest, 8)?.as_ref().try_into().ok()?);
    let (method, path) = (take_text(&mut rest)?, take_text(&mut rest)?);
    let (query, headers) = (take_pairs(&mut rest)?, take_pairs(&mut rest)?);
    let body = Payload::new(body);
    let request = Request { method, path, query, headers, body, client: None };
    let admitted = rest.first() == Some(&ADMITTED);
    (request.body.crc64() == crc).then_some((request, Timestamp::from_ticks(ticks), admitted))
}

fn take(rest: &mut Bytes, length: usize) -> Option<Bytes> {
    (length <= rest.len()).then(|| rest.split_to(length))
}

fn take_number(rest: &mut Bytes) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(take(rest, 4)?.as_ref().try_into().ok()?)).ok()
}

fn take_text(rest: &mut Bytes) -> Option<String> {
    let length = take_number(rest)?;
    String::from_utf8(take(rest, length)?.to_vec()).ok()
}

fn take_pairs(rest: &mut Bytes) -> Option<Vec<(String, String)>> {
    let count = take_number(rest)?;
    (0..count).map(|_| Some((take_text(rest)?, take_text(rest)?))).collect()
}

/// The fields and the body of the next record; `None` at the end, and where a record is torn.
fn read_record(reader: &mut impl Read) -> io::Result<Option<(Bytes, Bytes)>> {
    let mut head = [0; HEAD];
    if !fill(reader, &mut head)? {
        return Ok(None);
    }
    let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let crc = u64::from(number(8)) | u64::from(number(12)) << 32;
    if number(0) > MAX_PART || number(4) > MAX_PART {
        return Ok(None);
    }
    let (mut fields, mut body) = (vec![0; number(0) as usize], vec![0; number(4) as usize]);
    let whole = fill(reader, &mut fields)? && fill(reader, &mut body)? && digest::crc64(&fields) == crc;
    Ok(whole.then(|| (fields.into(), body.into())))
}

/// Fills the buffer; false when the data ends before.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn number(out: &mut Vec<u8>, value: usize) -> io::Result<()> {
    out.extend_from_slice(&u32::try_from(value).map_err(io::Error::other)?.to_le_bytes());
    Ok(())
}

fn text(out: &mut Vec<u8>, value: &str) -> io::Result<()> {
    number(out, value.len())?;
    out.extend_from_slice(value.as_bytes());
    Ok(())
}

fn is_signature(name: &str) -> bool {
    SIGNATURE.contains(&name)
}

/// A copy source without its signature.
fn unsigned(url: &str) -> String {
    let Some((base, query)) = url.split_once('?') else { return url.to_owned() };
    let kept: Vec<_> = query
        .split('&')
        .filter(|pair| !is_signature(&request::decode(pair.split('=').next().unwrap_or_default())))
        .collect();
    if kept.is_empty() { base.to_owned() } else { format!("{base}?{}", kept.join("&")) }
}

fn disagreement(at: u64) -> io::Error {
    let what = format!("the journal record at byte {at} cannot be replayed: other configuration, or damage");
    io::Error::new(io::ErrorKind::InvalidData, what)
}
