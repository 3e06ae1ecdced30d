//! The trait that every kind of step implements, and the erasing of its types.

use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use crate::address::Address;
use crate::failure::{Explanation, Failure, Objection};
use crate::step::erased::StepFuture;
use crate::step::{AnyStep, Companion, Context, Difference, Order, Outputs, Phase};
use crate::text::Text;

/// One kind of thing a boot document can ask for.
///
/// A step never remembers whether it has run. It looks at the machine and reports what differs; when nothing
/// differs, it is done.
pub(crate) trait Step: fmt::Debug {
    /// One difference to remove. Its `Display` is the line `ingot dry-run` prints.
    type Change: fmt::Display;
    type Error: Failure + 'static;

    /// What it is about, in a few words, for the plan. `shown` fills in what is known and no secret.
    fn summary(&self, shown: &dyn Fn(&Text) -> String) -> String;

    /// Every field that may hold references. Each reference becomes an edge of the plan.
    fn texts(&self) -> Vec<&Text> {
        Vec::new()
    }

    /// The template file it renders. Its references count as this step's own.
    fn template(&self) -> Option<&Path> {
        None
    }

    /// The programs it runs, as its author wrote them.
    fn programs(&self) -> Vec<&Text> {
        Vec::new()
    }

    /// Whole steps it names; files among them are installed together.
    fn watches(&self) -> Vec<&Address> {
        Vec::new()
    }

    /// The names of its outputs; `None` where only running it tells.
    fn offers(&self) -> Option<&'static [&'static str]> {
        Some(&[])
    }

    /// What others may refer to before it is done, because it follows from its key: the path of a file. Files that are
    /// installed together may so name each other.
    fn foretold(&self, _key: &str) -> Option<serde_json::Value> {
        None
    }

    /// Where it stands when its author gave it no `after:`.
    fn order(&self) -> Order {
        Order::ByReferences
    }

    /// From which phase on it is due when its author says nothing.
    fn phase(&self) -> Phase {
        Phase::Warm
    }

    /// Whether what it does depends on the phase, so that this has to be known.
    fn heeds_phase(&self) -> bool {
        false
    }

    /// Whether one change only shows what the next one is, as with a disk that has to be attached before anybody can say
    /// what lies on it. Such a step is inspected again after each round, until nothing differs.
    fn unfolds(&self) -> bool {
        false
    }

    /// Steps that come with it, under addresses of their own, and after it.
    fn companions(&self, _key: &str) -> Vec<Companion> {
        Vec::new()
    }

    /// The paths on which it works: it comes after the mounts and bundles that hold them.
    fn paths(&self, _key: &str) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Where it puts a whole tree, so that paths below lie in it: a mount point, the current release of a bundle.
    fn mounts_at(&self, _key: &str) -> Option<PathBuf> {
        None
    }

    /// What is wrong with it once its references are known. `key` is its own key, `secret` whether it holds a secret.
    fn objections(&self, _key: &str, _secret: bool) -> Vec<Objection> {
        Vec::new()
    }

    /// How long it may take when its author gave it no `timeout:`.
    fn patience(&self) -> Duration;

    /// Compares this step with the machine. Reads only.
    async fn inspect(&self, cx: &Context<'_>) -> Result<Vec<Self::Change>, Self::Error>;

    /// Prepares a change out of sight: what fails here has changed nothing yet.
    async fn stage(&self, _change: &Self::Change, _cx: &Context<'_>) -> Result<(), Self::Error> {
        Ok(())
    }

    /// Takes back what [`stage`](Step::stage) prepared, as far as possible.
    async fn abandon(&self, _change: &Self::Change, _cx: &Context<'_>) {}

    /// Makes one change that [`inspect`](Step::inspect) asked for.
    async fn apply(&self, change: Self::Change, cx: &Context<'_>) -> Result<(), Self::Error>;

    /// What other steps may refer to, read once nothing is left to change.
    async fn outputs(&self, cx: &Context<'_>) -> Result<Outputs, Self::Error>;

    /// Whether there is anything to do [`meanwhile`](Step::meanwhile).
    fn goes_on_meanwhile(&self) -> bool {
        false
    }

    /// What it does from the beginning of a boot, beside everything, for as long as the boot goes on: then it is dropped.
    async fn meanwhile(&self, _cx: &Context<'_>) {}
}

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
