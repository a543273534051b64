//! A service in this process, disks in it, and the real binary pointed at them.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this")]

pub mod canary;
pub mod chain;
pub mod detour;
pub mod http;
pub mod managed;
pub mod mangle;
pub mod proxy;
pub mod service;

use std::collections::HashMap;
use std::ffi::OsString;
use std::process::{Command, Output, Stdio};

use pageferry_emulator::sas::{AccountSas, account_sas};
use pageferry_emulator::{DEV_ACCOUNT, DEV_KEY, Emulator, Options, Request, Running};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Leases and quiet periods as short as they may be.
pub const QUICK: [&str; 6] = ["--lease-duration", "15", "--quiesce", "1", "--lock-wait", "1"];

/// The service with the containers `disks` and `backups`, and a directory for files.
pub struct World {
    runtime: Runtime,
    running: Option<Running>,
    pub directory: TempDir,
}

/// How a run of the binary ended.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl World {
    pub fn new() -> World {
        World::with(Options::default())
    }

    pub fn with(options: Options) -> World {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let running = runtime.block_on(Emulator::start(options)).unwrap();
        let world = World { runtime, running: Some(running), directory: tempfile::tempdir().unwrap() };
        world.put("disks?restype=container", &[], Vec::new());
        world.put("backups?restype=container", &[], Vec::new());
        world
    }

    fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }

    fn block_on<R>(&self, work: impl Future<Output = R>) -> R {
        self.runtime.block_on(work)
    }

    /// The URL of a blob.
    pub fn url(&self, blob: &str) -> String {
        format!("{}/{blob}", self.running().url())
    }

    /// Where Resource Manager is.
    pub fn arm_endpoint(&self) -> String {
        self.running().arm_url()
    }

    /// The host and port of the service.
    pub fn host(&self) -> String {
        self.running().addr().to_string()
    }

    /// A path in the directory.
    pub fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// Sends a request past the engine, with the rights of the account; returns the headers of the answer.
    pub fn put(&self, target: &str, headers: &[(&str, &str)], body: Vec<u8>) -> HashMap<String, String> {
        self.send("PUT", target, headers, body)
    }

    pub fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: Vec<u8>) -> HashMap<String, String> {
        let separator = if target.contains('?') { '&' } else { '?' };
        let sas = sas("2099-01-01T00:00:00Z");
        let mut request = Request::new(method, &format!("/{DEV_ACCOUNT}/{target}{separator}{sas}"));
        request = request.header("x-ms-version", "2021-12-02");
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let service = self.running().service();
        let response = self.block_on(service.handle(request.with_body(body)));
        assert!(response.is_success(), "{method} {target}: {}", response.status);
        response.headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    /// Makes an empty page blob.
    pub fn create(&self, blob: &str, bytes: u64) {
        let bytes = bytes.to_string();
        self.put(blob, &[("x-ms-blob-type", "PageBlob"), ("x-ms-blob-content-length", &bytes)], Vec::new());
    }

    /// Fills `bytes` bytes at `at`.
    pub fn fill(&self, blob: &str, at: u64, bytes: u64, with: u8) {
        for start in (at..at + bytes).step_by(4 << 20) {
            let length = (at + bytes - start).min(4 << 20);
            let range = format!("bytes={start}-{}", start + length - 1);
            let body = vec![with; usize::try_from(length).unwrap()];
            self.put(&format!("{blob}?comp=page"), &[("x-ms-page-write", "update"), ("x-ms-range", &range)], body);
        }
    }

    pub fn clear(&self, blob: &str, at: u64, bytes: u64) {
        let range = format!("bytes={at}-{}", at + bytes - 1);
        self.put(&format!("{blob}?comp=page"), &[("x-ms-page-write", "clear"), ("x-ms-range", &range)], Vec::new());
    }

    pub fn resize(&self, blob: &str, bytes: u64) {
        let bytes = bytes.to_string();
        self.put(&format!("{blob}?comp=properties"), &[("x-ms-blob-content-length", &bytes)], Vec::new());
    }

    /// Takes a snapshot, past the engine.
    pub fn snapshot(&self, blob: &str) -> String {
        self.put(&format!("{blob}?comp=snapshot"), &[], Vec::new())["x-ms-snapshot"].clone()
    }

    pub fn delete(&self, blob: &str) {
        self.send("DELETE", blob, &[("x-ms-delete-snapshots", "include")], Vec::new());
    }

    /// A disk of 8 MiB with three snapshots: 1 MiB written, 64 KiB changed, 8 KiB freed and 4 KiB written.
    pub fn week(&self, blob: &str) -> Vec<String> {
        self.create(blob, 8 << 20);
        self.fill(blob, 1 << 20, 1 << 20, 1);
        let first = self.snapshot(blob);
        self.fill(blob, 2 << 20, 64 << 10, 2);
        let second = self.snapshot(blob);
        self.clear(blob, 1 << 20, 8 << 10);
        self.fill(blob, 6 << 20, 4 << 10, 3);
        vec![first, second, self.snapshot(blob)]
    }

    /// The binary with `words`, without any environment but what `with` adds.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("pageferry"));
        command.args(words).env_clear().current_dir(self.directory.path()).stdin(Stdio::null());
        // Where a measurement of coverage is under way, it must be able to leave its results.
        if let Some(path) = std::env::var_os("LLVM_PROFILE_FILE") {
            command.env("LLVM_PROFILE_FILE", path);
        }
        command
    }

    pub fn run(&self, words: &[&str]) -> Ran {
        Ran::of(self.command(words).output().unwrap())
    }

    pub fn run_with(&self, environment: &[(&str, &str)], words: &[&str]) -> Ran {
        let environment = environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
        Ran::of(self.command(words).envs(environment).output().unwrap())
    }

    /// Syncs `disk` to `target`, which must succeed.
    #[track_caller]
    pub fn sync(&self, disk: &str, target: &str) -> Ran {
        let (disk, target) = (self.url(disk), self.url(target));
        self.run(&[&["sync", &disk, &target], &QUICK[..]].concat()).expect(0)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.stop());
        }
    }
}

