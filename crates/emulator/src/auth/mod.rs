//! Who is asking, and what that lets them do. Signatures are really computed and really compared.

pub mod sas;
pub(crate) mod shared_key;
pub(crate) mod token;

use crate::model::fault::Fault;

/// What an operation needs, for each way of being allowed to do it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Need {
    /// Letters of which a shared access signature must hold one.
    pub(crate) any_of: &'static str,
    /// The kind of resource an account signature must name: `s`, `c` or `o`.
    pub(crate) kind: char,
    /// Whether an anonymous caller may do it in a container with public access.
    pub(crate) public: PublicUse,
}

/// What a public container opens to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PublicUse {
    Never,
    /// Reading a blob: containers with access `blob` or `container`.
    Blob,
    /// Reading the container itself: access `container`.
    Container,
}

/// A caller whose credentials were checked.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// The account key, a bearer token, or a service that does not ask.
    Owner,
    /// No credentials.
    Anonymous,
    /// A shared access signature.
    Token(token::Grant),
}

impl Need {
    pub(crate) const fn object(any_of: &'static str) -> Self {
        Self { any_of, kind: 'o', public: PublicUse::Never }
    }

    pub(crate) const fn read() -> Self {
        Self { any_of: "r", kind: 'o', public: PublicUse::Blob }
    }

    pub(crate) const fn container(any_of: &'static str, public: PublicUse) -> Self {
        Self { any_of, kind: 'c', public }
    }

    pub(crate) const fn service(any_of: &'static str) -> Self {
        Self { any_of, kind: 's', public: PublicUse::Never }
    }
}

impl Caller {
    /// Lets the caller pass, or says why not. `public` is the container's access level.
    pub(crate) fn check(&self, need: Need, public: &str) -> Result<(), Fault> {
        match self {
            Self::Owner => Ok(()),
            Self::Token(grant) => grant.check(need),
            Self::Anonymous => match (need.public, public) {
                (PublicUse::Blob, "blob" | "container") | (PublicUse::Container, "container") => Ok(()),
                _ => Err(Fault::of("NoAuthenticationInformation")),
            },
        }
    }

    /// Whether an existing blob may be replaced: a signature with `c` alone only makes new ones.
    pub(crate) fn may_overwrite(&self) -> bool {
        match self {
            Self::Token(grant) => grant.permissions.contains('w'),
            Self::Owner | Self::Anonymous => true,
        }
    }
}
