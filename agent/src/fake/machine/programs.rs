//! The programs that a machine in memory has, and those that were run.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use crate::host::{End, Invocation, OnLine};
use crate::text::SecretText;

type Program = Rc<dyn Fn(&Invocation, OnLine<'_>) -> Outcome>;

#[derive(Default)]
pub(super) struct Programs {
    known: BTreeMap<String, Program>,
    pub(super) ran: Vec<Ran>,
}

/// The result of running a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ends(End),
    /// It first runs for this long. If that exceeds its timeout, the result is [`End::TimedOut`] and it has no effect.
    Takes(Duration, End),
    /// It is not installed.
    Missing,
}

/// A program that was run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) argv: Vec<SecretText>,
    pub(crate) user: Option<String>,
    /// The names of its environment variables.
    pub(crate) environment: Vec<String>,
    pub(crate) directory: PathBuf,
}

impl Ran {
    /// Its command line, for assertions.
    pub(crate) fn line(&self) -> String {
        self.argv.iter().map(SecretText::expose).collect::<Vec<_>>().join(" ")
    }
}

impl Programs {
    pub(super) fn on(&mut self, program: &str, outcome: impl Fn(&Invocation, OnLine<'_>) -> Outcome + 'static) {
        self.known.insert(program.to_owned(), Rc::new(outcome));
    }

    pub(super) fn of(&self, program: &str) -> Option<Program> {
        let name = program.rsplit('/').next().unwrap_or(program);
        self.known.get(program).or_else(|| self.known.get(name)).cloned()
    }
}
