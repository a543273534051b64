//! Shared Key: what is signed, and how.

use std::collections::BTreeMap;

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::digest;
use crate::request::Request;

/// The text a request's signature covers. `account` is the one the client named.
pub(crate) fn string_to_sign(request: &Request, account: &str, version: &str) -> String {
    let get = |name: &str| request.get(name).unwrap_or_default();
    let length = match get("content-length") {
        "0" if version >= "2015-02-21" => "",
        other => other,
    };
    let date = if request.get("x-ms-date").is_some() { "" } else { get("date") };
    let mut text = String::with_capacity(512);
    for line in [
        request.method.as_str(),
        get("content-encoding"),
        get("content-language"),
        length,
        get("content-md5"),
        get("content-type"),
        date,
        get("if-modified-since"),
        get("if-match"),
        get("if-none-match"),
        get("if-unmodified-since"),
        get("range"),
    ] {
        text.push_str(line);
        text.push('\n');
    }
    let mut headers: Vec<_> = request.headers.iter().filter(|(name, _)| name.starts_with("x-ms-")).collect();
    headers.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, value) in headers {
        if value.is_empty() && version < "2016-05-31" {
            continue;
        }
        text.push_str(&format!("{name}:{}\n", value.trim().replace("\r\n", " ")));
    }
    text.push_str(&format!("/{account}{}", request.path));
    let mut parameters: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (name, value) in &request.query {
        parameters.entry(name.to_lowercase()).or_default().push(value);
    }
    for (name, mut values) in parameters {
        values.sort_unstable();
        text.push_str(&format!("\n{name}:{}", values.join(",")));
    }
    text
}

/// Base64 of the HMAC-SHA256 of `text`; `None` when the key is not base64.
pub(crate) fn sign(key: &str, text: &str) -> Option<String> {
    Some(digest::encode(&mac(key, text)?.finalize().into_bytes()))
}

/// Whether `signature` is the one of `text`, compared in constant time.
pub(crate) fn verify(key: &str, text: &str, signature: &str) -> bool {
    let (Some(mac), Some(given)) = (mac(key, text), digest::decode(signature)) else { return false };
    mac.verify_slice(&given).is_ok()
}

fn mac(key: &str, text: &str) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&digest::decode(key)?).ok()?;
    mac.update(text.as_bytes());
    Some(mac)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DEV_ACCOUNT, DEV_KEY};

    const DATE: &str = "Fri, 27 Jan 2023 22:27:19 GMT";

    #[test]
    fn put_page_vector() {
        let request = Request::new("PUT", "/devstoreaccount1/disks/base.vhd?comp=page")
            .header("Content-Length", "512")
            .header("Content-Type", "application/octet-stream")
            .header("x-ms-version", "2021-12-02")
            .header("x-ms-range", "bytes=0-511")
            .header("x-ms-page-write", "update")
            .header("x-ms-date", DATE)
            .header("x-ms-content-crc64", "u661BimQ84c=");
        let text = string_to_sign(&request, DEV_ACCOUNT, "2021-12-02");
        assert_eq!(sign(DEV_KEY, &text).unwrap(), "Pykz+URijJ32yFgWWZzEJ/sHjCBs2S/oSqEtlW4OCKc=", "{text}");
    }

    #[test]
    fn page_list_vector() {
        let target = "/devstoreaccount1/disks/base.vhd?comp=pagelist&snapshot=2023-01-27T22%3A27%3A20.0000000Z\
                      &prevsnapshot=2023-01-27T22%3A27%3A19.7049036Z";
        let request = Request::new("GET", target).header("x-ms-date", DATE).header("x-ms-version", "2021-12-02");
        let text = string_to_sign(&request, DEV_ACCOUNT, "2021-12-02");
        assert!(verify(DEV_KEY, &text, "2pGtT4G5HShhvnuoWhKDiIiOIuVflGFfcI/2UQ7A+b0="), "{text}");
        assert!(!verify(DEV_KEY, &text, "2pGtT4G5HShhvnuoWhKDiIiOIuVflGFfcI/2UQ7A+b1="));
        assert!(!verify(DEV_KEY, &text, "not base64"));
    }
}
