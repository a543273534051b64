//! The log, for whoever has to find out what happened: to stderr, off unless asked for, and free of secrets.
//!
//! The SDK and the HTTP client log as well, and they know nothing of our care with signatures. So every line goes
//! through the same scrubber as everything else, whoever wrote it.

use std::io::{self, Write};

use pageferry_azure::scrub;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// How much is logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub(crate) enum LogLevel {
    #[default]
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Starts the log. The emulator's own warnings are shown even where nothing was asked for: there is nowhere else that
/// it could say that its journal is damaged.
pub(crate) fn start(level: LogLevel) {
    let directives = match level {
        LogLevel::Off => "off,pageferry_emulator=warn",
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    // A second subscriber in the same process is refused; the first one stays.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(directives))
        .with_ansi(false)
        .with_writer(Scrubbed)
        .try_init();
}

/// Makes a writer for each line.
#[derive(Clone, Copy, Debug)]
struct Scrubbed;

/// Collects one line, and writes it without its secrets when it is complete.
#[derive(Debug, Default)]
struct ScrubbedLine(Vec<u8>);

impl<'a> MakeWriter<'a> for Scrubbed {
    type Writer = ScrubbedLine;

    fn make_writer(&'a self) -> ScrubbedLine {
        ScrubbedLine::default()
    }
}

impl Write for ScrubbedLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for ScrubbedLine {
    fn drop(&mut self) {
        let text = scrub(&String::from_utf8_lossy(&self.0));
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }
}
