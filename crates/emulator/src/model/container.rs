//! Containers: create, look at, change, delete; and the access policies they store.

use std::collections::BTreeMap;

use crate::auth::token::Policy;
use crate::auth::{Need, PublicUse};
use crate::model::Model;
use crate::model::blob::{Container, etag};
use crate::model::call::{Admitted, Call};
use crate::model::conditions::{Conditions, Verdict};
use crate::model::fault::Fault;
use crate::model::input;
use crate::response::Response;
use crate::xml::{self, element};

const MAX_POLICIES: usize = 5;

impl Model {
    pub(crate) fn create_container(&mut self, call: &Call<'_>) -> Result<Response, Fault> {
        Conditions::none(call.request)?;
        let metadata = input::metadata(call.request)?.unwrap_or_default();
        let public = public_access(call)?;
        let proof = self.admit(call, Need::container("cw", PublicUse::Never))?;
        let holdings = self.world.holdings_mut(call, &proof)?;
        if holdings.containers.contains_key(&call.target.container) {
            return Err(Fault::of("ContainerAlreadyExists"));
        }
        let container = Container {
            etag: self.ids.etag(call.now),
            modified: call.now,
            metadata,
            public,
            policies: Vec::new(),
            blobs: BTreeMap::new(),
        };
        let response = container.changed(201);
        holdings.containers.insert(call.target.container.clone(), container);
        Ok(response)
    }

    pub(crate) fn delete_container(&mut self, call: &Call<'_>) -> Result<Response, Fault> {
        let conditions = Conditions::of(call.request)?;
        no_lease(call)?;
        let proof = self.admit(call, Need::container("d", PublicUse::Never))?;
        self.world.container(call, &proof)?.check(&conditions)?;
        self.world.holdings_mut(call, &proof)?.containers.remove(&call.target.container);
        Ok(Response::new(202))
    }

    pub(crate) fn container_properties(&mut self, call: &Call<'_>) -> Result<Response, Fault> {
        no_lease(call)?;
        let proof = self.admit(call, Need::container("r", PublicUse::Container))?;
        let container = self.world.container(call, &proof)?;
        let mut response = container
            .changed(200)
            .with("x-ms-lease-status", "unlocked")
            .with("x-ms-lease-state", "available")
            .with("x-ms-has-immutability-policy", "false")
            .with("x-ms-has-legal-hold", "false");
        if !container.public.is_empty() {
            response.set("x-ms-blob-public-access", container.public.as_str());
        }
        for (name, value) in container.metadata.iter() {
            response.set(&format!("x-ms-meta-{name}"), value.as_str());
        }
        Ok(response)
    }

    pub(crate) fn set_container_metadata(&mut self, call: &Call<'_>) -> Result<Response, Fault> {
        let metadata = input::metadata(call.request)?.unwrap_or_default();
        let conditions = Conditions::of(call.request)?;
        no_lease(call)?;
        let proof = self.admit(call, Need::container("w", PublicUse::Never))?;
        self.change_container(call, &proof, &conditions, |container| container.metadata = metadata)
    }

    pub(crate) fn container_acl(&mut self, call: &Call<'_>) -> Result<Response, Fault> {
        no_lease(call)?;
        // Only the account's key may look at policies; a signature for everything is not enough.
        let proof = self.admit(call, Need::container("p", PublicUse::Never))?;
        let container = self.world.container(call, &proof)?;
        let mut out = xml::head() + "<SignedIdentifiers>";
        for policy in &container.policies {
            out.push_str(&format!("<SignedIdentifier>{}<AccessPolicy>", element("Id", &policy.id)));
            let fields = [("Start", &policy.start), ("Expiry", &policy.expiry), ("Permission", &policy.permissions)];
            for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
                out.push_str(&element(name, value));
            }
            out.push_str("</AccessPolicy></SignedIdentifier>");
        }
        out.push_str("</SignedIdentifiers>");
        let mut response = container.changed(200).with("content-type", "application/xml");
        if !container.public.is_empty() {
            response.set("x-ms-blob-public-access", container.public.as_str());
        }
        response.body = out.into();
        Ok(response)
    }

    pub(crate) fn set_container_acl(&mut self, call: &Call<'_>) -> Result<Response, Fault> {
        let policies = policies(call.request.body.bytes())?;
        let public = public_access(call)?;
        let conditions = Conditions::of(call.request)?;
        no_lease(call)?;
        let proof = self.admit(call, Need::container("p", PublicUse::Never))?;
        self.change_container(call, &proof, &conditions, |container| {
            container.policies = policies;
            container.public = public;
        })
    }

    fn change_container(
        &mut self,
        call: &Call<'_>,
        proof: &Admitted,
        conditions: &Conditions,
        change: impl FnOnce(&mut Container),
    ) -> Result<Response, Fault> {
        let container = self.world.container_mut(call, proof)?;
        container.check(conditions)?;
        change(container);
        container.etag = self.ids.etag(call.now);
        container.modified = call.now;
        Ok(container.changed(200))
    }
}

impl Container {
    fn changed(&self, status: u16) -> Response {
        Response::new(status).with("etag", etag(self.etag)).with("last-modified", self.modified.http())
    }

    fn check(&self, conditions: &Conditions) -> Result<(), Fault> {
        match conditions.compare(self.etag, self.modified) {
            Verdict::Met => Ok(()),
            _ => Err(Fault::of("ConditionNotMet")),
        }
    }
}

/// Containers have no leases here, so a lease id can only be wrong.
fn no_lease(call: &Call<'_>) -> Result<(), Fault> {
    match call.request.get("x-ms-lease-id") {
        Some(_) => Err(Fault::of("LeaseIdMismatchWithContainerOperation")),
        None => Ok(()),
    }
}

fn public_access(call: &Call<'_>) -> Result<String, Fault> {
    const NAME: &str = "x-ms-blob-public-access";
    match call.request.get(NAME) {
        None => Ok(String::new()),
        Some(level @ ("blob" | "container")) => Ok(level.to_owned()),
        Some(other) => Err(Fault::header(NAME, other)),
    }
}

/// Reads a `SignedIdentifiers` document; an empty body means no policies.
fn policies(body: &[u8]) -> Result<Vec<Policy>, Fault> {
    let mut found: Vec<Policy> = Vec::new();
    if body.is_empty() {
        return Ok(found);
    }
    let bad = || Fault::of("InvalidXmlDocument");
    for (path, text) in xml::flatten(body).ok_or_else(bad)? {
        let Some(rest) = path.strip_prefix("SignedIdentifiers/SignedIdentifier") else { continue };
        if rest.is_empty() {
            found.push(Policy::default());
            continue;
        }
        let policy = found.last_mut().ok_or_else(bad)?;
        match rest {
            "/Id" => policy.id = text,
            "/AccessPolicy/Start" => policy.start = text,
            "/AccessPolicy/Expiry" => policy.expiry = text,
            "/AccessPolicy/Permission" => policy.permissions = text,
            _ => {}
        }
    }
    if found.len() > MAX_POLICIES || found.iter().any(|policy| policy.id.is_empty() || policy.id.len() > 64) {
        return Err(Fault::of("InvalidInput"));
    }
    Ok(found)
}
