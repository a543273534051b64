//! What runs on the machine: partitions, FAT32 volumes, files, and the trim that tells the disk what is free.
//!
//! The file system is a real one (`fatfs` writes it), so what reaches the disk is what reaches disks: allocation tables
//! in two copies, directories, scattered updates, and freed clusters that still hold their old bytes until trimmed.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;

use bytes::Bytes;
use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions, ReadWriteSeek};
use pageferry_core::{PAGE_BYTES, PageRange, Pages};

use super::disk::{Disk, Partition, Storage};

const SECTOR_BYTES: u64 = 512;
const TABLE_AT: u64 = 446; // the partition table of an MBR
const ENTRY_BYTES: u64 = 16;
const FAT32_LBA: u8 = 0x0C;

/// Files of a volume by path, and what is in them.
pub(super) type Files = BTreeMap<String, Bytes>;

/// Something a program on the machine does.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    /// Makes a file.
    Create(String, Bytes),
    /// Writes at the end of a file.
    Append(String, Bytes),
    /// Overwrites parts of a file in place.
    Patch(String, Vec<(usize, Bytes)>),
    /// Deletes a file. Its bytes stay on the disk until it is trimmed.
    Delete(String),
}

/// Writes a partition table with these partitions, in bytes.
pub(super) fn partition(disk: &mut Disk, partitions: &[Range<u64>]) -> io::Result<()> {
    let mut sector = [0u8; 512];
    sector[510..].copy_from_slice(&[0x55, 0xAA]);
    for (entry, partition) in sector[446..510].chunks_mut(16).zip(partitions) {
        let lba = |bytes: u64| u32::try_from(bytes / SECTOR_BYTES).map_err(io::Error::other);
        entry[1..4].copy_from_slice(&[0xFE, 0xFF, 0xFF]); // as cylinders and heads: look at the LBA
        entry[4] = FAT32_LBA;
        entry[5..8].copy_from_slice(&[0xFE, 0xFF, 0xFF]);
        entry[8..12].copy_from_slice(&lba(partition.start)?.to_le_bytes());
        entry[12..16].copy_from_slice(&lba(partition.end - partition.start)?.to_le_bytes());
    }
    disk.write_at(0, &sector)
}

/// The partitions that the table on `storage` names, in bytes.
pub(super) fn partitions(storage: &impl Storage) -> io::Result<Vec<Range<u64>>> {
    let mut signature = [0; 2];
    storage.read_at(510, &mut signature)?;
    if signature != [0x55, 0xAA] {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "there is no partition table"));
    }
    let mut found = Vec::new();
    for index in 0..4 {
        let mut entry = [0; 16];
        storage.read_at(TABLE_AT + index * ENTRY_BYTES, &mut entry)?;
        let field = |at: usize| u64::from(u32::from_le_bytes(std::array::from_fn(|i| entry[at + i]))) * SECTOR_BYTES;
        if entry[4] == FAT32_LBA {
            found.push(field(8)..field(8) + field(12));
        }
    }
    Ok(found)
}

/// Makes an empty FAT32 volume in a partition.
pub(super) fn format(disk: &mut Disk, partition: Range<u64>, label: &[u8; 11]) -> io::Result<()> {
    // FAT32 demands so many clusters that they must be small where a volume is.
    let cluster_bytes = if partition.end - partition.start < 192 << 20 { 512 } else { 2048 };
    let options = FormatVolumeOptions::new()
        .fat_type(FatType::Fat32)
        .bytes_per_cluster(cluster_bytes)
        .volume_id(0x5046_0001)
        .volume_label(*label);
    fatfs::format_volume(Partition::new(disk, partition), options)
}

/// Does `deeds` on the volume in `partition`, and keeps `files` in step with it.
pub(super) fn work(disk: &mut Disk, partition: Range<u64>, files: &mut Files, deeds: Vec<Deed>) -> io::Result<()> {
    let volume = FileSystem::new(Partition::new(disk, partition), FsOptions::new())?;
    for deed in deeds {
        on_volume(&volume, &deed)?;
        in_memory(files, deed);
    }
    volume.unmount()
}

fn on_volume<T: ReadWriteSeek>(volume: &FileSystem<T>, deed: &Deed) -> io::Result<()> {
    let root = volume.root_dir();
    match deed {
        Deed::Create(path, content) => {
            for (at, _) in path.match_indices('/') {
                root.create_dir(&path[..at])?;
            }
            let mut file = root.create_file(path)?;
            file.truncate()?;
            file.write_all(content)?;
            file.flush()
        }
        Deed::Append(path, content) => {
            let mut file = root.open_file(path)?;
            file.seek(SeekFrom::End(0))?;
            file.write_all(content)?;
            file.flush()
        }
        Deed::Patch(path, parts) => {
            let mut file = root.open_file(path)?;
            for (at, part) in parts {
                file.seek(SeekFrom::Start(*at as u64))?;
                file.write_all(part)?;
            }
            file.flush()
        }
        Deed::Delete(path) => root.remove(path),
    }
}

