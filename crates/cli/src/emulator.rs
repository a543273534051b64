//! `pageferry emulator`: the local service, until it is stopped.

use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;
use std::path::PathBuf;

use pageferry_emulator::{Emulator, Options};
use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::flags::EmulatorFlags;
use crate::job::Scene;
use crate::report::say;

#[derive(Debug)]
pub(crate) struct Job {
    listen: SocketAddr,
    data_dir: Option<PathBuf>,
    allow_remote: bool,
}

#[derive(Serialize)]
struct Listening {
    url: String,
}

say! { Listening => "listening" }

impl Display for Listening {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "listening on {}", self.url)
    }
}

impl Job {
    pub(crate) fn from_flags(flags: EmulatorFlags) -> Result<Job, Failure> {
        let allow_remote = flags.allow_remote >= 2;
        if !flags.listen.ip().is_loopback() && !allow_remote {
            return Err(Failure::usage(format!(
                "will not listen on {}: the account's key is public, so everybody who reaches it could read and write \
                 everything; if that is what you want, give --allow-remote twice",
                flags.listen
            )));
        }
        Ok(Job { listen: flags.listen, data_dir: flags.data_dir, allow_remote })
    }

    pub(crate) async fn run(self, scene: &Scene) -> Result<(), Failure> {
        let place = match &self.data_dir {
            Some(directory) => format!("{} with its state in {}", self.listen, directory.display()),
            None => self.listen.to_string(),
        };
        let options = Options {
            listen: self.listen,
            data_dir: self.data_dir,
            allow_remote: self.allow_remote,
            ..Options::default()
        };
        let running = Emulator::start(options).await.map_err(|error| {
            let hint = if error.kind() == std::io::ErrorKind::AddrInUse {
                ": choose another port with --listen, 0 for any free one"
            } else {
                ""
            };
            Failure::new(Exit::Failed, format!("cannot run the emulator on {place}: {error}{hint}"))
        })?;
        scene.console.say(&Listening { url: running.url() });
        scene.interrupt.stop().cancelled().await;
        running.stop().await;
        Ok(())
    }
}