impl Ran {
    pub fn of(output: Output) -> Ran {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// This run, if it ended with `code`.
    #[track_caller]
    pub fn expect(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// The lines of stdout as JSON objects.
    #[track_caller]
    pub fn json(&self) -> Vec<serde_json::Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Commands and what came of them, for people to read.
pub struct Transcript<'a> {
    world: &'a World,
    text: String,
}

impl<'a> Transcript<'a> {
    pub fn of(world: &'a World) -> Transcript<'a> {
        Transcript { world, text: String::new() }
    }

    pub fn run(&mut self, words: &[&str]) {
        self.run_with(&[], words);
    }

    pub fn run_with(&mut self, environment: &[(&str, &str)], words: &[&str]) {
        let ran = self.world.run_with(environment, words);
        let words = words.strip_suffix(&QUICK).unwrap_or(words);
        let words: Vec<&str> = words.iter().map(|word| if word.contains("sig=") { "…" } else { word }).collect();
        let said: String = ran.stdout.lines().chain(ran.stderr.lines()).map(|line| untimed(line) + "\n").collect();
        let text = redacted(&format!("$ pageferry {}\n{said}=> {}\n\n", words.join(" "), ran.code));
        self.text.push_str(&text.replace("http://127.0.0.1:10000/devstoreaccount1", "http://EMULATOR"));
    }

    pub fn text(self) -> String {
        self.text
    }
}

/// The number in the environment variable `name`, of which the longer tests are told how long and from which seed.
pub fn number(name: &str, default: u32) -> u32 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// A signature for the whole account that holds until `expiry`.
pub fn sas(expiry: &str) -> String {
    let sas = AccountSas {
        version: "2021-12-02",
        services: "b",
        resource_types: "sco",
        permissions: "rwdlacup",
        expiry,
        ..AccountSas::default()
    };
    account_sas(DEV_ACCOUNT, DEV_KEY, &sas).unwrap()
}

/// `text` without what differs between runs: snapshots become `<t1>`, `<t2>`, … in the order they appear, other times
/// `<time>`, ids `<id>`, and the port 10000.
pub fn redacted(text: &str) -> String {
    let mut times: Vec<String> = Vec::new();
    let mut out = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let boundary = !out.ends_with(|c: char| c.is_ascii_alphanumeric());
        if boundary && let Some(length) = time_at(rest) {
            let time = &rest[..length];
            rest = &rest[length..];
            if !time.contains('.') {
                out.push_str("<time>");
                continue;
            }
            let number = times.iter().position(|known| known == time).unwrap_or_else(|| {
                times.push(time.to_owned());
                times.len() - 1
            });
            out.push_str(&format!("<t{}>", number + 1));
        } else if boundary && is_guid(rest) {
            out.push_str("<id>");
            rest = &rest[36..];
        } else if boundary && let Some(length) = date_at(rest) {
            out.push_str("<time>");
            rest = &rest[length..];
        } else if let Some(tail) = rest.strip_prefix("127.0.0.1:") {
            out.push_str("127.0.0.1:10000");
            rest = tail.trim_start_matches(|c: char| c.is_ascii_digit());
        } else {
            out.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    out
}

/// A line without the measured time at its end.
fn untimed(line: &str) -> String {
    if let Some((head, _)) = line.split_once("answers after ") {
        return format!("{head}answers after <time>");
    }
    if let Some((head, tail)) = line.split_once(" old; ") {
        return format!("{} <time> old; {tail}", head.rsplit_once(", ").map_or(head, |(head, _)| head));
    }
    match line.rsplit_once(", ") {
        Some((head, _)) if line.starts_with("  moved") => format!("{head}, <time>"),
        _ => line.to_owned(),
    }
}

/// The length of the time that `text` begins with: RFC 3339 in UTC, with or without a fraction.
fn time_at(text: &str) -> Option<usize> {
    let shape = "0000-00-00T00:00:00";
    let fits = |(byte, like): (u8, u8)| if like == b'0' { byte.is_ascii_digit() } else { byte == like };
    if text.len() <= shape.len() || !text.bytes().zip(shape.bytes()).all(fits) {
        return None;
    }
    let end = text[shape.len()..].find(|c: char| !c.is_ascii_digit() && c != '.')? + shape.len();
    text[end..].starts_with('Z').then_some(end + 1)
}

/// The length of the date that `text` begins with, as HTTP writes it: `Sun, 22 Nov 2026 03:06:02 GMT`.
fn date_at(text: &str) -> Option<usize> {
    let (day, rest) = text.split_at_checked(5)?;
    let is_day = day.ends_with(", ") && ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].contains(&&day[..3]);
    (is_day && rest.get(20..24) == Some(" GMT")).then_some(29)
}

fn is_guid(text: &str) -> bool {
    let fits = |(index, byte): (usize, u8)| match index {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    text.len() >= 36 && text.bytes().take(36).enumerate().all(fits)
}
