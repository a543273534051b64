//! Takes passwords out of text that others wrote: transports print URLs, and URLs carry signatures.

/// What introduces a secret, in lower case; the secret runs to the next delimiter.
const INTRODUCTIONS: [&str; 6] =
    ["sig=", "sig%3d", "accountkey=", "sharedaccesssignature=", "bearer ", "client_secret="];

/// `text` without signatures, keys and tokens, and without the query of any URL in it.
pub fn scrub(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut in_url = false;
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        if rest.starts_with("://") {
            in_url = true;
        }
        if is_delimiter(next) {
            in_url = false;
        }
        if in_url && next == '?' {
            rest = after(rest, is_delimiter);
            clean.push_str("?…");
            continue;
        }
        if let Some(length) = introduction(rest) {
            clean.push_str(&rest[..length]);
            clean.push('…');
            rest = after(&rest[length..], |c| c == '&' || is_delimiter(c));
            continue;
        }
        clean.push(next);
        rest = &rest[next.len_utf8()..];
    }
    clean
}

/// The length of the introduction `text` begins with.
fn introduction(text: &str) -> Option<usize> {
    let begins = |words: &str| text.get(..words.len()).is_some_and(|start| start.eq_ignore_ascii_case(words));
    INTRODUCTIONS.iter().find(|words| begins(words)).map(|words| words.len())
}

fn after(text: &str, end: impl Fn(char) -> bool) -> &str {
    &text[text.find(end).unwrap_or(text.len())..]
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
            ("why? because of a design=good ü", "why? because of a design=good ü"),
            ("", ""),
        ] {
            assert_eq!(scrub(text), expected);
        }
    }
}
