//! What a client gets of an answer: all, some or nothing.

use crate::faults::alter;
use crate::faults::script::{End, Keep, Loss, Pace};
use crate::response::Response;

/// How a client gets an answer.
#[derive(Debug)]
#[must_use]
pub enum Delivery {
    /// As it should be.
    Answer(Response),
    /// In full, but slowly.
    Paced(Response, Pace),
    /// Its head and the first bytes of its body, and then this.
    Cut {
        /// The answer as it would have been.
        response: Response,
        /// How many bytes of the body the client gets.
        sent: u64,
        /// How it ends.
        how: Break,
    },
    /// Not at all.
    Lost(Break),
}

/// How a connection ends, or does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// It is reset.
    Reset,
    /// It is closed in good order.
    Close,
    /// It stays, and nothing more comes.
    Hang,
}

impl Delivery {
    /// The answer, if all of it arrives sooner or later.
    pub fn answer(self) -> Option<Response> {
        match self {
            Self::Answer(response) | Self::Paced(response, _) => Some(response),
            Self::Cut { .. } | Self::Lost(_) => None,
        }
    }

    /// The answer so far as there is one, and how many bytes of its body arrive.
    pub(crate) fn seen(&self) -> Option<(&Response, u64)> {
        match self {
            Self::Answer(response) | Self::Paced(response, _) => Some((response, response.body.len())),
            Self::Cut { response, sent, .. } => Some((response, *sent)),
            Self::Lost(_) => None,
        }
    }

    /// The answer with an end before its end, or the whole of it when it has no body to cut.
    pub(crate) fn truncated(mut response: Response, keep: Keep, end: End, drawn: u64) -> Result<Self, Response> {
        let Some(sent) = alter::cut(&response, keep, drawn) else { return Err(response) };
        Ok(match end {
            End::Reset => Self::Cut { response, sent, how: Break::Reset },
            End::Close => Self::Cut { response, sent, how: Break::Close },
            End::Hang => Self::Cut { response, sent, how: Break::Hang },
            End::Short | End::Chunked => {
                response.body.truncate(sent);
                match end {
                    End::Short if response.get("content-length").is_some() => {
                        response.set("content-length", sent.to_string());
                    }
                    _ => response.headers.retain(|(name, _)| name != "content-length"),
                }
                Self::Answer(response)
            }
        })
    }
}

impl Loss {
    /// What becomes of the connection; `None` when there is an answer after all.
    pub(crate) const fn to_break(self) -> Option<Break> {
        match self {
            Self::Reset => Some(Break::Reset),
            Self::Close => Some(Break::Close),
            Self::Hang => Some(Break::Hang),
            Self::TimedOut => None,
        }
    }
}
