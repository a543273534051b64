//! As much of HTTP as a test needs to talk to the service past the engine: one connection, one request at a time.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Nothing here takes longer; a service that does is stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection that has been idle for longer may have been closed at the other end.
const IDLE: Duration = Duration::from_secs(5);

/// A connection that is made when it is needed.
pub struct Client {
    address: SocketAddr,
    stream: Option<(BufReader<TcpStream>, Instant)>,
}

pub struct Answer {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Client {
    pub fn new(address: SocketAddr) -> Client {
        Client { address, stream: None }
    }

    /// Sends a request and reads the whole answer.
    pub fn send(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Answer> {
        let mut stream = match self.stream.take() {
            Some((stream, used)) if used.elapsed() < IDLE => stream,
            _ => {
                let stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                BufReader::with_capacity(1 << 16, stream)
            }
        };
        let mut head = format!("{method} {target} HTTP/1.1\r\nhost: {}\r\n", self.address);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        stream.get_mut().write_all(&[head.as_bytes(), body].concat())?;
        let answer = read_answer(&mut stream, method)?;
        self.stream = Some((stream, Instant::now()));
        Ok(answer)
    }
}

fn read_answer(stream: &mut impl BufRead, method: &str) -> io::Result<Answer> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(|| bad(&line))?;
    let mut headers = HashMap::new();
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let mut body = Vec::new();
    if method == "HEAD" || status == 204 || status == 304 {
        return Ok(Answer { status, headers, body });
    }
    if let Some(length) = headers.get("content-length").and_then(|length| length.parse().ok()) {
        body.resize(length, 0);
        stream.read_exact(&mut body)?;
        return Ok(Answer { status, headers, body });
    }
    // Lists are written as they are made, in chunks.
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim_end(), 16).map_err(|_| bad("an answer without a length"))?;
        let start = body.len();
        body.resize(start + length, 0);
        stream.read_exact(&mut body[start..])?;
        stream.read_line(&mut line)?;
        if length == 0 {
            break;
        }
    }
    Ok(Answer { status, headers, body })
}
