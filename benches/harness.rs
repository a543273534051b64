//! What the benches share: blobs to work on, memory as the kernel counts it, and one way to print a row.

use std::sync::Arc;

use azure_core::http::HttpClient;
use pageferry_azure::{Address, Credential, Flags, Options, PageBlob, Side};

/// A blob at `url`, reached through `transport` or, without one, over a socket.
///
/// # Panics
/// Where `url` is no address of the development account: benches stop at the first surprise.
pub fn blob(url: &str, side: Side, transport: Option<Arc<dyn HttpClient>>) -> PageBlob {
    let address = Address::parse(url).expect("an address");
    let credential =
        Credential::resolve(&address, side, &|_| None, &Flags::default()).expect("the development account");
    PageBlob::new(address, &credential, Options { transport, ..Options::default() }).expect("a blob")
}

/// The memory this process has resident now, and the most it ever had, in bytes.
///
/// # Panics
/// Where `/proc` does not tell.
pub fn resident_bytes() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").expect("the kernel tells");
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel tells");
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") * 1024
    };
    (of("VmRSS:"), of("VmHWM:"))
}

/// Prints one result: what was measured, the figure, and the limit it is held against.
#[expect(clippy::print_stdout, reason = "a bench is a report")]
pub fn row(what: &str, figure: &str, limit: &str) {
    println!("{what:<58} {figure:>14}   {limit}");
}

/// Bytes as MiB with one decimal.
#[expect(clippy::cast_precision_loss, reason = "for people")]
pub fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}
