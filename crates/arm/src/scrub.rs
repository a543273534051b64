//! Takes passwords out of text that others wrote: services quote URLs, transports print them, and URLs carry signatures.

/// What introduces a secret within a word, in lower case.
const INTRODUCTIONS: [&str; 3] = ["sig=", "sig%3d", "secret="];

/// `text` without signatures and tokens, and without the query of any URL in it.
pub(crate) fn scrub(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut is_token = false;
    for piece in text.split_inclusive(is_delimiter) {
        let word = piece.trim_end_matches(is_delimiter);
        let shown = if is_token && !word.is_empty() { 0 } else { shown(word) };
        clean.push_str(&word[..shown]);
        clean.push_str(if shown < word.len() { "…" } else { "" });
        clean.push_str(&piece[word.len()..]);
        // What follows the word is the token, however much space is between.
        is_token = word.eq_ignore_ascii_case("bearer") || (is_token && word.is_empty());
    }
    clean
}

/// How much of a word can be shown.
fn shown(word: &str) -> usize {
    let lower = word.to_ascii_lowercase();
    let signature = INTRODUCTIONS.iter().filter_map(|start| lower.find(start).map(|at| at + start.len())).min();
    let query = lower.find("://").and_then(|at| lower[at..].find('?').map(|query| at + query + 1));
    [signature, query].into_iter().flatten().min().unwrap_or(word.len())
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
            ("error for url (https://a.b/c/d?t=CANARY&x=1)", "error for url (https://a.b/c/d?…)"),
            ("sent sv=1&SIG=CANARY&se=2 twice", "sent sv=1&SIG=… twice"),
            ("'https://a.b/c?sv=1&sig=CANARY', and 'why?'", "'https://a.b/c?…', and 'why?'"),
            ("Authorization: Bearer  CANARY end", "Authorization: Bearer  … end"),
            ("bearer Bearer CANARY", "bearer … …"),
            ("nested ?u=https%3A%2F%2Fx%3Fsig%3DCANARY end", "nested ?u=https%3A%2F%2Fx%3Fsig%3D… end"),
            ("snapshot 's1' (ü) is not there. Why?", "snapshot 's1' (ü) is not there. Why?"),
            ("", ""),
        ] {
            assert_eq!(scrub(text), expected);
        }
    }
}
