//! Making shared access signatures, for those who test against the emulator: both kinds, for any protocol version.

use crate::auth::shared_key::sign;
use crate::request::encode;

/// A service signature: one blob, one snapshot, or a container.
#[derive(Debug, Clone, Default)]
pub struct ServiceSas<'a> {
    /// The version whose string-to-sign is used, such as `2021-12-02`.
    pub version: &'a str,
    /// `b`, `bs` or `c`.
    pub resource: &'a str,
    /// The container.
    pub container: &'a str,
    /// The blob, not encoded; empty for a container.
    pub blob: &'a str,
    /// The snapshot, for `bs`.
    pub snapshot: &'a str,
    /// Permission letters; empty when a stored policy has them.
    pub permissions: &'a str,
    /// Start; may be empty.
    pub start: &'a str,
    /// End; empty when a stored policy has it.
    pub expiry: &'a str,
    /// The stored access policy, or empty.
    pub identifier: &'a str,
    /// An address or a range of addresses, or empty.
    pub ip: &'a str,
    /// `https`, `https,http`, or empty.
    pub protocol: &'a str,
}

/// An account signature.
#[derive(Debug, Clone, Default)]
pub struct AccountSas<'a> {
    /// The version whose string-to-sign is used.
    pub version: &'a str,
    /// Service letters, of which `b` is the one for blobs.
    pub services: &'a str,
    /// Resource kinds: `s`, `c`, `o`.
    pub resource_types: &'a str,
    /// Permission letters.
    pub permissions: &'a str,
    /// Start; may be empty.
    pub start: &'a str,
    /// End.
    pub expiry: &'a str,
    /// An address or a range of addresses, or empty.
    pub ip: &'a str,
    /// `https`, `https,http`, or empty.
    pub protocol: &'a str,
}

/// The query string of a service signature, without a leading `?`. For `bs` the caller's URL carries `snapshot=`
/// itself, as with the SDKs. `None` when `key` is not base64.
pub fn service_sas(account: &str, key: &str, sas: &ServiceSas<'_>) -> Option<String> {
    let fields = fields(sas);
    let text = service_text(account, sas.version, sas.container, sas.blob, sas.snapshot, &|name| {
        fields.iter().find(|(n, _)| *n == name).map_or("", |(_, v)| v)
    });
    Some(query(&fields, &sign(key, &text)?))
}

/// The query string of an account signature, without a leading `?`. `None` when `key` is not base64.
pub fn account_sas(account: &str, key: &str, sas: &AccountSas<'_>) -> Option<String> {
    let fields = [
        ("sv", sas.version),
        ("ss", sas.services),
        ("srt", sas.resource_types),
        ("sp", sas.permissions),
        ("st", sas.start),
        ("se", sas.expiry),
        ("sip", sas.ip),
        ("spr", sas.protocol),
    ];
    let text = account_text(account, &|name| fields.iter().find(|(n, _)| *n == name).map_or("", |(_, v)| v));
    Some(query(&fields, &sign(key, &text)?))
}

fn fields<'a>(sas: &ServiceSas<'a>) -> [(&'static str, &'a str); 8] {
    [
        ("sv", sas.version),
        ("sr", sas.resource),
        ("si", sas.identifier),
        ("sp", sas.permissions),
        ("st", sas.start),
        ("se", sas.expiry),
        ("sip", sas.ip),
        ("spr", sas.protocol),
    ]
}

fn query(fields: &[(&str, &str)], signature: &str) -> String {
    let mut out: String = fields
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}={}&", encode(value)))
        .collect();
    out.push_str(&format!("sig={}", encode(signature)));
    out
}

/// The string-to-sign of a service signature; `get` gives the signature's own parameters.
pub(crate) fn service_text<'a>(
    account: &str,
    version: &str,
    container: &str,
    blob: &str,
    snapshot: &str,
    get: &dyn Fn(&str) -> &'a str,
) -> String {
    let prefix = if version >= "2015-02-21" { "/blob" } else { "" };
    let mut resource = format!("{prefix}/{account}/{container}");
    if get("sr") != "c" {
        resource = format!("{resource}/{blob}");
    }
    let mut lines = vec![get("sp"), get("st"), get("se"), &resource, get("si")];
    if version >= "2015-04-05" {
        lines.extend([get("sip"), get("spr")]);
    }
    lines.push(get("sv"));
    if version >= "2018-11-09" {
        lines.extend([get("sr"), if get("sr") == "bs" { snapshot } else { "" }]);
    }
    if version >= "2020-12-06" {
        lines.push(get("ses"));
    }
    lines.extend([get("rscc"), get("rscd"), get("rsce"), get("rscl"), get("rsct")]);
    lines.join("\n")
}

/// The string-to-sign of an account signature.
pub(crate) fn account_text<'a>(account: &str, get: &dyn Fn(&str) -> &'a str) -> String {
    let mut text = String::new();
    for line in [account, get("sp"), get("ss"), get("srt"), get("st"), get("se"), get("sip"), get("spr"), get("sv")] {
        text.push_str(line);
        text.push('\n');
    }
    if get("sv") >= "2020-12-06" {
        text.push_str(&format!("{}\n", get("ses")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::parse_query;
    use crate::{DEV_ACCOUNT, DEV_KEY};

    #[test]
    fn service_signature_vectors() {
        let snapshot = "2023-01-27T22:27:19.7049036Z";
        for (version, resource, snapshot, want) in [
            ("2021-12-02", "b", "", "Vupe+mJUjSy3Wo4PQ3IhQHm4ZerR2lgmD9khV1ocW3U="),
            ("2021-12-02", "bs", snapshot, "dQRUABSUXUUsJnzPKTVIs3K8rdD7mRdxzhoc3EOVLbQ="),
            ("2018-11-09", "bs", snapshot, "rVyCAP5TE1PYpx9vfvbVFR7b4jYJZcL+pmztAYM4Yvs="),
            ("2018-03-28", "b", "", "fNI0ySmnp7GyoRmyKR7jLCGl77hZw3q0AQNAkErDKNk="),
        ] {
            let sas = ServiceSas {
                version,
                resource,
                container: "disks",
                blob: "base.vhd",
                snapshot,
                permissions: "r",
                expiry: "2030-01-01T00:00:00Z",
                ..ServiceSas::default()
            };
            let query = parse_query(&service_sas(DEV_ACCOUNT, DEV_KEY, &sas).unwrap());
            assert_eq!(query.last().unwrap().1, want, "{version} {resource}");
        }
    }
}
