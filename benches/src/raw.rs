//! The reference for moving: sockets and nothing else.
//!
//! Each lane is a thread with one connection to either side and one small buffer. It asks for a range, and writes what
//! arrives as the body of a Put Page before all of it has arrived. Checksums are asked for and sent on, so that the service
//! has the same work; none is computed here.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;

use pageferry_core::PageRange;

/// What a lane holds of a range at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// A connection, plain or not.
pub trait Socket: Read + Write + Send {}

impl<T: Read + Write + Send> Socket for T {}

/// Where to read and where to write, and how to get there.
#[expect(missing_debug_implementations, reason = "it holds a function")]
pub struct Path<'a> {
    /// The authority of either blob.
    pub host: &'a str,
    /// Path and query of the picture that is read.
    pub from: &'a str,
    /// Path of the blob that is written.
    pub to: &'a str,
    /// The lease of the blob that is written.
    pub lease: &'a str,
    /// Opens a connection.
    pub connect: &'a (dyn Fn() -> Box<dyn Socket> + Sync),
}

/// Copies `ranges` on `lanes` threads.
///
/// # Panics
/// Where the service answers with anything but success.
pub fn relay(path: &Path<'_>, lanes: usize, ranges: impl Iterator<Item = PageRange> + Send) {
    let ranges = Mutex::new(ranges);
    std::thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| {
                let (mut source, mut target) = ((path.connect)(), (path.connect)());
                let mut buffer = vec![0; BUFFER_BYTES];
                loop {
                    let next = ranges.lock().expect("no lane has failed").next();
                    let Some(range) = next else { break };
                    copy(path, &mut *source, &mut *target, range, &mut buffer);
                }
            });
        }
    });
}

/// A connection to `host` without TLS.
///
/// # Panics
/// Where there is none.
pub fn plain(host: &str) -> Box<dyn Socket> {
    let socket = TcpStream::connect(host).expect("a connection");
    socket.set_nodelay(true).expect("a socket option");
    Box::new(socket)
}

fn copy(path: &Path<'_>, source: &mut dyn Socket, target: &mut dyn Socket, range: PageRange, buffer: &mut [u8]) {
    let Path { host, from, to, lease, .. } = path;
    let (first, last) = range.inclusive_bytes();
    let ask = format!(
        "GET {from} HTTP/1.1\r\nhost: {host}\r\nx-ms-version: 2021-12-02\r\nx-ms-range: bytes={first}-{last}\r\n\
         x-ms-range-get-content-crc64: true\r\n\r\n"
    );
    source.write_all(ask.as_bytes()).expect("a request");
    let (head, mut held) = head(source, buffer);
    assert!(head.starts_with("HTTP/1.1 206"), "{head}");
    let length = usize::try_from(range.bytes()).expect("at most 4 MiB");
    assert_eq!(field(&head, "content-length"), Some(length.to_string().as_str()), "{head}");
    let crc = field(&head, "x-ms-content-crc64").expect("a checksum");
    let put = format!(
        "PUT {to}?comp=page HTTP/1.1\r\nhost: {host}\r\nx-ms-version: 2021-12-02\r\nx-ms-page-write: update\r\n\
         x-ms-lease-id: {lease}\r\nx-ms-if-sequence-number-eq: 0\r\n\
         x-ms-range: bytes={first}-{last}\r\nx-ms-content-crc64: {crc}\r\ncontent-length: {length}\r\n\r\n"
    );
    target.write_all(put.as_bytes()).expect("a request");
    let mut left = length;
    loop {
        target.write_all(&buffer[..held]).expect("a body");
        left -= held;
        if left == 0 {
            break;
        }
        let most = left.min(buffer.len());
        held = source.read(&mut buffer[..most]).expect("a body");
        assert!(held > 0, "the answer ended early");
    }
    let (head, held) = self::head(target, buffer);
    assert!(head.starts_with("HTTP/1.1 201") && held == 0, "{head}");
}

/// The head of an answer; what else has arrived is at the start of `buffer`.
fn head(socket: &mut dyn Socket, buffer: &mut [u8]) -> (String, usize) {
    let mut held = 0;
    loop {
        let more = socket.read(&mut buffer[held..]).expect("an answer");
        assert!(more > 0, "the connection was closed");
        held += more;
        if let Some(end) = buffer[..held].windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            buffer.copy_within(end + 4..held, 0);
            return (head, held - end - 4);
        }
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value.trim()))
}
