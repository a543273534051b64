//! `pageferry emulator`: the local service, until it is stopped.

use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;
use std::path::PathBuf;

use pageferry_emulator::{ArmConfig, Config, CopyPace, Emulator, Limits, Options};
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
    admin: Option<SocketAddr>,
    copy: CopyPace,
    limits: Limits,
}

#[derive(Serialize)]
struct Listening {
    url: String,
}

/// Where orders are taken to make things go wrong.
#[derive(Serialize)]
struct TakingOrders {
    url: String,
}

say! { Listening => "listening", TakingOrders => "admin" }

impl Display for Listening {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "listening on {}", self.url)
    }
}

impl Display for TakingOrders {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "taking orders on {}", self.url)
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
        if let Some(admin) = flags.admin.filter(|admin| !admin.ip().is_loopback()) {
            return Err(Failure::usage(format!(
                "will not take orders on {admin}: they need no credentials, so everybody who reaches it could give \
                 them; --admin takes an address of this machine alone, such as 127.0.0.1:0"
            )));
        }
        let copy = flags.copy_rate.map_or(CopyPace::Immediate, CopyPace::BytesPerSecond);
        let limits = if flags.no_limits { Limits::off() } else { Limits::default() };
        Ok(Job { listen: flags.listen, data_dir: flags.data_dir, allow_remote, admin: flags.admin, copy, limits })
    }

    pub(crate) async fn run(self, scene: &Scene) -> Result<(), Failure> {
        let mut place = self.listen.to_string();
        if let Some(admin) = &self.admin {
            place.push_str(&format!(", with orders on {admin}"));
        }
        if let Some(directory) = &self.data_dir {
            place.push_str(&format!(", with its state in {}", directory.display()));
        }
        let options = Options {
            listen: self.listen,
            data_dir: self.data_dir,
            allow_remote: self.allow_remote,
            admin: self.admin,
            config: Config {
                copy: self.copy,
                arm: ArmConfig {
                    copy_start: self.copy,
                    hydration: self.copy,
                    limits: self.limits,
                    ..ArmConfig::default()
                },
                ..Config::default()
            },
            ..Options::default()
        };
        let running = Emulator::start(options).await.map_err(|error| {
            let hint = if error.kind() == std::io::ErrorKind::AddrInUse {
                ": choose another port, 0 for any free one"
            } else {
                ""
            };
            Failure::new(Exit::Failed, format!("cannot run the emulator on {place}: {error}{hint}"))
        })?;
        scene.console.say(&Listening { url: running.url() });
        if let Some(url) = running.admin_url() {
            scene.console.say(&TakingOrders { url });
        }
        scene.interrupt.stop().cancelled().await;
        running.stop().await;
        Ok(())
    }
}