fn in_memory(files: &mut Files, deed: Deed) {
    let changed = |files: &Files, path: &str| files.get(path).map(|content| content.to_vec()).unwrap_or_default();
    match deed {
        Deed::Create(path, content) => {
            files.insert(path, content);
        }
        Deed::Append(path, content) => {
            let mut whole = changed(files, &path);
            whole.extend_from_slice(&content);
            files.insert(path, whole.into());
        }
        Deed::Patch(path, parts) => {
            let mut whole = changed(files, &path);
            for (at, part) in parts {
                whole[at..at + part.len()].copy_from_slice(&part);
            }
            files.insert(path, whole.into());
        }
        Deed::Delete(path) => {
            files.remove(&path);
        }
    }
}

/// Reads every file of the volume in `partition`.
pub(super) fn read_all(storage: &mut impl Storage, partition: Range<u64>) -> io::Result<Files> {
    let volume = FileSystem::new(Partition::new(storage, partition), FsOptions::new())?;
    let mut files = Files::new();
    let mut directories = vec![(String::new(), volume.root_dir())];
    while let Some((path, directory)) = directories.pop() {
        for entry in directory.iter() {
            let entry = entry?;
            let name = entry.file_name();
            if name == "." || name == ".." {
                continue;
            }
            if entry.is_dir() {
                directories.push((format!("{path}{name}/"), entry.to_dir()));
                continue;
            }
            let mut content = Vec::new();
            entry.to_file().read_to_end(&mut content)?;
            files.insert(format!("{path}{name}"), content.into());
        }
    }
    Ok(files)
}

/// Discards every cluster that the volume's allocation table calls free, as `fstrim` does.
pub(super) fn trim(disk: &mut Disk, partition: Range<u64>) -> io::Result<()> {
    let mut boot = [0; 512];
    disk.read_at(partition.start, &mut boot)?;
    let field =
        |at: usize, length: usize| boot[at..at + length].iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte));
    let (cluster, reserved, tables) = (field(13, 1), field(14, 2), field(16, 1));
    let (sectors, table_sectors) = (field(32, 4), field(36, 4));
    let data = reserved + tables * table_sectors;
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "the volume's boot sector makes no sense");
    let clusters = sectors.checked_sub(data).and_then(|left| left.checked_div(cluster)).ok_or_else(invalid)?;
    let mut table = vec![0; usize::try_from(table_sectors * SECTOR_BYTES).map_err(io::Error::other)?];
    disk.read_at(partition.start + reserved * SECTOR_BYTES, &mut table)?;
    // The first two entries of the table are no clusters.
    for (index, entry) in (0..clusters).zip(table.chunks_exact(4).skip(2)) {
        let is_free = entry[..3] == [0; 3] && entry[3] & 0x0F == 0;
        let start = Pages::new(partition.start / PAGE_BYTES + data + index * cluster);
        if is_free && let Some(range) = PageRange::new(start, start + Pages::new(cluster)) {
            disk.discard(range);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_deleted_stays_until_it_is_trimmed() {
        let mut disk = Disk::new(160 << 20, [1; 16]);
        let whole = 1 << 20..160 << 20;
        partition(&mut disk, std::slice::from_ref(&whole)).unwrap();
        assert_eq!(partitions(&disk).unwrap(), std::slice::from_ref(&whole));
        format(&mut disk, whole.clone(), b"TEST       ").unwrap();
        let mut files = Files::new();
        let content = |byte, length| Bytes::from(vec![byte; length]);
        let deeds = vec![
            Deed::Create("a/b/one.bin".into(), content(1, 100_000)),
            Deed::Create("two.bin".into(), content(2, 5000)),
            Deed::Append("two.bin".into(), content(3, 7)),
            Deed::Patch("two.bin".into(), vec![(4000, content(4, 10)), (10, content(5, 1))]),
        ];
        work(&mut disk, whole.clone(), &mut files, deeds).unwrap();
        assert_eq!(read_all(&mut disk, whole.clone()).unwrap(), files);
        let full = disk.picture().allocated();
        work(&mut disk, whole.clone(), &mut files, vec![Deed::Delete("a/b/one.bin".into())]).unwrap();
        assert_eq!(disk.picture().allocated(), full);
        trim(&mut disk, whole.clone()).unwrap();
        let freed = (full - disk.picture().allocated()).bytes();
        assert_eq!(freed, 100_000u64.next_multiple_of(512));
        assert_eq!(read_all(&mut disk, whole).unwrap(), files);
    }
}
