//! A [`Step`] with its types erased, as plans hold it.

use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use crate::address::Address;
use crate::failure::{Explanation, Objection};
use crate::step::{Companion, Context, Order, Outputs, Phase, Step};
use crate::text::Text;

/// A [`Step`] with its types erased.
pub(crate) trait AnyStep: fmt::Debug {
    fn summary(&self, shown: &dyn Fn(&Text) -> String) -> String;
    fn texts(&self) -> Vec<&Text>;
    fn template(&self) -> Option<&Path>;
    fn programs(&self) -> Vec<&Text>;
    fn watches(&self) -> Vec<&Address>;
    fn offers(&self) -> Option<&'static [&'static str]>;
    fn foretold(&self, key: &str) -> Option<serde_json::Value>;
    fn order(&self) -> Order;
    fn phase(&self) -> Phase;
    fn heeds_phase(&self) -> bool;
    fn unfolds(&self) -> bool;
    fn companions(&self, key: &str) -> Vec<Companion>;
    fn paths(&self, key: &str) -> Vec<PathBuf>;
    fn mounts_at(&self, key: &str) -> Option<PathBuf>;
    fn objections(&self, key: &str, secret: bool) -> Vec<Objection>;
    fn patience(&self) -> Duration;
    fn inspect<'a>(&'a self, cx: &'a Context<'a>) -> StepFuture<'a, Box<dyn Difference + 'a>>;
    fn outputs<'a>(&'a self, cx: &'a Context<'a>) -> StepFuture<'a, Outputs>;
    fn goes_on_meanwhile(&self) -> bool;
    fn meanwhile<'a>(&'a self, cx: &'a Context<'a>) -> Pin<Box<dyn Future<Output = ()> + 'a>>;
}

/// What an inspection found, and the way to remove it.
///
/// A preview prints the lines and drops it; a boot prints the same lines and goes on. That is why a plan cannot
/// promise one thing and a boot do another.
pub(crate) trait Difference {
    /// One line per change, in the order in which they will be made.
    fn lines(&self) -> Vec<String>;
    /// Prepares every change out of sight.
    fn stage(&self) -> StepFuture<'_, ()>;
    /// Takes back what was prepared.
    fn abandon(&self) -> Pin<Box<dyn Future<Output = ()> + '_>>;
    /// Makes every change.
    fn apply<'a>(self: Box<Self>) -> StepFuture<'a, ()>
    where
        Self: 'a;
}

pub(crate) type StepFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Explanation>> + 'a>>;

impl<S: Step> AnyStep for S {
    fn summary(&self, shown: &dyn Fn(&Text) -> String) -> String {
        Step::summary(self, shown)
    }

    fn texts(&self) -> Vec<&Text> {
        Step::texts(self)
    }

    fn template(&self) -> Option<&Path> {
        Step::template(self)
    }

    fn programs(&self) -> Vec<&Text> {
        Step::programs(self)
    }

    fn watches(&self) -> Vec<&Address> {
        Step::watches(self)
    }

    fn offers(&self) -> Option<&'static [&'static str]> {
        Step::offers(self)
    }

    fn foretold(&self, key: &str) -> Option<serde_json::Value> {
        Step::foretold(self, key)
    }

    fn order(&self) -> Order {
        Step::order(self)
    }

    fn phase(&self) -> Phase {
        Step::phase(self)
    }

    fn heeds_phase(&self) -> bool {
        Step::heeds_phase(self)
    }

    fn unfolds(&self) -> bool {
        Step::unfolds(self)
    }

    fn companions(&self, key: &str) -> Vec<Companion> {
        Step::companions(self, key)
    }

    fn paths(&self, key: &str) -> Vec<PathBuf> {
        Step::paths(self, key)
    }

    fn mounts_at(&self, key: &str) -> Option<PathBuf> {
        Step::mounts_at(self, key)
    }

    fn objections(&self, key: &str, secret: bool) -> Vec<Objection> {
        Step::objections(self, key, secret)
    }

    fn patience(&self) -> Duration {
        Step::patience(self)
    }

    fn inspect<'a>(&'a self, cx: &'a Context<'a>) -> StepFuture<'a, Box<dyn Difference + 'a>> {
        Box::pin(async move {
            let changes = Step::inspect(self, cx).await.map_err(|error| Explanation::of(&error))?;
            Ok(Box::new(Found { step: self, changes, cx }) as Box<dyn Difference + 'a>)
        })
    }

    fn outputs<'a>(&'a self, cx: &'a Context<'a>) -> StepFuture<'a, Outputs> {
        Box::pin(async move { Step::outputs(self, cx).await.map_err(|error| Explanation::of(&error)) })
    }

    fn goes_on_meanwhile(&self) -> bool {
        Step::goes_on_meanwhile(self)
    }

    fn meanwhile<'a>(&'a self, cx: &'a Context<'a>) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
        Box::pin(Step::meanwhile(self, cx))
    }
}

struct Found<'a, S: Step> {
    step: &'a S,
    changes: Vec<S::Change>,
    cx: &'a Context<'a>,
}

impl<S: Step> Difference for Found<'_, S> {
    fn lines(&self) -> Vec<String> {
        self.changes.iter().map(ToString::to_string).collect()
    }

    fn stage(&self) -> StepFuture<'_, ()> {
        Box::pin(async move {
            for change in &self.changes {
                self.step.stage(change, self.cx).await.map_err(|error| Explanation::of(&error))?;
            }
            Ok(())
        })
    }

    fn abandon(&self) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(async move {
            for change in &self.changes {
                self.step.abandon(change, self.cx).await;
            }
        })
    }

    fn apply<'a>(self: Box<Self>) -> StepFuture<'a, ()>
    where
        Self: 'a,
    {
        Box::pin(async move {
            for change in self.changes {
                self.step.apply(change, self.cx).await.map_err(|error| Explanation::of(&error))?;
            }
            Ok(())
        })
    }
}
