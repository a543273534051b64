//! The chain of a managed disk: which of its snapshots can be backed up, and in which order.
//!
//! Names prove nothing: they are given freely, and given again. A snapshot belongs to a disk by the disk's resource id *and*
//! by the disk's unique id, which a later disk of the same name does not have (protocol rule 38); the order is that of
//! the times the service gave them.

use std::collections::{BTreeMap, BTreeSet};

use pageferry_arm::{ResourceId, Snapshot};
use pageferry_core::{Etag, Pages, SnapshotId};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use crate::take::has_failed;

/// The snapshots of one disk that can be backed up, oldest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Chain {
    /// The disk.
    pub disk: ResourceId,
    /// What tells it from every other disk that ever had its name.
    pub unique: String,
    /// Its complete incremental snapshots, oldest first, up to the first that is not complete yet.
    pub links: Vec<Link>,
    /// What was left out and why, for people.
    pub notes: Vec<String>,
}

/// A snapshot that can be backed up.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// The snapshot.
    pub resource: ResourceId,
    /// Its name as a source snapshot: when it was taken.
    pub id: SnapshotId,
    /// What tells it from another of that time.
    pub etag: Etag,
    /// Its size as a page blob: the disk and a footer.
    pub size: Pages,
    /// Between which snapshots the service gives differences.
    pub family: Option<String>,
    /// Whether reading it takes a token beside the SAS.
    pub needs_token: bool,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// What bars everybody from reading it, in words.
    pub barred: Option<String>,
}

/// The footer of a fixed VHD, which the page blob has and the disk's own size does not count.
pub const FOOTER_BYTES: u64 = 512;

impl Chain {
    /// The chain of `disk` among `snapshots`, which may be of any disk. `unique` is the disk's unique id, where the disk
    /// still exists; otherwise its snapshots must agree on one.
    ///
    /// # Errors
    /// What a person must look at, in words.
    pub fn of(disk: &ResourceId, unique: Option<&str>, snapshots: Vec<Snapshot>) -> Result<Chain, String> {
        let mut named: Vec<Snapshot> =
            snapshots.into_iter().filter(|snapshot| snapshot.source.as_ref() == Some(disk)).collect();
        let mut notes = Vec::new();
        let unique = match unique {
            Some(unique) => unique.to_owned(),
            None => only_one(disk, &named)?,
        };
        let earlier = named.extract_if(.., |snapshot| snapshot.source_unique_id.as_deref() != Some(&unique));
        leave_out(&mut notes, earlier, "come from different disks with the same name, and are left alone");
        let full = named.extract_if(.., |snapshot| !snapshot.incremental);
        leave_out(&mut notes, full, "are full snapshots, between which there are no differences, and are left alone");
        let failed = named.extract_if(.., |snapshot| has_failed(snapshot));
        leave_out(&mut notes, failed, "have failed, and hold nothing that could be backed up");
        if let Some(vhdx) = named.iter().find(|snapshot| snapshot.sector_size.is_some_and(|bytes| bytes != 512)) {
            return Err(format!(
                "snapshot {} has {}-byte sectors; it can only become an Ultra or Premium SSD v2 disk, and is a VHDX, whose \
                 pages are not the disk's: pageferry copies disks with 512-byte sectors",
                vhdx.name,
                vhdx.sector_size.unwrap_or_default()
            ));
        }
        let mut dated = Vec::new();
        for snapshot in named {
            let taken = OffsetDateTime::parse(&snapshot.time_created, &Rfc3339)
                .map_err(|_| format!("snapshot {} was taken at no time one could read", snapshot.name))?;
            dated.push((taken, snapshot));
        }
        dated.sort_by_key(|(taken, _)| *taken);
        if let Some([(_, one), (_, other)]) = dated.windows(2).find_map(|pair| match pair {
            [one, other] if id(one.0) == id(other.0) => Some([one, other]),
            _ => None,
        }) {
            return Err(format!(
                "snapshots {} and {} were taken at the same time, and have no order: delete the one that can go",
                one.name, other.name
            ));
        }
        let mut links = Vec::new();
        for (taken, snapshot) in dated {
            if !snapshot.is_complete() {
                let percent =
                    snapshot.completion_percent.map_or("not started".to_owned(), |p| format!("{p} % complete"));
                notes.push(format!(
                    "{} is {percent}: it and what was taken after it are left for the next run",
                    snapshot.name
                ));
                break;
            }
            links.push(link(taken, snapshot)?);
        }
        Ok(Chain { disk: disk.clone(), unique, links, notes })
    }

    /// The snapshot taken at `id`.
    pub fn link(&self, id: &SnapshotId) -> Option<&Link> {
        self.links.iter().find(|link| link.id == *id)
    }

    /// The snapshot that `text` means: its time, its name, or its resource id.
    pub fn named(&self, text: &str) -> Option<&Link> {
        self.links.iter().find(|link| {
            link.id.as_str() == text
                || link.resource.name().eq_ignore_ascii_case(text)
                || link.resource.canonical() == text.to_ascii_lowercase()
        })
    }
}

fn link(taken: OffsetDateTime, snapshot: Snapshot) -> Result<Link, String> {
    let name = &snapshot.name;
    let bytes = snapshot.size_bytes.and_then(|bytes| bytes.checked_add(FOOTER_BYTES));
    let size = bytes.and_then(Pages::from_bytes).ok_or_else(|| format!("snapshot {name} does not say its size"))?;
    let unique = snapshot.unique_id.as_deref().ok_or_else(|| format!("snapshot {name} has no unique id"))?;
    let barred = snapshot.network_policy.as_deref().filter(|policy| policy.eq_ignore_ascii_case("DenyAll")).map(|_| {
        format!(
            "snapshot {name} has the network access policy DenyAll, so that nobody may read it: set it to AllowAll, or to \
             AllowPrivate with a disk access that this machine reaches"
        )
    });
    Ok(Link {
        id: id(taken).ok_or_else(|| format!("snapshot {name} was taken at no time one could name"))?,
        etag: Etag::new(unique),
        size,
        family: snapshot.family.clone(),
        needs_token: snapshot.needs_token(),
        barred,
        tags: snapshot.tags,
        resource: snapshot.id,
    })
}

/// A time as source snapshots are named: in UTC, to the hundred nanoseconds, so that names sort as times do.
fn id(taken: OffsetDateTime) -> Option<SnapshotId> {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:7]Z");
    taken.to_offset(time::UtcOffset::UTC).format(format).ok().map(SnapshotId::new)
}

/// The unique id on which all snapshots of a disk that is gone agree.
fn only_one(disk: &ResourceId, named: &[Snapshot]) -> Result<String, String> {
    let ids: BTreeSet<&str> = named.iter().filter_map(|snapshot| snapshot.source_unique_id.as_deref()).collect();
    match ids.iter().collect::<Vec<_>>()[..] {
        [unique] => Ok((*unique).to_owned()),
        [] => Err(format!("neither {disk} nor any snapshot of it exists")),
        _ => Err(format!(
            "the disk is gone, and its snapshots come from {} different disks with the same name: name one of the \
             snapshots instead",
            ids.len()
        )),
    }
}

fn leave_out(notes: &mut Vec<String>, left_out: impl Iterator<Item = Snapshot>, why: &str) {
    let names: Vec<String> = left_out.map(|snapshot| snapshot.name).collect();
    if !names.is_empty() {
        notes.push(format!("snapshots {} {why}", names.join(", ")));
    }
}

#[cfg(test)]
mod tests;
