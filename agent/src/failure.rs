//! What every error of ingot provides: what happened, what to do now, and whether a retry may help.
//!
//! Each file has its own error enum, at its foot; each implements [`Failure`]. The message names the
//! operation and the object; the cause stays in [`source()`](std::error::Error::source) and is printed
//! exactly once, by [`Explanation`].

use std::error::Error;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// An error with a hint, which knows whether a retry may help.
pub(crate) trait Failure: Error {
    /// One imperative sentence that can be done now.
    fn hint(&self) -> Option<String>;

    /// Whether the same call may succeed later without anyone changing anything.
    fn is_transient(&self) -> bool {
        false
    }

    /// Whether AWS or IMDS did not answer at all. Such a boot exits with 75, not 1.
    fn is_unreachable(&self) -> bool {
        false
    }

    /// How long the other side asked us to wait before the next try.
    fn retry_after(&self) -> Option<Duration> {
        None
    }

    /// Whether [`retry_after`](Failure::retry_after) is the whole pause: it was drawn once for all calls in this
    /// process that were refused together, so that they retry together.
    fn is_paced(&self) -> bool {
        false
    }
}

/// A [`Failure`] with its type erased, for reports and people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Explanation {
    pub(crate) message: String,
    /// The chain of causes, outermost first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) causes: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    #[serde(skip)]
    pub(crate) transient: bool,
    #[serde(skip)]
    pub(crate) unreachable: bool,
    #[serde(skip)]
    pub(crate) retry_after: Option<Duration>,
    #[serde(skip)]
    pub(crate) paced: bool,
}

impl Explanation {
    pub(crate) fn of(failure: &dyn Failure) -> Self {
        let message = failure.to_string();
        let mut causes: Vec<String> = Vec::new();
        let mut next = failure.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            // Libraries repeat their cause in their own message, but a reader needs it only once.
            if !message.contains(&text) && !causes.iter().any(|known| known.contains(&text)) {
                causes.push(text);
            }
            next = cause.source();
        }
        Self {
            message,
            causes,
            hint: failure.hint(),
            transient: failure.is_transient(),
            unreachable: failure.is_unreachable(),
            retry_after: failure.retry_after(),
            paced: failure.is_paced(),
        }
    }

    /// A failure without an error type of its own, such as a deadline that passed.
    pub(crate) fn new(message: impl Into<String>, hint: Option<String>) -> Self {
        Self { message: message.into(), causes: Vec::new(), hint, transient: false, unreachable: false, retry_after: None, paced: false }
    }

    /// This failure as the end of a wait; `unreachable` if it waited for AWS or IMDS, which did not answer.
    pub(crate) fn while_waiting(mut self, reason: Option<&str>, unreachable: bool) -> Self {
        if let Some(reason) = reason {
            self.message.push_str(", while waiting ");
            self.message.push_str(reason);
        }
        self.unreachable |= unreachable;
        self
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for cause in &self.causes {
            write!(f, ": {cause}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// A mistake in a document that is found before anything is done: what it is, and what to do.
///
/// It is passed unchanged from where it is found to where it is printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objection {
    pub message: String,
    pub hint: String,
}

impl Objection {
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }
}

/// Prints the message, and in the alternate form (`{:#}`) the hint.
///
/// serde only takes the `Display` of an error's cause. The deserializer of documents therefore prints an objection
/// twice, once in each form. It never parses the result, so both parts may contain any text of the user's.
impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if f.alternate() { &self.hint } else { &self.message })
    }
}

/// clap shows an invalid argument with its error on one line.
impl From<Objection> for Box<dyn Error + Send + Sync> {
    fn from(Objection { message, hint }: Objection) -> Self {
        format!("{message}: {hint}").into()
    }
}

/// The known word that is nearest to `word`, if one is near enough to be meant: for hints.
///
/// Near enough are two typing errors, or one in a word of two or three letters, or the same beginning.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word = word.to_lowercase();
    let near = |candidate: &&'k str| {
        let candidate = candidate.to_lowercase();
        let distance = strsim::damerau_levenshtein(&word, &candidate);
        let few_slips = distance <= 2 && distance * 2 <= word.chars().count();
        (few_slips || strsim::jaro_winkler(&word, &candidate) > 0.9).then_some(distance)
    };
    known
        .into_iter()
        .filter_map(|candidate| Some((near(&candidate)?, candidate)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_nearest_word_or_none() {
        let known = ["secrets", "services", "files", "env"];
        assert_eq!(nearest("servces", known), Some("services"));
        assert_eq!(nearest("Secret", known), Some("secrets"));
        assert_eq!(nearest("evn", known), Some("env"));
        assert_eq!(nearest("quux", known), None);
    }

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read /etc/x")]
    struct Outer(#[source] std::io::Error);

    impl Failure for Outer {
        fn hint(&self) -> Option<String> {
            Some("run as root".into())
        }
    }

    #[test]
    fn prints_message_cause_and_hint_each_once() {
        let error = Outer(std::io::Error::other("permission denied"));
        assert_eq!(Explanation::of(&error).to_string(), "cannot read /etc/x: permission denied\n  hint: run as root");
    }
}
