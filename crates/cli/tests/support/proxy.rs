//! A man in the middle: passes requests on and answers back, and from a seed does to them what networks, middleboxes and
//! enemies do. It reads a message as a whole before it sends any of it, so that what it does can be named exactly.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::mangle::mangle;

/// How long the service may take over an answer; a mangled request may have made it wait for more.
const PATIENCE: Duration = Duration::from_secs(2);

/// A proxy on a port of its own, until this is dropped.
pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

/// What goes wrong, and how often.
#[derive(Clone, Debug, Default)]
pub struct Weather {
    pub seed: u64,
    /// Faults in all.
    pub faults: u32,
    /// The chance of a page's exchange in a thousand, and that of any other.
    pub per_mille: (u32, u32),
    /// Whether every request that changes something is kept, for [`Proxy::replay`].
    pub keep: bool,
    /// Whether a connection with nothing more to come may stay open, so that only patience ends the wait.
    pub hang: bool,
    /// Whether nothing is passed on at all, and every connection stays open.
    pub silent: bool,
    /// What is written instead of something else, besides.
    pub edit: Option<Edit>,
}

/// One change of one message.
#[derive(Clone, Debug)]
pub struct Edit {
    /// It is the answer that is changed, not the request.
    pub answer: bool,
    /// What the request's first line contains.
    pub line: &'static str,
    /// What is replaced, where it is found first.
    pub from: String,
    pub to: String,
}

struct Shared {
    upstream: SocketAddr,
    storm: Mutex<Storm>,
    stopped: AtomicBool,
}

