//! Letting another service read a blob of ours (REST: Put Page From URL).
//!
//! It is given what opens this one picture: the SAS we were given ourselves, one of our own making where we hold the account's
//! key, or a token.

use std::time::Duration;

use azure_core::time::OffsetDateTime;
use pageferry_store::{ErrorKind, Pass, StoreError, View};
use secrecy::{ExposeSecret, SecretString};
use url::form_urlencoded;

use crate::credentials::{Credential, STORAGE_SCOPE};
use crate::operation::Operation;
use crate::shared_key::AccountKey;
use crate::wire::Wire;

/// How long a SAS of our making is good for. Each is used at once, and clocks differ.
const GOOD_FOR: Duration = Duration::from_secs(3600);

impl Wire {
    /// What lets another service read `view`.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] where no token can be had or the key cannot sign; [`ErrorKind::Invalid`] where the other
    /// service would need a token besides a SAS.
    pub(crate) async fn pass(&self, view: &View) -> Result<Pass, StoreError> {
        let snapshot = self.snapshot_of(view).map(|id| id.as_str().to_owned());
        let mut query = Vec::new();
        if let Some(time) = &snapshot {
            query.push(format!("snapshot={}", time.replace(':', "%3A")));
        }
        let mut authorization = None;
        let denied = |cause: String| {
            StoreError::new(ErrorKind::Denied, Operation::PutPageFromUrl.name(), self.object.clone(), cause)
        };
        match &self.credential {
            Credential::Sas(sas) => query.push(sas.expose_secret().to_owned()),
            Credential::AccountKey { account, key } => {
                let sas = self.own_sas(account, key, snapshot.as_deref());
                query.push(sas.map_err(|error| denied(crate::scrub(&error.to_string())))?);
            }
            Credential::Token(source) => {
                let token = source.get_token(&[STORAGE_SCOPE], None).await;
                let token = token.map_err(|error| denied(crate::scrub(&error.to_string())))?;
                authorization = Some(SecretString::from(format!("Bearer {}", token.token.secret())));
            }
            Credential::SasAndToken { .. } => {
                let cause = "another service cannot be given both the signature and the token that this disk is read with: \
                             use --engine relay";
                let name = Operation::PutPageFromUrl.name();
                return Err(StoreError::new(ErrorKind::Invalid, name, self.object.clone(), cause));
            }
            Credential::Anonymous => {}
        }
        let separator = if query.is_empty() { "" } else { "?" };
        let url = SecretString::from(format!("{}{separator}{}", self.address.url(), query.join("&")));
        Ok(Pass { url, authorization })
    }

    /// A SAS with which this one picture, and nothing else, can be read (REST: Create a service SAS).
    fn own_sas(&self, account: &str, key: &AccountKey, snapshot: Option<&str>) -> azure_core::Result<String> {
        let until = OffsetDateTime::from(self.options.clock.now()) + GOOD_FOR;
        let (date, time) = (until.date(), until.time());
        let until = format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
            date.year(),
            u8::from(date.month()),
            date.day(),
            time.hour(),
            time.minute(),
            time.second()
        );
        let of = format!("/blob/{account}/{}/{}", self.address.container(), self.address.blob());
        sas(key, &of, &until, snapshot)
    }
}

/// The version whose fields are signed.
const SIGNED_VERSION: &str = "2021-12-02";

fn sas(key: &AccountKey, resource: &str, until: &str, snapshot: Option<&str>) -> azure_core::Result<String> {
    let kind = if snapshot.is_some() { "bs" } else { "b" };
    let fields = ["r", "", until, resource, "", "", "", SIGNED_VERSION, kind, snapshot.unwrap_or_default()];
    // Six more fields, none of which is used.
    let signature = key.sign(&format!("{}\n\n\n\n\n\n", fields.join("\n")))?;
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs([("sv", SIGNED_VERSION), ("sr", kind), ("sp", "r"), ("se", until), ("sig", &signature)]);
    Ok(query.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sas_is_signed_as_the_service_signs_it() {
        let key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
        let key = AccountKey::new(key).unwrap();
        let signed =
            |snapshot| sas(&key, "/blob/devstoreaccount1/disks/base.vhd", "2030-01-01T00:00:00Z", snapshot).unwrap();
        assert!(signed(None).ends_with("&sig=Vupe%2BmJUjSy3Wo4PQ3IhQHm4ZerR2lgmD9khV1ocW3U%3D"), "{}", signed(None));
        let snapshot = signed(Some("2023-01-27T22:27:19.7049036Z"));
        assert!(snapshot.ends_with("&sig=dQRUABSUXUUsJnzPKTVIs3K8rdD7mRdxzhoc3EOVLbQ%3D"), "{snapshot}");
    }
}
