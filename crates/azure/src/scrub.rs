//! Takes passwords out of text that others wrote: transports print URLs, and URLs carry signatures.

/// What introduces a secret, in lower case; the secret runs to the next delimiter.
const INTRODUCTIONS: [&str; 6] =
    ["sig=", "sig%3d", "accountkey=", "sharedaccesssignature=", "bearer ", "client_secret="];

/// How far what is being left out goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Hidden {
    No,
    /// Up to the next parameter: the value of one.
    Value,
    /// Up to the end of the word: the query of a URL.
    Query,
}

/// `text` without signatures, keys and tokens, and without the query of any URL in it.
///
/// What introduces a secret counts inside a secret too: text that is broken in one place is often broken in two.
pub fn scrub(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut in_url = false;
    let mut hidden = Hidden::No;
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let introduction = introduction(rest);
        let (now, then) = match next {
            _ if introduction.is_some() => (hidden, hidden.max(Hidden::Value)),
            c if is_delimiter(c) => {
                in_url = false;
                (Hidden::No, Hidden::No)
            }
            '&' if hidden == Hidden::Value => (Hidden::No, Hidden::No),
            '?' if in_url => (hidden, Hidden::Query),
            _ => (hidden, hidden),
        };
        in_url |= rest.starts_with("://");
        let (piece, after) = rest.split_at(introduction.unwrap_or(next.len_utf8()));
        if now == Hidden::No {
            clean.push_str(piece);
            clean.push_str(if then == Hidden::No { "" } else { "…" });
        }
        hidden = then;
        rest = after;
    }
    clean
}

/// The length of the introduction `text` begins with.
fn introduction(text: &str) -> Option<usize> {
    let begins = |words: &str| text.get(..words.len()).is_some_and(|start| start.eq_ignore_ascii_case(words));
    INTRODUCTIONS.iter().find(|words| begins(words)).map(|words| words.len())
}

fn is_delimiter(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | ')' | '(' | '<' | '>' | ';' | ',')
}

#[cfg(test)]
mod tests {
    use super::scrub;

    #[test]
    fn secrets_go_and_the_rest_stays() {
        for (text, expected) in [
            ("error for url (https://a.b/c/d?sv=1&sig=CANARY%3D&x=1)", "error for url (https://a.b/c/d?…)"),
            ("sent sv=1&SIG=CANARY&se=2 twice", "sent sv=1&SIG=…&se=2 twice"),
            ("AccountKey=CANARY==;EndpointSuffix=x", "AccountKey=…;EndpointSuffix=x"),
            ("Authorization: Bearer CANARY", "Authorization: Bearer …"),
            ("nested ?u=https%3A%2F%2Fx%3Fsig%3DCANARY end", "nested ?u=https%3A%2F%2Fx%3Fsig%3D… end"),
            ("bearer bearer CANARY sig=bearer CANARY end", "bearer … sig=… end"),
            ("https://sig=a.b/c?sv=1&x=CANARY end", "https://sig=… end"),
            ("why? because of a design=good ü", "why? because of a design=good ü"),
            ("", ""),
        ] {
            assert_eq!(scrub(text), expected);
        }
    }
}
