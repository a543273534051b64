//! Protocol versions: which there are, and which one a request is to be read by.

use crate::model::fault::Fault;
use crate::request::Request;

/// A version the service knows. Versions are dates, so they compare as text.
pub(crate) type Version = &'static str;

const KNOWN: &[Version] = &[
    "2009-04-14",
    "2009-07-17",
    "2009-09-19",
    "2011-08-18",
    "2012-02-12",
    "2013-08-15",
    "2014-02-14",
    "2015-02-21",
    "2015-04-05",
    "2015-07-08",
    "2015-12-11",
    "2016-05-31",
    "2017-04-17",
    "2017-07-29",
    "2017-11-09",
    "2018-03-28",
    "2018-11-09",
    "2019-02-02",
    "2019-07-07",
    "2019-10-10",
    "2019-12-12",
    "2020-02-10",
    "2020-04-08",
    "2020-06-12",
    "2020-08-04",
    "2020-10-02",
    "2020-12-06",
    "2021-02-12",
    "2021-04-10",
    "2021-06-08",
    "2021-08-06",
    "2021-10-04",
    "2021-12-02",
    "2022-11-02",
    "2023-01-03",
    "2023-05-03",
    "2023-08-03",
    "2023-11-03",
    "2024-02-04",
    "2024-05-04",
    "2024-08-04",
    "2024-11-04",
    "2025-01-05",
    "2025-05-05",
    "2025-07-05",
    "2025-11-05",
    "2026-02-06",
    "2026-04-06",
    "2026-06-06",
    "2026-10-06",
];

/// What an anonymous request without a version is read by.
const OLDEST: Version = "2009-09-19";

pub(crate) fn known(text: &str) -> Option<Version> {
    KNOWN.iter().find(|v| **v == text).copied()
}

/// The version that governs the operation: the header, else `api-version`, else the one of the signature.
pub(crate) fn of(request: &Request) -> Result<Version, Fault> {
    let has_sas = request.query("sig").is_some();
    match request.get("x-ms-version") {
        Some(text) => known(text).ok_or_else(|| Fault::header("x-ms-version", text)),
        None if has_sas => {
            let (name, text) = match request.query("api-version") {
                Some(text) => ("api-version", text),
                None => ("sv", request.query("sv").unwrap_or_default()),
            };
            known(text).ok_or_else(|| Fault::parameter(name, text, "The version is not known."))
        }
        None if request.get("authorization").is_some() => {
            Err(Fault::of("MissingRequiredHeader").with("HeaderName", "x-ms-version"))
        }
        None => Ok(request.query("api-version").and_then(known).unwrap_or(OLDEST)),
    }
}
