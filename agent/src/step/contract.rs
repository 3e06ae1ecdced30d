//! The trait that every kind of step implements, and its type erasure.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;

use crate::failure::{Explanation, Failure, Objection};
use crate::host::Unit;
use crate::step::erased::StepFuture;
use crate::step::{AnyStep, Companion, Context, Difference, Fallback, Judgment, Look, Misfit, Outputs, Shape, Written};
use crate::text::{SecretText, Text};

/// One kind of thing a boot document can ask for.
///
/// A step never remembers whether it has run. It looks at the machine and reports what differs; when nothing
/// differs, it is done.
pub(crate) trait Step: fmt::Debug {
    /// One difference to remove. Its `Display` is the line `ingot dry-run` prints.
    type Change: fmt::Display;
    type Error: Failure + 'static;

    /// What the step is about, in a few words, for the plan. `shown` renders what is known and not a secret.
    fn summary(&self, shown: &dyn Fn(&Text) -> String) -> String;

    /// What planning has to know about the step; `key` is the step's key.
    fn shape<'a>(&'a self, key: &'a str) -> Shape<'a>;

    /// The template file it renders. Its references count as this step's own.
    fn template(&self) -> Option<&Path> {
        None
    }

    /// The programs it runs, as written in the document. Used when sealing an image, not when planning.
    fn programs(&self) -> Vec<&Text> {
        Vec::new()
    }

    /// Steps that accompany this one, with addresses of their own, and run after it.
    fn companions(&self, _key: &str) -> Vec<Companion> {
        Vec::new()
    }

    /// The content that the step writes, if the document contains it before a boot: for steps whose
    /// advice depends on it.
    fn content(&self) -> Option<&Text> {
        None
    }

    /// The helper that quotes for the format of its content, if the format is known. The content is its template or, if
    /// it has none, the first of its texts.
    fn quoted_by(&self, _key: &str) -> Option<&'static str> {
        None
    }

    /// Whether its content is parsed as a format, so that there may be a [`misfit`](Self::misfit).
    fn is_parsed(&self, _key: &str) -> bool {
        false
    }

    /// Why its rendered content does not parse.
    fn misfit(&self, _key: &str, _filled: &SecretText) -> Option<Misfit> {
        None
    }

    /// What its author should know, though it is not a mistake, given what the document writes.
    fn advice_beside(&self, _key: &str, _written: &Written<'_>) -> Vec<Objection> {
        Vec::new()
    }

    /// What is wrong with it once its references are known. `key` is the step's key, `secret`
    /// whether it contains a secret.
    fn objections(&self, _key: &str, _secret: bool) -> Vec<Objection> {
        Vec::new()
    }

    /// Compares this step with the machine. Reads only.
    async fn inspect(&self, cx: &Context<'_>) -> Result<Vec<Self::Change>, Self::Error>;

    /// Prepares a change without effect: if this fails, nothing has changed yet.
    async fn stage(&self, _change: &Self::Change, _cx: &Context<'_>) -> Result<(), Self::Error> {
        Ok(())
    }

    /// Undoes what [`stage`](Step::stage) prepared, as far as possible.
    async fn abandon(&self, _change: &Self::Change, _cx: &Context<'_>) {}

    /// Makes one change that [`inspect`](Step::inspect) asked for.
    async fn apply(&self, change: Self::Change, cx: &Context<'_>) -> Result<(), Self::Error>;

    /// What other steps may refer to, read once nothing is left to change.
    async fn outputs(&self, cx: &Context<'_>) -> Result<Outputs, Self::Error>;

    /// Judges one of the units that the step named by [`Known::set_units`](crate::step::Known::set_units), once every
    /// step has ended and this one has succeeded.
    ///
    /// # Errors
    ///
    /// If the unit is no longer in the state that it had when the step ended.
    async fn judge(&self, _found: &Unit, _look: Look, _cx: &Context<'_>) -> Result<Judgment, Self::Error> {
        Ok(Judgment::Sound)
    }

    /// Runs in the background from the beginning of the boot. Dropped when the boot is over.
    async fn meanwhile(&self, _cx: &Context<'_>) {}

    /// Makes sure that what was running before is running: if the step has failed, if it never runs because a step that
    /// it needs failed, or before it runs. The result is reported as progress.
    async fn fall_back(&self, _when: Fallback, _cx: &Context<'_>) {}
}

impl<S: Step + 'static> AnyStep for S {
    fn any(&self) -> &dyn Any {
        self
    }

    fn summary(&self, shown: &dyn Fn(&Text) -> String) -> String {
        Step::summary(self, shown)
    }

    fn shape<'a>(&'a self, key: &'a str) -> Shape<'a> {
        Step::shape(self, key)
    }

    fn template(&self) -> Option<&Path> {
        Step::template(self)
    }

    fn programs(&self) -> Vec<&Text> {
        Step::programs(self)
    }

    fn companions(&self, key: &str) -> Vec<Companion> {
        Step::companions(self, key)
    }

    fn objections(&self, key: &str, secret: bool) -> Vec<Objection> {
        Step::objections(self, key, secret)
    }

    fn content(&self) -> Option<&Text> {
        Step::content(self)
    }

    fn quoted_by(&self, key: &str) -> Option<&'static str> {
        Step::quoted_by(self, key)
    }

    fn is_parsed(&self, key: &str) -> bool {
        Step::is_parsed(self, key)
    }

    fn misfit(&self, key: &str, filled: &SecretText) -> Option<Misfit> {
        Step::misfit(self, key, filled)
    }

    fn advice_beside(&self, key: &str, written: &Written<'_>) -> Vec<Objection> {
        Step::advice_beside(self, key, written)
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

    fn judge<'a>(&'a self, found: &'a Unit, look: Look, cx: &'a Context<'a>) -> StepFuture<'a, Judgment> {
        Box::pin(async move { Step::judge(self, found, look, cx).await.map_err(|error| Explanation::of(&error)) })
    }

    fn meanwhile<'a>(&'a self, cx: &'a Context<'a>) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
        Box::pin(Step::meanwhile(self, cx))
    }

    fn fall_back<'a>(&'a self, when: Fallback, cx: &'a Context<'a>) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
        Box::pin(Step::fall_back(self, when, cx))
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
