//! The little XML the service speaks: written by hand with a byte order mark, read with a pull parser.

use quick_xml::Reader;
use quick_xml::events::Event;

/// The byte order mark and declaration every XML body starts with.
pub(crate) fn head() -> String {
    String::from("\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?>")
}

/// Text made safe for element content and attributes; characters XML cannot carry become U+FFFD.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if c < ' ' && !matches!(c, '\t' | '\n' | '\r') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// `<name>text</name>`, or `<name />` for empty text.
pub(crate) fn element(name: &str, text: &str) -> String {
    if text.is_empty() { format!("<{name} />") } else { format!("<{name}>{}</{name}>", escape(text)) }
}

/// Flattens a document into `(path, text)` pairs of its leaves, such as `("SignedIdentifiers/SignedIdentifier/Id",
/// "p1")`; `None` when it is not well formed. Every element that opens is also given, with empty text, so that a
/// caller can tell where a new group begins.
pub(crate) fn flatten(document: &[u8]) -> Option<Vec<(String, String)>> {
    let text = std::str::from_utf8(document).ok()?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let mut path: Vec<String> = Vec::new();
    let mut out: Vec<(String, String)> = Vec::new();
    loop {
        match reader.read_event().ok()? {
            Event::Start(e) => {
                path.push(String::from_utf8_lossy(e.local_name().as_ref()).into_owned());
                out.push((path.join("/"), String::new()));
            }
            Event::Empty(e) => {
                let name = String::from_utf8_lossy(e.local_name().as_ref()).into_owned();
                out.push((format!("{}/{name}", path.join("/")), String::new()));
            }
            Event::End(_) => {
                path.pop()?;
            }
            Event::Text(t) => {
                let text = t.decode().ok()?;
                if let Some((_, last)) = out.last_mut() {
                    last.push_str(text.trim());
                }
            }
            Event::Eof => return path.is_empty().then_some(out),
            _ => {}
        }
    }
}
