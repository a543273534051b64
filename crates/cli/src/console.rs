//! Where words go: data to stdout, people's words to stderr.
//!
//! Whatever a command has to say is one value that is both [`Display`] and [`Serialize`]: a text for people, or one
//! JSON line with its version, type and time. A reader of stdout that goes away ends nothing; what it no longer wants
//! is dropped, and the run ends as it would have.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::exit::{Exit, Failure};

/// The version of every JSON line. It changes when a reader of the old one would be misled.
const JSON_VERSION: u64 = 1;

/// How results are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Something a command has to say.
pub(crate) trait Say: Display + Serialize {
    /// The type of its JSON line.
    const TYPE: &'static str;
}

/// A JSON line.
#[derive(Serialize)]
struct Line<'a, T> {
    v: u64,
    r#type: &'static str,
    ts: String,
    #[serde(flatten)]
    body: &'a T,
}

/// The two ways out.
#[derive(Clone, Debug)]
pub(crate) struct Console {
    output: Output,
    /// What went wrong with stdout, after which nothing more is written to it.
    trouble: Arc<Mutex<Option<io::ErrorKind>>>,
}

impl Console {
    pub(crate) fn new(output: Output) -> Console {
        Console { output, trouble: Arc::default() }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.output == Output::Json
    }

    /// Says `value` on stdout.
    pub(crate) fn say<T: Say>(&self, value: &T) {
        match self.output {
            Output::Text => self.write(&value.to_string()),
            Output::Json => self.object(value),
        }
    }

    /// Says `value`, which is data for a program, and only of passing interest for people.
    pub(crate) fn aside<T: Say>(&self, value: &T) {
        match self.output {
            Output::Text => self.tell(&value.to_string()),
            Output::Json => self.object(value),
        }
    }

    /// Says `value` on stdout if that is read by a program.
    pub(crate) fn say_json<T: Say>(&self, value: &T) {
        if self.is_json() {
            self.object(value);
        }
    }

    /// Says `text` on stdout if that is read by people.
    pub(crate) fn say_text(&self, text: &str) {
        if !self.is_json() {
            self.write(text);
        }
    }

    /// Tells people, whoever reads stdout.
    pub(crate) fn tell(&self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// The last words of a run that failed. They quote what was typed, and that may be a secret in the wrong place.
    pub(crate) fn fail(&self, failure: &Failure) {
        let message = pageferry_azure::scrub(&failure.message);
        match self.output {
            Output::Text => self.tell(&format!("error: {message}")),
            Output::Json => {
                self.object(&Last { code: failure.exit.code(), name: failure.exit.name(), message });
            }
        }
    }

    /// How the run ends, given that all else went well: a reader that went away is no failure, a full disk is.
    pub(crate) fn end(&self) -> Result<(), Failure> {
        match *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) {
            None | Some(io::ErrorKind::BrokenPipe) => Ok(()),
            Some(kind) => Err(Failure::new(Exit::Failed, format!("cannot write to standard output: {kind}"))),
        }
    }

    fn object<T: Say>(&self, body: &T) {
        let line = Line { v: JSON_VERSION, r#type: T::TYPE, ts: now(), body };
        match serde_json::to_string(&line) {
            Ok(text) => self.write(&text),
            Err(error) => self.tell(&format!("cannot write a {} line: {error}", T::TYPE)),
        }
    }

    fn write(&self, text: &str) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.is_some() {
            return;
        }
        let mut stdout = io::stdout().lock();
        if let Err(error) = writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
            *trouble = Some(error.kind());
        }
    }
}

/// The time of this machine.
fn now() -> String {
    let now = OffsetDateTime::now_utc();
    now.replace_millisecond(now.millisecond()).unwrap_or(now).format(&Rfc3339).unwrap_or_default()
}

#[derive(Serialize)]
struct Last {
    code: u8,
    name: &'static str,
    message: String,
}

impl Display for Last {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.message.fmt(f)
    }
}

impl Say for Last {
    const TYPE: &'static str = "error";
}
