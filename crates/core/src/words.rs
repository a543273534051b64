//! The words of a [`State`] in a blob's metadata.
//!
//! Metadata read back is untrusted input: an unknown newer format is refused, a damaged entry is an error that names it, and
//! a blob without our words is simply not ours. The words carry a check of themselves, because no checksum of the service
//! covers metadata: a seal must not come to name another snapshot on its way.

use sha2::{Digest, Sha256};

use crate::lineage::{DiskId, Mark, Seal, SnapshotRef, State};
use crate::names::{Etag, Metadata, SnapshotId};
use crate::page::Pages;

/// The format of these words. A newer one is refused.
pub const FORMAT: u64 = 1;

const PREFIX: &str = "pageferry";

/// The entry that checks all others.
const CHECK: &str = "check";

/// The value of an entry that names a snapshot where there is none: a seed has no parent, and says so.
const NONE: &str = "none";

/// Stands between the parts of an entry that is a list, and in none of them.
const SEPARATOR: &str = ",";

/// Metadata that cannot be trusted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StateError {
    /// Written by a later version of this program.
    #[error("its metadata has format {0}, and this version knows only formats up to {FORMAT}: use a newer pageferry")]
    NewerFormat(u64),
    /// An entry is absent or damaged.
    #[error(
        "its metadata entry {PREFIX}{0} is missing or damaged: run again, for it may have happened on the way; if it stays \
         so, this is no point, and may be deleted if it is a snapshot, or a target that has no points"
    )]
    Damaged(&'static str),
}

impl State {
    /// The state in a blob's metadata; `None` where there is no word of ours.
    ///
    /// # Errors
    /// [`StateError`] for a newer format and for damaged entries.
    pub fn from_metadata(metadata: &Metadata) -> Result<Option<State>, StateError> {
        let words = Words(metadata);
        if !metadata.keys().any(|name| name.starts_with(PREFIX)) {
            return Ok(None);
        }
        let format = words.number("format")?;
        match format {
            FORMAT => {}
            0 => return Err(StateError::Damaged("format")),
            newer => return Err(StateError::NewerFormat(newer)),
        }
        if words.text("check")? != check(metadata) {
            return Err(StateError::Damaged("check"));
        }
        let disk = DiskId(words.text("disk")?);
        let run = words.text("run")?;
        let epoch = words.number("epoch")?;
        let lease = words.text("lease")?;
        let state = words.text("state")?;
        match state.as_str() {
            "applying" => Ok(Some(State::Applying(Mark {
                disk,
                from: words.optional_snapshot("from", "frometag")?,
                to: words.snapshot("to", "toetag")?,
                run,
                lease,
                host: words.text("host")?,
                epoch,
                known: words.flag("known")?,
                watermark: words.pages("watermark")?,
                gap: words.pages("gap")?,
                grants: words.list("grants"),
            }))),
            "sealed" | "restored" => {
                let seal = Seal {
                    disk,
                    snapshot: words.snapshot("snapshot", "snapshotetag")?,
                    parent: words.optional_snapshot("parent", "parentetag")?,
                    plan: words.text("plan")?,
                    written_bytes: words.number("written")?,
                    cleared_bytes: words.number("cleared")?,
                    run,
                    lease,
                    epoch,
                    sealed_at: words.text("sealedat")?,
                };
                Ok(Some(if state == "sealed" { State::Sealed(seal) } else { State::Restored(seal) }))
            }
            _ => Err(StateError::Damaged("state")),
        }
    }

    /// The state as metadata. Entries of `others` that are not ours are kept: Set Metadata replaces all.
    pub fn to_metadata(&self, others: &Metadata) -> Metadata {
        let mut all: Metadata =
            others.iter().filter(|(name, _)| !name.starts_with(PREFIX)).map(|(n, v)| (n.clone(), v.clone())).collect();
        let mut ours = Vec::new();
        let mut put = |name: &str, value: String| ours.push((format!("{PREFIX}{name}"), value));
        put("format", FORMAT.to_string());
        match self {
            State::Applying(mark) => {
                put("state", "applying".to_owned());
                put("disk", mark.disk.0.clone());
                put("run", mark.run.clone());
                put("lease", mark.lease.clone());
                put("epoch", mark.epoch.to_string());
                put("host", mark.host.clone());
                put("to", mark.to.id.to_string());
                put("toetag", mark.to.etag.to_string());
                put("from", mark.from.as_ref().map_or_else(|| NONE.to_owned(), |from| from.id.to_string()));
                put("frometag", mark.from.as_ref().map_or_else(|| NONE.to_owned(), |from| from.etag.to_string()));
                put("known", mark.known.to_string());
                put("watermark", mark.watermark.bytes().to_string());
                put("gap", mark.gap.bytes().to_string());
                if !mark.grants.is_empty() {
                    put("grants", mark.grants.join(SEPARATOR));
                }
            }
            State::Sealed(seal) | State::Restored(seal) => {
                let state = if matches!(self, State::Sealed(_)) { "sealed" } else { "restored" };
                put("state", state.to_owned());
                put("disk", seal.disk.0.clone());
                put("run", seal.run.clone());
                put("lease", seal.lease.clone());
                put("epoch", seal.epoch.to_string());
                put("snapshot", seal.snapshot.id.to_string());
                put("snapshotetag", seal.snapshot.etag.to_string());
                put("parent", seal.parent.as_ref().map_or_else(|| NONE.to_owned(), |from| from.id.to_string()));
                put("parentetag", seal.parent.as_ref().map_or_else(|| NONE.to_owned(), |from| from.etag.to_string()));
                put("plan", seal.plan.clone());
                put("written", seal.written_bytes.to_string());
                put("cleared", seal.cleared_bytes.to_string());
                put("sealedat", seal.sealed_at.clone());
            }
        }
        all.extend(ours);
        let check = check(&all);
        all.insert(format!("{PREFIX}{CHECK}"), check);
        all
    }
}

