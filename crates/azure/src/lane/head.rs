//! What HTTP/1.1 says before a body: of a request as text, of an answer as status and fields.

use std::io;

use azure_core::http::Request;

/// The longest head that is read.
pub(super) const HEAD_BYTES_MAX: usize = 64 << 10;

/// The most fields that an answer has. The service sends about twenty, and one more for each word of metadata.
const FIELDS_MAX: usize = 256;

/// The head of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    /// Names in lower case, values that are text.
    pub(super) fields: Vec<(String, String)>,
    /// Whether the connection is kept open afterwards.
    pub(super) keeps: bool,
}

/// The head of `request`, whose body has `length` bytes.
pub(super) fn request(request: &Request, length: usize) -> String {
    let url = request.url();
    let mut head = format!("{} {}", request.method().as_ref(), url.path());
    if let Some(query) = url.query() {
        head.push('?');
        head.push_str(query);
    }
    head.push_str(" HTTP/1.1\r\nhost: ");
    head.push_str(url.host_str().unwrap_or_default());
    if let Some(port) = url.port() {
        head.push_str(&format!(":{port}"));
    }
    head.push_str("\r\n");
    for (name, value) in request.headers().iter() {
        let name = name.as_str();
        // These are this module's to say.
        if ["host", "content-length", "transfer-encoding", "connection"].contains(&name) {
            continue;
        }
        head.push_str(name);
        head.push_str(": ");
        // A line break would be the end of the field, and of what we mean by it.
        head.extend(value.as_str().chars().filter(|c| !matches!(c, '\r' | '\n')));
        head.push_str("\r\n");
    }
    if length > 0 || request.method().as_ref() != "GET" {
        head.push_str(&format!("content-length: {length}\r\n"));
    }
    head.push_str("\r\n");
    head
}

/// The head at the start of `received`, and its length; `None` while it is not whole. Interim answers are skipped.
///
/// # Errors
/// What was received is no answer.
pub(super) fn answer(received: &[u8]) -> io::Result<Option<(Head, usize)>> {
    let mut at = 0;
    loop {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut parsed = httparse::Response::new(&mut fields);
        let rest = received.get(at..).unwrap_or_default();
        let length = match parsed.parse(rest).map_err(|error| no_answer(&error.to_string()))? {
            httparse::Status::Complete(length) => length,
            httparse::Status::Partial if rest.len() > HEAD_BYTES_MAX => return Err(no_answer("it has no end")),
            httparse::Status::Partial => return Ok(None),
        };
        at += length;
        let status = parsed.code.unwrap_or_default();
        if (100..200).contains(&status) && status != 101 {
            continue;
        }
        let text = |field: &httparse::Header<'_>| {
            let value = std::str::from_utf8(field.value).ok()?;
            Some((field.name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        let fields: Vec<_> = parsed.headers.iter().filter_map(text).collect();
        let asked_to = |what: &str| {
            fields.iter().filter(|(name, _)| name == "connection").any(|(_, value)| value.eq_ignore_ascii_case(what))
        };
        let keeps = if parsed.version == Some(1) { !asked_to("close") } else { asked_to("keep-alive") };
        return Ok(Some((Head { status, fields, keeps }, at)));
    }
}

fn no_answer(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("what came is no HTTP answer: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use azure_core::http::{Method, Url};

    #[test]
    fn a_request_says_where_to_and_how_long() {
        let mut put = Request::new(Url::parse("http://127.0.0.1:99/a/b?comp=page&sig=%2B").unwrap(), Method::Put);
        put.insert_header("content-length", "77");
        put.insert_header("x-ms-version", "2021\r\nx-evil: 1");
        let text = request(&put, 512);
        assert!(text.starts_with("PUT /a/b?comp=page&sig=%2B HTTP/1.1\r\nhost: 127.0.0.1:99\r\n"), "{text}");
        assert!(text.contains("\r\ncontent-length: 512\r\n") && !text.contains("77"), "{text}");
        assert!(text.contains("\r\nx-ms-version: 2021x-evil: 1\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\n"));
        let get = Request::new(Url::parse("https://a.example/b").unwrap(), Method::Get);
        assert_eq!(request(&get, 0), "GET /b HTTP/1.1\r\nhost: a.example\r\n\r\n");
    }

    #[test]
    fn an_answer_is_whole_or_not_yet() {
        let bytes = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 512\r\nETag: \"0x1\"\r\n\r\nbody";
        for cut in 0..bytes.len() - 4 {
            assert_eq!(answer(&bytes[..cut]).unwrap(), None, "{cut}");
        }
        let (head, length) = answer(bytes).unwrap().unwrap();
        assert_eq!((head.status, length, head.keeps), (206, bytes.len() - 4, true));
        assert_eq!(head.fields[1], ("etag".to_owned(), "\"0x1\"".to_owned()));
    }

    #[test]
    fn interim_answers_are_none() {
        let bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nConnection: Close\r\n\r\n";
        let (head, length) = answer(bytes).unwrap().unwrap();
        assert_eq!((head.status, length, head.keeps), (201, bytes.len(), false));
        assert_eq!(answer(&bytes[..30]).unwrap(), None);
    }

    #[test]
    fn garbage_is_refused() {
        assert!(answer(b"SSH-2.0-OpenSSH\r\n\r\n").is_err());
        let endless = [b"HTTP/1.1 200 OK\r\nx: ".as_slice(), &vec![b'y'; HEAD_BYTES_MAX]].concat();
        assert!(answer(&endless).is_err());
    }
}
