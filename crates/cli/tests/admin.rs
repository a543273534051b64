//! The emulator's back door, as the command line opens it.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::http::Client;
use support::service::{Process, Service, binary};

const PATIENCE: Duration = Duration::from_secs(20);

/// An emulator with `words`, and its first `count` lines.
fn emulator(words: &[&str], count: usize) -> (Process, Vec<String>) {
    let mut process = Process::spawn(binary(&[&["emulator", "--listen", "127.0.0.1:0"], words].concat()));
    let said = process.lines(count);
    (process, said)
}

#[test]
fn a_second_line_says_where_orders_are_taken() {
    let (_text, said) = emulator(&["--admin", "127.0.0.1:0"], 2);
    let text = said[1].strip_prefix("taking orders on http://").unwrap().to_owned();
    let (_json, said) = emulator(&["--admin", "127.0.0.1:0", "-o", "json"], 2);
    let said: Vec<Value> = said.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&said[0]["type"], &said[1]["type"]), (&"listening".into(), &"admin".into()));
    let json = said[1]["url"].as_str().unwrap().strip_prefix("http://").unwrap();
    for address in [&text, json] {
        let mut client = Client::new(address.parse().unwrap());
        assert_eq!(client.send("GET", "/clock", &[], &[]).unwrap().status, 200);
        let page = client.send("GET", "/clock", &[("origin", "http://a.page")], &[]).unwrap();
        assert_eq!(page.status, 403, "a page in a browser was let in");
    }
}

#[test]
fn nobody_takes_orders_unless_asked_to() {
    let (process, _) = emulator(&[], 1);
    process.signal("-INT");
    assert_eq!(process.ended(PATIENCE).expect(0).stdout, "", "only one line");
}

#[test]
fn orders_are_taken_from_this_machine_alone() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80"] {
        // Nor with the flag that lets others reach the service itself.
        let (process, _) = emulator(&["--admin", address, "--allow-remote", "--allow-remote"], 0);
        let ran = process.ended(PATIENCE).expect(2);
        assert!(ran.stderr.starts_with(&format!("error: will not take orders on {address}")), "{}", ran.stderr);
    }
}

#[test]
fn a_lease_runs_out_when_the_clock_is_told_so() {
    let service = Service::start();
    let head = [("x-ms-blob-type", "PageBlob"), ("x-ms-blob-content-length", "512")];
    service.expect(201, "PUT", "disks/a.vhd", &head, &[]);
    let acquire = [("x-ms-lease-action", "acquire"), ("x-ms-lease-duration", "60")];
    service.expect(201, "PUT", "disks/a.vhd?comp=lease", &acquire, &[]);
    service.advance(59);
    service.expect(409, "PUT", "disks/a.vhd?comp=lease", &acquire, &[]);
    service.advance(2);
    service.expect(201, "PUT", "disks/a.vhd?comp=lease", &acquire, &[]);
    let stats = service.order("GET", "/stats", &json!({}));
    assert!(stats.to_string().contains("acquire-lease"), "{stats}");
}
