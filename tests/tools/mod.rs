//! Other people's programs, and a service for them to talk to.
//!
//! A program that is missing is a failure that names its package, never a test that quietly did not run: `prepare.sh`
//! installs what it can first.
#![allow(dead_code, clippy::unwrap_used, reason = "a test ends where something is not as it should be, and each uses its own part")]

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use pageferry_emulator::{Emulator, Options, Running};
use tokio::runtime::Runtime;

/// An emulator on a free port that runs while a test waits for other programs.
#[derive(Debug)]
pub struct Service {
    runtime: Runtime,
    running: Running,
}

impl Service {
    /// Starts one.
    pub fn start() -> Service {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let running = runtime.block_on(Emulator::start(Options::default())).unwrap();
        Service { runtime, running }
    }

    /// Its endpoint, account included.
    pub fn url(&self) -> String {
        self.running.url()
    }
}

/// The build directory.
pub fn target_directory() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned()
}

/// Where `prepare.sh` puts things.
pub fn directory() -> PathBuf {
    target_directory().join("tools")
}

/// The workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Makes sure of `parts` as `prepare.sh` knows them.
#[track_caller]
pub fn prepare(parts: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/prepare.sh");
    let prepared = Command::new("bash").arg(script).arg(directory()).args(parts).output().unwrap();
    assert!(prepared.status.success(), "{}", String::from_utf8_lossy(&prepared.stderr));
}

/// The Python with the storage SDK; prepared by `python`.
pub fn python() -> PathBuf {
    directory().join("venv/bin/python")
}

/// The script that talks to page blobs through the Python SDK.
pub fn blobs_script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/blobs.py")
}

/// A directory of its own for a test, emptied first and kept afterwards for whoever wants to look.
pub fn scratch(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// The `pageferry` of this build, built now: tests of one package cannot ask cargo for a program of another.
pub fn pageferry() -> PathBuf {
    let release = !cfg!(debug_assertions);
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--workspace", "--bins", "--locked", "--manifest-path"]);
    build.arg(workspace().join("Cargo.toml")).args(release.then_some("--release"));
    finish(build.arg("--target-dir").arg(target_directory()), &[0]);
    target_directory().join(if release { "release" } else { "debug" }).join("pageferry")
}

/// Runs `command` with the tools of administrators within reach, and returns what it wrote if it ended with one of `codes`.
#[track_caller]
pub fn finish(command: &mut Command, codes: &[i32]) -> Output {
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin"));
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => panic!("{command:?} cannot be started: {error}"),
    };
    let fits = output.status.code().is_some_and(|code| codes.contains(&code));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(fits, "{command:?} ended with {}:\n{out}\n{err}", output.status);
    output
}

/// Runs a program that must succeed.
#[track_caller]
pub fn run<A: AsRef<OsStr>>(program: impl AsRef<OsStr>, arguments: impl IntoIterator<Item = A>) -> Output {
    finish(Command::new(program).args(arguments), &[0])
}

/// Runs a program that must succeed and reads `input`.
#[track_caller]
pub fn run_with<A: AsRef<OsStr>>(program: &Path, arguments: impl IntoIterator<Item = A>, input: &str) {
    let mut child = Command::new(program).args(arguments).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}: {}", program.display(), String::from_utf8_lossy(&output.stderr));
}
