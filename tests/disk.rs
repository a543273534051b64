//! A real disk through the whole of pageferry, by its command line, and judged by other people's programs.
//!
//! ext4 is made by `mke2fs`, changed by `debugfs`, freed by `e2fsck -E discard`, grown by `resize2fs`, and wrapped as a fixed
//! VHD by `qemu-img`. The Python storage SDK plays the machine that writes the disk, and reads every point back. A point
//! is right if it equals the VHD file it is the backup of, and if exactly the pages that hold data are allocated in it.

#[path = "disk/image.rs"]
mod image;
mod tools;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::{Changes, Image, allocated, bytes, changes, is_clean};
use serde_json::{Value, json};
use tools::{Service, finish, run};

const MIB: u64 = 1 << 20;
const SOURCE: &str = "disks/real.vhd";
const TARGET: &str = "backups/real.vhd";

/// The disk in the cloud and its backup.
struct Cloud {
    service: Service,
    pageferry: PathBuf,
}

/// A source snapshot, and what is true of it.
struct Picture {
    snapshot: String,
    vhd: PathBuf,
    data: Vec<u8>,
    changes: Changes,
}

impl Cloud {
    fn new() -> Cloud {
        let cloud = Cloud { service: Service::start(), pageferry: tools::pageferry() };
        for container in ["disks", "backups"] {
            cloud.service.blobs(&["container", container], "");
        }
        cloud
    }

    fn url(&self, blob: &str) -> String {
        format!("{}/{blob}", self.service.url())
    }

    /// What `pageferry` with these arguments says on stdout, line by line.
    #[track_caller]
    fn pageferry(&self, arguments: &[&str]) -> Vec<Value> {
        let output = finish(Command::new(&self.pageferry).args(["-o", "json"]).args(arguments), &[0]);
        let lines = String::from_utf8(output.stdout).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Writes to the source what is new in the VHD at `vhd`, and takes a snapshot of it.
    fn snapshot(&self, before: Option<&Picture>, vhd: PathBuf) -> Picture {
        let data = fs::read(&vhd).unwrap();
        let changes = changes(before.map_or(&[], |picture| &picture.data), &data);
        let pairs = |ranges: &[std::ops::Range<u64>]| ranges.iter().map(|r| [r.start, r.end]).collect::<Vec<_>>();
        let plan = json!({
            "image": vhd, "size": data.len(), "writes": pairs(&changes.writes), "clears": pairs(&changes.clears),
        });
        self.service.blobs(&["write", SOURCE], &plan.to_string());
        let said = self.pageferry(&["snapshot", &self.url(SOURCE)]);
        let snapshot = one(&said, "snapshot")["snapshot"].as_str().unwrap().to_owned();
        Picture { snapshot, vhd, data, changes }
    }

    /// Syncs, and checks that each of `pictures` became a point by moving what changed and nothing else.
    #[track_caller]
    fn sync(&self, pictures: &[&Picture], flags: &[&str]) {
        let (source, target) = (self.url(SOURCE), self.url(TARGET));
        let said = self.pageferry(&[&["sync", &source, &target], flags].concat());
        let steps: Vec<_> = said.iter().filter(|line| line["type"] == "step").collect();
        assert_eq!(steps.len(), pictures.len(), "{said:?}");
        for (step, picture) in steps.iter().zip(pictures) {
            let (written, cleared) = (bytes(&picture.changes.writes), bytes(&picture.changes.clears));
            assert_eq!(step["to"], picture.snapshot);
            assert_eq!(step["disk_bytes"], picture.data.len());
            assert_eq!(step["changed_bytes"], written, "{step}");
            assert_eq!(step["freed_bytes"], cleared, "{step}");
            assert_eq!(
                step["written_bytes"], written,
                "a byte moved that had not changed, or the other way round: {step}"
            );
            assert_eq!(step["cleared_bytes"], cleared, "{step}");
        }
    }

    /// Restores the point of `picture` to `path`.
    fn restore(&self, picture: &Picture, path: &Path) {
        self.pageferry(&["restore", &self.url(TARGET), path.to_str().unwrap(), "--point", &picture.snapshot]);
        let file = fs::metadata(path).unwrap();
        let data = bytes(&allocated(&picture.data));
        let taken = std::os::unix::fs::MetadataExt::blocks(&file) * 512;
        // A file system counts in blocks of its own, and keeps lists of them.
        assert!(taken < data * 5 / 4 + MIB, "{} takes {taken} bytes for {data} of data", path.display());
    }
}

/// The only line of this type.
#[track_caller]
fn one<'a>(lines: &'a [Value], kind: &str) -> &'a Value {
    let found: Vec<_> = lines.iter().filter(|line| line["type"] == kind).collect();
    assert_eq!(found.len(), 1, "{kind} in {lines:?}");
    found[0]
}

