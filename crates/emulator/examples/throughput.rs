//! How fast the emulator moves pages over loopback: `cargo run --release --example throughput [data-dir]`.
//!
//! Eight plain sockets write a blob in requests of 4 MiB with CRC64, then read it back, with and without asking for a
//! CRC64. The clients do as little as possible, since they share the processors with what is measured.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use pageferry_emulator::sas::{AccountSas, account_sas};
use pageferry_emulator::{DEV_ACCOUNT, DEV_KEY, Emulator, Options, crc64, crc64_header};

const CHUNK: usize = 4 << 20;
const CONNECTIONS: usize = 8;
const ROUNDS: usize = 64;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let data_dir = std::env::args().nth(1).map(Into::into);
    let running = Emulator::start(Options { data_dir, ..Options::default() }).await?;
    let address = running.addr();
    tokio::task::spawn_blocking(move || measure(address)).await??;
    running.stop().await;
    Ok(())
}

fn measure(address: SocketAddr) -> Outcome<()> {
    let sas = AccountSas {
        version: "2021-12-02",
        services: "b",
        resource_types: "sco",
        permissions: "rwdlac",
        expiry: "2099-01-01T00:00:00Z",
        ..AccountSas::default()
    };
    let sas = account_sas(DEV_ACCOUNT, DEV_KEY, &sas).ok_or("bad key")?;
    let data: Vec<u8> = (0..CHUNK as u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect();
    let crc = crc64_header(crc64(&data));
    let size = CHUNK * CONNECTIONS * 16;
    let mut client = Client::new(address)?;
    client.call("PUT", &format!("bench?restype=container&{sas}"), "Content-Length: 0\r\n", &[])?;
    let create = format!("x-ms-blob-type: PageBlob\r\nx-ms-blob-content-length: {size}\r\nContent-Length: 0\r\n");
    client.call("PUT", &format!("bench/disk?{sas}"), &create, &[])?;
    let write = |client: &mut Client, range: &str| {
        let headers = format!(
            "x-ms-page-write: update\r\nx-ms-range: {range}\r\nx-ms-content-crc64: {crc}\r\nContent-Length: {CHUNK}\r\n"
        );
        client.call("PUT", &format!("bench/disk?comp=page&{sas}"), &headers, &data)
    };
    report("put page, 4 MiB, CRC64", address, CONNECTIONS, CHUNK, ROUNDS, write)?;
    let read = |client: &mut Client, range: &str| {
        client.call("GET", &format!("bench/disk?{sas}"), &format!("x-ms-range: {range}\r\n"), &[])
    };
    report("get, 4 MiB", address, CONNECTIONS, CHUNK, ROUNDS, read)?;
    let checked = |client: &mut Client, range: &str| {
        let headers = format!("x-ms-range: {range}\r\nx-ms-range-get-content-crc64: true\r\n");
        client.call("GET", &format!("bench/disk?{sas}"), &headers, &[])
    };
    report("get, 4 MiB, CRC64", address, CONNECTIONS, CHUNK, ROUNDS, checked)?;
    let page = |client: &mut Client, range: &str| {
        let headers = format!("x-ms-page-write: update\r\nx-ms-range: {range}\r\nContent-Length: 512\r\n");
        client.call("PUT", &format!("bench/disk?comp=page&{sas}"), &headers, &data[..512])
    };
    report("put page, 512 B", address, CONNECTIONS, 512, ROUNDS * 64, page)
}

fn report(
    name: &str,
    address: SocketAddr,
    connections: usize,
    chunk: usize,
    rounds: usize,
    call: impl Fn(&mut Client, &str) -> Outcome<()> + Sync,
) -> Outcome<()> {
    let started = Instant::now();
    std::thread::scope(|scope| {
        let one = |index: usize| {
            let call = &call;
            scope.spawn(move || {
                let mut client = Client::new(address)?;
                (0..rounds).try_for_each(|round| {
                    let start = (index * 16 + round % 16) * chunk;
                    call(&mut client, &format!("bytes={start}-{}", start + chunk - 1))
                })
            })
        };
        let threads: Vec<_> = (0..connections).map(one).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a client panicked")?)
    })?;
    let seconds = started.elapsed().as_secs_f64();
    let (requests, bytes) = (connections * rounds, connections * rounds * chunk);
    let rate = bytes as f64 / seconds / f64::from(1 << 30);
    eprintln!("{name:24} {rate:6.2} GiB/s {:9.0} requests/s", requests as f64 / seconds);
    Ok(())
}

struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    fn new(address: SocketAddr) -> Outcome<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; 1 << 20] })
    }

    /// One request; the answer's status must be a success, and its body is read and dropped.
    fn call(&mut self, method: &str, target: &str, headers: &str, body: &[u8]) -> Outcome<()> {
        let head = format!(
            "{method} /{DEV_ACCOUNT}/{target} HTTP/1.1\r\nHost: 127.0.0.1\r\nx-ms-version: 2021-12-02\r\n{headers}\r\n"
        );
        self.stream.write_all(head.as_bytes())?;
        self.stream.write_all(body)?;
        let mut filled = 0;
        let end = loop {
            let count = self.stream.read(&mut self.buffer[filled..])?;
            filled += count;
            if let Some(at) = self.buffer[..filled].windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            if count == 0 {
                return Err("the connection was closed".into());
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).to_ascii_lowercase();
        if !head.starts_with("http/1.1 20") {
            return Err(head.into());
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).ok_or("no length")?;
        let mut left = length.trim().parse::<usize>()? + end - filled;
        while left > 0 {
            let most = left.min(self.buffer.len());
            let count = self.stream.read(&mut self.buffer[..most])?;
            if count == 0 {
                return Err("the answer was cut short".into());
            }
            left -= count;
        }
        Ok(())
    }
}
