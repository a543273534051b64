//! Lists of disks and snapshots, page by page.

use serde_json::{Value, json};

use crate::model::Model;
use crate::model::arm::ArmCall;
use crate::model::arm::error::{ArmError, reply};
use crate::model::arm::id::{Key, Route};
use crate::request::encode;
use crate::response::Response;

impl Model {
    pub(crate) fn list_resources(&self, call: &ArmCall<'_>, route: &Route) -> Result<Response, ArmError> {
        let Route::List { subscription, group, kind } = route else {
            return Err(ArmError::new(404, "InvalidResourceType", "This is no list."));
        };
        // The marker is the place of the next entry, so that a list stays whole while others come and go.
        let marker = match call.request.query("$skiptoken") {
            None => None,
            Some(text) => Some(text.split_once('/').ok_or_else(|| ArmError::bad("The $skiptoken is not valid."))?),
        };
        let (from_group, from_name) = marker.unwrap_or((group.as_deref().unwrap_or_default(), ""));
        let first = Key {
            subscription: subscription.clone(),
            kind: *kind,
            group: from_group.to_owned(),
            name: from_name.to_owned(),
        };
        let mut found = self.arm.resources.range(first..).take_while(|(key, _)| {
            let same = key.subscription == *subscription && key.kind == *kind;
            same && group.as_ref().is_none_or(|group| key.group == *group)
        });
        let page = found.by_ref().take(self.config.arm.page_size.max(1));
        let value: Vec<Value> = page.map(|(_, resource)| resource.show(call.now, &self.config.arm)).collect();
        let mut out = json!({ "value": value });
        if let Some((next, _)) = found.next() {
            let token = encode(&format!("{}/{}", next.group, next.name));
            let (host, path, api) = (call.host(), &call.request.path, encode(call.api()));
            out["nextLink"] = json!(format!("http://{host}{path}?api-version={api}&$skiptoken={token}"));
        }
        Ok(reply(200, &out))
    }
}