#[test]
fn a_real_disk_comes_back_from_each_of_its_points() {
    tools::prepare(&["disk", "python"]);
    let scratch = tools::scratch();
    let home = scratch.path();
    let cloud = Cloud::new();
    let mut disk = Image::make(home, 96 * MIB);

    let installed = cloud.snapshot(None, disk.wrap("0.vhd"));
    cloud.sync(&[&installed], &[]);

    disk.debugfs("mkdir /var");
    disk.put("/var/one.bin", 2_500_000);
    disk.put("/var/two.bin", 700_001);
    disk.debugfs("rm /data/1.bin");
    disk.debugfs("symlink /var/newest /var/two.bin");
    let changed = cloud.snapshot(Some(&installed), disk.wrap("1.vhd"));
    cloud.sync(&[&changed], &["--request-size", "64K"]);

    disk.debugfs("rm /data/3.bin");
    disk.debugfs("rm /var/one.bin");
    disk.discard();
    let freed = cloud.snapshot(Some(&changed), disk.wrap("2.vhd"));
    // Of the three files that are gone, hardly a block was used again.
    assert!(bytes(&freed.changes.clears) > 8_000_000, "a discard that frees nothing tests nothing");

    disk.grow(128 * MIB);
    disk.put("/var/three.bin", 5 << 20);
    let grown = cloud.snapshot(Some(&freed), disk.wrap("3.vhd"));
    assert_eq!(grown.data.len() as u64, 128 * MIB + 512);
    cloud.sync(&[&freed, &grown], &[]);

    disk.debugfs("rm /var/two.bin");
    disk.debugfs("rm /var/newest");
    disk.put("/data/6.bin", 900_000);
    disk.discard();
    disk.put("/data/7.bin", 100_000);
    let last = cloud.snapshot(Some(&grown), disk.wrap("4.vhd"));
    assert!(bytes(&last.changes.writes) > 0 && bytes(&last.changes.clears) > 0);
    cloud.sync(&[&last], &["--request-size", "1M"]);

    let pictures = [installed, changed, freed, grown, last];
    each_point_equals_the_truth(&cloud, &pictures, home);
    restored_images_are_whole(&cloud, &pictures, home);
}

/// As the Python SDK reads them.
fn each_point_equals_the_truth(cloud: &Cloud, pictures: &[Picture], home: &Path) {
    let points = cloud.pageferry(&["points", &cloud.url(TARGET)]);
    let points: Vec<_> = points.iter().filter(|line| line["type"] == "point").collect();
    let directory = home.join("read");
    fs::create_dir(&directory).unwrap();
    let read = cloud.service.blobs(&["read", TARGET, directory.to_str().unwrap()], "");
    let read: Vec<Value> = read.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((read.len(), points.len()), (pictures.len(), pictures.len()));
    for ((read, point), picture) in read.iter().zip(points).zip(pictures) {
        let name = picture.vhd.display();
        assert_eq!(read["snapshot"], point["point"]);
        assert_eq!(point["source_snapshot"], picture.snapshot);
        let data = fs::read(read["file"].as_str().unwrap()).unwrap();
        assert!(data == picture.data, "the point of {name} differs: {:?}", changes(&picture.data, &data));
        let pages: Vec<_> = allocated(&picture.data).iter().map(|range| json!([range.start, range.end])).collect();
        assert_eq!(read["pages"], Value::from(pages), "what is empty in {name} is unallocated in its point");
    }
}

/// As e2fsck and QEMU see them.
fn restored_images_are_whole(cloud: &Cloud, pictures: &[Picture], home: &Path) {
    for (number, picture) in pictures.iter().enumerate() {
        let (raw, vhd) = (home.join(format!("restored-{number}.raw")), home.join(format!("restored-{number}.vhd")));
        cloud.restore(picture, &raw);
        is_clean(&raw);
        cloud.restore(picture, &vhd);
        for (format, restored) in [("raw", &raw), ("vpc", &vhd)] {
            let compare = ["compare", "-f", "vpc", "-F", format].map(AsRef::as_ref);
            run("qemu-img", compare.into_iter().chain([picture.vhd.as_os_str(), restored.as_os_str()]));
        }
        // QEMU has no check for this format and says so with 63; a damaged image does not get that far.
        finish(Command::new("qemu-img").args(["check", "-f", "vpc"]).arg(&vhd), &[0, 63]);
        let data = &picture.data;
        assert!(fs::read(&vhd).unwrap() == *data, "{} is not {}", vhd.display(), picture.vhd.display());
        assert!(fs::read(&raw).unwrap() == data[..data.len() - 512], "{} is not the disk", raw.display());
    }
}
