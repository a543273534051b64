//! What a SAS says of itself. Its signature is never looked at.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use crate::doctor::Finding;
use crate::exit::Exit;
use crate::human::duration;

/// Of one that is valid for less than this, a long copy will see the end.
const SHORT: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// Looks at `query`, the SAS for `object`, which needs one of each group of permissions in `needs`, each with what for.
pub(super) fn look(object: &str, query: &str, needs: &[(&str, &str)], now: OffsetDateTime) -> Finding {
    let get = |name: &str| {
        let value = query.split('&').filter_map(|piece| piece.split_once('=')).find(|(key, _)| *key == name);
        value.map(|(_, value)| value.replace("%3A", ":").replace("%3a", ":"))
    };
    let renew = "have a new one made, and put it where this one was";
    if let Some(starts) = get("st").and_then(|text| time(&text)).filter(|starts| *starts > now) {
        let cause = format!("not valid before {starts}");
        return Finding::ill("SAS", object, Exit::Denied, cause, "wait, or have one made that begins earlier");
    }
    let permissions = get("sp");
    for (any_of, what_for) in needs {
        if permissions.as_ref().is_some_and(|given| !any_of.chars().any(|letter| given.contains(letter))) {
            let given = permissions.unwrap_or_default();
            let cause = format!("its permissions ({given}) do not allow {what_for}, which takes `{any_of}`");
            return Finding::ill("SAS", object, Exit::Denied, cause, renew);
        }
    }
    let Some(ends) = get("se") else {
        let by =
            if get("si").is_some() { "a stored access policy says how long it is valid" } else { "it names no end" };
        return Finding::well("SAS", object, by);
    };
    let Some(until) = time(&ends) else {
        return Finding::doubtful("SAS", object, "its end (`se`) is no time one could read", renew);
    };
    match std::time::Duration::try_from(until - now) {
        Err(_) => Finding::ill("SAS", object, Exit::Denied, format!("it expired at {ends}"), renew),
        Ok(left) if left < SHORT => {
            let seen = format!("it is valid for another {} only", duration(left));
            Finding::doubtful(
                "SAS",
                object,
                seen,
                "a long copy will be broken off then, and can be resumed with a new one",
            )
        }
        Ok(left) => Finding::well("SAS", object, format!("it is valid for another {}", duration(left))),
    }
}

/// The times that a SAS may have: to the second or finer, to the minute, or a date.
fn time(text: &str) -> Option<OffsetDateTime> {
    let minute = format_description!("[year]-[month]-[day]T[hour]:[minute]Z");
    let day = format_description!("[year]-[month]-[day]");
    OffsetDateTime::parse(text, &Rfc3339)
        .ok()
        .or_else(|| time::PrimitiveDateTime::parse(text, minute).ok().map(time::PrimitiveDateTime::assume_utc))
        .or_else(|| time::Date::parse(text, day).ok().map(|date| date.midnight().assume_utc()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sas_tells_when_it_ends_and_what_it_lacks() {
        let now = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap(); // 2023-11-14T22:13:20Z
        let of = |query: &str| look("o", query, &[("r", "reading"), ("w", "writing")], now).to_string();
        assert!(of("sp=rw&se=2024-01-01T00%3A00%3A00Z&sig=CANARY").starts_with("ok "));
        assert!(of("sp=rw&se=2023-11-14T22%3A13Z&sig=CANARY").contains("expired"));
        assert!(of("sp=r&se=2024-01-01&sig=CANARY").contains("do not allow writing"));
        assert!(of("sp=rw&st=2023-12-01&se=2024-01-01&sig=CANARY").contains("not valid before"));
        assert!(of("sp=rw&se=2023-11-15&sig=CANARY").starts_with("WARN"));
        assert!(of("si=policy&sig=CANARY").contains("stored access policy"));
        assert!(!of("sp=r&se=2024-01-01&sig=CANARY").contains("CANARY"));
    }
}
