//! What the user is told when something goes wrong: what, why, and what to do; and the exit code.

use std::error::Error;
use std::fmt;

use crate::exit::Exit;

/// One failure. The message names the operation and the object; the cause is not part of it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    message: String,
    cause: Option<String>,
    hint: Option<String>,
    is_passing: bool,
    is_of_rights: bool,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), cause: None, hint: None, is_passing: false, is_of_rights: false }
    }

    /// What, without the cause.
    pub(crate) fn what(&self) -> &str {
        &self.message
    }

    /// What and why, without a hint.
    pub(crate) fn sentence(&self) -> String {
        self.cause.as_ref().map_or_else(|| self.message.clone(), |cause| format!("{}: {cause}", self.message))
    }

    /// Marks a failure that may pass although AWS has answered, for instance once the user logs in again.
    pub(crate) fn passing(mut self) -> Self {
        self.is_passing = true;
        self
    }

    /// Whether the same may succeed in a moment.
    pub(crate) fn may_pass(&self) -> bool {
        self.is_passing || self.exit == Exit::Unreachable
    }

    /// Marks a failure that depends on the caller's credentials and not on the request: another caller may succeed.
    pub(crate) fn of_rights(mut self) -> Self {
        self.is_of_rights = true;
        self
    }

    pub(crate) fn is_of_rights(&self) -> bool {
        self.is_of_rights
    }

    /// A failure that has already been reported.
    pub(crate) fn told(exit: Exit) -> Self {
        Self::new(exit, "")
    }

    /// Whether there is nothing to print.
    pub(crate) fn is_silent(&self) -> bool {
        self.message.is_empty()
    }

    /// Adds one imperative sentence that can be done now.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the cause, with the errors behind it.
    pub(crate) fn because(mut self, cause: &(dyn Error + 'static)) -> Self {
        self.cause = Some(chain(cause));
        self
    }

    /// Adds the cause, in words.
    pub(crate) fn why(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence())?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// An error and its causes, on one line. Libraries repeat their cause in their own message; a reader needs it once.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_each_thing_once() {
        let cause = std::io::Error::other(std::io::Error::other("permission denied"));
        let failure = Failure::new(Exit::Failed, "cannot read x").because(&cause).hint("run it as yourself");
        assert_eq!(failure.to_string(), "cannot read x: permission denied\n  hint: run it as yourself");
    }
}