/// The check of our entries in `metadata`, which is in the order of their names.
fn check(metadata: &Metadata) -> String {
    let mut digest = Sha256::new();
    for (name, value) in metadata.iter().filter(|(name, _)| name.strip_prefix(PREFIX).is_some_and(|name| name != CHECK))
    {
        for text in [name, value] {
            digest.update(text.len().to_be_bytes());
            digest.update(text);
        }
    }
    digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Reads entries and names the one that is wrong.
struct Words<'a>(&'a Metadata);

impl Words<'_> {
    fn get(&self, name: &str) -> Option<&String> {
        self.0.get(&format!("{PREFIX}{name}"))
    }

    fn text(&self, name: &'static str) -> Result<String, StateError> {
        self.get(name).cloned().ok_or(StateError::Damaged(name))
    }

    fn number(&self, name: &'static str) -> Result<u64, StateError> {
        self.get(name).and_then(|value| value.parse().ok()).ok_or(StateError::Damaged(name))
    }

    fn flag(&self, name: &'static str) -> Result<bool, StateError> {
        self.get(name).and_then(|value| value.parse().ok()).ok_or(StateError::Damaged(name))
    }

    fn pages(&self, name: &'static str) -> Result<Pages, StateError> {
        Pages::from_bytes(self.number(name)?).ok_or(StateError::Damaged(name))
    }

    /// A list that is left out where it is empty; the check tells that from one that was lost.
    fn list(&self, name: &'static str) -> Vec<String> {
        self.get(name).map(|text| text.split(SEPARATOR).map(str::to_owned).collect()).unwrap_or_default()
    }

    fn snapshot(&self, id: &'static str, etag: &'static str) -> Result<SnapshotRef, StateError> {
        Ok(SnapshotRef { id: SnapshotId::new(self.text(id)?), etag: Etag::new(&self.text(etag)?) })
    }

    fn optional_snapshot(&self, id: &'static str, etag: &'static str) -> Result<Option<SnapshotRef>, StateError> {
        let snapshot = self.snapshot(id, etag)?;
        Ok((snapshot.id.as_str() != NONE).then_some(snapshot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lineage::Mark;

    fn snapshot(name: &str) -> SnapshotRef {
        SnapshotRef { id: SnapshotId::new(name), etag: Etag::new("\"0x8D1\"") }
    }

    fn examples() -> Vec<State> {
        let disk = DiskId::new("https://a.blob.core.windows.net/c/d", "Fri, 27 Jan 2023 22:27:19 GMT");
        let mark = Mark {
            disk: disk.clone(),
            from: None,
            to: snapshot("2"),
            run: "r".into(),
            lease: "l".into(),
            host: "h".into(),
            epoch: 7,
            known: true,
            watermark: Pages::new(3),
            gap: Pages::ZERO,
            grants: Vec::new(),
        };
        let seal = Seal {
            disk,
            snapshot: snapshot("2"),
            parent: None,
            plan: "ab".into(),
            written_bytes: 1,
            cleared_bytes: 2,
            run: "r".into(),
            lease: "l".into(),
            epoch: 7,
            sealed_at: "2026-01-01T00:00:00Z".into(),
        };
        vec![
            State::Applying(mark.clone()),
            State::Applying(Mark { from: Some(snapshot("1")), known: false, ..mark.clone() }),
            State::Sealed(seal.clone()),
            State::Restored(seal.clone()),
            State::Sealed(Seal { parent: Some(snapshot("1")), ..seal }),
            State::Applying(Mark { grants: vec!["/s/1".into(), "/s/2".into()], ..mark }),
        ]
    }

    #[test]
    fn what_is_written_is_read_back() {
        for state in examples() {
            let metadata = state.to_metadata(&Metadata::new());
            assert_eq!(State::from_metadata(&metadata), Ok(Some(state)));
        }
    }

    #[test]
    fn metadata_of_others_is_kept_and_ours_is_replaced() {
        let others = Metadata::from([("owner".into(), "me".into()), ("pageferryhost".into(), "old".into())]);
        let metadata = examples()[2].to_metadata(&others);
        assert_eq!(metadata.get("owner").map(String::as_str), Some("me"));
        assert!(!metadata.contains_key("pageferryhost"));
    }

    #[test]
    fn a_blob_without_our_words_is_not_ours() {
        assert_eq!(State::from_metadata(&Metadata::from([("k".into(), "v".into())])), Ok(None));
    }

    #[test]
    fn any_entry_taken_away_or_spoilt_is_noticed() {
        for state in examples() {
            let metadata = state.to_metadata(&Metadata::new());
            for name in metadata.keys() {
                let mut less = metadata.clone();
                less.remove(name);
                assert!(State::from_metadata(&less).is_err(), "without {name}");
                let mut spoilt = metadata.clone();
                spoilt.entry(name.clone()).and_modify(|value| value.push('0'));
                assert!(State::from_metadata(&spoilt).is_err(), "{name} is not what was written");
            }
        }
        let mut newer = examples()[0].to_metadata(&Metadata::new());
        newer.insert("pageferryformat".into(), "2".into());
        assert_eq!(State::from_metadata(&newer), Err(StateError::NewerFormat(2)));
        newer.insert("pageferryformat".into(), "-1".into());
        assert_eq!(State::from_metadata(&newer), Err(StateError::Damaged("format")));
    }
}