/// The weather, and what it has done.
struct Storm {
    weather: Weather,
    dice: StdRng,
    exchanges: u32,
    log: Vec<String>,
    kept: Vec<Vec<u8>>,
    /// The latest answer to each question.
    answers: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What befalls an exchange.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Fault {
    CutRequest,
    MangleRequest,
    LateRequest,
    /// It arrives a second time, later, on a connection of its own.
    Twice,
    /// It arrives a second time when the run is over.
    TwiceAfterwards,
    LoseAnswer,
    CutAnswer,
    MangleAnswer,
    LateAnswer,
    /// What was answered the last time that the same was asked.
    StaleAnswer,
}

const FAULTS: [Fault; 14] = [
    Fault::CutRequest,
    Fault::MangleRequest,
    Fault::MangleRequest,
    Fault::MangleRequest,
    Fault::LateRequest,
    Fault::Twice,
    Fault::TwiceAfterwards,
    Fault::LoseAnswer,
    Fault::CutAnswer,
    Fault::MangleAnswer,
    Fault::MangleAnswer,
    Fault::MangleAnswer,
    Fault::LateAnswer,
    Fault::StaleAnswer,
];

impl Proxy {
    pub fn start(upstream: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let storm = Mutex::new(Storm::new(Weather::default()));
        let shared = Arc::new(Shared { upstream, storm, stopped: AtomicBool::new(false) });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (shared, Ok(stream)) = (Arc::clone(&accepting), stream) else { continue };
                // How a connection ends is the business of its two ends.
                std::thread::spawn(move || drop(shared.connection(stream)));
            }
        });
        Proxy { address, shared }
    }

    /// From now on the weather is this.
    pub fn weather(&self, weather: Weather) {
        *self.shared.storm() = Storm::new(weather);
    }

    /// Nothing more goes wrong; what was kept stays.
    pub fn weather_ends(&self) {
        let mut storm = self.shared.storm();
        (storm.weather.faults, storm.weather.keep) = (0, false);
    }

    /// What was done since the weather was set.
    pub fn log(&self) -> Vec<String> {
        self.shared.storm().log.clone()
    }

    pub fn exchanges(&self) -> u32 {
        self.shared.storm().exchanges
    }

    /// Sends what was kept once more, in the order it came or in another one.
    pub fn replay(&self, shuffled: bool) {
        let mut storm = self.shared.storm();
        let mut kept = std::mem::take(&mut storm.kept);
        if shuffled {
            for index in (1..kept.len()).rev() {
                kept.swap(index, storm.dice.random_range(0..=index));
            }
        }
        drop(storm);
        for request in kept {
            let _ = self.shared.once(&request);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

impl Storm {
    fn new(weather: Weather) -> Storm {
        let dice = StdRng::seed_from_u64(weather.seed);
        Storm { weather, dice, exchanges: 0, log: Vec::new(), kept: Vec::new(), answers: Vec::new() }
    }

    /// What is to befall the next exchange.
    fn draw(&mut self, request: &[u8]) -> Option<Fault> {
        self.exchanges += 1;
        let line = first_line(request);
        let is_page = contains(line, b"comp=page&") || line.starts_with(b"GET") && !contains(line, b"comp=");
        let (pages, others) = self.weather.per_mille;
        let chance = if is_page { pages } else { others };
        let hit = self.dice.random_range(0..1000) < chance && self.weather.faults > 0;
        if self.weather.keep && request.starts_with(b"PUT") {
            self.kept.push(request.to_vec());
        }
        if !hit {
            return None;
        }
        self.weather.faults -= 1;
        Some(FAULTS[self.dice.random_range(0..FAULTS.len())])
    }

    /// Makes the change that was asked for, once, if this is the message.
    fn edit(&mut self, request: &[u8], message: &mut Vec<u8>, answer: bool) {
        let is_it = |edit: &mut Edit| edit.answer == answer && contains(first_line(request), edit.line.as_bytes());
        let Some(edit) = self.weather.edit.take_if(is_it) else { return };
        match message.windows(edit.from.len()).position(|part| part == edit.from.as_bytes()) {
            Some(at) => {
                message.splice(at..at + edit.from.len(), edit.to.bytes());
                self.note(request, &format!("{edit:?}"));
            }
            None => self.weather.edit = Some(edit),
        }
    }

    fn note(&mut self, request: &[u8], what: &str) {
        let line = String::from_utf8_lossy(first_line(request)).into_owned();
        let line = line.split("&sig=").next().unwrap_or_default().to_owned();
        self.log.push(format!("{}: {line}: {what}", self.exchanges));
    }
}

impl Shared {
    fn storm(&self) -> MutexGuard<'_, Storm> {
        self.storm.lock().unwrap()
    }

    fn connection(self: Arc<Shared>, client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut requests = BufReader::with_capacity(1 << 16, client.try_clone()?);
        let mut answers = self.connect()?;
        let mut client = client;
        while let Some(request) = message(&mut requests, None)? {
            if !self.exchange(&request, &mut client, &mut answers)? {
                break;
            }
        }
        client.shutdown(Shutdown::Both)
    }

    fn connect(&self) -> io::Result<BufReader<TcpStream>> {
        let stream = TcpStream::connect(self.upstream)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(BufReader::with_capacity(1 << 16, stream))
    }

    /// Sends a request on a connection of its own.
    fn once(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        let mut stream = self.connect()?;
        stream.get_mut().write_all(request)?;
        message(&mut stream, Some(request)).map(Option::unwrap_or_default)
    }

    /// One request and its answer. Whether the connections can be used further.
    fn exchange(
        self: &Arc<Shared>,
        request: &[u8],
        client: &mut TcpStream,
        service: &mut BufReader<TcpStream>,
    ) -> io::Result<bool> {
        while self.storm().weather.silent && !self.stopped.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(50));
        }
        let mut storm = self.storm();
        let fault = storm.draw(request);
        let mut sent = request.to_vec();
        storm.edit(request, &mut sent, false);
        let cut = storm.dice.random_range(0..request.len());
        let pause = Duration::from_millis(storm.dice.random_range(1..1500));
        match fault {
            Some(Fault::MangleRequest) => {
                let what = mangle(&mut storm.dice, &mut sent);
                storm.note(request, &format!("request mangled: {what}"));
            }
            Some(Fault::TwiceAfterwards) => storm.kept.push(request.to_vec()),
            _ => {}
        }
        if let Some(fault) = fault.filter(|fault| !matches!(fault, Fault::MangleRequest | Fault::MangleAnswer)) {
            storm.note(request, &format!("{fault:?}"));
        }
        drop(storm);
        match fault {
            Some(Fault::CutRequest) => {
                service.get_mut().write_all(&request[..cut])?;
                return Ok(false);
            }
            Some(Fault::LateRequest) => std::thread::sleep(pause),
            Some(Fault::Twice) => {
                let (shared, request) = (Arc::clone(self), request.to_vec());
                std::thread::spawn(move || {
                    std::thread::sleep(pause);
                    let _ = shared.once(&request);
                });
            }
            _ => {}
        }
        service.get_mut().write_all(&sent)?;
        let Some(mut answer) = message(service, Some(request))? else { return Ok(false) };
        let mut storm = self.storm();
        storm.edit(request, &mut answer, true);
        let cut = storm.dice.random_range(0..answer.len());
        let mut whole = true;
        match fault {
            Some(Fault::LoseAnswer) => return Ok(false),
            Some(Fault::MangleAnswer) => {
                let what = mangle(&mut storm.dice, &mut answer);
                storm.note(request, &format!("answer mangled: {what}"));
                whole = storm.weather.hang && storm.dice.random_ratio(1, 20);
            }
            Some(Fault::StaleAnswer) => {
                let asked = first_line(request);
                let known = storm.answers.iter().find(|(question, _)| question == asked);
                answer = known.map_or(answer, |(_, answer)| answer.clone());
            }
            None if !request.starts_with(b"PUT") && answer.len() < 1 << 16 => {
                let asked = first_line(request).to_vec();
                storm.answers.retain(|(question, _)| *question != asked);
                storm.answers.push((asked, answer.clone()));
            }
            _ => {}
        }
        drop(storm);
        match fault {
            Some(Fault::CutAnswer) => {
                client.write_all(&answer[..cut])?;
                return Ok(false);
            }
            Some(Fault::LateAnswer) => std::thread::sleep(pause),
            _ => {}
        }
        client.write_all(&answer)?;
        if !whole {
            // A mangled length would make the other side wait for what never comes.
            client.set_read_timeout(Some(Duration::from_millis(200)))?;
            let mut byte = [0];
            return client.peek(&mut byte).map(|_| false);
        }
        Ok(fault != Some(Fault::MangleRequest))
    }
}

