//! What planning has to know about a step, as the document describes it.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::address::Address;
use crate::step::{Order, Phase, Turn};
use crate::text::Text;

/// The time limit of a step that only waits for this machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is special about a step. A kind sets some fields, and leaves the rest to [`Default`].
#[derive(Debug)]
pub(crate) struct Shape<'a> {
    /// Every field that may hold references. Each reference becomes an edge of the plan.
    pub(crate) texts: Vec<&'a Text>,
    /// Whole steps that it names; files among them are installed together.
    pub(crate) watches: Vec<&'a Address>,
    /// Whether it needs all of these, so that it is a mistake if one of them is not due.
    pub(crate) needs_watched: bool,
    /// The names of its outputs; `None` if they are only known after it has run. Default: it has none.
    pub(crate) offers: Option<&'static [&'static str]>,
    /// Whether its output has fields. Default: only known after it has run.
    pub(crate) fields: HasFields,
    /// The paths in its outputs that may be printed although the step is a secret.
    pub(crate) public: &'a [String],
    /// The path that others may refer to before it has run, because it follows from its key. So files that are
    /// installed together may refer to each other.
    pub(crate) foretold: Option<Cow<'a, Path>>,
    /// Its position if it has no `after:`. Default: [`Order::ByReferences`].
    pub(crate) order: Order,
    /// Which others it waits for, among the steps that come after everything. Default: [`Turn::Any`].
    pub(crate) turn: Turn,
    /// From which phase on it is due if it has no `phase:`. Default: [`Phase::Warm`].
    pub(crate) phase: Phase,
    /// Whether what it does depends on the phase, so that the phase has to be known.
    pub(crate) heeds_phase: bool,
    /// Whether the next change is only known after the previous one: for example, the content of a disk is only known
    /// once it is attached. Such a step is inspected again after each round, until nothing differs.
    pub(crate) unfolds: bool,
    /// The paths on which it works: it comes after the mounts and bundles that contain them.
    pub(crate) paths: Vec<Cow<'a, Path>>,
    /// Where it puts a whole tree, so that paths below it belong to it: a mount point, the current release of a bundle.
    pub(crate) mounts_at: Option<Cow<'a, Path>>,
    /// The ports of this machine on which it listens. No other step may use them.
    pub(crate) ports: Vec<u16>,
    /// What it does that only one step of a document may do, as in `listens`.
    pub(crate) only_one: Option<&'static str>,
    /// What one instance does for the whole fleet. Default: nothing.
    pub(crate) claims: Option<Claiming>,
    /// The user who gets ownership of what it puts on the machine.
    pub(crate) owner: Option<&'a str>,
    /// The step whose files root runs on its behalf, and the user of its own processes; `None` is
    /// the owner of those files.
    pub(crate) trusts: Option<(&'a Address, Option<&'a str>)>,
    /// Its time limit if it has no `timeout:`. Default: a minute.
    pub(crate) patience: Duration,
    /// The part of its time that is reserved for what it does after a failure. A `timeout:` has to be longer.
    pub(crate) reserve: Duration,
    /// The step whose output it works on, and how: two steps cannot turn one output into two different things.
    pub(crate) makes: Option<(&'a Address, String)>,
    /// Whether it does anything in [`meanwhile`](crate::step::Step::meanwhile).
    pub(crate) goes_on_meanwhile: bool,
    /// Whether it has a [`fall_back`](crate::step::Step::fall_back).
    pub(crate) falls_back: bool,
    /// Whether it has systemd units that must be up, or must have finished, when the boot ends.
    pub(crate) has_units: bool,
    /// Default: [`AsksAws::Never`].
    pub(crate) asks_aws: AsksAws,
}

impl Default for Shape<'_> {
    fn default() -> Self {
        Self {
            texts: Vec::new(),
            watches: Vec::new(),
            needs_watched: false,
            offers: Some(&[]),
            fields: HasFields::Unknown,
            public: &[],
            foretold: None,
            order: Order::ByReferences,
            turn: Turn::Any,
            phase: Phase::Warm,
            heeds_phase: false,
            unfolds: false,
            paths: Vec::new(),
            mounts_at: None,
            ports: Vec::new(),
            claims: None,
            owner: None,
            trusts: None,
            patience: PATIENCE,
            reserve: Duration::ZERO,
            makes: None,
            goes_on_meanwhile: false,
            falls_back: false,
            has_units: false,
            only_one: None,
            asks_aws: AsksAws::Never,
        }
    }
}

impl Shape<'_> {
    /// The part that is needed after planning.
    pub(crate) fn outline(&self) -> Outline {
        Outline {
            foretold: self.foretold.as_deref().map(Path::to_owned),
            unfolds: self.unfolds,
            goes_on_meanwhile: self.goes_on_meanwhile,
            falls_back: self.falls_back,
            has_units: self.has_units,
            asks_aws: self.asks_aws,
            turn: self.turn,
        }
    }
}

/// The part of a [`Shape`] that is needed once the plan is made, with the same fields.
#[derive(Debug)]
pub(crate) struct Outline {
    pub(crate) foretold: Option<PathBuf>,
    pub(crate) unfolds: bool,
    pub(crate) goes_on_meanwhile: bool,
    pub(crate) falls_back: bool,
    pub(crate) has_units: bool,
    pub(crate) asks_aws: AsksAws,
    pub(crate) turn: Turn,
}

/// How a step uses claims: see [`claims`](crate::net::claims).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claiming {
    /// What the author wrote, if it is not allowed without `claims:`; otherwise each instance does it for itself.
    pub(crate) says: Option<&'static str>,
    /// The fields of the document that distinguish claims.
    pub(crate) values: &'static [&'static str],
}

/// Whether the output of a step has fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HasFields {
    Unknown,
    /// It is a text, or a list. With the hint on what to do if fields are needed.
    Never(&'static str),
    /// It is a map.
    Always,
}

/// Whether a step calls AWS, apart from what its references need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AsksAws {
    Never,
    /// Only if something is left to do: a volume to attach, a release to download, a signal to send.
    UnlessDone,
    /// In every boot.
    Always,
}

/// The shapes of all steps of a document. Computed once, because planning looks them up for every reference.
#[derive(Debug)]
pub(crate) struct Shapes<'a> {
    /// By address.
    shapes: Vec<(&'a Address, Shape<'a>)>,
}

impl<'a> Shapes<'a> {
    /// The shapes of steps that are in the order of their addresses.
    pub(crate) fn in_order(steps: impl Iterator<Item = (&'a Address, Shape<'a>)>) -> Self {
        let shapes: Vec<_> = steps.collect();
        debug_assert!(shapes.is_sorted_by_key(|(address, _)| *address));
        Self { shapes }
    }

    pub(crate) fn get(&self, address: &Address) -> Option<&Shape<'a>> {
        self.shapes.binary_search_by_key(&address, |(address, _)| address).ok().map(|at| &self.shapes[at].1)
    }

    /// In the order of the addresses.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Address, &Shape<'a>)> {
        self.shapes.iter().map(|(address, shape)| (*address, shape))
    }

    pub(crate) fn len(&self) -> usize {
        self.shapes.len()
    }

    /// In the order of the addresses.
    pub(crate) fn values(&self) -> impl ExactSizeIterator<Item = &Shape<'a>> {
        self.shapes.iter().map(|(_, shape)| shape)
    }
}
