//! What every kind of step is made of: the contract between the kinds in [`steps`](crate::steps) and those who plan and
//! execute them.

pub(crate) mod amount;
mod claims;
mod context;
pub(crate) mod device_name;
pub(crate) mod erased;
pub(crate) mod fields;
pub(crate) mod phase;
pub(crate) mod verdict;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use claims::Claims;
pub(crate) use context::{Context, Known, Progress, World};
pub(crate) use erased::{AnyStep, Difference};
pub(crate) use phase::Phase;
pub(crate) use verdict::Verdict;

use crate::address::Address;
use crate::failure::{Failure, Objection};
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

/// Where a step stands among those it has no edge to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// As soon as its references are there.
    ByReferences,
    /// After every step that is [`ByReferences`](Order::ByReferences).
    AfterTheRest,
    /// As soon as its references are there; and nobody waits for it who does not name it, the end of the boot included.
    Beside,
    /// After everything that the boot waits for, however it ended; at once when a required step has failed, since nothing
    /// can make the boot a good one then. Nobody waits for it but the end of the boot.
    AfterEverything,
}

/// A step that comes with another one.
#[derive(Debug)]
pub(crate) struct Companion {
    pub(crate) address: Address,
    pub(crate) step: Box<dyn AnyStep>,
    pub(crate) required: bool,
}

/// What a finished step offers.
#[derive(Clone, Default)]
pub(crate) struct Outputs {
    /// For references: an object, or a single value.
    pub(crate) value: serde_json::Value,
    /// Changes whenever what this step put on the machine changes; services compare it to know when to restart.
    pub(crate) stamp: Option<String>,
}

/// Leaves out the value, which may be a secret.
impl fmt::Debug for Outputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outputs").field("stamp", &self.stamp).finish_non_exhaustive()
    }
}
