//! The ids that Resource Manager gives to disks and snapshots, taken apart once.
//!
//! They compare without regard to case, because the service writes the same one now so, now so; what is shown is what was
//! typed.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

/// What an id is the id of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// A managed disk.
    Disk,
    /// A snapshot of one, full or incremental.
    Snapshot,
}

impl Kind {
    /// The part of an id, and of a role's actions, that says so.
    pub fn plural(self) -> &'static str {
        match self {
            Kind::Disk => "disks",
            Kind::Snapshot => "snapshots",
        }
    }

    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Disk => "disk",
            Kind::Snapshot => "snapshot",
        }
    }
}

/// The id of a managed disk or of a snapshot.
#[derive(Clone)]
pub struct ResourceId {
    typed: String,
    canonical: String,
    subscription: String,
    group: String,
    kind: Kind,
    name: String,
}

/// Why a text is not the id of a disk or a snapshot.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResourceIdError {
    /// Not of the form that ids have.
    #[error(
        "{0:?} is no resource id; expected \
         /subscriptions/<id>/resourceGroups/<group>/providers/Microsoft.Compute/disks/<name>, or snapshots/<name>"
    )]
    Form(String),
    /// The id of something else.
    #[error(
        "{0:?} is the id of neither a disk nor a snapshot (Microsoft.Compute/disks or Microsoft.Compute/snapshots)"
    )]
    OtherKind(String),
    /// A part that is empty, or that no resource can be called.
    #[error("{value:?} cannot be the {part} in a resource id")]
    Part {
        /// Which part.
        part: &'static str,
        /// What was given for it.
        value: String,
    },
}

impl ResourceId {
    /// Takes an id apart.
    ///
    /// # Errors
    /// [`ResourceIdError`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<ResourceId, ResourceIdError> {
        let text = text.trim();
        let parts: Vec<&str> = text.split('/').collect();
        let &["", subscriptions, subscription, groups, group, providers, provider, kind, name] = parts.as_slice()
        else {
            return Err(ResourceIdError::Form(text.to_owned()));
        };
        let words = [(subscriptions, "subscriptions"), (groups, "resourceGroups"), (providers, "providers")];
        if !words.iter().all(|(word, expected)| word.eq_ignore_ascii_case(expected)) {
            return Err(ResourceIdError::Form(text.to_owned()));
        }
        let kind = [Kind::Disk, Kind::Snapshot].into_iter().find(|known| kind.eq_ignore_ascii_case(known.plural()));
        let kind = kind.filter(|_| provider.eq_ignore_ascii_case("Microsoft.Compute"));
        let kind = kind.ok_or_else(|| ResourceIdError::OtherKind(text.to_owned()))?;
        ResourceId::of(text.to_owned(), subscription, group, kind, name)
    }

    /// The id of the disk called `name`.
    ///
    /// # Errors
    /// [`ResourceIdError::Part`] where one of the names cannot be one.
    pub fn disk(subscription: &str, group: &str, name: &str) -> Result<ResourceId, ResourceIdError> {
        ResourceId::of(spell(subscription, group, Kind::Disk, name), subscription, group, Kind::Disk, name)
    }

    /// The id of the snapshot called `name`.
    ///
    /// # Errors
    /// [`ResourceIdError::Part`] where one of the names cannot be one.
    pub fn snapshot(subscription: &str, group: &str, name: &str) -> Result<ResourceId, ResourceIdError> {
        ResourceId::of(spell(subscription, group, Kind::Snapshot, name), subscription, group, Kind::Snapshot, name)
    }

    fn of(
        typed: String,
        subscription: &str,
        group: &str,
        kind: Kind,
        name: &str,
    ) -> Result<ResourceId, ResourceIdError> {
        check("subscription", subscription)?;
        check("resource group", group)?;
        check("name", name)?;
        Ok(ResourceId {
            canonical: typed.to_lowercase(),
            typed,
            subscription: subscription.to_owned(),
            group: group.to_owned(),
            kind,
            name: name.to_owned(),
        })
    }

    /// Whether `text` is meant as a resource id, rather than as a URL or a path; it may be a wrong one all the same.
    pub fn is_resource_id(text: &str) -> bool {
        const BEGINS: &str = "/subscriptions/";
        text.trim().get(..BEGINS.len()).is_some_and(|start| start.eq_ignore_ascii_case(BEGINS))
    }

    /// The subscription, a UUID.
    pub fn subscription(&self) -> &str {
        &self.subscription
    }

    /// The resource group.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// Whether it is a disk or a snapshot.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The name within its group.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The one spelling of all that mean the same: in lower case.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }
}

fn spell(subscription: &str, group: &str, kind: Kind, name: &str) -> String {
    let kind = kind.plural();
    format!("/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/{kind}/{name}")
}

/// Refuses what would mean something else as part of a URL's path.
pub(crate) fn check(part: &'static str, value: &str) -> Result<(), ResourceIdError> {
    let odd = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '/' | '\\' | '?' | '#' | '%' | '&' | '=');
    if value.is_empty() || value == "." || value == ".." || value.chars().any(odd) {
        return Err(ResourceIdError::Part { part, value: value.to_owned() });
    }
    Ok(())
}

impl FromStr for ResourceId {
    type Err = ResourceIdError;

    fn from_str(text: &str) -> Result<ResourceId, ResourceIdError> {
        ResourceId::parse(text)
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.typed)
    }
}

impl fmt::Debug for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.typed)
    }
}

impl PartialEq for ResourceId {
    fn eq(&self, other: &ResourceId) -> bool {
        self.canonical == other.canonical
    }
}

impl Eq for ResourceId {}

impl Hash for ResourceId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.canonical.hash(state);
    }
}

impl PartialOrd for ResourceId {
    fn partial_cmp(&self, other: &ResourceId) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ResourceId {
    fn cmp(&self, other: &ResourceId) -> Ordering {
        self.canonical.cmp(&other.canonical)
    }
}
