//! A step with its types erased, as plans store it.

use std::any::Any;
use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use crate::address::Address;
use crate::failure::{Explanation, Objection};
use crate::host::Unit;
use crate::step::{Context, Outputs, Shape};
use crate::text::{SecretText, Text};

/// A [`Step`](crate::step::Step) with its types erased.
pub(crate) trait AnyStep: fmt::Debug {
    /// The step itself, for code that knows its kind.
    fn any(&self) -> &dyn Any;
    fn summary(&self, shown: &dyn Fn(&Text) -> String) -> String;
    fn shape<'a>(&'a self, key: &'a str) -> Shape<'a>;
    fn template(&self) -> Option<&Path>;
    fn programs(&self) -> Vec<&Text>;
    fn companions(&self, key: &str) -> Vec<Companion>;
    fn objections(&self, key: &str, secret: bool) -> Vec<Objection>;
    fn content(&self) -> Option<&Text>;
    fn quoted_by(&self, key: &str) -> Option<&'static str>;
    fn is_parsed(&self, key: &str) -> bool;
    fn misfit(&self, key: &str, filled: &SecretText) -> Option<Misfit>;
    fn advice_beside(&self, key: &str, written: &Written<'_>) -> Vec<Objection>;
    fn inspect<'a>(&'a self, cx: &'a Context<'a>) -> StepFuture<'a, Box<dyn Difference + 'a>>;
    fn outputs<'a>(&'a self, cx: &'a Context<'a>) -> StepFuture<'a, Outputs>;
    fn judge<'a>(&'a self, found: &'a Unit, look: Look, cx: &'a Context<'a>) -> StepFuture<'a, Judgment>;
    fn meanwhile<'a>(&'a self, cx: &'a Context<'a>) -> Pin<Box<dyn Future<Output = ()> + 'a>>;
    fn fall_back<'a>(&'a self, when: Fallback, cx: &'a Context<'a>) -> Pin<Box<dyn Future<Output = ()> + 'a>>;
}

/// Why the rendered content of a step does not parse, and where in it.
#[derive(Debug)]
pub(crate) struct Misfit {
    pub(crate) objection: Objection,
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// When a step falls back on what was running before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fallback {
    /// Before the step runs, because what it waits for may take long.
    Meanwhile,
    /// Instead of the step.
    Instead,
}

/// One look at the unit of a step at the end of a boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// The time since the first look.
    pub(crate) waited: Duration,
    /// Whether this is the last look: the time of the boot is over.
    pub(crate) is_last: bool,
    /// Whether an earlier look found the unit changing its state.
    pub(crate) moved: bool,
    /// Whether an earlier look found the unit restarted.
    pub(crate) restarted: bool,
}

/// The judgment on the unit of a step at the end of a boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judgment {
    Sound,
    /// The unit is changing its state: look again.
    Open,
    /// The unit is up, but was restarted since the step ended: it is watched for a while.
    Restarted,
}

/// What a document writes to the paths of this machine: each text as its author wrote it, with its references.
/// Collected for the first step that needs it.
pub(crate) type Written<'a> = LazyCell<BTreeMap<&'a str, &'a str>, Box<dyn FnOnce() -> BTreeMap<&'a str, &'a str> + 'a>>;

/// A step that accompanies another one.
#[derive(Debug)]
pub(crate) struct Companion {
    pub(crate) address: Address,
    pub(crate) step: Box<dyn AnyStep>,
    pub(crate) required: bool,
}

/// The result of an inspection, and the way to remove the differences.
///
/// A preview prints the lines and drops it; a boot prints the same lines and continues. That is why a plan cannot
/// promise one thing and a boot do another.
pub(crate) trait Difference {
    /// One line per change, in the order in which they will be made.
    fn lines(&self) -> Vec<String>;
    /// Prepares every change, without effect.
    fn stage(&self) -> StepFuture<'_, ()>;
    /// Undoes what was prepared.
    fn abandon(&self) -> Pin<Box<dyn Future<Output = ()> + '_>>;
    /// Makes every change.
    fn apply<'a>(self: Box<Self>) -> StepFuture<'a, ()>
    where
        Self: 'a;
}

pub(crate) type StepFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Explanation>> + 'a>>;
