//! The emulator under other people's hands: Microsoft's azcopy, and sessions that were recorded from the real service.

mod tools;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use pageferry_emulator::sas::{AccountSas, account_sas};
use pageferry_emulator::{DEV_ACCOUNT, DEV_KEY};
use tools::{Service, finish};

const MIB: u64 = 1 << 20;

/// azcopy, with all of its own files kept in `home`.
struct Azcopy {
    program: PathBuf,
    home: PathBuf,
}

impl Azcopy {
    fn new(home: &Path) -> Azcopy {
        let program = match std::env::var_os("PAGEFERRY_AZCOPY") {
            Some(program) => program.into(),
            None => {
                tools::prepare(&["azcopy"]);
                tools::directory().join("azcopy/azcopy")
            }
        };
        Azcopy { program, home: home.to_owned() }
    }

    /// Copies, and is believed only if it says itself that all went well.
    #[track_caller]
    fn copy(&self, from: &str, to: &str, flags: &[&str]) {
        let mut command = Command::new(&self.program);
        command.args(["copy", from, to, "--skip-version-check", "--output-level", "essential"]).args(flags);
        command
            .env("AZCOPY_LOG_LOCATION", self.home.join("log"))
            .env("AZCOPY_JOB_PLAN_LOCATION", self.home.join("plan"));
        command
            .env("AZCOPY_DISABLE_SYSLOG", "true")
            .env("AZCOPY_CONCURRENCY_VALUE", "4")
            .env("AZCOPY_BUFFER_GB", "0.3");
        let output = finish(&mut command, &[0]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("Final Job Status: Completed\n"), "{said}");
    }
}

/// A SAS for everything.
fn sas() -> String {
    let sas = AccountSas {
        version: "2021-12-02",
        services: "b",
        resource_types: "sco",
        permissions: "rwdlac",
        expiry: "2099-01-01T00:00:00Z",
        ..AccountSas::default()
    };
    account_sas(DEV_ACCOUNT, DEV_KEY, &sas).unwrap()
}

/// A disk of 48 MiB with data in a few places, one of them across the end of a request, one at its very end.
fn make_disk(path: &Path) {
    let file = File::create(path).unwrap();
    file.set_len(48 * MIB).unwrap();
    let mut byte = 0u8;
    let mut noise = |bytes: usize| {
        let next = || {
            byte = byte.wrapping_mul(181).wrapping_add(97);
            byte
        };
        std::iter::repeat_with(next).take(bytes).collect::<Vec<_>>()
    };
    for (at, bytes) in [(0, 512), (3 * MIB + 512, 700 * 512), (7 * MIB, 5 << 20), (48 * MIB - 512, 512)] {
        file.write_all_at(&noise(bytes), at).unwrap();
    }
}

#[test]
fn azcopy_uploads_downloads_and_copies_between_blobs() {
    let scratch = tools::scratch();
    let home = scratch.path();
    tools::prepare(&["python"]);
    let azcopy = Azcopy::new(home);
    let service = Service::start();
    service.blobs(&["container", "disks"], "");
    let blob = |name: &str| format!("{}/disks/{name}?{}", service.url(), sas());
    let local = |name: &str| home.join(name);
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (disk, down, copied) = (local("disk.vhd"), local("down.vhd"), local("copied.vhd"));
    make_disk(&disk);
    azcopy.copy(&text(&disk), &blob("up.vhd"), &["--from-to", "LocalBlob", "--blob-type", "PageBlob"]);
    azcopy.copy(&blob("up.vhd"), &text(&down), &["--from-to", "BlobLocal"]);
    azcopy.copy(&blob("up.vhd"), &blob("copy.vhd"), &["--from-to", "BlobBlob", "--blob-type", "PageBlob"]);
    azcopy.copy(&blob("copy.vhd"), &text(&copied), &["--from-to", "BlobLocal"]);
    let truth = fs::read(&disk).unwrap();
    assert!(fs::read(&down).unwrap() == truth, "what came down is not what went up");
    assert!(fs::read(&copied).unwrap() == truth, "a copy from service to service is not what went up");
}

/// Beside the project, not in it: a checkout without them has nothing to replay, but CI must have them.
#[test]
fn recorded_sessions_of_the_real_service_replay_alike() {
    let shared = tools::workspace().join("../shared");
    let (script, recordings) = (shared.join("tools/replay.py"), shared.join("recordings"));
    if !script.exists() || !recordings.exists() {
        let missing = "the recorded sessions are not beside this checkout (../shared), so they cannot be replayed";
        assert!(std::env::var_os("CI").is_none(), "{missing}");
        eprintln!("{missing}");
        return;
    }
    tools::prepare(&["python"]);
    let service = Service::start();
    let sessions = fs::read_dir(recordings).unwrap().map(|entry| entry.unwrap().path());
    let sessions: Vec<_> = sessions.filter(|path| path.extension().is_some_and(|kind| kind == "yaml")).collect();
    let mut replay = Command::new(tools::python());
    let output = finish(replay.arg(script).args(["-v", "--endpoint", &service.url()]).args(&sessions), &[0]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let numbers = said.lines().last().unwrap().split(|c: char| !c.is_ascii_digit()).filter(|word| !word.is_empty());
    let numbers: Vec<usize> = numbers.map(|word| word.parse().unwrap()).collect();
    let [all, identical, agreeing] = numbers[..] else { panic!("{said}") };
    assert_eq!(all, sessions.len());
    assert!(agreeing >= 84 && identical >= 75, "{said}");
}
