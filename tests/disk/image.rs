//! A real ext4 file system in a sparse file, changed by the tools of its own makers, and wrapped as a VHD by QEMU.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tools::{finish, run, workspace};

const PAGE: usize = 512;

/// A raw disk with one ext4 file system, and a place beside it for files on their way in.
#[derive(Debug)]
pub(crate) struct Image {
    home: PathBuf,
    raw: PathBuf,
    chance: u64,
}

/// What has to be done to a page blob so that it equals the second of two pictures. Bytes, half-open.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// What differs and is not empty.
    pub(crate) writes: Vec<Range<u64>>,
    /// What held data and is empty now.
    pub(crate) clears: Vec<Range<u64>>,
}

impl Image {
    /// An image of `bytes` in `home` that holds the workspace's own sources, and some large files.
    pub(crate) fn make(home: &Path, bytes: u64) -> Image {
        let mut image = Image { home: home.to_owned(), raw: home.join("disk.raw"), chance: 0x9E37_79B9_7F4A_7C15 };
        let tree = home.join("tree");
        copy_sources(&workspace().join("crates"), &tree);
        fs::create_dir(tree.join("data")).unwrap();
        for number in 0..6 {
            let noise = image.noise(3 << 20);
            fs::write(tree.join(format!("data/{number}.bin")), noise).unwrap();
        }
        let size = format!("{}K", bytes >> 10);
        let (tree, raw) = (tree.as_os_str(), image.raw.as_os_str());
        run("mke2fs", ["-q".as_ref(), "-t".as_ref(), "ext4".as_ref(), "-d".as_ref(), tree, raw, size.as_ref()]);
        image
    }

    /// Puts a new file of `bytes` at `path`, a path on the file system.
    pub(crate) fn put(&mut self, path: &str, bytes: usize) {
        let new = self.home.join("new.bin");
        let noise = self.noise(bytes);
        fs::write(&new, noise).unwrap();
        self.debugfs(&format!("write {} {path}", new.display()));
    }

    /// Carries out one command of debugfs. That ends well whatever happens, so anything it complains of is an error.
    pub(crate) fn debugfs(&self, command: &str) {
        let output = run("debugfs", ["-w".as_ref(), "-R".as_ref(), command.as_ref(), self.raw.as_os_str()]);
        let complaints = String::from_utf8_lossy(&output.stderr);
        let complaints: Vec<_> = complaints.lines().filter(|line| !line.starts_with("debugfs 1.")).collect();
        assert!(complaints.is_empty(), "debugfs {command}: {complaints:?}");
    }

    /// Gives back what the file system does not use, as holes in the file.
    pub(crate) fn discard(&self) {
        // 1 means that something was put right: the free counts that debugfs does not keep.
        finish(Command::new("e2fsck").args(["-f", "-y", "-E", "discard"]).arg(&self.raw), &[0, 1]);
    }

    /// Makes the disk and its file system larger.
    pub(crate) fn grow(&self, bytes: u64) {
        finish(Command::new("e2fsck").args(["-f", "-y"]).arg(&self.raw), &[0, 1]);
        fs::OpenOptions::new().write(true).open(&self.raw).unwrap().set_len(bytes).unwrap();
        run("resize2fs", [self.raw.as_os_str()]);
    }

    /// The disk as a fixed VHD, after a look at whether its file system is in order.
    pub(crate) fn wrap(&self, name: &str) -> PathBuf {
        is_clean(&self.raw);
        let vhd = self.home.join(name);
        let options = "subformat=fixed,force_size";
        let convert = ["convert", "-f", "raw", "-O", "vpc", "-o", options].map(AsRef::as_ref);
        run("qemu-img", convert.into_iter().chain([self.raw.as_os_str(), vhd.as_os_str()]));
        vhd
    }

    /// Bytes that nothing can guess.
    fn noise(&mut self, bytes: usize) -> Vec<u8> {
        let mut next = || {
            self.chance ^= self.chance << 13;
            self.chance ^= self.chance >> 7;
            self.chance ^= self.chance << 17;
            self.chance.to_le_bytes()
        };
        std::iter::repeat_with(&mut next).take(bytes.div_ceil(8)).flatten().take(bytes).collect()
    }
}

/// The file system in `raw` is without a fault.
pub(crate) fn is_clean(raw: &Path) {
    finish(Command::new("e2fsck").arg("-fn").arg(raw), &[0]);
}

/// The changes from one picture to the next. What was cut off or never there counts as empty.
pub(crate) fn changes(before: &[u8], after: &[u8]) -> Changes {
    let mut changes = Changes::default();
    for (page, data) in after.chunks(PAGE).enumerate() {
        let at = page * PAGE;
        let old = before.get(at..at + PAGE).unwrap_or(&[0; PAGE]);
        if data == old {
            continue;
        }
        let list = if data == [0; PAGE] { &mut changes.clears } else { &mut changes.writes };
        add(list, at);
    }
    changes
}

/// The ranges of a picture that hold anything.
pub(crate) fn allocated(picture: &[u8]) -> Vec<Range<u64>> {
    changes(&[], picture).writes
}

/// The length of all `ranges`.
pub(crate) fn bytes(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}

fn add(ranges: &mut Vec<Range<u64>>, at: usize) {
    let at = at as u64;
    match ranges.last_mut() {
        Some(last) if last.end == at => last.end += PAGE as u64,
        _ => ranges.push(at..at + PAGE as u64),
    }
}

fn copy_sources(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().unwrap().is_dir() {
            copy_sources(&path, &copy);
        } else {
            fs::copy(&path, &copy).unwrap();
        }
    }
}
