//! What the service says of itself: account information, service properties, the list of containers.

use std::ops::Bound;

use crate::auth::{Need, PublicUse};
use crate::model::Model;
use crate::model::blob::etag;
use crate::model::call::Call;
use crate::model::fault::Fault;
use crate::model::input;
use crate::response::Response;
use crate::xml::{self, element, escape};

const MAX_CONTAINERS: usize = 5_000;

/// What a service says whose properties nobody has set.
const DEFAULT_PROPERTIES: &str = "<StorageServiceProperties><Logging><Version>1.0</Version><Read>false</Read>\
    <Write>false</Write><Delete>false</Delete><RetentionPolicy><Enabled>false</Enabled></RetentionPolicy></Logging>\
    <HourMetrics><Version>1.0</Version><Enabled>false</Enabled><RetentionPolicy><Enabled>false</Enabled>\
    </RetentionPolicy></HourMetrics><MinuteMetrics><Version>1.0</Version><Enabled>false</Enabled><RetentionPolicy>\
    <Enabled>false</Enabled></RetentionPolicy></MinuteMetrics><Cors /><DefaultServiceVersion>2021-12-02\
    </DefaultServiceVersion><DeleteRetentionPolicy><Enabled>false</Enabled></DeleteRetentionPolicy><StaticWebsite>\
    <Enabled>false</Enabled></StaticWebsite></StorageServiceProperties>";

impl Model {
    pub(crate) fn account_information(&mut self, call: &Call<'_>) -> Result<Response, Fault> {
        // Any valid signature may ask this, whatever it is for.
        let kind = match (call.target.container.is_empty(), call.target.blob.is_empty()) {
            (true, _) => 's',
            (false, true) => 'c',
            (false, false) => 'o',
        };
        self.admit(call, Need { any_of: "", kind, public: PublicUse::Never })?;
        let premium = self.config.accounts.get(&call.target.account).is_some_and(|account| account.premium);
        Ok(Response::new(200)
            .with("x-ms-sku-name", if premium { "Premium_LRS" } else { "Standard_LRS" })
            .with("x-ms-account-kind", "StorageV2")
            .with("x-ms-is-hns-enabled", "false"))
    }

    pub(crate) fn service_properties(&mut self, call: &Call<'_>) -> Result<Response, Fault> {
        let proof = self.admit(call, Need::service("r"))?;
        let stored = self.world.holdings(call, &proof)?.properties.clone();
        let mut response = Response::new(200).with("content-type", "application/xml");
        response.body = if stored.is_empty() { (xml::head() + DEFAULT_PROPERTIES).into() } else { stored.into() };
        Ok(response)
    }

    pub(crate) fn set_service_properties(&mut self, call: &Call<'_>) -> Result<Response, Fault> {
        let body = call.request.body.bytes();
        xml::flatten(body).ok_or_else(|| Fault::of("InvalidXmlDocument"))?;
        let proof = self.admit(call, Need::service("w"))?;
        self.world.holdings_mut(call, &proof)?.properties = body.clone();
        Ok(Response::new(202))
    }

    pub(crate) fn list_containers(&mut self, call: &Call<'_>) -> Result<Response, Fault> {
        let request = call.request;
        let limit = input::page_size(request, MAX_CONTAINERS)?;
        let proof = self.admit(call, Need::service("l"))?;
        let get = |name: &str| request.query(name).unwrap_or_default();
        let (prefix, marker) = (get("prefix"), get("marker"));
        let with_metadata = get("include").split(',').any(|item| item == "metadata");
        let mut out = xml::head();
        out.push_str(&format!("<EnumerationResults ServiceEndpoint=\"{}\">", escape(&endpoint(call))));
        for (name, value) in [("Prefix", prefix), ("Marker", marker), ("MaxResults", get("maxresults"))] {
            if !value.is_empty() {
                out.push_str(&element(name, value));
            }
        }
        out.push_str("<Containers>");
        let from = prefix.max(marker);
        let containers = &self.world.holdings(call, &proof)?.containers;
        let mut found = containers
            .range::<str, _>((Bound::Included(from), Bound::Unbounded))
            .take_while(|(name, _)| name.starts_with(prefix));
        for (name, container) in found.by_ref().take(limit) {
            out.push_str(&format!("<Container>{}<Properties>", element("Name", name)));
            out.push_str(&element("Last-Modified", &container.modified.http()));
            out.push_str(&element("Etag", &etag(container.etag)));
            out.push_str("<LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState>");
            if !container.public.is_empty() {
                out.push_str(&element("PublicAccess", &container.public));
            }
            out.push_str("</Properties>");
            if with_metadata {
                out.push_str(&metadata(&container.metadata));
            }
            out.push_str("</Container>");
        }
        out.push_str("</Containers>");
        out.push_str(&element("NextMarker", found.next().map_or("", |(name, _)| name)));
        out.push_str("</EnumerationResults>");
        let mut response = Response::new(200).with("content-type", "application/xml");
        response.body = out.into();
        Ok(response)
    }
}

/// The URL of the service as the caller knows it.
pub(crate) fn endpoint(call: &Call<'_>) -> String {
    let host = call.request.get("host").unwrap_or("127.0.0.1");
    if host.split_once(".blob.").is_some() {
        return format!("http://{host}/");
    }
    format!("http://{host}/{}/", call.target.account)
}

/// Metadata as listings show it.
pub(crate) fn metadata(pairs: &[(String, String)]) -> String {
    let inner: String = pairs.iter().map(|(name, value)| element(name, value)).collect();
    if inner.is_empty() { "<Metadata />".to_owned() } else { format!("<Metadata>{inner}</Metadata>") }
}
