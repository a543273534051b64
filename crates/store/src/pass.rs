//! What lets one service read a picture that is kept at another.

use secrecy::SecretString;

/// A URL, and what it takes to be let in. Both are passwords: never shown, never kept.
#[derive(Clone, Debug)]
pub struct Pass {
    /// The URL of the picture, with a signature where that is what opens it.
    pub url: SecretString,
    /// A value for `x-ms-copy-source-authorization`, where that is (REST: Put Page From URL).
    pub authorization: Option<SecretString>,
}
