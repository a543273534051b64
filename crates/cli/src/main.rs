//! `pageferry`, the command.
//!
//! Three layers: [`flags`] is what was typed, [`job`] is what is meant, and a module for each command does it with the
//! engine's crates. [`console`] is the only way to the outside; [`exit`] is how a run ends.

mod backup;
mod bench;
mod check;
mod cloud;
mod console;
mod demo;
mod doctor;
mod emulator;
mod exit;
mod flags;
mod help;
mod human;
mod interrupt;
mod job;
mod logging;
mod new_disk;
mod origin;
mod place;
mod plan;
mod points;
mod prices;
mod progress;
mod race;
mod report;
mod restore;
mod settings;
mod snapshot;
mod speed;
mod sync;
mod verify;

use std::process::ExitCode;
use std::time::Duration;

use console::Console;
use exit::{Exit, Failure};
use flags::Flags;
use interrupt::Interrupt;
use job::{Job, Scene};

fn main() -> ExitCode {
    let flags = match Flags::typed(std::env::args_os()) {
        Ok(flags) => flags,
        Err(exit) => return exit.into(),
    };
    logging::start(flags.log_level);
    let console = Console::new(flags.output);
    for name in job::unknown_variables() {
        console.tell(&format!("warning: the environment variable {name} is unknown to pageferry and is ignored"));
    }
    match run(flags, &console).and_then(|()| console.end()) {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            console.fail(&failure);
            failure.exit.into()
        }
    }
}

fn run(flags: Flags, console: &Console) -> Result<(), Failure> {
    // Renewing a lease must not wait for a page, so there are never less than two workers.
    let workers = std::thread::available_parallelism().map_or(2, |cores| cores.get().max(2));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Failed, format!("cannot start the runtime: {error}")))?;
    let result = runtime.block_on(async {
        let scene = Scene { console: console.clone(), interrupt: Interrupt::watch()? };
        let result = Job::from_flags(flags)?.run(&scene).await;
        result.map_err(|failure| scene.interrupt.named(failure))
    });
    // Whatever is still under way, such as a look-up of a name, is of no use to anybody now.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}
