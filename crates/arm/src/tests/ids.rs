//! Ids: what is one, and which are the same.

use std::collections::HashSet;

use proptest::prelude::*;

use crate::{Kind, ResourceId};

const ID: &str = "/subscriptions/5AB/resourceGroups/My.Group_(1)/providers/Microsoft.Compute/disks/D-1";

#[test]
fn an_id_has_four_parts_and_is_shown_as_typed() {
    let id = ResourceId::parse(&format!(" {ID}\n")).unwrap();
    assert_eq!((id.subscription(), id.group(), id.kind(), id.name()), ("5AB", "My.Group_(1)", Kind::Disk, "D-1"));
    assert_eq!(id.to_string(), ID);
    assert_eq!(format!("{id:?}"), ID);
    assert_eq!(ResourceId::disk("5AB", "My.Group_(1)", "D-1").unwrap().to_string(), ID);
    let snapshot = ResourceId::snapshot("5ab", "g", "s").unwrap();
    assert_eq!(snapshot.to_string(), "/subscriptions/5ab/resourceGroups/g/providers/Microsoft.Compute/snapshots/s");
    assert_eq!(snapshot.to_string().parse::<ResourceId>().unwrap().kind(), Kind::Snapshot);
}

#[test]
fn ids_compare_without_regard_to_case() {
    let id = ResourceId::parse(ID).unwrap();
    let shouted = ResourceId::parse(&ID.to_uppercase()).unwrap();
    assert_eq!(id, shouted);
    assert_eq!(id.cmp(&shouted), std::cmp::Ordering::Equal);
    assert_eq!(id.canonical(), ID.to_lowercase());
    assert!(HashSet::from([id.clone()]).contains(&shouted));
    assert_ne!(id, ResourceId::parse(&ID.replace("D-1", "D-2")).unwrap());
    assert_ne!(id, ResourceId::parse(&ID.replace("disks", "snapshots")).unwrap());
}

#[test]
fn what_is_no_id_is_refused_with_a_reason() {
    for (text, part) in [
        ("", "is no resource id"),
        ("https://a.b/c/d", "is no resource id"),
        ("/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks", "is no resource id"),
        ("/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/a/b", "is no resource id"),
        ("/subscription/s/resourceGroups/g/providers/Microsoft.Compute/disks/a", "is no resource id"),
        ("/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/a", "neither a disk nor"),
        ("/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/disks/a", "neither a disk nor"),
        ("/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/", "cannot be the name"),
        ("/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/..", "cannot be the name"),
        ("/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/a?b", "cannot be the name"),
        ("/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/a%2Fb", "cannot be the name"),
        ("/subscriptions/s/resourceGroups/g\u{7}/providers/Microsoft.Compute/disks/a", "cannot be the resource group"),
        ("/subscriptions//resourceGroups/g/providers/Microsoft.Compute/disks/a", "cannot be the subscription"),
    ] {
        let error = ResourceId::parse(text).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
    assert!(ResourceId::snapshot("s", "g", "a/../b").is_err());
}

#[test]
fn an_id_that_is_wrong_is_still_meant_as_one() {
    assert!(ResourceId::is_resource_id(ID));
    assert!(ResourceId::is_resource_id("/SUBSCRIPTIONS/s"));
    assert!(!ResourceId::is_resource_id("https://acct.blob.core.windows.net/subscriptions/x"));
    assert!(!ResourceId::is_resource_id("/subscription"));
    assert!(!ResourceId::is_resource_id("/subscriptionsé"));
}

proptest! {
    #[test]
    fn no_text_is_too_odd(text in ".{0,80}", parts in proptest::collection::vec("[a-zA-Z./%é\u{0}-]{0,6}", 3)) {
        let _ = ResourceId::is_resource_id(&text);
        let _ = ResourceId::parse(&text);
        let [group, kind, name] = [&parts[0], &parts[1], &parts[2]];
        let _ = ResourceId::parse(&format!("/subscriptions/{text}/resourceGroups/{group}/providers/{kind}/{name}"));
        if let Ok(id) = ResourceId::disk("s", group, name) {
            let again = ResourceId::parse(&id.to_string()).unwrap();
            prop_assert_eq!((again.group(), again.name()), (group.as_str(), name.as_str()));
        }
    }
}
