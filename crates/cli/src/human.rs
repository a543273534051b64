//! Quantities as people write and read them.

use std::time::Duration;

use pageferry_store::StoreError;
use pageferry_store::error::Failure;

const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];

/// `bytes` in the largest unit that leaves at least one of it.
pub(crate) fn bytes(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut unit = 0;
    let mut divisor = 1024u64;
    while unit + 1 < UNITS.len() && bytes / divisor >= 1024 {
        divisor *= 1024;
        unit += 1;
    }
    let tenths = u128::from(bytes) * 10 / u128::from(divisor);
    let (whole, tenth) = (tenths / 10, tenths % 10);
    if tenth == 0 { format!("{whole} {}", UNITS[unit]) } else { format!("{whole}.{tenth} {}", UNITS[unit]) }
}

/// A length of time, to the precision that matters at its size.
pub(crate) fn duration(time: Duration) -> String {
    let secs = time.as_secs();
    match secs {
        0 => format!("{} ms", time.as_millis()),
        1..60 => format!("{secs}.{} s", time.subsec_millis() / 100),
        60..3600 => format!("{} min {} s", secs / 60, secs % 60),
        3600..86_400 => format!("{} h {} min", secs / 3600, secs % 3600 / 60),
        _ => format!("{} d {} h", secs / 86_400, secs % 86_400 / 3600),
    }
}

/// `count` things: `1 range`, `2 ranges`.
pub(crate) fn count(count: u64, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

/// How fast `bytes` were moved in `time`.
pub(crate) fn rate(moved: u64, time: Duration) -> String {
    let micros = time.as_micros().max(1);
    let per_second = u128::from(moved) * 1_000_000 / micros;
    format!("{}/s", bytes(u64::try_from(per_second).unwrap_or(u64::MAX)))
}

/// A number of bytes: `512`, `64K`, `4M`, `1G`, also `4MiB`. Units are binary.
///
/// # Errors
/// A sentence that says what is expected.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let expected = || format!("`{text}` is no size; write bytes as 512, 64K, 4M or 1G (K is 1024)");
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| expected())?;
    let shift = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => return Err(expected()),
    };
    number.checked_mul(1 << shift).ok_or_else(expected)
}

/// A length of time: `90s`, `90m`, `26h`, `2d`.
///
/// # Errors
/// A sentence that says what is expected.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let expected = || format!("`{text}` is no length of time; write 90s, 90m, 26h or 2d");
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| expected())?;
    let secs = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(expected()),
    };
    number.checked_mul(secs).map(Duration::from_secs).ok_or_else(expected)
}

/// Why something cannot be measured, as a row can hold it: without the blob, whose name means nothing to anybody.
pub(crate) fn briefly(error: &StoreError) -> String {
    let Failure { operation, cause, status, code, .. } = error.failure();
    let details: Vec<String> = status.map(|status| status.to_string()).into_iter().chain(code.clone()).collect();
    let mut said = format!("{operation} failed: {cause}");
    if !details.is_empty() {
        said.push_str(&format!(" ({})", details.join(" ")));
    }
    if error.code() == "CannotVerifyCopySource" && operation != &"Put Page From URL" {
        said.push_str("; it is the target's service that reads the source");
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_one_digit_after_the_point() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (4 << 20, "4 MiB"),
            ((1 << 30) - 1, "1023.9 MiB"),
            (8 << 40, "8 TiB"),
            (u64::MAX, "16383.9 PiB"),
        ];
        for (number, expected) in cases {
            assert_eq!(bytes(number), expected);
        }
    }

    #[test]
    fn sizes_are_read_with_binary_units() {
        for (text, expected) in [("512", 512), ("64K", 64 << 10), ("4m", 4 << 20), ("4 MiB", 4 << 20), ("1G", 1 << 30)]
        {
            assert_eq!(parse_bytes(text), Ok(expected), "{text}");
        }
        for text in ["", "M", "4X", "-1", "1.5M", "99999999999T"] {
            assert!(parse_bytes(text).unwrap_err().contains("512, 64K, 4M or 1G"), "{text}");
        }
    }

    #[test]
    fn times_keep_two_units() {
        let cases = [
            (250, "250 ms"),
            (1_340, "1.3 s"),
            (61_000, "1 min 1 s"),
            (7_260_000, "2 h 1 min"),
            (90_000_000, "1 d 1 h"),
        ];
        for (millis, expected) in cases {
            assert_eq!(duration(Duration::from_millis(millis)), expected);
        }
    }
}
