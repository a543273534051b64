//! Addresses: resource ids, which are compared without regard to case, and what else there is below `/subscriptions/`.

use crate::model::arm::error::ArmError;
use crate::request::{self, Request};

/// What sort of resource it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Disk,
    Snapshot,
}

/// A resource id in lower case, in the order of lists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) subscription: String,
    pub(crate) kind: Kind,
    pub(crate) group: String,
    pub(crate) name: String,
}

/// What a request is addressed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// A resource, with its id as it was written.
    One(Key, String),
    /// Something to be done with a resource, in lower case.
    Action(Key, String),
    /// The resources of one sort, of a group or of the whole subscription.
    List { subscription: String, group: Option<String>, kind: Kind },
    /// Something under way.
    Operation(String),
}

/// Whether a request is for the resource manager rather than for the blob service.
pub(crate) fn is_arm(request: &Request) -> bool {
    const PREFIX: &[u8] = b"/subscriptions/";
    request.path.as_bytes().get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

impl Kind {
    const ALL: [Self; 2] = [Self::Disk, Self::Snapshot];

    /// Its name in paths.
    pub(crate) const fn plural(self) -> &'static str {
        match self {
            Self::Disk => "disks",
            Self::Snapshot => "snapshots",
        }
    }

    fn of(segment: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.plural() == segment)
    }
}

impl Route {
    /// Reads a path; `None` for one that leads nowhere.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let whole = request::decode(path);
        let whole = whole.trim_matches('/');
        let lower = whole.to_ascii_lowercase();
        let segments: Vec<&str> = lower.split('/').collect();
        let (subscription, rest) = match segments.as_slice() {
            ["subscriptions", subscription, rest @ ..] if !subscription.is_empty() => (*subscription, rest),
            _ => return None,
        };
        let own = |text: &str| text.to_owned();
        let key = |group: &str, kind, name: &str| {
            let parts = (own(subscription), own(group), own(name));
            Some(Key { subscription: parts.0, kind, group: parts.1, name: parts.2 }).filter(Key::is_whole)
        };
        match rest {
            ["providers", "microsoft.compute", kind] => {
                Some(Self::List { subscription: own(subscription), group: None, kind: Kind::of(kind)? })
            }
            ["providers", "microsoft.compute", "locations", _, "diskoperations", id] => Some(Self::Operation(own(id))),
            ["resourcegroups", group, "providers", "microsoft.compute", kind] => {
                Some(Self::List { subscription: own(subscription), group: Some(own(group)), kind: Kind::of(kind)? })
            }
            ["resourcegroups", group, "providers", "microsoft.compute", kind, name] => {
                Some(Self::One(key(group, Kind::of(kind)?, name)?, format!("/{whole}")))
            }
            ["resourcegroups", group, "providers", "microsoft.compute", kind, name, action] => {
                Some(Self::Action(key(group, Kind::of(kind)?, name)?, own(action)))
            }
            _ => None,
        }
    }

    /// The group that must exist for it.
    pub(crate) fn group(&self) -> Option<&str> {
        match self {
            Self::One(key, _) | Self::Action(key, _) => Some(&key.group),
            Self::List { group, .. } => group.as_deref(),
            Self::Operation(_) => None,
        }
    }
}

impl Key {
    /// Reads the id of a resource.
    pub(crate) fn parse(id: &str) -> Option<Self> {
        match Route::parse(id)? {
            Route::One(key, _) => Some(key),
            _ => None,
        }
    }

    /// The id in lower case, for messages.
    pub(crate) fn id(&self) -> String {
        let (group, kind) = (&self.group, self.kind.plural());
        let subscription = &self.subscription;
        format!("/subscriptions/{subscription}/resourcegroups/{group}/providers/microsoft.compute/{kind}/{}", self.name)
    }

    /// Refuses names that the service would not take.
    pub(crate) fn check_name(&self) -> Result<(), ArmError> {
        let fine = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
        match self.name.len() <= 80 && self.name.bytes().all(fine) && !self.name.ends_with(['.', '-']) {
            true => Ok(()),
            false => Err(ArmError::new(400, "InvalidParameter", format!("The name '{}' is not valid.", self.name))),
        }
    }

    fn is_whole(&self) -> bool {
        !self.group.is_empty() && !self.name.is_empty()
    }
}

/// A region as it is compared: `West Europe` is `westeurope`.
pub(crate) fn region(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_whatever_their_case() {
        let id = "/Subscriptions/S/resourceGroups/RG/providers/Microsoft.Compute/Disks/D%31";
        let Some(Route::One(key, shown)) = Route::parse(id) else { panic!("{id}") };
        assert_eq!((key.subscription.as_str(), key.group.as_str(), key.name.as_str()), ("s", "rg", "d1"));
        assert_eq!(shown, "/Subscriptions/S/resourceGroups/RG/providers/Microsoft.Compute/Disks/D1");
        assert_eq!(Key::parse(&key.id()), Some(key.clone()));
        let action = Route::parse(&format!("{}/beginGetAccess", key.id()));
        assert_eq!(action, Some(Route::Action(key, "begingetaccess".to_owned())));
    }

    #[test]
    fn what_leads_nowhere_is_none() {
        for path in [
            "/subscriptions/",
            "/subscriptions/s",
            "/subscriptions/s/resourceGroups/g",
            "/subscriptions/s/resourceGroups//providers/Microsoft.Compute/disks/d",
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks//",
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/images/d",
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/d/a/b",
        ] {
            let found = Route::parse(path);
            assert!(!matches!(found, Some(Route::One(..) | Route::Action(..))), "{path} {found:?}");
        }
    }

    #[test]
    fn regions_have_two_spellings() {
        assert_eq!(region("West Europe"), region("westeurope"));
    }
}
