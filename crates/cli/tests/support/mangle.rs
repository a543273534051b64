//! Changing a few bytes of an HTTP message, most often where that leaves something that still makes sense.

use rand::Rng;
use rand::rngs::StdRng;

/// Changes `message` and says what was changed, with what stands around it.
pub fn mangle(dice: &mut StdRng, message: &mut Vec<u8>) -> String {
    if dice.random_bool(0.5)
        && let Some(shifted) = shift(dice, message)
    {
        return shifted;
    }
    let times = if dice.random_ratio(3, 4) { 1 } else { dice.random_range(2..=3) };
    let mut one = || {
        let (before, at) = (message.clone(), place(dice, message));
        change(dice, message, at);
        told(&before, message)
    };
    (0..times).map(|_| one()).collect::<Vec<_>>().join("; ")
}

/// Moves a range of whole pages elsewhere, or one end of it: the lie that makes the best sense.
fn shift(dice: &mut StdRng, message: &mut Vec<u8>) -> Option<String> {
    let places = |words: &[u8]| {
        let found = message.windows(words.len()).enumerate().filter(|(_, window)| *window == words);
        found.map(|(at, _)| at + words.len()).collect::<Vec<usize>>()
    };
    let [starts, ends, ranges] = [places(b"<Start>"), places(b"<End>"), places(b"x-ms-range: bytes=")];
    let by = 512 * dice.random_range(1..16);
    let figures = match (&ranges[..], starts.is_empty()) {
        // Both ends, so that the length stays the same.
        ([at], _) => vec![*at, at + 1 + message[*at..].iter().position(|byte| *byte == b'-')?],
        ([], false) => {
            let one = dice.random_range(0..starts.len());
            [vec![starts[one]], vec![ends[one]], vec![starts[one], ends[one]]][dice.random_range(0..3)].clone()
        }
        _ => return None,
    };
    let (mut after, up) = (message.clone(), dice.random_bool(0.5));
    for at in figures {
        let length = after[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let figure: u64 = std::str::from_utf8(&after[at..at + length]).ok()?.parse().ok()?;
        let figure = if up { figure + by } else { figure.checked_sub(by)? }.to_string();
        // Another length would only break the message.
        (figure.len() == length).then(|| after[at..at + length].copy_from_slice(figure.as_bytes()))?;
    }
    let told = told(message, &after);
    *message = after;
    Some(told)
}

/// Where to change something: in any line of the head alike, or in the body.
fn place(dice: &mut StdRng, message: &[u8]) -> usize {
    let head = message.windows(4).position(|four| four == b"\r\n\r\n").map_or(message.len(), |end| end + 4);
    let body = message.len() - head;
    if body > 0 && dice.random_bool(0.5) {
        let at = head + dice.random_range(0..body);
        // In a list the figures are what matters.
        let is_list = message[head..].starts_with(b"<") || message[head..].windows(5).take(16).any(|w| w == b"<?xml");
        let figure = message[at..].iter().position(u8::is_ascii_digit).filter(|_| is_list && dice.random_bool(0.7));
        return at + figure.unwrap_or(0);
    }
    let starts: Vec<usize> = (0..head.saturating_sub(4)).filter(|at| *at == 0 || message[at - 1] == b'\n').collect();
    let start = starts[dice.random_range(0..starts.len())];
    let end = message[start..].iter().position(|byte| *byte == b'\r').map_or(head, |length| start + length);
    let colon = message[start..end].iter().position(|byte| *byte == b':').map_or(start, |colon| start + colon + 2);
    let from = if dice.random_ratio(1, 5) { start } else { colon.min(end - 1) };
    dice.random_range(from..end)
}

fn change(dice: &mut StdRng, message: &mut Vec<u8>, at: usize) {
    let byte = message[at];
    match dice.random_range(0..10) {
        0 | 1 => message[at] ^= 1 << dice.random_range(0..8),
        2 => message[at] = dice.random_range(b' '..=b'~'),
        3 => drop(message.remove(at)),
        4 => message.insert(at, byte),
        _ => message[at] = another(dice, byte),
    }
}

/// Another byte of the same kind.
fn another(dice: &mut StdRng, byte: u8) -> u8 {
    let kind = match byte {
        b'0'..=b'9' => b'0'..=b'9',
        b'a'..=b'f' => b'a'..=b'f',
        b'g'..=b'z' => b'g'..=b'z',
        b'A'..=b'F' => b'A'..=b'F',
        b'G'..=b'Z' => b'G'..=b'Z',
        _ => return byte ^ 1 << dice.random_range(0..8),
    };
    loop {
        let other = dice.random_range(kind.clone());
        if other != byte {
            return other;
        }
    }
}

/// The difference, in words.
fn told(before: &[u8], after: &[u8]) -> String {
    let at = before.iter().zip(after).position(|(a, b)| a != b).unwrap_or(before.len().min(after.len()));
    let part = |bytes: &[u8]| {
        let (from, to) = (at.saturating_sub(40), bytes.len().min(at + 24));
        String::from_utf8_lossy(bytes.get(from..to).unwrap_or_default()).escape_debug().to_string()
    };
    format!("at byte {at} of {}: `{}` became `{}`", before.len(), part(before), part(after))
}