fn first_line(message: &[u8]) -> &[u8] {
    message.split(|byte| *byte == b'\r').next().unwrap_or_default()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// The next message, to the letter; nothing at the end. An answer is that to `request`.
fn message(stream: &mut impl BufRead, request: Option<&[u8]>) -> io::Result<Option<Vec<u8>>> {
    let mut message = Vec::new();
    let (mut length, mut chunked) = (0, false);
    loop {
        let start = message.len();
        if stream.read_until(b'\n', &mut message)? == 0 {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&message[start..]).to_ascii_lowercase();
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(|_| io::ErrorKind::InvalidData)?;
        }
        chunked |= line.starts_with("transfer-encoding:");
    }
    if request.is_some_and(|request| request.starts_with(b"HEAD")) {
        return Ok(Some(message));
    }
    if !chunked {
        read(stream, &mut message, length)?;
        return Ok(Some(message));
    }
    loop {
        let start = message.len();
        stream.read_until(b'\n', &mut message)?;
        let length = usize::from_str_radix(String::from_utf8_lossy(&message[start..]).trim(), 16);
        let length = length.map_err(|_| io::ErrorKind::InvalidData)?;
        read(stream, &mut message, length + 2)?;
        if length == 0 {
            return Ok(Some(message));
        }
    }
}

fn read(stream: &mut impl BufRead, message: &mut Vec<u8>, length: usize) -> io::Result<()> {
    let start = message.len();
    message.resize(start + length, 0);
    stream.read_exact(&mut message[start..])
}
