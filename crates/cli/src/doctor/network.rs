//! The way to a service, and what its clock says.

use std::time::{Duration, Instant, SystemTime};

use azure_core::http::headers::HeaderName;
use azure_core::http::{Method, Request, Url};
use azure_core::time::parse_rfc7231;
use pageferry_azure::general_client;

use crate::doctor::Finding;
use crate::exit::Exit;
use crate::human::duration;

/// Signatures of a clock that is further off are refused (REST: Shared Key), and tokens soon are.
const SKEW_MAX: Duration = Duration::from_secs(15 * 60);

/// What is still no reason to worry.
const SKEW_FINE: Duration = Duration::from_secs(60);

const PATIENCE: Duration = Duration::from_secs(15);

/// Whether `endpoint` answers, and whether its clock and ours agree. Nothing is asked that needs a credential, so any
/// answer at all is a good one.
pub(super) async fn path(endpoint: &Url) -> Vec<Finding> {
    let host = match (endpoint.host_str(), endpoint.port_or_known_default()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        _ => endpoint.to_string(),
    };
    let client = match general_client(1, PATIENCE) {
        Ok(client) => client,
        Err(error) => {
            let fix = "check that this machine has root certificates (package ca-certificates)";
            return vec![Finding::ill("network path", host, Exit::Configuration, error.to_string(), fix)];
        }
    };
    let mut url = endpoint.clone();
    url.set_path("/");
    url.set_query(None);
    let request = Request::new(url, Method::Get);
    let begun = Instant::now();
    let answered = tokio::time::timeout(PATIENCE, client.execute_request(&request)).await;
    let took = begun.elapsed();
    let answer = match answered {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return vec![unreachable(host, &pageferry_azure::scrub(&innermost(&error)))],
        Err(_) => return vec![unreachable(host, &format!("no answer within {} s", PATIENCE.as_secs()))],
    };
    let proxy =
        ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"].iter().any(|name| std::env::var_os(name).is_some());
    let by = if proxy { ", by way of a proxy" } else { "" };
    let mut findings = vec![Finding::well("network path", &host, format!("answers after {}{by}", duration(took)))];
    let date =
        answer.headers().get_optional_str(&HeaderName::from_static("date")).and_then(|date| parse_rfc7231(date).ok());
    findings.push(match date {
        Some(date) => clock(host, SystemTime::from(date), SystemTime::now()),
        None => Finding::doubtful(
            "clock",
            host,
            "the answer has no date to compare with",
            "nothing, if this is a proxy's answer",
        ),
    });
    findings
}

/// What two clocks that differ mean.
fn clock(host: String, theirs: SystemTime, ours: SystemTime) -> Finding {
    let (skew, side) = match ours.duration_since(theirs) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    let seen = format!("this machine's clock is {} {side} the service's", duration(skew));
    let fix = "set the clock, and keep it set (systemd-timesyncd, chrony)";
    match skew {
        skew if skew >= SKEW_MAX => Finding::ill("clock", host, Exit::Denied, seen, fix),
        skew if skew >= SKEW_FINE => Finding::doubtful("clock", host, seen, fix),
        _ => Finding::well("clock", host, "agrees with this machine's"),
    }
}

fn unreachable(host: String, why: &str) -> Finding {
    let fix = "check the name, this machine's DNS, its firewall and its proxy (HTTPS_PROXY); an account may also be open to \
               some networks or private endpoints only";
    Finding::ill("network path", host, Exit::Failed, why, fix)
}

/// The cause that says most.
fn innermost(error: &azure_core::Error) -> String {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = std::error::Error::source(error);
    while let Some(inner) = cause.and_then(|cause| cause.source()) {
        cause = Some(inner);
    }
    cause.map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_ill_when_signatures_would_be_refused() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let of = |theirs| clock("h".to_owned(), theirs, now).to_string();
        assert!(of(now).starts_with("ok "));
        assert!(of(now - Duration::from_secs(120)).contains("2 min 0 s ahead of"));
        assert!(of(now + Duration::from_secs(120)).contains("2 min 0 s behind"));
        assert!(of(now + Duration::from_secs(900)).starts_with("FAIL"));
    }
}
