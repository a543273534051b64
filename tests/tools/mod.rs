//! Other people's programs, and a service for them to talk to.
//!
//! A program that is missing is a failure that names its package, never a test that quietly did not run: `prepare.sh`
//! installs what it can first.
#![allow(dead_code, reason = "each test uses its own part of this")]

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use pageferry_emulator::{Emulator, Options, Running};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// An emulator on a free port that runs while a test waits for other programs.
#[derive(Debug)]
pub(crate) struct Service {
    _runtime: Runtime,
    running: Running,
}

impl Service {
    /// Starts one.
    pub(crate) fn start() -> Service {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let running = runtime.block_on(Emulator::start(Options::default())).unwrap();
        Service { _runtime: runtime, running }
    }

    /// Its endpoint, account included.
    pub(crate) fn url(&self) -> String {
        self.running.url()
    }

    /// What `blobs.py`, that is the Python SDK, answers; needs `python` to be prepared.
    #[track_caller]
    pub(crate) fn blobs(&self, arguments: &[&str], input: &str) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/blobs.py");
        let mut python = Command::new(python());
        python.arg(script).arg(self.url()).args(arguments);
        python.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut python = python.spawn().unwrap();
        python.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = python.wait_with_output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

/// The build directory.
pub(crate) fn target_directory() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned()
}

/// Where `prepare.sh` puts things.
pub(crate) fn directory() -> PathBuf {
    target_directory().join("tools")
}

/// The workspace.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Makes sure of `parts` as `prepare.sh` knows them.
#[track_caller]
pub(crate) fn prepare(parts: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/prepare.sh");
    let prepared = Command::new("bash").arg(script).arg(directory()).args(parts).output().unwrap();
    assert!(prepared.status.success(), "{}", String::from_utf8_lossy(&prepared.stderr));
}

/// The Python with the storage SDK; prepared by `python`.
pub(crate) fn python() -> PathBuf {
    directory().join("venv/bin/python")
}

/// A directory for a test's files, which may be large, that goes away with its owner.
pub(crate) fn scratch() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// The `pageferry` of this build, built now: tests of one package cannot ask cargo for a program of another. All programs
/// are, because that is what `cargo test --workspace` has built already, feature for feature.
pub(crate) fn pageferry() -> PathBuf {
    let release = !cfg!(debug_assertions);
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--workspace", "--bins", "--locked", "--manifest-path"]);
    build.arg(workspace().join("Cargo.toml")).args(release.then_some("--release"));
    // What cargo tells a test about its package would tell some build scripts that everything has changed.
    for (name, _) in std::env::vars_os() {
        let about_us =
            ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_BIN_", "CARGO_PRIMARY_", "CARGO_TARGET_TMPDIR"];
        if name.to_str().is_some_and(|name| about_us.iter().any(|start| name.starts_with(start))) {
            build.env_remove(name);
        }
    }
    finish(build.arg("--target-dir").arg(target_directory()), &[0]);
    target_directory().join(if release { "release" } else { "debug" }).join("pageferry")
}

/// Runs `command` with the tools of administrators within reach, and returns what it wrote if it ended with one of `codes`.
#[track_caller]
pub(crate) fn finish(command: &mut Command, codes: &[i32]) -> Output {
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
pub(crate) fn run<A: AsRef<OsStr>>(program: impl AsRef<OsStr>, arguments: impl IntoIterator<Item = A>) -> Output {
    finish(Command::new(program).args(arguments), &[0])
}
