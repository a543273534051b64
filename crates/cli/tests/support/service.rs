//! The emulator as a process of its own, with its back door, and the binary in other processes beside it.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use pageferry_emulator::DEV_ACCOUNT;
use serde_json::{Value, json};

use super::http::{Answer, Client};
use super::{Ran, sas};

/// A service in a process of its own. It goes when this does.
pub struct Service {
    process: Process,
    pub address: SocketAddr,
    admin: SocketAddr,
    client: Mutex<Client>,
    sas: String,
}

/// A process of ours that does not outlive this.
pub struct Process {
    child: Child,
}

impl Service {
    /// A service that forgets, with the containers `disks` and `backups`.
    pub fn start() -> Service {
        let service = Service::start_with(&[]);
        service.make_containers();
        service
    }

    /// A service as `words` say.
    pub fn start_with(words: &[&str]) -> Service {
        Service::start_at("127.0.0.1:0", words)
    }

    /// A service as `words` say, at this address.
    pub fn start_at(address: &str, words: &[&str]) -> Service {
        let words = [&["emulator", "--listen", address, "--admin", "127.0.0.1:0"], words].concat();
        let mut command = binary(&words);
        command.stderr(Stdio::null());
        Service::launch(command)
    }

    /// The service that `command` is, once it says where it is.
    pub fn launch(mut command: Command) -> Service {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let process = Process { child };
        let mut address = |words: &str| {
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            let rest = line.strip_prefix(words).unwrap_or_else(|| panic!("{line}"));
            rest.trim_end().split('/').next().unwrap().parse::<SocketAddr>().unwrap()
        };
        let (address, admin) = (address("listening on http://"), address("taking orders on http://"));
        let client = Mutex::new(Client::new(address));
        Service { process, address, admin, client, sas: sas("2099-01-01T00:00:00Z") }
    }

    pub fn make_containers(&self) {
        self.expect(201, "PUT", "disks?restype=container", &[], &[]);
        self.expect(201, "PUT", "backups?restype=container", &[], &[]);
    }

    /// The URL of a blob.
    pub fn url(&self, blob: &str) -> String {
        url(self.address, blob)
    }

    /// Sends a request with the rights of the account.
    pub fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let separator = if target.contains('?') { '&' } else { '?' };
        let target = format!("/{DEV_ACCOUNT}/{target}{separator}{}", self.sas);
        let headers = [&[("x-ms-version", "2021-12-02")], headers].concat();
        self.client.lock().unwrap().send(method, &target, &headers, body).unwrap()
    }

    #[track_caller]
    pub fn expect(&self, status: u16, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let answer = self.send(method, target, headers, body);
        let said = String::from_utf8_lossy(&answer.body[..answer.body.len().min(400)]).into_owned();
        assert_eq!(answer.status, status, "{method} {target}: {said}");
        answer
    }

    /// Gives an order over the back door.
    #[track_caller]
    pub fn order(&self, method: &str, target: &str, body: &Value) -> Value {
        let answer = Client::new(self.admin).send(method, target, &[], body.to_string().as_bytes()).unwrap();
        let said = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, 200, "{method} {target}: {said}");
        serde_json::from_str(&said).unwrap()
    }

    /// Lets `seconds` pass for the service: leases run out.
    pub fn advance(&self, seconds: u64) {
        self.order("POST", "/clock", &json!({ "advance": seconds }));
    }

    /// Makes every page write take `millis` longer, so that what happens meanwhile happens in the middle.
    pub fn slow_writes(&self, millis: u64) {
        let rule = json!({ "on": { "operations": ["put-page"] }, "action": { "slow": { "first": millis } } });
        self.order("POST", "/faults", &json!({ "rules": [rule] }));
    }

    /// The machine loses power, with every connection, and comes up again.
    pub fn lose_power(&self, loss: &Value) {
        self.order("POST", "/power-loss", loss);
        *self.client.lock().unwrap() = Client::new(self.address);
    }

    /// Pulls the plug: the process ends without a word, wherever it is.
    pub fn kill(mut self) {
        self.process.signal("-KILL");
        self.process.child.wait().unwrap();
    }

    /// The binary with `words`, signing with a SAS so that the service's clock may be anywhere.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = binary(words);
        command.env("AZURE_STORAGE_SAS_TOKEN", &self.sas);
        command
    }

    pub fn run(&self, words: &[&str]) -> Ran {
        Ran::of(self.command(words).output().unwrap())
    }

    pub fn spawn(&self, words: &[&str]) -> Process {
        Process::spawn(self.command(words))
    }
}

/// The URL of a blob of the development account behind `address`.
pub fn url(address: SocketAddr, blob: &str) -> String {
    format!("http://{address}/{DEV_ACCOUNT}/{blob}")
}

/// The binary with `words`, without any environment.
pub fn binary(words: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("pageferry"));
    command.args(words).env_clear().stdin(Stdio::null());
    if let Some(path) = std::env::var_os("LLVM_PROFILE_FILE") {
        command.env("LLVM_PROFILE_FILE", path);
    }
    command
}

impl Process {
    pub fn of(child: Child) -> Process {
        Process { child }
    }

    /// Starts `command`; what it says can be read later, as long as it is little enough for a pipe to hold.
    pub fn spawn(mut command: Command) -> Process {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Process { child }
    }

    pub fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success(), "{signal} {id}");
    }

    /// Waits until the process ends, for as long as `patience`.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            let left = patience.checked_sub(begun.elapsed())?;
            std::thread::sleep(left.min(Duration::from_millis(2)));
        }
    }

    /// How it ended, if it does within `patience`.
    #[track_caller]
    pub fn ended(mut self, patience: Duration) -> Ran {
        let begun = Instant::now();
        let status = self.wait(patience);
        let status = status.unwrap_or_else(|| {
            self.child.kill().unwrap();
            panic!("still at work after {:?}: {}", begun.elapsed(), self.said().1)
        });
        let (stdout, stderr) = self.said();
        Ran { code: status.code().unwrap_or(-1), stdout, stderr }
    }

    /// Kills it where it is.
    pub fn kill(mut self) -> Ran {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        let (stdout, stderr) = self.said();
        Ran { code: status.code().unwrap_or(-1), stdout, stderr }
    }

    /// Waits for a line on stderr that contains `words`.
    #[track_caller]
    pub fn until_said(&mut self, words: &str) {
        let stderr = self.child.stderr.as_mut().unwrap();
        let (mut said, mut byte) = (Vec::new(), [0]);
        while stderr.read(&mut byte).unwrap() == 1 {
            said.push(byte[0]);
            if byte[0] == b'\n' && String::from_utf8_lossy(&said).contains(words) {
                return;
            }
        }
        panic!("it never said {words}: {}", String::from_utf8_lossy(&said));
    }

    /// The first `count` lines that it says on stdout.
    pub fn lines(&mut self, count: usize) -> Vec<String> {
        BufReader::new(self.child.stdout.as_mut().unwrap()).lines().take(count).map(Result::unwrap).collect()
    }

    fn said(&mut self) -> (String, String) {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.child.stdout.as_mut().unwrap().read_to_string(&mut stdout).unwrap();
        self.child.stderr.as_mut().unwrap().read_to_string(&mut stderr).unwrap();
        (stdout, stderr)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
