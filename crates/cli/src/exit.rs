//! How a run can end. The codes are an interface: schedulers act on them, so a code belongs to a class of endings, not
//! to a case, and never changes its meaning. `docs/exit-codes.md` is the same table for people; a test compares the two.

use std::process::ExitCode;

use pageferry_azure::{AddressError, CredentialError};
use pageferry_replicate::{Class, ReplicateError};
use pageferry_store::StoreError;

/// An ending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    Done,
    Failed,
    Usage,
    NotFound,
    Differs,
    ChainBroken,
    NotOurs,
    Lag,
    Busy,
    Fenced,
    Denied,
    Configuration,
    Interrupted,
    Terminated,
}

impl Exit {
    /// Every ending there is, by code.
    pub(crate) const ALL: [Exit; 14] = [
        Exit::Done,
        Exit::Failed,
        Exit::Usage,
        Exit::NotFound,
        Exit::Differs,
        Exit::ChainBroken,
        Exit::NotOurs,
        Exit::Lag,
        Exit::Busy,
        Exit::Fenced,
        Exit::Denied,
        Exit::Configuration,
        Exit::Interrupted,
        Exit::Terminated,
    ];

    /// The exit code, its name in JSON, and what it means.
    fn row(self) -> (u8, &'static str, &'static str) {
        match self {
            Exit::Done => (0, "done", "done, or nothing to do"),
            Exit::Failed => (1, "failed", "failed; run the same command again"),
            Exit::Usage => (2, "usage", "the command line makes no sense"),
            Exit::NotFound => (3, "not-found", "a blob, snapshot or point that was named does not exist"),
            Exit::Differs => (4, "differs", "contents differ"),
            Exit::ChainBroken => (5, "chain-broken", "the chain of differences is broken; `--reseed` begins it anew"),
            Exit::NotOurs => (6, "not-ours", "the target is not ours, or was changed outside pageferry"),
            Exit::Lag => (9, "lag", "`check`: the newest point is too old"),
            Exit::Busy => (75, "busy", "another run holds the target"),
            Exit::Fenced => (76, "fenced", "another run took the target from this one"),
            Exit::Denied => (77, "denied", "the credentials do not suffice"),
            Exit::Configuration => (78, "configuration", "cannot be done with these blobs or settings"),
            Exit::Interrupted => (130, "interrupted", "stopped by SIGINT; the same command goes on from here"),
            Exit::Terminated => (143, "terminated", "stopped by SIGTERM; the same command goes on from here"),
        }
    }

    pub(crate) fn code(self) -> u8 {
        self.row().0
    }

    pub(crate) fn name(self) -> &'static str {
        self.row().1
    }

    pub(crate) fn meaning(self) -> &'static str {
        self.row().2
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

impl From<Class> for Exit {
    fn from(class: Class) -> Exit {
        match class {
            Class::Failed => Exit::Failed,
            Class::NotFound => Exit::NotFound,
            Class::Differs => Exit::Differs,
            Class::ChainBroken => Exit::ChainBroken,
            Class::NotOurs => Exit::NotOurs,
            Class::Busy => Exit::Busy,
            Class::Fenced => Exit::Fenced,
            Class::Denied => Exit::Denied,
            Class::Configuration => Exit::Configuration,
            Class::Interrupted => Exit::Interrupted,
        }
    }
}

/// Why a run ended without its result: one sentence, and the ending.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into() }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, message)
    }
}

impl From<ReplicateError> for Failure {
    fn from(error: ReplicateError) -> Failure {
        Failure::new(error.class().into(), error.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        ReplicateError::from(error).into()
    }
}

impl From<AddressError> for Failure {
    fn from(error: AddressError) -> Failure {
        Failure::usage(error.to_string())
    }
}

impl From<CredentialError> for Failure {
    fn from(error: CredentialError) -> Failure {
        let exit = match error {
            CredentialError::Literal | CredentialError::Mode(_) => Exit::Usage,
            _ => Exit::Configuration,
        };
        Failure::new(exit, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_table_is_this_one() {
        let documented: Vec<(u8, String, String)> = include_str!("../../../docs/exit-codes.md")
            .lines()
            .filter_map(|line| {
                let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
                let [code, name, meaning] = cells[..] else { return None };
                Some((code.parse().ok()?, name.trim_matches('`').to_owned(), meaning.to_owned()))
            })
            .collect();
        let ours: Vec<_> =
            Exit::ALL.iter().map(|exit| (exit.code(), exit.name().to_owned(), exit.meaning().to_owned())).collect();
        assert_eq!(documented, ours);
    }

    #[test]
    fn codes_and_names_are_unique_and_ascend() {
        assert!(Exit::ALL.windows(2).all(|pair| pair[0].code() < pair[1].code()));
        let mut names: Vec<_> = Exit::ALL.iter().map(|exit| exit.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Exit::ALL.len());
    }
}
