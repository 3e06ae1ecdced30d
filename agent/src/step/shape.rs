//! What planning has to know of a step, as its document says it.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::address::Address;
use crate::step::{Order, Phase};
use crate::text::Text;

/// The patience of a step that waits for nobody but this machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is special about a step. A kind states that, and leaves the rest to [`Default`].
#[derive(Debug)]
pub(crate) struct Shape<'a> {
    /// Every field that may hold references. Each reference becomes an edge of the plan.
    pub(crate) texts: Vec<&'a Text>,
    /// Whole steps it names; files among them are installed together.
    pub(crate) watches: Vec<&'a Address>,
    /// The names of its outputs; `None` where only running it tells. Default: it offers nothing.
    pub(crate) offers: Option<&'static [&'static str]>,
    /// Whether what it offers has fields. Default: only running it tells.
    pub(crate) fields: HasFields,
    /// The paths in what it offers that programs may print although it is a secret.
    pub(crate) public: &'a [String],
    /// The path that others may refer to before it is done, because it follows from its key. Files that are installed
    /// together may so name each other.
    pub(crate) foretold: Option<Cow<'a, Path>>,
    /// Where it stands when its author gave it no `after:`. Default: [`Order::ByReferences`].
    pub(crate) order: Order,
    /// From which phase on it is due when its author says nothing. Default: [`Phase::Warm`].
    pub(crate) phase: Phase,
    /// Whether what it does depends on the phase, so that this has to be known.
    pub(crate) heeds_phase: bool,
    /// Whether one change only shows what the next one is, as with a disk that has to be attached before anybody can say
    /// what lies on it. Such a step is inspected again after each round, until nothing differs.
    pub(crate) unfolds: bool,
    /// The paths on which it works: it comes after the mounts and bundles that hold them.
    pub(crate) paths: Vec<Cow<'a, Path>>,
    /// Where it puts a whole tree, so that paths below lie in it: a mount point, the current release of a bundle.
    pub(crate) mounts_at: Option<Cow<'a, Path>>,
    /// The ports of this machine that it listens on. No other step may.
    pub(crate) ports: Vec<u16>,
    /// How long it may take when its author gave it no `timeout:`. Default: a minute.
    pub(crate) patience: Duration,
    /// Whether there is anything to do [`meanwhile`](crate::step::Step::meanwhile).
    pub(crate) goes_on_meanwhile: bool,
    /// Whether it has units of systemd that have to be up, or to have done their work, when the boot ends.
    pub(crate) has_units: bool,
    /// Default: [`AsksAws::Never`].
    pub(crate) asks_aws: AsksAws,
}

impl Default for Shape<'_> {
    fn default() -> Self {
        Self {
            texts: Vec::new(),
            watches: Vec::new(),
            offers: Some(&[]),
            fields: HasFields::Unknown,
            public: &[],
            foretold: None,
            order: Order::ByReferences,
            phase: Phase::Warm,
            heeds_phase: false,
            unfolds: false,
            paths: Vec::new(),
            mounts_at: None,
            ports: Vec::new(),
            patience: PATIENCE,
            goes_on_meanwhile: false,
            has_units: false,
            asks_aws: AsksAws::Never,
        }
    }
}

impl Shape<'_> {
    /// What outlives planning.
    pub(crate) fn outline(&self) -> Outline {
        Outline {
            foretold: self.foretold.as_deref().map(Path::to_owned),
            unfolds: self.unfolds,
            goes_on_meanwhile: self.goes_on_meanwhile,
            has_units: self.has_units,
            asks_aws: self.asks_aws,
        }
    }
}

/// What of a [`Shape`] is asked for once the plan is made; each field as there.
#[derive(Debug)]
pub(crate) struct Outline {
    pub(crate) foretold: Option<PathBuf>,
    pub(crate) unfolds: bool,
    pub(crate) goes_on_meanwhile: bool,
    pub(crate) has_units: bool,
    pub(crate) asks_aws: AsksAws,
}

/// Whether what a step offers has fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HasFields {
    Unknown,
    /// It is one text, or a list. With what to do for fields.
    Never(&'static str),
    /// It is a map.
    Always,
}

/// Whether a step calls AWS, its own references apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AsksAws {
    Never,
    /// Only where something is left to do: a volume that is not attached, a release that is not there, a signal that was
    /// not sent.
    UnlessDone,
    /// In every boot.
    Always,
}

/// The shapes of all steps of a document. Made once: planning looks them up for every reference.
#[derive(Debug)]
pub(crate) struct Shapes<'a> {
    /// By address.
    shapes: Vec<(&'a Address, Shape<'a>)>,
}

impl<'a> Shapes<'a> {
    /// Those of steps that come in the order of their addresses.
    pub(crate) fn in_order(steps: impl Iterator<Item = (&'a Address, Shape<'a>)>) -> Self {
        let shapes: Vec<_> = steps.collect();
        debug_assert!(shapes.is_sorted_by_key(|(address, _)| *address));
        Self { shapes }
    }

    pub(crate) fn get(&self, address: &Address) -> Option<&Shape<'a>> {
        self.shapes.binary_search_by_key(&address, |(address, _)| address).ok().map(|at| &self.shapes[at].1)
    }

    pub(crate) fn len(&self) -> usize {
        self.shapes.len()
    }

    /// In the order of the addresses.
    pub(crate) fn values(&self) -> impl ExactSizeIterator<Item = &Shape<'a>> {
        self.shapes.iter().map(|(_, shape)| shape)
    }
}
