//! Secrets that can be told from everything else, and the search for them in whatever form.

use std::collections::HashSet;

/// As much of a secret as must never be seen in one piece.
const PIECE: usize = 12;

/// What is searched for: every piece of every secret, as it is, percent-encoded, in base64 and out of it, and as the list
/// of numbers that a careless debug print shows.
#[derive(Default)]
pub struct Canaries(HashSet<Vec<u8>>);

impl Canaries {
    pub fn of(secrets: &[&str]) -> Canaries {
        let mut canaries = Canaries::default();
        for secret in secrets {
            let plain = decoded(secret);
            canaries.add(secret.as_bytes());
            canaries.add(&plain);
            canaries.add(encoded(&plain).as_bytes());
            canaries.add(encoded(&plain).to_ascii_lowercase().as_bytes());
            canaries.add(base64(&plain).as_bytes());
            if let Some(bytes) = from_base64(&plain) {
                canaries.add(&bytes);
                let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                canaries.add(hex.as_bytes());
                let numbers: Vec<String> = bytes.iter().map(u8::to_string).collect();
                canaries.add(numbers.join(", ").as_bytes());
            }
        }
        canaries
    }

    fn add(&mut self, form: &[u8]) {
        assert!(form.len() >= PIECE, "a secret that could be found by chance");
        self.0.extend(form.windows(PIECE).map(<[u8]>::to_vec));
    }

    /// Fails where `text` has a piece of a secret.
    #[track_caller]
    pub fn search(&self, text: &[u8], what: &str) {
        if let Some(at) = text.windows(PIECE).position(|window| self.0.contains(window)) {
            let around = &text[at.saturating_sub(300)..text.len().min(at + 60)];
            panic!("{what} shows a secret: {}", String::from_utf8_lossy(around));
        }
    }
}

fn decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()) {
            Some(byte) => (out.push(byte), at += 3),
            None => (out.push(bytes[at]), at += 1),
        };
    }
    out
}

fn encoded(bytes: &[u8]) -> String {
    let one = |byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(*byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    bytes.iter().map(one).collect()
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub fn base64(bytes: &[u8]) -> String {
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let number = three.iter().chain([&0, &0]).take(3).fold(0, |number, byte| number << 8 | usize::from(*byte));
        for place in 0..4 {
            let digit = DIGITS[number >> (18 - 6 * place) & 63];
            out.push(if place <= three.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut number, mut bits) = (Vec::new(), 0_usize, 0);
    for byte in text.iter().filter(|byte| **byte != b'=') {
        number = number << 6 & 0xffff | DIGITS.iter().position(|digit| digit == byte)?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push(u8::try_from(number >> bits & 0xff).ok()?);
        }
    }
    Some(out)
}
